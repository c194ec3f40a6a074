"""`find_fault` against a table of faults, and against what keys can encode."""

from __future__ import annotations

import enum
import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactive_db import limits
from reactive_db.model.ids import Id
from reactive_db.model.keys import encode_value
from reactive_db.model.values import MISSING, decimal_units, find_fault


class Color(enum.Enum):
    RED = "red"
    WRONG = 2**70


class Level(enum.IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


class Nowhere(tzinfo):
    """A time zone that does not know its offset: a datetime in it is naive."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        return None


class Person(msgspec.Struct):
    name: str


def nested(levels: int) -> Any:
    """Lists and dicts in turn, `levels` deep, around a string."""
    value: Any = "core"
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def cyclic_list() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


def cyclic_dict() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["me"] = [value]
    return value


FINE = [
    None,
    True,
    0,
    2**63 - 1,
    -(2**63),
    float("nan"),
    -0.0,
    float("-inf"),
    "",
    "naïve \0 \U0001f600",
    b"\xff\0",
    date.min,
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    Decimal("99999999999999999999999999999.999999999"),
    Decimal("-1E+28"),
    Decimal("1.0000000000000000"),
    Decimal("0E+500"),
    Color.RED,
    Level.LOW,
    Text("ö"),
    Id("0" * 32),
    [],
    {},
    (1, ["a", {"b": None}]),
    {"with spaces": 1, "1": 2, "~": 3, "a$_": 4, "k" * limits.RECORD_KEY_LENGTH_MAX: 5},
    list(range(limits.ARRAY_LENGTH_MAX)),
    {f"f{n}": n for n in range(limits.OBJECT_FIELDS_MAX)},
    nested(limits.NESTING_MAX),
]

FAULTY = [
    (2**63, "$", "64 bits"),
    (-(2**63) - 1, "$", "does not fit into int64"),
    (10**5000, "$", "16610 bits"),
    (Color.WRONG, "$", "71 bits"),
    ("ab\ud800", "$", r"U\+D800 at 2"),
    (Text("\udfff"), "$", r"U\+DFFF at 0"),
    (datetime(2024, 1, 1), "$", r"naive; add a time zone, e\.g\. `datetime\.now\(timezone\.utc\)`"),  # noqa: DTZ001
    (datetime(2024, 1, 1, tzinfo=Nowhere()), "$", "naive"),
    (Decimal("NaN"), "$", "`NaN` is not a finite"),
    (Decimal("sNaN"), "$", "not a finite"),
    (Decimal("-Infinity"), "$", "`-Infinity` is not a finite"),
    (Decimal("1E+29"), "$", "29 digits before the point"),
    (Decimal("1E+999999"), "$", "29 digits before the point"),
    (Decimal("1E-999999"), "$", "9 after it"),
    (Decimal("0.0000000001"), "$", "9 after it"),
    ([0] * (limits.ARRAY_LENGTH_MAX + 1), "$", "8193 elements"),
    ({f"f{n}": n for n in range(limits.OBJECT_FIELDS_MAX + 1)}, "$", "1025 fields"),
    ({1: 2}, "$", "of type `int`"),
    ({"a": {"": 1}}, "$.a", "empty key"),
    ({"é": 1}, "$", r"'\\xe9'"),
    ({"a\n": 1}, "$", "printable ASCII"),
    ({"a\x7f": 1}, "$", "printable ASCII"),
    ({"\ud800": 1}, "$", "printable ASCII"),
    ({"$set": 1}, "$", r"begins with `\$`"),
    ([{"_id": 1}], "$[0]", "begins with `_`"),
    ({"k" * (limits.RECORD_KEY_LENGTH_MAX + 1): 1}, "$", "1025 characters"),
    ({"a": [1, 2, {"b": 2**64}]}, "$.a[2].b", "65 bits"),
    ({"a b": (1, MISSING)}, '$["a b"][1]', "leave the field out"),
    ({"a": {1, 2}}, "$.a", "use a list"),
    (bytearray(b"x"), "$", "use bytes"),
    (3j, "$", "`complex` is not a type of value"),
    (Person("ann"), "$", r"test_values\.Person` is not a type"),
    (object, "$", "`type`"),
    (cyclic_list(), "$" + "[1]" * limits.NESTING_MAX, "no cycles"),
    (cyclic_dict(), "$" + ".me[0]" * (limits.NESTING_MAX // 2), "no cycles"),
    (nested(limits.NESTING_MAX + 1), "$" + ".a[0]" * (limits.NESTING_MAX // 2), "nested too deep"),
]


@pytest.mark.parametrize("value", FINE, ids=lambda value: repr(value)[:40])
def test_a_value_has_no_fault(value: Any) -> None:
    assert find_fault(value) is None


@pytest.mark.parametrize(
    ("value", "path", "message"), FAULTY, ids=[f"{number}-{message}" for number, (_, _, message) in enumerate(FAULTY)]
)
def test_a_fault_is_found_at_its_path(value: Any, path: str, message: str) -> None:
    fault = find_fault(value)
    assert fault is not None
    assert fault[0] == path
    assert re.search(message, fault[1])


def test_numpy_numbers_are_values_only_where_they_are_python_ones() -> None:
    numpy = pytest.importorskip("numpy")
    assert find_fault(numpy.float64(1.5)) is None
    fault = find_fault([numpy.int64(1)])
    assert fault is not None
    assert fault[0] == "$[0]"
    assert "tolist" in fault[1]


def test_depth_counts_the_levels_of_lists_and_dicts() -> None:
    assert find_fault(nested(3), depth=3) is None
    assert find_fault(nested(4), depth=3) is not None
    assert find_fault("no level", depth=0) is None
    assert find_fault([], depth=0) is not None


def test_missing_is_false_and_left_out_of_documents() -> None:
    class Note(msgspec.Struct):
        text: str | msgspec.UnsetType = msgspec.UNSET

    assert not MISSING
    assert msgspec.to_builtins(Note(MISSING)) == {}


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.decimals(-(10**29), 10**29, places=9))
def test_a_decimal_fits_if_its_units_are_a_whole_number_of_38_digits(value: Decimal) -> None:
    units = Fraction(value) * 10**9
    fits = units.denominator == 1 and abs(units) < 10**38
    assert (find_fault(value) is None) == fits
    if fits:
        assert decimal_units(value) == units


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.binary(max_size=5)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.decimals()
    | st.sampled_from([MISSING, Color.RED, Level.LOW, 1j, object()]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(ANYTHING)
def test_what_has_no_fault_has_a_place_in_the_order(value: Any) -> None:
    if find_fault(value) is None:
        assert encode_value(value)


def scalars(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [scalar for item in value for scalar in scalars(item)]
    if isinstance(value, dict):
        return [scalar for item in value.values() for scalar in scalars(item)]
    return [value]


@given(ANYTHING)
def test_the_order_refuses_values_with_value_error_and_for_a_reason(value: Any) -> None:
    try:
        encode_value(value)
    except ValueError:
        assert find_fault(value) is not None
    else:
        assert all(scalar is MISSING or find_fault(scalar) is None for scalar in scalars(value))
