"""Classes made of definitions: they are to documents what the declared class is, and nothing comes of garbage."""

from __future__ import annotations

import enum
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, NewType, Optional, Self, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reactive_db as rdb
from reactive_db import limits, v
from reactive_db.errors import DocumentError, SchemaError
from reactive_db.model.codec import Converter, Fault, encoder, exactly, one_of
from reactive_db.model.defined import defined_document
from reactive_db.model.documents import DocumentMeta, declarations, declared_document, declared_documents, on_declared
from reactive_db.model.ids import RANDOM_BYTES, Id, new_id
from reactive_db.model.layout import ColumnType
from reactive_db.model.schema import TABLES_NUMBER, TableDefinition, TableSchema
from reactive_db.model.stored_types import patterns_in
from reactive_db.model.validators import Validator

ROOT = Path(__file__).parents[2]
NUMBERS = {"defined_trial": 10_001, "defined_users": 10_002}
CONVERTER = Converter(NUMBERS.get)
OWN, USER, ELSEWHERE = (new_id(number, bytes(RANDOM_BYTES), 0.0) for number in (10_001, 10_002, 10_003))
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
NAN, INF = float("nan"), float("inf")
T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    HIGH = 2
    LOW = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Bit(enum.IntFlag):
    ONE = 1


class User(rdb.Document, table="defined_users"):
    name: str


class Point(rdb.Object):
    x: float
    y: float = 0.0


class Circle(rdb.Object, tag="circle"):
    r: float
    centre: Point = Point(0.0)


class Square(rdb.Object, tag="square"):
    a: float


class One(rdb.Object, tag=1, tag_field="n"):
    a: int


class Two(rdb.Object, tag=2, tag_field="n"):
    a: str


class Row(rdb.Object, array_like=True):
    a: int
    b: str = "b"


class Terse(rdb.Object, omit_defaults=True):
    a: int = 1
    b: list[int] = []


class Loose(msgspec.Struct):
    """No object of ours: it lets unknown fields pass."""

    a: int


class Renamed(rdb.Object, rename="camel"):
    first_name: str
    age: int = 0


class Tree(rdb.Object):
    value: int = 0
    branches: list[Tree] = []


class Even(rdb.Object):
    odd: Odd | None = None


class Odd(rdb.Object):
    even: Even | None = None


class Box(rdb.Object, Generic[T]):
    it: T
    more: list[T] = []


class IntBox(Box[int]):
    pass


class Empty(rdb.Object):
    pass


Short = NewType("Short", Annotated[str, msgspec.Meta(max_length=3)])


def meta(type_: Any, **constraints: Any) -> Any:
    return Annotated[type_, msgspec.Meta(**constraints)]


