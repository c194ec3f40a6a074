"""The Committer as such: group commit and its hand-over, a journal that fails, Ctrl-C, a document everybody writes."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db.engine.snapshots import Snapshot
from reactive_db.engine.store import Store
from reactive_db.engine.transaction import Transaction
from reactive_db.engine.write_log import LoggedCommit
from reactive_db.errors import CommitUncertainError, ConflictError, SchemaError, StoreClosedError
from reactive_db.functions.contexts import DatabaseWriter
from reactive_db.model.ids import new_id
from reactive_db.runtime import SystemRuntime
from reactive_db.storage.journal import MemoryJournal
from reactive_db.storage.tables import Write
from reactive_db.testing.stores import memory_database, memory_store
from reactive_db.testing.threads import switching_often

PATIENCE_SECONDS = 20.0


class Counter(rdb.Document, table="committer_counters", indexes={"by_name": ["name"]}):
    name: str
    count: int = 0


@rdb.mutation
def increment(ctx: rdb.MutationCtx, name: str) -> int:
    found = ctx.db.query(Counter).with_index("by_name", name=name).unique()
    if found is None:
        ctx.db.insert(Counter(name=name, count=1))
        return 1
    ctx.db.patch(found.id, count=found.count + 1)
    return found.count + 1


@rdb.query
def counters(ctx: rdb.QueryCtx) -> dict[str, int]:
    return {counter.name: counter.count for counter in ctx.db.query(Counter).with_index("by_name")}


class GatedJournal(MemoryJournal):
    """Notes which timestamps came together; while it is shut, an append waits at the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Event()
        self.failure: BaseException | None = None

    def append(self, commits: Sequence[tuple[int, bytes]]) -> None:
        self.arrived.set()
        assert self.gate.wait(PATIENCE_SECONDS)
        if self.failure is not None:
            raise self.failure
        super().append(commits)
        self.batches.append([ts for ts, _ in commits])

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Within, whoever appends waits."""
        self.arrived.clear()
        self.gate.clear()
        try:
            yield
        finally:
            self.gate.set()


@pytest.fixture
def journal() -> GatedJournal:
    return GatedJournal()


@pytest.fixture
def store(journal: GatedJournal) -> Iterator[Store]:
    store = memory_store(SystemRuntime(), journal=journal)
    store.catalog.table(Counter)
    journal.batches.clear()
    yield store
    store.close()


def begin(store: Store, name: str = "x") -> Transaction:
    """A transaction that has written, and read nothing."""
    transaction = store.begin(f"writer of {name}")
    DatabaseWriter(store, transaction).insert(Counter(name=name))
    return transaction


class Callers:
    """Threads that call something; `results` holds what each returned or raised."""

    def __init__(self, *calls: Callable[[], Any]) -> None:
        self.results: list[Any] = [None] * len(calls)
        self._threads = [threading.Thread(target=self._call, args=item, daemon=True) for item in enumerate(calls)]
        for thread in self._threads:
            thread.start()

    def _call(self, number: int, call: Callable[[], Any]) -> None:
        try:
            self.results[number] = call()
        except BaseException as error:
            self.results[number] = error

    def join(self) -> list[Any]:
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "a caller was left stranded"
        return self.results


def until(condition: Callable[[], bool]) -> None:
    """Wait for a state that other threads reach by themselves and nobody announces."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_SECONDS * 1000)):
        if condition():
            return
        pause.wait(0.001)
    pytest.fail("the state was not reached")


def committing(store: Store, name: str = "x") -> Callable[[], int]:
    return lambda: store.committer.commit(begin(store, name))


# --- group commit ----------------------------------------------------------------------------------------------------


def test_who_comes_during_a_flush_goes_together_in_the_next(store: Store, journal: GatedJournal) -> None:
    first = store.snapshots.head
    with journal.shut():
        leader = Callers(committing(store))
        assert journal.arrived.wait(PATIENCE_SECONDS)
        followers = Callers(*[committing(store) for _ in range(7)])
        until(lambda: store.snapshots.head == first + 8)
        assert store.published_ts == first
    assert leader.join() == [first + 1]
    assert sorted(followers.join()) == list(range(first + 2, first + 9))
    assert journal.batches == [[first + 1], list(range(first + 2, first + 9))]
    assert store.published_ts == first + 8


def test_the_lead_is_handed_on_and_on(store: Store, journal: GatedJournal) -> None:
    """One thread would otherwise flush for everybody for ever: each leader flushes once."""
    leaders: list[threading.Thread] = []
    append = journal.append

    def noting(commits: Sequence[tuple[int, bytes]]) -> None:
        leaders.append(threading.current_thread())
        append(commits)

    journal.append = noting  # type: ignore[method-assign]
    head = store.snapshots.head
    with switching_often():
        with journal.shut():
            # The first leader has more to commit, and yet leaves the second flush to one of those who wait.
            callers = Callers(*[lambda: [store.committer.commit(begin(store)) for _ in range(40)] for _ in range(8)])
            until(lambda: store.snapshots.head == head + 8)
        callers.join()
    assert leaders[0] is not leaders[1]
    written = [ts for batch in journal.batches for ts in batch]
    assert written == sorted(set(written))
    assert len(written) == 320


