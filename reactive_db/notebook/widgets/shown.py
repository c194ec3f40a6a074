"""A widget on show: its static form in the notebook is kept right as long as no page draws the widget itself."""

from __future__ import annotations

from typing import Any, Protocol

from reactive_db.notebook.live.display import LiveDisplay
from reactive_db.notebook.live.executions import Execution
from reactive_db.notebook.live.names import NO_NAMES
from reactive_db.notebook.live.outputs import Content, Display


class Static(Protocol):
    """A widget with a static form; see `LiveWidget`."""

    @property
    def is_headless(self) -> bool: ...
    @property
    def number(self) -> int: ...
    def static_bundle(self) -> dict[str, Any]: ...
    def static_metadata(self) -> dict[str, Any]: ...
    def close(self) -> None: ...


class ShownWidget:
    """A `LiveOutput` of one widget. It is what nbclient saves; a browser never sees it change."""

    def __init__(self, widget: Static, display: LiveDisplay, made_by: Execution, *, is_ours: bool = False) -> None:
        """`is_ours`: nobody else holds the widget, so it is closed when it is not on show any more."""
        self.made_by = made_by
        self.names = NO_NAMES
        self.label = type(widget).__name__
        self._widget = widget
        self._display = display
        self._is_ours = is_ours
        self._show()

    @property
    def messages(self) -> int:
        return self._display.messages

    def is_stale(self) -> bool:
        return self._widget.is_headless and self._widget.number != self._number

    def refresh(self) -> None:
        self._show()

    def repeat(self) -> None:
        self._display.repeat()

    def pause(self, is_paused: bool) -> None:
        """A widget cannot be paused."""

    def stop(self, error: Exception) -> None:
        self.close()

    def close(self) -> None:
        self._display.drop()

    def clear(self) -> None:
        self.close()
        if self._is_ours:
            self._widget.close()

    def _show(self) -> None:
        self._number = self._widget.number
        self._display.show(Content([Display(self._widget.static_bundle(), self._widget.static_metadata())]))
