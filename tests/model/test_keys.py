"""Keys sort like the values they encode, and ranges of keys behave like sets of keys.

`reference` says what the total order is, in Python's own comparisons and without a look at the encoding. `BROKEN`
keeps encodings that are wrong in ways worth fearing; the checks here must refuse each.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from enum import Enum, IntEnum
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st

from reactive_db.model.ids import Id
from reactive_db.model.keys import (
    EVERYTHING,
    KeyRange,
    document_key,
    encode_number,
    encode_value,
    encode_values,
    key_id,
    merge,
    point,
    prefix_range,
    successor,
)
from reactive_db.model.values import MISSING

# These checks take microseconds, and the interesting pairs are rare.
MANY = settings(max_examples=10 * settings().max_examples)
FIND = settings(max_examples=5_000, phases=[Phase.generate], database=None)

NAN = float("nan")
ID = "0123456789abcdefghjkmnpqrstvwxyz"


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


# --- the order -------------------------------------------------------------------------------------------------------


def reference(value: Any) -> tuple[Any, ...]:
    """`value` as something that Python compares as the total order says."""
    if value is MISSING:
        return (0,)
    if value is None:
        return (1,)
    if isinstance(value, bool):
        return (4, value)
    if isinstance(value, int):
        return (2, value)
    if isinstance(value, float):
        sign = math.copysign(1, value)
        return (3, sign * 2, 0, 0) if math.isnan(value) else (3, 0, value, sign)
    if isinstance(value, str):
        return (5, [ord(character) for character in value])
    if isinstance(value, bytes):
        return (6, list(value))
    if isinstance(value, list | tuple):
        return (7, [reference(item) for item in value])
    if isinstance(value, dict):
        return (8, sorted((reference(name), reference(item)) for name, item in value.items()))
    if isinstance(value, datetime):
        return (10, value.astimezone(UTC))
    if isinstance(value, date):
        return (9, value)
    assert isinstance(value, Decimal)
    return (11, value)


# Few characters and few lengths, so that values often agree up to somewhere.
TEXT = st.text("\0\x01a\x7f\x80\xff\uffff\U0001f600", max_size=4)
INTS = st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**63 - 1, -(2**63), 255, 256, 2**53])
FLOATS = st.floats(allow_nan=False) | st.sampled_from([NAN, -NAN, 0.0, -0.0, math.inf, -math.inf, 5e-324, -5e-324, 1.0])
DATETIMES = st.datetimes(timezones=st.timezones()) | st.builds(
    lambda hours, zone: (datetime(2024, 3, 31, tzinfo=UTC) + timedelta(hours=hours)).astimezone(zone),
    st.integers(-3, 3),
    st.sampled_from([UTC, timezone(timedelta(hours=-9)), ZoneInfo("Europe/Berlin")]),  # whose clocks changed then
)
DECIMALS = (
    st.decimals(-(10**29) + 1, 10**29 - 1, places=9)
    | st.decimals(-2, 2, places=1)
    | st.integers(0, 9).map(lambda digit: Decimal(f"1234567890123456789.00000000{digit}"))
)
SCALARS = (
    st.none()
    | st.booleans()
    | INTS
    | FLOATS
    | TEXT
    | st.binary(max_size=3)
    | st.sampled_from([b"\0", b"\0\0", b"\0\xff", b"\xff"])
    | st.dates()
    | DATETIMES
    | DECIMALS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
FIELDS = VALUES | st.just(MISSING)
KINDS = [INTS, FLOATS, TEXT, st.binary(max_size=4), DATETIMES, DECIMALS, st.dates(), VALUES, FIELDS]
# Two of one kind: of two free choices most would differ in kind already.
PAIRS: st.SearchStrategy[tuple[Any, Any]] = st.one_of([st.tuples(kind, kind) for kind in KINDS])
ROWS = st.lists(st.tuples(FIELDS, TEXT, INTS | FLOATS), min_size=2, max_size=2)

Encode = Callable[[Any], bytes]


def order(a: Any, b: Any) -> int:
    return int(a > b) - int(a < b)


def sorts_right(encode: Encode, a: Any, b: Any) -> bool:
    return order(encode(a), encode(b)) == order(reference(a), reference(b))


def ends_by_itself(encode: Encode, a: Any, b: Any) -> bool:
    """Neither encoding begins with the other, unless the values are equal."""
    x, y = encode(a), encode(b)
    return x == y or not (x.startswith(y) or y.startswith(x))


@MANY
@given(PAIRS)
def test_keys_sort_like_values(pair: tuple[Any, Any]) -> None:
    assert sorts_right(encode_value, *pair)


@MANY
@given(PAIRS)
def test_no_encoding_is_a_prefix_of_another(pair: tuple[Any, Any]) -> None:
    assert ends_by_itself(encode_value, *pair)


@MANY
@given(ROWS)
def test_keys_of_several_fields_sort_by_the_first_that_differs(rows: list[tuple[Any, ...]]) -> None:
    first, second = rows
    expected = order([reference(value) for value in first], [reference(value) for value in second])
    assert order(encode_values(first), encode_values(second)) == expected


@MANY
@given(FIELDS, st.lists(FIELDS, max_size=2), FIELDS)
def test_the_range_of_a_value_holds_the_keys_with_that_value_and_no_other(
    value: Any, rest: list[Any], other: Any
) -> None:
    fixed = prefix_range(encode_value(value))
    assert fixed.contains(encode_values([value, *rest]))
    assert fixed.contains(encode_values([other, *rest])) == (reference(value) == reference(other))


BROKEN: dict[str, tuple[Encode, st.SearchStrategy[Any]]] = {
    "ints as unsigned": (lambda value: struct.pack(">Q", value % 2**64), INTS),
    "floats by their bits": (lambda value: struct.pack(">d", value), FLOATS),
    "-0 as 0": (lambda value: encode_value(value + 0.0), FLOATS),
    "strings without an end": (lambda value: encode_value(value)[:-2], TEXT),
    "strings that end with 00 and escape it as 00 FF": (lambda value: encode_value(value)[:-1], TEXT),
    "strings with a 00 as it is": (lambda value: value.encode() + b"\0\1", TEXT),
    "strings in UTF-16": (lambda value: b"".join(b"\2" + c.encode("utf-16-be") for c in value) + b"\1", TEXT),
    "strings by length": (lambda value: len(value).to_bytes(2, "big") + value.encode(), TEXT),
    "arrays without an end": (lambda value: encode_values(value), st.lists(TEXT, max_size=3)),
    "objects in the order of insertion": (
        lambda value: encode_value([part for field in value.items() for part in field]),
        st.dictionaries(TEXT, INTS, max_size=3),
    ),
    "datetimes by local time": (lambda value: encode_value(value.isoformat()), DATETIMES),
    "decimals through floats": (lambda value: encode_value(float(value)), DECIMALS),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_encoding_is_refused(name: str) -> None:
    encode, values = BROKEN[name]
    find(
        st.tuples(values, values),
        lambda pair: not (sorts_right(encode, *pair) and ends_by_itself(encode, *pair)),
        settings=FIND,
    )


def test_the_order_across_types_and_at_their_edges() -> None:
    ordered: list[Any] = [
        MISSING,
        None,
        -(2**63),
        -1,
        0,
        1,
        2**63 - 1,
        -NAN,
        -math.inf,
        -1.5,
        -5e-324,
        -0.0,
        0.0,
        5e-324,
        1.0,
        math.inf,
        NAN,
        False,
        True,
        "",
        "\0",
        "\0\0",
        "\0a",
        "\x01",
        "a",
        "a\0",
        "a\0b",
        "aa",
        "b",
        "\uffff",
        "\U0001f600",
        b"",
        b"\0",
        b"\xff",
        [],
        [None],
        [None, None],
        [[]],
        {},
        {"a": 1},
        {"a": 1, "b": 0},
        {"a": 2},
        {"b": 0},
        date.min,
        date.max,
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        Decimal("-99999999999999999999999999999.999999999"),
        Decimal("-0.000000001"),
        Decimal(0),
        Decimal("0.000000001"),
        Decimal("99999999999999999999999999999.999999999"),
    ]
    keys = [encode_value(value) for value in ordered]
    assert keys == sorted(set(keys))


def test_the_bits_of_a_nan_have_their_place_in_the_order() -> None:
    quiet, other = struct.unpack(">dd", bytes.fromhex("7ff8000000000000 7ff8000000000001"))
    assert encode_value(quiet) < encode_value(other)
    assert encode_value(-quiet) > encode_value(-other)


def test_long_strings_sort_by_their_last_character() -> None:
    long = "x" * 1_000_000
    assert encode_value(long) < encode_value(long + "\0") < encode_value(long + "a") < encode_value(long + "b")


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (Decimal("1.50"), Decimal("1.5")),
        (Decimal("-0"), Decimal("0E+100")),
        (datetime(2024, 1, 1, 12, tzinfo=UTC), datetime(2024, 1, 1, 14, tzinfo=timezone(timedelta(hours=2)))),
        ((1, "a"), [1, "a"]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (Id(ID), ID),
        (Color.RED, "red"),
        (Level.LOW, 1),
        (type("Meters", (float,), {})(2.5), 2.5),
        (type("Text", (str,), {})("a\0"), "a\0"),
    ],
)
def test_equal_values_have_one_key(one: Any, same: Any) -> None:
    assert encode_value(one) == encode_value(same)


def test_decimals_do_not_depend_on_the_callers_context() -> None:
    expected = encode_value(Decimal("12345678901234567890.123456789"))
    with localcontext(prec=3):
        assert encode_value(Decimal("12345678901234567890.123456789")) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**63, "int64"),
        (type("Big", (int,), {})(-(2**70)), "int64"),
        ("\ud800", "surrogate"),
        (["\ud800"], "surrogate"),
        (datetime(2024, 1, 1), "naive"),  # noqa: DTZ001
        (Decimal("NaN"), "finite"),
        (Decimal("sNaN"), "finite"),
        (Decimal("Infinity"), "finite"),
        (Decimal("1E+999999"), "digits"),
        (Decimal("1E-10"), "digits"),
        (object(), "not a type of value"),
        ([{1, 2}], "not a type of value"),
    ],
)
def test_what_has_no_place_in_the_order_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_value(value)


# --- index keys ------------------------------------------------------------------------------------------------------


@given(st.lists(FIELDS, max_size=2), FLOATS)
def test_an_index_key_is_the_fields_the_creation_time_and_the_id(fields: list[Any], creation_time: float) -> None:
    key = document_key(encode_values(fields), creation_time, ID)
    assert key == encode_values([*fields, creation_time]) + ID.encode()
    assert key_id(key) == ID


@given(FLOATS)
def test_a_number_is_encoded_like_any_float(number: float) -> None:
    assert encode_number(number) == encode_value(number)


# --- ranges ----------------------------------------------------------------------------------------------------------

# All keys up to three bytes over the alphabet that decides: nothing before 00, nothing after FF.
ALPHABET = (b"\0", b"\1", b"\xfe", b"\xff")
KEYS = [b""]
for _ in range(3):
    KEYS += [key + letter for key in KEYS for letter in ALPHABET if key + letter not in KEYS]
SOME_KEYS = st.sampled_from(KEYS)


@st.composite
def key_ranges(draw: st.DrawFn) -> KeyRange:
    """A range whose claim to a prefix is true."""
    fixed = draw(SOME_KEYS)
    within = prefix_range(fixed)
    bounds = st.sampled_from([key for key in KEYS if key.startswith(fixed)])
    lo = draw(bounds)
    hi = draw(st.just(within.hi) | bounds)
    return KeyRange(lo, hi, len(fixed))


def keys_in(key_range: KeyRange) -> set[bytes]:
    return {key for key in KEYS if key_range.lo <= key and (key_range.hi is None or key < key_range.hi)}


@given(key_ranges(), SOME_KEYS)
def test_contains(key_range: KeyRange, key: bytes) -> None:
    assert key_range.contains(key) == (key in keys_in(key_range))


@MANY
@given(st.lists(st.tuples(SOME_KEYS, st.none() | SOME_KEYS), min_size=2, max_size=2))
def test_two_ranges_overlap_if_a_key_is_in_both(bounds: list[tuple[bytes, bytes | None]]) -> None:
    first, second = (KeyRange(lo, hi) for lo, hi in bounds)
    # With bounds among these keys, the least key of an intersection is a bound and so among them too.
    assert first.overlaps(second) == second.overlaps(first) == bool(keys_in(first) & keys_in(second))


@given(SOME_KEYS)
def test_a_prefix_range_holds_the_keys_that_begin_with_it(prefix: bytes) -> None:
    key_range = prefix_range(prefix)
    assert keys_in(key_range) == {key for key in KEYS if key.startswith(prefix)}
    assert key_range.prefix == len(prefix)


@pytest.mark.parametrize(
    ("prefix", "after"),
    [(b"a", b"b"), (b"a\0", b"a\1"), (b"a\xfe", b"a\xff"), (b"a\xff\xff", b"b"), (b"\xff", None), (b"", None)],
)
def test_a_successor_is_the_least_key_after_a_prefix(prefix: bytes, after: bytes | None) -> None:
    assert successor(prefix) == after


@given(SOME_KEYS)
def test_a_point_holds_one_key(key: bytes) -> None:
    assert keys_in(point(key)) == {key}
    assert point(key).prefix == len(key)
    assert not point(key).contains(key + b"\0")


def test_everything_holds_every_key() -> None:
    assert keys_in(EVERYTHING) == set(KEYS)
    assert EVERYTHING.contains(b"\xff" * 1_000)


@MANY
@given(st.lists(key_ranges(), max_size=6))
def test_merge_keeps_the_keys_and_leaves_no_overlap(ranges: list[KeyRange]) -> None:
    merged = merge(ranges)
    assert set().union(*map(keys_in, merged)) == set().union(*map(keys_in, ranges))
    for before, after in pairwise(merged):
        assert before.hi is not None
        assert before.hi <= after.lo
    for key_range in merged:
        assert keys_in(key_range), "an empty range"
        assert all(key.startswith(key_range.lo[: key_range.prefix]) for key in keys_in(key_range)), "a false prefix"


@MANY
@given(st.lists(key_ranges(), max_size=6))
def test_merge_does_not_depend_on_the_order_and_is_done_once(ranges: list[KeyRange]) -> None:
    merged = merge(ranges)
    assert merge(merged) == merged
    assert [keys_in(key_range) for key_range in merge(ranges[::-1])] == [keys_in(key_range) for key_range in merged]


def test_pages_of_one_range_merge_and_neighbours_do_not() -> None:
    channel = encode_value("general")
    whole = prefix_range(channel)
    middle = channel + encode_value(5)
    pages = [KeyRange(middle, whole.hi, len(channel)), KeyRange(whole.lo, middle, len(channel))]
    assert merge(pages) == [whole]
    neighbours = [prefix_range(b"\x10a"), prefix_range(b"\x10b")]
    assert merge(neighbours) == neighbours


@given(key_ranges())
def test_a_range_without_end_swallows_what_follows(key_range: KeyRange) -> None:
    assume(keys_in(key_range))
    assert merge([key_range, EVERYTHING]) == [EVERYTHING]
