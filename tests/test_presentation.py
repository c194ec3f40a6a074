"""Values as text and as HTML: aligned, escaped, counted, and the same in both."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from html.parser import HTMLParser
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db.presentation import ROWS_SHOWN, as_grid, as_html, as_text, cell_text, failure_in, failure_mark


class Colour(Enum):
    RED = "red"


class Note(rdb.Document, table="presented_notes"):
    text: str
    stars: int | None = None


class Point(rdb.Object):
    x: float
    y: float


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def test_a_text_table_lines_up() -> None:
    text = as_text([Note(text="short", stars=5), Note(text="漢字 wide", stars=None), Note(text="x", stars=1234)])
    assert text.splitlines() == [
        "text       stars",
        "─────────  ─────",
        "short          5",
        "漢字 wide      —",
        "x           1234",
        "3 rows",
    ]


def test_a_text_table_leaves_out_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = as_text([{"name": "x" * 12, "n": 1, "more": "y" * 30, "rest": 0}])
    assert text.splitlines()[0] == "name          n"
    assert text.splitlines()[-1] == "1 row · 2 more columns: more, rest"


def test_long_results_are_counted() -> None:
    values = [{"n": n} for n in range(1_500)]
    assert as_text(values).splitlines()[-1] == f"{ROWS_SHOWN} of 1,500 rows"
    assert f"{ROWS_SHOWN} of 1,500 rows" in as_html(values)


@pytest.mark.parametrize(
    ("value", "columns", "rows"),
    [
        ([], [], []),
        ([Point(x=1.0, y=2.0)], ["x", "y"], [[1.0, 2.0]]),
        ([{"a": 1}, {"b": 2}], ["a", "b"], [[1, None], [None, 2]]),
        (["x", "y"], ["value"], [["x"], ["y"]]),
        ({"a": 1, "b": 2}, ["key", "value"], [["a", 1], ["b", 2]]),
        (Point(x=1.0, y=2.0), ["field", "value"], [["x", 1.0], ["y", 2.0]]),
        ((1, None), ["value"], [[1], [None]]),
    ],
)
def test_what_has_parts_is_a_grid(value: Any, columns: list[str], rows: list[list[Any]]) -> None:
    grid = as_grid(value)
    assert grid is not None
    assert (grid.columns, grid.rows, grid.total) == (columns, rows, len(rows))


def test_sql_results_are_grids() -> None:
    with rdb.connect() as db:
        result = db.sql("SELECT range AS n, 'x' AS name FROM range(30)")
    assert repr(result).splitlines()[-1] == "20 of 30 rows"
    assert '<th scope="col" class="number">n</th><th scope="col">name</th>' in result._repr_html_()


@pytest.mark.parametrize("value", [42, "text", None, 1.5])
def test_what_has_no_parts_is_itself(value: Any) -> None:
    assert as_text(value) == repr(value)
    assert f"<pre>{str(repr(value)).replace(chr(39), '&#x27;')}</pre>" in as_html(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        (True, "True"),
        (1.0, "1.0"),
        (1 / 3, "0.333333"),
        (float("nan"), "nan"),
        (Decimal("1.50"), "1.50"),
        (Colour.RED, "red"),
        (b"abc", "3 bytes"),
        (date(2013, 7, 15), "2013-07-15"),
        (datetime(2013, 7, 15, 9, 30, tzinfo=UTC), "2013-07-15 09:30:00Z"),
        (datetime(2013, 7, 15, 9, 30, 1, 500_000, tzinfo=UTC), "2013-07-15 09:30:01.500000Z"),
        ("two\nlines\tand more", "two lines and more"),
        ("\x1b[31mred\x00", "�[31mred�"),
        ("x" * 100, "x" * 59 + "…"),
        ("x" * 2_000_000, "x" * 59 + "…"),
    ],
)
def test_a_cell_is_one_short_line_of_printable_characters(value: Any, text: str) -> None:
    assert cell_text(value) == text


class Balance(HTMLParser):
    """Fails on a tag that is not closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("value", [[], [{"a": None}], 5, {"a": 1}, [Note(text="<b>&\"'")]])
def test_html_is_well_formed_and_escaped(value: Any) -> None:
    html = as_html(value, caption="<script>", error=ValueError("<i>"))
    parser = Balance()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    assert not re.search(r"<(b>&|script|i)>", html)


def test_html_names_its_columns_and_itself() -> None:
    html = as_html([Note(text="x", stars=1)], caption="notes()")
    assert "<caption><b>notes()</b><small>1 row</small></caption>" in html
    assert '<th scope="col">text</th><th scope="col" class="number">stars</th>' in html
    assert '<td>x</td><td class="number">1</td>' in html


def test_html_takes_its_colours_from_the_page() -> None:
    html = as_html([{"a": None}])
    assert "var(--jp-content-font-color1, inherit)" in html
    assert '<td class="nothing">—</td>' in html


def test_an_error_stands_above_the_last_good_value() -> None:
    html = as_html([1], error=ValueError("no such flight"))
    assert html.index("no such flight") < html.index("<table")
    assert 'role="alert"' in html


def test_new_rows_light_up_wherever_they_are() -> None:
    html = as_html([{"n": 3}, {"n": 1}], before=[{"n": 1}, {"n": 2}])
    rows = re.findall(r'<tr( class="fresh")?><td class="number">(\d)</td>', html)
    assert rows == [(' class="fresh"', "3"), ("", "1")]


def test_data_frames_keep_their_own_html() -> None:
    pandas = pytest.importorskip("pandas")
    html = as_html(pandas.DataFrame({"a": [1]}), caption="frame()")
    assert "dataframe" in html
    assert "frame()" in html


@pytest.mark.parametrize("metadata", [{}, {"reactive_db": {}}, {"reactive_db": "else"}, {"failed": "else"}])
def test_only_our_own_mark_says_that_a_display_failed(metadata: dict[str, Any]) -> None:
    assert failure_in(metadata) is None
    assert failure_in({**metadata, **failure_mark("ValueError: no")}) == "ValueError: no"
