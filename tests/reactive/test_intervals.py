"""`IntervalIndex` against a plain list, over random programs, and how few nodes it looks at."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from reactive_db.reactive import intervals
from reactive_db.reactive.intervals import IntervalIndex

KEYS = st.binary(max_size=2) | st.sampled_from([b"\0", b"a", b"a\0", b"b", b"\xff"])
TRIPLES = st.tuples(KEYS, st.none() | KEYS, st.integers(0, 3))
# A removal names one of the triples that are there by its position, or any other triple.
STEPS = st.one_of(
    st.tuples(st.just("add"), TRIPLES),
    st.tuples(st.just("remove"), st.integers(0, 50)),
    st.tuples(st.just("remove any"), TRIPLES),
    st.tuples(st.just("stab"), KEYS),
)
PROGRAMS = st.lists(STEPS, max_size=60)

Triple = tuple[bytes, bytes | None, int]
Program = list[tuple[str, Any]]


class NaiveIndex:
    """A list of triples, looked through from end to end."""

    def __init__(self) -> None:
        self.triples: list[Triple] = []

    def stab(self, key: bytes) -> list[int]:
        """Once per interval, as `IntervalIndex` promises."""
        return [item for lo, hi, item in set(self.triples) if lo <= key and (hi is None or key < hi)]


def is_right(index: IntervalIndex[int], program: Program) -> bool:
    """Whether `index` answers every step of `program` as the naive one does."""
    naive = NaiveIndex()
    for name, operand in program:
        if name == "add":
            naive.triples.append(operand)
            index.add(*operand)
        elif name == "stab":
            if sorted(index.stab(operand)) != sorted(naive.stab(operand)):
                return False
        else:
            triple = naive.triples[operand % len(naive.triples)] if name == "remove" and naive.triples else operand
            if not isinstance(triple, tuple):
                continue
            if triple in naive.triples:
                naive.triples.remove(triple)
                index.remove(*triple)
            elif not refuses(index, triple):
                return False
        if len(index) != len(naive.triples):
            return False
    return all(sorted(index.stab(key)) == sorted(naive.stab(key)) for key in ends_of(naive.triples))


def refuses(index: IntervalIndex[int], triple: Triple) -> bool:
    try:
        index.remove(*triple)
    except KeyError:
        return True
    return False


def ends_of(triples: list[Triple]) -> set[bytes]:
    """The keys where an answer may change: each end, and the key right after it."""
    ends = {end for lo, hi, _ in triples for end in (lo, hi) if end is not None}
    return ends | {end + b"\0" for end in ends}


def narrow_nodes(entries_max: int) -> Any:
    """Small programs reach deep trees when nodes are narrow."""
    return mock.patch.object(intervals, "NODE_ENTRIES_MAX", entries_max)


@given(PROGRAMS, st.sampled_from([2, 3, 4, 32]))
def test_it_answers_like_a_list(program: Program, entries_max: int) -> None:
    with narrow_nodes(entries_max):
        assert is_right(IntervalIndex(), program)


@pytest.mark.parametrize("seed", range(5))
def test_it_answers_like_a_list_while_it_grows_and_shrinks(seed: int) -> None:
    rng = random.Random(seed)
    program: Program = []
    for size, removals in [(400, 0.2), (400, 0.8), (200, 0.2), (400, 1.0)]:
        for _ in range(size):
            lo, width = rng.randrange(1_000), rng.randrange(100)
            hi = None if rng.random() < 0.05 else (lo + width).to_bytes(2, "big")
            is_removal = rng.random() < removals
            operand = rng.randrange(10**6) if is_removal else (lo.to_bytes(2, "big"), hi, rng.randrange(3))
            program.append(("remove" if is_removal else "add", operand))
            program.append(("stab", rng.randrange(1_100).to_bytes(2, "big")))
    with narrow_nodes(4):
        assert is_right(IntervalIndex(), program)


def test_a_triple_added_twice_is_found_once_and_removed_twice() -> None:
    index: IntervalIndex[str] = IntervalIndex()
    index.add(b"a", b"c", "x")
    index.add(b"a", b"c", "x")
    index.add(b"a", b"d", "x")
    assert len(index) == 3
    assert index.stab(b"b") == ["x", "x"]
    index.remove(b"a", b"d", "x")
    index.remove(b"a", b"c", "x")
    assert index.stab(b"b") == ["x"]
    index.remove(b"a", b"c", "x")
    assert index.stab(b"b") == []
    assert len(index) == 0


def test_items_come_in_the_order_of_their_intervals() -> None:
    index: IntervalIndex[str] = IntervalIndex()
    for lo, hi, item in [(b"b", None, "third"), (b"a", b"z", "first"), (b"a", None, "second"), (b"c", None, "fourth")]:
        index.add(lo, hi, item)
    assert index.stab(b"m") == ["first", "second", "third", "fourth"]


# --- wrong ones, which `is_right` must refuse ------------------------------------------------------------------------


class KeepsItsEnd(IntervalIndex[int]):
    """Takes `hi` for inside."""

    def add(self, lo: bytes, hi: bytes | None, item: int) -> None:
        super().add(lo, hi and hi + b"\0", item)

    def remove(self, lo: bytes, hi: bytes | None, item: int) -> None:
        super().remove(lo, hi and hi + b"\0", item)


class EndsUnbounded(IntervalIndex[int]):
    """Takes no end for the end at FF."""

    def stab(self, key: bytes) -> list[int]:
        return super().stab(key) if key < b"\xff" else []


class Forgets(IntervalIndex[int]):
    """Takes the same triple a second time for the first."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[Triple] = set()

    def add(self, lo: bytes, hi: bytes | None, item: int) -> None:
        if (lo, hi, item) not in self.seen:
            super().add(lo, hi, item)
        self.seen.add((lo, hi, item))


