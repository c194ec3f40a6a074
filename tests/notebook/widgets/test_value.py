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
def last(ctx: rdb.QueryCtx) -> str | None:
    found = ctx.db.query(Item).order("desc").first()
    if found is not None and found.name == "bad":
        raise rdb.ApplicationError("no name")
    return None if found is None else found.name


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


def test_a_page_that_missed_something_gets_the_whole(db: rdb.Database, sent: Sent) -> None:
    value = Value(db.live(count))
    have = sent.hello(value)["number"]
    db.run(add)
    sent.pushed()
    whole = sent.hello(value, have)
    assert (whole["text"], whole["number"]) == ("1", value.number)


def test_a_function_can_make_the_text(db: rdb.Database, sent: Sent) -> None:
    value = Value(db.live(count), lambda n: "none" if n == 0 else f"{n} of them")
    assert sent.hello(value)["text"] == "none"


def test_nothing_is_a_dash(db: rdb.Database, sent: Sent) -> None:
    assert sent.hello(Value(db.live(last), "last: {}"))["text"] == "last: —"


def test_an_error_comes_beside_the_last_good_value(db: rdb.Database, sent: Sent) -> None:
    value = Value(db.live(last))
    sent.hello(value)
    db.run(add, "ada")
    db.run(add, "bad")
    (change,) = sent.pushed()
    assert (change["text"], "no name" in change["error"]) == ("ada", True)
    db.run(add, "eve")
    (change,) = sent.pushed()
    assert (change["text"], change["error"]) == ("eve", None)


def test_the_static_form_says_the_same_and_is_escaped(db: rdb.Database, sent: Sent) -> None:
    db.run(add, "<b>")
    bundle = Value(db.live(last), "last: {}").static_bundle()
    assert bundle["text/plain"] == "last: <b>"
    assert bundle["text/html"] == "<span>last: &lt;b&gt;</span>"


def test_a_closed_one_is_quiet(db: rdb.Database, sent: Sent) -> None:
    value = Value(db.live(count))
    sent.hello(value)
    value.close()
    db.run(add)
    assert sent.pushed() == []
