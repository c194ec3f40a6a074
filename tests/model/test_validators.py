"""Every validator of Convex and its twin in a class: they accept the same, refuse the same, and store the same."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec
import pytest

import reactive_db as rdb
from reactive_db import v
from reactive_db.errors import DocumentError, SchemaError
from reactive_db.model.codec import Converter
from reactive_db.model.ids import RANDOM_BYTES, Id, new_id
from reactive_db.model.schema import TableSchema
from reactive_db.model.validators import Validator

NUMBERS = {"validators_trial": 10_001, "validators_users": 10_002, "validators_teams": 10_003}
OWN, USER, TEAM = (new_id(number, bytes(RANDOM_BYTES), 0.0) for number in NUMBERS.values())
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
INF, NAN = float("inf"), float("nan")


class Point(rdb.Object):
    x: float
    y: float = 0.0


class Circle(rdb.Object, tag="circle"):
    r: float


class Square(rdb.Object, tag="square"):
    a: float


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


def schema_of(document: type[rdb.Document]) -> TableSchema:
    return TableSchema(document, NUMBERS["validators_trial"], Converter(NUMBERS.get))


def by_class(annotation: Any, **default: Any) -> TableSchema:
    namespace = {"__annotations__": {"it": annotation}, "__module__": __name__, **default}
    made: Any = type(rdb.Document)("Trial", (rdb.Document,), namespace, table="validators_trial")
    return schema_of(made)


def by_validator(validator: Validator) -> TableSchema:
    return schema_of(rdb.table("validators_trial", it=validator))


def stored(schema: TableSchema, **fields: Any) -> Any:
    """What a field is after a document has been validated, stored and read again."""
    document, data = schema.build(OWN, 1.0, fields)
    read: Any = schema.decode(data)
    assert repr(read) == repr(document), "everybody reads what the writer saw"
    return read.it


def refusal(schema: TableSchema, **fields: Any) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        schema.build(OWN, 1.0, fields)
    assert caught.value.table == "validators_trial"
    assert f"at `{caught.value.path}` (table 'validators_trial')" in str(caught.value)
    return caught.value


# --- the twins -------------------------------------------------------------------------------------------------------

TWINS: dict[str, tuple[Validator, Any, list[Any], list[Any]]] = {
    # name: validator, annotation, values that fit, values that do not
    "string": (v.string(), str, ["", "a", "é", "\0", "🦀"], [None, 1, b"a", ["a"], "\ud800", Colour]),
    "number": (v.number(), float, [0.0, -0.0, 1.5, INF, -INF, NAN, 1e308], [None, "1", True, b"1"]),
    "float64": (v.float64(), float, [1.5], ["1"]),
    "int64": (v.int64(), int, [0, -1, 2**63 - 1, -(2**63)], [None, 1.0, True, "1", 2**63, -(2**63) - 1, 10**400]),
    "bigint": (v.bigint(), int, [1], [1.0]),
    "boolean": (v.boolean(), bool, [True, False], [None, 0, 1, "true"]),
    "bytes": (v.bytes(), bytes, [b"", b"\0\xff"], [None, "a", [0]]),
    "null": (v.null(), None, [None], [False, 0, ""]),
    "any": (
        v.any(),
        Any,
        [None, True, 2**63 - 1, NAN, "é", b"\0", NOON, [1, [2]], {"a": {"b": [None]}}],
        [2**63, object(), {1: 2}, {"$a": 1}, {"_a": 1}, {"é": 1}, {"": 1}, "\ud800", {1, 2}.__iter__(), 1j],
    ),
    "datetime": (
        v.datetime(),
        datetime,
        [NOON],
        [None, datetime(2024, 5, 1), date(2024, 5, 1), "2024-05-01T12:00Z", 0],  # noqa: DTZ001  # one is naive
    ),
    "date": (v.date(), date, [date(2024, 5, 1)], [None, NOON, "2024-05-01", 0]),
    "decimal": (
        v.decimal(),
        Decimal,
        [Decimal("1.50"), Decimal("-0"), Decimal("9" * 29 + ".123456789")],
        [None, 1, 1.5, "1.5", Decimal("NaN"), Decimal("Infinity"), Decimal("1e29"), Decimal("1e-10")],
    ),
    "id": (
        v.id("validators_users"),
        Id["validators_users"],
        [USER],
        [None, TEAM, "abc", 3, USER[:-1] + "!", USER + "0"],
    ),
    "literal string": (v.literal("a"), Literal["a"], ["a"], ["b", None, 1]),
    "literal int": (v.literal(1), Literal[1], [1], [2, True, 1.0, "1"]),
    "literal boolean": (v.literal(True), Literal[True], [True], [False, 1, "true"]),
    "union": (v.union(v.string(), v.int64(), v.null()), str | int | None, ["a", 1, None], [1.5, True, b"a", []]),
    "union of literals": (v.union(v.literal("a"), v.literal("b")), Literal["a", "b"], ["a", "b"], ["c", None, 1]),
    "int or float": (v.union(v.int64(), v.number()), int | float, [1, 1.0, NAN], [True, "1", 2**63]),
    "nullable": (v.nullable(v.date()), date | None, [None, date(2024, 5, 1)], ["2024-05-01", NOON]),
    "array": (v.array(v.int64()), list[int], [[], [1, 2]], [None, [1.5], ["1"], [None], 3, {"a": 1}, [2**63]]),
    "nested arrays": (v.array(v.array(v.string())), list[list[str]], [[[], ["a"]]], [["a"], [[1]], [[["a"]]]]),
    "record": (
        v.record(v.string(), v.number()),
        dict[str, float],
        [{}, {"a": 1.0, "b c": NAN, "~": -0.0}],
        [
            None,
            [],
            {"a": "1"},
            {1: 1.0},
            {"": 1.0},
            {"$a": 1.0},
            {"_a": 1.0},
            {"é": 1.0},
            {"a\n": 1.0},
            {"a" * 1025: 1.0},
        ],
    ),
    "record by id": (
        v.record(v.id("validators_users"), v.int64()),
        dict[Id["validators_users"], int],  # type: ignore[type-arg,name-defined]  # noqa: F821
        [{}, {USER: 1}],
        [{TEAM: 1}, {"abc": 1}, {USER: "1"}],
    ),
    "object": (
        v.object({"x": v.number(), "y": v.number()}),
        Point,
        [{"x": 1.0, "y": -0.0}],
        [None, {}, {"x": "1", "y": 0.0}, {"x": 1.0, "y": 0.0, "z": 0.0}, [1.0, 2.0], Circle(1.0)],
    ),
    "array of objects": (
        v.array(v.object({"x": v.number(), "y": v.number()})),
        list[Point],
        [[{"x": 1.0, "y": 2.0}]],
        [[{"x": 1.0, "y": "2"}], [3], {"x": 1.0}],
    ),
}


def plain(value: Any) -> Any:
    return msgspec.to_builtins(value, builtin_types=(bytes, datetime, date, Decimal), enc_hook=str)


@pytest.mark.parametrize("name", TWINS)
def test_a_validator_and_its_twin_accept_the_same(name: str) -> None:
    validator, annotation, good, _ = TWINS[name]
    for schema in (by_validator(validator), by_class(annotation)):
        for value in good:
            assert repr(plain(stored(schema, it=value))) == repr(plain(value))


@pytest.mark.parametrize("name", TWINS)
def test_a_validator_and_its_twin_refuse_the_same(name: str) -> None:
    validator, annotation, _, bad = TWINS[name]
    for schema in (by_validator(validator), by_class(annotation)):
        for value in bad:
            assert refusal(schema, it=value).path.startswith("$.it")


@pytest.mark.parametrize("name", TWINS)
def test_a_field_that_is_not_optional_must_be_there(name: str) -> None:
    validator, annotation, _, _ = TWINS[name]
    for schema in (by_validator(validator), by_class(annotation)):
        assert "missing required field `it`" in str(refusal(schema))


# --- what only one of the two has ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [3, Decimal(3)])
def test_an_int_or_a_decimal_is_a_number_to_a_float_field(value: Any) -> None:
    """Python's own habit, and the one place where we are kinder than Convex, which tells 1n from 1."""
    for schema in (by_validator(v.number()), by_class(float)):
        made = stored(schema, it=value)
        assert (made, type(made)) == (3.0, float)


