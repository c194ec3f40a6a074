"""Coverage says of every key what a plain set of keys would say."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from reactive_db.sync.coverage import Coverage
from reactive_db.testing.threads import run_in_threads, switching_often

KEYS = [bytes([byte]) for byte in range(12)]

keys = st.sampled_from(KEYS)
intervals = st.lists(st.tuples(keys, keys, st.integers(1, 4)), max_size=8)


class Naive:
    """For each key since when it is known; intervals that touch become one, of the latest timestamp."""

    def __init__(self) -> None:
        self.since: dict[bytes, int] = {}

    def add(self, lo: bytes, hi: bytes, since: int) -> None:
        if lo >= hi:
            return
        met = {key for key in KEYS if lo <= key < hi}
        grown = True
        while grown:
            edge = {key for key in self.since if any(abs(key[0] - other[0]) == 1 for other in met)} - met
            grown = bool(edge)
            met |= edge
        since = max([since, *(self.since[key] for key in met if key in self.since)])
        self.since |= dict.fromkeys(met, since)

    def up_from(self, key: bytes, ts: int) -> bytes:
        while self.since.get(key, 99) <= ts:
            key = bytes([key[0] + 1])
        return key

    def down_from(self, key: bytes, ts: int) -> bytes:
        while key[0] > 0 and self.since.get(bytes([key[0] - 1]), 99) <= ts:
            key = bytes([key[0] - 1])
        return key


@given(intervals, keys, st.integers(0, 4))
def test_it_agrees_with_a_plain_set_of_keys(added: list[tuple[bytes, bytes, int]], key: bytes, ts: int) -> None:
    coverage, naive = Coverage(), Naive()
    for lo, hi, since in added:
        coverage.add(lo, hi, since)
        naive.add(lo, hi, since)
    assert coverage.up_from(key, ts) == naive.up_from(key, ts)
    assert coverage.down_from(key, ts) == naive.down_from(key, ts)
    assert coverage.holds(key, ts) == (naive.since.get(key, 99) <= ts)


@given(intervals)
def test_intervals_stay_apart_and_in_order(added: list[tuple[bytes, bytes, int]]) -> None:
    coverage = Coverage()
    for interval in added:
        coverage.add(*interval)
    ends = [end for lo, hi, _ in coverage._intervals for end in (lo, hi)]
    assert ends == sorted(set(ends))


def test_whoever_looks_while_intervals_grow_never_hears_of_more_than_there_is() -> None:
    coverage, is_done = Coverage(), threading.Event()
    wrong: list[bytes] = []

    def grow() -> None:
        for number in range(300):
            at = (number * 7_919) % 300 * 4
            coverage.add(at.to_bytes(2, "big"), (at + 2).to_bytes(2, "big"), 1)
        is_done.set()

    def look() -> None:
        while not is_done.wait(0.0001):
            for at in range(0, 1_200, 97):
                key, up = (at - at % 4 + 2).to_bytes(2, "big"), (at - at % 4 + 3).to_bytes(2, "big")
                wrong.extend([key] if coverage.up_from(key, 1) != key or coverage.down_from(up, 1) != up else [])

    with switching_often():
        run_in_threads([grow, look, look])
    assert wrong == []