ANNOTATIONS: dict[str, Any] = {
    **{type_.__name__: type_ for type_ in (str, int, float, bool, bytes, datetime, date, Decimal)},
    "any": Any,
    "none": None,
    "id by class": Id[User],
    "id by name of class": Id["User"],
    "id by table": Id["defined_users"],  # type: ignore[name-defined]
    "id of its own kind": Id[Self],  # type: ignore[misc]
    "id of a table nobody has": Id["nowhere"],  # type: ignore[name-defined]
    "id of any table": Id[Any],
    "bare id": Id,
    "ids as keys": dict[Id[User], int],
    "literal": Literal["red", 3, None, True],
    "literal of one": Literal["a"],
    "enum": Colour,
    "int enum": Level,
    "flags": Right,
    "int flags": Bit,
    "enum or nothing": Colour | None,
    "union": int | str | None,
    "older union": Optional[float],  # noqa: UP045
    "int or float": int | float,
    "date or int": date | int,
    "optional": int | msgspec.UnsetType,
    "list": list[int],
    "bare list": list,
    "sequence": Sequence[float],
    "lists of lists": list[list[str] | None],
    "record": dict[str, Decimal],
    "record of some": dict[Literal["a", "b"], int],
    "mapping": Mapping[str, Point],
    "object": Point,
    "objects": list[Point],
    "object or nothing": Point | None,
    "tagged": Circle | Square,
    "tagged by number": One | Two | None,
    "one tag": Circle,
    "array-like": Row,
    "without its defaults": Terse,
    "loose": Loose,
    "renamed": Renamed,
    "tree": Tree,
    "by turns": Even,
    "generic": Box[str],
    "bare generic": Box,
    "inherited generic": IntBox,
    "two of a generic": list[Box[int]] | Box[str],
    "empty object": Empty,
    "final": Final[int],
    "new type": Short,
    "at least": meta(int, ge=1, lt=7),
    "float in bounds": meta(float, gt=0, le=2.5),
    "multiple": meta(int, multiple_of=3),
    "short text": meta(str, min_length=1, max_length=3),
    "short bytes": meta(bytes, max_length=1, min_length=1),
    "short list": meta(list[meta(int, ge=0)], max_length=2),  # type: ignore[misc]
    "small record": meta(dict[str, int], min_length=1),
    "key of a length": dict[meta(str, max_length=1), int],  # type: ignore[misc]
    "aware": meta(datetime, tz=True),
    "constrained or nothing": meta(int, ge=2) | None,
    "one of": one_of((list[int], list[str])),
    "one of objects": one_of((Point, Empty, Tree)),
    "one of ids": one_of((Id[User], str)),
    "exactly": exactly(1.5),
    "exactly nothing": one_of((exactly(NAN), exactly(-0.0))),
    "list of any of": list[one_of((str, bytes, date))],  # type: ignore[misc]
}

PATTERN: Any = meta(str, pattern="^[a-z]{2,}$", max_length=3)

DEFAULTS: dict[str, tuple[Any, Any]] = {
    # name: annotation, default or a msgspec.field
    "text": (str, "é\0"),
    "number": (int, -(2**63)),
    "int for a float": (float, 0),
    "negative zero": (float, -0.0),
    "not a number": (float, NAN),
    "negative not a number": (float, -NAN),
    "infinity": (float, -INF),
    "nothing": (str | None, None),
    "missing": (int | msgspec.UnsetType, msgspec.UNSET),
    "missing, constrained": (meta(int, ge=3) | msgspec.UnsetType, msgspec.UNSET),
    "bytes": (bytes, b"\0\xff"),
    "datetime": (datetime, NOON),
    "datetime elsewhere": (datetime, NOON.astimezone(timezone(timedelta(hours=-3, minutes=-30)))),
    "microseconds": (datetime, NOON + timedelta(microseconds=1)),
    "date": (date, date(1, 1, 1)),
    "decimal": (Decimal, Decimal("-1.50")),
    "enum": (Colour, Colour.BLUE),
    "flags": (Right, Right.READ | Right.WRITE),
    "id": (Id[User], USER),
    "object": (Point, Point(1.0, NAN)),
    "object within": (Circle | Square, Circle(2.0, Point(1.0))),
    "any object": (Any, Point(1.0)),
    "tuple": (list[int], (1, 2)),
    "empty list": (list[int], []),
    "empty record": (dict[str, int], {}),
    "what does not fit": (int, "many"),
    "list": (list[float], msgspec.field(default_factory=lambda: [1, 2.5])),
    "list of objects": (list[Point], msgspec.field(default_factory=lambda: [Point(1.0), Point(2.0, 3.0)])),
    "record": (dict[str, Any], msgspec.field(default_factory=lambda: {"b": [NOON], "a": {"c": Decimal("1.0")}})),
    "factory of text": (str, msgspec.field(default_factory=str)),
    "factory of objects": (Tree, msgspec.field(default_factory=Tree)),
    "another name": (int, msgspec.field(name="elsewhere", default=3)),
}

VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, 3, 7, -1, 2**63 - 1, 2**63, 0.0, -0.0, 1.5, 2.5, NAN, INF),
    *("", "a", "ab", "abcd", "red", "blue", "A", "é", b"", b"a", b"ab"),
    *(NOON, NOON.replace(tzinfo=None), date(2024, 5, 1), Decimal("1.50"), Decimal("NaN"), object()),
    *(USER, ELSEWHERE, OWN, USER[:-1] + "!", str(USER)),
    *([], [1], [1, -1], [1, 2, 3], ["a"], ["a", 1], [None], [[]], [["a"], None], [1.5], [b"a", date(2024, 5, 1)]),
    *({}, {"a": 1}, {"b": 1}, {"c": 1}, {"a": "1"}, {"ab": 1}, {"a": Decimal(1)}, {1: 1}, {"$a": 1}, {USER: 1}),
    *({ELSEWHERE: 1}, {"a": 1, "b": [1]}, {"x": 1}, {"x": 1.0, "y": None}, {"x": 1.0, "z": 1}, {"a": {"x": "1"}}),
    *([{"x": 1.0}], [{"x": 1.0}, {"y": 1.0}], Point(1.0), Point("1"), Circle(1.0), Square(2.0)),  # type: ignore[arg-type]
    *({"type": "circle", "r": 1.0}, {"type": "square", "a": "2"}, {"type": "triangle"}, {"n": 1, "a": 1}),
    *({"n": 2, "a": 1}, {"n": 3}, [1, "c"], [1, 2], {"firstName": "a"}, {"first_name": "a"}, {"it": "a"}, {"it": 1}),
    *({"it": 1, "more": ["a"]}, {"branches": [{"value": 1}, {"branches": [{"value": "x"}]}]}),
    *({"odd": {"even": {"odd": {"even": 3}}}}, {"odd": {"even": {}}}, Colour.RED, Level.LOW, Right.READ | Right.WRITE),
]


# --- a class and its double ------------------------------------------------------------------------------------------


def declare(annotation: Any, *default: Any, indexes: Any = None) -> type[rdb.Document]:
    namespace: dict[str, Any] = {"__annotations__": {"it": annotation}, "__module__": __name__}
    if default:
        (namespace["it"],) = default
    made: Any = DocumentMeta(
        "Trial", (rdb.Document,), namespace, table="defined_trial", indexes=indexes or {"by_it": ["it"]}
    )
    return made  # type: ignore[no-any-return]


def definition_of(document: type[rdb.Document]) -> TableDefinition:
    schema = TableSchema(document, 10_001, CONVERTER)
    made, _ = TableSchema(TableDefinition, TABLES_NUMBER, CONVERTER).build(OWN, 5.0, schema.definition_fields)
    assert isinstance(made, TableDefinition)
    return made


def both(document: type[rdb.Document]) -> tuple[TableSchema, TableSchema]:
    """The schema of a declared class, and that of the class made of its definition."""
    definition = definition_of(document)
    double = TableSchema(defined_document(definition), 10_001, CONVERTER)
    assert double.is_defined_by(definition)
    return TableSchema(document, 10_001, CONVERTER), double


def outcome(schema: TableSchema, fields: Any) -> Any:
    """What becomes of a document: its fields, its bytes and its keys, or what is wrong with it and where."""
    try:
        document, data = schema.build(OWN, 5.0, fields)
    except DocumentError as error:
        return error.message, error.path
    keys = [index.key(document) for index in schema.indexes.values()]
    return plain(msgspec.msgpack.decode(data)), len(data), keys, read_again(schema, data)


def read_again(schema: TableSchema, data: bytes) -> Any:
    try:
        return plain(msgspec.msgpack.decode(schema.encode(schema.decode(data))))
    except msgspec.ValidationError as error:  # of a default that does not fit its own field
        return str(error)


def plain(document: Any) -> list[Any]:
    values = msgspec.to_builtins(document, builtin_types=(bytes, datetime, date, Decimal), enc_hook=str)
    return sorted((name, repr(value)) for name, value in values.items())


def stored_outcome(schema: TableSchema, fields: Any) -> Any:
    """What becomes of a document that is stored, perhaps by another schema."""
    try:
        data = encoder.encode({**fields, "_id": OWN, "_creationTime": 5.0})
    except (TypeError, ValueError, OverflowError):
        return None
    try:
        schema.check_stored(data)
    except Fault as fault:
        return fault.what, fault.path
    return read_again(schema, data)