@pytest.mark.parametrize("value", [1.5, -0.0, NAN])
def test_a_literal_may_be_a_float(value: float) -> None:
    schema = by_validator(v.literal(value))
    assert repr(stored(schema, it=value)) == repr(value)
    for other in (7.0, 1, "1.5", None):
        assert refusal(schema, it=other).path == "$.it"


def test_defaults_are_filled_in() -> None:
    schema = by_class(int, it=7)
    assert stored(schema) == 7
    assert stored(schema, it=8) == 8
    assert refusal(schema, it=None).path == "$.it"


def test_an_enum_member_is_stored_as_its_value_and_read_as_itself() -> None:
    schema = by_class(Colour)
    for value in (Colour.RED, "red"):
        assert stored(schema, it=value) is Colour.RED
    assert stored(by_class(Level), it=1) is Level.LOW
    for value in ("green", 1, Level.LOW, None):
        assert refusal(schema, it=value).path == "$.it"


def test_a_nested_object_may_be_given_as_an_object_or_as_a_dict() -> None:
    schema = by_class(Point)
    for value in (Point(1.0), {"x": 1.0}, {"x": 1, "y": 0}):
        assert stored(schema, it=value) == Point(1.0, 0.0)
    error = refusal(schema, it={"x": 1.0, "z": 0.0})
    assert "object contains unknown field `z`" in error.message
    assert error.path == "$.it"


