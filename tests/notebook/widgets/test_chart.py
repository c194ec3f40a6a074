"""`Chart`: what goes to the page when rows change, and what Vega-Lite is given."""

from __future__ import annotations

import base64
import builtins
import gzip
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import altair
import msgspec
import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reactive_db as rdb
from reactive_db import limits
from reactive_db.errors import ArgumentError, LimitError
from reactive_db.notebook.widgets import Chart
from reactive_db.notebook.widgets.chart import _over_rows, _plain
from tests.notebook.widgets.conftest import Message, Sent

BARS = {"mark": "bar", "encoding": {"x": {"field": "name"}, "y": {"field": "n", "type": "quantitative"}}}


class Item(rdb.Document, table="chart_items", indexes={"by_n": ["n"]}):
    name: str
    n: int


@rdb.query
def items(ctx: rdb.QueryCtx) -> list[Item]:
    return ctx.db.query(Item).with_index("by_n").collect()


@rdb.query
def touchy(ctx: rdb.QueryCtx) -> list[Item]:
    if ctx.db.query(Item).count() > 1:
        raise rdb.ApplicationError("too many")
    return ctx.db.query(Item).collect()


@rdb.mutation
def add(ctx: rdb.MutationCtx, name: str, n: int) -> rdb.Id[Item]:
    return ctx.db.insert(Item(name, n))


@rdb.mutation
def change(ctx: rdb.MutationCtx, id: rdb.Id[Item], n: int) -> None:
    ctx.db.patch(id, n=n)


@rdb.mutation
def remove(ctx: rdb.MutationCtx, id: rdb.Id[Item]) -> None:
    ctx.db.delete(id)


class Drawn:
    """The rows as the page has them: what page/chart.js does with the messages."""

    def __init__(self, whole: Message) -> None:
        self.take(whole)

    def take(self, message: Message) -> None:
        if "spec" in message:
            self.fields: list[str] = message["fields"]
            self.rows: dict[int, list[Any]] = {}
        for key in message.get("gone", ()):
            del self.rows[key]
        self.rows.update({key: values for key, *values in message["rows"]})
        self.rows = {key: self.rows[key] for key in message.get("order", list(self.rows))}

    def column(self, name: str) -> list[Any]:
        at = self.fields.index(name)
        return [values[at] for values in self.rows.values()]


# --- rows ------------------------------------------------------------------------------------------------------------


def test_only_what_is_different_is_sent(db: rdb.Database, sent: Sent) -> None:
    ids = [db.run(add, name, n) for n, name in enumerate(["ada", "bob", "eve"])]
    chart = Chart(db.live(items), BARS)
    whole = sent.hello(chart)
    assert whole["fields"] == ["name", "n", "id", "creation_time"]
    assert [row[1:3] for row in whole["rows"]] == [["ada", 0], ["bob", 1], ["eve", 2]]
    keys = [row[0] for row in whole["rows"]]

    db.run(add, "zoe", 9)
    (change_,) = sent.pushed()
    assert [row[1:3] for row in change_["rows"]] == [["zoe", 9]]
    assert (change_["gone"], "order" in change_, "spec" in change_) == ([], False, False)

    db.run(remove, ids[1])
    (change_,) = sent.pushed()
    assert (change_["gone"], change_["rows"], "order" in change_) == ([keys[1]], [], False)

    db.run(change, ids[2], 3)
    (change_,) = sent.pushed()
    assert ([row[0:3] for row in change_["rows"]], "order" in change_) == ([[keys[2], "eve", 3]], False)


def test_another_order_is_told_by_keys_alone(db: rdb.Database, sent: Sent) -> None:
    ids = [db.run(add, name, n) for n, name in enumerate(["ada", "bob", "eve"])]
    chart = Chart(db.live(items), BARS)
    drawn = Drawn(sent.hello(chart))
    db.run(change, ids[0], 7)
    (change_,) = sent.pushed()
    assert len(change_["rows"]) == 1
    drawn.take(change_)
    assert drawn.column("name") == ["bob", "eve", "ada"]


