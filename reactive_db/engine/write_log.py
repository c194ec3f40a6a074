"""The write log: the recent tail of commits, in memory, for validation and for subscriptions."""

from __future__ import annotations

from collections.abc import Iterator

from reactive_db import limits
from reactive_db.engine.read_set import BY_ID, ReadSet, Space
from reactive_db.model.schema import TableSchema
from reactive_db.storage.tables import Write


class Conflict(Exception):
    """Where a read set and a later commit met."""

    def __init__(self, commit: LoggedCommit, space: Space) -> None:
        super().__init__(commit, space)
        self.commit = commit
        self.space = space


class LoggedCommit:
    """What one commit wrote, as keys.

    The keys of an index are made when somebody asks: an index nobody reads costs nothing.
    """

    __slots__ = ("_keys", "is_bulk", "source", "step", "ts", "writes")

    def __init__(
        self, ts: int, source: str, writes: dict[int, tuple[TableSchema, list[Write]]], is_bulk: bool, step: int = 0
    ) -> None:
        self.ts = ts
        self.step = step
        """Not 0: no commit, but a change of what pending mutations write; see `Snapshot`."""
        self.source = source
        self.writes = writes
        self.is_bulk = is_bulk
        """Touches its tables as a whole; a bulk load would make a million keys for nobody."""
        self._keys: dict[Space, list[bytes]] = {}

    def keys(self, space: Space) -> list[bytes]:
        """The keys that documents left, entered or kept with new content in `space`."""
        found = self._keys.get(space)
        if found is None:
            found = self._keys[space] = list(self._make_keys(space))
        return found

    def _make_keys(self, space: Space) -> Iterator[bytes]:
        table, name = space
        if table not in self.writes:
            return
        schema, writes = self.writes[table]
        if name == BY_ID:
            yield from (write.id.encode() for write in writes)
            return
        if name not in schema.indexes:
            # Its readers belong to another definition of the table, and meet the commit of that.
            return
        key = schema.index(name).key
        for write in writes:
            old = None if write.old is None else key(write.old)
            new = None if write.new is None else key(write.new)
            if old is not None:
                yield old
            if new is not None and new != old:
                yield new


class WriteLog:
    """Commits in timestamp order, consecutive, the oldest dropped past `WRITE_LOG_COMMITS_MAX`.

    Written by the Committer alone, under its turn.
    """

    def __init__(self, last_ts: int) -> None:
        self._commits: dict[int, LoggedCommit] = {}
        self._first = last_ts + 1
        self._last = last_ts

    def append(self, commit: LoggedCommit) -> None:
        self._commits[commit.ts] = commit
        self._last = commit.ts

    def trim(self, oldest: int) -> None:
        """Forget commits that no live transaction can meet, and those past the limit."""
        first = max(oldest + 1, self._last - limits.WRITE_LOG_COMMITS_MAX + 1)
        while self._first < min(first, self._last + 1):
            self._commits.pop(self._first, None)
            self._first += 1

    def validate(self, reads: ReadSet, begin_ts: int) -> None:
        """Check that nothing after `begin_ts` wrote where `reads` read.

        Raises:
            Conflict: with the first commit that did, or with the oldest one known when the log no longer reaches back.
        """
        if begin_ts == self._last:
            return
        if begin_ts + 1 < self._first:
            raise Conflict(LoggedCommit(self._first, "a commit long past", {}, False), (0, BY_ID))
        for ts in range(begin_ts + 1, self._last + 1):
            space = overlap(self._commits[ts], reads)
            if space is not None:
                raise Conflict(self._commits[ts], space)


def overlap(commit: LoggedCommit, reads: ReadSet) -> Space | None:
    """The space in which `commit` wrote something that `reads` read."""
    if commit.is_bulk:
        tables = reads.tables | {table for table, _ in reads.documents} | {table for table, _ in reads.ranges}
        touched = tables & commit.writes.keys()
        return (touched.pop(), BY_ID) if touched else None
    for table, (_, writes) in commit.writes.items():
        if any((table, write.id) in reads.documents for write in writes):
            return table, BY_ID
    for space, ranges in reads.ranges.items():
        if space[0] in commit.writes:
            keys = commit.keys(space)
            if any(key_range.contains(key) for key_range in ranges for key in keys):
                return space
    return None
