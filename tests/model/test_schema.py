"""Table schemas: validation on the way in, bytes on the way out, keys of indexes, and when two are the same."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reactive_db as rdb
from reactive_db import limits, v
from reactive_db.errors import DocumentError, QueryError, SchemaError
from reactive_db.model.codec import Converter
from reactive_db.model.ids import RANDOM_BYTES, Id, new_id, new_ids
from reactive_db.model.keys import encode_value, key_id
from reactive_db.model.schema import TableDefinition, TableSchema, decode_fault

NUMBER = 10_001
OWN = new_id(NUMBER, bytes(RANDOM_BYTES), 0.0)
OTHER = new_id(10_002, bytes(RANDOM_BYTES), 0.0)
NAN, INF = float("nan"), float("inf")


class Point(rdb.Object):
    x: float
    y: float = 0.0


class Thing(rdb.Document, table="schema_things", indexes={"by_rank": ["rank"], "by_place": ["at.x", "name"]}):
    name: str = ""
    rank: float = 0.0
    count: int = 0
    at: Point | None = None
    points: list[Point] = []
    notes: dict[str, Any] = {}
    due: datetime | None = None
    ref: Id[Thing] | None = None


CONVERTER = Converter({"schema_things": NUMBER}.get)
THINGS = TableSchema(Thing, NUMBER, CONVERTER)


def build(**fields: Any) -> Any:
    return THINGS.build(OWN, 5.0, fields)[0]


def refusal(schema: TableSchema = THINGS, **fields: Any) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        schema.build(OWN, 5.0, fields)
    return caught.value


# --- in and out ------------------------------------------------------------------------------------------------------


def test_a_document_gets_its_system_fields() -> None:
    document, data = THINGS.build(OWN, 5.0, {"name": "a"})
    assert (document.id, document.creation_time) == (OWN, 5.0)
    assert type(document.id) is Id
    assert THINGS.decode(data) == document
    assert THINGS.encode(document) == data


@pytest.mark.parametrize("name", ["_id", "_creationTime"])
def test_system_fields_cannot_be_given(name: str) -> None:
    error = refusal(**{name: "x"})
    assert error.path == f"$.{name}"
    assert "given by the store" in error.message


@pytest.mark.parametrize("name", ["id", "creation_time", "nmae"])
def test_an_unknown_field_is_refused(name: str) -> None:
    error = refusal(name="a", **{name: "x"})
    assert f"object contains unknown field `{name}`" in error.message
    assert error.path == "$"


NESTED: dict[str, Any] = {"leaf": 1}
for _ in range(limits.NESTING_MAX - 3):
    NESTED = {"in": NESTED}
CYCLIC: list[Any] = []
CYCLIC.append({"again": CYCLIC})


@pytest.mark.parametrize(
    ("fields", "says", "path"),
    [
        ({"name": 3}, "expected `str`, got `int`", "$.name"),
        ({"name": "a\ud800"}, "lone surrogate U+D800 at 1", "$.name"),
        ({"count": 2**63}, "an int of 64 bits does not fit into int64", "$.count"),
        ({"count": -(2**63) - 1}, "does not fit into int64", "$.count"),
        ({"count": 10**5000}, "does not fit into int64", "$.count"),
        ({"rank": "1"}, "expected `float`, got `str`", "$.rank"),
        ({"at": {"x": "1"}}, "expected `float`, got `str`", "$.at.x"),
        ({"at": {"x": 1.0, "z": 0}}, "unknown field `z`", "$.at"),
        ({"points": [{"x": 1.0}, {"y": 1.0}]}, "missing required field `x`", "$.points[1]"),
        ({"points": [Point("1")]}, "expected `float`, got `str`", "$.points[0].x"),  # type: ignore[arg-type]
        ({"points": [Point(1.0)] * 8_193}, "an array of 8193 elements; at most 8192", "$.points"),
        ({"notes": {"a": {"b": [1, 2**70]}}}, "does not fit into int64", "$.notes.a.b[1]"),
        ({"notes": {"a": "\ud800"}}, "lone surrogate", "$.notes.a"),
        ({"notes": {str(at): at for at in range(1_025)}}, "an object of 1025 fields; at most 1024", "$.notes"),
        ({"notes": {"a": {"in": NESTED}}}, "nested too deep; at most 16 levels", "$.notes.a" + ".in" * 14),
        ({"notes": {"a": CYCLIC}}, "it contains itself, or is nested deeper", "$.notes"),
        ({"notes": {"a": datetime(2024, 5, 1)}}, "the datetime is naive; add a time zone", "$.notes.a"),  # noqa: DTZ001
        ({"notes": {"a b": object()}}, "`object` is not a type of value", '$.notes["a b"]'),
        ({"due": datetime(2024, 5, 1)}, "the datetime is naive; add a time zone", "$.due"),  # noqa: DTZ001
        ({"ref": OTHER}, "is no id of table 'schema_things'", "$.ref"),
        ({"ref": "abc"}, "'abc' is no id", "$.ref"),
    ],
)
def test_a_fault_is_named_with_its_path(fields: dict[str, Any], says: str, path: str) -> None:
    error = refusal(**fields)
    assert says in error.message
    assert (error.path, error.table, error.code) == (path, "schema_things", "invalid-document")
    assert error.message.endswith(f"at `{path}` (table 'schema_things').")


def test_what_is_just_within_the_limits_fits() -> None:
    notes = {str(at): NESTED if at == 0 else at for at in range(1_024)}
    points = [Point(1.0)] * 8_192
    made = build(name="é" * 100, count=2**63 - 1, notes=notes, points=points)
    assert (made.count, made.notes, made.points) == (2**63 - 1, notes, points)


def test_a_document_takes_at_most_one_mebibyte() -> None:
    _, data = THINGS.build(OWN, 5.0, {"name": "a" * 2**19})
    room = limits.DOCUMENT_BYTES_MAX - len(data) + 2**19
    assert len(THINGS.build(OWN, 5.0, {"name": "a" * room})[1]) == limits.DOCUMENT_BYTES_MAX
    error = refusal(name="a" * (room + 1))
    assert "the document takes 1,048,577 bytes; at most 1,048,576. Split it" in error.message
    assert error.path == "$"


def test_everybody_reads_what_the_writer_saw() -> None:
    """A time comes back in UTC and a tuple as a list, also to the mutation that wrote them."""
    oslo = timezone(timedelta(hours=2))
    made = build(due=datetime(2024, 5, 1, 12, tzinfo=oslo), notes={"a": (1, (2,))})
    assert (made.due.hour, made.due.tzinfo) == (10, UTC)
    assert made.notes == {"a": [1, [2]]}


def test_nothing_of_a_document_is_shared_with_what_it_was_made_of() -> None:
    notes = {"a": [1]}
    made = build(notes=notes)
    notes["a"].append(2)
    assert made.notes == {"a": [1]}


def test_the_plain_fields_of_a_document_are_without_the_system_fields() -> None:
    made = THINGS.plain(build(name="a", at=Point(1.0)))
    assert (made["name"], made["at"], made["ref"]) == ("a", {"x": 1.0, "y": 0.0}, None)
    assert set(made) == {"name", "rank", "count", "at", "points", "notes", "due", "ref"}


# --- many at once ----------------------------------------------------------------------------------------------------


def build_many(rows: list[Any], first_row: int = 0, safe: frozenset[str] = frozenset()) -> list[Any]:
    ids = new_ids(NUMBER, len(rows), bytes(RANDOM_BYTES * len(rows)), 0.0)
    return [document for document, _ in THINGS.build_many(ids, 5.0, rows, first_row, safe)]


def test_many_documents_are_what_one_by_one_gives() -> None:
    rows = [{"name": "a", "due": datetime(2024, 5, 1, tzinfo=UTC)}, Thing("b"), {"notes": {"a": (1,)}, "rank": 2}]
    made = build_many(rows)
    again = [build(**(row if isinstance(row, dict) else {"name": "b"})) for row in rows]
    assert [THINGS.plain(one) for one in made] == [THINGS.plain(one) for one in again]
    assert [one.creation_time for one in made] == sorted({one.creation_time for one in made})


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"name": 3}, "$[12].name"),
        ({"points": [{"x": 1.0}, {"x": None}]}, "$[12].points[1].x"),
        ({"notes": {"a": 2**70}}, "$[12].notes.a"),
        ({"nmae": "a"}, "$[12]"),
        ({"_id": OTHER}, "$[12]._id"),
        (3, "$[12]"),
        (None, "$[12]"),
        (["name"], "$[12]"),
        (Point(1.0), "$[12]"),
    ],
)
@pytest.mark.parametrize("others", [{"name": "a"}, Thing("a")])
def test_a_row_at_fault_is_named_by_its_number(row: Any, path: str, others: Any) -> None:
    with pytest.raises(DocumentError) as caught:
        build_many([others, others, row, others], first_row=10)
    assert caught.value.path == path
    assert f"at `{path}`" in caught.value.message


# --- keys of indexes -------------------------------------------------------------------------------------------------


def test_an_index_key_is_the_fields_then_the_creation_time_then_the_id() -> None:
    document = build(rank=2.0)
    key = THINGS.index("by_rank").key(document)
    assert key.startswith(encode_value(2.0) + encode_value(5.0))
    assert key_id(key) == OWN


def test_a_path_that_leads_nowhere_is_less_than_everything() -> None:
    index = THINGS.index("by_place")
    absent, present = (index.key(build(at=at)) for at in (None, Point(-INF)))
    assert absent.startswith(encode_value(rdb.MISSING))
    assert absent < present


ORDERED = [-NAN, -INF, -1e308, -1.0, -5e-324, -0.0, 0.0, 5e-324, 1.0, 1e308, INF, NAN]


def test_floats_are_ordered_as_ieee_says_nan_and_negative_zero_included() -> None:
    index = THINGS.index("by_rank")
    negative_nan = math.copysign(NAN, -1.0)
    ranks = [negative_nan, *ORDERED[1:]]
    keys = [index.key(build(rank=rank)) for rank in ranks]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


@given(st.floats(), st.floats())
def test_a_bound_is_where_its_value_lies(one: float, other: float) -> None:
    keys = {value: THINGS.index("by_rank").key(build(rank=value)) for value in (one, other)}
    assert keys[one].startswith(THINGS.bound("rank", one))


def test_an_int_bound_of_a_float_field_is_a_float() -> None:
    assert THINGS.bound("rank", 3) == encode_value(3.0)
    assert THINGS.bound("at.x", 3) == encode_value(3.0)
    assert THINGS.bound("count", 3) == encode_value(3)
    assert THINGS.bound("count", rdb.MISSING) == encode_value(rdb.MISSING)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("name", 3, "expected `str`, got `int`"),
        ("name", None, "expected `str`, got `null`"),
        ("name", "\ud800", "lone surrogate"),
        ("count", 1.5, "expected `int`, got `float`"),
        ("count", True, "expected `int`, got `bool`"),
        ("count", 2**63, "does not fit into int64"),
        ("rank", "1", "expected `float`, got `str`"),
        ("at.x", "1", "expected `float`, got `str`"),
        ("due", datetime(2024, 5, 1), "the datetime is naive"),  # noqa: DTZ001
        ("due", date(2024, 5, 1), "expected `datetime | null`, got `date`"),
        ("ref", OTHER, "is no id of table"),
        ("notes", {"a": 2**70}, "does not fit into int64"),
        ("notes", object(), "is not a type of value"),
    ],
)
def test_a_bound_that_the_field_can_never_have_is_refused(field: str, value: Any, says: str) -> None:
    with pytest.raises(QueryError, match=rf"index range on schema_things\.{field}: .*{says}"):
        THINGS.bound(field, value)


@pytest.mark.parametrize(
    ("name", "says"),
    [("by_nothing", "It has: by_creation_time, by_rank, by_place"), ("by_id", r"Use `ctx\.db\.get\(id\)`")],
)
def test_an_unknown_index_is_refused(name: str, says: str) -> None:
    with pytest.raises(QueryError, match=f"table 'schema_things' has no index '{name}'.*{says}"):
        THINGS.index(name)


@pytest.mark.parametrize("path", ["count.x", "name.a.b", "at.z", "points.x"])
def test_an_index_on_a_path_that_cannot_be_is_refused(path: str) -> None:
    namespace = {"__annotations__": dict(Thing.__annotations__), "__module__": __name__}
    made: Any = type(rdb.Document)("Trial", (rdb.Document,), namespace, table="schema_trial", indexes={"by_it": [path]})
    with pytest.raises(
        SchemaError, match=f"index 'by_it' of table 'schema_trial' names '{path}', but there is no field"
    ):
        TableSchema(made, NUMBER, CONVERTER)


# --- definitions -----------------------------------------------------------------------------------------------------


def defined(document: type[rdb.Document]) -> tuple[TableSchema, TableDefinition]:
    schema = TableSchema(document, NUMBER, CONVERTER)
    made, _ = TableSchema(TableDefinition, 128, CONVERTER).build(OWN, 5.0, schema.definition_fields)
    assert isinstance(made, TableDefinition)
    return schema, made


def table(indexes: Any = None, **fields: Any) -> Any:
    return rdb.table("schema_same", indexes, **fields)


def test_a_schema_is_defined_by_its_own_definition() -> None:
    schema, definition = defined(Thing)
    assert schema.is_defined_by(definition)
    assert definition.indexes == {"by_rank": ["rank"], "by_place": ["at.x", "name"]}
    assert {name: column.kind for name, column in definition.columns.items()} == {
        "name": "string", "rank": "float64", "count": "int64", "at": "object", "points": "array", "notes": "record",
        "due": "datetime", "ref": "id",
    }  # fmt: skip


def test_a_docstring_and_a_class_name_say_nothing_about_the_schema() -> None:
    class One(rdb.Document, table="schema_same"):
        """Before."""

        a: int

    class Two(rdb.Document, table="schema_same"):
        """After."""

        a: int

    assert defined(Two)[0].is_defined_by(defined(One)[1])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": v.int64()}, {"a": v.number()}),
        ({"a": v.int64()}, {"a": v.optional(v.int64())}),
        ({"a": v.int64()}, {"a": v.int64(), "b": v.optional(v.int64())}),
        ({"a": v.literal("x")}, {"a": v.literal("y")}),
        ({"a": v.literal(1.5)}, {"a": v.literal(2.5)}),
        ({"a": v.array(v.int64())}, {"a": v.array(v.string())}),
        ({"a": v.object({"x": v.int64()})}, {"a": v.object({"x": v.string()})}),
        ({"a": v.id("schema_same")}, {"a": v.id("schema_things")}),
        ({"a": v.record(v.string(), v.int64())}, {"a": v.record(v.id("schema_same"), v.int64())}),
        (
            {"a": v.union(v.array(v.string()), v.array(v.int64()))},
            {"a": v.union(v.array(v.string()), v.array(v.null()))},
        ),
    ],
)
def test_what_accepts_other_documents_is_another_schema(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert defined(table(**before))[0].is_defined_by(defined(table(**before))[1])
    assert not defined(table(**after))[0].is_defined_by(defined(table(**before))[1])


def test_another_index_is_another_schema() -> None:
    before, after = table(a=v.int64()), table({"by_a": ["a"]}, a=v.int64())
    assert not defined(after)[0].is_defined_by(defined(before)[1])


def test_bytes_that_do_not_fit_say_why() -> None:
    before, after = table(a=v.int64(), b=v.string()), table(a=v.string())
    data = defined(before)[0].build(OWN, 5.0, {"a": 1, "b": "x"})[1]
    assert decode_fault(defined(before)[0], data) is None
    assert decode_fault(defined(after)[0], data) in (
        "expected `str`, got `int` - at `$.a`",
        "object contains unknown field `b`",
    )


def test_a_decimal_keeps_every_digit() -> None:
    schema = TableSchema(table(a=v.decimal()), NUMBER, CONVERTER)
    for text in ("1.50", "-0", "12345678901234567890123456789.123456789"):
        document, data = schema.build(OWN, 5.0, {"a": Decimal(text)})
        assert str(schema.decode(data).a) == text == str(document.a)  # type: ignore[attr-defined]
