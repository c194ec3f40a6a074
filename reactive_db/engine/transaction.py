"""A transaction: reads at one snapshot, buffered writes, and the record of both that the Committer needs."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from operator import itemgetter
from typing import Any

from reactive_db.engine.read_set import BY_ID, ReadSet, Space
from reactive_db.engine.snapshots import WriteSet
from reactive_db.errors import DocumentNotFoundError, LimitError, QueryError, ReadOnlyError, SqlError
from reactive_db.limits import Limits
from reactive_db.model.documents import Document
from reactive_db.model.ids import RANDOM_BYTES, Id, new_id
from reactive_db.model.keys import EVERYTHING, KeyRange
from reactive_db.runtime import Random, Runtime
from reactive_db.storage.tables import Table, Write


class Transaction:
    """One run of one function against the store.

    Used by one thread at a time. Ends with `Committer.commit` or `Committer.abandon`, which let go of its snapshot.

    Attributes:
        begin_ts: its snapshot. It sees every commit up to this timestamp and its own writes, and nothing else.
        now: when it began, in milliseconds since the epoch; its clock stands still.
    """

    def __init__(
        self,
        begin_ts: int,
        runtime: Runtime,
        limits: Limits,
        *,
        is_read_only: bool,
        source: str,
        over: WriteSet | None = None,
    ) -> None:
        """Begin at a snapshot; it sees the writes in `over` as if they were committed, and they are not its own."""
        self.begin_ts = begin_ts
        self.now = runtime.now()
        self.source = source
        self.is_read_only = is_read_only
        self.is_in_turn = False
        """It runs while its thread holds the Committer's turn."""
        self.on_sent: Callable[[int | None], None] | None = None
        """Told the number of the commit that carries it to a server, and None when that was refused."""
        self.is_volatile = False
        """It asked for time or randomness."""
        self.page_end: str | None = None
        """The cursor at which its page ends: given before a re-run, found by a first run."""
        self._has_page = False
        self.tables: dict[int, Table] = {}
        self._runtime = runtime
        self._limits = limits
        self._reads = ReadSet()
        self._scans: list[Scan] = []
        self._over: WriteSet = over or {}
        self._writes: dict[int, dict[str, Write]] = {number: dict(writes) for number, writes in self._over.items()}
        self._undo: list[tuple[int, str, Write | None]] = []
        self.documents_read = 0
        """How many, counted each time one is read."""
        self._documents_written = 0
        self._bytes_written = 0
        self._creation_time = self.now

    def get(self, table: Table, id: str) -> Document | None:
        """The document, None if there is none."""
        number = table.schema.number
        self._reads.add_document(number, id)
        self._count_read()
        own = self._writes.get(number)
        if own is not None and (write := own.get(id)) is not None:
            return write.new
        return table.get(id, self.begin_ts)

    def scan(self, table: Table, index: str, key_range: KeyRange, descending: bool) -> Scan:
        """The documents of a range, in order; only what is really taken from it counts as read."""
        scan = Scan(self, table, index, key_range, descending)
        self._scans.append(scan)
        return scan

    def count(self, table: Table, index: str, key_range: KeyRange) -> int:
        """How many documents a range has; reads the range as a whole, but no document."""
        number = table.schema.number
        self._reads.add_range((number, index), key_range)
        total = table.count(index, key_range, self.begin_ts)
        key = table.schema.index(index).key
        for write in self._writes.get(number, {}).values():
            total -= write.old is not None and key_range.contains(key(write.old))
            total += write.new is not None and key_range.contains(key(write.new))
        return total

    def insert(self, table: Table, fields: Mapping[str, Any]) -> Id[Any]:
        """Add a document; the id and the creation time are new."""
        id = new_id(table.schema.number, self._runtime.random_bytes(RANDOM_BYTES), self.now)
        # Each insert of a transaction is created a moment after the one before, so that order is kept.
        created = self._creation_time
        self._creation_time = math.nextafter(created, math.inf)
        document, data = table.schema.build(id, created, fields)
        self._write(table, id, None, document, data)
        return id

    def replace(self, table: Table, id: str, fields: Mapping[str, Any]) -> None:
        """Give a document new fields; id and creation time stay."""
        old = self._existing(table, id, "replace")
        document, data = table.schema.build(old.id, old.creation_time, fields)
        self._write(table, id, old, document, data)

    def patch(self, table: Table, id: str, changes: Mapping[str, Any], removed: list[str]) -> None:
        """Change some fields of a document; those in `removed` become absent."""
        old = self._existing(table, id, "patch")
        fields = table.schema.plain(old)
        fields.update(changes)
        for name in removed:
            fields.pop(name, None)
        document, data = table.schema.build(old.id, old.creation_time, fields)
        self._write(table, id, old, document, data)

    def delete(self, table: Table, id: str) -> None:
        self._write(table, id, self._existing(table, id, "delete"), None, None)

    def begin_page(self) -> str | None:
        """Where the page of this run has to end, None if it is free to choose."""
        if self._has_page:
            raise QueryError(
                f"{self.source!r} paginates twice; a function can only keep one page in place. Use two functions."
            )
        self._has_page = True
        return self.page_end

    def end_page(self, cursor: str) -> None:
        self.page_end = cursor

    def new_random(self) -> Random:
        return self._runtime.random()

    def savepoint(self) -> int:
        """A point to `rollback` to."""
        return len(self._undo)

    def rollback(self, savepoint: int) -> None:
        """Take back every write since `savepoint`; what was read stays read."""
        if savepoint == 0:
            # Also what an interrupted write did not note down.
            self._writes = {number: dict(writes) for number, writes in self._over.items()}
            self._undo.clear()
        while len(self._undo) > savepoint:
            table, id, before = self._undo.pop()
            if before is None:
                del self._writes[table][id]
            else:
                self._writes[table][id] = before

    @property
    def read_set(self) -> ReadSet:
        """Everything read so far."""
        for scan in self._scans:
            covered = scan.covered()
            if covered is not None:
                self._reads.add_range(scan.space, covered)
        self._scans = [scan for scan in self._scans if not scan.is_done]
        return self._reads

    def check_reads(self) -> None:
        """Raises LimitError if too many key ranges were read."""
        self.read_set.check_size(self._limits.key_ranges_max)

    def add_definition_read(self, number: int) -> None:
        """Take note that a query depends on the definition of a table."""
        self._reads.tables.add(number)

    def add_table_read(self, number: int) -> None:
        """Take note that a table was read as a whole, by SQL."""
        self._reads.add_range((number, BY_ID), EVERYTHING)

    @property
    def writes(self) -> dict[int, list[Write]]:
        """The changes so far, by table number, each document once; a document that came and went is left out."""
        found = self._without_over() if self._over else self._writes
        changes = {
            number: [write for write in own.values() if write.old is not None or write.new is not None]
            for number, own in found.items()
        }
        return {number: writes for number, writes in changes.items() if writes}

    def own_writes(self, number: int) -> dict[str, Write]:
        return self._writes.get(number, {})

    def check_before_sql(self) -> None:
        """Raises SqlError if something was written: SQL would not see it."""
        if self.writes:
            raise SqlError(
                f"{self.source!r} asked SQL after it wrote; SQL sees only what is committed. Ask before writing."
            )

    def _without_over(self) -> dict[int, dict[str, Write]]:
        """Its own writes, from what it saw to what it made of that."""
        found: dict[int, dict[str, Write]] = {}
        for number, own in self._writes.items():
            over = self._over.get(number, {})
            new = {id: write for id, write in own.items() if write is not over.get(id)}
            found[number] = {
                id: Write(id, over[id].new, write.new, write.data) if id in over else write for id, write in new.items()
            }
        return found

    def _existing(self, table: Table, id: str, verb: str) -> Document:
        found = self.get(table, id)
        if found is None:
            raise DocumentNotFoundError(
                f"{self.source!r} tried to {verb} {id!r}, but table {table.schema.name!r} has no such document. "
                "It may have been deleted; `ctx.db.get` returns None for such an id."
            )
        return found

    def _write(self, table: Table, id: str, old: Document | None, new: Document | None, data: bytes | None) -> None:
        if self.is_read_only:
            raise ReadOnlyError(
                f"query {self.source!r} tried to write to table {table.schema.name!r}. Queries only read; "
                "make it a mutation with @rdb.mutation."
            )
        number = table.schema.number
        # If the class is declared anew in between, the first one counts: it is retired, and all is done again.
        self.tables.setdefault(number, table)
        own = self._writes.setdefault(number, {})
        before = own.get(id)
        own[id] = Write(id, before.old if before is not None else old, new, data)
        self._undo.append((number, id, before))
        self._documents_written += 1
        self._bytes_written += len(data or b"")
        if self._documents_written > self._limits.documents_written_max:
            raise self._too_much("wrote", "documents", "documents_written_max", "db.load() has no such limit")
        if self._bytes_written > self._limits.bytes_written_max:
            raise self._too_much("wrote", "bytes", "bytes_written_max", "Write in several mutations")

    def _count_read(self, count: int = 1) -> None:
        self.documents_read += count
        if self.documents_read > self._limits.documents_read_max:
            raise self._too_much(
                "read", "documents", "documents_read_max", "Read a narrower index range, use `.paginate`, or ask SQL"
            )

    def _too_much(self, verb: str, what: str, limit: str, remedy: str) -> LimitError:
        maximum = getattr(self._limits, limit)
        return LimitError(f"{self.source!r} {verb} more than {maximum:,} {what} ({limit}). {remedy}.", limit=limit)


