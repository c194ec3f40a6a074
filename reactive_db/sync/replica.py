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
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

import msgspec

from reactive_db import limits
from reactive_db.engine.optimistic import OptimisticUpdate, OptimisticUpdates, SchemaWrites
from reactive_db.engine.read_set import BY_ID
from reactive_db.engine.snapshots import Snapshot, SnapshotPassed, Snapshots
from reactive_db.engine.transaction import Transaction
from reactive_db.engine.write_log import LoggedCommit
from reactive_db.errors import SchemaError
from reactive_db.model.codec import Converter
from reactive_db.model.documents import Document
from reactive_db.model.ids import Id
from reactive_db.model.keys import KeyRange, point
from reactive_db.model.schema import TABLES_NUMBER, TableDefinition, TableSchema
from reactive_db.storage.tables import FOREVER, Table, Write
from reactive_db.sync import messages as m
from reactive_db.sync.coverage import LAST, Coverage

_FIRST_DOCUMENTS = 64

_NO_CLASS: Final = TableSchema(TableDefinition, TABLES_NUMBER, Converter(lambda name: None))
"""In place of the schema of a table that no class here is of: who hears that a whole table changed does not look."""


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
        self._counts: dict[tuple[str, KeyRange], tuple[int, int]] = {}
        """Since when a range that is not here has how many documents."""

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
        known = self._counts.get((index, key_range))
        if known is not None and known[0] <= ts:
            return known[1]
        number = self.schema.number
        answer = self._source.ask(lambda request: m.Count(request, m.Range.of((number, index), key_range)))
        assert isinstance(answer, m.Counted)
        if answer.ts != ts or self.is_retired:
            raise SnapshotPassed(self.schema.name)
        return answer.count

    def take_count(self, index: str, key_range: KeyRange, since: int, count: int) -> None:
        """A range has so many documents until the table is touched."""
        if len(self._counts) >= limits.SQL_RESULTS_MAX:
            self._counts.clear()
        self._counts[index, key_range] = since, count

    def touch(self) -> None:
        """Something in the table is different; whatever it is, counts are not right any more."""
        self._counts.clear()

    def held_in(self, index: str, key_range: KeyRange) -> Iterator[Document]:
        """The newest states of all documents in a range, whether or not that is still so."""
        if index == BY_ID:
            found = self.newest(key_range.lo.decode())
            return iter([] if found is None else [found])
        return (document for _, document in super().scan(index, key_range, FOREVER - 1, descending=False))

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
        self._counts.clear()

    @property
    def ranges(self) -> int:
        """How many key ranges are known."""
        return sum(map(len, self._coverage.values()))

    def _is_held(self, id: str, ts: int) -> bool:
        """Whether a document is known because a range that it is in is."""
        found = super().get(id, ts)
        if found is None:
            return False
        known = [(name, coverage) for name, coverage in self._coverage.copy().items() if name != BY_ID]
        return any(coverage.holds(self.schema.index(name).key(found), ts) for name, coverage in known)

    def _fetch(self, index: str, key_range: KeyRange, ts: int, descending: bool, most: int) -> None:
        asked = m.Range.of((self.schema.number, index), key_range)
        answer = self._source.ask(lambda request: m.Read(request, asked, descending, most))
        assert isinstance(answer, m.Rows)
        # Who reads a table that another one took the place of meanwhile, which has the answer, asks that one.
        if answer.ts != ts or self.is_retired:
            raise SnapshotPassed(self.schema.name)


