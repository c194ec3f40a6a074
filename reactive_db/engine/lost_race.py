"""What is remembered of a race that a transaction lost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class LostRace:
    """A transaction read where another commit wrote after it had begun.

    Attributes:
        source: the function that lost.
        begin_ts: the timestamp it read at.
        table, index: where the two met.
        winner, winner_ts: the function that was first, and its commit.
        retried_ts: what the loser was committed at in the end; None if it was not, or not yet.
    """

    source: str
    begin_ts: int
    table: str
    index: str
    winner: str
    winner_ts: int
    retried_ts: int | None = None
