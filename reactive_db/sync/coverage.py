"""Coverage: of which key ranges a replica has every document, and since which timestamp. Pure data."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import Final

LAST: Final = b"\xff"
"""Past every key: where a range without end ends."""

_start = itemgetter(0)
_end = itemgetter(1)


class Coverage:
    """Intervals of the keys of one index, disjoint and in order.

    Intervals that touch are one, which holds since the later of the two timestamps: whoever reads at an older one
    takes it for unknown and asks again, which is slower and never wrong.

    `add` is called by one thread. Others may look meanwhile: an interval is one object that is true by itself, so that
    whoever finds the wrong one takes the key for unknown.
    """

    __slots__ = ("_intervals",)

    def __init__(self) -> None:
        self._intervals: list[tuple[bytes, bytes, int]] = []

    def __len__(self) -> int:
        return len(self._intervals)

    def add(self, lo: bytes, hi: bytes, since: int) -> None:
        """Everything in `[lo, hi)` is known from `since` on."""
        if lo >= hi:
            return
        first = bisect_left(self._intervals, lo, key=_end)
        last = bisect_right(self._intervals, hi, key=_start)
        met = self._intervals[first:last]
        if met:
            lo, hi = min(lo, met[0][0]), max(hi, met[-1][1])
            since = max(since, *(one[2] for one in met))
        self._intervals[first:last] = [(lo, hi, since)]

    def up_from(self, key: bytes, ts: int) -> bytes:
        """How far up everything from `key` on is known at `ts`; `key` itself if it is not."""
        at = bisect_right(self._intervals, key, key=_start) - 1
        for lo, hi, since in self._intervals[at : at + 1] if at >= 0 else ():
            if lo <= key < hi and since <= ts:
                return hi
        return key

    def down_from(self, key: bytes, ts: int) -> bytes:
        """How far down everything below `key` is known at `ts`; `key` itself if it is not."""
        at = bisect_left(self._intervals, key, key=_start) - 1
        for lo, hi, since in self._intervals[at : at + 1] if at >= 0 else ():
            if lo < key <= hi and since <= ts:
                return lo
        return key

    def holds(self, key: bytes, ts: int) -> bool:
        """Whether `key` is in a known interval."""
        return self.up_from(key, ts) != key
