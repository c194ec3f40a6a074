"""A handle shown in a notebook: a table that is right again the moment the data changes."""

from __future__ import annotations

from typing import Any

from reactive_db.handles import QueryHandle
from reactive_db.notebook.live.display import LiveDisplay
from reactive_db.notebook.live.executions import Execution
from reactive_db.notebook.live.names import NO_NAMES
from reactive_db.notebook.live.outputs import Content, Display
from reactive_db.notebook.live.reads import Reads
from reactive_db.notebook.live.refresher import Refresher
from reactive_db.presentation import as_html, failure_mark


class LiveTable:
    """A `LiveOutput` of one handle. It holds the handle, so what is on show stays live."""

    def __init__(
        self, handle: QueryHandle[Any], display: LiveDisplay, refresher: Refresher, made_by: Execution
    ) -> None:
        self.made_by = made_by
        self.names = NO_NAMES
        self.label = handle.title
        self._handle = handle
        self._display = display
        self._refresher = refresher
        self._reads = Reads(refresher.wake)
        self._before: Any = None
        self.refresh()

    def is_stale(self) -> bool:
        return self._reads.is_stale()

    def refresh(self) -> None:
        self._reads.close()
        seen = self._reads.add(self._handle)
        self._show(seen.error)
        self._before = seen.value

    @property
    def messages(self) -> int:
        return self._display.messages

    def repeat(self) -> None:
        self._display.repeat()

    def pause(self, is_paused: bool) -> None:
        self._display.pause(is_paused)

    def stop(self, error: Exception) -> None:
        self._show(error)
        self.close()

    def close(self) -> None:
        self._reads.close()
        self._display.drop()

    def clear(self) -> None:
        self.close()

    def _show(self, error: Exception | None) -> None:
        self._display.show(Content([table_of(self._handle, error, self._before)]))


def table_of(handle: QueryHandle[Any], error: Exception | None, before: Any = None) -> Display:
    """What a handle looks like; rows that `before` did not have light up."""
    value = handle.value
    html = as_html(value, caption=handle.title, error=error, before=before)
    mark = {} if error is None else failure_mark(f"{type(error).__name__}: {error}")
    return Display({"text/plain": repr(handle), "text/html": html}, mark)
