"""A departure board in a terminal: what changed lights up for a moment."""

from __future__ import annotations

from collections import deque
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from reactive_db.cli.flights import Departure
from reactive_db.handles import QueryHandle
from reactive_db.runtime import Runtime

_GLOW_SECONDS: Final = 1.0
_NEWS_SHOWN: Final = 4
_WIDTHS: Final = {"": 5, "Flight": 7, "Airline": None, "To": None, "Gate": 4, "Status": 13}
"""Of the columns; None shares what a terminal has left."""
_COLOURS: Final = {"delayed": "yellow", "boarding": "green", "cancelled": "red"}


class Board:
    """Draws what a handle shows, as often as it is asked to; nobody has to tell it that something changed."""

    def __init__(self, handle: QueryHandle[list[Departure]], title: str, runtime: Runtime) -> None:
        self._handle = handle
        self._title = title
        self._runtime = runtime
        self._drawn: dict[str, Departure] = {}
        self._glowing: dict[str, float] = {}
        self._news: deque[str] = deque(maxlen=_NEWS_SHOWN)

    def tell(self, news: str) -> None:
        """Show a line below the board, among the latest."""
        self._news.append(news)

    def draw(self) -> Group:
        """The board as it is now."""
        now = self._runtime.monotonic()
        rows: dict[str, Departure] = {row.id: row for row in self._handle.value}
        if self._drawn:
            self._glowing.update({id: now for id, row in rows.items() if self._drawn.get(id) != row})
        self._drawn = rows
        table = Table(title=self._title, box=SIMPLE_HEAD, pad_edge=False, expand=True)
        table.title_style, table.title_justify = "bold", "left"
        for column, width in _WIDTHS.items():
            ratio = 1 if width is None else None
            table.add_column(column, width=width, ratio=ratio, no_wrap=True, overflow="ellipsis")
        for id, row in rows.items():
            glows = now - self._glowing.get(id, -_GLOW_SECONDS) < _GLOW_SECONDS
            table.add_row(*_cells(row), style="reverse" if glows else "")
        return Group(table, Text("\n".join(self._news), style="dim"))


def _cells(row: Departure) -> list[Text]:
    expected = f" {row.expected}" if row.expected else ""
    status = Text(row.status + expected, style=_COLOURS.get(row.status, ""))
    return [*(Text(text) for text in (row.time, row.flight, row.airline, row.to, row.gate)), status]
