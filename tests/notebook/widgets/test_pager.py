"""`Pager`: the pages of a query, loaded one by one, all of them live."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db import limits
from reactive_db.errors import ArgumentError, FunctionError
from reactive_db.notebook.widgets import Pager
from tests.notebook.widgets.conftest import Sent

MORE = {"type": "more"}


class Item(rdb.Document, table="pager_items", indexes={"by_group": ["group", "rank"]}):
    group: str
    rank: int
    note: str | None = None


@rdb.query
def page(ctx: rdb.QueryCtx, group: str, cursor: str | None, n: int) -> rdb.Page[Item]:
    return ctx.db.query(Item).with_index("by_group", group=group).paginate(cursor, n)


@rdb.query
def touchy(ctx: rdb.QueryCtx, cursor: str | None, n: int) -> rdb.Page[Item]:
    found = ctx.db.query(Item).paginate(cursor, n)
    if any(item.note == "bad" for item in found.items):
        raise rdb.ApplicationError("a bad one")
    return found


@rdb.mutation
def add(ctx: rdb.MutationCtx, *, ranks: list[int], group: str = "a", note: str | None = None) -> None:
    for rank in ranks:
        ctx.db.insert(Item(group, rank, note))


@rdb.mutation
def remove(ctx: rdb.MutationCtx, rank: int) -> None:
    for item in ctx.db.query(Item).filter(lambda item: item.rank == rank):
        ctx.db.delete(item.id)


def ranks(pager: Pager) -> list[int]:
    return [item.rank for item in pager.items]


def more(sent: Sent, pager: Pager) -> list[dict[str, Any]]:
    """The button is pressed; what the page is told then."""
    before = len(sent)
    sent.say(pager, {**MORE, "pages": len(pager._pages())})
    sent.pushed()
    return sent[before:]


def test_it_begins_with_one_page_and_loads_more(db: rdb.Database, sent: Sent) -> None:
    db.run(add, ranks=list(range(7)))
    pager = Pager(db, page, "a", page_size=3)
    whole = sent.hello(pager)
    assert (whole["label"], whole["columns"]) == ("page", [("group", False), ("rank", True), ("note", False)])
    assert whole["pages"] == [(0, [["a", "0", None], ["a", "1", None], ["a", "2", None]])]
    assert (whole["count"], whole["more"], whole["can_load"]) == ("3 rows", "Load more", True)
    (change,) = more(sent, pager)
    assert change["pages"] == [(1, [["a", "3", None], ["a", "4", None], ["a", "5", None]])]
    (change,) = more(sent, pager)
    assert (change["count"], change["more"], change["can_load"]) == ("7 rows", "No more rows", False)
    assert more(sent, pager) == []
    assert ranks(pager) == list(range(7))


def test_every_loaded_page_stays_live(db: rdb.Database, sent: Sent) -> None:
    db.run(add, ranks=[0, 10, 20, 30, 40, 50])
    pager = Pager(db, page, "a", page_size=3)
    sent.hello(pager)
    more(sent, pager)
    seen: list[list[int]] = []
    pager.observe(lambda change: seen.append([item.rank for item in change["new"]]), "items")

    db.run(add, ranks=[5, 60])
    assert ranks(pager) == [0, 5, 10, 20, 30, 40, 50]  # beyond the last page there may be more
    assert seen == [ranks(pager)]
    (change,) = sent.pushed()
    assert [at for at, _ in change["pages"]] == [0]

    db.run(remove, 40)
    (change,) = sent.pushed()
    assert [at for at, _ in change["pages"]] == [1]
    assert ranks(pager) == [0, 5, 10, 20, 30, 50]


def test_pressed_twice_it_loads_one(db: rdb.Database, sent: Sent) -> None:
    db.run(add, ranks=list(range(9)))
    pager = Pager(db, page, "a", page_size=3)
    sent.hello(pager)
    sent.say(pager, {**MORE, "pages": 1})
    sent.say(pager, {**MORE, "pages": 1})
    assert ranks(pager) == list(range(6))


def test_the_pages_are_bounded(db: rdb.Database, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGER_PAGES_MAX", 2)
    db.run(add, ranks=list(range(9)))
    pager = Pager(db, page, "a", page_size=2)
    sent.hello(pager)
    (change,) = more(sent, pager)
    assert (change["can_load"], change["more"]) == (False, "2 pages are loaded, the most there can be")
    assert more(sent, pager) == []


def test_a_page_that_cannot_be_loaded_says_why_and_can_be_tried_again(db: rdb.Database, sent: Sent) -> None:
    db.run(add, ranks=[1, 2])
    db.run(add, ranks=[3], note="bad")
    pager = Pager(db, touchy, page_size=2)
    sent.hello(pager)
    (answer,) = more(sent, pager)
    assert (answer["type"], answer["error"]) == ("failed", "a bad one")
    db.run(remove, 3)
    db.run(add, ranks=[4])
    more(sent, pager)
    assert ranks(pager) == [1, 2, 4]


def test_an_error_of_a_loaded_page_is_shown_beside_its_last_good_rows(db: rdb.Database, sent: Sent) -> None:
    db.run(add, ranks=[1])
    pager = Pager(db, touchy)
    sent.hello(pager)
    db.run(add, ranks=[2], note="bad")
    (change,) = sent.pushed()
    assert (change["error"], ranks(pager)) == ("a bad one", [1])
    assert "a bad one" in pager.static_bundle()["text/html"]
    db.run(remove, 2)
    (change,) = sent.pushed()
    assert change["error"] is None


def test_a_query_declared_anew_keeps_the_pages_that_follow_each_other(db: rdb.Database, sent: Sent) -> None:
    def declare(order: Any) -> Any:
        def turned(ctx: rdb.QueryCtx, cursor: str | None, n: int) -> rdb.Page[Item]:
            return ctx.db.query(Item).with_index("by_group", group="a").order(order).paginate(cursor, n)

        turned.__qualname__ = "turned"
        return rdb.query(turned)

    db.run(add, ranks=list(range(9)))
    pager = Pager(db, declare("asc"), page_size=3)
    sent.hello(pager)
    more(sent, pager)
    assert ranks(pager) == [0, 1, 2, 3, 4, 5]
    declare("desc")
    db.run(add, ranks=[99], group="b")
    assert ranks(pager) == [8, 7, 6]
    more(sent, pager)
    assert ranks(pager) == [8, 7, 6, 5, 4, 3]


def test_a_new_column_is_a_whole(db: rdb.Database, sent: Sent) -> None:
    db.run(add, ranks=[1])
    pager = Pager(db, page, "a")
    sent.hello(pager)
    db.run(remove, 1)
    (change,) = sent.pushed()
    assert (change["columns"], change["count"]) == ([], "0 rows")


def test_the_static_form_says_the_same(db: rdb.Database, sent: Sent) -> None:
    db.run(add, ranks=[1, 2])
    bundle = Pager(db, page, "a").static_bundle()
    assert bundle["text/plain"].endswith("2 rows")
    assert "<b>page</b>" in bundle["text/html"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda ctx, cursor: None, FunctionError, r"has no parameter 'n'\. A pager passes `cursor: str \| None` and"),
        (lambda ctx: None, FunctionError, "has no parameter 'cursor'"),
        (lambda ctx, cursor, n: [1], FunctionError, r"returned `list`; a pager needs an `rdb\.Page`"),
    ],
)
def test_a_query_of_another_form_is_refused(
    db: rdb.Database, sent: Sent, make: Callable[..., Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Pager(db, rdb.query(make))


def test_what_is_no_query_is_refused(db: rdb.Database, sent: Sent) -> None:
    with pytest.raises(FunctionError, match=r"expected a function made by @rdb\.query, got a mutation"):
        Pager(db, add)  # type: ignore[arg-type]


def test_its_own_arguments_are_not_taken(db: rdb.Database, sent: Sent) -> None:
    with pytest.raises(ArgumentError, match=r"'n' is passed by the pager itself\. Set the size .* `page_size=`"):
        Pager(db, page, "a", n=3)


def test_closing_it_closes_its_handles(db: rdb.Database, sent: Sent) -> None:
    db.run(add, ranks=list(range(9)))
    pager = Pager(db, page, "a", page_size=3)
    sent.hello(pager)
    more(sent, pager)
    pager.close()
    assert [loaded.handle.is_closed for loaded in pager._loaded] == [True, True]
