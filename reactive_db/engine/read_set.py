"""What a transaction read: single documents, and ranges of index keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from reactive_db.errors import LimitError
from reactive_db.model.keys import KeyRange, point

Space = tuple[int, str]
"""A table's number and an index's name: where keys can be compared."""

BY_ID: Final = "by_id"


class ReadSet:
    """Everything that a later commit must not have written for a transaction to still be right.

    Reads of one document are kept apart from ranges: most mutations make only these, and a set answers in one step.
    """

    __slots__ = ("documents", "ranges", "tables")

    def __init__(self) -> None:
        self.documents: set[tuple[int, str]] = set()
        self.ranges: dict[Space, list[KeyRange]] = {}
        self.tables: set[int] = set()
        """Of a query, every table that it named: it depends on their definitions even where it read nothing."""

    def __len__(self) -> int:
        return len(self.documents) + sum(map(len, self.ranges.values()))

    def add_document(self, table: int, id: str) -> None:
        self.documents.add((table, id))

    def add_range(self, space: Space, key_range: KeyRange) -> None:
        self.ranges.setdefault(space, []).append(key_range)

    def is_same_as(self, other: ReadSet) -> bool:
        mine, others = (self.documents, self.ranges, self.tables), (other.documents, other.ranges, other.tables)
        return mine == others

    def check_size(self, maximum: int) -> None:
        """Raises LimitError past `maximum` ranges."""
        if len(self) > maximum:
            raise LimitError(
                f"a function read {len(self):,} key ranges; at most {maximum:,} (key_ranges_max). "
                "Read one wider range instead of many narrow ones.",
                limit="key_ranges_max",
            )

    def __iter__(self) -> Iterator[tuple[Space, KeyRange]]:
        """Every read as a range; that of one document lies in the space `by_id`."""
        for table, id in self.documents:
            yield (table, BY_ID), point(id.encode())
        for space, ranges in self.ranges.items():
            for key_range in ranges:
                yield space, key_range
