"""Which of many intervals of keys hold a given key: a B-tree of intervals that knows the greatest end below each node.

Pure data: it takes no lock (its owner does) and gives no meaning to items.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

T = TypeVar("T", bound=Hashable)

NODE_ENTRIES_MAX: Final = 32
"""Wider nodes leave more entries to look at, narrower ones more nodes; anything near this is equally fast."""


class IntervalIndex(Generic[T]):
    """A bag of `(lo, hi, item)`, where `[lo, hi)` is an interval of keys and `hi` None means without end.

    A triple may be added several times and then has to be removed as often. Nodes vanish when they are empty; they are
    not merged when they are sparse, because intervals come and go at the same places.
    """

    def __init__(self) -> None:
        self._root: _Node = _Leaf([], [], [])
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def stab(self, key: bytes) -> list[T]:
        """Return the items whose interval holds `key`, once per interval, in order of the intervals.

        Costs O(log n) per interval found and at least once, because besides the path to the last start that is not
        after `key`, only nodes with such an interval are entered.
        """
        level: list[Any] = [self._root]
        while level:
            found: list[Any] = []
            for node in level:
                # What is before `reach` starts at or before the key; it remains to ask what ends after it.
                reach = bisect_right(node.firsts, (key, _UNBOUNDED))
                found += [content for content, end in zip(node.contents[:reach], node.ends, strict=False) if end > key]
            if level[0].is_leaf:
                return [item for items in found for item in items]
            level = found
        return []

    def add(self, lo: bytes, hi: bytes | None, item: T) -> None:
        """Add one triple."""
        root = self._root
        upper = root.add((lo, _UNBOUNDED if hi is None else hi), item)
        if upper is not None:
            nodes = [root, upper]
            self._root = _Branch([node.firsts[0] for node in nodes], [max(node.ends) for node in nodes], nodes)
        self._length += 1

    def remove(self, lo: bytes, hi: bytes | None, item: T) -> None:
        """Remove one triple that was added.

        Raises:
            KeyError: it is not there; nothing has changed.
        """
        root = self._root
        root.remove((lo, _UNBOUNDED if hi is None else hi), item)
        self._length -= 1
        while not root.is_leaf and len(root.contents) < 2:
            root = root.contents[0] if root.contents else _Leaf([], [], [])
        self._root = root


class _Unbounded:
    """The end of an interval that has none: greater than every key, from both sides of a comparison."""

    def __lt__(self, other: object) -> bool:
        return False

    def __gt__(self, other: object) -> bool:
        return self is not other


_UNBOUNDED: Final = _Unbounded()

# Start and end; they are ordered by both. The end is bytes or `_UNBOUNDED`, whose common type is the order of both.
_Interval = tuple[bytes, Any]


class _Node:
    """Some entries in order, in three lists of one length: first interval, greatest end and content of each.

    An entry of a leaf is one interval and its content counts the items that have it; an entry of a branch is another
    node. Either way no interval in it starts before its first or ends after its end, which is all a search asks.
    """

    __slots__ = ("contents", "ends", "firsts")
    is_leaf: ClassVar[bool]

    def __init__(self, firsts: list[_Interval], ends: list[Any], contents: list[Any]) -> None:
        self.firsts = firsts
        self.ends = ends
        self.contents = contents

    def add(self, interval: _Interval, item: Hashable) -> Self | None:
        """Add to the right entry; return a new node for the upper half of the entries if they had become too many."""
        raise NotImplementedError

    def remove(self, interval: _Interval, item: Hashable) -> None:
        """Remove from its entry, and the entry if it is empty then; KeyError if it is not there."""
        raise NotImplementedError

    def _insert(self, at: int, first: _Interval, end: Any, content: Any) -> Self | None:
        self.firsts.insert(at, first)
        self.ends.insert(at, end)
        self.contents.insert(at, content)
        return self._split() if len(self.firsts) > NODE_ENTRIES_MAX else None

    def _split(self) -> Self:
        middle = len(self.firsts) // 2
        upper = type(self)(self.firsts[middle:], self.ends[middle:], self.contents[middle:])
        self._delete(slice(middle, None))
        return upper

    def _delete(self, at: int | slice) -> None:
        del self.firsts[at], self.ends[at], self.contents[at]


class _Leaf(_Node):
    __slots__ = ()
    is_leaf = True

    def add(self, interval: _Interval, item: Hashable) -> Self | None:
        at = bisect_left(self.firsts, interval)
        if at < len(self.firsts) and self.firsts[at] == interval:
            counts = self.contents[at]
            counts[item] = counts.get(item, 0) + 1
            return None
        return self._insert(at, interval, interval[1], {item: 1})

    def remove(self, interval: _Interval, item: Hashable) -> None:
        at = bisect_left(self.firsts, interval)
        if at == len(self.firsts) or self.firsts[at] != interval:
            raise KeyError(interval[0])
        counts = self.contents[at]
        if counts[item] > 1:
            counts[item] -= 1
        elif len(counts) > 1:
            del counts[item]
        else:
            self._delete(at)


class _Branch(_Node):
    __slots__ = ()
    is_leaf = False

    def add(self, interval: _Interval, item: Hashable) -> Self | None:
        at = max(bisect_right(self.firsts, interval) - 1, 0)
        child: _Node = self.contents[at]
        upper = child.add(interval, item)
        self.firsts[at] = child.firsts[0]
        if upper is None:
            if interval[1] > self.ends[at]:
                self.ends[at] = interval[1]
            return None
        self.ends[at] = max(child.ends)
        return self._insert(at + 1, upper.firsts[0], max(upper.ends), upper)

    def remove(self, interval: _Interval, item: Hashable) -> None:
        at = bisect_right(self.firsts, interval) - 1
        if at < 0:
            raise KeyError(interval[0])
        child: _Node = self.contents[at]
        child.remove(interval, item)
        if not child.firsts:
            self._delete(at)
            return
        self.firsts[at] = child.firsts[0]
        if self.ends[at] == interval[1]:
            self.ends[at] = max(child.ends)
