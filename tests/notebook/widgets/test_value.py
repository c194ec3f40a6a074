"""`Value`: a line of text that follows a handle."""

from __future__ import annotations

import reactive_db as rdb
from reactive_db.notebook.widgets import Value
from tests.notebook.widgets.conftest import Sent


class Item(rdb.Document, table="value_items"):
    name: str


@rdb.query
def count(ctx: rdb.QueryCtx) -> int:
    return ctx.db.query(Item).count()


@rdb.query
def first(ctx: rdb.QueryCtx) -> str | None:
    found = ctx.db.query(Item).first()
    return None if found is None else found.name


@rdb.query
def at_most_one(ctx: rdb.QueryCtx) -> int:
    if ctx.db.query(Item).count() > 1:
        raise rdb.ApplicationError("too many")
    return 1


@rdb.mutation
def add(ctx: rdb.MutationCtx, name: str = "x") -> None:
    ctx.db.insert(Item(name))


def test_a_page_gets_the_whole_and_then_what_changes(db: rdb.Database, sent: Sent) -> None:
    value = Value(db.live(count), "{:,} items")
    assert sent.hello(value)["text"] == "0 items"
    db.run(add)
    (change,) = sent.pushed()
    assert (change["type"], change["number"], change["text"]) == ("change", value.number, "1 items")


def test_without_a_page_the_whole_is_sent_anew(db: rdb.Database, sent: Sent) -> None:
    value = Value(db.live(count))
    db.run(add)
    assert [(message["type"], message["text"]) for message in sent.pushed()] == [("whole", "1")]
    assert value.is_headless
