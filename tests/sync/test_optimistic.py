"""Optimistic updates and the outbox: what mutations write is shown at once, and in the end it is what was committed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from random import Random
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db import limits
from reactive_db.database import Database
from reactive_db.errors import (
    ApplicationError,
    ArgumentError,
    FunctionError,
    LimitError,
    OfflineError,
    PermissionDeniedError,
    StoreClosedError,
)
from reactive_db.sync import messages as m
from reactive_db.sync.replica import Replica
from reactive_db.sync.served import Caller
from reactive_db.testing.threads import PATIENCE_SECONDS, run_in_threads
from reactive_db.testing.wire import Kernel, Wire


class Item(rdb.Document, table="optimistic_items", indexes={"by_name": ["name"]}):
    name: str
    number: int = 0


@rdb.query
def everything(ctx: rdb.QueryCtx) -> list[tuple[str, int]]:
    return [(item.name, item.number) for item in ctx.db.query(Item).with_index("by_name")]


@rdb.query
def documents(ctx: rdb.QueryCtx) -> list[Item]:
    return ctx.db.query(Item).with_index("by_name").collect()


@rdb.query
def how_many(ctx: rdb.QueryCtx) -> int:
    return ctx.db.query(Item).with_index("by_name").count()


@rdb.query
def number_of(ctx: rdb.QueryCtx, name: str) -> int | None:
    found = ctx.db.query(Item).with_index("by_name", name=name).first()
    return None if found is None else found.number


@rdb.mutation
def add(ctx: rdb.MutationCtx, name: str, number: int = 0) -> rdb.Id[Item]:
    return ctx.db.insert(Item(name=name, number=number))


@rdb.mutation
def double(ctx: rdb.MutationCtx, name: str) -> int:
    found = ctx.db.query(Item).with_index("by_name", name=name).unique()
    ctx.db.patch(found.id, number=found.number * 2)  # type: ignore[union-attr]
    return found.number * 2  # type: ignore[union-attr]


@rdb.mutation
def increment(ctx: rdb.MutationCtx, name: str) -> None:
    found = ctx.db.query(Item).with_index("by_name", name=name).unique()
    ctx.db.patch(found.id, number=found.number + 1)  # type: ignore[union-attr]


@rdb.mutation
def remove(ctx: rdb.MutationCtx, name: str) -> None:
    found = ctx.db.query(Item).with_index("by_name", name=name).first()
    if found is None:
        raise ApplicationError(f"no {name}")
    ctx.db.delete(found.id)


@pytest.fixture
def here(kernels: list[Kernel]) -> Kernel:
    return kernels[0]


@pytest.fixture
def db(here: Kernel) -> Database:
    return here.database


@pytest.fixture
def there(kernels: list[Kernel]) -> Database:
    return kernels[1].database


@pytest.fixture
def held(here: Kernel, db: Database) -> Iterator[Kernel]:
    """A kernel with an item, that hears nothing from the server until `let_go`."""
    db.run(add, "a", 1)
    db.run(everything)
    here.settle()
    here.link.connection.is_held = True
    yield here
    let_go(here)


def let_go(kernel: Kernel) -> None:
    kernel.link.connection.is_held = False
    kernel.wire.stir()


def done(future: Future[Any]) -> Any:
    return future.result(PATIENCE_SECONDS)


def run_until_shown(held: Kernel, run: Callable[[], object], handle: rdb.QueryHandle[Any], value: Any) -> None:
    """Run something that waits for the server, which is heard only when `handle` shows `value`."""
    told = threading.Event()
    handle.observe(lambda change: told.set() if change["new"] == value else None, "value")

    def let_go_then() -> None:
        assert told.wait(PATIENCE_SECONDS)
        let_go(held)

    run_in_threads([run, let_go_then])


def shown_by(handle: rdb.QueryHandle[Any]) -> list[Any]:
    """Every value that the handle shows from now on."""
    values = [handle.value]
    handle.observe(lambda change: values.append(change["new"]), "value")
    return values


# --- shown before it is committed ------------------------------------------------------------------------------------


def test_what_is_submitted_is_shown_before_the_server_has_answered(held: Kernel, db: Database) -> None:
    handle = db.live(everything)
    values = shown_by(handle)
    future = db.submit(add, "b", 2)
    assert handle.value == [("a", 1), ("b", 2)]
    assert not future.done()
    assert (db.pending, db.status) == (1, "syncing")
    let_go(held)
    done(future)
    assert (db.pending, db.status) == (0, "synced")
    assert values == [[("a", 1)], [("a", 1), ("b", 2)]], "and once only"


def test_what_is_run_is_shown_before_the_server_has_answered(held: Kernel, db: Database) -> None:
    handle = db.live(number_of, "a")
    run_until_shown(held, lambda: db.run(increment, "a"), handle, 2)
    assert handle.value == 2


@pytest.mark.parametrize("how", ["run", "submit"])
def test_an_observer_that_runs_a_mutation_comes_after_what_it_was_shown(
    db: Database, there: Database, how: str
) -> None:
    db.run(add, "a", 1)
    handle, doubled = db.live(number_of, "a"), threading.Event()

    def double_two(change: Any) -> None:
        if change["new"] == 2:
            db.run(double, "a")
            doubled.set()

    handle.observe(double_two, "value")
    if how == "run":
        db.run(increment, "a")
    else:
        done(db.submit(increment, "a"))
    assert doubled.wait(PATIENCE_SECONDS)
    assert there.run(number_of, "a") == 4


def test_ids_and_times_are_the_same_when_it_is_committed(held: Kernel, db: Database, there: Database) -> None:
    handle = db.live(documents)
    future = db.submit(add, "b")
    shown = handle.value[1]
    let_go(held)
    assert done(future) == shown.id
    assert handle.value[1] == there.run(documents)[1] == shown


def test_counts_and_deletions_are_shown_too(held: Kernel, db: Database) -> None:
    db.submit(add, "b")
    db.submit(remove, "a")
    assert db.run(everything) == [("b", 0)]
    let_go(held)
    held.settle()
    counted = db.live(how_many)
    held.link.connection.is_held = True
    db.submit(add, "c")
    assert counted.value == 2


def test_one_sees_what_those_before_it_will_do(held: Kernel, db: Database) -> None:
    handle = db.live(number_of, "a")
    futures = [db.submit(increment, "a"), db.submit(double, "a"), db.submit(increment, "a")]
    assert handle.value == 5
    let_go(held)
    assert [done(one) for one in futures] == [None, 4, None]
    assert handle.value == 5


def test_live_sql_shows_what_is_committed(held: Kernel, db: Database) -> None:
    let_go(held)
    handle = db.live("SELECT count(*) AS n FROM optimistic_items")
    held.settle()
    held.link.connection.is_held = True
    future = db.submit(add, "b")
    assert handle.value.fetchall() == [(1,)]
    let_go(held)
    done(future)
    held.settle()
    assert handle.value.fetchall() == [(2,)]


# --- taken back ------------------------------------------------------------------------------------------------------


def test_what_raises_shows_nothing_and_its_error_is_in_the_future(db: Database) -> None:
    handle = db.live(everything)
    values = shown_by(handle)
    with pytest.raises(ApplicationError, match="no a"):
        done(db.submit(remove, "a"))
    assert values == [[]]


def test_what_the_server_refuses_is_taken_back(automatic: Wire, db: Database) -> None:
    db.run(add, "a", 1)
    reader = Kernel(automatic, caller=Caller("bob", frozenset({"read"})))
    handle = reader.database.live(everything)
    values = shown_by(handle)
    reader.settle()
    reader.link.connection.is_held = True
    future = reader.database.submit(increment, "a")
    assert handle.value == [("a", 2)]
    let_go(reader)
    with pytest.raises(PermissionDeniedError):
        done(future)
    assert values == [[("a", 1)], [("a", 2)], [("a", 1)]]
    with pytest.raises(PermissionDeniedError):
        reader.database.run(increment, "a")
    assert handle.value == [("a", 1)]
    reader.database.close()


def test_an_argument_that_does_not_fit_is_said_at_once(db: Database) -> None:
    with pytest.raises(ArgumentError, match=r"\$\.number"):
        db.submit(add, "a", "many")  # type: ignore[arg-type]
    with pytest.raises(FunctionError, match=r"expected a function made by @rdb\.mutation"):
        db.submit(everything)  # type: ignore[arg-type]


# --- rebased ---------------------------------------------------------------------------------------------------------


class Gate:
    """A mutation that waits when it is run to be committed, so that those behind it are only shown."""

    def __init__(self) -> None:
        self.open = threading.Event()

        @rdb.mutation
        def wait(ctx: rdb.MutationCtx) -> None:
            self.open.wait(PATIENCE_SECONDS)

        @wait.optimistic
        def pass_by(ctx: rdb.MutationCtx) -> None: ...

        self.mutation = wait


def test_it_runs_again_on_what_somebody_else_commits(here: Kernel, db: Database, there: Database) -> None:
    db.run(add, "a", 1)
    handle, gate = db.live(number_of, "a"), Gate()
    values = shown_by(handle)
    db.submit(gate.mutation)
    future = db.submit(double, "a")
    there.run(increment, "a")
    here.settle()
    assert handle.value == 4
    gate.open.set()
    assert done(future) == 4
    assert values == [1, 2, 4]


def test_one_that_raises_on_what_somebody_else_commits_shows_nothing(
    here: Kernel, db: Database, there: Database
) -> None:
    db.run(add, "a", 1)
    handle, gate = db.live(everything), Gate()
    db.submit(gate.mutation)
    future = db.submit(remove, "a")
    assert handle.value == []
    there.run(remove, "a")
    there.run(add, "b")
    here.settle()
    assert handle.value == [("b", 0)]
    gate.open.set()
    with pytest.raises(ApplicationError, match="no a"):
        done(future)


# --- offline ---------------------------------------------------------------------------------------------------------


def test_mutations_queue_while_offline_and_are_applied_once_in_order(
    here: Kernel, db: Database, there: Database
) -> None:
    db.run(add, "a", 1)
    handle = db.live(number_of, "a")
    here.settle()
    here.link.connection.cut()
    here.settle()
    futures = [db.submit(double, "a"), db.submit(increment, "a")]
    assert (handle.value, handle.status) == (3, "stale")
    assert (db.status, db.pending) == ("offline", 2)
    there.run(increment, "a")
    assert there.run(number_of, "a") == 2
    values = shown_by(handle)
    here.link.connect()
    assert [done(one) for one in futures] == [4, None]
    here.settle()
    assert (handle.value, handle.status) == (5, "current")
    assert there.run(number_of, "a") == 5
    assert (db.status, db.pending) == ("synced", 0)
    assert values == sorted(values), "never shown without what was submitted, nor twice"


def test_what_cannot_be_shown_offline_is_done_all_the_same(here: Kernel, db: Database, there: Database) -> None:
    there.run(add, "a", 1)  # which this kernel has never read
    here.link.connection.cut()
    here.settle()
    future = db.submit(increment, "a")
    with pytest.raises(OfflineError):
        db.run(number_of, "a")
    here.link.connect()
    done(future)
    assert there.run(number_of, "a") == 2


@pytest.mark.parametrize("moment", ["before the server hears of it", "before the answer is heard"])
def test_one_whose_connection_is_lost_is_applied_once(here: Kernel, db: Database, there: Database, moment: str) -> None:
    db.run(add, "a", 1)
    handle = db.live(number_of, "a")
    values = shown_by(handle)
    here.settle()
    connection = here.link.connection
    connection.is_held = True
    future = db.submit(increment, "a")
    if moment == "before the answer is heard":
        while there.run(number_of, "a") == 1:
            here.wire.settle()
    connection.cut()
    here.link.connect()
    done(future)
    here.settle()
    assert there.run(number_of, "a") == 2
    assert values == [1, 2]


def test_one_that_nothing_is_in_the_way_of_runs_once(held: Kernel, db: Database) -> None:
    runs: list[int] = []

    @rdb.mutation
    def count(ctx: rdb.MutationCtx) -> None:
        runs.append(len(runs))
        ctx.db.insert(Item(name="counted", number=runs[-1]))

    handle = db.live(number_of, "counted")
    future = db.submit(count)
    assert handle.value == 0
    let_go(held)
    done(future)
    assert (handle.value, runs) == (0, [0])


def test_one_during_which_others_commit_elsewhere_runs_once(here: Kernel, db: Database, there: Database) -> None:
    db.run(add, "a", 1)
    runs: list[int] = []

    @rdb.mutation
    def look_around(ctx: rdb.MutationCtx) -> None:
        runs.append(number_of(ctx, "a") or 0)
        there.run(add, f"other {len(runs)}")
        here.wire.settle()
        ctx.db.insert(Item(name="mine"))

    done(db.submit(look_around))
    assert runs == [1]


def test_what_is_run_goes_behind_what_was_submitted(here: Kernel, db: Database) -> None:
    db.run(add, "a", 1)
    gate = Gate()
    db.submit(gate.mutation)
    db.submit(increment, "a")
    found: list[int] = []

    def run() -> None:
        found.append(db.run(double, "a"))

    def open_gate() -> None:
        while db.pending < 3:
            threading.Event().wait(0.001)
        gate.open.set()

    run_in_threads([run, open_gate])
    assert found == [4]


def test_a_full_outbox_takes_no_more_and_loses_nothing(
    here: Kernel, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_MUTATIONS_MAX", 2)
    db.run(add, "a", 1)
    db.run(number_of, "a")
    here.settle()
    here.link.connection.cut()
    here.settle()
    futures = [db.submit(increment, "a") for _ in range(2)]
    with pytest.raises(LimitError, match="2 mutations wait for the server"):
        db.submit(increment, "a")
    assert db.run(number_of, "a") == 3
    here.link.connect()
    for one in futures:
        done(one)
    assert db.run(number_of, "a") == 3


def test_one_that_is_cancelled_in_time_is_not_run(here: Kernel, db: Database, there: Database) -> None:
    db.run(add, "a", 1)
    handle = db.live(number_of, "a")
    here.settle()
    here.link.connection.cut()
    here.settle()
    first, second = db.submit(increment, "a"), db.submit(increment, "a")
    assert handle.value == 3
    assert second.cancel()
    here.link.connect()
    done(first)
    with pytest.raises(CancelledError):
        done(second)
    here.settle()
    assert handle.value == there.run(number_of, "a") == 2


def test_what_waits_when_the_connection_is_closed_says_so(here: Kernel, db: Database) -> None:
    db.run(add, "a", 1)
    here.settle()
    here.link.connection.cut()
    here.settle()
    futures = [db.submit(increment, "a") for _ in range(2)]
    db.close()
    for one in futures:
        with pytest.raises(StoreClosedError):
            done(one)
    with pytest.raises(StoreClosedError):
        db.submit(increment, "a")


def test_what_can_be_done_is_done_before_the_connection_is_closed(db: Database, there: Database) -> None:
    db.run(add, "a", 1)
    futures = [db.submit(increment, "a") for _ in range(20)]
    db.close()
    for one in futures:
        done(one)
    assert there.run(number_of, "a") == 21


def test_one_may_be_submitted_when_another_is_done(db: Database) -> None:
    db.run(add, "a", 1)
    followed: Future[None] = Future()

    def go_on(first: Future[None]) -> None:
        db.run(double, "a")
        db.submit(increment, "a").add_done_callback(lambda second: followed.set_result(None))

    db.submit(increment, "a").add_done_callback(go_on)
    done(followed)
    assert db.run(number_of, "a") == 5


# --- hand-written ----------------------------------------------------------------------------------------------------


def test_a_hand_written_one_is_shown_in_its_place(held: Kernel, db: Database, there: Database) -> None:
    @rdb.mutation
    def grade(ctx: rdb.MutationCtx, name: str) -> None:
        item = ctx.db.query(Item).with_index("by_name", name=name).unique()
        ctx.db.patch(item.id, number=ctx.random.randint(10, 19))  # type: ignore[union-attr]

    @grade.optimistic
    def show_that_it_is_awaited(ctx: rdb.MutationCtx, name: str) -> None:
        item = ctx.db.query(Item).with_index("by_name", name=name).unique()
        ctx.db.patch(item.id, number=-1)  # type: ignore[union-attr]

    handle = db.live(number_of, "a")
    values = shown_by(handle)
    future = db.submit(grade, "a")
    assert handle.value == -1
    let_go(held)
    done(future)
    assert values[:2] == [1, -1]
    assert values[2:] == [there.run(number_of, "a")]
    assert values[-1] in range(10, 20)
    held.settle()
    held.link.connection.is_held = True
    run_until_shown(held, lambda: db.run(grade, "a"), handle, -1)


def test_a_hand_written_one_takes_the_same_arguments() -> None:
    with pytest.raises(FunctionError, match="takes nothing; it has to take the same arguments: name, number"):

        @add.optimistic  # type: ignore[arg-type]
        def _(ctx: rdb.MutationCtx) -> None: ...


# --- a store of this process -----------------------------------------------------------------------------------------


def test_in_a_store_of_this_process_it_is_done_at_once() -> None:
    with rdb.connect(":memory:") as own:
        future = own.submit(add, "a", 1)
        assert future.done()
        assert own.run(documents)[0].id == future.result()
        with pytest.raises(ApplicationError):
            own.submit(remove, "b").result()


# --- never twice, never not at all -----------------------------------------------------------------------------------


def shown_in_a_life(automatic: Wire, seed: int) -> list[list[int]]:
    """What two kernels show of one number that both of them, and others, only ever make larger."""
    random, kernels = Random(seed), [Kernel(automatic) for _ in range(3)]
    kernels[0].database.run(add, "a")
    handles = [kernel.database.live(number_of, "a") for kernel in kernels]
    values = [shown_by(handle) for handle in handles]
    futures = []
    for _ in range(60):
        kernel = random.choice(kernels)
        match random.randrange(8):
            case 0:
                kernel.link.connection.cut()
            case 1 if not kernel.link.connection.is_open:
                kernel.link.connect()
            case 2:
                kernel.wire.settle()
            case _:
                futures.append(kernel.database.submit(increment, "a"))
    for kernel in kernels:
        if not kernel.link.connection.is_open:
            kernel.link.connect()
    for one in futures:
        done(one)
    for kernel in kernels:
        kernel.settle()
    assert [handle.value for handle in handles] == [len(futures)] * len(kernels)
    for kernel in kernels:
        kernel.database.close()
    return values


SEEDS = 12


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_shown_of_a_number_that_only_grows_never_shrinks(automatic: Wire, seed: int) -> None:
    for values in shown_in_a_life(automatic, seed):
        assert values == sorted(values)


def test_a_replica_that_shows_its_own_commits_twice_is_caught(automatic: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replica, "_confirm", lambda self, ts, commit: None)
    lives = (shown_in_a_life(automatic, seed) for seed in range(SEEDS))
    assert any(values != sorted(values) for life in lives for values in life)


def test_transitions_name_the_last_commit_of_whom_they_go_to(here: Kernel, db: Database, there: Database) -> None:
    db.run(add, "a", 1)
    db.run(everything)
    db.run(increment, "a")
    there.run(increment, "a")
    here.settle()
    heard = [m.decode_server(frame) for frame in here.link.connection.heard]
    moved = [one for one in heard if isinstance(one, m.Transition) and one.writes]
    assert [one.commit for one in moved][-2:] == [2, 2]
