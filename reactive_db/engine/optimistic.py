"""Optimistic updates: what mutations write that are on their way to a server, as handles show it until they are there.

Theory of operation. A mutation is run here when it is asked for, and what it writes lies over the snapshots that
handles are computed at: one update over the other, in the order in which the mutations were asked for. It is never
committed from there; what is committed was run on what is committed. An update goes in the same step in which the
commit of its mutation arrives, so nobody sees it twice or not at all. When something else changes what it has read,
its mutation is run again on top of whatever lies below.

Nothing here takes a lock: the replica's guards it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from reactive_db import limits
from reactive_db.engine.read_set import ReadSet
from reactive_db.engine.snapshots import WriteSet
from reactive_db.engine.transaction import Transaction
from reactive_db.engine.write_log import LoggedCommit, overlap
from reactive_db.model.schema import TableSchema
from reactive_db.runtime import Runtime
from reactive_db.storage.tables import Write

SchemaWrites = dict[int, tuple[TableSchema, list[Write]]]
"""By table number, its schema and what becomes of documents."""


@dataclass(eq=False, slots=True)
class OptimisticUpdate:
    """What one mutation writes, before it is committed.

    Attributes:
        source: the mutation's name.
        runtime: makes the time and the randomness of its runs, the same for each.
        run: runs it in a transaction; raises whatever it raises.
        commit: the number of the commit that is on its way; None between two tries, and before the first.
        is_stale: it has to run again.
    """

    source: str
    runtime: Callable[[], Runtime]
    run: Callable[[Transaction], None]
    commit: int | None = None
    is_stale: bool = True
    reads: ReadSet = field(default_factory=ReadSet)
    writes: SchemaWrites = field(default_factory=dict)

    def sent(self, commit: int | None) -> None:
        """Its mutation is on its way under that number; with None, it was refused."""
        self.commit = commit


class OptimisticUpdates:
    """The updates over one replica, the oldest first.

    Responsibilities: their order, and what they come to together. Not: running them, or telling anybody.

    Attributes:
        over: what they come to. Never changed in place: whoever has it may keep it.
        step: how often `over` has changed at the present timestamp.
        changes: how often it has changed at all.
    """

    def __init__(self) -> None:
        self.over: WriteSet = {}
        self.step = 0
        self.changes = 0
        self._updates: list[OptimisticUpdate] = []
        self._recent: deque[LoggedCommit] = deque(maxlen=limits.OPTIMISTIC_COMMITS_MAX)
        self._known_from = 0
        """From this timestamp on, every commit is among the recent ones."""

    def __len__(self) -> int:
        return len(self._updates)

    def push(self, update: OptimisticUpdate) -> None:
        """Lay an update over all others."""
        self._updates.append(update)

    def drop(self, update: OptimisticUpdate) -> bool:
        """Take an update away; False if it is gone already."""
        if update not in self._updates:
            return False
        at = self._updates.index(update)
        del self._updates[at]
        self._changed(at, update.writes)
        return True

    def confirm(self, commit: int) -> list[OptimisticUpdate]:
        """Take those away whose commits have arrived: all up to number `commit`."""
        done = [one for one in self._updates if one.commit is not None and one.commit <= commit]
        for update in done:
            self.drop(update)
        return done

    def settle(self, update: OptimisticUpdate, transaction: Transaction | None) -> SchemaWrites:
        """Take what a run has read and written, nothing if it raised; returns all that is different now."""
        update.is_stale = False
        if update not in self._updates:
            return {}
        before = update.writes
        update.writes = {}
        if transaction is not None:
            update.reads = transaction.read_set
            tables = transaction.tables
            update.writes = {number: (tables[number].schema, found) for number, found in transaction.writes.items()}
        changed = {
            number: (schema, [*before.get(number, (schema, []))[1], *update.writes.get(number, (schema, []))[1]])
            for number, (schema, _) in {**before, **update.writes}.items()
        }
        self._changed(self._updates.index(update) + 1, changed)
        return changed

    def invalidate(self, commit: LoggedCommit) -> None:
        """Note which updates have read what `commit` wrote."""
        if len(self._recent) == self._recent.maxlen:
            self._known_from = self._recent[0].ts
        self._recent.append(commit)
        self._mark(commit, 0)

    def invalidate_everything(self, ts: int) -> None:
        """Whatever they have read before `ts` may be wrong."""
        self._known_from = ts
        for update in self._updates:
            update.is_stale = True

    def is_passed(self, transaction: Transaction) -> bool:
        """Whether a commit after it began may have changed what a transaction read."""
        began, reads = transaction.begin_ts, transaction.read_set
        if began < self._known_from:
            return True
        return any(commit.ts > began and overlap(commit, reads) is not None for commit in self._recent)

    def moved(self) -> None:
        """There is a new timestamp."""
        self.step = 0

    def next_stale(self) -> OptimisticUpdate | None:
        """The lowest one that has to run again."""
        return next((one for one in self._updates if one.is_stale), None)

    def below(self, update: OptimisticUpdate) -> WriteSet:
        """What the updates below one come to."""
        return _together(self._updates[: self._updates.index(update)])

    def _changed(self, first: int, writes: SchemaWrites) -> None:
        self.over = _together(self._updates)
        self.step += 1
        self.changes += 1
        self._mark(LoggedCommit(0, "", writes, is_bulk=False), first)

    def _mark(self, commit: LoggedCommit, first: int) -> None:
        for update in self._updates[first:]:
            update.is_stale = update.is_stale or overlap(commit, update.reads) is not None


def _together(updates: list[OptimisticUpdate]) -> WriteSet:
    """From what is committed to what the last update makes of it."""
    found: dict[int, dict[str, Write]] = {}
    for update in updates:
        for number, (_, writes) in update.writes.items():
            own = found.setdefault(number, {})
            for write in writes:
                before = own.get(write.id)
                own[write.id] = write if before is None else Write(write.id, before.old, write.new, write.data)
    return found
