"""The rows of a table: what the page is told about them equals what is there, whatever happens in whatever order."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from itertools import count
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import reactive_db as rdb
from reactive_db import limits
from reactive_db.errors import ArgumentError
from reactive_db.notebook.widgets.table_columns import cell, columns_of, filter_of
from reactive_db.notebook.widgets.table_rows import (
    Change,
    ItemRows,
    Rows,
    RowView,
    Sort,
    SqlRows,
    Test,
    rows_of,
    sort_key,
)
from reactive_db.notebook.widgets.table_windows import Window, Windows
from reactive_db.storage.sql_result import SqlResult


class Task(rdb.Document, table="table_rows_tasks"):
    text: str
    n: int = 0


class Colour(Enum):
    RED = "red"


def tasks(*texts: str) -> list[Task]:
    return [Task(text, at, id=rdb.Id(f"id{at}")) for at, text in enumerate(texts)]


def sql(**columns: list[Any]) -> SqlResult:
    return SqlResult(pa.table(columns), 1)


# --- what the page is told equals what is there ----------------------------------------------------------------------


@dataclass
class Page:
    """One view, as `page/table.js` keeps it."""

    start: int = 0
    numbers: list[int] = field(default_factory=list)
    rows: dict[int, list[Any]] = field(default_factory=dict)
    top: int = 0

    def take(self, difference: dict[str, Any]) -> None:
        told = {row[0]: row for row in difference.get("rows", [])}
        self.start = difference.get("start", self.start)
        self.numbers = difference.get("order", self.numbers)
        self.rows = {number: told[number] if number in told else self.rows[number] for number in self.numbers}
        self.top += difference.get("moved", 0)


class Model:
    """A table with some views, and the pages that show them."""

    def __init__(self, items: list[Any], view: type[RowView], windows: type[Windows]) -> None:
        self.items = items
        self.view = view(ItemRows(items))
        self.windows = windows()
        self.columns = columns_of(ItemRows([Task("x", 1)]), ["text", "n"])
        self.pages: dict[str, Page] = {}
        self.sizes: dict[str, int] = {}
        self.selected: frozenset[int] = frozenset()
        self.sort: Sort | None = None
        self.tests: dict[str, Test] = {}

    def replace(self, items: list[Any]) -> None:
        order = self.view.order
        change = self.view.replace(ItemRows(items))
        self.windows.follow(change, order, self.view)
        self.selected = frozenset(at for at in map(change.follow, self.selected) if at is not None)
        self.items = items

    def arrange(self) -> None:
        self.view.arrange(self.sort, self.tests)
        self.windows.rewind()
        for page in self.pages.values():
            page.top = 0

    def ask(self, name: str, start: int, size: int, top: int) -> None:
        self.windows.ask(name, start, size, top)
        self.pages.setdefault(name, Page()).top = top
        self.sizes[name] = size

    def push(self) -> None:
        for name, difference in self.windows.differences(self.view, self.columns, self.selected).items():
            self.pages[name].take(difference)

    def order(self) -> list[int]:
        """The order of the rows, found from scratch."""
        rows = ItemRows(self.items)
        shown = [
            at
            for at in range(len(self.items))
            if all(test(rows.values(name, [at])[0]) for name, test in self.tests.items())
        ]
        if self.sort is None:
            return shown
        name, direction = self.sort
        shown.sort(key=lambda at: (sort_key(rows.values(name, [at])[0]), at))
        return shown[::-1] if direction == "descending" else shown

    def check(self) -> None:
        order = self.order()
        assert list(self.view.order) == order
        for name, page in self.pages.items():
            shown = order[page.start : page.start + self.sizes[name]]
            assert len(shown) == min(self.sizes[name], len(order)) or page.start == 0
            rows = [page.rows[number][1:] for number in page.numbers]
            values = [[int(at in self.selected), self.items[at].text, str(self.items[at].n)] for at in shown]
            assert rows == values


FRESH = count()


def made(text: str, n: int) -> Task:
    return Task(text, n, id=rdb.Id(f"id{next(FRESH)}"))


def inserted(items: list[Any], at: int, text: str, n: int) -> list[Any]:
    at %= len(items) + 1
    return [*items[:at], made(text, n), *items[at:]]


def patched(items: list[Any], at: int, text: str, n: int) -> list[Any]:
    if not items:
        return items
    at %= len(items)
    return [*items[:at], msgspec.structs.replace(items[at], text=text, n=n), *items[at + 1 :]]


def deleted(items: list[Any], at: int, text: str, n: int) -> list[Any]:
    return [item for number, item in enumerate(items) if number != at % max(len(items), 1)]


def swapped(items: list[Any], at: int, text: str, n: int) -> list[Any]:
    return items[at % (len(items) + 1) :] + items[: at % (len(items) + 1)]


TEXTS = st.sampled_from(["a", "ab", "B", "c", ""])
CHANGES = st.tuples(
    st.sampled_from([inserted, patched, deleted, swapped]), st.integers(0, 40), TEXTS, st.integers(-2, 2)
)
SORTS = st.none() | st.tuples(st.sampled_from(["text", "n"]), st.sampled_from(["ascending", "descending"]))
FILTERS = st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from(["", "> 0", "..1"]))
ASKS = st.tuples(st.sampled_from(["one", "two"]), st.integers(0, 30), st.integers(1, 8), st.integers(0, 30))
STEPS = st.lists(
    st.tuples(
        st.one_of(
            st.lists(CHANGES, min_size=1, max_size=3),
            st.tuples(st.just("sort"), SORTS),
            st.tuples(st.just("filter"), FILTERS),
            st.tuples(st.just("ask"), ASKS),
            st.tuples(st.just("select"), st.sets(st.integers(0, 30), max_size=4)),
        ),
        st.booleans(),
    ),
    max_size=12,
)
SIZES = st.integers(0, 25)


def run(model: Model, step: Any) -> None:
    match step:
        case [*changes] if isinstance(step, list):
            items = model.items
            for change, at, text, n in changes:
                items = change(items, at, text, n)
            model.replace(items)
        case ("sort", sort):
            model.sort = sort
            model.arrange()
        case ("filter", (text, n)):
            given_texts = {"text": ("text", text), "n": ("number", n)}
            model.tests = {name: filter_of(kind, one) for name, (kind, one) in given_texts.items() if one}  # type: ignore[arg-type]
            model.arrange()
        case ("ask", asked):
            model.ask(*asked)
        case ("select", positions):
            model.selected = frozenset(at for at in positions if at < len(model.items))


def sight(model: Model) -> dict[str, Any]:
    """The first row that can be seen in each view that is scrolled."""
    order = model.view.order
    return {name: model.items[order[page.top]] for name, page in model.pages.items() if 0 < page.top < len(order)}


def check_program(size: int, steps: list[Any], view: type[RowView] = RowView, windows: type[Windows] = Windows) -> None:
    model = Model([made("ab"[at % 2] * (at % 3), at % 4) for at in range(size)], view, windows)
    for step, is_pushed in steps:
        before = sight(model) if isinstance(step, list) and not model.pages.keys() - sight(model).keys() else {}
        run(model, step)
        if is_pushed or before:
            model.push()
            model.check()
        shown = {id(model.items[at]): rank for rank, at in enumerate(model.view.order)}
        for name, item in before.items():
            if id(item) in shown:
                assert shown[id(item)] == model.pages[name].top
    model.push()
    model.check()


@given(SIZES, STEPS)
def test_what_the_page_is_told_equals_what_is_there(size: int, steps: list[Any]) -> None:
    check_program(size, steps)


class KeepsItsPlace(RowView):
    """A row that has changed stays where it was."""

    def _arrange_changed(self, change: Change) -> None:
        if change.shift:
            self._arrange_all()


class TiesAnyhow(RowView):
    """Rows that are equal come in the order in which they changed."""

    def _place(self, position: int) -> Any:
        return position if self._sort is None else self._places[position]


class NeverMoves(Windows):
    """What can be seen is at the same rank, whatever is there."""

    def follow(self, change: Change, order_before: Sequence[int], view: RowView) -> None:
        return


class TellsOnlyWhatIsNew(Windows):
    """Rows that have changed are not told again."""

    def _difference(self, window: Window, *arguments: Any) -> dict[str, Any]:
        known = set(window.rows)
        difference = super()._difference(window, *arguments)
        if "rows" in difference:
            difference["rows"] = [row for row in difference["rows"] if row[0] not in known]
        return difference


@pytest.mark.parametrize(
    "broken",
    [{"view": KeepsItsPlace}, {"view": TiesAnyhow}, {"windows": NeverMoves}, {"windows": TellsOnlyWhatIsNew}],
)
def test_a_broken_one_is_caught(broken: dict[str, Any]) -> None:
    @settings(max_examples=2_000, phases=[Phase.generate], derandomize=True)
    @given(SIZES, STEPS)
    def program(size: int, steps: list[Any]) -> None:
        check_program(size, steps, **broken)

    with pytest.raises(AssertionError):
        program()


# --- rows ------------------------------------------------------------------------------------------------------------


def test_documents_have_their_fields_as_columns_and_their_ids_as_keys() -> None:
    rows = rows_of(tasks("a", "b"))
    assert rows.columns == ["text", "n"]
    assert rows.keys([1]) == ["id1"]
    assert rows.values("id", [0]) == ["id0"]


def test_mappings_have_every_name_that_any_of_them_has() -> None:
    rows = rows_of([{"a": 1}, {2: "x", "a": None}])
    assert rows.columns == ["a", "2"]
    assert (rows.values("2", [0, 1]), rows.keys([0, 1])) == ([None, "x"], [(0,), (1,)])


def test_a_result_of_sql_is_read_where_somebody_looks() -> None:
    rows = rows_of(sql(name=["x", "y", "z"], n=[1, 2, None]))
    assert isinstance(rows, SqlRows)
    assert rows.values("n", [2, 0]) == [None, 1]
    assert rows.values("n", range(1, 3)) == [2, None]
    assert rows.values("n", []) == []
    assert rows.values("gone", [0, 1]) == [None, None]
    assert rows.pick([1]) == [{"name": "y", "n": 2}]
    assert rows.keys([1]) == [(1,)]
    assert rows_of(sql(_id=["k"])).keys([0]) == ["k"]


@pytest.mark.parametrize(
    ("value", "columns", "first"),
    [
        (None, [], []),
        ([], [], []),
        ([1, 2], ["value"], [1]),
        ({"a": 1}, ["key", "value"], ["a", 1]),
        (Task("x"), ["field", "value"], ["text", "x"]),
    ],
)
def test_other_values_have_rows_as_their_static_form_has(value: Any, columns: list[str], first: list[Any]) -> None:
    rows = rows_of(value)
    assert rows.columns == columns
    assert [rows.values(name, [0])[0] for name in rows.columns] == first


def test_a_value_without_rows_is_refused() -> None:
    with pytest.raises(ArgumentError, match="a table shows rows"):
        rows_of(7)


# --- what changed ----------------------------------------------------------------------------------------------------


def test_a_changed_row_is_found_among_many() -> None:
    before = tasks(*["x"] * 1_000)
    change = Change.between(ItemRows(before), ItemRows(patched(before, 500, "new", 1)))
    assert (list(change.gone), list(change.come), change.shift) == ([500], [500], 0)
    assert change.follow(500) == 500


@pytest.mark.parametrize(("at", "expected"), [(0, 1), (1, 2), (2, 3)])
def test_rows_below_an_inserted_one_have_moved(at: int, expected: int) -> None:
    before = tasks("a", "b", "c")
    change = Change.between(ItemRows(before), ItemRows([made("new", 0), *before]))
    assert change.follow(at) == expected


def test_rows_of_sql_that_are_the_same_are_found_at_both_ends() -> None:
    def rows(numbers: list[int]) -> Rows:
        return rows_of(sql(n=numbers))

    def changed(before: list[int], after: list[int]) -> tuple[list[int], list[int]]:
        change = Change.between(rows(before), rows(after))
        return list(change.gone), list(change.come)

    assert changed([1, 2, 3, 4], [1, 2, 9, 4]) == ([2], [2])
    assert changed([1, 2, 3], [1, 2, 3]) == ([], [])
    assert changed([1, 2, 3], [0, 1, 2, 3]) == ([], [0])
    assert changed([1, 2, 3], [1, 3]) == ([1], [])
    assert changed([7, 7, 7], [7, 7]) == ([2], [])
    assert changed([1], [2, 3]) == ([0], [0, 1])


def test_a_row_in_sight_that_goes_far_away_takes_nobody_along() -> None:
    items = tasks(*[f"{at:03}" for at in range(100)])
    one = patched(items, 50, "999", 1)
    for changed in (one, [msgspec.structs.replace(item) for item in one]):
        model = Model(items, RowView, Windows)
        model.sort = ("text", "ascending")
        model.arrange()
        model.ask("one", 45, 20, 50)
        model.push()
        model.replace(changed)
        model.push()
        model.check()
        assert (model.pages["one"].start, model.pages["one"].top) == (44, 49)


def test_a_row_that_is_gone_is_nowhere() -> None:
    before = tasks("a", "b", "c")
    change = Change.between(ItemRows(before), ItemRows([before[0], before[2]]))
    assert [change.follow(at) for at in range(3)] == [0, None, 1]


def test_documents_that_were_read_again_are_the_same_objects(open_db: Any) -> None:
    @rdb.mutation
    def add(ctx: rdb.MutationCtx, text: str) -> rdb.Id[Task]:
        return ctx.db.insert(Task(text))

    @rdb.mutation
    def edit(ctx: rdb.MutationCtx, id: rdb.Id[Task]) -> None:
        ctx.db.patch(id, n=7)

    @rdb.query
    def every(ctx: rdb.QueryCtx) -> list[Task]:
        return ctx.db.query(Task).collect()

    db = open_db()
    ids = [db.run(add, text) for text in "abc"]
    handle = db.live(every)
    db.run(edit, ids[0])  # documents become objects when they are first read
    before = handle.value
    db.run(edit, ids[1])
    assert list(map(operator.is_, before, handle.value)) == [True, False, True]


# --- order and filters -----------------------------------------------------------------------------------------------


def test_values_of_any_types_have_an_order() -> None:
    values: list[Any] = [
        None,
        float("nan"),
        True,
        2,
        2.5,
        Decimal("3"),
        timedelta(seconds=4),
        "Ada",
        "bob",
        "Zoe",
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 2),  # noqa: DTZ001  # SQL gives such times
        date(2026, 1, 1),
        [1],
    ]
    backwards = values[::-1]
    assert sorted(backwards, key=sort_key)[2:] == values[2:]
    assert sort_key(Colour.RED) == sort_key("red")
    assert sort_key(msgspec.UNSET) == sort_key(None)


@pytest.mark.parametrize(
    ("kind", "text", "passes"),
    [
        ("number", "5", [5]),
        ("number", "=5", [5]),
        ("number", "> 1", [5, 2.5, Decimal("2")]),
        ("number", "<=2", [Decimal("2"), -1]),
        ("number", ">= 2.5", [5, 2.5]),
        ("number", "2..5", [5, 2.5, Decimal("2")]),
        ("number", "..0", [-1]),
        ("number", "3 ..", [5]),
        ("number", "-1", [-1]),
        ("number", "1e0..3", [2.5, Decimal("2")]),
    ],
)
def test_numbers_are_filtered(kind: Any, text: str, passes: list[Any]) -> None:
    values = [5, 2.5, Decimal("2"), -1, None, "5", True, Decimal("NaN"), float("nan")]
    assert list(filter(filter_of(kind, text), values)) == passes


def test_texts_are_filtered_by_what_they_contain_in_any_case() -> None:
    test = filter_of("text", " ADA ")
    values = ["ada", "Zada", "bob", None, Colour.RED, 7]
    assert list(filter(test, values)) == ["ada", "Zada"]
    assert list(filter(filter_of("text", "red"), values)) == [Colour.RED]
    assert list(filter(filter_of("text", "2026-03"), [date(2026, 3, 1), date(2026, 4, 1)])) == [date(2026, 3, 1)]


@pytest.mark.parametrize(("text", "passes"), [("true", [True]), ("Y", [True]), ("fa", [False]), ("0", [False])])
def test_booleans_are_filtered(text: str, passes: list[Any]) -> None:
    assert list(filter(filter_of("check", text), [True, False, None, 1])) == passes


@pytest.mark.parametrize(("kind", "text"), [("number", "abc"), ("number", ">"), ("number", ".."), ("check", "maybe")])
def test_a_bad_filter_says_what_is_accepted(kind: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=r"Numbers: 5, > 5|true or false"):
        filter_of(kind, text)


# --- columns and cells -----------------------------------------------------------------------------------------------


def test_columns_say_what_they_hold_and_how_wide_that_is() -> None:
    rows = rows_of([{"name": "x" * 20, "n": 1, "ok": True, "mixed": 1, "none": None}, {"mixed": "a", "n": 10**9}])
    found = {column.name: column for column in columns_of(rows, rows.columns)}
    assert [found[name].kind for name in found] == ["text", "number", "check", "text", "text"]
    assert (found["name"].width, found["n"].width) == (20, 10)
    assert [column.is_known for column in found.values()] == [True, True, True, True, False]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (msgspec.UNSET, None),
        (True, True),
        (2**60, str(2**60)),
        (0.5, "0.5"),
        (1 / 3, ("0.333333", repr(1 / 3))),
        ("a\nb", "a\nb"),
        (Colour.RED, "red"),
        (date(2026, 3, 1), "2026-03-01"),
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01 00:00:00Z"),
        (Decimal("1.10"), "1.10"),
        (b"ab", "2 bytes"),
        ([1, "x"], "[1, 'x']"),
    ],
)
def test_cells_are_texts_that_are_exact(value: Any, expected: Any) -> None:
    assert cell(value) == expected


def test_a_text_that_is_too_long_is_cut_and_marked() -> None:
    shown, exact = cell("x" * (limits.TABLE_CELL_CHARACTERS_MAX + 1))  # type: ignore[misc]
    assert (len(shown), exact) == (limits.TABLE_CELL_CHARACTERS_MAX + 1, None)


# --- windows ---------------------------------------------------------------------------------------------------------


def told(windows: Windows, rows: Rows, view: RowView | None = None) -> dict[str, Any]:
    columns = columns_of(rows, rows.columns)
    return windows.differences(view or RowView(rows), columns, frozenset())


def test_a_view_is_told_only_its_window_and_only_once() -> None:
    rows = rows_of(tasks(*"abcdef"))
    windows = Windows()
    windows.ask("v", 2, 2, 2)
    assert told(windows, rows) == {
        "v": {"start": 2, "order": [1, 2], "rows": [[1, 0, "c", "2"], [2, 0, "d", "3"]], "asked": True}
    }
    assert told(windows, rows) == {}


def test_a_document_that_comes_twice_is_two_rows() -> None:
    (one,) = tasks("a")
    windows = Windows()
    windows.ask("v", 0, 5, 0)
    assert told(windows, rows_of([one, one]))["v"]["order"] == [1, 2]


def test_a_row_without_an_id_is_what_it_says() -> None:
    windows = Windows()
    windows.ask("v", 0, 5, 0)
    told(windows, rows_of([{"a": 1}, {"a": 2}]))
    assert told(windows, rows_of([{"a": 3}, {"a": 1}, {"a": 2}]))["v"] == {"order": [3, 1, 2], "rows": [[3, 0, "3"]]}


def test_views_and_windows_and_numbers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TABLE_NUMBERED_ROWS_MAX", 10)
    rows = rows_of(tasks(*["x"] * 1_000))
    windows = Windows()
    for number in range(limits.TABLE_VIEWS_MAX + 1):
        windows.ask(f"v{number}", number * 5, 5, 0)
        told(windows, rows)
    assert len(windows.whole()) == limits.TABLE_VIEWS_MAX
    assert "v0" not in windows.whole()
    windows.ask("v1", 0, 10**9, 0)
    assert len(told(windows, rows)["v1"]["order"]) == limits.TABLE_WINDOW_ROWS_MAX
    for name in list(windows.whole())[1:]:
        windows.leave(name)
    windows.ask("v1", 0, 1, 0)
    windows.ask("v2", 0, 1, 0)
    told(windows, rows)
    assert len(windows._numbers) == len(windows._keys) == 1


def test_a_window_ends_where_the_rows_end() -> None:
    windows = Windows()
    windows.ask("v", 90, 20, 90)
    difference = told(windows, rows_of(tasks(*["x"] * 100)))["v"]
    assert (difference["start"], len(difference["rows"])) == (80, 20)
    difference = told(windows, rows_of(tasks("x")))["v"]
    assert (difference["start"], len(difference["order"])) == (0, 1)
