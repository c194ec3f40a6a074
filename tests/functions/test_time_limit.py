"""The time limit: whatever does not end is ended, writes nothing, and its thread and its handle go on as before."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db.errors import FunctionTimeoutError
from reactive_db.interrupts import Shielded, interrupt
from reactive_db.testing.runtime import SeededRuntime
from tests.conftest import Open

# Python may raise what one thread sets for another while that runs a weak reference's callback, and drops it there with
# this warning; the limit asks again at the next tick.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Mark(rdb.Document, table="time_limit_marks"):
    text: str


@rdb.query
def texts(ctx: rdb.QueryCtx) -> list[str]:
    return [one.text for one in ctx.db.query(Mark)]


@rdb.mutation
def add(ctx: rdb.MutationCtx, text: str) -> None:
    ctx.db.insert(Mark(text))


class Clock:
    """Moves the time of a store on as soon as a function asks for it, so that no test waits for its end."""

    def __init__(self) -> None:
        self.runtime = SeededRuntime(0)
        self.is_late = threading.Semaphore(0)
        self._is_over = False
        self._thread = threading.Thread(target=self._move)
        self._thread.start()

    def run_late(self) -> None:
        """Called inside a function: its time is over from now on."""
        self.is_late.release()

    def stop(self) -> None:
        self._is_over = True
        self.is_late.release()
        self._thread.join()

    def _move(self) -> None:
        while True:
            self.is_late.acquire()
            if self._is_over:
                return
            self.runtime.advance(11.0)


@pytest.fixture
def clock() -> Iterator[Clock]:
    made = Clock()
    yield made
    made.stop()


@pytest.fixture
def late_db(open_db: Open, clock: Clock) -> rdb.Database:
    db = open_db(runtime=clock.runtime)
    db.run(add, "before")
    return db


SAYS = (
    r"ran longer than 10 s \(function_seconds\) and was stopped; nothing was written\. Read less, or do the work in an"
)


def test_a_query_that_never_ends_is_ended(late_db: rdb.Database, clock: Clock) -> None:
    @rdb.query
    def endless(ctx: rdb.QueryCtx) -> None:
        clock.run_late()
        while True:
            texts(ctx)

    with pytest.raises(FunctionTimeoutError, match=f"query '.*endless.*' {SAYS}") as caught:
        late_db.run(endless)
    assert caught.value.limit == "function_seconds"
    assert isinstance(caught.value, TimeoutError)
    assert late_db.run(texts) == ["before"], "the thread goes on as before"


def test_a_mutation_that_never_ends_writes_nothing(late_db: rdb.Database, clock: Clock) -> None:
    @rdb.mutation
    def endless(ctx: rdb.MutationCtx) -> None:
        add(ctx, "never")
        clock.run_late()
        while True:
            pass

    with pytest.raises(FunctionTimeoutError, match=f"mutation '.*endless.*' {SAYS}"):
        late_db.run(endless)
    late_db.run(add, "after")
    assert late_db.run(texts) == ["before", "after"]


def test_a_mutation_that_never_ends_inside_another_takes_both_back(late_db: rdb.Database, clock: Clock) -> None:
    @rdb.mutation
    def endless(ctx: rdb.MutationCtx) -> None:
        add(ctx, "never")
        clock.run_late()
        while True:
            pass

    @rdb.mutation
    def outer(ctx: rdb.MutationCtx) -> None:
        add(ctx, "never either")
        endless(ctx)

    with pytest.raises(FunctionTimeoutError):
        late_db.run(outer)
    assert late_db.run(texts) == ["before"]


def test_a_function_that_catches_everything_is_ended_too(late_db: rdb.Database, clock: Clock) -> None:
    caught: list[BaseException] = []

    @rdb.mutation
    def stubborn(ctx: rdb.MutationCtx) -> None:
        add(ctx, "never")
        clock.run_late()
        while len(caught) < 3:
            try:
                while True:
                    pass
            except Exception as error:
                caught.append(error)
        while True:
            pass

    with pytest.raises(FunctionTimeoutError):
        late_db.run(stubborn)
    assert len(caught) == 3
    assert late_db.run(texts) == ["before"]


def test_a_handle_on_a_query_that_never_ends_shows_it_and_recovers(late_db: rdb.Database, clock: Clock) -> None:
    @rdb.query
    def sometimes(ctx: rdb.QueryCtx) -> list[str]:
        found = texts(ctx)
        if found[-1] == "endless":
            clock.run_late()
            while True:
                pass
        return found

    handle, beside = late_db.live(sometimes), late_db.live(texts)
    late_db.run(add, "endless")
    assert (handle.status, type(handle.error), handle.value) == ("error", FunctionTimeoutError, ["before"])
    assert beside.value == ["before", "endless"]
    late_db.run(add, "fine")
    assert (handle.status, handle.error, handle.value) == ("current", None, ["before", "endless", "fine"])


def test_a_function_ends_late_in_many_threads_at_once(late_db: rdb.Database, clock: Clock) -> None:
    started = threading.Barrier(8, action=clock.run_late)

    @rdb.mutation
    def endless(ctx: rdb.MutationCtx, name: str) -> None:
        add(ctx, f"never {name}")
        started.wait()
        while True:
            texts(ctx)

    def work(name: str) -> Any:
        try:
            late_db.run(endless, name)
        except FunctionTimeoutError as error:
            late_db.run(add, name)
            return error

    names = [str(at) for at in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert [type(error) for error in pool.map(work, names)] == [FunctionTimeoutError] * 8
    assert sorted(late_db.run(texts)) == sorted(["before", *names])


def test_a_function_in_time_is_left_alone_beside_one_that_is_late(late_db: rdb.Database, clock: Clock) -> None:
    is_over = threading.Event()

    @rdb.query
    def endless(ctx: rdb.QueryCtx) -> None:
        clock.run_late()
        while True:
            pass

    @rdb.query
    def patient(ctx: rdb.QueryCtx) -> str:
        is_over.wait()
        return "done"

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(FunctionTimeoutError):
            late_db.run(endless)
        slow = pool.submit(late_db.run, patient)  # begins after the clock moved on
        is_over.set()
        assert slow.result() == "done"


def test_the_limit_is_in_real_time_where_the_runtime_is_real(open_db: Open) -> None:
    db = open_db(limits=rdb.Limits(function_seconds=0.05))

    @rdb.query
    def endless(ctx: rdb.QueryCtx) -> None:
        while True:
            pass

    with pytest.raises(FunctionTimeoutError, match=r"ran longer than 0\.05 s"):
        db.run(endless)
    assert db.run(rdb.query(lambda ctx: 1)) == 1


TRACED = """
import sys
import reactive_db as rdb

