"""Between Python objects and plain values: what becomes plain, what does not, and the path of every fault."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec
import numpy as np
import pandas as pd
import pytest

import reactive_db as rdb
from reactive_db.model.codec import Converter, Fault, decoder, encoder, exactly, fault_of, one_of, to_plain
from reactive_db.model.ids import RANDOM_BYTES, Id, new_id

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HERE = new_id(10_001, bytes(RANDOM_BYTES), 0.0)
THERE = new_id(10_002, bytes(RANDOM_BYTES), 0.0)


class Colour(enum.Enum):
    RED = "red"


class Point(rdb.Object):
    x: float
    y: float = 0.0


class Codec(rdb.Document, table="codec_here"):
    point: Point | None = None


CONVERTER = Converter({"codec_here": 10_001, "codec_there": 10_002}.get)


def fault(value: Any, type_: Any) -> tuple[str, str]:
    with pytest.raises(Fault) as caught:
        CONVERTER.convert(value, type_)
    return caught.value.what, caught.value.path


def plain_fault(value: Any) -> tuple[str, str]:
    with pytest.raises(Fault) as caught:
        to_plain(value)
    return caught.value.what, caught.value.path


# --- to plain values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (1.5, 1.5),
        ("é", "é"),
        (b"\0", b"\0"),
        (NOON, NOON),
        (date(2024, 5, 1), date(2024, 5, 1)),
        (Decimal("1.50"), Decimal("1.50")),
        (Colour.RED, "red"),
        (HERE, str(HERE)),
        (Point(1.0), {"x": 1.0, "y": 0.0}),
        ([Point(1.0), {"a": {1, 2}}], [{"x": 1.0, "y": 0.0}, {"a": [1, 2]}]),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float32(1.5), 1.5),
        (np.float64(1.5), 1.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([5]), [5]),
        (np.array([[1.5, 2.5]]), [[1.5, 2.5]]),
        (np.datetime64("2024-05-01T12:00:00.000000001", "ns"), datetime(2024, 5, 1, 12)),  # noqa: DTZ001  # it has none
        (pd.Timestamp("2024-05-01T12:00", tz="UTC"), NOON),
        (pd.Timestamp("2024-05-01T12:00:00.000000001", tz="UTC"), NOON),
    ],
)
def test_a_value_becomes_plain(value: Any, plain: Any) -> None:
    made = to_plain({"it": value})["it"]
    assert made == plain
    assert type(made) is type(plain)


def test_nothing_of_a_plain_value_is_shared() -> None:
    given = {"a": [1, {"b": [2]}]}
    made = to_plain(given)
    made["a"][1]["b"].append(3)
    assert given == {"a": [1, {"b": [2]}]}


@pytest.mark.parametrize(
    "value",
    [object(), lambda: None, iter([1]), range(3), 1j, ..., int, rdb.MISSING, pd.NA, memoryview(b"a").__class__],
)
def test_what_is_no_value_is_named_with_its_path(value: Any) -> None:
    what, path = plain_fault({"a": [0, {"b": value}]})
    assert path == "$.a[1].b"
    assert "is not a type of value; " in what


@pytest.mark.parametrize("value", [time(1), timedelta(1), bytearray(b"a"), UUID(int=0)])
def test_what_msgspec_would_turn_into_text_stays_what_it_is(value: Any) -> None:
    assert fault(to_plain(value), str)[0].startswith("expected `str`, got")


def test_not_a_time_is_no_value() -> None:
    assert plain_fault({"due": pd.NaT}) == ("`NaT` is no time; use None", "$.due")


def test_an_object_deep_inside_a_document_has_its_path() -> None:
    _, path = plain_fault(Codec(point=Point(object())))  # type: ignore[arg-type]
    assert path == "$.point.x"


def test_a_cyclic_value_is_refused() -> None:
    value: list[Any] = []
    value.append({"again": value})
    assert plain_fault({"a": 1, "b": value}) == (
        "it contains itself, or is nested deeper than any document may be",
        "$.b",
    )


# --- from plain values: strict, with the path at every depth --------------------------------------------------------


class Leaf(rdb.Object):
    count: int


class Deep(rdb.Object):
    leaves: list[Leaf]
    by_name: dict[str, list[dict[str, Leaf]]]
    colour: Colour = Colour.RED


GOOD: dict[str, Any] = {"leaves": [{"count": 1}], "by_name": {"a b": [{"c": {"count": 1}}]}, "colour": "red"}


def test_a_plain_value_becomes_typed() -> None:
    assert CONVERTER.convert(GOOD, Deep) == Deep([Leaf(1)], {"a b": [{"c": Leaf(1)}]}, Colour.RED)


@pytest.mark.parametrize(
    ("change", "what", "path"),
    [
        ({"leaves": 3}, "expected `array`, got `int`", "$.leaves"),
        ({"leaves": [3]}, "expected `object`, got `int`", "$.leaves[0]"),
        ({"leaves": [{"count": 1}, {"count": "1"}]}, "expected `int`, got `str`", "$.leaves[1].count"),
        ({"leaves": [{"count": True}]}, "expected `int`, got `bool`", "$.leaves[0].count"),
        ({"leaves": [{"count": 1.0}]}, "expected `int`, got `float`", "$.leaves[0].count"),
        ({"leaves": [{}]}, "object missing required field `count`", "$.leaves[0]"),
        ({"leaves": [{"count": 1, "cuont": 2}]}, "object contains unknown field `cuont`", "$.leaves[0]"),
        ({"by_name": {"x": [], "a b": 3}}, "expected `array`, got `int`", '$.by_name["a b"]'),
        ({"by_name": {"x": [{"y": {"count": "1"}}]}}, "expected `int`, got `str`", "$.by_name.x[0].y.count"),
        (
            {"by_name": {"x": [{"u": {"count": 1}}, {"v": {"count": 1}, "w": {"count": None}}]}},
            "expected `int`, got `null`",
            "$.by_name.x[1].w.count",
        ),
        ({"by_name": {3: []}}, "a key: expected `str`, got `int`", "$.by_name"),
        ({"colour": "blue"}, "invalid enum value 'blue'", "$.colour"),
        ({"colour": 3}, "expected `str`, got `int`", "$.colour"),
    ],
)
def test_a_fault_has_its_path_at_every_depth(change: dict[str, Any], what: str, path: str) -> None:
    assert fault(GOOD | change, Deep) == (what, path)


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ("1", int),
        ("1.5", float),
        ("true", bool),
        (1, bool),
        (0, str),
        ("YQ==", bytes),
        ("2024-05-01T12:00:00Z", datetime),
        (1_700_000_000, datetime),
        ("2024-05-01", date),
        (NOON, date),
        (date(2024, 5, 1), datetime),
        ("1.5", Decimal),
        (1.5, Decimal),
        (1, Decimal),
        (Decimal(1), int),
        ("a", Literal["b"]),
        (1, Literal["1"]),
        (True, Literal[1]),
    ],
)
def test_nothing_is_parsed_or_guessed(value: Any, type_: Any) -> None:
    assert fault([value], list[type_])[1] == "$[0]"  # type: ignore[valid-type]


def test_an_int_may_be_a_float() -> None:
    made = CONVERTER.convert(3, float)
    assert (made, type(made)) == (3.0, float)


# --- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "type_",
    [Id[Codec], Id["Codec"], Id["codec_here"], Id[Codec] | None, Id[object]],  # type: ignore[type-arg]
)
@pytest.mark.parametrize("value", [HERE, str(HERE)])
def test_an_id_of_the_table_fits(type_: Any, value: str) -> None:
    made = CONVERTER.convert(value, type_)
    assert (made, type(made)) == (HERE, Id)


class Holder(rdb.Object):
    """Fields are where msgspec takes generic annotations apart."""

    by_class: Id[Codec] | None = None
    by_name: Id["Codec"] | None = None  # noqa: UP037  # a name, not a forward reference
    by_table: Id["codec_here"] | None = None  # type: ignore[name-defined]  # noqa: F821, UP037
    many: list[Id[Codec]] = []
    any: Id[Any] | None = None


@pytest.mark.parametrize("value", [THERE, str(THERE)])
@pytest.mark.parametrize("field", ["by_class", "by_name", "by_table"])
def test_an_id_of_another_table_does_not_fit(field: str, value: str) -> None:
    what, path = fault({field: value}, Holder)
    assert what == f"{THERE!r} is no id of table 'codec_here': it belongs to another table or store"
    assert path == f"$.{field}"
    assert fault({"many": [HERE, value]}, Holder)[1] == "$.many[1]"


def test_an_id_of_any_table_fits_where_none_is_named() -> None:
    assert CONVERTER.convert({"any": THERE}, Holder).any == THERE


def test_a_damaged_id_does_not_fit() -> None:
    what, path = fault({"by_class": HERE[:-1] + "!"}, Holder)
    assert "is no id: it has characters that no id has" in what
    assert "docs/errors" not in what
    assert path == "$.by_class"
    assert fault({"by_class": 3}, Holder) == ("expected `Id`, got `int`", "$.by_class")


def test_ids_that_are_keys_are_checked_in_stored_bytes() -> None:
    """`convert` leaves keys that are strings alone, so a schema asks once more."""
    good, bad = ({id: 1} for id in (HERE, THERE))
    CONVERTER.check_stored(encoder.encode(good), dict[Id[Codec], int])
    with pytest.raises(Fault, match=r"a key: .* is no id of table"):
        CONVERTER.check_stored(encoder.encode(bad), dict[Id[Codec], int])


# --- unions and exact floats that msgspec has no word for -----------------------------------------------------------


def test_a_union_that_msgspec_knows_stays_one() -> None:
    assert one_of((int, str)) == int | str


@pytest.mark.parametrize(
    ("members", "value"),
    [
        ((list[int], list[str]), ["a"]),
        ((str, bytes), b"a"),
        ((str, datetime), NOON),
        ((Point, Leaf), {"count": 1}),
        ((Id[Codec], Id["codec_there"], int), THERE),  # type: ignore[type-arg]
        ((exactly(1.5), exactly(-0.0)), -0.0),
    ],
)
def test_a_union_takes_what_any_member_takes(members: tuple[Any, ...], value: Any) -> None:
    made = CONVERTER.convert([value], list[one_of(members)])  # type: ignore[misc]
    assert to_plain(made) == [value]


def test_a_union_says_what_each_member_misses() -> None:
    what, path = fault({"a": [3, "b"]}, dict[str, one_of((list[int], list[str]))])  # type: ignore[misc]
    assert (
        what == "no member of the union fits: expected `int`, got `str` at `$[1]`; expected `str`, got `int` at `$[0]`"
    )
    assert path == "$.a"


def test_a_stored_union_is_read_by_its_members() -> None:
    class Born(rdb.Object):
        on: date

    class Paid(rdb.Object):
        sum: Decimal

    type_ = list[one_of((Born, Paid, Id[Codec]))]  # type: ignore[misc]
    value = [Born(date(2024, 5, 1)), Paid(Decimal("1.50")), HERE]
    assert decoder(type_).decode(encoder.encode(value)) == value


@pytest.mark.parametrize("value", [1.5, float("nan"), -0.0, float("inf")])
def test_an_exact_float_is_that_float_and_no_other(value: float) -> None:
    assert str(CONVERTER.convert(value, exactly(value))) == str(value)
    assert fault(value, exactly(7.0))[0] == f"expected 7.0, got {value!r}"
    assert fault(0, exactly(0.0))[0] == "expected 0.0, got 0"


def test_zeros_are_told_apart() -> None:
    assert fault(0.0, exactly(-0.0))[0] == "expected -0.0, got 0.0"


# --- msgspec's words as ours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "what", "path"),
    [
        ("Expected `int`, got `str`", "expected `int`, got `str`", "$"),
        ("Expected `int`, got `str` - at `$.a[0]`", "expected `int`, got `str`", "$.a[0]"),
        ("Expected `int` - at `$.b` - at `$.a`", "expected `int`", "$.a.b"),
        ("Expected `str`, got `int` - at `key` in `$.a`", "a key: expected `str`, got `int`", "$.a"),
        ("It is no id. docs/errors/invalid-id.md - at `$.a`", "it is no id", "$.a"),
    ],
)
def test_a_fault_is_read_from_msgspec(text: str, what: str, path: str) -> None:
    found = fault_of(msgspec.ValidationError(text))
    assert (found.what, found.path) == (what, path)
