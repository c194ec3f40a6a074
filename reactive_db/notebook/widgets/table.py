"""`Table`: rows that stay right, as many as there are: sorted, filtered, selected and edited in place.

Theory of operation. The kernel has all rows, and the order in which they are shown (`table_rows.py`); the page has only
those around what can be seen (`table_windows.py`). The order is the same wherever the table is on show; how far it is
scrolled is a view's own business.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

import traitlets

from reactive_db import limits
from reactive_db.errors import ArgumentError, ReactiveDBError
from reactive_db.handles import QueryHandle, unfollowed
from reactive_db.notebook.widgets.table_columns import Column, columns_of, filter_of
from reactive_db.notebook.widgets.table_editors import AnyMutation, Editors
from reactive_db.notebook.widgets.table_rows import Change, Rows, RowView, Sort, Test, rows_of
from reactive_db.notebook.widgets.table_windows import Windows
from reactive_db.notebook.widgets.widget import LiveWidget, Message, Source, page_code, page_style
from reactive_db.presentation import Grid, as_html, as_text

_NOTHING_YET: Final = object()


class Table(LiveWidget):
    """Rows of a handle: documents, mappings or a result of SQL.

        table = Table(db.live(tasks), edit=change)
        table.selected                              # the documents that are selected now

    A click on a header sorts; the fields below filter: text that is contained, `> 5`, `<= 3`, `1..9`, `true`.

    Args:
        source: a handle.
        edit: makes cells editable: a mutation with the parameters `id` and, by name, the columns that may change, each
            with a default, as in `change(ctx, id: rdb.Id[Task], done: bool | None = None)`; or for each column a
            mutation that takes an id and a value.
        columns: the names of the columns to show; without it, all that the rows have, but `id` and `creation_time`.
        height: how many pixels of rows can be seen at the most; the others are scrolled to.

    Attributes:
        selected: the rows that are selected, in the order of the source; a trait, to be observed and not set.

    Raises:
        ArgumentError: the value has no rows, a column is unknown, or there is nothing to edit.
        FunctionError: a mutation of `edit` cannot be run for one cell.
    """

    _esm = page_code("table")
    _css = page_style("table")

    if TYPE_CHECKING:
        selected: list[Any]
    else:
        selected = traitlets.List(read_only=True)

    def __init__(
        self,
        source: Source,
        edit: AnyMutation | Mapping[str, AnyMutation] | None = None,
        columns: Sequence[str] | None = None,
        height: int = 400,
    ) -> None:
        self._source = source
        self._height = height
        self._asked_columns = None if columns is None else list(columns)
        self._value: Any = _NOTHING_YET
        self._view = RowView(rows_of(None))
        self._columns: list[Column] = []
        self._windows = Windows()
        self._selection = _Selection()
        self._sort: Sort | None = None
        self._filters: dict[str, str] = {}
        self._tests: dict[str, Test] = {}
        self._faults: dict[str, str] = {}
        self._misfit: ArgumentError | None = None
        self._state: Message = {}
        with unfollowed():
            rows = rows_of(source.value, self._row_type())
            _check_columns(rows, self._asked_columns)
            self._editors = None if edit is None else _editors(source, edit, rows)
            super().__init__(source)

    # --- what the page is told ---------------------------------------------------------------------------------------

    def _draw(self) -> Message:
        self._update()
        self._state = self._shared()
        first = self._windows.first(self._view, self._columns, self._selection.positions)
        return {**self._state, "first": first, "views": self._windows.whole()}

    def _change(self) -> Message | None:
        self._update()
        before, self._state = self._state, self._shared()
        change = {name: value for name, value in self._state.items() if before.get(name) != value}
        views = self._windows.differences(self._view, self._columns, self._selection.positions)
        if views:
            change["views"] = views
        return change or None

    def _static(self) -> tuple[str, str]:
        self._update()
        shown = _Static(self._view, self._columns)
        return as_text(shown), as_html(shown, caption=self._source.title, error=self._error())

    def _changed(self) -> None:
        super()._changed()
        if self._selection.positions or self.selected:
            self._set_selected()

    def _shared(self) -> Message:
        """What is the same for every view."""
        error = self._error()
        return {
            "title": self._source.title,
            "height": self._height,
            "columns": [self._described(column) for column in self._columns],
            "total": len(self._view.rows),
            "found": len(self._view.order),
            "reachable": min(len(self._view.order), limits.TABLE_ROWS_MAX),
            "sort": self._sort,
            "filters": self._filters.copy(),
            "faults": self._faults.copy(),
            "selected": len(self._selection.positions),
            "is_editable": self._editors is not None,
            "error": None if error is None else str(error),
        }

    def _described(self, column: Column) -> Message:
        editor = None if self._editors is None else self._editors.by_column.get(column.name)
        described = {"name": column.name, "kind": column.kind, "width": column.width}
        return described if editor is None else {**described, "editor": editor.described()}

    def _row_type(self) -> type[Any] | None:
        """A query may say what its rows are, so that a table without any has its columns."""
        return self._source.row_type if isinstance(self._source, QueryHandle) else None

    def _error(self) -> Exception | None:
        return self._source.error or self._misfit

    def _update(self) -> None:
        """Take in the present value of the source. Called with the lock held."""
        value = self._source.value
        if value is self._value:
            return
        self._value = value
        try:
            rows = rows_of(value, self._row_type())
        except ArgumentError as error:
            self._misfit = error
            return
        self._misfit = None
        order = self._view.order
        change = self._view.replace(rows)
        self._windows.follow(change, order, self._view)
        self._selection.follow(change)
        self._update_columns()

    def _update_columns(self) -> None:
        rows = self._view.rows
        shown = [column.name for column in self._columns]
        names = (rows.columns if self._asked_columns is None else self._asked_columns) or shown
        # What is known of a column stays as it is: nothing jumps.
        known = {column.name: column for column in self._columns if column.is_known}
        found = known | {
            column.name: column for column in columns_of(rows, [name for name in names if name not in known])
        }
        columns = [found[name] for name in names]
        if columns == self._columns:
            return
        self._columns = columns
        if self._filters:
            for name, text in list(self._filters.items()):
                self._set_filter(name, text)
            self._arrange()

    # --- what the page says ------------------------------------------------------------------------------------------

    def _hear(self, message: Message) -> None:
        said = self._SAID.get(message.get("type"))
        if said is not None:
            with unfollowed():
                said(self, message)

    def _on_window(self, message: Message) -> None:
        with self._lock:
            self._windows.ask(message["view"], message["start"], message["size"], message["top"])
        super()._changed()

    def _on_leave(self, message: Message) -> None:
        with self._lock:
            self._windows.leave(message["view"])

    def _on_sort(self, message: Message) -> None:
        column, direction = message["column"], message["direction"]
        with self._lock:
            self._update()
            self._sort = None if direction is None else (column, direction)
            self._arrange()
        super()._changed()

    def _on_filter(self, message: Message) -> None:
        with self._lock:
            self._update()
            self._set_filter(message["column"], message["text"][: limits.TABLE_FILTER_CHARACTERS_MAX])
            self._arrange()
        super()._changed()

    def _on_select(self, message: Message) -> None:
        with self._lock:
            self._update()
            if message.get("how") == "all":
                self._selection.set(self._view.order[: limits.TABLE_SELECTED_MAX])
            else:
                position = self._windows.position(message["row"])
                if position is not None:
                    self._selection.select(position, message["how"], self._view)
        self._changed()

    def _on_edit(self, message: Message) -> None:
        edit = message["edit"]
        try:
            future = self._edit(message)
        except Exception as failure:
            self._edited(edit, failure)
        else:
            future.add_done_callback(lambda done: self._edited(edit, done.exception()))

    def _edited(self, edit: Any, failure: BaseException | None) -> None:
        """Tell the page how an edit went, which shows what was entered until then."""
        text = failure.message if isinstance(failure, ReactiveDBError) else f"{type(failure).__name__}: {failure}"
        self.push()
        self._tell({"type": "edited", "edit": edit, "error": None if failure is None else text})

    _SAID: Final[dict[Any, Callable[[Table, Message], None]]] = {
        "window": _on_window,
        "leave": _on_leave,
        "sort": _on_sort,
        "filter": _on_filter,
        "select": _on_select,
        "edit": _on_edit,
    }

    def _arrange(self) -> None:
        self._view.arrange(self._sort, self._tests)
        self._windows.rewind()

    def _set_filter(self, name: str, text: str) -> None:
        self._filters.pop(name, None)
        self._tests.pop(name, None)
        self._faults.pop(name, None)
        column = next((column for column in self._columns if column.name == name), None)
        if column is None or not text.strip():
            return
        self._filters[name] = text
        try:
            self._tests[name] = filter_of(column.kind, text)
        except ArgumentError as error:
            self._faults[name] = error.message

    def _edit(self, message: Message) -> Future[Any]:
        """Submit the mutation of one cell. Takes no lock: user code runs."""
        if self._editors is None:
            raise ArgumentError("this table cannot be edited.")
        return self._editors.edit(message["column"], self._id(message["row"]), message["value"])

    def _id(self, number: int) -> Hashable:
        id = self._windows.key(number)
        if id is None or isinstance(id, tuple):
            raise ArgumentError("this row has no id, so nothing can be changed in it.")
        return id

    def _set_selected(self) -> None:
        with unfollowed():
            number = None
            # Any thread may come here: whoever sets the trait last has looked at the rows after that.
            while number != self._selection.number:
                with self._lock:
                    if self._selection.positions:
                        self._update()
                    number, rows = self._selection.number, self._selection.rows(self._view.rows)
                self.set_trait("selected", rows)


class _Selection:
    """Which rows are selected, by their positions.

    Attributes:
        number: another one after every change.
    """

    def __init__(self) -> None:
        self.positions: frozenset[int] = frozenset()
        self.number = 0
        self._from: int | None = None

    def set(self, positions: Sequence[int]) -> None:
        self.positions = frozenset(positions)
        self.number += 1

    def select(self, position: int, how: str, view: RowView) -> None:
        """`only` this row, `toggle` it, or the `range` from the last one for which it was either of these."""
        if how == "range":
            self.set(self._range(position, view))
            return
        self._from = position
        self.set([position] if how == "only" else list(self.positions ^ {position}))

    def follow(self, change: Change) -> None:
        """Rows were replaced: the same ones stay selected, those that are gone do not."""
        if self._from is not None:
            self._from = change.follow(self._from)
        if self.positions:
            self.set([at for at in map(change.follow, self.positions) if at is not None])

    def rows(self, rows: Rows) -> list[Any]:
        return rows.pick(sorted(self.positions))

    def _range(self, position: int, view: RowView) -> Sequence[int]:
        end = view.rank(position)
        start = end if self._from is None else view.rank(self._from)
        if end is None or start is None:
            return [position]
        return view.order[min(start, end) : max(start, end) + 1][: limits.TABLE_SELECTED_MAX]


class _Static:
    """The rows as they are shown, for the static form."""

    def __init__(self, view: RowView, columns: Sequence[Column]) -> None:
        self._view = view
        self._names = [column.name for column in columns]

    def _grid_(self, rows_max: int) -> Grid:
        order = self._view.order
        columns = [self._view.rows.values(name, order[:rows_max]) for name in self._names]
        return Grid(self._names, [list(row) for row in zip(*columns, strict=True)], len(order))


def _check_columns(rows: Rows, asked: Sequence[str] | None) -> None:
    known = [*rows.columns, "id", "creation_time"]
    unknown = [name for name in asked or [] if name not in known]
    if rows.columns and unknown:
        raise ArgumentError(f"the rows have no column {unknown[0]!r}. They have {', '.join(rows.columns)}.")


def _editors(source: Source, edit: AnyMutation | Mapping[str, AnyMutation], rows: Rows) -> Editors:
    db = getattr(source, "db", None)
    if db is None:
        raise ArgumentError("edit= runs mutations, so it needs a handle of `db.live(…)` as its source.")
    if len(rows) > 0 and isinstance(rows.keys(range(1))[0], tuple):
        raise ArgumentError("edit= changes documents by their id, and these rows have none.")
    return Editors(db, edit)
