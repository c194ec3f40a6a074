"""Coverage: of which key ranges a replica has every document, and since which timestamp. Pure data."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

LAST: Final = b"\xff"
"""Past every key: where a range without end ends."""


class Coverage:
    """Intervals of the keys of one index, disjoint and in order.

    Intervals that touch are one, which holds since the later of the two timestamps: whoever reads at an older one
    takes it for unknown and asks again, which is slower and never wrong.
    """

    __slots__ = ("_ends", "_since", "_starts")

    def __init__(self) -> None:
        self._starts: list[bytes] = []
        self._ends: list[bytes] = []
        self._since: list[int] = []

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, lo: bytes, hi: bytes, since: int) -> None:
        """Everything in `[lo, hi)` is known from `since` on."""
        if lo >= hi:
            return
        first = bisect_left(self._ends, lo)
        last = bisect_right(self._starts, hi)
        if first < last:
            lo = min(lo, self._starts[first])
            hi = max(hi, self._ends[last - 1])
            since = max(since, *self._since[first:last])
        place = slice(first, last)
        self._starts[place], self._ends[place], self._since[place] = [lo], [hi], [since]

    def up_from(self, key: bytes, ts: int) -> bytes:
        """How far up everything from `key` on is known at `ts`; `key` itself if it is not."""
        at = bisect_right(self._starts, key) - 1
        if at < 0 or self._ends[at] <= key or self._since[at] > ts:
            return key
        return self._ends[at]

    def down_from(self, key: bytes, ts: int) -> bytes:
        """How far down everything below `key` is known at `ts`; `key` itself if it is not."""
        at = bisect_left(self._starts, key) - 1
        if at < 0 or self._ends[at] < key or self._since[at] > ts:
            return key
        return self._starts[at]

    def holds(self, key: bytes, ts: int) -> bool:
        """Whether `key` is in a known interval."""
        return self.up_from(key, ts) != key