def test_equal_rows_of_sql_are_told_apart(db: rdb.Database, sent: Sent) -> None:
    one, _ = db.run(add, "ada", 1), db.run(add, "ada", 1)
    chart = Chart(db.live("SELECT name, n FROM chart_items ORDER BY ALL"), BARS)
    drawn = Drawn(sent.hello(chart))
    assert drawn.column("name") == ["ada", "ada"]
    db.run(remove, one)
    (change_,) = sent.pushed()
    drawn.take(change_)
    assert (drawn.column("name"), change_["rows"]) == (["ada"], [])


def test_a_commit_that_changes_no_row_sends_nothing(db: rdb.Database, sent: Sent) -> None:
    id = db.run(add, "ada", 1)
    chart = Chart(db.live("SELECT name, count(*) AS n FROM chart_items GROUP BY name"), BARS)
    sent.hello(chart)
    db.run(change, id, 2)
    chart._changed()
    assert sent.pushed() == []


def test_other_columns_are_a_whole(db: rdb.Database, sent: Sent) -> None:
    chart = Chart(db.live(items), BARS)
    assert sent.hello(chart)["fields"] == []
    db.run(add, "ada", 1)
    (change_,) = sent.pushed()
    assert change_["spec"] == _over_rows(BARS)


Rows = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(Rows, min_size=1, max_size=6))
def test_after_any_changes_the_page_has_the_rows_in_order(sent: Sent, states: list[list[tuple[str, int]]]) -> None:
    source = Source([])
    chart = Chart(source, BARS)
    drawn = Drawn(sent.hello(chart))
    for rows in states:
        source.value = [{"name": name, "n": n} for name, n in rows]
        chart._changed()
        for message in sent.pushed():
            drawn.take(message)
        assert list(zip(drawn.column("name"), drawn.column("n"), strict=True)) == rows if rows else not drawn.rows


class Source:
    """Something to show that a test sets by hand."""

    def __init__(self, value: Any) -> None:
        self.title = "rows"
        self.value = value
        self.error: Exception | None = None

    def observe(self, handler: Any, names: Any) -> None: ...

    def unobserve(self, handler: Any, names: Any) -> None: ...


# --- too many, none, errors ------------------------------------------------------------------------------------------


def test_too_many_rows_are_refused_with_the_way_out(db: rdb.Database, sent: Sent) -> None:
    statement = f"SELECT range AS n FROM range({limits.CHART_ROWS_MAX + 1})"
    with pytest.raises(LimitError, match=r"at most 5,000 rows \(CHART_ROWS_MAX\), got 5,001\. .* GROUP BY"):
        Chart(db.live(statement), BARS)


def test_rows_that_become_too_many_are_said_above_the_last_good_ones(
    db: rdb.Database, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHART_ROWS_MAX", 1)
    id = db.run(add, "ada", 1)
    chart = Chart(db.live(items), BARS)
    sent.hello(chart)
    db.run(add, "bob", 2)
    (change_,) = sent.pushed()
    assert ("at most 1 rows" in change_["error"], change_["gone"], change_["rows"]) == (True, [], [])
    assert "at most 1 rows" in chart.static_bundle()["text/html"]
    db.run(remove, id)
    (change_,) = sent.pushed()
    assert (change_["error"], change_["rows"][0][1]) == (None, "bob")


def test_an_error_of_the_query_is_said_above_the_last_good_rows(db: rdb.Database, sent: Sent) -> None:
    db.run(add, "ada", 1)
    chart = Chart(db.live(touchy), BARS)
    sent.hello(chart)
    db.run(add, "bob", 2)
    (change_,) = sent.pushed()
    assert (change_["error"], change_["gone"]) == ("too many", [])


def test_what_has_no_rows_is_refused(db: rdb.Database, sent: Sent) -> None:
    with pytest.raises(ArgumentError, match=r"a chart draws rows: .*; got `int`"):
        Chart(Source(3), BARS)


def test_without_vl_convert_the_error_says_what_to_install(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "vl_convert":
            raise ModuleNotFoundError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ArgumentError, match="pip install vl-convert-python"):
        Chart(Source([]), BARS)


# --- values ----------------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


class Point(msgspec.Struct):
    x: float


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (date(2026, 1, 2), "2026-01-02T00:00:00"),
        (datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),  # noqa: DTZ001 - SQL gives such
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (Decimal("1.50"), 1.5),
        (float("nan"), None),
        (float("-inf"), None),
        (timedelta(minutes=2), 120.0),
        (Colour.RED, "red"),
        (Point(1.0), {"x": 1.0}),
        ([Decimal(1), {"a": (True, None)}], [1.0, {"a": [True, None]}]),
        (msgspec.UNSET, None),
        (2j, "2j"),
    ],
)
def test_values_become_what_vega_reads(value: Any, plain: Any) -> None:
    assert _plain(value) == plain


