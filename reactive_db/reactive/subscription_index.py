"""Which subscriptions a write concerns: for each changed index key, the items whose key range holds it.

Most ranges fix some leading fields by equality, and of a hundred thousand such ranges a key can only be in those with
its own leading bytes. So ranges are found by one look-up per distinct length of prefix, and only what shares a prefix
is searched by interval. Pure data: it takes no lock (its owner does) and wakes nobody.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeAlias, TypeVar

from reactive_db.model.keys import KeyRange
from reactive_db.reactive.intervals import IntervalIndex

T = TypeVar("T", bound=Hashable)

LIST_RANGES_MAX: Final = 32
"""As many ranges with one prefix are kept in a list; more in an `IntervalIndex`."""

_Ranges: TypeAlias = list[tuple[bytes, bytes | None, T]]
_Buckets: TypeAlias = dict[bytes, _Ranges[T] | IntervalIndex[T]]


class SubscriptionIndex(Generic[T]):
    """A bag of key ranges with an item each, in separate spaces, such as one per index of a table.

    The same range and item may be added several times and then have to be removed as often.
    """

    def __init__(self) -> None:
        # By space, by length of the prefix, by prefix. None of the dicts, lists and indexes is ever left empty.
        self._spaces: dict[Hashable, dict[int, _Buckets[T]]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def stab(self, space: Hashable, key: bytes, out: set[T]) -> None:
        """Add to `out` the items whose range in `space` holds `key`."""
        lengths = self._spaces.get(space)
        if lengths is None:
            return
        for length, buckets in lengths.items():
            bucket = buckets.get(key[:length])
            if bucket is None:
                continue
            if isinstance(bucket, list):
                for lo, hi, item in bucket:
                    if lo <= key and (hi is None or key < hi):
                        out.add(item)
            else:
                out.update(bucket.stab(key))

    def add(self, space: Hashable, range: KeyRange, item: T) -> None:
        """Add a range of `space` with its item."""
        lo, hi, length = range
        buckets = self._spaces.setdefault(space, {}).setdefault(length, {})
        prefix = lo[:length]
        bucket = buckets.setdefault(prefix, [])
        if isinstance(bucket, list) and len(bucket) == LIST_RANGES_MAX:
            bucket = buckets[prefix] = _index_of(bucket)
        if isinstance(bucket, list):
            bucket.append((lo, hi, item))
        else:
            bucket.add(lo, hi, item)
        self._length += 1

    def remove(self, space: Hashable, range: KeyRange, item: T) -> None:
        """Remove a range and item that were added.

        Raises:
            KeyError: they are not there; nothing has changed.
        """
        lo, hi, length = range
        lengths = self._spaces[space]
        buckets = lengths[length]
        prefix = lo[:length]
        bucket = buckets[prefix]
        if isinstance(bucket, list):
            if (lo, hi, item) not in bucket:
                raise KeyError(range)
            bucket.remove((lo, hi, item))
        else:
            bucket.remove(lo, hi, item)
        self._length -= 1
        if not bucket:
            del buckets[prefix]
            if not buckets:
                del lengths[length]
                if not lengths:
                    del self._spaces[space]


def _index_of(ranges: _Ranges[T]) -> IntervalIndex[T]:
    index: IntervalIndex[T] = IntervalIndex()
    for lo, hi, item in ranges:
        index.add(lo, hi, item)
    return index
