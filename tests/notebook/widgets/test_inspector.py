"""`Inspector`: the whole store, live and editable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db import Database
from reactive_db.notebook.widgets.inspector import Inspector


class Lamp(rdb.Document, table="lamps"):
    name: str
    watts: int
    places: list[str] = []


class Shade(rdb.Document, table="shades"):
    colour: str


@rdb.query
def lamps(ctx: rdb.QueryCtx) -> list[Lamp]:
    return ctx.db.query(Lamp).collect()


@rdb.mutation
def add_lamp(ctx: rdb.MutationCtx, name: str, watts: int) -> rdb.Id[Lamp]:
    return ctx.db.insert(Lamp(name=name, watts=watts))


@rdb.mutation
def add_shade(ctx: rdb.MutationCtx, colour: str) -> None:
    ctx.db.insert(Shade(colour=colour))


@pytest.fixture
def inspector(db: Database, sent: Any) -> Iterator[Inspector]:
    db.run(add_lamp, "desk", 40)
    inspector = Inspector(db.inspect())
    yield inspector
    inspector.close()


def rows_of(inspector: Inspector, part: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = inspector._parts[part]._source.value
    return found


def test_it_shows_tables_commits_and_live_queries(db: Database, inspector: Inspector) -> None:
    handle = db.live(lamps)
    db.run(add_lamp, "floor", 60)
    assert [(row["table"], row["documents"]) for row in rows_of(inspector, "Tables")] == [("lamps", 2)]
    assert rows_of(inspector, "Commits")[0]["changes"] == "lamps: 1 inserted"
    (query,) = rows_of(inspector, "Live queries")
    assert (query["watchers"], query["runs"]) == (1, 2)
    handle.close()


def test_documents_can_be_chosen_by_table_and_edited_by_type(db: Database, inspector: Inspector) -> None:
    assert inspector._choice.value == "lamps"
    db.run(add_shade, "green")
    assert inspector._choice.options == ("lamps", "shades")
    assert inspector._choice.value == "lamps"
    documents = inspector._documents
    assert documents is not None
    assert documents._editors is not None
    assert sorted(documents._editors.by_column) == ["name", "watts"]
    (lamp,) = db.run(lamps)
    documents._editors.edit("watts", lamp.id, "15")
    assert db.run(lamps)[0].watts == 15
    with pytest.raises(rdb.errors.ArgumentError):
        documents._editors.edit("watts", lamp.id, "bright")


def test_selecting_a_table_shows_its_documents(db: Database, inspector: Inspector) -> None:
    db.run(add_shade, "green")
    inspector._on_selected({"new": [{"table": "shades"}]})
    assert inspector._documents is not None
    assert [shade.colour for shade in inspector._documents._source.value] == ["green"]


def test_its_static_form_says_the_same(db: Database, inspector: Inspector) -> None:
    bundle = inspector.static_bundle()
    assert "lamps" in bundle["text/plain"]
    assert "<td>lamps</td>" in bundle["text/html"]
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == inspector.model_id


def test_closed_it_follows_nothing(db: Database, inspector: Inspector) -> None:
    inspector.close()
    assert db._scheduler.on_advanced == []
    assert db._store.committer.on_settled == []
    assert len(db._scheduler.cache.watched) == 0