def assert_alike(document: type[rdb.Document], values: Sequence[Any] = VALUES) -> None:
    one, double = both(document)
    assert double.layout == one.layout
    assert double.is_shareable == one.is_shareable
    encoded = dict(zip(document.__struct_fields__, document.__struct_encode_fields__, strict=True))
    for fields in [{}, {"unknown": 1}, *({encoded["it"]: value} for value in values)]:
        assert outcome(double, fields) == outcome(one, fields), fields
        assert stored_outcome(double, fields) == stored_outcome(one, fields), fields


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_a_double_accepts_and_refuses_the_same(name: str) -> None:
    assert_alike(declare(ANNOTATIONS[name]))


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_double_fills_in_the_same(name: str) -> None:
    annotation, default = DEFAULTS[name]
    document = declare(annotation, default)
    assert_alike(document, VALUES[::7])
    one, double = both(document)
    assert double.build(OWN, 5.0, {})[1] == one.build(OWN, 5.0, {})[1]


VALIDATORS: dict[str, Validator] = {
    "literal": v.literal(-0.0),
    "id": v.id("defined_users"),
    "optional": v.optional(v.nullable(v.date())),
    "union": v.union(v.object({"a": v.int64()}), v.object({"b": v.array(v.int64())}), v.literal(1.5), v.null()),
    "nested unions": v.array(v.union(v.array(v.int64()), v.array(v.union(v.string(), v.bytes())))),
    "record": v.record(v.id("defined_users"), v.union(v.id("defined_users"), v.string())),
    "object": v.object({"class": v.optional(v.int64()), "x": v.number(), "mro": v.any(), "self": v.any()}),
}


@pytest.mark.parametrize("name", VALIDATORS)
def test_a_double_of_a_table_of_validators(name: str) -> None:
    assert_alike(rdb.table("defined_trial", {"by_it": ["it"]}, it=VALIDATORS[name]))


scalars = st.sampled_from([str, int, float, bool, bytes, datetime, date, Decimal, Any, Colour, Id[User], Id[Any], Tree])
named = st.sampled_from(["a", "b", "x", "value", "it"])
optional = st.booleans()


def _object(fields: dict[str, tuple[Validator, bool]]) -> Validator:
    return v.object({name: v.optional(of) if is_optional else of for name, (of, is_optional) in fields.items()})


validators = st.recursive(
    scalars.map(Validator)
    | st.sampled_from([v.literal(value) for value in (1, True, "a", 1.5, NAN)])
    | st.integers(0, 3).map(lambda least: Validator(meta(int, ge=least))),
    lambda inner: st.one_of(
        inner.map(v.array),
        inner.map(v.nullable),
        inner.map(lambda of: v.record(v.string(), of)),
        st.lists(inner, min_size=1, max_size=3).map(lambda members: v.union(*members)),
        st.dictionaries(named, st.tuples(inner, optional), max_size=3).map(_object),
    ),
    max_leaves=8,
)


@given(validators, st.lists(st.sampled_from(VALUES), max_size=8))
@settings(deadline=None)
def test_a_double_of_whatever_can_be_declared(validator: Any, values: list[Any]) -> None:
    try:
        made = declare(validator.annotation)
        TableSchema(made, 10_001, CONVERTER)
    except SchemaError:
        return
    assert_alike(made, [*values, *([value] for value in values), {"a": values}])


def test_a_double_of_a_class_of_many_fields() -> None:
    class Mixed(rdb.Document, table="defined_trial", indexes={"by_place": ["at.x", "it"], "by_notes": ["notes.a"]}):
        it: str
        at: Point
        notes: dict[str, Any] = {}
        since: datetime = NOON

    assert_alike(Mixed)
    one, double = both(Mixed)
    assert double.document.__struct_fields__ == Mixed.__struct_fields__
    assert list(double.indexes) == list(one.indexes)
    for fields in [{"it": "a", "at": {"x": 1}}, {"it": "a", "at": {"x": NAN}, "notes": {"a": [1], "b": 2}}]:
        assert outcome(double, fields) == outcome(one, fields)
        for name in one.indexes:
            assert double.index(name).fields == one.index(name).fields
    for value in (1, NAN, "a", None):
        for path in ("at.x", "it", "notes.a", "since"):
            assert bound(double, path, value) == bound(one, path, value)


