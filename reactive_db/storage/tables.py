"""Tables: the current documents and a few recent versions, in memory, in ordered indexes.

A read names a timestamp and sees exactly what was committed up to it, whatever is written meanwhile. Nothing here
decides what may be written or when it may be seen; the engine does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
from sortedcontainers import SortedList

from reactive_db.interrupts import Shielded
from reactive_db.model.documents import Document
from reactive_db.model.keys import KeyRange, key_id
from reactive_db.model.schema import TableSchema

FOREVER: Final = 2**63
_SCAN_FIRST: Final = 32
_SCAN_MOST: Final = 1_024


class Version(msgspec.Struct, gc=False):
    """One state of a document, from `ts` until the next version's.

    `value` is the stored bytes until somebody reads them, None for a deletion.
    """

    ts: int
    value: Document | bytes | None
    previous: Version | None = None


class Write(msgspec.Struct, frozen=True, gc=False):
    """What one commit does to one document: from `old` to `new`, either None."""

    id: str
    old: Document | None
    new: Document | None
    data: bytes | None
    """The stored form of `new`."""


class OrderedIndex:
    """The keys of one index, in order, with the timestamps between which each recent one held.

    A key without spans has held since before the oldest snapshot.
    """

    __slots__ = ("key", "keys", "spans")

    def __init__(self, key: Callable[[Document], bytes]) -> None:
        self.key = key
        self.keys: SortedList[bytes] = SortedList()
        self.spans: dict[bytes, list[tuple[int, int]]] = {}

    def add(self, key: bytes, ts: int) -> None:
        spans = self.spans.get(key)
        if spans is None:
            self.keys.add(key)
            self.spans[key] = [(ts, FOREVER)]
        else:
            spans.append((ts, FOREVER))

    def remove(self, key: bytes, ts: int) -> None:
        spans = self.spans.setdefault(key, [(0, FOREVER)])
        spans[-1] = (spans[-1][0], ts)

    def settle(self, key: bytes, oldest: int) -> None:
        """Forget what no snapshot at or after `oldest` can see of `key`."""
        spans = self.spans.get(key)
        if spans is None:
            return
        spans[:] = [span for span in spans if span[1] > oldest]
        if not spans:
            del self.spans[key]
            self.keys.remove(key)
        elif len(spans) == 1 and spans[0][0] <= oldest and spans[0][1] == FOREVER:
            del self.spans[key]

    def holds(self, key: bytes, ts: int) -> bool:
        spans = self.spans.get(key)
        return spans is None or any(begin <= ts < end for begin, end in spans)


class Table:
    """The documents of one table.

    Reads are safe from any thread. `apply` and `vacuum` come one at a time, in timestamp order, from the Committer.
    """

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self.since = 0
        """The first timestamp it can be read at: it took the place of a table with another definition then."""
        self.is_retired = False
        """A new definition took its place; nothing may be written to it any more."""
        self._versions: dict[str, Version] = {}
        self._indexes: dict[str, OrderedIndex] = {}
        self._lock = threading.Lock()
        # What `vacuum` has to look at once no snapshot is older: a document, or a key of an index.
        self._garbage: deque[tuple[int, OrderedIndex | None, str | bytes]] = deque()

    def __len__(self) -> int:
        return len(self._versions)

    def fill(self, documents: Iterable[tuple[str, bytes]], ts: int = 0) -> None:
        """Take documents as they are stored, before anybody reads or writes the table."""
        self._versions.update((id, Version(ts, data)) for id, data in documents)

    def get(self, id: str, ts: int) -> Document | None:
        """The document as of `ts`; None if there is none."""
        version = self._versions.get(id)
        while version is not None and version.ts > ts:
            version = version.previous
        return None if version is None else self._document(version)

    def scan(self, index: str, key_range: KeyRange, ts: int, descending: bool) -> Iterator[tuple[bytes, Document]]:
        """Keys and documents of a range as of `ts`, in order.

        The lock is taken for a batch at a time, so writers wait for no reader.
        """
        ordered = self._index(index)
        lo, hi, size = key_range.lo, key_range.hi, _SCAN_FIRST
        versions = self._versions
        while True:
            with self._lock:
                keys = _batch(ordered, lo, hi, ts, descending, size)
            for key in keys:
                # What `get` does, without its calls: a live query of 20 rows spends a third of its time here.
                version: Version | None = versions.get(key_id(key))
                while version is not None and version.ts > ts:
                    version = version.previous
                assert version is not None, f"index {index!r} of table {self.schema.name!r} has a key without document"
                value = version.value
                document = self._document(version) if isinstance(value, bytes) else value
                assert document is not None
                yield key, document
            if len(keys) < size:
                return
            if descending:
                hi = keys[-1]
            else:
                lo = keys[-1] + b"\0"
            size = min(size * 4, _SCAN_MOST)

    def count(self, index: str, key_range: KeyRange, ts: int) -> int:
        """How many documents a range has as of `ts`, without reading them."""
        ordered = self._index(index)
        with self._lock:
            end: int = len(ordered.keys) if key_range.hi is None else ordered.keys.bisect_left(key_range.hi)
            total: int = end - ordered.keys.bisect_left(key_range.lo)
            hidden = sum(1 for key in ordered.spans if key_range.contains(key) and not ordered.holds(key, ts))
        return max(total - hidden, 0)

    def apply(self, ts: int, writes: Iterable[Write], is_bulk: bool = False) -> None:
        """Add the versions of one commit, those of a bulk load as bytes; nobody reads at `ts` yet."""
        keeps_objects = self.schema.is_shareable and not is_bulk
        with self._lock:
            for write in writes:
                before = self._versions.get(write.id)
                self._versions[write.id] = Version(
                    ts, write.new if keeps_objects and write.new is not None else write.data, before
                )
                if before is not None:
                    self._garbage.append((ts, None, write.id))
                for index in self._indexes.values():
                    self._move(index, ts, write)

    def vacuum(self, oldest: int) -> None:
        """Forget what no snapshot at or after `oldest` can see."""
        if not self._garbage or self._garbage[0][0] > oldest:
            return
        with self._lock:
            garbage = self._garbage
            while garbage and garbage[0][0] <= oldest:
                _, index, what = garbage.popleft()
                if index is None:
                    self._settle(str(what), oldest)
                else:
                    index.settle(what, oldest)  # type: ignore[arg-type]

    def stored(self) -> Iterator[tuple[str, bytes]]:
        """Every current document's id and stored form."""
        for id, version in list(self._versions.items()):
            if version.value is not None:
                value = version.value
                yield id, value if isinstance(value, bytes) else self.schema.encode(value)

    def _document(self, version: Version) -> Document | None:
        value = version.value
        if not isinstance(value, bytes):
            return value
        document = self.schema.decode(value)
        if self.schema.is_shareable:
            version.value = document
        return document

    def _move(self, index: OrderedIndex, ts: int, write: Write) -> None:
        old = None if write.old is None else index.key(write.old)
        new = None if write.new is None else index.key(write.new)
        if old == new:
            return
        if old is not None:
            index.remove(old, ts)
            self._garbage.append((ts, index, old))
        if new is not None:
            index.add(new, ts)
            self._garbage.append((ts, index, new))

    def _settle(self, id: str, oldest: int) -> None:
        head = version = self._versions.get(id)
        while version is not None and version.ts > oldest:
            version = version.previous
        if version is None:
            return
        version.previous = None
        if version is head and version.value is None:
            del self._versions[id]

    def _states(self, version: Version) -> list[tuple[int, int, Document]]:
        """Every state a chain of versions remembers, as `(from, until, document)`, oldest first."""
        states: list[tuple[int, int, Document]] = []
        end, older = FOREVER, version
        while True:
            if (value := older.value) is not None:
                states.append((older.ts, end, self.schema.decode(value) if isinstance(value, bytes) else value))
            if older.previous is None:
                return states[::-1]
            end, older = older.ts, older.previous

    def _index(self, name: str) -> OrderedIndex:
        """The ordered index `name`, made from every version on its first use."""
        index = self._indexes.get(name)
        if index is not None:
            return index
        with Shielded(), self._lock:
            if name not in self._indexes:
                self._indexes[name] = self._build(OrderedIndex(self.schema.index(name).key))
            return self._indexes[name]

    def _build(self, index: OrderedIndex) -> OrderedIndex:
        keys: set[bytes] = set()
        decode = self.schema.decode
        rebuilt: list[tuple[int, OrderedIndex | None, str | bytes]] = []
        for version in self._versions.values():
            if version.previous is None and type(version.value) is bytes and version.ts == 0:
                keys.add(index.key(decode(version.value)))
                continue
            for begin, end, document in self._states(version):
                key = index.key(document)
                keys.add(key)
                index.spans.setdefault(key, []).append((begin, end))
                rebuilt.append((begin if end == FOREVER else end, index, key))
        index.keys.update(keys)
        # In timestamp order, as vacuum expects; an entry that comes late is only forgotten later.
        self._garbage = deque(sorted([*self._garbage, *rebuilt], key=lambda entry: entry[0]))
        return index


def _batch(ordered: OrderedIndex, lo: bytes, hi: bytes | None, ts: int, descending: bool, size: int) -> list[bytes]:
    """The next `size` keys of a range that hold at `ts`; the caller has the table's lock."""
    found: list[bytes] = []
    spans = ordered.spans
    for key in ordered.keys.irange(lo, hi, inclusive=(True, False), reverse=descending):
        if key in spans and not ordered.holds(key, ts):
            continue
        found.append(key)
        if len(found) == size:
            break
    return found
