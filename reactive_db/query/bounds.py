"""Bounds of an index range: what `with_index(name, field=…)` accepts besides a value to equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reactive_db.errors import QueryError


@dataclass(frozen=True, slots=True)
class Bound:
    """A lower and an upper end for one field; None in a place of `lower` or `upper` means no end there.

    Two combine with `&`: `rdb.gt(3) & rdb.lt(9)`.
    """

    lower: tuple[Any, bool] | None = None
    """`(value, whether it is inside)`."""
    upper: tuple[Any, bool] | None = None

    def __and__(self, other: Bound) -> Bound:
        if not isinstance(other, Bound):
            return NotImplemented
        if (self.lower and other.lower) or (self.upper and other.upper):
            raise QueryError("a range has at most one lower and one upper bound. Combine one of each.")
        return Bound(self.lower or other.lower, self.upper or other.upper)


def gt(value: Any) -> Bound:
    """Greater than `value`, in the total order of values."""
    return Bound(lower=(value, False))


def gte(value: Any) -> Bound:
    """Greater than or equal to `value`."""
    return Bound(lower=(value, True))


def lt(value: Any) -> Bound:
    """Less than `value`; null and values of types that sort before its type are less than everything."""
    return Bound(upper=(value, False))


def lte(value: Any) -> Bound:
    """Less than or equal to `value`."""
    return Bound(upper=(value, True))


def between(lower: Any, upper: Any) -> Bound:
    """From `lower` to `upper`, both inside."""
    return Bound(lower=(lower, True), upper=(upper, True))