def bound(schema: TableSchema, path: str, value: Any) -> Any:
    try:
        return schema.bound(path, value)
    except Exception as error:
        return str(error)


def test_fields_may_come_in_an_order_that_only_keywords_allow() -> None:
    document = rdb.table("defined_trial", a=v.optional(v.int64()), it=v.string())
    one, double = both(document)
    assert double.build(OWN, 5.0, {"it": "x"}) == (double.decode(data := one.build(OWN, 5.0, {"it": "x"})[1]), data)


def test_a_double_is_not_declared() -> None:
    definition = definition_of(declare(int))
    told: list[Any] = []
    on_declared.append(told.append)
    try:
        before = (declarations(), declared_documents(), declared_document("defined_trial"))
        made = defined_document(definition)
        assert (declarations(), declared_documents(), declared_document("defined_trial")) == before
    finally:
        on_declared.remove(told.append)
    assert told == []
    assert (made.__name__, made.__table__, made.__indexes__) == ("defined_trial", "defined_trial", {"by_it": ("it",)})
    assert made not in declared_documents()


def test_a_double_looks_at_no_declared_class_to_know_a_table() -> None:
    """A class may have the name of another class's table."""
    made = defined_document(definition_of(declare(Id["nowhere"])))  # type: ignore[name-defined]
    rdb.table("nowhere_at_all", a=v.int64()).__name__ = "nowhere"
    schema = TableSchema(made, 10_001, Converter({"nowhere": 10_002}.get))
    assert schema.build(OWN, 5.0, {"it": USER})[0].it == USER  # type: ignore[attr-defined]


