"""Tables against a model that keeps a whole copy of everything at every timestamp.

Random commits, snapshots, vacuums, lazily built indexes and half-read scans; what a table gives at a snapshot must be
what the copy says. Broken tables, one per thing that can go wrong, are caught by the same machine.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from reactive_db.engine.snapshots import Snapshots
from reactive_db.errors import QueryError
from reactive_db.model.codec import Converter
from reactive_db.model.documents import Document
from reactive_db.model.ids import Id, new_id
from reactive_db.model.keys import EVERYTHING, KeyRange, encode_value, prefix_range
from reactive_db.model.schema import TableSchema
from reactive_db.storage.tables import OrderedIndex, Table, Write

NUMBER = 10_001


class Plain(Document, table="tables_plain", indexes={"by_a": ["a"], "by_b_a": ["b", "a"]}):
    """Can be shared by all readers."""

    a: int
    b: str | None = None


class Listed(Document, table="tables_listed", indexes={"by_a": ["a"], "by_b_a": ["b", "a"]}):
    """Has a field that a reader could change, so that every reader gets its own."""

    a: int
    b: str | None = None
    c: list[int] = []


INDEXES = ["by_creation_time", "by_a", "by_b_a"]
Snapshot = dict[str, Document]

values = st.fixed_dictionaries({"a": st.integers(0, 3), "b": st.sampled_from([None, "", "x", "y"])})
bounds = st.one_of(
    st.just(EVERYTHING),
    st.integers(0, 3).map(lambda a: prefix_range(encode_value(a))),
    st.sampled_from([None, "", "x"]).map(lambda b: prefix_range(encode_value(b))),
    st.tuples(st.integers(0, 3), st.integers(0, 3)).map(
        lambda ends: KeyRange(encode_value(min(ends)), encode_value(max(ends)), 0)
    ),
    st.just(KeyRange(b"\x0e", b"\x0e", 0)),
)


def schema_of(document: type[Document]) -> TableSchema:
    return TableSchema(document, NUMBER, Converter(lambda name: NUMBER))


class Against(RuleBasedStateMachine):
    """Runs a table and the model side by side."""

    document: ClassVar[type[Document]] = Plain
    table_class: ClassVar[type[Table]] = Table

    def __init__(self) -> None:
        super().__init__()
        self.schema = schema_of(self.document)
        self.table = self.table_class(self.schema)
        self.states: list[Snapshot] = [{}]
        self.open: list[int] = []
        self.scans: list[tuple[Iterator[tuple[bytes, Document]], list[tuple[bytes, Document]]]] = []
        self.count = 0

    @property
    def ts(self) -> int:
        return len(self.states) - 1

    @property
    def oldest(self) -> int:
        return min([self.ts, *self.open])

    @initialize(rows=st.lists(values, max_size=5))
    def fill(self, rows: list[dict[str, Any]]) -> None:
        built = [self.build(row) for row in rows]
        self.table.fill([(document.id, data) for document, data in built])
        self.states[0] = {document.id: document for document, _ in built}

    @rule(
        rows=st.lists(values, max_size=3),
        changes=st.lists(st.tuples(st.integers(0, 20), st.none() | values), max_size=4),
        is_bulk=st.booleans(),
    )
    def commit(
        self, rows: list[dict[str, Any]], changes: list[tuple[int, dict[str, Any] | None]], is_bulk: bool
    ) -> None:
        after = dict(self.states[-1])
        writes: dict[str, Write] = {}
        for row in rows:
            document, data = self.build(row)
            writes[document.id] = Write(document.id, None, document, data)
        for number, fields in changes:
            old = list(self.states[-1].values())[number : number + 1]
            if not old:
                continue
            (was,) = old
            new, encoded = (None, None) if fields is None else self.schema.build(was.id, was.creation_time, fields)
            writes[was.id] = Write(was.id, was, new, encoded)
        for id, write in writes.items():
            after.pop(id, None)
            if write.new is not None:
                after[id] = write.new
        self.table.apply(self.ts + 1, writes.values(), is_bulk)
        self.states.append(after)

    @rule()
    def take_snapshot(self) -> None:
        self.open.append(self.ts)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        gone = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        if gone not in self.open:
            self.scans.clear()

    @rule()
    def vacuum(self) -> None:
        self.table.vacuum(self.oldest)

    @rule(index=st.sampled_from(INDEXES), bound=bounds, descending=st.booleans(), data=st.data())
    def read(self, index: str, bound: KeyRange, descending: bool, data: st.DataObject) -> None:
        ts = data.draw(st.sampled_from([self.ts, *self.open]))
        expected = self.expected(index, bound, ts, descending)
        assert list(self.table.scan(index, bound, ts, descending)) == expected
        assert self.table.count(index, bound, ts) == len(expected)

    @rule(data=st.data())
    def get(self, data: st.DataObject) -> None:
        ts = data.draw(st.sampled_from([self.ts, *self.open]))
        for id in {id for state in self.states for id in state}:
            assert self.table.get(id, ts) == self.states[ts].get(id)

    @precondition(lambda self: self.open)
    @rule(index=st.sampled_from(INDEXES), descending=st.booleans())
    def begin_scan(self, index: str, descending: bool) -> None:
        ts = self.open[-1]
        scan = self.table.scan(index, EVERYTHING, ts, descending)
        expected = self.expected(index, EVERYTHING, ts, descending)
        assert next(scan, None) == next(iter(expected), None)
        self.scans.append((scan, expected[1:]))

    @precondition(lambda self: self.scans)
    @rule()
    def finish_scan(self) -> None:
        scan, expected = self.scans.pop()
        assert list(scan) == expected

    @rule()
    def look_at_what_is_stored(self) -> None:
        stored = {id: self.schema.decode(data) for id, data in self.table.stored()}
        assert stored == self.states[-1]

    def teardown(self) -> None:
        """In the end nothing old is left: one version of each document, no spans."""
        self.table.vacuum(self.ts)
        assert len(self.table) == len(self.states[-1])
        for index in self.table._indexes.values():
            assert not index.spans
            assert list(index.keys) == [key for key, _ in self.expected_of(index)]

    def build(self, fields: dict[str, Any]) -> tuple[Document, bytes]:
        self.count += 1
        id: Id[Any] = new_id(NUMBER, self.count.to_bytes(14, "little"), 0.0)
        return self.schema.build(id, float(self.count // 2), fields)

    def expected(self, index: str, bound: KeyRange, ts: int, descending: bool) -> list[tuple[bytes, Document]]:
        key = self.schema.index(index).key
        pairs = [(key(document), document) for document in self.states[ts].values()]
        return sorted((pair for pair in pairs if bound.contains(pair[0])), reverse=descending, key=lambda pair: pair[0])

    def expected_of(self, index: OrderedIndex) -> list[tuple[bytes, Document]]:
        pairs = [(index.key(document), document) for document in self.states[-1].values()]
        return sorted(pairs, key=lambda pair: pair[0])


class AgainstListed(Against):
    document = Listed


TestPlainTable = Against.TestCase
TestListedTable = AgainstListed.TestCase


# --- tables that are wrong, each in one way --------------------------------------------------------------------------


class ForgetsTooMuch(Table):
    def vacuum(self, oldest: int) -> None:
        super().vacuum(oldest + 1)


class ForgetsNothing(Table):
    def vacuum(self, oldest: int) -> None:
        pass


class CountsHiddenKeys(Table):
    def count(self, index: str, key_range: KeyRange, ts: int) -> int:
        return sum(1 for key in self._index(index).keys if key_range.contains(key))


class BuildsFromTheNewest(Table):
    """An index that is first used in the middle of history knows nothing of older versions."""

    def _build(self, index: OrderedIndex) -> OrderedIndex:
        for version in self._versions.values():
            if version.value is not None:
                document = self._document(version)
                assert document is not None
                index.keys.add(index.key(document))
        return index


class LeavesOldKeys(Table):
    def _move(self, index: OrderedIndex, ts: int, write: Write) -> None:
        super()._move(index, ts, Write(write.id, None, write.new, write.data) if write.new is not None else write)


@pytest.mark.parametrize(
    "broken", [ForgetsTooMuch, ForgetsNothing, CountsHiddenKeys, BuildsFromTheNewest, LeavesOldKeys]
)
def test_a_broken_table_is_caught(broken: type[Table]) -> None:
    class Broken(Against):
        table_class = broken

    # Any failure will do, so none is made smaller.
    quick = settings(max_examples=4_000, stateful_step_count=30, database=None, phases=[Phase.generate])
    with pytest.raises(Exception) as caught:  # an assertion, of the machine or of the table
        run_state_machine_as_test(Broken, settings=quick)
    assert isinstance(caught.value, AssertionError | KeyError)


# --- the rest --------------------------------------------------------------------------------------------------------


def test_a_reader_cannot_change_what_others_read() -> None:
    table = Table(schema_of(Listed))
    document, data = table.schema.build(new_id(NUMBER, bytes(14), 0.0), 0.0, {"a": 1, "c": [1]})
    table.apply(1, [Write(document.id, None, document, data)])
    first = table.get(document.id, 1)
    assert isinstance(first, Listed)
    first.c.append(2)
    document.c.append(3)  # type: ignore[attr-defined]
    assert table.get(document.id, 1).c == [1]  # type: ignore[union-attr]
    assert [one.c for _, one in table.scan("by_a", EVERYTHING, 1, False)] == [[1]]  # type: ignore[attr-defined]


def test_documents_that_nobody_can_change_are_shared() -> None:
    table = Table(schema_of(Plain))
    document, data = table.schema.build(new_id(NUMBER, bytes(14), 0.0), 0.0, {"a": 1})
    table.fill([(document.id, data)])
    assert table.get(document.id, 0) is table.get(document.id, 0)


def test_an_index_that_is_not_there() -> None:
    with pytest.raises(QueryError, match="no index 'by_z'"):
        list(Table(schema_of(Plain)).scan("by_z", EVERYTHING, 0, False))


def test_readers_at_old_snapshots_while_others_write() -> None:
    """Two counters move in opposite directions in every commit; at no snapshot is their sum anything but zero."""
    table = Table(schema_of(Plain))
    ids = [new_id(NUMBER, bytes([number] * 14), 0.0) for number in range(2)]
    current = [table.schema.build(id, 0.0, {"a": 0}) for id in ids]
    table.apply(1, [Write(document.id, None, document, data) for document, data in current])
    snapshots, is_done, sums = Snapshots(1), threading.Event(), list[int]()

    def read() -> None:
        while not is_done.is_set():
            ts = snapshots.begin_published()
            found = [document for _, document in table.scan("by_a", EVERYTHING, ts, False)]
            snapshots.end(ts)
            sums.append(sum(document.a for document in found) if len(found) == 2 else -999)  # type: ignore[attr-defined]

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for ts in range(2, 400):
        after = [table.schema.build(id, 0.0, {"a": sign * ts}) for id, sign in zip(ids, (1, -1), strict=True)]
        pairs = zip(current, after, strict=True)
        table.apply(ts, [Write(new.id, old, new, data) for (old, _), (new, data) in pairs])
        table.vacuum(snapshots.oldest())
        current, snapshots.published = after, ts
    is_done.set()
    for reader in readers:
        reader.join()
    assert set(sums) == {0}
