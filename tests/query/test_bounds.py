"""Bounds: what `rdb.gt(…)` and the like say, and what two of them say together."""

from __future__ import annotations

import pytest

import reactive_db as rdb
from reactive_db.errors import QueryError


@pytest.mark.parametrize(
    ("bound", "lower", "upper"),
    [
        (rdb.gt(3), (3, False), None),
        (rdb.gte(3), (3, True), None),
        (rdb.lt(3), None, (3, False)),
        (rdb.lte(3), None, (3, True)),
        (rdb.between(3, 9), (3, True), (9, True)),
        (rdb.gt(3) & rdb.lte(9), (3, False), (9, True)),
        (rdb.lt(9) & rdb.gte(3), (3, True), (9, False)),
        (rdb.gte(None) & rdb.lt(None), (None, True), (None, False)),
    ],
)
def test_a_bound_has_a_lower_and_an_upper_end(bound: rdb.Bound, lower: object, upper: object) -> None:
    assert (bound.lower, bound.upper) == (lower, upper)


@pytest.mark.parametrize(
    ("one", "other"),
    [(rdb.gt(3), rdb.gte(4)), (rdb.lt(3), rdb.lte(4)), (rdb.between(1, 2), rdb.gt(3)), (rdb.lt(None), rdb.lt(3))],
)
def test_a_range_has_one_end_on_each_side(one: rdb.Bound, other: rdb.Bound) -> None:
    with pytest.raises(QueryError, match="at most one lower and one upper bound"):
        one & other


def test_a_bound_combines_with_bounds_only() -> None:
    with pytest.raises(TypeError):
        rdb.gt(3) & 9  # type: ignore[operator]
