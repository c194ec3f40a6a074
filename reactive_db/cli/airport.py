"""A busy airport: decides what happens next on a departure board, makes it happen, and measures how long it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from reactive_db.cli.flights import GATES, Departure, board, cancel, delay, departures, leave, move, open_day
from reactive_db.database import Database
from reactive_db.functions.definitions import Mutation
from reactive_db.handles import QueryHandle
from reactive_db.runtime import Random, Runtime

DATE: Final = date(2013, 7, 15)
_HEAD_ROWS: Final = 3
"""The flights that board and leave next."""


@dataclass(slots=True)
class Times:
    """How long mutations took, in seconds.

    Attributes:
        durable: until the mutation returned: committed, on disk, and shown.
        shown: until the observer of the board heard of it, for those that changed the board.
    """

    durable: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)


class BusyAirport:
    """One airport's day, driven change by change."""

    def __init__(self, db: Database, airport: str, runtime: Runtime) -> None:
        self._db = db
        self._runtime = runtime
        self._random: Random = runtime.random()
        self._began = 0.0
        self.times = Times()
        self.flights = db.run(open_day, airport, DATE.month, DATE.day)
        self.board: QueryHandle[list[Departure]] = db.live(departures, airport, DATE.month, DATE.day)
        self.board.observe(self._hear, "value")

    def change(self) -> str:
        """Make one change to a flight on the board; what it was, in words. "" when every flight has left."""
        rows = self.board.value
        if not rows:
            return ""
        words, mutation, arguments = self._choose(rows)
        self._run(mutation, *arguments)
        return words

    def hurry(self, seconds: float) -> float:
        """Delay flights for some time, as fast as one caller can; how many a second."""
        flights = [row.id for row in self.board.value]
        began, count = self._runtime.monotonic(), 0
        while flights and self._runtime.monotonic() - began < seconds:
            self._db.run(delay, flights[count % len(flights)], 1)
            count += 1
        return count / (self._runtime.monotonic() - began) if count else 0.0

    def _choose(self, rows: list[Departure]) -> tuple[str, Mutation[Any, Any], tuple[Any, ...]]:
        row, kind = self._random.choice(rows), self._random.random()
        if kind < 0.4 or row.status in ("boarding", "cancelled"):
            return _next_step(self._random.choice(rows[:_HEAD_ROWS]))
        name = f"{row.flight} to {row.to}"
        if kind < 0.7:
            minutes = self._random.randrange(5, 60, 5)
            return f"{name} leaves {minutes} minutes later", delay, (row.id, minutes)
        if kind < 0.9:
            gate = self._random.choice(GATES)
            return f"{name} moves to gate {gate}", move, (row.id, gate)
        return f"{name} is cancelled", cancel, (row.id,)

    def _run(self, mutation: Mutation[Any, Any], *arguments: Any) -> None:
        self._began = self._runtime.monotonic()
        self._db.run(mutation, *arguments)
        self.times.durable.append(self._runtime.monotonic() - self._began)
        self._began = 0.0

    def _hear(self, change: Any) -> None:
        if self._began:
            self.times.shown.append(self._runtime.monotonic() - self._began)


def _next_step(row: Departure) -> tuple[str, Mutation[Any, Any], tuple[Any, ...]]:
    """What becomes of a flight in the end: it boards, and then leaves."""
    name = f"{row.flight} to {row.to}"
    if row.status in ("boarding", "cancelled"):
        return f"{name} {'has departed' if row.status == 'boarding' else 'leaves the board'}", leave, (row.id,)
    return f"{name} is boarding at {row.gate}", board, (row.id,)
