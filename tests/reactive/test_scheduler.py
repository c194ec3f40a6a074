"""Invariants 5, 6 and 9 in single steps: what handles show and when their observers hear of it, whoever commits."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import types
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db import limits
from reactive_db.database import Database
from reactive_db.errors import ApplicationError, ArgumentError, LimitError, QueryError, SchemaMismatchError
from reactive_db.testing.interleave import Meanwhile, Steps
from reactive_db.testing.runtime import SeededRuntime
from reactive_db.testing.stores import memory_database
from reactive_db.testing.threads import run_in_threads

PATIENCE_SECONDS = 20.0


class Counter(rdb.Document, table="scheduler_counters", indexes={"by_name": ["name"]}):
    name: str
    count: int = 0


@rdb.mutation
def add(ctx: rdb.MutationCtx, name: str, amount: int = 1) -> int:
    found = ctx.db.query(Counter).with_index("by_name", name=name).unique()
    if found is None:
        ctx.db.insert(Counter(name=name, count=amount))
        return amount
    ctx.db.patch(found.id, count=found.count + amount)
    return found.count + amount


@rdb.mutation
def move(ctx: rdb.MutationCtx, source: str, target: str) -> None:
    add(ctx, source, -1)
    add(ctx, target, 1)


@rdb.mutation
def fail(ctx: rdb.MutationCtx, name: str) -> None:
    add(ctx, name)
    raise ApplicationError("on purpose")


@rdb.query
def count(ctx: rdb.QueryCtx, name: str) -> int:
    found = ctx.db.query(Counter).with_index("by_name", name=name).unique()
    return 0 if found is None else found.count


@rdb.query
def is_positive(ctx: rdb.QueryCtx, name: str) -> bool:
    return count(ctx, name) > 0


@rdb.query
def must_be_even(ctx: rdb.QueryCtx, name: str) -> int:
    found = count(ctx, name)
    if found % 2:
        raise ApplicationError(f"{found} is odd")
    return found


@pytest.fixture
def runtime() -> SeededRuntime:
    return SeededRuntime(0)


@pytest.fixture
def db(runtime: SeededRuntime) -> Iterator[Database]:
    with memory_database(runtime) as database:
        database.run(add, "a", 0)
        yield database


def heard(handle: rdb.QueryHandle[Any], *names: str) -> list[Any]:
    """A list to which every later change of these traits is appended, of values only the new one."""
    changes: list[Any] = []
    handle.observe(lambda change: changes.append(change.new), list(names) or ["value"])
    return changes


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_every_handle_is_right_when_a_mutation_returns(db: Database) -> None:
    handles = [db.live(count, name) for name in "abc"]
    for number in range(1, 6):
        for name in "abc":
            db.run(add, name)
            assert db.live(count, name).value == number
        assert [handle.value for handle in handles] == [number] * 3
        assert {handle.ts for handle in handles} == {db.ts}


def test_a_failed_mutation_shows_nothing(db: Database) -> None:
    handle = db.live(count, "a")
    changes = heard(handle, "value", "ts")
    with pytest.raises(ApplicationError):
        db.run(fail, "a")
    assert (handle.value, changes) == (0, [])


def test_handles_move_together(db: Database) -> None:
    """Whoever hears of a change finds every other handle at the same timestamp already."""
    first, second = db.live(count, "a"), db.live(count, "b")
    seen: list[tuple[int, int, int, int]] = []
    for handle in (first, second):
        handle.observe(lambda _: seen.append((first.value, second.value, first.ts, second.ts)), "value")
    for _ in range(5):
        db.run(move, "a", "b")
    assert len(seen) == 10
    assert all(a + b == 0 and a_ts == b_ts for a, b, a_ts, b_ts in seen)


def test_a_rerun_that_gives_the_same_is_silent(db: Database) -> None:
    handle = db.live(is_positive, "a")
    changes = heard(handle, "value", "ts", "status")
    db.run(add, "a", -5)
    ts = handle.ts
    assert (handle.value, changes) == (False, [])
    assert ts == db.ts
    db.run(add, "a", 9)
    assert changes == [db.ts, True]


def test_what_python_takes_for_equal_is_not_the_same(db: Database) -> None:
    @rdb.query
    def kinds(ctx: rdb.QueryCtx) -> Any:
        return [[1, True, 1.0][count(ctx, "a") % 3]]

    handle = db.live(kinds)
    shown = [repr(handle.value)]
    handle.observe(lambda change: shown.append(repr(change.new)), "value")
    db.run(add, "a")
    db.run(add, "a")
    assert shown == ["[1]", "[True]", "[1.0]"]


def test_a_query_that_is_run_by_others_is_still_news_to_its_watchers(db: Database) -> None:
    """`db.run` of a query whose watchers have not been told yet must not look to them as if nothing had changed."""
    handle = db.live(count, "a")
    store = db._store
    transaction = store.begin("a commit that nobody advances after")
    add(rdb.MutationCtx(_writer(db, transaction), transaction), "a")
    store.committer.commit(transaction)
    assert (handle.value, handle.ts) == (0, db.ts - 1)
    assert db.run(count, "a") == 1
    assert (handle.value, handle.ts) == (1, db.ts)


def test_what_a_query_says_is_not_ahead_of_the_handles(db: Database) -> None:
    first, other = db.live(count, "a"), db.live(count, "b")
    transaction = db._store.begin("a commit that nobody advances after")
    add(rdb.MutationCtx(_writer(db, transaction), transaction), "b")
    db._store.committer.commit(transaction)
    assert db.run(is_positive, "b") is True
    assert (other.value, other.ts, first.ts) == (1, db.ts, db.ts)


def test_an_error_keeps_the_last_good_value(db: Database) -> None:
    handle = db.live(must_be_even, "a")
    changes = heard(handle, "value", "status", "error")
    db.run(add, "a", 3)
    error = handle.error
    assert isinstance(error, ApplicationError)
    assert (handle.value, handle.status, error.data) == (0, "error", "3 is odd")
    db.run(add, "a", 1)
    assert (handle.value, handle.status, handle.error) == (4, "current", None)
    assert changes == ["error", error, "current", None, 4]


def test_an_error_that_goes_away_without_a_change_is_no_new_value(db: Database) -> None:
    handle = db.live(must_be_even, "a")
    values = heard(handle)
    db.run(add, "a", 1)
    db.run(add, "a", -1)
    assert (handle.status, values) == ("current", [])


def test_a_query_that_reads_too_much_harms_nobody_else() -> None:
    with memory_database(limits=rdb.Limits(key_ranges_max=8)) as db:

        @rdb.query
        def greedy(ctx: rdb.QueryCtx) -> int:
            return sum(count(ctx, f"n{number}") for number in range(count(ctx, "a")))

        db.run(add, "a", 1)
        greedy_handle, handle = db.live(greedy), db.live(count, "a")
        db.run(add, "a", 20)
        assert (handle.value, type(greedy_handle.error)) == (21, LimitError)
        db.run(add, "a", -20)
        assert (handle.value, greedy_handle.value, greedy_handle.error) == (1, 0, None)


def test_an_interrupted_rerun_loses_no_news(db: Database) -> None:
    """Ctrl-C in a cell while live queries run again: none shows half of the step, the next commit shows all of it."""
    is_pressed = False

    @rdb.query
    def interrupted(ctx: rdb.QueryCtx) -> int:
        if is_pressed:
            raise KeyboardInterrupt
        return count(ctx, "b")

    before, slow, after = db.live(count, "a"), db.live(interrupted), db.live(count, "b")
    changes = [heard(handle) for handle in (before, slow, after)]
    is_pressed = True
    with pytest.raises(KeyboardInterrupt):
        db.run(move, "b", "a")
    assert (before.value, slow.value, after.value) == (0, 0, 0)
    assert len({before.ts, slow.ts, after.ts}) == 1
    is_pressed = False
    db.run(add, "c")
    assert (before.value, slow.value, after.value) == (1, -1, -1)
    assert changes == [[1], [-1], [-1]]


# --- redefinition ----------------------------------------------------------------------------------------------------


def declare(factor: int) -> Any:
    def scaled(ctx: rdb.QueryCtx, name: str) -> int:
        return count(ctx, name) * factor

    return rdb.query(at_the_top(scaled))


def at_the_top(function: Any) -> Any:
    """As in a cell: only there is a function that has the name of an earlier one its successor."""
    function.__qualname__ = function.__name__
    return function


def test_a_handle_follows_its_function_at_once(db: Database) -> None:
    db.run(add, "a", 5)
    handle = db.live(declare(1), "a")
    changes = heard(handle)
    declare(2)
    assert (handle.value, changes) == (10, [10])
    db.run(add, "a", 1)
    assert handle.value == 12
    declare(2)
    assert changes == [10, 12]


def test_a_function_that_takes_other_arguments_now(db: Database) -> None:
    handle = db.live(declare(1), "a")

    def scaled(ctx: rdb.QueryCtx, name: str, more: int) -> int:
        return more

    rdb.query(at_the_top(scaled))
    assert (handle.status, handle.value, type(handle.error)) == ("error", 0, ArgumentError)
    declare(3)
    assert (handle.status, handle.value) == ("current", 0)


def declare_page(order: Any, n: int) -> Any:
    def page(ctx: rdb.QueryCtx) -> list[str]:
        return [one.name for one in ctx.db.query(Counter).with_index("by_name").order(order).paginate(None, n).items]

    return rdb.query(at_the_top(page))


def test_a_live_page_keeps_its_place_and_a_new_function_finds_its_own(db: Database) -> None:
    for name in ("c", "e", "g"):
        db.run(add, name)
    handle = db.live(declare_page("asc", 2))
    assert handle.value == ["a", "c"]
    db.run(add, "b")
    assert handle.value == ["a", "b", "c"]
    db.run(add, "d")
    assert handle.value == ["a", "b", "c"]
    declare_page("desc", 2)
    assert handle.value == ["g", "e"]
    declare_page("asc", 4)
    assert handle.value == ["a", "b", "c", "d"]


# --- document classes declared anew ----------------------------------------------------------------------------------


class Latest:
    """What the name of a class refers to in a notebook."""

    Item: Any = None


def declare_item(*, fields: dict[str, Any] | None = None, indexes: dict[str, list[str]] | None = None) -> None:
    """Run the cell with the class (again)."""
    annotations = {"name": str, **{field: type(value) for field, value in (fields or {}).items()}}
    body = {"__module__": __name__, "__annotations__": annotations, **(fields or {})}
    options = {"table": "scheduler_items", "indexes": indexes or {}}
    Latest.Item = types.new_class("Item", (rdb.Document,), options, lambda namespace: namespace.update(body))


@rdb.mutation
def put_item(ctx: rdb.MutationCtx, name: str) -> rdb.Id[Any]:
    return ctx.db.insert(Latest.Item(name=name))


@rdb.query
def items(ctx: rdb.QueryCtx) -> Any:
    return ctx.db.query(Latest.Item).collect()


@rdb.query
def items_by_name(ctx: rdb.QueryCtx, n: int) -> Any:
    return [item.name for item in ctx.db.query(Latest.Item).with_index("by_name").take(n)]


def test_documents_are_of_the_class_declared_last(db: Database) -> None:
    declare_item()
    db.run(put_item, "x")
    handle = db.live(items)
    declare_item(fields={"rank": 7})
    assert [item.rank for item in db.run(items)] == [7]
    assert [type(item) for item in handle.value] == [Latest.Item]
    assert (handle.value[0].rank, handle.ts) == (7, db.ts)


def test_the_same_class_declared_again(db: Database) -> None:
    """A re-run cell makes another class of the same name, and documents of the old one would not be equal to it."""
    declare_item()
    db.run(put_item, "x")
    handle = db.live(items)
    ts = db.ts
    declare_item()
    assert type(db.run(items)[0]) is type(handle.value[0]) is Latest.Item
    assert db.ts == ts, "nothing was written"


def test_an_index_that_goes_and_comes_back(db: Database) -> None:
    declare_item(indexes={"by_name": ["name"]})
    db.run(put_item, "x")
    handles = [db.live(items_by_name, n) for n in (0, 1)]
    declare_item()
    db.run(put_item, "y")
    assert [type(handle.error) for handle in handles] == [QueryError, QueryError]
    declare_item(indexes={"by_name": ["name"]})
    db.run(put_item, "a")
    assert [(handle.error, handle.value) for handle in handles] == [(None, []), (None, ["a"])]


def test_a_class_that_the_store_refuses(db: Database) -> None:
    declare_item()
    db.run(put_item, "x")
    handle = db.live(items)
    old = Latest.Item
    Latest.Item = types.new_class(
        "Item",
        (rdb.Document,),
        {"table": "scheduler_items"},
        lambda body: body.update(__annotations__={"must": int, "name": str}, __module__=__name__),
    )
    with pytest.raises(SchemaMismatchError):
        db.run(items)
    db.run(add, "a")
    assert (type(handle.error), [type(item) for item in handle.value]) == (SchemaMismatchError, [old])
    declare_item()
    db.run(add, "a")
    assert (handle.error, type(handle.value[0])) == (None, Latest.Item)


def test_ids_lead_to_the_class_declared_last(db: Database) -> None:
    @rdb.mutation
    def rank(ctx: rdb.MutationCtx, id: str, rank: int) -> None:
        ctx.db.patch(rdb.Id[Any](id), rank=rank)

    declare_item()
    id = db.run(put_item, "x")
    handle = db.live(items)
    declare_item(fields={"rank": 7})
    db.run(rank, id, 8)
    assert [item.rank for item in handle.value] == [8]


# --- observers -------------------------------------------------------------------------------------------------------


def test_a_mutation_inside_an_observer_is_shown_when_it_returns(db: Database) -> None:
    source, target = db.live(count, "a"), db.live(count, "b")
    inside: list[tuple[int, int]] = []

    def follow(change: Any) -> None:
        returned = db.run(add, "b", 10)
        inside.append((returned, target.value))

    source.observe(follow, "value")
    db.run(add, "a")
    db.run(add, "a")
    assert inside == [(10, 10), (20, 20)]


def test_news_come_in_order_also_when_observers_make_more(db: Database) -> None:
    """The scheduler's own example: b's observer hears of the older change before the one made inside a's observer."""
    first, second = db.live(count, "a"), db.live(count, "b")
    news: list[tuple[str, int, int]] = []

    def tell_first(change: Any) -> None:
        news.append(("a", change.old, change.new))
        if change.new < 3:
            db.run(move, "b", "a")

    first.observe(tell_first, "value")
    second.observe(lambda change: news.append(("b", change.old, change.new)), "value")
    db.run(move, "b", "a")
    assert news == [("a", 0, 1), ("b", 0, -1), ("a", 1, 2), ("b", -1, -2), ("a", 2, 3), ("b", -2, -3)]


