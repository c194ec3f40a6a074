"""What a run has read: which handles, and whether they show something else by now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import reactive_db as rdb
from reactive_db import limits
from reactive_db.errors import LimitError
from reactive_db.notebook.live.executions import Execution
from reactive_db.notebook.live.reads import Reads


class Mark(rdb.Document, table="marks"):
    n: int


@rdb.query
def marks(ctx: rdb.QueryCtx, at_least: int) -> list[int]:
    return [mark.n for mark in ctx.db.query(Mark) if mark.n >= at_least]


@rdb.mutation
def add_mark(ctx: rdb.MutationCtx, n: int) -> None:
    ctx.db.insert(Mark(n=n))


class Woken:
    """Counts how often it was woken."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, change: object) -> None:
        self.times += 1


@pytest.fixture
def db(tmp_path: Path) -> Iterator[rdb.Database]:
    with rdb.connect(tmp_path / "reads.rdb") as db:
        yield db


def test_reading_a_value_is_following_it(db: rdb.Database) -> None:
    read, ignored = db.live(marks, 0), db.live(marks, 100)
    woken = Woken()
    reads = Reads(woken)
    with reads.following():
        assert read.value == []
    assert ignored.value == []
    db.run(add_mark, 500)
    assert len(reads) == 1
    assert reads.is_stale()
    assert woken.times == 1


def test_a_change_of_something_else_makes_nothing_stale(db: rdb.Database) -> None:
    handle = db.live(marks, 100)
    reads = Reads(Woken())
    with reads.following():
        assert handle.value == []
    db.run(add_mark, 1)
    assert not reads.is_stale()


def test_a_query_run_inside_is_followed_and_cached(db: rdb.Database) -> None:
    reads = Reads(Woken())
    with reads.following():
        assert db.run(marks, 0) == []
        assert db.sql("SELECT count(*) FROM marks").fetchall() == [(0,)]
        db.run(add_mark, 1)
        assert db.run(marks, 0) == [1]
    assert len(reads) >= 2
    assert reads.is_stale()


def test_closed_reads_wake_nobody(db: rdb.Database) -> None:
    handle = db.live(marks, 0)
    woken = Woken()
    reads = Reads(woken)
    reads.add(handle)
    reads.close()
    db.run(add_mark, 1)
    assert woken.times == 0
    assert not reads.is_stale()


def test_two_readers_of_a_handle_close_apart(db: rdb.Database) -> None:
    handle = db.live(marks, 0)
    staying, leaving = Woken(), Woken()
    reads, others = Reads(staying), Reads(leaving)
    reads.add(handle)
    others.keep(reads)
    others.close()
    db.run(add_mark, 1)
    assert (staying.times, leaving.times) == (1, 0)


def test_an_error_is_a_change(db: rdb.Database) -> None:
    @rdb.query
    def fails_on_one(ctx: rdb.QueryCtx) -> int:
        return 1 // (1 - len(ctx.db.query(Mark).collect()))

    handle = db.live(fails_on_one)
    reads = Reads(Woken())
    reads.add(handle)
    db.run(add_mark, 1)
    assert reads.is_stale()
    reads.close()
    assert isinstance(reads.add(handle).error, ZeroDivisionError)
    with reads.following(), pytest.raises(ZeroDivisionError):
        db.run(fails_on_one)


def test_reading_without_end_is_an_error(db: rdb.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIVE_READS_MAX", 3)
    with Reads(Woken()).following():
        assert [db.run(marks, n) for n in range(3)] == [[], [], []]
        with pytest.raises(LimitError, match="LIVE_READS_MAX"):
            db.run(marks, 3)


@pytest.mark.parametrize(
    ("now", "shown", "replaces"),
    [
        (Execution("2", "a"), Execution("1", "a"), True),
        (Execution("1", "a"), Execution("1", "a"), False),
        (Execution("2", "b"), Execution("1", "a"), False),
        (Execution("2", "b", frozenset({"a"})), Execution("1", "a"), True),
        (Execution("2", None), Execution("1", None), False),
        (Execution("2", "a"), Execution("1", None), False),
    ],
)
def test_a_run_replaces_what_its_own_cell_and_deleted_cells_showed(
    now: Execution, shown: Execution, replaces: bool
) -> None:
    assert now.replaces(shown) is replaces
