"""What a kernel has of a store: it asks for what is not here, and what is here is as the server has it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db import limits
from reactive_db.database import Database
from reactive_db.errors import OfflineError, SchemaError
from reactive_db.model.documents import on_declared
from reactive_db.sync import messages as m
from reactive_db.sync.replica import ReplicaTable
from reactive_db.sync.served import Served
from reactive_db.testing.threads import PATIENCE_SECONDS
from reactive_db.testing.wire import Kernel, Wire


class Task(rdb.Document, table="replica_tasks", indexes={"by_list": ["list"], "by_weight": ["weight"]}):
    list: str
    weight: float = 0.0


@rdb.query
def weights(ctx: rdb.QueryCtx, of: str) -> list[float]:
    return [task.weight for task in ctx.db.query(Task).with_index("by_list", list=of)]


@rdb.query
def in_order(ctx: rdb.QueryCtx, order: str) -> list[str]:
    return [repr(task.weight) for task in ctx.db.query(Task).with_index("by_weight").order(order)]  # type: ignore[arg-type]


@rdb.query
def first(ctx: rdb.QueryCtx, n: int) -> list[float]:
    return [task.weight for task in ctx.db.query(Task).with_index("by_weight").take(n)]


@rdb.query
def how_many(ctx: rdb.QueryCtx, of: str) -> int:
    return ctx.db.query(Task).with_index("by_list", list=of).count()


@rdb.query
def get(ctx: rdb.QueryCtx, id: rdb.Id[Task]) -> Task | None:
    return ctx.db.get(id)


@rdb.mutation
def add(ctx: rdb.MutationCtx, of: str, *, weight: float = 0.0, count: int = 1) -> list[rdb.Id[Task]]:
    return [ctx.db.insert(Task(list=of, weight=weight + n)) for n in range(count)]


@rdb.mutation
def move(ctx: rdb.MutationCtx, id: rdb.Id[Task], to: str) -> None:
    ctx.db.patch(id, list=to)


@rdb.mutation
def weigh(ctx: rdb.MutationCtx, id: rdb.Id[Task], weight: float) -> None:
    ctx.db.patch(id, weight=weight)


@rdb.mutation
def delete(ctx: rdb.MutationCtx, id: rdb.Id[Task]) -> None:
    ctx.db.delete(id)


@rdb.mutation
def change_all(ctx: rdb.MutationCtx, of: str) -> int:
    found = ctx.db.query(Task).with_index("by_list", list=of).collect()
    for task in found:
        ctx.db.patch(task.id, weight=task.weight + 100)
    return len(found)


def asked(kernel: Kernel) -> list[m.Message]:
    """What it has asked for so far."""
    said = [m.decode_client(frame) for one in kernel.link.connections for frame in one.said]
    return [message for message in said if isinstance(message, m.Read | m.Count | m.Sql)]


@pytest.fixture
def here(kernels: list[Kernel]) -> Kernel:
    return kernels[0]


@pytest.fixture
def there(kernels: list[Kernel]) -> Database:
    return kernels[1].database


# --- asking ----------------------------------------------------------------------------------------------------------


def test_what_was_read_once_is_not_asked_for_again(here: Kernel, there: Database) -> None:
    there.run(add, "a", count=3)
    handle = here.database.live(weights, "a")
    requests = len(asked(here))
    there.run(add, "a", weight=9.0)
    here.settle()
    assert handle.value == [0.0, 1.0, 2.0, 9.0]
    assert here.database.run(weights, "a") == handle.value
    assert len(asked(here)) == requests


def test_a_read_that_overlaps_what_is_here_asks_for_the_rest_alone(here: Kernel, there: Database) -> None:
    there.run(add, "a", count=5)
    here.database.run(first, 2)
    before = len(asked(here))
    here.database.run(in_order, "desc")
    reads = asked(here)[before:]
    assert len(reads) <= 1
    here.database.run(in_order, "asc")
    assert asked(here)[before:] == reads


def test_a_document_of_a_range_that_is_here_is_here(here: Kernel, there: Database) -> None:
    (id,) = there.run(add, "a")
    here.database.run(weights, "a")
    before = len(asked(here))
    found = here.database.run(get, id)
    assert found is not None
    assert asked(here)[before:] == []


def test_a_document_that_is_not_there_is_asked_for_once(here: Kernel, there: Database) -> None:
    (id,) = there.run(add, "a")
    there.run(delete, id)
    handle = here.database.live(get, id)
    before = len(asked(here))
    assert here.database.run(get, id) is handle.value is None
    assert asked(here)[before:] == []


def test_a_long_range_comes_in_parts(here: Kernel, there: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "READ_DOCUMENTS_MAX", 10)
    there.run(add, "a", count=45)
    for order in ("asc", "desc"):
        assert len(here.database.run(in_order, order)) == 45


def test_a_count_is_asked_for_once_until_the_table_is_touched(here: Kernel, there: Database) -> None:
    there.run(add, "a", count=3)
    handle = here.database.live(how_many, "a")
    before = len(asked(here))
    there.run(add, "b")
    here.settle()
    assert handle.value == 3
    there.run(add, "a")
    here.settle()
    assert handle.value == 4
    assert here.database.run(how_many, "a") == 4
    assert 1 <= len(asked(here)[before:]) <= 4


def test_a_function_that_counts_ends_while_others_go_on_writing(here: Kernel, there: Database) -> None:
    """Each of its runs must get further than the one before, at whatever timestamp the answer comes."""
    there.run(add, "a", count=3)
    is_over = threading.Event()

    def write() -> None:
        while not is_over.is_set():
            there.run(add, "b")

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        counted = [here.database.run(how_many, "a") for _ in range(3)]
    finally:
        is_over.set()
        writer.join(PATIENCE_SECONDS)
    assert counted == [3, 3, 3]


# --- staying right ---------------------------------------------------------------------------------------------------


def test_a_move_into_a_range_and_out_of_it(here: Kernel, there: Database) -> None:
    (id,) = there.run(add, "a")
    a, b = here.database.live(weights, "a"), here.database.live(weights, "b")
    there.run(move, id, "b")
    here.settle()
    assert (a.value, b.value) == ([], [0.0])
    there.run(move, id, "c")
    here.settle()
    assert (a.value, b.value) == ([], [])


def test_a_deletion(here: Kernel, there: Database) -> None:
    one, _ = there.run(add, "a", count=2)
    handle = here.database.live(weights, "a")
    there.run(delete, one)
    here.settle()
    assert handle.value == [1.0]


def test_what_left_every_range_and_then_the_store_is_gone(here: Kernel, there: Database) -> None:
    """It was told as it left, so it is here; that it was deleted later nobody told."""
    (id,) = there.run(add, "a")
    assert here.database.run(weights, "a") == [0.0]
    there.run(move, id, "b")
    here.settle()
    there.run(delete, id)
    here.settle()
    assert here.database.run(weights, "b") == []
    assert here.database.run(get, id) is None


def test_a_replica_that_keeps_what_is_gone_is_caught(
    here: Kernel, there: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReplicaTable, "held_in", lambda self, index, key_range: iter(()))
    with pytest.raises(AssertionError):
        test_what_left_every_range_and_then_the_store_is_gone(here, there)


def test_what_left_every_range_and_changed_there_is_as_it_is(here: Kernel, there: Database) -> None:
    (id,) = there.run(add, "a")
    here.database.run(weights, "a")
    there.run(move, id, "b")
    here.settle()
    there.run(weigh, id, 5.0)
    assert here.database.run(weights, "b") == [5.0]


def test_a_change_that_python_takes_for_none_is_one(here: Kernel, there: Database) -> None:
    (id,) = there.run(add, "a", weight=0.0)
    here.database.run(weights, "a")
    there.run(move, id, "b")
    here.settle()
    there.run(weigh, id, -0.0)
    assert [repr(weight) for weight in here.database.run(weights, "b")] == ["-0.0"]


def test_the_whole_table_changed(here: Kernel, there: Database) -> None:
    there.run(add, "a")
    handle = here.database.live(weights, "a")
    there.load(Task, [{"list": "a", "weight": 7.0}, {"list": "b"}], progress=False)
    here.settle()
    assert handle.value == [0.0, 7.0]


def test_so_much_changed_that_it_is_asked_for_again(
    here: Kernel, there: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TRANSITION_DOCUMENTS_MAX", 5)
    there.run(add, "a", count=9)
    handle = here.database.live(weights, "a")
    there.run(change_all, "a")
    here.settle()
    assert handle.value == [100.0 + n for n in range(9)]


def test_live_sql_of_a_table_that_has_no_class_here_follows(here: Kernel, there: Database) -> None:
    there.run(add, "a", count=2)
    handle = here.database.live("SELECT count(*) FROM replica_tasks")
    assert here.store.replica.tables == {}
    there.run(add, "a")
    here.settle()
    assert handle.value.fetchall() == [(3,)]
    there.load(Task, [{"list": "b"}], progress=False)
    here.settle()
    assert handle.value.fetchall() == [(4,)]


def test_a_mutation_shows_its_effect_here_when_it_returns(here: Kernel) -> None:
    handle = here.database.live(weights, "a")
    here.database.run(add, "a", weight=3.0)
    assert handle.value == [3.0]
    assert handle.ts == here.database.ts


def test_a_reader_at_an_older_snapshot_runs_again(here: Kernel, there: Database) -> None:
    there.run(add, "a")
    with here.store.snapshot(with_columns=False) as snapshot:
        query = here.database._runner.live_key(weights, ("a",), {})[1]
        there.run(add, "b")
        with pytest.raises(BaseException, match="replica_tasks") as raised:
            query(snapshot, None)
    assert type(raised.value).__name__ == "SnapshotPassed"
    assert here.database.run(weights, "a") == [0.0]


def test_what_an_older_snapshot_sees_stays_while_it_is_open(here: Kernel, there: Database) -> None:
    (id,) = there.run(add, "a")
    here.database.run(weights, "a")
    query = here.database._runner.live_key(weights, ("a",), {})[1]
    with here.store.snapshot(with_columns=False) as snapshot:
        there.run(delete, id)
        here.wire.settle()
        assert query(snapshot, None).value == [0.0]
    assert here.database.run(weights, "a") == []


# --- two mutations at once -------------------------------------------------------------------------------------------


def test_commits_of_others_elsewhere_do_not_keep_one_from_committing(here: Kernel, there: Database) -> None:
    here.database.run(add, "a")
    for _ in range(5):
        there.run(add, "b")
    here.database.run(change_all, "a")
    assert here.store.conflicts == 0


def test_no_update_is_lost_between_kernels(kernels: list[Kernel]) -> None:
    (id,) = kernels[0].database.run(add, "a")

    @rdb.mutation
    def count(ctx: rdb.MutationCtx) -> None:
        task = ctx.db.get(id)
        assert task is not None
        ctx.db.patch(id, weight=task.weight + 1)

    def work(database: Database) -> None:
        for _ in range(10):
            database.run(count)

    threads = [threading.Thread(target=work, args=[one.database], daemon=True) for one in kernels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert kernels[1].database.run(weights, "a") == [20.0]


# --- a lost connection -----------------------------------------------------------------------------------------------


def test_what_was_deleted_meanwhile_is_gone_after_a_reconnect(here: Kernel, there: Database) -> None:
    one, _ = there.run(add, "a", count=2)
    handle = here.database.live(weights, "a")
    here.link.connection.cut()
    there.run(delete, one)
    assert handle.value == [0.0, 1.0]
    here.link.connect()
    here.settle()
    assert handle.value == [1.0]
    assert here.database.run(weights, "a") == [1.0]
    assert here.database.run(get, one) is None


def test_handles_say_that_they_are_stale_while_there_is_no_connection(here: Kernel, there: Database) -> None:
    there.run(add, "a")
    handle = here.database.live(weights, "a")
    told = threading.Event()
    handle.observe(lambda change: told.set(), "status")
    here.link.connection.cut()
    assert told.wait(PATIENCE_SECONDS)
    assert (handle.status, handle.value) == ("stale", [0.0])
    with pytest.raises(OfflineError):
        here.database.run(weights, "unknown here")
    told.clear()
    here.link.connect()
    assert told.wait(PATIENCE_SECONDS), "nobody else does anything, and it follows again"
    assert handle.status == "current"


def test_a_mutation_that_ran_before_the_reconnect_does_not_overwrite_what_came_meanwhile(
    here: Kernel, there: Database
) -> None:
    there.run(add, "a", weight=1.0)
    here.database.run(weights, "a")
    here.link.connection.cut()
    result: list[int] = []
    offline = threading.Thread(target=lambda: result.append(here.database.run(change_all, "a")), daemon=True)
    pending = threading.Event()
    here.database.on_settled(lambda: pending.set() if here.database.pending else None)
    offline.start()
    while not here.database.pending:
        pending.wait(0.01)
    there.run(add, "a", weight=2.0)
    here.link.connect()
    offline.join(PATIENCE_SECONDS)
    assert result == [2], "it ran again, on what was there"
    assert there.run(weights, "a") == [101.0, 102.0]


def test_presence_is_told_again_after_a_reconnect(here: Kernel, automatic: Wire) -> None:
    handle = here.database.presence
    here.settle()
    here.link.connection.cut()
    here.link.connect()
    here.settle()
    third = Kernel(automatic)
    here.settle()
    assert len(handle.value) == 3
    third.database.close()


def test_handles_never_claim_a_timestamp_that_they_have_not_reached(here: Kernel, there: Database) -> None:
    """What a new connection begins with moves the clock here, and nothing else, until everything is read anew."""
    there.run(add, "a")
    handle = here.database.live(weights, "a")
    here.settle()
    ts = handle.ts
    here.link.connection.cut()
    there.run(add, "a", weight=5.0)
    here.link.connect()
    for _ in range(100):
        here.database._scheduler.advance()
        shown = handle.value
        assert handle.ts == ts or shown == [0.0, 5.0] or handle.value != shown
    here.settle()
    assert handle.value == [0.0, 5.0]


# --- definitions -----------------------------------------------------------------------------------------------------


def declare(**fields: Any) -> type[rdb.Document]:
    """What running the cell with the class again does."""
    namespace = {"__module__": __name__, "__annotations__": {name: kind for name, (kind, _) in fields.items()}}
    namespace |= {name: default for name, (_, default) in fields.items() if default is not ...}
    return type("Thing", (rdb.Document,), namespace, table="replica_things", indexes={"by_name": ["name"]})  # type: ignore[call-overload,no-any-return]


OLD = {"name": (str, ...)}
NEW = {"name": (str, ...), "size": (int, 7)}
WIDER = {"name": (str | int, ...)}


class OnItsOwn:
    """A kernel that hears nothing of classes that are declared in this process, as if it were another one."""

    def __init__(self, kernel: Kernel, document: type[rdb.Document]) -> None:
        on_declared.remove(kernel.database._follow_declaration)
        self.kernel = kernel
        kernel.store._table(document)
        self.document = document

    def names(self) -> list[Any]:
        document = self.document

        @rdb.query
        def names(ctx: rdb.QueryCtx) -> list[Any]:
            return [thing.name for thing in ctx.db.query(document)]  # type: ignore[attr-defined]

        return sorted(self.kernel.database.run(names), key=str)  # each kernel has a clock of its own

    def add(self, name: Any) -> None:
        document = self.document

        @rdb.mutation
        def add(ctx: rdb.MutationCtx) -> None:
            ctx.db.insert(document(name=name))

        self.kernel.database.run(add)

    def __enter__(self) -> OnItsOwn:
        return self

    def __exit__(self, *error: object) -> None:
        on_declared.append(self.kernel.database._follow_declaration)


def new_names(db: Database, document: type[rdb.Document], *names: Any) -> None:
    @rdb.mutation
    def add(ctx: rdb.MutationCtx) -> None:
        for name in names:
            ctx.db.insert(document(name=name))

    db.run(add)


def test_a_class_declared_anew_elsewhere_refuses_writes_here_and_reads_go_on(here: Kernel, there: Database) -> None:
    with OnItsOwn(here, declare(**OLD)) as alone:
        alone.add("one")
        new_names(there, declare(**NEW), "two")
        here.settle()
        assert alone.names() == ["one", "two"]
        with pytest.raises(SchemaError, match=r"declared anew elsewhere .* with the fields name, size"):
            alone.add("three")
        assert alone.names() == ["one", "two"]


def test_documents_that_the_old_class_cannot_read_are_an_error_here_and_the_connection_lives(
    here: Kernel, there: Database
) -> None:
    with OnItsOwn(here, declare(**OLD)) as alone:
        alone.add("one")
        assert alone.names() == ["one"]
        wider = declare(**WIDER)
        new_names(there, wider, "two")
        assert alone.names() == ["one", "two"]
        new_names(there, wider, 3)
        here.settle()
        with pytest.raises(SchemaError, match="declared anew elsewhere"):
            alone.names()
        assert here.database.status == "synced"
        assert here.database.run(weights, "a") == []


def test_a_class_declared_anew_while_its_table_is_read_does_not_read_for_ever(here: Kernel, there: Database) -> None:
    """The answer goes to the table that took its place; who waits for it reads there."""
    old = declare(**OLD)
    new_names(there, old, "one")
    here.link.connection.is_held = True
    names: list[Any] = []

    @rdb.query
    def look(ctx: rdb.QueryCtx) -> list[Any]:
        return [thing.name for thing in ctx.db.query(old)]  # type: ignore[attr-defined]

    reading = threading.Thread(target=lambda: names.append(here.database.run(look)), daemon=True)
    here.link.connection.is_held = False
    here.store._table(old)
    here.link.connection.is_held = True
    reading.start()
    while not here.store.session._waiting:
        threading.Event().wait(0.001)
    new = declare(**NEW)
    releasing = threading.Thread(target=lambda: new_names(here.database, new, "two"), daemon=True)
    releasing.start()
    here.link.connection.is_held = False
    here.wire.stir()
    releasing.join(PATIENCE_SECONDS)
    reading.join(PATIENCE_SECONDS)
    assert not reading.is_alive()
    assert names[0][0] == "one"


def test_an_empty_table_takes_two_documents_at_once(served: Served, kernels: list[Kernel]) -> None:
    kernels[0].database.run(add, "a", count=2)
    assert kernels[1].database.run(how_many, "a") == 2


# --- staying small, and who hears of changes --------------------------------------------------------------------------


def test_what_is_known_here_stays_bounded_and_live_queries_stay_right(
    served: Served, here: Kernel, there: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REPLICA_RANGES_MAX", 20)
    ids = there.run(add, "a", count=200)
    handle = here.database.live(weights, "a")
    for id in ids:
        assert here.database.run(get, id) is not None
        here.settle()
    # One read may be under way when the limit is met; those of the table by its list are one range.
    assert here.store.replica.fullness <= 2
    watched = [one.load().ranges for one, _ in served.connected()]
    assert max(watched) <= 42
    there.run(weigh, ids[0], -1.0)
    here.settle()
    assert handle.value[0] == -1.0
    assert here.database.run(get, ids[0]).weight == -1.0  # type: ignore[union-attr]


def test_live_queries_that_need_more_than_the_limit_have_it(
    here: Kernel, there: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REPLICA_DOCUMENTS_MAX", 10)
    there.run(add, "a", count=50)
    handle = here.database.live(weights, "a")
    for n in range(5):
        there.run(add, "a", weight=1000.0 + n)
        here.settle()
        assert handle.value[-1] == 1000.0 + n
    forgets = [m.decode_client(frame) for frame in here.link.connections[-1].said]
    assert sum(isinstance(message, m.Forget) for message in forgets) == 1


def test_who_hears_that_something_settled_may_ask_the_server(here: Kernel, there: Database) -> None:
    heard: list[list[float]] = []
    is_heard = threading.Event()

    def listen() -> None:
        heard.append(here.database.run(weights, f"never read before {len(heard)}"))
        is_heard.set()

    end = here.database.on_settled(listen)
    here.database.live(weights, "a")
    there.run(add, "a")
    assert is_heard.wait(PATIENCE_SECONDS)
    end()
    assert heard[0] == []
    here.settle()
    assert here.database.run(weights, "a") == [0.0]