def test_a_tagged_union_tells_objects_apart() -> None:
    schema = by_class(Circle | Square)
    assert stored(schema, it=Circle(1.0)) == Circle(1.0)
    assert stored(schema, it={"type": "square", "a": 2.0}) == Square(2.0)
    assert refusal(schema, it={"type": "triangle"}).path == "$.it.type"
    assert refusal(schema, it={"a": 2.0}).path == "$.it"
    assert refusal(schema, it={"type": "square", "a": "2"}).path == "$.it.a"
    assert refusal(schema, it=Point(1.0)).path == "$.it"


def test_an_optional_field_may_be_absent_and_absent_is_not_null() -> None:
    for schema in (by_validator(v.optional(v.int64())), by_class(int | msgspec.UnsetType, it=rdb.MISSING)):
        assert stored(schema) is rdb.MISSING
        assert stored(schema, it=1) == 1
        assert refusal(schema, it=None).path == "$.it"
    both = by_validator(v.optional(v.nullable(v.int64())))
    assert stored(both) is rdb.MISSING
    assert stored(both, it=None) is None


@pytest.mark.parametrize(
    ("validator", "good", "bad"),
    [
        (v.union(v.id("validators_users"), v.id("validators_teams")), [USER, TEAM], [OWN, "abc", None]),
        (v.union(v.string(), v.id("validators_users")), ["abc", USER], [1]),
        (v.union(v.array(v.string()), v.array(v.int64())), [[], ["a"], [1]], [["a", 1], [1.5], "a"]),
        (
            v.union(v.object({"a": v.string()}), v.object({"b": v.int64()})),
            [{"a": "x"}, {"b": 1}],
            [{"a": 1}, {"c": 1}, {}],
        ),
        (v.union(v.string(), v.bytes()), ["a", b"a"], [1]),
        (v.union(v.string(), v.datetime()), ["a", NOON], [1, date(2024, 5, 1)]),
        (v.union(v.literal(1.5), v.literal(2.5), v.null()), [1.5, 2.5, None], [1, 3.5]),
        (
            v.union(v.object({"on": v.date()}), v.object({"by": v.id("validators_users")})),
            [{"on": date(2024, 5, 1)}],
            [{}],
        ),
        (v.record(v.string(), v.union(v.string(), v.bytes())), [{"a": "x", "b": b"x"}], [{"a": 1}]),
        (v.array(v.union(v.array(v.int64()), v.array(v.null()))), [[[1], [None]]], [[[1, None]]]),
    ],
)
def test_a_union_tries_its_members_in_order(validator: Validator, good: list[Any], bad: list[Any]) -> None:
    schema = by_validator(validator)
    for value in good:
        assert plain(stored(schema, it=value)) == plain(value)
    for value in bad:
        assert refusal(schema, it=value).path.startswith("$.it")


def test_a_union_says_what_each_member_misses() -> None:
    error = refusal(by_validator(v.union(v.array(v.string()), v.array(v.int64()))), it=["a", 1])
    assert "no member of the union fits: expected `str`, got `int` at `$[1]`; " in error.message
    assert "expected `int`, got `str` at `$[0]`" in error.message


def test_a_union_of_one_is_that_one() -> None:
    assert "expected `int`, got `str` at `$.it`" in refusal(by_validator(v.union(v.int64())), it="a").message


