"""`Metric`: a number, its label and how it has changed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db.errors import ArgumentError
from reactive_db.notebook.widgets import Metric
from tests.notebook.widgets.conftest import Message, Sent


class Sale(rdb.Document, table="metric_sales"):
    amount: float


@rdb.query
def total(ctx: rdb.QueryCtx) -> float:
    amounts = [sale.amount for sale in ctx.db.query(Sale).collect()]
    if min(amounts, default=0) < -1_000:
        raise rdb.ApplicationError("a sale that cannot be")
    return sum(amounts)


@rdb.query
def last(ctx: rdb.QueryCtx) -> Any:
    sale = ctx.db.query(Sale).order("desc").first()
    return None if sale is None else sale.amount


@rdb.mutation
def sell(ctx: rdb.MutationCtx, amount: float) -> None:
    ctx.db.insert(Sale(amount))


def shown(db: rdb.Database, sent: Sent, amount: float) -> Message:
    """What a page is told of one more sale."""
    db.run(sell, amount)
    (message,) = sent.pushed()
    return {name: message[name] for name in ("text", "step", "is_up")}


def test_a_change_is_signed(db: rdb.Database, sent: Sent) -> None:
    metric = Metric(db.live(total), "Sales", "{:,.0f} €", "{:+,.0f}")
    whole = sent.hello(metric)
    assert (whole["label"], whole["text"], whole["step"]) == ("Sales", "0 €", "")
    assert shown(db, sent, 1_500) == {"text": "1,500 €", "step": "▲ +1,500", "is_up": True}
    assert shown(db, sent, -200) == {"text": "1,300 €", "step": "▼ -200", "is_up": False}


def test_another_page_sees_the_same_change(db: rdb.Database, sent: Sent) -> None:
    metric = Metric(db.live(total), "Sales")
    sent.hello(metric)
    shown(db, sent, 3)
    assert sent.hello(metric)["step"] == "▲ +3.0"


def test_no_change_is_shown_if_none_is_wanted(db: rdb.Database, sent: Sent) -> None:
    sent.hello(Metric(db.live(total), "Sales", delta=None))
    assert shown(db, sent, 3)["step"] == ""


def test_floats_change_by_what_a_reader_would_say(db: rdb.Database, sent: Sent) -> None:
    db.run(sell, 0.1)
    sent.hello(Metric(db.live(total), "Sales"))
    assert shown(db, sent, 0.2)["step"] == "▲ +0.2"


def test_from_nothing_there_is_no_change(db: rdb.Database, sent: Sent) -> None:
    whole = sent.hello(Metric(db.live(last), "Last"))
    assert whole["text"] == "—"
    assert shown(db, sent, 3) == {"text": "3.0", "step": "", "is_up": False}


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("SELECT count(*) FROM metric_sales", "2"),
        ("SELECT sum(amount)::DECIMAL(10, 2) FROM metric_sales", f"{Decimal('1234.50'):,}"),
    ],
)
def test_the_only_cell_of_an_sql_result_is_a_number(db: rdb.Database, sent: Sent, statement: str, text: str) -> None:
    db.run(sell, 1_234)
    db.run(sell, 0.5)
    assert sent.hello(Metric(db.live(statement), "Sales"))["text"] == text


def test_an_error_comes_beside_the_last_good_number(db: rdb.Database, sent: Sent) -> None:
    metric = Metric(db.live(total), "Sales")
    db.run(sell, 5)
    sent.hello(metric)
    db.run(sell, -9_999)
    (change,) = sent.pushed()
    assert (change["text"], "cannot be" in change["error"]) == ("5.0", True)


def test_the_static_form_says_the_same(db: rdb.Database, sent: Sent) -> None:
    bundle = Metric(db.live(total), "Sales <net>").static_bundle()
    assert bundle["text/plain"] == "Sales <net>: 0.0"
    assert "Sales &lt;net&gt;" in bundle["text/html"]


def test_what_is_no_number_is_refused(db: rdb.Database, sent: Sent) -> None:
    with pytest.raises(ArgumentError, match=r"metric 'Sales' cannot show `SqlResult`: .* one row and one column"):
        Metric(db.live("SELECT 1 AS a, 2 AS b"), "Sales")


def test_what_becomes_no_number_is_said_on_the_page(db: rdb.Database, sent: Sent) -> None:
    db.run(sell, 3)
    sent.hello(Metric(db.live("SELECT amount FROM metric_sales"), "Sale"))
    db.run(sell, 4)
    (change,) = sent.pushed()
    assert (change["text"], "one row and one column" in change["error"]) == ("—", True)
