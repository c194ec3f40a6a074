"""What every view of a table on a page has of its rows, and how that differs from what it should have. Pure.

Theory of operation. A page draws only the rows around what can be seen: its window, which it asks for as it scrolls. A
widget can be on show several times, so each view has a window of its own, and a difference says for each what is new in
it. Rows have small numbers here, by which pages name them: an id of 32 characters for each would be most of a message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any, Final

from reactive_db import limits
from reactive_db.notebook.widgets.table_columns import Column, cell
from reactive_db.notebook.widgets.table_rows import Change, RowView

Message = dict[str, Any]
WireRow = list[Any]
"""The row's number, 1 if it is selected else 0, its cells."""

_DECIDING: Final = 3
"""Of as many rows in sight most say how far all have moved."""


@dataclass(slots=True)
class Window:
    """The rows of one view.

    Attributes:
        start, size: which of the shown rows it has.
        top: which one is the first that can be seen; it stays where it is when rows come or go above it. At 0 it does
            not: whoever looks at the beginning wants to see what comes there.
        moved: how far `top` has moved since the view was told.
        is_asked: the view has asked for it, and was not told since.
        numbers: its rows as the view was told, and where these are now.
    """

    start: int
    size: int
    top: int
    moved: int = 0
    is_asked: bool = True
    numbers: list[int] = field(default_factory=list)
    positions: list[int | None] = field(default_factory=list)
    rows: dict[int, WireRow] = field(default_factory=dict)
    told_start: int = -1

    def whole(self) -> Message:
        """All that the view was told."""
        return {"start": self.told_start, "rows": [self.rows[number] for number in self.numbers]}


class Windows:
    """The windows of all views, by the names that the views have given themselves."""

    def __init__(self) -> None:
        self._views: dict[str, Window] = {}
        self._first = Window(0, limits.TABLE_FIRST_ROWS, 0)
        self._numbers: dict[tuple[Hashable, int], int] = {}
        self._keys: dict[int, Hashable] = {}
        self._next_number = count(1)

    def ask(self, name: str, start: int, size: int, top: int) -> None:
        """A view wants these rows. Of too many views, the one that has not asked for the longest time is forgotten."""
        window = self._views.pop(name, None)
        size = min(max(size, 0), limits.TABLE_WINDOW_ROWS_MAX)
        if window is None:
            window = Window(start, size, top)
        elif (start, size) != (window.start, window.size):
            window.is_asked = True
        window.start, window.size, window.top = max(start, 0), size, max(top, 0)
        self._views[name] = window
        if len(self._views) > limits.TABLE_VIEWS_MAX:
            del self._views[next(iter(self._views))]

    def leave(self, name: str) -> None:
        """A view is gone."""
        self._views.pop(name, None)

    def rewind(self) -> None:
        """The order is another one: every view is at its beginning."""
        for window in self._views.values():
            window.start = window.top = window.moved = 0
            window.is_asked = True

    def follow(self, change: Change, order_before: Sequence[int], view: RowView) -> None:
        """Rows were replaced: what could be seen stays in sight."""
        for window in self._all():
            window.positions = [None if at is None else change.follow(at) for at in window.positions]
            if 0 < window.top < len(order_before):
                shift = _shift(window, change, order_before, view)
                window.start, window.top, window.moved = window.start + shift, window.top + shift, window.moved + shift

    def position(self, number: int) -> int | None:
        """Where a row is now; None if no view has it, or it is not there any more."""
        for window in self._all():
            if number in window.rows:
                return window.positions[window.numbers.index(number)]
        return None

    def key(self, number: int) -> Hashable:
        """The id of a row, or its cells as a tuple; None if no view has had it for long."""
        return self._keys.get(number)

    def differences(self, view: RowView, columns: Sequence[Column], selected: Collection[int]) -> dict[str, Message]:
        """What each view has to be told, if anything; from now on it was told."""
        found = {}
        for name, window in self._views.items():
            difference = self._difference(window, view, columns, selected)
            if difference:
                found[name] = difference
        if len(self._numbers) > limits.TABLE_NUMBERED_ROWS_MAX:
            self._forget_unused()
        return found

    def first(self, view: RowView, columns: Sequence[Column], selected: Collection[int]) -> Message:
        """The first rows, for a view that has not asked for any yet; it is not told how they change."""
        self._difference(self._first, view, columns, selected)
        return self._first.whole()

    def whole(self) -> dict[str, Message]:
        """All that each view was told."""
        return {name: window.whole() for name, window in self._views.items()}

    def _all(self) -> list[Window]:
        return [*self._views.values(), self._first]

    def _difference(
        self, window: Window, view: RowView, columns: Sequence[Column], selected: Collection[int]
    ) -> Message:
        window.start = max(0, min(window.start, len(view.order) - window.size))
        positions = view.order[window.start : window.start + window.size]
        rows = {row[0]: row for row in self._wire_rows(view, positions, columns, selected)}
        before, numbers_before, start_before = window.rows, window.numbers, window.told_start
        window.rows, window.numbers, window.positions = rows, list(rows), list(positions)
        window.told_start = window.start
        difference: Message = {}
        if window.start != start_before:
            difference["start"] = window.start
        if window.numbers != numbers_before:
            difference["order"] = window.numbers
        if changed := [row for number, row in rows.items() if before.get(number) != row]:
            difference["rows"] = changed
        if window.moved:
            difference["moved"] = window.moved
        if window.is_asked and difference:
            difference["asked"] = True
        window.moved, window.is_asked = 0, False
        return difference

    def _wire_rows(
        self, view: RowView, positions: Sequence[int], columns: Sequence[Column], selected: Collection[int]
    ) -> list[WireRow]:
        texts = cells_of(view, positions, columns)
        seen: Counter[Hashable] = Counter()
        rows: list[WireRow] = []
        for id, position, row in zip(view.rows.keys(positions), positions, texts, strict=True):
            # A row without an id is what it says: if that changes, it is another row.
            key = tuple(row) if isinstance(id, tuple) else id
            rows.append([self._number(key, seen[key]), int(position in selected), *row])
            seen[key] += 1
        return rows

    def _number(self, key: Hashable, repetition: int) -> int:
        number = self._numbers.get((key, repetition))
        if number is None:
            number = self._numbers[key, repetition] = next(self._next_number)
            self._keys[number] = key
        return number

    def _forget_unused(self) -> None:
        used = {number for window in self._all() for number in window.numbers}
        self._numbers = {row: number for row, number in self._numbers.items() if number in used}
        self._keys = {number: key for number, key in self._keys.items() if number in used}


def _shift(window: Window, change: Change, order_before: Sequence[int], view: RowView) -> int:
    """How far what can be seen has moved: as its first row that is the same. One that has changed may be far away now,
    so if all have changed, most of them decide.
    """
    in_sight = range(window.top, min(window.start + window.size, len(order_before)))
    same = (at for at in in_sight if not change.has_changed(order_before[at]))
    shifts = []
    for at in [*islice(same, 1)] or in_sight[:_DECIDING]:
        position = change.follow(order_before[at])
        rank = None if position is None else view.rank(position)
        if rank is not None:
            shifts.append(rank - at)
    return sorted(shifts)[len(shifts) // 2] if shifts else 0


def cells_of(view: RowView, positions: Sequence[int], columns: Sequence[Column]) -> list[WireRow]:
    """The cells of rows as the page draws them."""
    if not columns:
        return [[] for _ in positions]
    values = [map(cell, view.rows.values(column.name, positions)) for column in columns]
    return [list(row) for row in zip(*values, strict=True)]
