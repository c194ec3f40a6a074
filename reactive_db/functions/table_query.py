"""Reading a table inside a function: `ctx.db.query(T)` and what follows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar, cast

from reactive_db import limits
from reactive_db.engine.transaction import Scan, Transaction
from reactive_db.errors import NotUniqueError, QueryError
from reactive_db.model.documents import Document
from reactive_db.model.keys import EVERYTHING, KeyRange
from reactive_db.query.description import Description, Order, decode_cursor, encode_cursor, fingerprint
from reactive_db.storage.tables import Table

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True)
class Page(Generic[D]):
    """One page of a query.

    Attributes:
        items: the documents.
        cursor: pass it to `paginate` for the next page.
        is_done: there is no next page.
    """

    items: list[D]
    cursor: str
    is_done: bool


class TableQuery(Generic[D]):
    """A read of one table: refine it, then take what you need. Every refinement gives a new query.

    What is taken is what counts as read: `first()` of a million documents reads one.
    """

    __slots__ = ("_description", "_predicates", "_range", "_table", "_transaction")

    def __init__(
        self,
        transaction: Transaction,
        table: Table,
        description: Description,
        key_range: KeyRange = EVERYTHING,
        predicates: tuple[Callable[[Any], bool], ...] = (),
    ) -> None:
        self._transaction = transaction
        self._table = table
        self._description = description
        self._range = key_range
        self._predicates = predicates

    def with_index(self, name: str, conditions: Mapping[str, Any] | None = None, /, **fields: Any) -> TableQuery[D]:
        """Read a range of an index: values to equal for its first fields, then `rdb.gt(…)` and the like for one more.

        Nested fields go into the mapping: `with_index("by_city", {"address.city": "Oslo"})`.
        """
        description = self._description.with_index(name, {**(conditions or {}), **fields})
        key_range = description.key_range(self._table.schema)
        return TableQuery(self._transaction, self._table, description, key_range, self._predicates)

    def order(self, order: Order) -> TableQuery[D]:
        """`"asc"`, the default, or `"desc"`, along the index."""
        if order not in ("asc", "desc"):
            raise QueryError(f'order {order!r} is unknown. Use "asc" or "desc".')
        description = Description(self._description.index, self._description.conditions, order)
        return TableQuery(self._transaction, self._table, description, self._range, self._predicates)

    def filter(self, predicate: Callable[[D], bool]) -> TableQuery[D]:
        """Keep the documents for which `predicate` is true; those it drops count as read."""
        if not callable(predicate):
            raise QueryError(f"filter takes a function of a document, such as `lambda m: m.done`, got {predicate!r}.")
        predicates = (*self._predicates, predicate)
        return TableQuery(self._transaction, self._table, self._description, self._range, predicates)

    def __iter__(self) -> Iterator[D]:
        return self._kept(self._scan(self._range))

    def collect(self) -> list[D]:
        """Every document."""
        return self._take(None)

    def take(self, n: int) -> list[D]:
        """The first `n` documents."""
        if not isinstance(n, int) or n < 0:
            raise QueryError(f"take a number of documents, 0 or more, got {n!r}.")
        return self._take(n)

    def first(self) -> D | None:
        """The first document, None if there is none."""
        return next(iter(self), None)

    def unique(self) -> D | None:
        """The only document, None if there is none.

        Raises:
            NotUniqueError: there are two or more.
        """
        found = self.take(2)
        if len(found) == 2:
            raise NotUniqueError(
                f"more than one document of table {self._table.schema.name!r} matches: {found[0].id}, {found[1].id}. "
                "Use `.first()` or a narrower range."
            )
        return found[0] if found else None

    def count(self) -> int:
        """How many documents there are; without a filter, no document is read for it."""
        if self._predicates:
            return sum(1 for _ in self)
        return self._transaction.count(self._table, self._description.index, self._range)

    def paginate(self, cursor: str | None, n: int) -> Page[D]:
        """The `n` documents after `cursor`; None begins.

        A live page keeps its first and last key: it grows and shrinks with the data, and never shifts.

        Raises:
            QueryError: a cursor of another query, or a second `paginate` in one function.
        """
        if not isinstance(n, int) or not 1 <= n <= limits.PAGE_ITEMS_MAX:
            raise QueryError(f"a page has 1 to {limits.PAGE_ITEMS_MAX:,} documents, got {n!r}.")
        key_range = self._range
        print_ = self._fingerprint(key_range)
        rest = key_range if cursor is None else self._after(key_range, decode_cursor(print_, cursor))
        before = self._transaction.begin_page()
        # A page of what the function or the index was before it was declared anew has no place to keep.
        end = decode_cursor(print_, before) if before is not None and before.startswith(print_) else None
        scan = self._scan(rest if end is None else self._until(rest, end))
        items = list(islice(self._kept(scan), n)) if end is None else list(self._kept(scan))
        last = scan.last_key
        if end is not None:
            last = end
        elif len(items) < n:
            last = b""  # the end of the range, wherever that will be
        next_cursor = encode_cursor(print_, cast(bytes, last))
        self._transaction.end_page(next_cursor)
        return Page(items, next_cursor, is_done=not last)

    def _take(self, n: int | None) -> list[D]:
        if self._predicates:
            return list(islice(self, n))
        return cast("list[D]", self._scan(self._range).take(n))

    def _scan(self, key_range: KeyRange) -> Scan:
        descending = self._description.order == "desc"
        return self._transaction.scan(self._table, self._description.index, key_range, descending)

    def _kept(self, scan: Scan) -> Iterator[D]:
        kept: Iterator[Any] = scan
        for predicate in self._predicates:
            kept = filter(predicate, kept)
        return cast("Iterator[D]", kept)

    def _fingerprint(self, key_range: KeyRange) -> str:
        schema, index = self._table.schema, self._description.index
        return fingerprint(schema.number, index, schema.index(index).fields, key_range, self._description.order)

    def _after(self, key_range: KeyRange, key: bytes) -> KeyRange:
        """What of the range comes after `key`; the empty key stands for its end."""
        lo, hi, prefix = key_range
        if not key:
            return KeyRange(lo, lo, prefix)
        return KeyRange(lo, key, prefix) if self._description.order == "desc" else KeyRange(key + b"\0", hi, prefix)

    def _until(self, key_range: KeyRange, key: bytes) -> KeyRange:
        """What of the range comes up to `key`, `key` included."""
        lo, hi, prefix = key_range
        if not key:
            return key_range
        return KeyRange(key, hi, prefix) if self._description.order == "desc" else KeyRange(lo, key + b"\0", prefix)
