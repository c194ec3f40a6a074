"""A live query: one query with one set of arguments, its latest outcome, and whoever watches it."""

from __future__ import annotations

import copy
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from reactive_db.engine.read_set import ReadSet
from reactive_db.engine.snapshots import Snapshot
from reactive_db.errors import ReturnError
from reactive_db.model.codec import encoder
from reactive_db.model.documents import Document
from reactive_db.model.ids import Id

_ATOMS: Final = frozenset({type(None), bool, int, float, str, bytes, Id})

Key = tuple[str, bytes]
"""A query's name (or an SQL text) and its encoded arguments."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of a query gave."""

    snapshot: Snapshot
    reads: ReadSet
    value: Any = None
    error: Exception | None = None
    page_end: str | None = None
    """The cursor at which its page ended: a re-run covers the same keys, so pages grow and shrink but never shift."""
    is_volatile: bool = False
    """It asked for time or randomness, so another run may differ though nothing changed."""
    documents_read: int | None = None
    """None where nobody counts: SQL reads tables, not documents."""

    @property
    def ts(self) -> int:
        """The timestamp that it is right at."""
        return self.snapshot.ts

    def at(self, later: Outcome) -> Outcome:
        """This value, found again by a `later` run."""
        return replace(later, value=self.value, error=self.error)

    def forget_frames(self) -> None:
        """Let go of the frames of an error: they lead to those of whoever ran the query, and to all that these hold."""
        pending, known = [self.error], set[int]()
        while pending:
            error: BaseException | None = pending.pop()
            if error is not None and id(error) not in known:
                known.add(id(error))
                error.__traceback__ = None
                pending += [error.__cause__, error.__context__]  # type: ignore[list-item]

    def shows_same_as(self, other: Outcome) -> bool:
        """Whether nobody could tell this outcome from `other`."""
        if self.error is not None or other.error is not None:
            return type(self.error) is type(other.error) and str(self.error) == str(other.error)
        return is_same(self.value, other.value)


class Watcher(Protocol):
    """Somebody who shows a live query."""

    def show(self, outcome: Outcome) -> Callable[[], None] | None:
        """Take a new outcome, telling nobody; the returned function tells, and is called later, in order."""

    def lose_touch(self) -> Callable[[], None] | None:
        """What is shown is not kept right any more, until `show` is called; returns what tells, as `show`."""


Compute = Callable[[Snapshot, str | None], Outcome]
"""Runs a query at a snapshot, given where its page ended before."""


@dataclass(eq=False, slots=True)
class LiveQuery:
    """One query that is kept right.

    Attributes:
        run: computes it. Replaced when its function is defined anew.
        reads_columns: it is SQL: the columns must stand at its timestamp.
        outcome: the latest; None before the first run.
        shown: what its watchers show, None before the first of them. Changes only in the scheduler's turn, and only
            together with the watchers, so whoever runs the query at another time does not change what is compared.
        is_stale: a commit wrote where it read.
        is_out_of_touch: its watchers say so, and have to be shown its next outcome even if that is the same.
        seconds_last, seconds_total: how long its latest run took, and all of its `runs`.
        number: what came first has the lower one; stale queries run, and are told of, in this order.
        lock: held while it runs, so that it runs once for everybody who asks.
    """

    key: Key
    run: Compute
    reads_columns: bool = False
    outcome: Outcome | None = None
    shown: Outcome | None = None
    is_stale: bool = True
    is_out_of_touch: bool = False
    registered: ReadSet | None = None
    runs: int = 0
    seconds_last: float = 0.0
    seconds_total: float = 0.0
    number: int = field(default_factory=itertools.count().__next__)
    lock: threading.RLock = field(default_factory=threading.RLock)
    watchers: dict[int, weakref.ref[Watcher]] = field(default_factory=dict)

    @property
    def is_behind(self) -> bool:
        """Whether its watchers do not show its latest outcome, or that is not right any more."""
        return self.is_stale or self.outcome is None or (self.shown is not None and self.shown is not self.outcome)

    def living_watchers(self) -> Iterator[Watcher]:
        for reference in list(self.watchers.values()):
            watcher = reference()
            if watcher is not None:
                yield watcher


def isolated(value: Any) -> Any:
    """`value`, safe to hand out: what its receiver changes in it changes nothing here.

    Raises:
        ReturnError: something in it cannot be copied.
    """
    if _is_frozen(value):
        return value
    if isinstance(value, list):
        return [item if _is_frozen(item) else isolated(item) for item in value]
    if isinstance(value, dict):
        return {key: isolated(item) for key, item in value.items()}
    try:
        return copy.deepcopy(value)
    except Exception as error:
        raise ReturnError(
            f"a query gave a `{type(value).__name__}`, which cannot be copied for each of its readers ({error}). "
            "Return values, documents, arrays or data frames."
        ) from error


def _is_frozen(value: Any) -> bool:
    """Whether nothing in `value` can be changed, as far as that is cheap to know."""
    return type(value) in _ATOMS or (isinstance(value, Document) and value.__is_shareable__)


def is_same(one: Any, other: Any) -> bool:
    """Whether nobody could tell `one` from `other`; False if that is not known, as showing it once more is harmless."""
    try:
        if type(one) is not type(other) or not bool(one == other):
            return False
    except Exception:  # DataFrames and arrays have no single answer
        return False
    try:
        # Python takes 1, 1.0 and True for equal; whoever looks does not.
        return encoder.encode(one) == encoder.encode(other)
    except Exception:  # something in it is no plain value
        return True