db = rdb.connect(limits=rdb.Limits(function_seconds=0.05))

@rdb.query
def endless(ctx: rdb.QueryCtx) -> None:
    while True:
        pass

for _ in range(2):
    sys.settrace(lambda frame, event, argument: None)
    try:
        db.run(endless)
    except rdb.errors.FunctionTimeoutError:
        print("ended")
"""


def test_a_debugger_works_while_a_function_is_ended_and_after(tmp_path: Path) -> None:
    """In a process of its own: if it hangs, no signal reaches it."""
    (tmp_path / "traced.py").write_text(TRACED)
    done = subprocess.run([sys.executable, tmp_path / "traced.py"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "ended\n" * 2, done.stderr


def test_an_action_has_no_limit(late_db: rdb.Database, clock: Clock) -> None:
    @rdb.action
    def slow(ctx: rdb.ActionCtx) -> str:
        clock.runtime.advance(3_600.0)
        ctx.run_mutation(add, "slow")
        return "done"

    assert late_db.run(slow) == "done"


# --- work of the store itself is not cut in half ---------------------------------------------------------------------


class Late(BaseException):
    """What another thread raises here."""


def test_an_interrupt_waits_for_the_end_of_a_shielded_block() -> None:
    me = threading.get_ident()
    done: list[str] = []

    def interrupted() -> None:
        helper = threading.Thread(target=interrupt, args=(me, Late))
        helper.start()
        helper.join()
        done.append("whole")

    with Shielded(), Shielded():
        interrupted()
    assert done == ["whole"]
    with pytest.raises(Late):
        interrupted()
    assert done == ["whole"]


def test_an_interrupt_that_is_on_its_way_arrives_before_a_shielded_block() -> None:
    me = threading.get_ident()
    entered: list[str] = []

    def enter_late() -> None:
        interrupt(me, Late)
        with Shielded():
            entered.append("never")

    with pytest.raises(Late):
        enter_late()
    assert entered == []
    with Shielded():
        entered.append("again")
    assert entered == ["again"]


def test_the_first_touch_of_a_table_is_not_cut_in_half(
    late_db: rdb.Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function's time may be over while its first read defines the table: that commit is finished first."""
    Fresh = rdb.table("time_limit_fresh", a=rdb.v.int64())
    catalog = late_db._store.catalog
    define = catalog._adopt

    def slow(*args: Any) -> None:
        clock.run_late()
        for _ in range(200_000):  # long enough for the watching thread to come by
            pass
        define(*args)

    monkeypatch.setattr(catalog, "_adopt", slow)

    @rdb.mutation
    def touches(ctx: rdb.MutationCtx) -> None:
        ctx.db.insert(Fresh(a=1))
        while True:
            pass

    with pytest.raises(FunctionTimeoutError):
        late_db.run(touches)
    monkeypatch.undo()
    assert late_db.run(rdb.query(lambda ctx: ctx.db.query(Fresh).count())) == 0
    late_db.run(rdb.mutation(lambda ctx: ctx.db.insert(Fresh(a=1))))
    assert late_db.sql("SELECT a FROM time_limit_fresh").fetchall() == [(1,)]
