"""`Value`: one value of a handle, as text in the flow of a page."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from reactive_db.notebook.widgets.widget import LiveWidget, Message, Source, page_code, page_style
from reactive_db.presentation import cell_text


class Value(LiveWidget):
    """The value of a handle as one line of text.

        Value(db.live(count_messages), "{:,} messages")

    Args:
        source: a handle.
        format: a format string with one place for the value, or a function that makes the text.
    """

    _esm = page_code("value")
    _css = page_style("value")

    def __init__(self, source: Source, format: str | Callable[[Any], str] = "{}") -> None:
        self._source = source
        self._format = format.format if isinstance(format, str) else format
        super().__init__(source)

    def _draw(self) -> Message:
        error = self._source.error
        return {"text": self._text(), "error": None if error is None else str(error), "label": self._source.title}

    def _static(self) -> tuple[str, str]:
        return self._text(), f"<span>{escape(self._text())}</span>"

    def _text(self) -> str:
        value = self._source.value
        return self._format(cell_text(value) if value is None else value)
