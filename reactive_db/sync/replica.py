"""A replica: the documents of the key ranges that a kernel has read, kept fresh by the server.

Theory of operation. A replica has the tables and snapshots of a store, but not all documents. What it has is known by
key range (`Coverage`); a read of anything else asks the server, which answers at the newest timestamp and watches the
range from then on. Whoever read at an older snapshot runs again on the newer one, where the range is known; so each
run gets further than the one before. All ranges move together, by transitions.

`hear` is called by the one thread that receives. Every other method may be called from any thread.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Protocol

from reactive_db import limits
from reactive_db.engine.read_set import BY_ID
from reactive_db.engine.snapshots import SnapshotPassed, Snapshots
from reactive_db.engine.write_log import LoggedCommit
from reactive_db.model.documents import Document
from reactive_db.model.ids import Id
from reactive_db.model.keys import KeyRange, point
from reactive_db.model.schema import TableSchema
from reactive_db.storage.tables import Table, Write
from reactive_db.sync import messages as m
from reactive_db.sync.coverage import LAST, Coverage

_FIRST_DOCUMENTS = 64


class Source(Protocol):
    """Asks the server; returns when the replica has taken the answer.

    Raises:
        Disconnected: there is no connection, or it was lost meanwhile.
    """

    def ask(self, make: Callable[[int], m.Message]) -> m.Message: ...


class ReplicaTable(Table):
    """What is known here of one table. Reads ask the server for what is not."""

    def __init__(self, schema: TableSchema, source: Source) -> None:
        super().__init__(schema)
        self._source = source
        self._coverage: defaultdict[str, Coverage] = defaultdict(Coverage)

    def get(self, id: str, ts: int) -> Document | None:
        key_range = point(id.encode())
        if not self._coverage[BY_ID].holds(key_range.lo, ts) and not self._is_held(id, ts):
            self._fetch(BY_ID, key_range, ts, descending=False, most=1)
        return super().get(id, ts)

    def scan(self, index: str, key_range: KeyRange, ts: int, descending: bool) -> Iterator[tuple[bytes, Document]]:
        lo, hi, prefix = key_range.lo, LAST if key_range.hi is None else key_range.hi, key_range.prefix
        coverage, most = self._coverage[index], _FIRST_DOCUMENTS
        while lo < hi:
            if descending:
                edge = max(coverage.down_from(hi, ts), lo)
                known, hi = KeyRange(edge, _end(hi), prefix), edge
            else:
                edge = min(coverage.up_from(lo, ts), hi)
                known, lo = KeyRange(lo, _end(edge), prefix), edge
            yield from super().scan(index, known, ts, descending)
            if lo < hi:
                self._fetch(index, KeyRange(lo, _end(hi), prefix), ts, descending, most)
                most = min(most * 4, limits.READ_DOCUMENTS_MAX)

    def count(self, index: str, key_range: KeyRange, ts: int) -> int:
        lo, hi = key_range.lo, LAST if key_range.hi is None else key_range.hi
        if self._coverage[index].up_from(lo, ts) >= hi:
            return super().count(index, key_range, ts)
        number = self.schema.number
        answer = self._source.ask(lambda request: m.Count(request, m.Range.of((number, index), key_range)))
        assert isinstance(answer, m.Counted)
        if answer.ts != ts:
            raise SnapshotPassed(self.schema.name)
        return answer.count

    def newest(self, id: str) -> Document | None:
        """The newest state that was told here, whether or not that is still so."""
        version = self._versions.get(id)
        return None if version is None else self._document(version)

    def cover(self, index: str, key_range: KeyRange, since: int) -> None:
        """Everything in a range is here from `since` on."""
        self._coverage[index].add(key_range.lo, LAST if key_range.hi is None else key_range.hi, since)

    def forget(self) -> None:
        """Nothing is known any more; what older snapshots see stays as long as they do."""
        self._coverage.clear()

    @property
    def ranges(self) -> int:
        """How many key ranges are known."""
        return sum(map(len, self._coverage.values()))

    def _is_held(self, id: str, ts: int) -> bool:
        """Whether a document is known because a range that it is in is."""
        found = super().get(id, ts)
        if found is None:
            return False
        indexes = [name for name in self._coverage if name != BY_ID]
        return any(self._coverage[name].holds(self.schema.index(name).key(found), ts) for name in indexes)

    def _fetch(self, index: str, key_range: KeyRange, ts: int, descending: bool, most: int) -> None:
        asked = m.Range.of((self.schema.number, index), key_range)
        answer = self._source.ask(lambda request: m.Read(request, asked, descending, most))
        assert isinstance(answer, m.Rows)
        if answer.ts != ts:
            raise SnapshotPassed(self.schema.name)


class Replica:
    """The documents of one store that are here.

    Responsibilities: taking transitions and answers, all at one timestamp. Not: asking, or what tables there are.

    Attributes:
        snapshots: which timestamps are read here; `published` is that of the last transition.
        listeners: called with every transition as a commit, before anybody may see it.
    """

    def __init__(self) -> None:
        self.snapshots = Snapshots(0)
        self.listeners: list[Callable[[LoggedCommit], None]] = []
        self.tables: dict[int, ReplicaTable] = {}
        self.lock = threading.RLock()

    def take(self, transition: m.Transition) -> None:
        """Move everything to the timestamp of a transition."""
        with self.lock:
            writes: dict[int, list[Write]] = defaultdict(list)
            for written in transition.writes:
                table = self.tables.get(written.table)
                write = None if table is None else _write(table, written)
                if write is not None:
                    writes[written.table].append(write)
            void = [number for number in {*transition.whole, *transition.touched} if number in self.tables]
            for number in transition.whole:
                if number in self.tables:
                    self.tables[number].forget()
            self._apply(transition.ts, writes)
            changed = {number: (self.tables[number].schema, found) for number, found in writes.items()}
            self._publish(transition, changed, is_bulk=False)
            self._publish(transition, {number: (self.tables[number].schema, []) for number in void}, is_bulk=True)
            self.snapshots.head = self.snapshots.published = transition.ts

    def take_rows(self, rows: m.Rows) -> None:
        """Take the documents of a range, which is known from now on."""
        with self.lock:
            table = self.tables[rows.covered.table]
            told = (_write(table, m.Written(rows.covered.table, id, data)) for id, data in rows.documents)
            self._apply(rows.ts, {rows.covered.table: [one for one in told if one is not None and one.old != one.new]})
            covered = rows.covered
            table.cover(covered.index, covered.keys, rows.ts)

    def start(self, ts: int) -> None:
        """Begin anew at `ts`: nothing is known, and whatever was found before may be wrong."""
        with self.lock:
            for table in self.tables.values():
                table.forget()
            self.snapshots.head = self.snapshots.published = max(ts, self.snapshots.published)

    def _apply(self, ts: int, writes: dict[int, list[Write]]) -> None:
        oldest = self.snapshots.oldest()
        for number, found in writes.items():
            self.tables[number].apply(ts, found)
            self.tables[number].vacuum(oldest)

    def _publish(
        self, transition: m.Transition, writes: dict[int, tuple[TableSchema, list[Write]]], is_bulk: bool
    ) -> None:
        if writes:
            commit = LoggedCommit(transition.ts, transition.source, writes, is_bulk)
            for listener in self.listeners:
                listener(commit)


def _write(table: ReplicaTable, written: m.Written) -> Write | None:
    """From what is here to what was told; None if there is nothing here nor there."""
    new = None if written.document is None else table.schema.decode(written.document)
    old = table.newest(written.id)
    return None if old is None and new is None else Write(Id(written.id), old, new, written.document)


def _end(key: bytes) -> bytes | None:
    return None if key == LAST else key
