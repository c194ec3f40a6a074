"""Descriptions: Convex's rules for index ranges, and cursors that know their query."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reactive_db as rdb
from reactive_db.errors import QueryError
from reactive_db.model.codec import Converter
from reactive_db.model.ids import RANDOM_BYTES, new_ids
from reactive_db.model.schema import TableSchema
from reactive_db.query.description import Description, decode_cursor, encode_cursor, fingerprint

NUMBER = 10_001
TEAMS = ["", "a", "ab", "b"]
RANKS = [None, 1, 2]
SCORES = [-1.0, -0.0, 0.0, float("nan")]


class Player(rdb.Document, table="description_players", indexes={"by_team": ["team", "rank", "score"]}):
    team: str
    rank: int | None
    score: float


SCHEMA = TableSchema(Player, NUMBER, Converter({"description_players": NUMBER}.get))


def everybody() -> list[Any]:
    fields = [(team, rank, score) for team in TEAMS for rank in RANKS for score in SCORES]
    ids = new_ids(NUMBER, len(fields), bytes(range(RANDOM_BYTES)) * len(fields), 0.0)
    return [
        SCHEMA.build(id, float(at), {"team": team, "rank": rank, "score": score})[0]
        for at, (id, (team, rank, score)) in enumerate(zip(ids, fields, strict=True))
    ]


EVERYBODY = everybody()


def found(**conditions: Any) -> list[tuple[Any, ...]]:
    """Who is in the range of those conditions, in the order of the index."""
    key_range = Description().with_index("by_team", conditions).key_range(SCHEMA)
    key = SCHEMA.index("by_team").key
    inside = sorted((key(one), one.team, one.rank, one.score) for one in EVERYBODY if key_range.contains(key(one)))
    return [tuple(rest) for _, *rest in inside]


def expected(keeps: Any) -> list[tuple[Any, ...]]:
    return [(one.team, one.rank, one.score) for one in EVERYBODY if keeps(one)]


def same(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> bool:
    return repr(one) == repr(other)  # NaN equals itself here, and zeros are told apart


# --- ranges ----------------------------------------------------------------------------------------------------------


def test_no_condition_is_the_whole_index_in_its_order() -> None:
    assert same(found(), expected(lambda one: True))


@pytest.mark.parametrize("team", TEAMS)
def test_equality_of_the_first_field(team: str) -> None:
    """ "a" is not a prefix of "ab" here, as it would be if keys were glued together carelessly."""
    assert same(found(team=team), expected(lambda one: one.team == team))


def test_equalities_may_come_in_any_order() -> None:
    conditions = {"score": 0.0, "rank": 1, "team": "a"}
    assert same(found(**conditions), found(**dict(reversed(conditions.items()))))
    assert same(found(**conditions), [("a", 1, 0.0)])


def test_null_is_a_value_like_any_other() -> None:
    assert same(found(team="a", rank=None), expected(lambda one: one.team == "a" and one.rank is None))
    assert same(found(team="a", rank=rdb.gt(None)), expected(lambda one: one.team == "a" and one.rank is not None))
    assert found(team="a", rank=rdb.lt(None)) == []


def test_what_is_missing_is_less_than_null() -> None:
    assert found(team="a", rank=rdb.MISSING) == []
    assert same(found(team="a", rank=rdb.gt(rdb.MISSING)), expected(lambda one: one.team == "a"))


def test_nan_and_negative_zero_are_found_where_they_are() -> None:
    nan = float("nan")
    assert same(found(team="a", rank=1, score=nan), [("a", 1, nan)])
    assert same(found(team="a", rank=1, score=-0.0), [("a", 1, -0.0)])
    assert same(found(team="a", rank=1, score=0), [("a", 1, 0.0)])
    assert same(found(team="a", rank=1, score=rdb.gt(-0.0)), [("a", 1, 0.0), ("a", 1, nan)])
    assert same(found(team="a", rank=1, score=rdb.between(-0.0, 0.0)), [("a", 1, -0.0), ("a", 1, 0.0)])


@pytest.mark.parametrize(
    ("bound", "keeps"),
    [
        (rdb.gt("a"), lambda team: team > "a"),
        (rdb.gte("a"), lambda team: team >= "a"),
        (rdb.lt("ab"), lambda team: team < "ab"),
        (rdb.lte("ab"), lambda team: team <= "ab"),
        (rdb.between("a", "ab"), lambda team: "a" <= team <= "ab"),
        (rdb.gt("a") & rdb.lt("b"), lambda team: "a" < team < "b"),
        (rdb.gt("") & rdb.lte(""), lambda team: False),
        (rdb.between("b", "a"), lambda team: False),
        (rdb.Bound(), lambda team: True),
    ],
)
def test_a_bound_on_the_first_field(bound: rdb.Bound, keeps: Any) -> None:
    assert same(found(team=bound), expected(lambda one: keeps(one.team)))


VALUES = {"team": st.sampled_from(TEAMS), "rank": st.sampled_from(RANKS), "score": st.sampled_from(SCORES)}
ORDER = list(VALUES)


@given(st.data(), st.integers(0, 2))
def test_a_range_is_what_a_filter_would_keep(data: st.DataObject, equalities: int) -> None:
    """Random prefixes of equalities and a bound after them, against the total order itself."""
    exact = {name: data.draw(VALUES[name]) for name in ORDER[:equalities]}
    name = ORDER[equalities]
    low, high = data.draw(VALUES[name]), data.draw(VALUES[name])
    begin, end = SCHEMA.bound(name, low), SCHEMA.bound(name, high)
    lows = {rdb.gt: lambda key: key > begin, rdb.gte: lambda key: key >= begin}
    highs = {rdb.lt: lambda key: key < end, rdb.lte: lambda key: key <= end}
    lower, upper = data.draw(st.sampled_from(list(lows))), data.draw(st.sampled_from(list(highs)))

    def keeps(one: Any) -> bool:
        fixed = all(
            SCHEMA.bound(field, getattr(one, field)) == SCHEMA.bound(field, want) for field, want in exact.items()
        )
        key = SCHEMA.bound(name, getattr(one, name))
        return fixed and lows[lower](key) and highs[upper](key)

    assert same(found(**exact, **{name: lower(low) & upper(high)}), expected(keeps))


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ({"rank": 1}, "'rank' can only be compared when every field before it equals a value"),
        ({"team": "a", "score": 1.0}, "'score' can only be compared when every field before it equals a value"),
        ({"team": rdb.gt("a"), "rank": 1}, "'rank' can only be compared when every field before it equals a value"),
        ({"team": rdb.gt("a"), "rank": rdb.gt(1)}, "'rank' can only be compared when every field before it"),
        ({"score": rdb.gt(1)}, "'score' can only be compared when every field before it equals a value"),
        ({"name": "a"}, "has no field 'name'. Its fields, in order: team, rank, score"),
        ({"team": 1}, "index range on description_players.team: expected `str`, got `int`"),
        ({"team": rdb.gt(None)}, "index range on description_players.team: expected `str`, got `null`"),
        ({"team": "a", "rank": 1.5}, r"index range on description_players.rank: expected `int \| null`, got `float`"),
    ],
)
def test_a_range_that_an_index_cannot_have_is_refused(conditions: dict[str, Any], says: str) -> None:
    with pytest.raises(QueryError, match=says):
        Description().with_index("by_team", conditions).key_range(SCHEMA)


def test_an_unknown_index_is_refused() -> None:
    with pytest.raises(QueryError, match="table 'description_players' has no index 'by_rank'"):
        Description().with_index("by_rank", {}).key_range(SCHEMA)


def test_the_creation_time_is_an_index_of_every_table() -> None:
    late = Description().with_index("by_creation_time", {"creation_time": rdb.gte(40)}).key_range(SCHEMA)
    key = SCHEMA.index("by_creation_time").key
    assert [one.creation_time for one in EVERYBODY if late.contains(key(one))] == [float(at) for at in range(40, 48)]


# --- cursors ---------------------------------------------------------------------------------------------------------


def print_of(index: str = "by_team", order: Any = "asc", **conditions: Any) -> str:
    key_range = Description().with_index(index, conditions).key_range(SCHEMA)
    return fingerprint(NUMBER, index, SCHEMA.index(index).fields, key_range, order)


def test_a_cursor_comes_back() -> None:
    for key in (b"", b"\0\xff", SCHEMA.index("by_team").key(EVERYBODY[0])):
        assert decode_cursor(print_of(), encode_cursor(print_of(), key)) == key


@pytest.mark.parametrize(
    "other",
    [print_of(order="desc"), print_of("by_creation_time"), print_of(team="a"), print_of(team=rdb.gt(""))],
)
def test_a_cursor_of_another_query_is_refused(other: str) -> None:
    with pytest.raises(
        QueryError, match=r"does not belong to this query\. Pass the cursor of its own last page, or None"
    ):
        decode_cursor(print_of(), encode_cursor(other, b"key"))


GOOD = encode_cursor(print_of(), b"key")


@pytest.mark.parametrize(
    "damaged", ["", ".", "abc", 3, b"abc", [], print_of(), f"{GOOD[:16]}.é", f"{GOOD[:16]}.a", GOOD[1:]]
)
def test_what_is_no_cursor_is_refused(damaged: Any) -> None:
    with pytest.raises(QueryError, match="does not belong to this query"):
        decode_cursor(print_of(), damaged)


@pytest.mark.parametrize("at", range(len(GOOD)))
def test_a_damaged_cursor_is_refused(at: int) -> None:
    damaged = GOOD[:at] + ("b" if GOOD[at] == "a" else "a") + GOOD[at + 1 :]
    with pytest.raises(QueryError, match="does not belong to this query"):
        decode_cursor(print_of(), damaged)
