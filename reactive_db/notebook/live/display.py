"""One place in a notebook whose content can be replaced in one step."""

from __future__ import annotations

from typing import Any

from reactive_db.notebook.live.outputs import Display
from reactive_db.runtime import Runtime


class LiveDisplay:
    """A display with an id: shown where the running cell is at first, replaced there ever after."""

    def __init__(self, publisher: Any, runtime: Runtime) -> None:
        self._publisher = publisher
        self._transient = {"display_id": runtime.random_bytes(16).hex()}
        self._is_shown = False

    def show(self, display: Display) -> None:
        """Replace the content."""
        self._publisher.publish(display.data, display.metadata, transient=self._transient, update=self._is_shown)
        self._is_shown = True