# --- the spec --------------------------------------------------------------------------------------------------------


def test_the_data_of_the_spec_is_replaced() -> None:
    spec = {**BARS, "data": {"values": [{"name": "old"}]}}
    assert _over_rows(spec)["data"] == {"name": "rows"}
    assert spec["data"] == {"values": [{"name": "old"}]}  # the caller's own is left alone


def test_an_altair_chart_is_a_spec() -> None:
    one = altair.Chart().mark_bar().encode(x="name:N", y="n:Q")
    layered = _over_rows(one + one)
    assert (layered["data"], [set(layer) for layer in layered["layer"]]) == (
        {"name": "rows"},
        [{"mark", "encoding"}] * 2,
    )
    with_data = _over_rows(altair.Chart(pandas.DataFrame({"name": ["x"]})).mark_bar().encode(x="name"))
    assert with_data["datasets"] == {}


@pytest.mark.parametrize(
    ("spec", "width"),
    [
        (BARS, "container"),
        ({"layer": [BARS, BARS]}, "container"),
        ({**BARS, "width": 120}, 120),
        ({"hconcat": [BARS, BARS]}, None),
        ({**BARS, "encoding": {**BARS["encoding"], "column": {"field": "name"}}}, None),  # type: ignore[dict-item]
    ],
)
def test_a_single_view_is_as_wide_as_the_page(spec: dict[str, Any], width: Any) -> None:
    assert _over_rows(spec).get("width") == width


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], r"a Vega-Lite dict or an altair chart, got `list`"),
        ({}, "Vega-Lite cannot draw this spec"),
        ({**BARS, "encoding": {"x": {"field": "name", "type": "quax"}}}, 'cannot draw this spec: .*"undefined"'),
    ],
)
def test_a_spec_that_cannot_be_is_refused(db: rdb.Database, sent: Sent, spec: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Chart(db.live(items), spec)


@pytest.mark.parametrize(
    ("title", "label"),
    [("Items", "Items. By name"), ({"text": ["Items", "of all"]}, "Items. of all. By name"), (None, "By name")],
)
def test_it_says_what_it_is(db: rdb.Database, sent: Sent, title: Any, label: str) -> None:
    assert sent.hello(Chart(db.live(items), {**BARS, "title": title, "description": "By name"}))["label"] == label


# --- forms -----------------------------------------------------------------------------------------------------------


def test_the_static_form_is_a_picture_and_a_table(db: rdb.Database, sent: Sent) -> None:
    db.run(add, "ada", 1)
    db.run(add, "bob", 2)
    bundle = Chart(db.live(items), {**BARS, "title": "Items <all>"}).static_bundle()
    assert bundle["text/plain"].endswith("2 rows")
    assert 'role="img" aria-label="Items &lt;all&gt;"' in bundle["text/html"]
    assert re.findall(r'aria-label="name: (\w+); n: (\d)"', bundle["text/html"]) == [("ada", "1"), ("bob", "2")]


def test_vega_comes_when_a_page_asks_and_never_with_the_widget(db: rdb.Database, sent: Sent) -> None:
    chart = Chart(db.live(items), BARS)
    assert len(chart._esm) < 20_000
    (answer,) = sent.say(chart, {"type": "vega"})
    code = gzip.decompress(base64.b64decode(answer["code"])).decode()
    assert re.search(r"export\{\S+ as default\};\s*$", code)
    assert len(answer["code"]) < 500_000