class Replica:
    """The documents of one store that are here.

    Responsibilities: taking transitions and answers, all at one timestamp; what lies over it. Not: asking, or what
    tables there are.

    Attributes:
        snapshots: which timestamps are read here; `published` is that of the last transition.
        updates: what pending mutations write.
        listeners: called with every transition as a commit, before anybody may see it.
    """

    def __init__(self) -> None:
        self.snapshots = Snapshots(0)
        self.updates = OptimisticUpdates()
        self.listeners: list[Callable[[LoggedCommit], None]] = []
        self.tables: dict[int, ReplicaTable] = {}
        self.lock = threading.RLock()

    @property
    def fullness(self) -> float:
        """How much is known here, as a part of what should be at most, REPLICA_RANGES_MAX and REPLICA_DOCUMENTS_MAX."""
        with self.lock:
            ranges = sum(table.ranges for table in self.tables.values())
            documents = sum(map(len, self.tables.values()))
        return max(ranges / limits.REPLICA_RANGES_MAX, documents / limits.REPLICA_DOCUMENTS_MAX)

    def take(self, transition: m.Transition) -> None:
        """Move everything to the timestamp of a transition."""
        with self.lock:
            writes: dict[int, list[Write]] = defaultdict(list)
            whole = set(transition.whole)
            for written in transition.writes:
                table = self.tables.get(written.table)
                if table is None:
                    continue
                try:
                    write = _write(table, written)
                except msgspec.DecodeError:
                    # Of a definition that the class here is not of. Who reads it asks, and is told so.
                    whole.add(written.table)
                    continue
                if write is not None:
                    writes[written.table].append(write)
            for number in {*whole, *transition.touched} & self.tables.keys():
                self.tables[number].touch()
            for number in whole & self.tables.keys():
                self.tables[number].forget()
            self._apply(transition.ts, writes)
            changed = {number: (self.tables[number].schema, found) for number, found in writes.items()}
            self._confirm(transition.ts, transition.commit)
            self._publish(transition.ts, transition.source, changed, is_bulk=False)
            self._void(transition.ts, transition.source, {*whole, *transition.touched})
            self._move(transition.ts)

    def take_rows(self, rows: m.Rows) -> None:
        """Take the documents of a range, which is known from now on.

        Raises:
            SchemaError: they are of another definition than the class here.
        """
        covered = rows.covered
        with self.lock:
            table = self.tables.get(covered.table)
            if table is None:
                return  # its class was forgotten since it was asked for: whoever asked runs again
            told = dict(rows.documents)
            # What is here of a range that nobody kept fresh may be gone.
            gone = [one.id for one in table.held_in(covered.index, covered.keys) if one.id not in told]
            states = [*told.items(), *((id, None) for id in gone)]
            try:
                found = [_write(table, m.Written(covered.table, str(id), data)) for id, data in states]
            except msgspec.DecodeError as error:
                raise SchemaError(
                    f"table {table.schema.name!r} was declared anew elsewhere, and documents do not fit the class here "
                    f"any more: {error}. Declare it here in the same way."
                ) from None
            self._apply(rows.ts, {covered.table: [one for one in found if one is not None and _is_news(table, one)]})
            table.cover(covered.index, covered.keys, rows.ts)

    def take_count(self, counted: m.Counted) -> None:
        """Take how many documents a range has."""
        with self.lock:
            table = self.tables.get(counted.range.table)
            if table is not None:
                table.take_count(counted.range.index, counted.range.keys, counted.ts, counted.count)

    def start(self, ts: int, numbers: Iterable[int], commit: int) -> None:
        """Begin anew at `ts`: nothing is known, and whatever was found of the tables of a store may be wrong.

        Own commits up to number `commit` have arrived.
        """
        with self.lock:
            known = {*self.tables, *numbers}
            for table in self.tables.values():
                table.is_retired = True  # who is reading it goes on, as long as it need not ask
            self.tables.clear()
            newest = max(ts, self.snapshots.published)
            self._confirm(newest, commit)
            self.updates.invalidate_everything(newest)
            self._void(newest, "another connection", known)
            self._move(newest)

    def begin(self) -> Snapshot:
        """Open a snapshot of everything published, with what pending mutations write; end it with `snapshots.end`."""
        with self.lock:
            return Snapshot(self.snapshots.begin_published(), self.updates.step, self.updates.over)

    def push(self, update: OptimisticUpdate) -> None:
        """Make room for what a mutation writes, over everything else."""
        with self.lock:
            self.updates.push(update)

    def settle(self, update: OptimisticUpdate, transaction: Transaction | None) -> None:
        """Have snapshots show what a run of the mutation wrote; nothing if it raised."""
        with self.lock:
            changed = self.updates.settle(update, transaction)
            self._publish_step(update.source, changed)

    def drop(self, update: OptimisticUpdate) -> None:
        """Do not show it any more; nothing if that is so already."""
        with self.lock:
            if self.updates.drop(update):
                self._publish_step(update.source, update.writes)

    def _confirm(self, ts: int, commit: int) -> None:
        for update in self.updates.confirm(commit):
            self._publish(ts, update.source, update.writes, is_bulk=False, step=1)

    def _publish_step(self, source: str, writes: SchemaWrites) -> None:
        self._publish(self.snapshots.published, source, writes, is_bulk=False, step=self.updates.step)

    def _move(self, ts: int) -> None:
        self.snapshots.head = self.snapshots.published = ts
        self.updates.moved()

    def _apply(self, ts: int, writes: dict[int, list[Write]]) -> None:
        oldest = self.snapshots.oldest()
        for number, found in writes.items():
            self.tables[number].apply(ts, found)
            self.tables[number].vacuum(oldest)

    def _void(self, ts: int, source: str, numbers: Iterable[int]) -> None:
        """Tell that anything in some tables may be different; SQL reads tables that have no class here, too."""
        known = {number: self.tables[number].schema if number in self.tables else _NO_CLASS for number in numbers}
        self._publish(ts, source, {number: (schema, []) for number, schema in known.items()}, is_bulk=True)

    def _publish(self, ts: int, source: str, writes: SchemaWrites, is_bulk: bool, step: int = 0) -> None:
        if writes:
            commit = LoggedCommit(ts, source, writes, is_bulk, step)
            if not step:
                self.updates.invalidate(commit)
            for listener in self.listeners:
                listener(commit)


def _write(table: ReplicaTable, written: m.Written) -> Write | None:
    """From what is here to what was told; None if there is nothing here nor there."""
    new, data = (None, None) if written.document is None else _decoded(table.schema, written.document)
    old = table.newest(written.id)
    return None if old is None and new is None else Write(Id(written.id), old, new, data)


def _decoded(schema: TableSchema, data: bytes) -> tuple[Document, bytes]:
    """A document, and how it is stored; without fields that a class which was declared elsewhere has, and ours not.

    Raises:
        msgspec.DecodeError: it does not fit the class here.
    """
    try:
        return schema.decode(data), data
    except msgspec.ValidationError:
        fields = msgspec.msgpack.decode(data)
        known = schema.layout.columns.keys() | {"_id", "_creationTime"}
        if fields.keys() <= known:
            raise
        data = msgspec.msgpack.encode({name: value for name, value in fields.items() if name in known})
        return schema.decode(data), data


def _is_news(table: ReplicaTable, write: Write) -> bool:
    """Whether the two states differ in anything: Python takes 1, 1.0 and True for equal."""
    return write.old is None or write.new is None or table.schema.encode(write.old) != write.data


def _end(key: bytes) -> bytes | None:
    return None if key == LAST else key
