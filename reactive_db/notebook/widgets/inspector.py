"""`Inspector`: the whole store, live; what `db.inspect()` is in a notebook."""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from ipywidgets import Box, Dropdown, Layout, Tab, VBox, Widget

from reactive_db.functions.contexts import MutationCtx
from reactive_db.functions.definitions import Mutation, mutation
from reactive_db.inspection import PARTS, Inspection
from reactive_db.model.documents import declared_document
from reactive_db.model.ids import Id
from reactive_db.notebook.widgets.status import Status
from reactive_db.notebook.widgets.table import Table
from reactive_db.notebook.widgets.table_editors import editor_of

_HEIGHT: Final = 280


class Inspector(VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Tables and their documents, live queries and what they cost, recent commits, and races that were lost.

    A document can be edited where its class is declared in this process; what does not fit is refused as ever.
    """

    def __init__(self, inspection: Inspection) -> None:
        self._inspection = inspection
        self._parts = {part: Table(_Part(inspection, part), height=_HEIGHT) for part in PARTS}
        self._choice = Dropdown(description="Table")
        self._place = Box(layout=Layout(display="block"))
        self._documents: Table | None = None
        self._status = Status(cast(Any, inspection.db))
        pages = {"Tables": self._parts["Tables"], "Documents": VBox([self._choice, self._place]), **self._parts}
        self._status.layout.align_self = "flex-start"
        super().__init__([self._status, Tab(list(pages.values()), titles=list(pages))])
        self._choice.observe(lambda change: self._show_documents(change["new"]), "value")
        self._parts["Tables"].observe(self._on_selected, "selected")
        self._end = inspection.on_change(self._update_choice)
        self._update_choice()

    def close(self) -> None:
        """Take it off the page; nothing follows the store any more."""
        self._end()
        self._inspection.close()
        for child in self.children:
            _close(child)
        self.layout.close()
        super().close()

    @property
    def is_headless(self) -> bool:
        """Whether no page has opened it."""
        return self._status.is_headless

    @property
    def number(self) -> int:
        """How many changes of what it shows there have been."""
        return sum(widget.number for widget in (self._status, *self._parts.values()))

    def static_metadata(self) -> dict[str, Any]:
        """Nothing in it fails."""
        return {}

    def static_bundle(self) -> dict[str, Any]:
        """What is shown, by MIME type: the widget, HTML and text."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {
            "text/plain": repr(self._inspection),
            "text/html": self._inspection._repr_html_(),
            "application/vnd.jupyter.widget-view+json": view,
        }

    def _update_choice(self) -> None:
        names = self._inspection.table_names
        if list(self._choice.options) != names:
            chosen = self._choice.value
            self._choice.options = names
            self._choice.value = chosen if chosen in names else names[0] if names else None

    def _on_selected(self, change: dict[str, Any]) -> None:
        if change["new"]:
            self._choice.value = change["new"][0]["table"]

    def _show_documents(self, table: str | None) -> None:
        before, self._documents = self._documents, None
        if table is not None:
            handle = self._inspection.documents(table)
            self._documents = Table(handle, edit=_editable(table) or None, height=_HEIGHT)
        self._place.children = [self._documents] if self._documents is not None else []
        if before is not None:
            before.close()


class _Part:
    """One part of an inspection as the source of a table; made anew when something has changed since it was read."""

    error: Exception | None = None

    def __init__(self, inspection: Inspection, part: str) -> None:
        self.title = part
        self._inspection = inspection
        self._rows: list[dict[str, Any]] | None = None
        self._ends: dict[Callable[[Any], None], Callable[[], None]] = {}

    @property
    def value(self) -> list[dict[str, Any]]:
        rows = self._rows
        if rows is None:
            rows = self._rows = self._inspection.rows(self.title)
        return rows

    def observe(self, handler: Callable[[Any], None], names: Sequence[str]) -> None:
        def changed() -> None:
            self._rows = None
            handler(None)

        self._ends[handler] = self._inspection.on_change(changed)

    def unobserve(self, handler: Callable[[Any], None], names: Sequence[str]) -> None:
        self._ends.pop(handler)()


def _close(widget: Any) -> None:
    """Close a widget and everything in it: ipywidgets leaves that open."""
    for child in getattr(widget, "children", ()):
        _close(child)
    for name in ("style", "layout"):
        part = getattr(widget, name, None)
        if isinstance(part, Widget):
            part.close()
    widget.close()


def _editable(table: str) -> dict[str, Mutation[..., Any]]:
    """A mutation for each field that a cell can hold; none if the class is not declared here."""
    declared = declared_document(table)
    if declared is None or declared.__table__ != table:
        return {}
    types = typing.get_type_hints(declared)
    fields = [name for name in declared.__struct_fields__ if name not in ("id", "creation_time")]
    return {field: _setter(field, types[field]) for field in fields if editor_of(types[field]) is not None}


def _setter(field: str, type_: Any) -> Mutation[..., Any]:
    def change(ctx: MutationCtx, id: str, value: Any) -> None:
        ctx.db.patch(Id[Any](id), {field: value})

    change.__annotations__ |= {"value": type_}
    return mutation(internal=True)(change)