def test_what_is_said_of_a_double_is_the_same_in_the_next_process_and_under_other_names() -> None:
    class Trial(rdb.Document, table="defined_trial"):
        """Prose."""

        it: Annotated[dict[str, Zebra | Apple], "more prose"]
        also: dict[Id[User], list[Apple]] | None = None

    class Zebra(rdb.Object, tag="a"):
        """Prose."""

        n: int = 1

    class Apple(rdb.Object, tag="b"):
        z: Zebra | None = None

    globals().update(Zebra=Zebra, Apple=Apple)
    try:
        before = definition_of(Trial).schema
    finally:
        del globals()["Zebra"], globals()["Apple"]
    code = f"""
import typing
from reactive_db.model.codec import Converter
from reactive_db.model.schema import TableSchema
import reactive_db as rdb
class Customer(rdb.Document, table="defined_users"):
    name: str
class A(rdb.Object, tag="a"):
    n: int = 1
class Z(rdb.Object, tag="b"):
    z: typing.Optional[A] = None
first = typing.Dict[str, typing.Union[Z, A]]
class Other(rdb.Document, table="defined_trial"):
    it: typing.Dict[str, typing.Union[A, Z]]
    also: typing.Union[None, typing.Dict[rdb.Id[Customer], typing.List[Z]]] = None
assert TableSchema(Other, 1, Converter({{}}.get)).definition_fields["schema"] == {before!r}
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# --- what is code does not come along --------------------------------------------------------------------------------

_next = count()


@pytest.mark.parametrize("factory", [lambda: next(_next), lambda: NOON, lambda: [next(_next)], lambda: 1 / 0])
def test_a_default_that_is_computed_has_to_be_given_to_a_double(factory: Callable[[], Any]) -> None:
    definition = definition_of(declare(Any, msgspec.field(default_factory=factory)))
    double = TableSchema(defined_document(definition), 10_001, CONVERTER)
    assert outcome(double, {"it": 3})[0] == outcome(both(declare(Any))[0], {"it": 3})[0]
    with pytest.raises(DocumentError, match="missing field `it`, whose default only the program knows that declares"):
        double.build(OWN, 5.0, {})


@pytest.mark.parametrize("annotation", [PATTERN, PATTERN | None, list[PATTERN], dict[PATTERN, int]])  # type: ignore[misc]
def test_a_double_knows_patterns_and_does_not_try_them(annotation: Any) -> None:
    _, double = both(declare(annotation))
    for value in (["A"], {"A": 1}, "A"):
        refusal = outcome(double, {"it": value})[0]
        assert "pattern" not in refusal
    endless = declare(meta(str, pattern="^(a+)+$"))
    _, double = both(endless)
    double.build(OWN, 5.0, {"it": "a" * 64 + "!"})  # would take centuries


def test_the_patterns_of_a_definition_can_be_told() -> None:
    # Not a list beside a string with a pattern: msgspec 0.22 frees what is not its own with such a union.
    inner = declare(dict[meta(str, pattern="b"), meta(str, pattern="a") | None])  # type: ignore[misc]
    assert patterns_in(definition_of(inner).schema) == {"a", "b"}


@pytest.mark.parametrize("default", [2**63, NOON.replace(tzinfo=None), object(), "\ud800", Decimal("NaN")])
def test_a_default_that_is_no_value_is_refused_where_the_class_is(default: Any) -> None:
    with pytest.raises(SchemaError, match=r"the default of Trial\.it is no value: "):
        definition_of(declare(Any, default))


def test_a_class_that_no_double_can_be_made_of_is_refused_where_it_is() -> None:
    with pytest.raises(SchemaError, match=r"its patterns have 5,000 bytes"):
        definition_of(declare(meta(str, pattern="a" * 5_000)))
    wide = v.object({f"f{at}": v.int64() for at in range(1_025)})
    with pytest.raises(SchemaError, match="an object type has 1,025 fields; at most 1,024"):
        definition_of(declare(list[v.nullable(v.union(wide, v.object({}))).annotation]))  # type: ignore[misc]


# --- garbage ---------------------------------------------------------------------------------------------------------


def changed(definition: TableDefinition, **fields: Any) -> TableDefinition:
    kept = {name: getattr(definition, name) for name in ("number", "name", "columns", "indexes", "schema")}
    return TableDefinition(**(kept | fields))


SOUND = definition_of(declare(dict[str, list[Tree | None]], msgspec.field(default_factory=lambda: {"a": [Tree()]})))


def refused(definition: TableDefinition) -> str:
    with pytest.raises(SchemaError) as caught:
        defined_document(definition)
    assert len(caught.value.message) < 1_000
    return caught.value.message


def text(*object_types: dict[str, Any]) -> str:
    return json.dumps(object_types, separators=(",", ":"), ensure_ascii=False)


def of_type(type_: Any, *others: dict[str, Any], **field: Any) -> str:
    return text({"fields": [{"name": "it", "type": type_, **field}]}, *others)


def nested(depth: int) -> Any:
    type_: Any = "string"
    for _ in range(depth):
        type_ = {"is": "array", "of": type_}
    return type_


def part(at: int) -> dict[str, Any]:
    return {"is": "part", "at": at}


CLIQUE = [{"fields": [{"name": f"f{to}", "type": part(to)} for to in range(1, 40)]} for _ in range(39)]
LADDER = [{"fields": [{"name": name, "type": part(at + 1)} for name in ("a", "b")]} for at in range(1, 60)]
DEFAULT_LADDER = [
    {
        "fields": [
            {"name": name, "type": part(at + 1), "default": {"is": "part", "at": at + 1, "of": {}}}
            for name in ("a", "b")
        ]
    }
    for at in range(1, 60)
] + [{"fields": []}]
OLDER = (
    '[{"$ref":0},{"additionalProperties":false,"properties":{"it":{"type":"integer"}},"required":["it"],'
    '"type":"object"},[]]'
)

BAD_TEXTS: dict[str, str] = {
    "nothing": "",
    "no JSON": "{",
    "an earlier version's": OLDER,
    "no object": "[]",
    "an unknown type": of_type("complex"),
    "an unknown kind": of_type({"is": "set", "of": "string"}),
    "more than a kind has": of_type({"is": "array", "of": "string", "more": 1}),
    "no such part": of_type(part(1)),
    "a part below": of_type(part(-1)),
    "a part that nobody refers to": of_type("int64", {"fields": []}),
    "parts in another order": of_type({"is": "array", "of": part(2)}, {"fields": []}, {"fields": []}),
    "a default of no such part": of_type("any", default={"is": "part", "at": 9, "of": {}}),
    "a default that its part cannot be": of_type("any", default={"is": "part", "at": 0, "of": {"more": 1}}),
    "defaults of defaults": of_type(part(1), *DEFAULT_LADDER, default={"is": "part", "at": 1, "of": {}}),
    "a default of itself": of_type(part(0), default={"is": "part", "at": 0, "of": {}}),
    "a default that cannot be read": of_type("float64", default={"is": "float", "bits": "no"}),
    "a default that is no value": of_type("datetime", default={"is": "datetime", "of": "2024-05-01T12:00:00"}),
    "a huge default": of_type("decimal", default={"is": "decimal", "of": "1E+999999"}),
    "a default that is longer than need be": of_type("float64", default={"is": "float", "bits": "3ff0000000000000"}),
    "an empty union": of_type({"is": "union", "of": []}),
    "a union of one": of_type({"is": "union", "of": ["int64"]}),
    "a union in another order": of_type({"is": "union", "of": ["null", "int64"]}),
    "a union that cannot be": of_type({"is": "union", "of": ["bytes", "string"]}),
    "an empty choice": of_type({"is": "choice", "of": []}),
    "a choice of a float": of_type({"is": "choice", "of": [1.5]}),
    "a record of numbers": of_type({"is": "record", "keys": "int64", "values": "any"}),
    "a constraint that does not exist": of_type({"is": "constrained", "of": "int64", "by": {"is": 3}}),
    "a constraint that does not fit": of_type({"is": "constrained", "of": "int64", "by": {"pattern": "a"}}),
    "a constraint that is none": of_type({"is": "constrained", "of": "int64", "by": {"ge": "a"}}),
    "a pattern that is none": of_type({"is": "constrained", "of": "string", "by": {"pattern": "("}}),
    "a pattern without end": of_type({"is": "constrained", "of": "string", "by": {"pattern": "(" * 4_000}}),
    "a pattern too long": of_type({"is": "constrained", "of": "string", "by": {"pattern": "a" * 5_000}}),
    "a pattern too slow": of_type(
        {"is": "constrained", "of": "string", "by": {"pattern": "(?i)" + "[\1-\uffff]" * 800}}
    ),
    "too many values": of_type({"is": "choice", "of": list(range(30_000))}),
    "too many defaults": of_type("any", default={"is": "array", "of": [1] * 30_000}),
    "flags of no bits": of_type({"is": "flags", "of": [-1, 0], "boundary": "strict"}),
    "types far too deep": of_type("deep").replace('"deep"', '{"is":"array","of":' * 20_000 + '"string"' + "}" * 20_000),
    "types too deep": of_type(nested(100)),
    "a default too deep": text({"fields": [{"name": "it", "type": "any", "default": nested(400)}]}),
    "parts that hold each other": text(CLIQUE[0], *CLIQUE),
    "parts that double": text({"fields": [{"name": "it", "type": part(1)}]}, *LADDER, {"fields": []}),
    "parts in a row": text(*({"fields": [{"name": "it", "type": part(at + 1)}]} for at in range(500)), {"fields": []}),
    "parts without number": text(*[{"fields": []}] * 5_000),
    "too many fields": text({"fields": [{"name": f"f{at}", "type": "any"} for at in range(2_000)]}),
    "the same field twice": text({"fields": [{"name": "it", "type": "any"}] * 2}),
    "the same name in documents": text(
        {"fields": [{"name": "it", "type": "any"}, {"name": "also", "type": "any", "encoded": "it"}]}
    ),
    "a system field": text({"fields": [{"name": "id", "type": "any"}]}),
    "the name of a system field": of_type("any", encoded="_id"),
    "a tag that is no tag": text({"fields": [], "tag": 2**70}),
    "a tag in a field's place": text({"fields": [{"name": "it", "type": "any"}], "tag": "a", "tag_field": "it"}),
    "text that is too long": text({"fields": [], "tag": "a" * 2**20}),
    "ids of too many tables": text(
        *(
            {"fields": [{"name": f"f{at}", "type": {"is": "id", "table": f"t{of}_{at}"}} for at in range(500)]}
            for of in range(3)
        )
    ),
    **{
        f"a field called {name!r}": of_type(part(1), {"fields": [{"name": name, "type": "any"}]})
        for name in ("", "a b", "1", "__class__", "__post_init__", "__slots__", "__annotations__", "a.b", "x\0")
    },
    **{
        f"a document's field called {name!r}": text({"fields": [{"name": name, "type": "any"}]})
        for name in ("_it", "é", "a" * 65, "__table__", "__indexes__", "creation_time")
    },
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_a_text_that_nobody_wrote_is_refused(name: str) -> None:
    message = refused(changed(SOUND, schema=BAD_TEXTS[name]))
    assert "the definition of table 'defined_trial' cannot be read: " in message
    assert "written by another version of reactive_db, or is damaged" in message


JSON_COLUMN = {"it": ColumnType("json")}


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "_tables"},
        {"name": "a\0"},
        {"name": "x" * 2**20},
        {"columns": {}},
        {"columns": JSON_COLUMN},
        {"columns": {**SOUND.columns, "more": ColumnType("string")}},
        {"indexes": {"by_nothing": ["nothing"]}},
        {"indexes": {"by_it": ["it", "it"]}},
        {"indexes": {"by_it": []}},
        {"indexes": {"by_id": ["it"]}},
        {"indexes": {"by_path": ["it.a.b.c"]}},
        {"indexes": {"by_path": ["."]}},
        {"indexes": {f"by_{at}": ["it"] for at in range(40)}},
        {"indexes": {"by_it": ["it." + "a." * 100_000]}},
        {"schema": of_type("any"), "columns": SOUND.columns},
    ],
    ids=str,
)
def test_a_definition_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    refused(changed(SOUND, **fields))


def test_garbage_leaves_nothing_behind() -> None:
    before = (declarations(), declared_documents())
    for schema in BAD_TEXTS.values():
        refused(changed(SOUND, schema=schema))
    assert (declarations(), declared_documents()) == before


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["any", "id", "it"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["is", "of", "at", "fields", "name", "type", "default", "by"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


def answered(definition: TableDefinition) -> None:
    """Whatever it is, it is a class that has this definition, or refused."""
    try:
        made = defined_document(definition)
    except SchemaError:
        return
    assert TableSchema(made, definition.number, CONVERTER).is_defined_by(definition)


@given(junk)
@settings(deadline=None)
def test_random_json_is_refused(value: Any) -> None:
    answered(changed(SOUND, schema=json.dumps(value)))


@given(st.text())
@settings(deadline=None)
def test_random_text_is_refused(value: str) -> None:
    answered(changed(SOUND, schema=value))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


WHOLE = [definition_of(declare(ANNOTATIONS[name])) for name in ANNOTATIONS] + [
    definition_of(declare(annotation, default)) for annotation, default in DEFAULTS.values()
]


@given(st.sampled_from(WHOLE), st.data(), junk)
@settings(deadline=None, max_examples=300)
def test_a_text_that_was_changed_somewhere_is_refused_or_right(
    definition: TableDefinition, data: st.DataObject, new: Any
) -> None:
    whole = json.loads(definition.schema)
    place = data.draw(st.sampled_from(list(places(whole))))
    answered(changed(definition, schema=json.dumps(put(whole, place, new), separators=(",", ":"), ensure_ascii=False)))


def test_a_definition_may_be_as_large_as_documents_are() -> None:
    fields: Any = {f"f{at}": v.optional(v.string()) for at in range(limits.OBJECT_FIELDS_MAX)}
    made = defined_document(definition_of(rdb.table("defined_trial", **fields)))
    assert len(made.__struct_fields__) == limits.OBJECT_FIELDS_MAX + 2