def test_an_endless_round_of_observers_ends(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    handle, bystander = db.live(count, "a"), db.live(count, "b")
    errors: list[Exception] = []

    def again(change: Any) -> None:
        try:
            db.run(add, "a")
        except LimitError as error:
            errors.append(error)
            raise

    handle.observe(again, "value")
    with caplog.at_level(logging.CRITICAL):
        db.run(add, "a")
    assert [error.limit for error in errors if isinstance(error, LimitError)] == ["OBSERVER_ROUNDS_MAX"]
    assert handle.value == db.run(count, "a") == limits.OBSERVER_ROUNDS_MAX
    handle.unobserve_all()
    db.run(add, "b")
    assert bystander.value == 1


def test_two_observers_that_chase_each_other_end(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    first, second = db.live(count, "a"), db.live(count, "b")
    first.observe(lambda change: db.run(add, "b"), "value")
    second.observe(lambda change: db.run(add, "a"), "value")
    with caplog.at_level(logging.CRITICAL):
        db.run(add, "a")
    assert first.value + second.value == limits.OBSERVER_ROUNDS_MAX
    first.unobserve_all()
    second.unobserve_all()
    assert db.run(add, "a") == first.value


def test_an_observer_that_raises_harms_nobody(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    first, second = db.live(count, "a"), db.live(count, "a")

    def broken(change: Any) -> None:
        raise ValueError("a widget's bug")

    first.observe(broken, "value")
    changes = [heard(first), heard(second)]
    with caplog.at_level(logging.ERROR):
        assert db.run(add, "a") == 1
    assert "raised" in caplog.text
    assert changes == [[1], [1]]
    assert (first.value, second.value) == (1, 1)


def test_an_interrupted_observer_leaves_the_rest_of_the_news(db: Database) -> None:
    first, second = db.live(count, "a"), db.live(count, "a")

    def interrupted(change: Any) -> None:
        first.unobserve(interrupted, "value")
        raise KeyboardInterrupt

    first.observe(interrupted, "value")
    changes = heard(second)
    with pytest.raises(KeyboardInterrupt):
        db.run(add, "a")
    assert second.value == 1
    db.run(add, "b")
    assert changes == [1]


def test_observers_hear_everything_in_order_from_many_threads(db: Database) -> None:
    """Mutations on several threads, some of them inside observers; every observer sees time go forward only."""
    names = ["a", "b", "c"]
    handles = {name: db.live(count, name) for name in names}
    values: dict[str, list[int]] = {name: [] for name in names}
    stamps: list[int] = []
    for name, handle in handles.items():
        handle.observe(lambda change, name=name: values[name].append(change.new), "value")
        handle.observe(lambda change: stamps.append(change.new), "ts")
    handles["a"].observe(lambda change: change.new % 5 == 0 and db.run(add, "c"), "value")
    run_in_threads([lambda name=name: [db.run(add, name) for _ in range(40)] for name in ("a", "b") for _ in range(3)])
    db._scheduler.tell()
    assert values["a"] == sorted(set(values["a"]))
    assert values["b"] == sorted(set(values["b"]))
    assert (values["a"][-1], values["b"][-1]) == (120, 120)
    assert handles["c"].value == values["c"][-1] == db.run(count, "c") > 0
    assert stamps == sorted(stamps)


def test_a_slow_observer_holds_up_nobody(db: Database) -> None:
    """What is shown is right though another thread is still busy telling."""
    handle = db.live(count, "a")
    is_busy, may_go = threading.Event(), threading.Event()

    def slow(change: Any) -> None:
        is_busy.set()
        assert may_go.wait(PATIENCE_SECONDS)

    handle.observe(slow, "value")
    teller = threading.Thread(target=db.run, args=(add, "a"), daemon=True)
    teller.start()
    assert is_busy.wait(PATIENCE_SECONDS)
    assert db.run(add, "a") == 2
    assert (handle.value, handle.ts) == (2, db.ts)
    may_go.set()
    teller.join(PATIENCE_SECONDS)


def test_a_handle_closed_by_an_observer_stays_as_it_is(db: Database) -> None:
    first, second = db.live(count, "a"), db.live(count, "a")
    first.observe(lambda change: second.close(), "value")
    db.run(add, "a")
    assert (second.value, second.is_closed) == (1, True)
    ts = second.ts
    db.run(add, "a")
    assert (first.value, second.value, second.ts) == (2, 1, ts)


# --- one run for everybody -------------------------------------------------------------------------------------------


def test_who_asks_for_a_query_under_way_waits_for_it(db: Database) -> None:
    runs: list[int] = []
    is_running, may_end = threading.Event(), threading.Event()

    @rdb.query
    def slow(ctx: rdb.QueryCtx) -> int:
        runs.append(1)
        is_running.set()
        assert may_end.wait(PATIENCE_SECONDS)
        return count(ctx, "a")

    values: list[int] = []
    first = threading.Thread(target=lambda: values.append(db.run(slow)), daemon=True)
    first.start()
    assert is_running.wait(PATIENCE_SECONDS)
    others = [threading.Thread(target=lambda: values.append(db.run(slow)), daemon=True) for _ in range(7)]
    for other in others:
        other.start()
    may_end.set()
    for thread in [first, *others]:
        thread.join(PATIENCE_SECONDS)
    assert (values, len(runs)) == ([0] * 8, 1)


def test_many_handles_are_one_query(db: Database) -> None:
    runs: list[int] = []

    @rdb.query
    def counted(ctx: rdb.QueryCtx) -> int:
        runs.append(1)
        return count(ctx, "a")

    handles = [db.live(counted) for _ in range(20)]
    assert (len(runs), db.run(counted)) == (1, 0)
    db.run(add, "a")
    assert (len(runs), [handle.value for handle in handles]) == (2, [1] * 20)
    db.run(add, "unrelated")
    assert len(runs) == 2


def test_readers_and_writers_of_one_live_query_do_not_wait_for_each_other(db: Database) -> None:
    """A live query that asks SQL takes the columns; one who runs it by hand meanwhile must not hold what that needs."""

    @rdb.query
    def total(ctx: rdb.QueryCtx) -> Any:
        return ctx.db.sql("SELECT sum(count)::INT FROM scheduler_counters").fetchall()[0][0]

    handle = db.live(total)
    run_in_threads(
        [
            lambda: [db.run(add, "a") for _ in range(15)],
            lambda: [db.run(add, "b") for _ in range(15)],
            lambda: [db.run(total) for _ in range(15)],
            lambda: [db.sql("SELECT count(*) FROM scheduler_counters") for _ in range(15)],
        ]
    )
    assert handle.value == db.run(total) == 30


# --- pace ------------------------------------------------------------------------------------------------------------


def test_throttle_shows_the_first_and_the_last(db: Database, runtime: SeededRuntime) -> None:
    handle = db.live(count, "a", throttle=1.0)
    runtime.advance(5.0)
    changes = heard(handle)
    for _ in range(4):
        db.run(add, "a")
        runtime.advance(0.1)
    assert (changes, handle.status) == ([1], "stale")
    runtime.advance(1.0)
    assert (changes, handle.status, handle.value) == ([1, 4], "current", 4)
    runtime.advance(10.0)
    db.run(add, "a")
    assert changes == [1, 4, 5]
    assert runtime.timers == 0


def test_debounce_waits_for_a_pause(db: Database, runtime: SeededRuntime) -> None:
    handle = db.live(count, "a", debounce=1.0)
    changes = heard(handle)
    for _ in range(5):
        db.run(add, "a")
        runtime.advance(0.9)
    assert (changes, handle.value, handle.status) == ([], 0, "stale")
    runtime.advance(0.2)
    assert (changes, handle.value, handle.status) == ([5], 5, "current")


def test_a_held_handle_does_not_go_back_in_time(db: Database, runtime: SeededRuntime) -> None:
    handle = db.live(count, "a", debounce=1.0)
    for _ in range(3):
        db.run(add, "b")
    stamps = [handle.ts]
    assert stamps == [db.ts]
    for _ in range(3):
        db.run(add, "a")
        stamps.append(handle.ts)
        db.run(add, "b")
        stamps.append(handle.ts)
    runtime.advance(2.0)
    stamps.append(handle.ts)
    assert stamps == sorted(stamps)
    assert (handle.ts, handle.value) == (db.ts, 3)
    assert stamps[1] == stamps[0], "held back, it is right only up to the change that it does not show"


def test_what_was_held_back_never_follows_what_is_newer(db: Database, runtime: SeededRuntime) -> None:
    """The timer is late, and the next change comes before it."""
    handle = db.live(count, "a", throttle=1.0)
    changes = heard(handle)
    db.run(add, "a")
    runtime.advance(3.0, fires=False)
    db.run(add, "a")
    runtime.advance(3.0)
    assert (changes, handle.value, handle.ts) == ([2], 2, db.ts)


def test_a_change_and_back_again_is_no_news(db: Database, runtime: SeededRuntime) -> None:
    handle = db.live(count, "a", debounce=1.0)
    changes = heard(handle)
    db.run(add, "a")
    db.run(add, "a", -1)
    runtime.advance(2.0)
    assert (changes, handle.value, handle.status, handle.ts) == ([], 0, "current", db.ts)


def test_a_closed_handle_drops_what_it_held_back(db: Database, runtime: SeededRuntime) -> None:
    handle = db.live(count, "a", debounce=1.0)
    changes = heard(handle)
    db.run(add, "a")
    ts = handle.ts
    handle.close()
    runtime.advance(5.0)
    assert (changes, handle.value, handle.ts, runtime.timers) == ([], 0, ts, 0)


def test_pace_can_be_set_on_the_handle(db: Database, runtime: SeededRuntime) -> None:
    handle = db.live(count, "a")
    handle.debounce = 2.0
    db.run(add, "a")
    assert handle.value == 0
    handle.debounce = 0.0
    db.run(add, "a")
    assert handle.value == 2
    runtime.advance(5.0)
    assert handle.value == 2


# --- handles come and go ---------------------------------------------------------------------------------------------


def test_a_handle_that_nobody_holds_leaves_no_subscription(db: Database) -> None:
    handles = [db.live(count, f"n{number}") for number in range(50)]
    cache = db._scheduler.cache
    assert (len(cache.watched), cache.ranges >= 50) == (50, True)
    handles.clear()
    gc.collect()
    db.run(add, "n1")
    assert (len(cache.watched), len(cache), cache.ranges) == (0, 0, 0)


def test_a_handle_in_a_cycle_too(db: Database) -> None:
    handle = db.live(count, "a")
    handle.observe(lambda change, own=handle: own.value, "value")  # refers to itself
    del handle
    gc.collect()
    db.run(add, "a")
    assert len(db._scheduler.cache.watched) == 0


def test_a_handle_that_holds_a_change_back_too(db: Database, runtime: SeededRuntime) -> None:
    handle = db.live(count, "a", debounce=1.0)
    db.run(add, "a")
    gone = weakref.ref(handle)
    del handle
    gc.collect()
    assert gone() is None
    runtime.advance(2.0)


def test_a_handle_is_not_kept_alive_by_the_error_of_another(db: Database) -> None:
    """An error has the frames of whoever met it, and these have whatever was in their variables."""
    failing, handle = db.live(must_be_even, "a"), db.live(count, "a")
    db.run(add, "a")
    with pytest.raises(ApplicationError):
        db.run(must_be_even, "a")
    gone = weakref.ref(handle)
    gc.disable()
    try:
        del handle
        assert gone() is None
    finally:
        gc.enable()
    assert isinstance(failing.error, ApplicationError)
    assert failing.error.__traceback__ is None


def test_the_error_of_a_query_shows_where_it_was_raised(db: Database) -> None:
    db.run(add, "a")
    for _ in range(2):
        with pytest.raises(ApplicationError) as raised:
            db.run(must_be_even, "a")
        assert [entry.name for entry in raised.traceback].count("must_be_even") == 1


def test_a_closed_handle_too(db: Database) -> None:
    first, second = db.live(count, "a"), db.live(count, "a")
    cache = db._scheduler.cache
    first.close()
    assert (len(cache.watched), cache.ranges > 0) == (1, True)
    second.close()
    second.close()
    assert (len(cache.watched), cache.ranges) == (0, 0)


def test_handles_on_many_threads_come_and_go_while_others_commit(db: Database) -> None:
    def watch() -> None:
        for number in range(15):
            handle = db.live(count, "ab"[number % 2])
            before = (handle.ts, handle.value)
            db.run(add, "ab"[number % 2])
            assert (handle.ts, handle.value) > before
            if number % 3:
                handle.close()

    run_in_threads([watch, watch, watch, lambda: [db.run(move, "a", "b") for _ in range(30)]])
    gc.collect()
    db.run(add, "a")
    cache = db._scheduler.cache
    assert (len(cache.watched), cache.ranges) == (0, 0)


def test_a_live_query_is_right_while_it_is_opened(db: Database) -> None:
    """A commit lands between the run of a new handle's query and its subscription."""
    steps = Steps(["the query has read", Meanwhile("the commit"), "the query returns"])
    is_first = True

    @rdb.query
    def between(ctx: rdb.QueryCtx) -> int:
        nonlocal is_first
        found = count(ctx, "a")
        if is_first:
            is_first = False
            steps.reach("the query has read")
            steps.reach("the query returns")
        return found

    def write() -> Any:
        steps.reach("the commit")
        return db.run(add, "a")

    opened = steps.run(opener=lambda: db.live(between), writer=write)["opener"]
    with contextlib.closing(opened) as handle:
        assert (handle.value, handle.ts) == (1, db.ts)


def _writer(db: Database, transaction: Any) -> rdb.DatabaseWriter:
    return rdb.DatabaseWriter(db._store, transaction)