class Scan:
    """An iterator over the documents of an index range, merged with the transaction's own writes.

    Attributes:
        last_key: the key of the document it gave last.
    """

    def __init__(self, owner: Transaction, table: Table, index: str, key_range: KeyRange, descending: bool) -> None:
        self.space: Space = (table.schema.number, index)
        self.is_done = False
        self.last_key: bytes | None = None
        self._range = key_range
        self._descending = descending
        self._owner = owner
        stored = table.scan(index, key_range, owner.begin_ts, descending)
        own = owner.own_writes(table.schema.number)
        self._found = _merged(stored, own, table, index, key_range, descending) if own else stored

    def __iter__(self) -> Iterator[Document]:
        return self

    def __next__(self) -> Document:
        try:
            self.last_key, document = next(self._found)
        except StopIteration:
            self.is_done = True
            self._owner._reads.add_range(self.space, self._range)
            raise
        self._owner._count_read()
        return document

    def take(self, n: int | None) -> list[Document]:
        """The next `n` documents, or all: what iterating gives, at half the cost."""
        # One more than may be read, so that the limit is met before a million documents are.
        most = self._owner._limits.documents_read_max - self._owner.documents_read + 1
        pairs = list(islice(self._found, most if n is None else min(n, most)))
        self._owner._count_read(len(pairs))
        if pairs:
            self.last_key = pairs[-1][0]
        if n is None or len(pairs) < n:
            self.is_done = True
            self._owner._reads.add_range(self.space, self._range)
        return [document for _, document in pairs]

    def covered(self) -> KeyRange | None:
        """The part of the range that was really read, if the end was not reached."""
        lo, hi, prefix = self._range
        if self.is_done or self.last_key is None:
            return None
        return KeyRange(self.last_key, hi, prefix) if self._descending else KeyRange(lo, self.last_key + b"\0", prefix)


def _merged(
    stored: Iterator[tuple[bytes, Document]],
    own: dict[str, Write],
    table: Table,
    index: str,
    key_range: KeyRange,
    descending: bool,
) -> Iterator[tuple[bytes, Document]]:
    """Stored documents with those in `own` in their new places."""
    key = table.schema.index(index).key
    placed = [(key(write.new), write.new) for write in own.values() if write.new is not None]
    placed = [entry for entry in placed if key_range.contains(entry[0])]
    placed.sort(key=itemgetter(0), reverse=descending)
    hidden = set(own)
    kept = (entry for entry in stored if entry[1].id not in hidden)
    return heapq.merge(kept, placed, key=itemgetter(0), reverse=descending)
