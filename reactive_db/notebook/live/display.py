"""The place of one live output in a notebook, whose content can be replaced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reactive_db.notebook.live.executions import Execution
from reactive_db.notebook.live.outputs import WIDGET_VIEW, Content, Display, displays_of, outputs_of
from reactive_db.notebook.live.pages import Pages, Shown
from reactive_db.presentation import marked
from reactive_db.runtime import Runtime


class LiveDisplay:
    """Shows a content where the running cell is at first, and replaces it there ever after.

    Every front end takes the first content from the running cell's messages. Later ones go to our pages where there
    are any, each in one step; elsewhere to the displays that were made at first.

    Attributes:
        messages: how many messages the last content took.
    """

    def __init__(self, publisher: Any, pages: Pages, made_by: Execution, runtime: Runtime, *, owns_cell: bool) -> None:
        self._publisher = publisher
        self._pages = pages
        self._cell = made_by.cell
        self._name = runtime.random_bytes(16).hex()
        self._owns_cell = owns_cell
        self._content = Content()
        self._displays: list[Display] = []
        self._are_widgets_drawn = False
        self._is_paused = False
        self.messages = 0

    def show(self, content: Content, *, are_widgets_drawn: bool = False) -> None:
        """Replace the content; with `are_widgets_drawn`, a widget that is shown already draws itself."""
        self._content = content
        self._are_widgets_drawn = are_widgets_drawn
        self.messages = 0
        if not self._displays:
            self._displays = displays_of(content)
            self._publish(range(len(self._displays)), update=False)
        elif not self._pages.reaches(self._cell):
            before, self._displays = self._displays, displays_of(content, len(self._displays))
            self._publish([at for at, display in enumerate(self._displays) if display != before[at]], update=True)
        self._tell_pages()

    def repeat(self) -> None:
        """Send the content once more, for a front end that hears only what is sent while a cell runs."""
        if not self._pages.reaches(self._cell):
            self._displays = displays_of(self._content, len(self._displays))
            self._publish(range(len(self._displays)), update=True)

    def pause(self, is_paused: bool) -> None:
        """Say that the content stays as it is for the time being, or no longer."""
        self._is_paused = is_paused
        self._tell_pages()
        self._pages.flush()

    def drop(self) -> None:
        """The content stays as it is for good."""
        self._pages.drop(self._name)

    def _publish(self, places: Iterable[int], *, update: bool) -> None:
        for at in places:
            display, transient = self._displays[at], {"display_id": f"{self._name}-{at}"}
            if update and self._are_widgets_drawn and WIDGET_VIEW in display.data:
                continue  # a page would draw it a second time
            metadata = marked(display.metadata, live=self._name)
            self._publisher.publish(display.data, metadata, transient=transient, update=update)
            self.messages += 1

    def _tell_pages(self) -> None:
        if self._cell is None:
            return
        failed = "failed" if self._content.failure is not None else "live"
        state: Any = "paused" if self._is_paused else failed
        self._pages.show(self._name, Shown(self._cell, outputs_of(self._content, self._name), self._owns_cell, state))
