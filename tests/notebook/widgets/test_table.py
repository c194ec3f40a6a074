"""`Table`: what its pages are told, what they may say, selection and editing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

import pytest
from traitlets import TraitError

import reactive_db as rdb
from reactive_db import limits
from reactive_db.errors import ApplicationError, ArgumentError, FunctionError
from reactive_db.notebook.widgets import Table
from reactive_db.notebook.widgets.table_editors import editor_of
from tests.notebook.widgets.conftest import Message, Sent


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Task(rdb.Document, table="table_tasks"):
    text: str
    done: bool = False
    n: int = 0
    x: float = 0.0
    price: Decimal | None = None
    due: date | None = None
    at: datetime | None = None
    colour: Colour = Colour.RED
    size: Literal["S", "M"] = "M"
    tags: list[str] = []


@rdb.query
def tasks(ctx: rdb.QueryCtx) -> list[Task]:
    found = ctx.db.query(Task).collect()
    if any(task.text == "poison" for task in found):
        raise ApplicationError("it is poisoned")
    return found


@rdb.query
def how_many(ctx: rdb.QueryCtx) -> int | list[Task]:
    found = ctx.db.query(Task).collect()
    return found if len(found) < 2 else len(found)


@rdb.mutation
def add(ctx: rdb.MutationCtx, text: str, n: int = 0) -> rdb.Id[Task]:
    return ctx.db.insert(Task(text, n=n))


@rdb.mutation
def remove(ctx: rdb.MutationCtx, id: rdb.Id[Task]) -> None:
    ctx.db.delete(id)


@rdb.mutation
def change(
    ctx: rdb.MutationCtx, id: rdb.Id[Task], text: str | None = None, done: bool | None = None, n: int | None = None
) -> None:
    if text == "bad":
        raise ApplicationError("no task is bad")
    if text == "worse":
        raise ValueError("much worse")
    given = {"text": text, "done": done, "n": n}
    ctx.db.patch(id, **{name: value for name, value in given.items() if value is not None})


@rdb.mutation
def set_due(ctx: rdb.MutationCtx, id: rdb.Id[Task], value: date | None) -> None:
    ctx.db.patch(id, due=value)


class Plain:
    """A source that is no handle."""

    title = "plain"
    error: Exception | None = None

    def __init__(self, value: Any) -> None:
        self.value = value
        self._handlers: list[Callable[[Any], None]] = []

    def observe(self, handler: Callable[[Any], None], names: Sequence[str]) -> None:
        self._handlers.append(handler)

    def unobserve(self, handler: Callable[[Any], None], names: Sequence[str]) -> None:
        self._handlers.remove(handler)

    def show(self, value: Any) -> None:
        self.value = value
        for handler in self._handlers:
            handler(None)


class View:
    """A page that shows a table, and keeps what it is told as `page/table.js` does."""

    def __init__(self, sent: Sent, table: Table, name: str = "v", size: int = 20) -> None:
        self.sent, self.table, self.name = sent, table, name
        self.shared: Message = sent.hello(table)
        self.numbers: list[int] = []
        self.rows: dict[int, list[Any]] = {}
        self.say("window", start=0, size=size, top=0)

    def say(self, type: str, **message: Any) -> list[Message]:
        """Say something; what is told in answer, outside the numbers and then in a change."""
        told = self.sent.say(self.table, {"type": type, "view": self.name, **message})
        told += self.sent.pushed()
        for message in told:
            self.take(message)
        return told

    def take(self, message: Message) -> None:
        self.shared |= message
        mine = message.get("views", {}).get(self.name, {})
        self.numbers = mine.get("order", self.numbers)
        self.rows |= {row[0]: row for row in mine.get("rows", [])}

    def pushed(self) -> list[Message]:
        told = self.sent.pushed()
        for message in told:
            self.take(message)
        return told

    def column(self, at: int) -> list[Any]:
        return [self.rows[number][at + 2] for number in self.numbers]

    @property
    def selected(self) -> list[Any]:
        return [self.rows[number][2] for number in self.numbers if self.rows[number][1]]

    def edit(self, row: int, column: str, value: Any) -> str | None:
        """Edit a cell; the error, if it failed."""
        told = self.say("edit", row=self.numbers[row], column=column, value=value, edit="e1")
        (answer,) = [message for message in told if message["type"] == "edited"]
        assert answer["edit"] == "e1"
        error: str | None = answer["error"]
        return error


@pytest.fixture
def handle(db: rdb.Database) -> rdb.QueryHandle[list[Task]]:
    for n, text in enumerate(["cid", "Ada", "bob"]):
        db.run(add, text, n)
    return db.live(tasks)


# --- what the page is told -------------------------------------------------------------------------------------------


def test_the_first_rows_come_with_the_whole(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    whole = sent.hello(Table(handle, columns=["text", "n"]))
    assert [column["name"] for column in whole["columns"]] == ["text", "n"]
    assert [column["kind"] for column in whole["columns"]] == ["text", "number"]
    assert [row[2:] for row in whole["first"]["rows"]] == [["cid", "0"], ["Ada", "1"], ["bob", "2"]]
    assert (whole["total"], whole["found"], whole["title"]) == (3, 3, handle.title)


def test_without_rows_it_has_the_columns_of_what_the_query_gives(db: rdb.Database, sent: Sent) -> None:
    table = Table(db.live(tasks), edit=change)
    whole = sent.hello(table)
    assert [column["name"] for column in whole["columns"]][:3] == ["text", "done", "n"]
    assert (whole["total"], whole["found"]) == (0, 0)
    db.run(add, "first")
    assert [row[2] for row in sent.hello(table)["first"]["rows"]] == ["first"]


def test_the_first_rows_can_be_acted_on_before_a_view_has_asked(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    table = Table(handle, edit=change)
    row = sent.hello(table)["first"]["rows"][1][0]
    sent.say(table, {"type": "select", "row": row, "how": "only"})
    assert texts(table) == ["Ada"]
    told = sent.say(table, {"type": "edit", "row": row, "column": "text", "value": "Eve", "edit": "e"})
    assert told[-1] == {"type": "edited", "edit": "e", "error": None}
    assert texts(table) == ["Eve"]


def test_a_changed_row_alone_is_told_again(db: rdb.Database, handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    view = View(sent, Table(handle, columns=["text", "n"]))
    db.run(change, handle.value[1].id, text="eve")
    (told,) = view.pushed()
    assert told["views"] == {"v": {"rows": [[2, 0, "eve", "1"]]}}
    assert set(told) == {"type", "number", "views"}


def test_a_change_among_100_000_rows_is_a_small_message(sent: Sent) -> None:
    items = [Task(f"task {n}", n=n, id=rdb.Id(f"{n:032}")) for n in range(100_000)]
    source = Plain(items)
    view = View(sent, Table(source), size=60)
    source.show([*items[:5], Task("new", id=items[5].id), *items[6:]])
    (told,) = view.pushed()
    assert len(json.dumps(told)) < 200
    assert view.column(0)[5] == "new"
    source.show([Task("first", id=rdb.Id("x")), *source.value])
    (told,) = view.pushed()
    assert len(json.dumps(told)) < 600
    assert view.column(0)[:2] == ["first", "task 0"]
    source.show([*source.value[:500], *source.value[501:]])
    (told,) = view.pushed()
    assert set(told) == {"type", "number", "total", "found", "reachable"}


def test_each_view_is_told_of_its_own_window(sent: Sent) -> None:
    source = Plain([{"id": n, "text": f"t{n}"} for n in range(100)])
    table = Table(source)
    one, two = View(sent, table, "one"), View(sent, table, "two")
    two.say("window", start=50, size=5, top=50)
    assert (one.column(1)[0], two.column(1)) == ("t0", ["t50", "t51", "t52", "t53", "t54"])
    assert sent.hello(table)["views"]["two"]["start"] == 50  # whoever missed something is told all of it
    two.say("leave")
    assert set(sent.hello(table)["views"]) == {"one"}


def test_what_can_be_seen_stays_in_sight(sent: Sent) -> None:
    items = [{"id": n, "text": f"t{n}"} for n in range(100)]
    source = Plain(items)
    view = View(sent, Table(source))
    view.say("window", start=40, size=20, top=50)
    source.show([{"id": -1, "text": "new"}, *items])
    (told,) = view.pushed()
    assert told["views"]["v"] == {"start": 41, "moved": 1}


def test_a_value_that_is_the_same_is_not_told(db: rdb.Database, handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    view = View(sent, Table(handle, columns=["text"]))
    db.run(change, handle.value[0].id, n=50)
    assert view.pushed() == []


def test_without_a_page_the_whole_is_sent_anew(db: rdb.Database, handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    Table(handle)
    db.run(add, "dan")
    (whole,) = sent.pushed()
    assert [row[2] for row in whole["first"]["rows"]] == ["cid", "Ada", "bob", "dan"]


def test_an_error_comes_beside_the_last_good_rows(db: rdb.Database, handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    view = View(sent, Table(handle))
    id = db.run(add, "poison")
    (told,) = view.pushed()
    assert set(told) == {"type", "number", "error"}
    assert "it is poisoned" in told["error"]
    db.run(remove, id)
    (told,) = view.pushed()
    assert told["error"] is None


def test_a_value_that_has_no_rows_any_more_is_an_error(db: rdb.Database, sent: Sent) -> None:
    view = View(sent, Table(db.live(how_many)))
    for text in ("a", "b"):
        db.run(add, text)
        view.pushed()
    assert "got `int`" in view.shared["error"]
    assert view.column(0) == ["a"]


def test_an_empty_result_has_the_columns_that_are_known(db: rdb.Database, sent: Sent) -> None:
    whole = sent.hello(Table(db.live(tasks), columns=["text", "n"]))
    assert [column["name"] for column in whole["columns"]] == ["text", "n"]
    db.run(add, "x")
    whole = sent.hello(Table(db.live("SELECT text, n FROM table_tasks WHERE n > 99")))
    assert ([column["name"] for column in whole["columns"]], whole["total"]) == (["text", "n"], 0)


def test_columns_stay_when_the_rows_are_gone(db: rdb.Database, sent: Sent) -> None:
    id = db.run(add, "x")
    view = View(sent, Table(db.live(tasks)))
    db.run(remove, id)
    view.pushed()
    assert (len(view.shared["columns"]), view.numbers) == (10, [])


def test_a_result_of_sql_follows_its_rows(db: rdb.Database, handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    view = View(sent, Table(db.live("SELECT text, n FROM table_tasks ORDER BY n DESC")))
    assert view.column(0) == ["bob", "Ada", "cid"]
    db.run(add, "new", 9)
    view.pushed()
    assert view.column(0) == ["new", "bob", "Ada", "cid"]


def test_the_static_form_is_in_the_same_order(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    table = Table(handle, columns=["text"])
    view = View(sent, table)
    view.say("sort", column="text", direction="ascending")
    view.say("filter", column="text", text="d")
    bundle = table.static_bundle()
    assert bundle["text/plain"].split() == ["text", "────", "Ada", "cid", "2", "rows"]
    assert bundle["text/html"].index("Ada") < bundle["text/html"].index("cid")


# --- sort and filter -------------------------------------------------------------------------------------------------


def test_sorted_by_a_column_and_back(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    view = View(sent, Table(handle))
    view.say("sort", column="text", direction="ascending")
    assert view.column(0) == ["Ada", "bob", "cid"]
    assert tuple(view.shared["sort"]) == ("text", "ascending")
    view.say("sort", column="text", direction="descending")
    assert view.column(0) == ["cid", "bob", "Ada"]
    view.say("sort", column="text", direction=None)
    assert (view.column(0), view.shared["sort"]) == (["cid", "Ada", "bob"], None)


def test_a_new_row_comes_where_it_belongs(db: rdb.Database, handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    view = View(sent, Table(handle))
    view.say("sort", column="text", direction="ascending")
    db.run(add, "Bea")
    view.pushed()
    assert view.column(0) == ["Ada", "Bea", "bob", "cid"]


def test_filtered_by_columns(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    view = View(sent, Table(handle))
    view.say("filter", column="text", text="B")
    assert (view.column(0), view.shared["found"], view.shared["total"]) == (["bob"], 1, 3)
    view.say("filter", column="n", text="> 5")
    assert view.column(0) == []
    view.say("filter", column="n", text=" ")
    view.say("filter", column="text", text="")
    assert (len(view.numbers), view.shared["filters"]) == (3, {})


def test_a_bad_filter_filters_nothing_and_says_so(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    view = View(sent, Table(handle))
    view.say("filter", column="n", text="many")
    assert (len(view.numbers), view.shared["filters"]) == (3, {"n": "many"})
    assert view.shared["faults"] == {"n": "Numbers: 5, > 5, <= 3 or 1..9."}
    view.say("filter", column="n", text="1..2")
    assert (view.column(0), view.shared["faults"]) == (["Ada", "bob"], {})


def test_filters_fit_the_columns_that_come_later(db: rdb.Database, sent: Sent) -> None:
    source = Plain([{"a": None}])
    view = View(sent, Table(source))
    view.say("filter", column="a", text="> 1")
    source.show([{"a": 1}, {"a": 2}])
    view.pushed()
    assert view.column(0) == ["2"]


# --- selection -------------------------------------------------------------------------------------------------------


def texts(table: Table) -> list[str]:
    return [task.text for task in table.selected]


def test_rows_are_selected_one_by_one_and_in_ranges(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    table = Table(handle)
    seen: list[int] = []
    table.observe(lambda event: seen.append(len(event["new"])), "selected")
    view = View(sent, table)
    view.say("sort", column="text", direction="ascending")
    ada, bob, cid = view.numbers
    view.say("select", row=ada, how="only")
    assert (texts(table), view.selected) == (["Ada"], ["Ada"])
    view.say("select", row=cid, how="toggle")
    assert (texts(table), view.selected, view.shared["selected"]) == (["cid", "Ada"], ["Ada", "cid"], 2)
    view.say("select", row=ada, how="toggle")
    view.say("select", row=bob, how="range")
    assert texts(table) == ["Ada", "bob"]
    assert seen == [1, 2, 1, 2]


def test_all_that_are_found_are_selected_up_to_a_limit(
    handle: rdb.QueryHandle[Any], sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(handle)
    view = View(sent, table)
    view.say("filter", column="n", text="> 0")
    view.say("select", how="all")
    assert texts(table) == ["Ada", "bob"]
    monkeypatch.setattr(limits, "TABLE_SELECTED_MAX", 1)
    view.say("select", how="all")
    assert texts(table) == ["Ada"]


def test_selected_documents_are_the_present_ones(db: rdb.Database, handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    table = Table(handle)
    view = View(sent, table)
    view.say("select", how="all")
    db.run(change, handle.value[0].id, text="new")
    assert texts(table) == ["new", "Ada", "bob"]
    db.run(remove, handle.value[1].id)
    assert texts(table) == ["new", "bob"]
    view.pushed()
    assert view.selected == ["new", "bob"]


def test_rows_without_ids_are_selected_by_position(sent: Sent) -> None:
    source = Plain([{"a": 1}, {"a": 2}])
    table = Table(source)
    view = View(sent, table)
    view.say("select", row=view.numbers[1], how="only")
    source.show([{"a": 1}, {"a": 3}])
    assert table.selected == [{"a": 3}]
    source.show([{"a": 1}])
    assert table.selected == []


def test_the_selection_is_not_set_from_outside(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    with pytest.raises(TraitError, match="read-only"):
        Table(handle).selected = []


def test_a_row_that_is_gone_is_not_selected(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    table = Table(handle)
    View(sent, table).say("select", row=99, how="only")
    assert table.selected == []


# --- editing ---------------------------------------------------------------------------------------------------------


def test_a_cell_is_edited(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    view = View(sent, Table(handle, edit=change))
    assert [column["name"] for column in view.shared["columns"] if "editor" in column] == ["text", "done", "n"]
    assert view.edit(1, "text", "Eve") is None
    assert handle.value[1].text == view.column(0)[1] == "Eve"
    assert view.edit(1, "n", "42") is None
    assert view.edit(1, "done", True) is None
    assert (handle.value[1].n, handle.value[1].done) == (42, True)


def test_the_new_value_comes_before_the_answer(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    view = View(sent, Table(handle, edit=change))
    told = view.say("edit", row=view.numbers[0], column="text", value="x", edit="e")
    assert [message["type"] for message in told] == ["change", "edited"]


@pytest.mark.parametrize(
    ("column", "value", "error"),
    [
        ("text", "bad", "no task is bad"),
        ("text", "worse", "ValueError: much worse"),
        ("n", "many", "expected a whole number, got 'many'."),
        ("n", "", "expected a whole number, got ''."),
        ("text", 7, "expected text, got 7."),
        ("done", "yes", "expected true or false, got 'yes'."),
        ("x", "1", "column 'x' cannot be edited."),
    ],
)
def test_a_failed_edit_says_why_and_changes_nothing(
    handle: rdb.QueryHandle[Any], sent: Sent, column: str, value: Any, error: str
) -> None:
    view = View(sent, Table(handle, edit=change))
    before = handle.value
    assert view.edit(0, column, value) == error
    assert handle.value is before


def test_a_document_that_is_gone_is_not_edited(db: rdb.Database, handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    view = View(sent, Table(handle, edit=change))
    db.run(remove, handle.value[0].id)
    error = view.edit(0, "text", "x")
    assert error is not None
    assert "table_tasks" in error


def test_each_column_can_have_a_mutation_of_its_own(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    view = View(sent, Table(handle, edit={"due": set_due}))
    assert view.edit(0, "due", "2026-03-01") is None
    assert handle.value[0].due == date(2026, 3, 1)
    assert view.edit(0, "due", "") is None
    assert handle.value[0].due is None
    assert view.edit(0, "due", "soon") == "expected a date such as 2026-03-01, got 'soon'."


@pytest.mark.parametrize(
    ("type_", "kind", "entered", "value"),
    [
        (str, "text", "x", "x"),
        (str | None, "text", "", ""),
        (str | None, "text", None, None),
        (int, "number", " 7", 7),
        (int | None, "number", "", None),
        (float, "number", "1.5", 1.5),
        (Decimal, "number", "1.10", Decimal("1.10")),
        (bool, "check", False, False),
        (date, "date", "2026-03-01", date(2026, 3, 1)),
        (datetime, "datetime", "2026-03-01T10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        (Literal["a", 2], "choice", "1", 2),
        (Colour, "choice", "0", Colour.RED),
        (Colour | None, "choice", "", None),
    ],
)
def test_what_is_entered_becomes_a_value_of_the_type(type_: Any, kind: str, entered: Any, value: Any) -> None:
    editor = editor_of(type_)
    assert editor is not None
    assert editor.kind == kind
    found = editor.value(entered)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("type_", "entered"),
    [
        (float, "nan"),
        (float, 1.5),
        (Decimal, "x"),
        (date, 7),
        (datetime, "2026-03-01T10:00:00"),
        (Literal["a"], "9"),
        (Colour, ""),
        (str, None),
    ],
)
def test_what_does_not_fit_the_type_is_refused(type_: Any, entered: Any) -> None:
    editor = editor_of(type_)
    assert editor is not None
    with pytest.raises(ArgumentError, match="expected"):
        editor.value(entered)


def test_types_that_no_cell_can_hold_have_no_editor() -> None:
    assert [editor_of(type_) for type_ in (list[str], Any, int | str, rdb.Id[Task])] == [None] * 4


@rdb.mutation
def without_id(ctx: rdb.MutationCtx, text: str | None = None) -> None: ...


@rdb.mutation
def without_default(ctx: rdb.MutationCtx, id: rdb.Id[Task], text: str) -> None: ...


@rdb.mutation
def tag(ctx: rdb.MutationCtx, id: rdb.Id[Task], tags: list[str]) -> None: ...


@rdb.mutation
def lost(ctx: rdb.MutationCtx, id: rdb.Id[Task], text: Nowhere | None = None) -> None: ...  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (tasks, "expected a function made by @rdb.mutation, got a query"),
        (without_id, "has no parameter 'id'"),
        (without_default, "parameter 'text' of mutation .* has no default"),
        (lost, "'Nowhere' is not defined"),
        ({"text": without_id}, "takes 1 arguments; a table passes two"),
        ({"tags": tag}, "cannot be edited in a cell"),
    ],
)
def test_mutations_that_fit_no_cell_are_refused(
    handle: rdb.QueryHandle[Any], sent: Sent, edit: Any, message: str
) -> None:
    with pytest.raises(FunctionError, match=message):
        Table(handle, edit=edit)


def test_a_source_that_cannot_be_edited_is_refused(db: rdb.Database, handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    with pytest.raises(ArgumentError, match=r"needs a handle of `db.live"):
        Table(Plain([]), edit=change)
    with pytest.raises(ArgumentError, match="these rows have none"):
        Table(db.live("SELECT text FROM table_tasks"), edit=change)


def test_a_row_without_an_id_is_not_edited(db: rdb.Database, sent: Sent) -> None:
    handle = db.live("SELECT text FROM table_tasks")
    view = View(sent, Table(handle, edit=change))
    db.run(add, "x")
    view.pushed()
    assert view.edit(0, "text", "y") == "this row has no id, so nothing can be changed in it."


def test_a_table_without_edit_is_not_edited(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    view = View(sent, Table(handle))
    assert view.edit(0, "text", "x") == "this table cannot be edited."


def test_unknown_columns_are_refused(handle: rdb.QueryHandle[Any], sent: Sent) -> None:
    assert [column["name"] for column in sent.hello(Table(handle, columns=["id", "text"]))["columns"]] == ["id", "text"]
    with pytest.raises(ArgumentError, match=r"no column 'txt'\. They have text, done"):
        Table(handle, columns=["txt"])


def test_a_value_without_rows_is_refused(db: rdb.Database, sent: Sent) -> None:
    with pytest.raises(ArgumentError, match="a table shows rows"):
        Table(Plain(7))
