"""Reading a table: refinements, terminals, pages that stay in place, and reads that cannot be."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db.errors import LimitError, NotUniqueError, QueryError
from tests.conftest import Open


class Item(rdb.Document, table="table_query_items", indexes={"by_group": ["group", "rank"]}):
    group: str
    rank: int
    tag: str = ""


def read(db: rdb.Database, function: Callable[[rdb.QueryCtx], Any]) -> Any:
    return db.run(rdb.query(function))


@rdb.mutation
def add(ctx: rdb.MutationCtx, group: str, *, ranks: list[int]) -> None:
    for rank in ranks:
        ctx.db.insert(Item(group, rank))


@rdb.mutation
def remove(ctx: rdb.MutationCtx, rank: int) -> None:
    for item in ctx.db.query(Item).filter(lambda item: item.rank == rank):
        ctx.db.delete(item.id)


@pytest.fixture
def items(db: rdb.Database) -> rdb.Database:
    db.run(add, "b", ranks=[3, 1])
    db.run(add, "a", ranks=[2, 5, 4])
    return db


def ranks(found: list[Item]) -> list[int]:
    return [item.rank for item in found]


# --- terminals -------------------------------------------------------------------------------------------------------


def test_a_table_is_read_in_order_of_creation(items: rdb.Database) -> None:
    assert ranks(read(items, lambda ctx: ctx.db.query(Item).collect())) == [3, 1, 2, 5, 4]
    assert ranks(read(items, lambda ctx: ctx.db.query(Item).order("desc").collect())) == [4, 5, 2, 1, 3]
    assert ranks(read(items, lambda ctx: list(ctx.db.query(Item)))) == [3, 1, 2, 5, 4]


def test_an_index_gives_its_order(items: rdb.Database) -> None:
    assert ranks(read(items, lambda ctx: ctx.db.query(Item).with_index("by_group").collect())) == [2, 4, 5, 1, 3]
    group_a = rdb.query(lambda ctx: ctx.db.query(Item).with_index("by_group", group="a", rank=rdb.gt(2)).collect())
    assert ranks(items.run(group_a)) == [4, 5]
    last = rdb.query(lambda ctx: ctx.db.query(Item).with_index("by_group", group="a").order("desc").first())
    assert items.run(last).rank == 5


def test_conditions_may_be_a_mapping(items: rdb.Database) -> None:
    assert ranks(
        read(items, lambda ctx: ctx.db.query(Item).with_index("by_group", {"group": "b"}, rank=3).collect())
    ) == [3]


def test_take_first_unique_count(items: rdb.Database) -> None:
    def terminals(ctx: rdb.QueryCtx) -> Any:
        everything = ctx.db.query(Item)
        one = everything.with_index("by_group", group="a", rank=4)
        none = everything.with_index("by_group", group="zz")
        return [
            ranks(everything.take(2)), everything.take(0), ranks(everything.take(99)),
            everything.first().rank, one.unique().rank, none.first(), none.unique(),  # type: ignore[union-attr]
            everything.count(), one.count(), none.count(), everything.filter(lambda item: item.rank > 2).count(),
        ]  # fmt: skip

    assert read(items, terminals) == [[3, 1], [], [3, 1, 2, 5, 4], 3, 4, None, None, 5, 1, 0, 3]


def test_filters_add_up(items: rdb.Database) -> None:
    def filtered(ctx: rdb.QueryCtx) -> list[int]:
        query = ctx.db.query(Item).filter(lambda item: item.rank > 1).filter(lambda item: item.group == "a")
        return ranks(query.collect()) + ranks(query.take(1)) + [query.first().rank, query.count()]  # type: ignore[union-attr]

    assert read(items, filtered) == [2, 5, 4, 2, 2, 3]


def test_a_refinement_leaves_the_query_it_refines_alone(items: rdb.Database) -> None:
    def reads(ctx: rdb.QueryCtx) -> list[int]:
        query = ctx.db.query(Item)
        query.order("desc")
        query.filter(lambda item: False)
        query.with_index("by_group", group="a")
        return ranks(query.collect())

    assert read(items, reads) == [3, 1, 2, 5, 4]


def test_two_documents_are_not_unique(items: rdb.Database) -> None:
    with pytest.raises(
        NotUniqueError, match=r"more than one document of table 'table_query_items' matches: .*`\.first\(\)`"
    ):
        read(items, lambda ctx: ctx.db.query(Item).with_index("by_group", group="a").unique())


# --- every type as an index key --------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


NAN, INF = float("nan"), float("inf")
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
KEYS: dict[str, tuple[Any, list[Any]]] = {
    # the annotation, and values in the order of the index
    "strings, by code point": (str, ["", "\0", "a", "a\0", "aa", "b", "é", "\uffff", "🦀"]),
    "ints": (int, [-(2**63), -(2**62), -1, 0, 1, 255, 256, 2**62, 2**63 - 1]),
    "floats": (float, [-INF, -1e300, -1.0, -5e-324, -0.0, 0.0, 5e-324, 1.0, 1e300, INF, NAN]),
    "booleans": (bool, [False, True]),
    "bytes": (bytes, [b"", b"\0", b"\0\0", b"\1", b"\xff"]),
    "times": (datetime, [NOON - timedelta(days=20_000), NOON, NOON + timedelta(microseconds=1)]),
    "days": (date, [date.min, date(2024, 4, 30), date(2024, 5, 1), date.max]),
    "decimals": (Decimal, [Decimal(text) for text in ("-1e28", "-1.5", "-0.000000001", "0", "0.1", "1.50", "1e28")]),
    "enums, by value": (Colour, [Colour.BLUE, Colour.RED]),
    "null first": (int | None, [None, -1, 0]),
    "ints before floats": (int | float, [-5, 5, -5.0, -0.0, 5.0]),
    "types in Convex's order": (Any, [None, 1, 1.0, False, True, "a", b"a", [1], {"a": 1}, NOON]),
}


@pytest.mark.parametrize("name", KEYS)
def test_every_type_is_stored_ordered_and_found_as_an_index_key(name: str, db: rdb.Database) -> None:
    annotation, values = KEYS[name]
    namespace = {"__annotations__": {"key": annotation}, "__module__": __name__}
    made: Any = type(rdb.Document)(
        "Keyed", (rdb.Document,), namespace, table="table_query_keyed", indexes={"by_key": ["key"]}
    )

    @rdb.mutation
    def insert(ctx: rdb.MutationCtx) -> None:
        for value in reversed(values):
            ctx.db.insert(made(key=value))

    def found(**conditions: Any) -> list[Any]:
        reads = rdb.query(lambda ctx: [one.key for one in ctx.db.query(made).with_index("by_key", **conditions)])
        return db.run(reads)  # type: ignore[no-any-return]

    db.run(insert)
    assert repr(found()) == repr(values)
    for at, value in enumerate(values):
        assert repr(found(key=value)) == repr([value])
        assert repr(found(key=rdb.gt(value))) == repr(values[at + 1 :])
        assert repr(found(key=rdb.lt(value))) == repr(values[:at])


def test_a_missing_field_is_found_as_missing_and_comes_before_null(db: rdb.Database) -> None:
    due = rdb.v.optional(rdb.v.nullable(rdb.v.int64()))
    Task = rdb.table("table_query_tasks", {"by_due": ["due"]}, due=due)
    values = [rdb.MISSING, None, -1]
    db.run(rdb.mutation(lambda ctx: [ctx.db.insert(Task(due=value)) for value in reversed(values)]))

    def found(**conditions: Any) -> list[Any]:
        reads = rdb.query(lambda ctx: [one.due for one in ctx.db.query(Task).with_index("by_due", **conditions)])
        return db.run(reads)  # type: ignore[no-any-return]

    assert found() == values
    assert found(due=rdb.MISSING) == [rdb.MISSING]
    assert found(due=None) == [None]
    assert found(due=rdb.gt(rdb.MISSING)) == [None, -1]
    assert db.sql("SELECT count(*) FROM table_query_tasks WHERE due IS NULL").fetchone() == (2,)


# --- reads that cannot be --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reads", "says"),
    [
        (lambda query: query.with_index("by_rank"), "has no index 'by_rank'"),
        (lambda query: query.with_index("by_id", id="a"), r"Use `ctx\.db\.get\(id\)`"),
        (lambda query: query.with_index("by_group", rank=1), "'rank' can only be compared when"),
        (lambda query: query.with_index("by_group", gruop="a"), "has no field 'gruop'"),
        (lambda query: query.with_index("by_group", group=1), "expected `str`, got `int`"),
        (lambda query: query.order("up"), 'order \'up\' is unknown. Use "asc" or "desc"'),
        (lambda query: query.filter("rank > 1"), "filter takes a function of a document"),
        (lambda query: query.take(-1), "take a number of documents, 0 or more, got -1"),
        (lambda query: query.take(1.5), "take a number of documents, 0 or more, got 1.5"),
        (lambda query: query.take(None), "take a number of documents, 0 or more, got None"),
        (lambda query: query.paginate(None, 0), "a page has 1 to 8,192 documents, got 0"),
        (lambda query: query.paginate(None, 8_193), "a page has 1 to 8,192 documents, got 8193"),
        (lambda query: query.paginate(None, "3"), "a page has 1 to 8,192 documents, got '3'"),
        (lambda query: query.paginate("abc", 3), "cursor 'abc' does not belong to this query"),
        (lambda query: query.paginate(3, 3), "cursor 3 does not belong to this query"),
        (lambda query: [query.paginate(None, 3), query.paginate(None, 3)], "paginates twice; .* Use two functions"),
    ],
)
def test_a_read_that_cannot_be_is_refused(reads: Callable[[Any], Any], says: str, items: rdb.Database) -> None:
    with pytest.raises(QueryError, match=says):
        read(items, lambda ctx: reads(ctx.db.query(Item)))


def test_an_exception_in_a_filter_is_the_users_own(items: rdb.Database) -> None:
    with pytest.raises(ZeroDivisionError):
        read(items, lambda ctx: ctx.db.query(Item).filter(lambda item: item.rank / 0 > 1).collect())


# --- limits ----------------------------------------------------------------------------------------------------------


def test_documents_read_have_a_limit(open_db: Open) -> None:
    db = open_db(limits=rdb.Limits(documents_read_max=10))
    db.run(add, "a", ranks=list(range(11)))
    assert len(read(db, lambda ctx: ctx.db.query(Item).take(10))) == 10
    for reads in (
        lambda ctx: ctx.db.query(Item).collect(),
        lambda ctx: list(ctx.db.query(Item)),
        lambda ctx: ctx.db.query(Item).filter(lambda item: False).first(),
        lambda ctx: [ctx.db.query(Item).first() for _ in range(11)],
    ):
        with pytest.raises(
            LimitError, match=r"read more than 10 documents \(documents_read_max\)\. Read a narrower"
        ) as error:
            read(db, reads)
        assert error.value.limit == "documents_read_max"


def test_a_count_reads_no_documents(open_db: Open) -> None:
    db = open_db(limits=rdb.Limits(documents_read_max=10))
    db.run(add, "a", ranks=list(range(11)))
    assert read(db, lambda ctx: ctx.db.query(Item).count()) == 11


def test_more_documents_than_32_000_cannot_be_read_in_one_query(db: rdb.Database) -> None:
    db.load(Item, ({"group": "a", "rank": rank} for rank in range(32_001)), progress=False)
    everything = rdb.query(lambda ctx: ctx.db.query(Item).collect())
    with pytest.raises(LimitError, match="read more than 32,000 documents"):
        db.run(everything)
    assert len(read(db, lambda ctx: ctx.db.query(Item).take(32_000))) == 32_000
    handle = db.live(everything)
    assert (handle.status, type(handle.error)) == ("error", LimitError)


def test_key_ranges_have_a_limit(open_db: Open) -> None:
    db = open_db(limits=rdb.Limits(key_ranges_max=20))
    db.run(add, "a", ranks=[1])

    def narrow(ctx: rdb.QueryCtx, n: int) -> int:
        return sum(ctx.db.query(Item).with_index("by_group", group=str(at)).count() for at in range(n))

    narrow_query = rdb.query(narrow)
    assert db.run(narrow_query, 20) == 0
    with pytest.raises(LimitError, match=r"read 21 key ranges; at most 20 \(key_ranges_max\)\. Read one wider range"):
        db.run(narrow_query, 21)


def test_a_mutation_over_its_key_ranges_writes_nothing(open_db: Open) -> None:
    db = open_db(limits=rdb.Limits(key_ranges_max=20))

    def writes(ctx: rdb.MutationCtx) -> None:
        ctx.db.insert(Item("a", 1))
        for at in range(21):
            ctx.db.query(Item).with_index("by_group", group=str(at)).count()

    with pytest.raises(LimitError, match="key_ranges_max"):
        db.run(rdb.mutation(writes))
    assert read(db, lambda ctx: ctx.db.query(Item).count()) == 0


# --- pages -----------------------------------------------------------------------------------------------------------


@rdb.query
def page(ctx: rdb.QueryCtx, cursor: str | None = None, n: int = 3, order: str = "asc") -> rdb.Page[Item]:
    return ctx.db.query(Item).with_index("by_group", group="a").order(order).paginate(cursor, n)  # type: ignore[arg-type]


def all_pages(db: rdb.Database, n: int, order: str) -> list[int]:
    found: list[int] = []
    cursor = None
    while True:
        one = db.run(page, cursor, n, order)
        assert len(one.items) <= n
        found += ranks(one.items)
        if one.is_done:
            return found
        cursor = one.cursor


@pytest.mark.parametrize("n", [1, 2, 3, 10, 11])
def test_pages_cover_a_range_once(db: rdb.Database, n: int) -> None:
    db.run(add, "a", ranks=list(range(10)))
    db.run(add, "b", ranks=[1, 2])
    assert all_pages(db, n, "asc") == list(range(10))
    assert all_pages(db, n, "desc") == list(range(9, -1, -1))


def test_the_cursor_of_a_done_page_gives_an_empty_page(db: rdb.Database) -> None:
    done = db.run(page)
    assert (done.items, done.is_done) == ([], True)
    after = db.run(page, done.cursor)
    assert (after.items, after.is_done) == ([], True)


def test_the_cursor_of_another_query_is_refused(db: rdb.Database) -> None:
    db.run(add, "a", ranks=list(range(5)))
    cursor = db.run(page).cursor
    assert ranks(db.run(page, cursor).items) == [3, 4]
    with pytest.raises(QueryError, match="does not belong to this query"):
        db.run(page, cursor, 3, "desc")


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_live_page_stays_in_place(db: rdb.Database, order: str) -> None:
    """It grows and shrinks with what lies between its ends; the page after it neither repeats nor misses anything."""
    db.run(add, "a", ranks=[0, 10, 20, 30, 40, 50])
    first = db.live(page, None, 3, order)
    second = db.live(page, first.value.cursor, 3, order)
    assert ranks(first.value.items) == ([0, 10, 20] if order == "asc" else [50, 40, 30])

    db.run(add, "a", ranks=[5, 45])
    assert ranks(first.value.items) == ([0, 5, 10, 20] if order == "asc" else [50, 45, 40, 30])
    assert ranks(second.value.items) == ([30, 40, 45, 50] if order == "asc" else [20, 10, 5, 0])

    db.run(remove, 10)
    db.run(remove, 40)
    assert sorted(ranks(first.value.items) + ranks(second.value.items)) == [0, 5, 20, 30, 45, 50]
    assert set(ranks(first.value.items)).isdisjoint(ranks(second.value.items))


def test_the_last_live_page_grows_at_its_end(db: rdb.Database) -> None:
    db.run(add, "a", ranks=[1, 2])
    only = db.live(page, None, 5)
    assert (ranks(only.value.items), only.value.is_done) == ([1, 2], True)
    db.run(add, "a", ranks=[3, 4, 5, 6])
    assert (ranks(only.value.items), only.value.is_done) == ([1, 2, 3, 4, 5, 6], True)


def test_a_page_whose_last_document_goes_keeps_its_end(db: rdb.Database) -> None:
    db.run(add, "a", ranks=[1, 2, 3, 4, 5, 6])
    first = db.live(page, None, 3)
    second = db.live(page, first.value.cursor, 3)
    db.run(remove, 3)
    assert (ranks(first.value.items), ranks(second.value.items)) == ([1, 2], [4, 5, 6])
    assert first.value.is_done is False


def test_a_filtered_page_is_as_long_as_it_says(db: rdb.Database) -> None:
    db.run(add, "a", ranks=list(range(10)))

    def even(ctx: rdb.QueryCtx) -> Any:
        one = ctx.db.query(Item).filter(lambda item: item.rank % 2 == 0).paginate(None, 3)
        return ranks(one.items), one.is_done

    assert read(db, even) == ([0, 2, 4], False)
