"""`Metric`: one number, large, with how it has changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from html import escape
from typing import Any, Final

from reactive_db.errors import ArgumentError
from reactive_db.handles import unfollowed
from reactive_db.notebook.widgets.widget import LiveWidget, Message, Source, page_code, page_style
from reactive_db.presentation import as_grid, cell_text, framed

_DIGITS: Final = 6
"""Of a change between floats: 0.3 - 0.1 is 0.2 to whoever looks at it."""


class Metric(LiveWidget):
    """A number of a handle, with its label and its last change: `Sales 1,234 ▲ +12`.

        Metric(db.live("SELECT sum(amount) FROM sales"), "Sales", "{:,} €")

    Args:
        source: a handle whose value is a number, or a result of SQL with one row and one column.
        label: what the number is.
        format: a format string with one place for the number, or a function that makes the text.
        delta: the same for the change; None shows no change.

    Raises:
        ArgumentError: the value is nothing that the format can show.
    """

    _esm = page_code("metric")
    _css = page_style("metric")

    def __init__(
        self,
        source: Source,
        label: str,
        format: str | Callable[[Any], str] = "{:,}",
        delta: str | Callable[[Any], str] | None = "{:+,}",
    ) -> None:
        self._source = source
        self._label = label
        self._format = format.format if isinstance(format, str) else format
        self._delta = delta.format if isinstance(delta, str) else delta
        self._shown: Any = None
        self._step: Any = None
        with unfollowed():
            self._text(_single(source.value))
        super().__init__(source)

    def _draw(self) -> Message:
        value = _single(self._source.value)
        if value != self._shown:
            self._step, self._shown = _difference(value, self._shown), value
        error = self._source.error
        try:
            text = self._text(value)
        except ArgumentError as misfit:
            text, error = cell_text(None), misfit
        return {
            "label": self._label,
            "text": text,
            "step": self._step_text(),
            "is_up": bool(self._step) and self._step > 0,
            "error": None if error is None else str(error),
        }

    def _static(self) -> tuple[str, str]:
        text = self._draw()["text"]
        html = f'<div class="caption">{escape(self._label)}</div><b style="font-size: 2em">{escape(text)}</b>'
        return f"{self._label}: {text}", framed(html)

    def _text(self, value: Any) -> str:
        """Raises ArgumentError."""
        try:
            return cell_text(value) if value is None else self._format(value)
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                f"metric {self._label!r} cannot show `{type(value).__name__}`: {error}. It shows a number, or a "
                "result of SQL with one row and one column; `format=` may be a function that makes a text of anything."
            ) from None

    def _step_text(self) -> str:
        if not self._step or self._delta is None:
            return ""
        return f"{'▲' if self._step > 0 else '▼'} {self._delta(self._step)}"


def _single(value: Any) -> Any:
    """The only cell of a grid; any other value as it is."""
    grid = as_grid(value)
    return value if grid is None or grid.total != 1 or len(grid.columns) != 1 else grid.rows[0][0]


def _difference(after: Any, before: Any) -> Any:
    """How far a number has moved; None where that makes no sense."""
    if not (_is_number(after) and _is_number(before)):
        return None
    if isinstance(after, float) or isinstance(before, float):
        return float(f"{float(after) - float(before):.{_DIGITS}g}")
    return after - before


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool) and math.isfinite(value)
