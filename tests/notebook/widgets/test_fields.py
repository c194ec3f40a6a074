"""The fields of a form: every type from its annotation to the page, and back to an argument that a mutation takes."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NewType

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reactive_db as rdb
from reactive_db import limits
from reactive_db.errors import ArgumentError, FunctionError
from reactive_db.notebook.widgets import fields as module
from reactive_db.notebook.widgets.fields import Faults, Fields, arguments_in, fields_of, label_of, place_of, summary_of


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Person(rdb.Document, table="field_people"):
    name: str
    age: int = 0


class Address(rdb.Object):
    """Where somebody lives.

    Attributes:
        street: with the number
    """

    street: str
    code: int | None = None
    tags: list[str] = []


class Circle(rdb.Object, tag="circle"):
    radius: float


class Square(rdb.Object, tag="square"):
    side: float = 2.0


class Tree(rdb.Object):
    name: str
    branches: list[Tree] = []


class Moment(rdb.Object, rename="camel"):
    made_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    kept: str | msgspec.UnsetType = msgspec.UNSET


Email = NewType("Email", str)
Short = Annotated[str, msgspec.Meta(max_length=3)]
ADDRESS = {"street": "Elm 1", "code": "", "tags": []}
WHEN = datetime(2026, 3, 1, 10, tzinfo=UTC)


def mutation_of(annotation: Any, *default: Any) -> Any:
    """A mutation that returns its argument `x`."""

    def f(ctx: Any, x: Any = None) -> Any:
        return x

    f.__annotations__ = {"x": annotation}
    f.__defaults__ = default or None
    return rdb.mutation(f)


@pytest.fixture(scope="module")
def db() -> Any:
    with rdb.connect() as db:
        yield db


def described(annotation: Any, *default: Any) -> dict[str, Any]:
    (field,) = fields_of(mutation_of(annotation, *default)).fields
    return field.described()


def faults(annotation: Any, entered: Any) -> dict[Any, str]:
    _, faults = arguments_in(fields_of(mutation_of(annotation)), {"x": entered})
    return {place[1:]: text for place, text in faults.items()}


# --- there and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "kind", "entered", "value"),
    [
        (str, {"kind": "text"}, "a\nb", "a\nb"),
        (Email, {"kind": "text"}, "a@b", "a@b"),
        (Short, {"kind": "text"}, "abc", "abc"),
        (int, {"kind": "integer"}, str(2**63 - 1), 2**63 - 1),
        (float, {"kind": "number"}, "1.5", 1.5),
        (Decimal, {"kind": "number"}, "9.90", Decimal("9.90")),
        (bool, {"kind": "check"}, True, True),
        (date, {"kind": "date"}, "2026-03-01", date(2026, 3, 1)),
        (datetime, {"kind": "datetime"}, "2026-03-01T11:00:00+01:00", WHEN),
        (bytes, {"kind": "file"}, "AP8=", b"\0\xff"),
        (Literal["S", "M"], {"kind": "choice", "labels": ["S", "M"]}, 1, "M"),
        (Literal["S", None], {"kind": "choice", "labels": ["S"], "is_optional": True}, None, None),
        (Colour, {"kind": "choice", "labels": ["red", "blue"]}, 1, Colour.BLUE),
        (rdb.v.literal(1.5).annotation, {"kind": "choice", "labels": ["1.5"]}, 0, 1.5),
        (int | None, {"kind": "integer", "is_optional": True}, "", None),
        (int | None, {"kind": "integer", "is_optional": True}, "4", 4),
        (bool | None, {"kind": "choice", "labels": ["yes", "no"], "is_optional": True}, 1, False),
        (None, {"kind": "choice", "labels": [], "is_optional": True}, None, None),
        (list[int], {"kind": "list", "item": {"kind": "integer"}}, ["1", "2"], [1, 2]),
        (
            dict[str, date],
            {"kind": "record", "key": {"kind": "text"}, "item": {"kind": "date"}},
            [["a b", "2026-03-01"]],
            {"a b": date(2026, 3, 1)},
        ),
        (Any, {"kind": "json", "is_optional": True}, '{"a": [1, null]}', {"a": [1, None]}),
        (Any, {"kind": "json", "is_optional": True}, "", None),
        (tuple[int, str], {"kind": "json"}, '[1, "a"]', (1, "a")),
    ],
    ids=str,
)
def test_a_value_goes_there_and_back(
    db: rdb.Database, annotation: Any, kind: dict[str, Any], entered: Any, value: Any
) -> None:
    mutation = mutation_of(annotation)
    fields = fields_of(mutation)
    assert fields.described()["fields"] == [{"name": "x", "label": "X", **kind}]
    arguments, faults = arguments_in(fields, json.loads(json.dumps({"x": entered})))
    assert faults == {}
    assert db.run(mutation, **arguments) == value


def test_an_object_goes_there_and_back(db: rdb.Database) -> None:
    mutation = mutation_of(list[Address])
    entered = {"x": [{"street": "Elm 1", "code": "5", "tags": ["a"]}, ADDRESS]}
    arguments, faults = arguments_in(fields_of(mutation), entered)
    assert faults == {}
    assert db.run(mutation, **arguments) == [Address("Elm 1", 5, ["a"]), Address("Elm 1")]


def test_an_object_is_described_by_its_fields() -> None:
    assert described(Address)["fields"] == [
        {"name": "street", "label": "Street", "kind": "text", "hint": "with the number"},
        {"name": "code", "label": "Code", "kind": "integer", "is_optional": True},
        {"name": "tags", "label": "Tags", "kind": "list", "item": {"kind": "text"}, "default": []},
    ]
    assert described(Address | None)["is_optional"] is True


def test_a_document_is_entered_without_what_the_store_gives_it(db: rdb.Database) -> None:
    assert [field["name"] for field in described(Person)["fields"]] == ["name", "age"]
    mutation = mutation_of(Person)
    arguments, _ = arguments_in(fields_of(mutation), {"x": {"name": "Ada", "age": "36"}})
    assert db.run(mutation, **arguments) == Person("Ada", 36)


@pytest.mark.parametrize(
    ("member", "entered", "value"), [(0, {"radius": "1"}, Circle(1.0)), (1, {"side": "2"}, Square())]
)
def test_a_union_is_chosen_then_entered(db: rdb.Database, member: int, entered: Any, value: Any) -> None:
    mutation = mutation_of(Circle | Square)
    arguments, faults = arguments_in(fields_of(mutation), {"x": {"member": member, "value": entered}})
    assert faults == {}
    assert db.run(mutation, **arguments) == value
    assert [one["label"] for one in described(Circle | Square)["members"]] == ["Circle", "Square"]


@pytest.mark.parametrize(("member", "entered", "value"), [(0, "5", 5), (1, "5", "5")])
def test_a_union_of_other_types_is_chosen_too(db: rdb.Database, member: int, entered: str, value: Any) -> None:
    mutation = mutation_of(int | str)
    arguments, _ = arguments_in(fields_of(mutation), {"x": {"member": member, "value": entered}})
    assert db.run(mutation, **arguments) == value


def test_an_object_within_its_own_kind_goes_on_as_json(db: rdb.Database) -> None:
    mutation = mutation_of(Tree)
    entered = {"name": "a", "branches": ['{"name": "b", "branches": [{"name": "c"}]}']}
    arguments, faults = arguments_in(fields_of(mutation), {"x": entered})
    assert faults == {}
    assert db.run(mutation, **arguments) == Tree("a", [Tree("b", [Tree("c")])])


def test_an_id_is_typed_or_chosen(db: rdb.Database) -> None:
    mutation = mutation_of(list[rdb.Id[Person]])
    assert fields_of(mutation).fields[0].described()["item"] == {"kind": "id"}
    fields = fields_of(mutation, choices=["x"])
    assert fields.fields[0].described()["item"] == {"kind": "document", "choices": "x"}
    assert fields.fields[0].entry.words == "list of an id of 'field_people'"


def test_a_field_of_an_object_is_named_by_its_path() -> None:
    fields = fields_of(mutation_of(Address), multiline=["x.street"])
    assert fields.described()["fields"][0]["fields"][0]["kind"] == "lines"


# --- defaults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "default", "shown"),
    [
        (str, "", ""),
        (int, 5, "5"),
        (float, 1, "1.0"),
        (Decimal, Decimal("1.50"), "1.50"),
        (bool, True, True),
        (date, date(2026, 3, 1), "2026-03-01"),
        (datetime, WHEN, "2026-03-01T10:00:00+00:00"),
        (Colour, Colour.BLUE, 1),
        (Literal[1, True], True, 1),
        (int | None, 5, "5"),
        (list[int], [], []),
        (dict[str, int], {}, []),
        (Address, Address("Elm 1", tags=["a"]), {"street": "Elm 1", "code": None, "tags": ["a"]}),
        (Circle | Square, Square(3.0), {"member": 1, "value": {"side": "3.0"}}),
        (int | str, "5", {"member": 1, "value": "5"}),
        (Any, "a", '"a"'),
    ],
    ids=str,
)
def test_a_default_is_filled_in_and_comes_back(db: rdb.Database, annotation: Any, default: Any, shown: Any) -> None:
    mutation = mutation_of(annotation, default)
    fields = fields_of(mutation)
    assert fields.fields[0].described()["default"] == shown
    arguments, faults = arguments_in(fields, {"x": shown})
    assert faults == {}
    assert db.run(mutation, **arguments) == default


@pytest.mark.parametrize(
    ("annotation", "default"),
    [(int | None, None), (int, None), (bytes, b"x"), (float, float("inf")), (bool, None), (Address, None), (int, "x")],
    ids=str,
)
def test_a_default_that_a_page_cannot_show_holds_while_nothing_is_entered(annotation: Any, default: Any) -> None:
    fields = fields_of(mutation_of(annotation, default))
    assert fields.fields[0].described()["is_optional"] is True
    assert "default" not in fields.fields[0].described()
    assert arguments_in(fields, {"x": None}) == ({}, {})


def test_what_is_made_anew_each_time_is_left_out(db: rdb.Database) -> None:
    mutation = mutation_of(Moment)
    assert [(one["name"], one["label"]) for one in described(Moment)["fields"]] == [
        ("madeAt", "Made at"),
        ("kept", "Kept"),
    ]
    arguments, _ = arguments_in(fields_of(mutation), {"x": {"madeAt": "", "kept": ""}})
    assert arguments == {"x": {}}
    assert db.run(mutation, **arguments).kept is msgspec.UNSET


# --- what is said of them --------------------------------------------------------------------------------------------


@rdb.mutation
def add_task(ctx: rdb.MutationCtx, text: str, due_date: date, to: int = 1, by: int = 2, plain: int = 3) -> None:
    """Add a task.

    More about it.

    Args:
        text (str): what has to be done
        due_date: the last day
            on which it counts
        to, by: two numbers

    Returns:
        plain: nothing
    """


def test_words_come_from_the_names_and_the_docstring() -> None:
    fields = fields_of(add_task, fixed=["plain"])
    assert fields.label == "Add task"
    assert summary_of(add_task) == "Add a task."
    assert [(field.label, field.hint) for field in fields.fields] == [
        ("Text", "what has to be done"),
        ("Due date", "the last day on which it counts"),
        ("To", "two numbers"),
        ("By", "two numbers"),
    ]


def test_without_a_docstring_nothing_is_said() -> None:
    assert summary_of(mutation_of(int)) == ""
    assert fields_of(mutation_of(int)).fields[0].hint == ""


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (list[int], "list of a whole number"),
        (dict[str, float], "a number by text"),
        (Literal["S", "M", "L"], "S, M or L"),
        (date | None, "a date, or nothing"),
        (Circle | Square, "Circle: Radius or Square: Side"),
    ],
    ids=str,
)
def test_a_type_is_told_in_words(annotation: Any, words: str) -> None:
    assert fields_of(mutation_of(annotation)).fields[0].entry.words == words


def test_a_label_is_as_people_write() -> None:
    assert [label_of(name) for name in ("due_date", "x", "id_", "_")] == ["Due date", "X", "Id", ""]


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "entered", "expected"),
    [
        (int, "1.5", {(): "expected a whole number"}),
        (int, "", {(): "expected a whole number"}),
        (int, str(2**63), {(): "an int of 64 bits does not fit into int64; use a float or a string"}),
        (float, "nan", {(): "expected a number"}),
        (Decimal, "1e40", {(): "a Decimal has at most 29 digits before the point and 9 after it; round it"}),
        (date, "2026-02-30", {(): "expected a date"}),
        (datetime, "2026-03-01T10:00", {(): "expected a date and time"}),
        (str, "\ud800", {(): "the string has a lone surrogate U+D800 at 0; it must be valid Unicode"}),
        (rdb.Id[Person], " ", {(): "expected an id of 'field_people'"}),
        (Literal["S", "M"], 2, {(): "choose one"}),
        (Literal["S", "M"], -1, {(): "choose one"}),
        (Literal["S", "M"], True, {(): "choose one"}),
        (bytes, "é", {(): "expected a file"}),
        (list[int], ["1", "x", "y"], {(1,): "expected a whole number", (2,): "expected a whole number"}),
        (list[Address], [ADDRESS, ADDRESS | {"code": "x"}], {(1, "code"): "expected a whole number"}),
        (
            dict[str, int],
            [["a", "1"], ["a", "x"]],
            {
                (1, "key"): "this key is there already",
                (1, "value"): "expected a whole number",
            },
        ),
        (dict[str, int], [["", "1"]], {(0, "key"): "an empty key; keys of objects have at least one character"}),
        (Circle | Square, None, {(): "choose one"}),
        (Circle | Square, {"member": 0, "value": {"radius": ""}}, {("radius",): "expected a number"}),
        (Any, "{", {(): "expected JSON"}),
        (
            Any,
            '{"a": 18446744073709551616}',
            {(): "an int of 65 bits does not fit into int64; use a float or a string at `$.a`"},
        ),
    ],
    ids=str,
)
def test_what_does_not_fit_is_told_where_it_stands(annotation: Any, entered: Any, expected: Faults) -> None:
    assert faults(annotation, entered) == expected


def test_a_file_has_a_limit() -> None:
    assert faults(bytes, base64.b64encode(bytes(limits.FORM_FILE_BYTES_MAX)).decode()) == {}
    (text,) = faults(bytes, base64.b64encode(bytes(limits.FORM_FILE_BYTES_MAX + 1)).decode()).values()
    assert "1,048,577 bytes" in text
    assert "FORM_FILE_BYTES_MAX" in text


@pytest.mark.parametrize(
    ("annotation", "entered", "path", "place"),
    [
        (int, "1", "$.x", ("x",)),
        (list[Address], [ADDRESS, ADDRESS], "$.x[1].street", ("x", 1, "street")),
        (list[Address], [ADDRESS], "$.x[1].street", ("x",)),
        (Address | None, None, "$.x.street", ("x",)),
        (dict[str, int], [["a", "1"], ["b c", "2"]], '$.x["b c"]', ("x", 1, "value")),
        (dict[str, int], [["a", "1"]], "$.x[...]", ("x",)),
        (dict[str, list[int]], [["a", ["1", "2"]]], "$.x.a[1]", ("x", 0, "value", 1)),
        (Circle | Square, {"member": 0, "value": {"radius": "1"}}, "$.x.radius", ("x", "radius")),
        (Any, "{}", "$.x.y.z", ("x",)),
        (int, "1", "$.other", ()),
        (int, "1", "$", ()),
    ],
    ids=str,
)
def test_a_path_of_a_signature_is_found_on_the_page(annotation: Any, entered: Any, path: str, place: Any) -> None:
    assert place_of(fields_of(mutation_of(annotation)), {"x": entered}, path) == place


# --- wrong use -------------------------------------------------------------------------------------------------------


def test_names_that_the_function_does_not_have_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"has no parameter 'autor'\. It has text, due_date, to, by, plain"):
        fields_of(add_task, fixed=["autor"])
    with pytest.raises(ArgumentError, match=r"choices= names 'text', and .* takes no `Id` there"):
        fields_of(add_task, choices=["text"])
    with pytest.raises(ArgumentError, match=r"multiline= names 'to', and .* takes no `str` there"):
        fields_of(add_task, multiline=["to"])


def test_an_annotation_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(FunctionError, match="name 'Nowhere' is not defined"):
        fields_of(mutation_of("Nowhere"))


def test_there_are_not_too_many_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FORM_FIELDS_MAX", 3)
    assert fields_of(mutation_of(Circle | Square)).fields
    with pytest.raises(FunctionError, match=r"more than 3 fields \(FORM_FIELDS_MAX\)"):
        fields_of(mutation_of(Address))


# --- whatever a page sends -------------------------------------------------------------------------------------------


def everything(
    ctx: rdb.MutationCtx,
    a: str,
    b: int,
    c: float,
    d: Decimal,
    e: bool,
    f: date,
    g: datetime,
    h: bytes,
    i: Literal["S", "M"],
    j: Colour | None,
    k: list[int | None],
    m: dict[str, Address],
    n: Circle | Square | None,
    o: Any,
    p: int | str,
    q: Tree,
) -> None:
    """Every kind of field."""


EVERYTHING = fields_of(rdb.mutation(everything))

sent = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["1", "-0", "1e9999", "NaN", "2026-03-01", "2026-03-01T10:00:00Z", "AP8=", "[" * 5_000, "\ud800"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abmember"), inner, max_size=4),
    max_leaves=12,
)


def sent_for(entry: module.Entry) -> st.SearchStrategy[Any]:
    """What a page might send for an entry: often of the right form, sometimes anything."""
    match entry:
        case module.Optional(inner=inner):
            return st.none() | sent_for(inner)
        case module.Many(item=item):
            return st.lists(sent_for(item), max_size=2) | sent
        case module.Record(key=key, item=item):
            return st.lists(st.tuples(sent_for(key), sent_for(item)).map(list), max_size=2) | sent
        case Fields(fields=fields):
            return st.fixed_dictionaries({field.name: sent_for(field.entry) for field in fields}) | sent
        case module.OneKind(members=members):
            return (
                st.one_of(
                    [
                        st.fixed_dictionaries({"member": st.just(at), "value": sent_for(one)})
                        for at, one in enumerate(members)
                    ]
                )
                | sent
            )
    return sent


def check_answer(fields: Fields, entered: Any) -> None:
    """Either arguments, made of plain values only, or faults at places that the page has."""
    arguments, faults = arguments_in(fields, entered)
    if not faults:
        assert arguments.keys() <= {field.name for field in fields.fields}
        msgspec.to_builtins(arguments)
    assert all(isinstance(text, str) and text for text in faults.values())


@given(sent_for(EVERYTHING))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_page_sends_has_an_answer(entered: Any) -> None:
    check_answer(EVERYTHING, entered)


@given(sent_for(EVERYTHING), st.lists(st.sampled_from(["a", "m", "n", "q", "street", "branches"]) | st.integers(0, 3)))
def test_every_path_has_a_place(entered: Any, steps: list[str | int]) -> None:
    _, faults = arguments_in(EVERYTHING, entered)
    if not faults:
        path = "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
        place_of(EVERYTHING, entered, path)


def test_an_entry_that_trusts_the_page_is_found_out() -> None:
    trusting = module.Simple("integer", "a whole number", int, str)
    broken = Fields("F", (module.Field("x", "X", "", BrokenList(trusting)),))

    @given(sent_for(broken))
    @settings(database=None)
    def campaign(entered: Any) -> None:
        check_answer(broken, entered)

    with pytest.raises(TypeError):
        campaign()


class BrokenList(module.Many):
    """Takes it for granted that a page sends a list."""

    def value(self, entered: Any, at: module.Place, faults: Faults) -> Any:
        return [self.item.value(item, (*at, row), faults) for row, item in enumerate(entered)]
