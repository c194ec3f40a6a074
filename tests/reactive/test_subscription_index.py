"""`SubscriptionIndex` against a plain list of ranges, over random programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from reactive_db.model.keys import EVERYTHING, KeyRange, encode_value, encode_values, point, prefix_range
from reactive_db.reactive import subscription_index
from reactive_db.reactive.subscription_index import SubscriptionIndex

# Keys of an index on two fields; few enough that ranges and keys meet.
FIELDS = st.sampled_from(["", "a", "a\0", "b"])
NUMBERS = st.integers(0, 3)
KEYS = st.builds(lambda field, number: encode_values([field, number]), FIELDS, NUMBERS)


@st.composite
def key_ranges(draw: st.DrawFn) -> KeyRange:
    """What index ranges make: everything, some leading fields by equality, and bounds on the next."""
    if draw(st.booleans()):
        return draw(st.sampled_from([EVERYTHING, prefix_range(encode_value("a"))]) | KEYS.map(point))
    prefix = encode_value(draw(FIELDS)) if draw(st.booleans()) else b""
    within = prefix_range(prefix)
    bounds = NUMBERS.map(lambda number: prefix + encode_value(number)) if prefix else FIELDS.map(encode_value)
    lo = draw(bounds | st.just(within.lo))
    hi = draw(bounds | st.just(within.hi))
    return KeyRange(lo, hi, len(prefix))


SPACES = st.sampled_from(["messages.by_channel", ("users", "by_id")])
ENTRIES = st.tuples(SPACES, key_ranges(), st.integers(0, 3))
STEPS = st.one_of(
    st.tuples(st.just("add"), ENTRIES),
    st.tuples(st.just("remove"), st.integers(0, 50)),
    st.tuples(st.just("remove any"), ENTRIES),
    st.tuples(st.just("stab"), st.tuples(SPACES, KEYS)),
)
PROGRAMS = st.lists(STEPS, max_size=60)

Entry = tuple[Any, KeyRange, int]
Program = list[tuple[str, Any]]


def stab(index: SubscriptionIndex[int], space: Any, key: bytes) -> set[int]:
    out: set[int] = set()
    index.stab(space, key, out)
    return out


def is_right(index: SubscriptionIndex[int], program: Program) -> bool:
    """Whether `index` answers every step of `program` as a list of entries does."""
    entries: list[Entry] = []
    for name, operand in program:
        if name == "add":
            entries.append(operand)
            index.add(*operand)
        elif name == "stab":
            space, key = operand
            if stab(index, space, key) != {
                item for at, within, item in entries if at == space and within.contains(key)
            }:
                return False
        elif name == "remove" and entries:
            index.remove(*entries.pop(operand % len(entries)))
        elif name == "remove any" and operand not in entries:
            if not refuses(index, operand):
                return False
        if len(index) != len(entries):
            return False
    for entry in entries:
        index.remove(*entry)
    # Otherwise a store would remember every range that was ever read.
    return not index._spaces


def refuses(index: SubscriptionIndex[int], entry: Entry) -> bool:
    try:
        index.remove(*entry)
    except KeyError:
        return True
    return False


def short_lists(ranges_max: int) -> Any:
    """Small programs reach interval indexes when lists are short."""
    return mock.patch.object(subscription_index, "LIST_RANGES_MAX", ranges_max)


@given(PROGRAMS, st.sampled_from([1, 2, 32]))
def test_it_answers_like_a_list(program: Program, ranges_max: int) -> None:
    with short_lists(ranges_max):
        assert is_right(SubscriptionIndex(), program)


def test_stab_adds_to_what_was_found_before() -> None:
    index: SubscriptionIndex[str] = SubscriptionIndex()
    index.add("t", EVERYTHING, "new")
    out = {"old"}
    index.stab("t", b"k", out)
    assert out == {"old", "new"}
    index.stab("another space", b"k", out)
    assert out == {"old", "new"}


@pytest.mark.parametrize("count", [1, 32, 33, 500])
def test_many_subscribers_of_one_range(count: int) -> None:
    index: SubscriptionIndex[int] = SubscriptionIndex()
    channel = prefix_range(encode_value("general"))
    for item in range(count):
        index.add("t", channel, item)
    assert stab(index, "t", encode_values(["general", 1])) == set(range(count))
    assert stab(index, "t", encode_values(["general\0", 1])) == set()
    for item in range(count):
        index.remove("t", channel, item)
        assert item not in stab(index, "t", encode_values(["general", 1]))
    assert len(index) == 0


def test_a_stab_looks_up_one_prefix_per_length_however_many_there_are() -> None:
    class Looked(dict[bytes, Any]):
        count = 0

        def get(self, key: bytes, default: Any = None) -> Any:
            Looked.count += 1
            return super().get(key, default)

    index: SubscriptionIndex[int] = SubscriptionIndex()
    for item in range(1_000):
        index.add("t", prefix_range(encode_value(f"user{item:04}")), item)
        index.add("t", prefix_range(encode_value(item)), item)
    lengths = index._spaces["t"]
    for length in lengths:
        lengths[length] = Looked(lengths[length])
    assert stab(index, "t", encode_values(["user0123", 5])) == {123}
    assert Looked.count == len(lengths) == 2


# --- wrong ones, which `is_right` must refuse ------------------------------------------------------------------------


class IgnoresSpaces(SubscriptionIndex[int]):
    def stab(self, space: Any, key: bytes, out: set[int]) -> None:
        for any_space in self._spaces:
            super().stab(any_space, key, out)


class TrustsPrefixes(SubscriptionIndex[int]):
    """Takes everything with the prefix of a range for inside."""

    def add(self, space: Any, range: KeyRange, item: int) -> None:
        super().add(space, prefix_range(range.lo[: range.prefix]), item)

    def remove(self, space: Any, range: KeyRange, item: int) -> None:
        super().remove(space, prefix_range(range.lo[: range.prefix]), item)


class KeepsEmptyOnes(SubscriptionIndex[int]):
    def remove(self, space: Any, range: KeyRange, item: int) -> None:
        super().remove(space, range, item)
        self._spaces.setdefault(space, {})


class FindsOneEach(SubscriptionIndex[int]):
    def stab(self, space: Any, key: bytes, out: set[int]) -> None:
        found: set[int] = set()
        super().stab(space, key, found)
        out.update(list(found)[:1])


@pytest.mark.parametrize("broken", [IgnoresSpaces, TrustsPrefixes, KeepsEmptyOnes, FindsOneEach])
def test_a_broken_index_is_refused(broken: Callable[[], SubscriptionIndex[int]]) -> None:
    find(
        PROGRAMS,
        lambda program: not is_right(broken(), program),
        settings=settings(max_examples=5_000, phases=[Phase.generate], database=None),
    )