def blind_add(self: Any, interval: Any, item: Any) -> Any:
    """`_Branch.add` that does not tell its own node about a greater end."""
    before = list(self.ends)
    upper = intervals_branch_add(self, interval, item)
    if upper is None and len(before) == len(self.ends):
        self.ends[:] = before
    return upper


intervals_branch_add = intervals._Branch.add


@pytest.mark.parametrize("broken", [KeepsItsEnd, EndsUnbounded, Forgets])
def test_a_broken_index_is_refused(broken: Callable[[], IntervalIndex[int]]) -> None:
    refuse(broken)


def test_a_branch_that_forgets_greater_ends_is_refused() -> None:
    with mock.patch.object(intervals._Branch, "add", blind_add):
        refuse(IntervalIndex)


def refuse(broken: Callable[[], IntervalIndex[int]]) -> None:
    def is_wrong(program: Program) -> bool:
        try:
            return not is_right(broken(), program)
        except KeyError:
            return True

    with narrow_nodes(2):
        find(PROGRAMS, is_wrong, settings=settings(max_examples=5_000, phases=[Phase.generate], database=None))


# --- cost ------------------------------------------------------------------------------------------------------------


def nodes_entered(index: IntervalIndex[int], key: bytes) -> tuple[int, int]:
    """How many nodes a stab searches, and how many items it finds."""
    with mock.patch.object(intervals, "bisect_right", wraps=bisect_right) as search:
        found = index.stab(key)
    return search.call_count, len(found)


@pytest.mark.parametrize("seed", range(3))
def test_a_stab_enters_few_nodes_however_many_intervals_there_are(seed: int) -> None:
    rng = random.Random(seed)
    index: IntervalIndex[int] = IntervalIndex()
    triples = []
    for item in range(20_000):
        lo = rng.randrange(2**32)
        triples.append((lo.to_bytes(5, "big"), (lo + rng.randrange(2**20)).to_bytes(5, "big"), item))
        index.add(*triples[-1])
    rng.shuffle(triples)
    # 20,000 intervals in nodes that are at least half full: log16 of it, rounded up.
    depth = 4
    for kept in (20_000, 10_000):
        while len(triples) > kept:
            index.remove(*triples.pop())
        for _ in range(200):
            entered, found = nodes_entered(index, rng.randrange(2**32).to_bytes(5, "big"))
            assert entered <= depth * (found + 1)


def test_an_index_that_was_emptied_is_as_flat_as_a_new_one() -> None:
    index: IntervalIndex[int] = IntervalIndex()
    triples = [(item.to_bytes(2, "big"), None, item) for item in range(5_000)]
    for triple in triples:
        index.add(*triple)
    for triple in triples:
        index.remove(*triple)
    assert nodes_entered(index, b"\xff") == (1, 0)