def test_listeners_hear_of_every_commit_in_order_before_it_is_published(store: Store) -> None:
    heard: list[tuple[int, int]] = []
    store.committer.listeners.append(lambda commit: heard.append((commit.ts, store.published_ts)))
    first = store.snapshots.head
    Callers(*[lambda: [store.committer.commit(begin(store)) for _ in range(20)] for _ in range(4)]).join()
    assert [ts for ts, _ in heard] == list(range(first + 1, first + 81))
    assert all(published < ts for ts, published in heard)


def test_a_snapshot_at_the_head_shows_nothing_before_it_is_durable(store: Store, journal: GatedJournal) -> None:
    """Neither a result nor an error may rest on what the journal does not have yet."""
    with journal.shut():
        writer = Callers(committing(store, "new"))
        assert journal.arrived.wait(PATIENCE_SECONDS)
        early = store.begin("reader")
        assert DatabaseWriter(store, early).query(Counter).first() is not None
        readers = Callers(
            lambda: store.committer.abandon(early), lambda: store.committer.wait_published(early.begin_ts)
        )
        published = store.read_at(Snapshot(store.snapshots.begin_published()), "query")
        assert DatabaseWriter(store, published).query(Counter).first() is None
        assert readers.results == [None, None]
        assert store.published_ts < early.begin_ts
    writer.join()
    readers.join()
    assert store.published_ts >= early.begin_ts


def test_snapshots_are_let_go_of(store: Store) -> None:
    def busy() -> None:
        for number in range(30):
            transaction = begin(store)
            DatabaseWriter(store, transaction).query(Counter).first()
            if number % 3:
                try:
                    store.committer.commit(transaction)
                except ConflictError:
                    continue
            else:
                store.committer.abandon(transaction)

    Callers(busy, busy, busy).join()
    assert len(store.snapshots) == 0


# --- a journal that fails --------------------------------------------------------------------------------------------


def test_a_failing_journal_fails_everybody_and_publishes_nothing(store: Store, journal: GatedJournal) -> None:
    heard: list[LoggedCommit] = []
    store.committer.listeners.append(heard.append)
    before = store.published_ts
    with journal.shut():
        journal.failure = CommitUncertainError("the disk is gone")
        callers = Callers(*[committing(store) for _ in range(6)])
        until(lambda: store.snapshots.head == before + 6)
    assert [type(error) for error in callers.join()] == [CommitUncertainError] * 6
    assert (store.published_ts, heard, journal.batches) == (before, [], [])
    reader = store.read_at(Snapshot(store.snapshots.begin_published()), "query")
    assert DatabaseWriter(store, reader).query(Counter).count() == 0


def test_after_a_failure_everything_is_refused(store: Store, journal: GatedJournal) -> None:
    journal.failure = OSError("unplugged")
    with pytest.raises(OSError, match="unplugged"):
        store.committer.commit(begin(store))
    journal.failure = None
    with pytest.raises(StoreClosedError, match="unplugged"):
        store.committer.commit(begin(store))
    assert journal.batches == []


def test_an_error_that_rests_on_a_lost_commit_is_not_shown(store: Store, journal: GatedJournal) -> None:
    journal.failure = OSError("unplugged")
    with pytest.raises(OSError, match="unplugged"):
        store.committer.commit(begin(store))
    late = store.begin("reader of what was lost")
    assert DatabaseWriter(store, late).query(Counter).first() is not None
    with pytest.raises(StoreClosedError):
        store.committer.abandon(late)


def test_handles_show_nothing_of_what_was_lost() -> None:
    journal = GatedJournal()
    database = memory_database(journal=journal)
    database.run(increment, "x")
    handle = database.live(counters)
    journal.failure = OSError("unplugged")
    with pytest.raises(OSError, match="unplugged"):
        database.run(increment, "x")
    assert (handle.value, database.run(counters)) == ({"x": 1}, {"x": 1})
    database.close()


def test_a_listener_that_raises_strands_nobody(store: Store) -> None:
    """It cannot happen, and if it does the store is closed rather than stuck."""

    def broken(commit: LoggedCommit) -> None:
        raise RuntimeError("a bug")

    store.committer.listeners.append(broken)
    results = Callers(*[committing(store) for _ in range(4)]).join()
    assert {type(error) for error in results} <= {RuntimeError, StoreClosedError}


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------