@pytest.mark.parametrize("validator", [v.any(), v.union(v.string(), v.date(), v.decimal()), v.array(v.any())])
@pytest.mark.parametrize("value", [date(2024, 5, 1), Decimal("1.5")])
def test_a_date_or_decimal_does_not_silently_turn_into_text(validator: Validator, value: Any) -> None:
    """Both are stored as text, so where no type is declared they would come back as that."""
    given = [value] if validator == v.array(v.any()) else value
    error = refusal(by_validator(validator), it=given)
    assert f"a `{type(value).__name__}` would come back as text here; declare the field" in error.message
    assert error.path == ("$.it[0]" if given is not value else "$.it")


def test_where_it_is_declared_a_date_in_a_union_stays_a_date() -> None:
    for schema in (by_validator(v.union(v.int64(), v.date())), by_class(int | date)):
        assert stored(schema, it=date(2024, 5, 1)) == date(2024, 5, 1)


# --- tables without a class ------------------------------------------------------------------------------------------


def test_a_table_of_validators_is_a_document_class() -> None:
    Task = rdb.table("validators_tasks", {"by_done": ["done"]}, text=v.string(), done=v.optional(v.boolean()))
    assert (Task.__name__, Task.__table__, Task.__indexes__) == (
        "ValidatorsTasks",
        "validators_tasks",
        {"by_done": ("done",)},
    )
    task = Task(text="write", done=True)
    assert (task.text, task.done, task.id) == ("write", True, None)
    with pytest.raises(TypeError, match=r"keyword|positional"):
        Task("write")


def test_the_order_of_optional_and_required_fields_does_not_matter() -> None:
    made = rdb.table("validators_order", a=v.optional(v.int64()), b=v.string())
    assert made(b="x").a is rdb.MISSING


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: v.union(), "at least one member"),
        (lambda: v.union(v.optional(v.string())), "cannot stand in a union"),
        (lambda: v.array(v.optional(v.string())), "cannot stand in an array"),
        (lambda: v.record(v.string(), v.optional(v.string())), "cannot stand in a record"),
        (lambda: v.record(v.literal("a"), v.string()), "keys of a record are"),
        (lambda: v.record(v.int64(), v.string()), "keys of a record are"),
        (lambda: v.literal(None), "takes a string, a number or a boolean, got None"),  # type: ignore[arg-type]
        (lambda: v.literal(b"a"), "takes a string, a number or a boolean"),  # type: ignore[arg-type]
        (lambda: v.literal([1]), "takes a string, a number or a boolean"),  # type: ignore[arg-type]
        (lambda: v.id(""), "takes the name of a table"),
        (lambda: v.id(3), "takes the name of a table, got 3"),  # type: ignore[arg-type]
        (lambda: v.array(str), "expected a validator such as v.string"),  # type: ignore[arg-type]
        (lambda: v.optional(str), "expected a validator such as v.string"),  # type: ignore[arg-type]
        (lambda: v.nullable("a"), "expected a validator such as v.string"),  # type: ignore[arg-type]
        (lambda: v.object({"a": str}), "field 'a': expected a validator"),  # type: ignore[dict-item]
        (lambda: v.object([v.string()]), "takes a dict from names to validators"),  # type: ignore[arg-type]
        (lambda: v.object({"a b": v.string()}), "field name 'a b'.*Use v.record"),
        (lambda: v.object({"_a": v.string()}), "field name '_a'"),
        (lambda: v.object({"é": v.string()}), "field name 'é'"),
        (lambda: v.object({3: v.string()}), "field name 3"),  # type: ignore[dict-item]
        (lambda: rdb.table("validators_bad", a=str), "field 'a': expected a validator"),  # type: ignore[arg-type]
        (lambda: rdb.table("validators_bad", id=v.string()), "declares 'id', which every document has"),
        (lambda: rdb.table("1bad", a=v.string()), "names begin with a letter"),
        (lambda: rdb.table("validators_bad", {"by_b": ["b"]}, a=v.string()), "names 'b', which is no field"),
    ],
)
def test_a_validator_that_cannot_be_is_refused(make: Any, says: str) -> None:
    with pytest.raises(SchemaError, match=says):
        make()


def test_every_name_of_convex_is_there() -> None:
    names = "string number float64 int64 bigint boolean bytes null any id literal union optional nullable array record"
    assert [name for name in [*names.split(), "object"] if not callable(getattr(v, name, None))] == []
