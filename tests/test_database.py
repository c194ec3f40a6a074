"""What `Database` promises over several layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import reactive_db as rdb


class Entry(rdb.Document, table="database_entries"):
    n: int


@rdb.query
def entries(ctx: rdb.QueryCtx) -> list[int]:
    return [entry.n for entry in ctx.db.query(Entry)]


@rdb.mutation
def add_entry(ctx: rdb.MutationCtx, n: int) -> None:
    ctx.db.insert(Entry(n=n))


@pytest.fixture
def db(tmp_path: Path) -> Iterator[rdb.Database]:
    with rdb.connect(tmp_path / "test.rdb") as db:
        yield db


def test_loaded_documents_keep_the_order_of_their_rows(db: rdb.Database) -> None:
    db.load(Entry, [{"n": n} for n in range(1_000)], progress=False)
    db.run(add_entry, 1_000)
    assert db.run(entries) == list(range(1_001))


def test_live_sql_follows_a_table_that_was_new_when_it_began(db: rdb.Database) -> None:
    documents = db.live(entries)
    total = db.live("SELECT count(*) FROM database_entries")
    db.run(add_entry, 1)
    assert documents.value == [1]
    assert total.value.fetchall() == [(1,)]


def test_a_handle_is_named_by_its_call(db: rdb.Database) -> None:
    assert db.live(entries).title == "tests.test_database:entries()"
    assert db.live("SELECT  1\n AS one").title == "SELECT 1 AS one"


def test_a_store_of_this_process_has_nobody_else_in_it(db: rdb.Database) -> None:
    (me,) = db.presence.value
    assert me.user
    assert me.since.tzinfo is not None


def test_in_memory_means_here_also_beside_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REACTIVE_DB_URL", "http://127.0.0.1:1/reactive-db")
    with rdb.connect(":memory:") as db:
        assert db.path is None
        assert rdb.connect() is db  # no kernel, so no server of its own