def test_an_interrupted_follower_strands_nobody(store: Store, journal: GatedJournal) -> None:
    """The main thread waits for a flush, is interrupted, and was the one to lead the next."""
    first = store.snapshots.head
    main = threading.main_thread().ident
    if main != threading.get_ident():
        pytest.skip("only the main thread gets Ctrl-C")
    assert main is not None
    others: list[Callers] = []

    def interrupt() -> None:
        until(lambda: store.snapshots.head == first + 2)
        others.append(Callers(*[committing(store) for _ in range(3)]))
        until(lambda: store.snapshots.head == first + 5)
        signal.pthread_kill(main, signal.SIGINT)

    with journal.shut():
        leader = Callers(committing(store))
        assert journal.arrived.wait(PATIENCE_SECONDS)
        interrupter = Callers(interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.committer.commit(begin(store))
    interrupter.join()
    leader.join()
    others[0].join()
    assert store.published_ts == first + 5
    store.committer.commit(begin(store))


COMMIT_PATH = {"committer.py", "interrupts.py", "snapshots.py", "write_log.py"}


def interrupting(at: int, run: Callable[[], Any]) -> bool:
    """Press Ctrl-C in this thread at the bytecode of the commit path with that number; whether it came so far."""
    passed = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal passed
        if not is_commit_path(frame.f_code):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            passed += 1
            if passed == at:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return trace

    sys.settrace(trace)
    try:
        run()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return passed >= at


def is_commit_path(code: CodeType) -> bool:
    return code.co_filename.rpartition("/")[2] in COMMIT_PATH


@pytest.mark.parametrize("offset", range(4))
def test_an_interrupt_at_any_bytecode_leaves_the_store_working(offset: int) -> None:
    """Every fourth one, from a different start in each test."""
    if threading.main_thread().ident != threading.get_ident():
        pytest.skip("only the main thread gets Ctrl-C")
    store = memory_store()
    store.catalog.table(Counter)
    at, is_reached = offset + 1, True
    while is_reached:
        transaction = begin(store)
        is_reached = interrupting(at, lambda transaction=transaction: store.committer.commit(transaction))
        head = store.snapshots.head
        assert Callers(committing(store)).join() == [head + 1], f"bytecode {at}"
        assert store.published_ts == head + 1
        at += 4
    assert at > 500
    store.close()


# --- a class declared anew meanwhile ----------------------------------------------------------------------------------


def declare_part(indexes: dict[str, list[str]]) -> type[rdb.Document]:
    class Part(rdb.Document, table="committer_parts", indexes=indexes):
        name: str

    return Part


def test_documents_built_by_an_old_definition_do_not_enter_the_new_one() -> None:
    with memory_database() as database:
        store = database._store
        old = declare_part({})
        table = store.catalog.table(old)
        early, blind = store.begin("reads and writes"), store.begin("writes only")
        DatabaseWriter(store, early).query(old).first()
        for transaction in (early, blind):
            DatabaseWriter(store, transaction).insert(old(name="x"))
        new = declare_part({"by_name": ["name"]})
        assert store.catalog.table(new) is store.catalog.table(old) is not table
        for transaction in (early, blind):
            with pytest.raises(ConflictError):
                store.committer.commit(transaction)
        with pytest.raises(SchemaError, match="declared anew"):
            store.committer.commit_bulk([(table, [])], 0.0, "load")


def test_a_class_declared_anew_within_a_transaction_makes_it_run_again() -> None:
    runs: list[int] = []

    @rdb.mutation
    def redeclaring(ctx: rdb.MutationCtx) -> int:
        runs.append(1)
        ctx.db.insert(old(name="before"))
        if len(runs) == 1:
            latest.append(declare_part({"by_name": ["name"]}))
        ctx.db.insert(latest[-1](name="after"))
        return ctx.db.query(latest[-1]).with_index("by_name").count()

    old = declare_part({})
    latest = [old]
    with memory_database() as database:
        database._store.catalog.table(old)
        assert (database.run(redeclaring), len(runs)) == (2, 2)


def test_keys_of_an_index_that_a_definition_has_not() -> None:
    """Its readers belong to another definition, and meet the commit of that one."""
    with memory_database() as database:
        store = database._store
        schema = store.catalog.table(declare_part({})).schema
        document, data = schema.build(new_id(schema.number, bytes(14), 0.0), 0.0, {"name": "x"})
        commit = LoggedCommit(1, "test", {schema.number: (schema, [Write(document.id, None, document, data)])}, False)
        assert len(commit.keys((schema.number, "by_creation_time"))) == 1
        assert commit.keys((schema.number, "by_name")) == []


# --- a hot document --------------------------------------------------------------------------------------------------


def test_a_document_that_everybody_writes_loses_no_update() -> None:
    with memory_database(SystemRuntime()) as database:
        handle = database.live(counters)
        callers = Callers(*[lambda: [database.run(increment, "hot") for _ in range(25)] for _ in range(16)])
        results = callers.join()
        assert sorted(count for counts in results for count in counts) == list(range(1, 401))
        assert all(counts == sorted(counts) for counts in results)
        assert handle.value == {"hot": 400}


def test_without_validation_updates_would_be_lost() -> None:
    """The same with a Committer that validates nothing, whose callers meet for sure."""
    with memory_database(validates=False) as database:
        database.run(increment, "hot")
        store = database._store
        one, other = store.begin("one"), store.begin("other")
        for transaction in (one, other):
            increment(rdb.MutationCtx(DatabaseWriter(store, transaction), transaction), "hot")
        store.committer.commit(one)
        store.committer.commit(other)
        assert database.run(counters) == {"hot": 2}
