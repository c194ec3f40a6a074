"""The query cache as such: what it keeps, what a commit makes stale, and that nothing stays subscribed for nobody."""

from __future__ import annotations

import pytest

from reactive_db import limits
from reactive_db.engine.read_set import BY_ID, ReadSet
from reactive_db.engine.snapshots import Snapshot
from reactive_db.engine.write_log import LoggedCommit
from reactive_db.model.codec import Converter
from reactive_db.model.documents import Document
from reactive_db.model.ids import new_id
from reactive_db.model.keys import EVERYTHING, encode_value, prefix_range
from reactive_db.model.schema import TableSchema
from reactive_db.reactive.live_query import LiveQuery, Outcome
from reactive_db.reactive.query_cache import QueryCache
from reactive_db.storage.tables import Write

TABLE, OTHER = 10_001, 10_002


class Item(Document, table="query_cache_items", indexes={"by_a": ["a"]}):
    a: int


SCHEMA = TableSchema(Item, TABLE, Converter(lambda name: TABLE))
ID = new_id(TABLE, bytes(14), 0.0)


def item(a: int) -> Document:
    return SCHEMA.build(ID, 0.0, {"a": a})[0]


def commit(ts: int, old: int | None, new: int | None, *, is_bulk: bool = False) -> LoggedCommit:
    """The document's field goes from one value to another; None where it is not there."""
    before, after = (None if a is None else item(a) for a in (old, new))
    return LoggedCommit(ts, "test", {TABLE: (SCHEMA, [Write(ID, before, after, None)])}, is_bulk)


def reads(a: int | None = None, *, table: int = TABLE) -> ReadSet:
    """Of the documents with that value; of the whole table."""
    found = ReadSet()
    found.add_range((table, "by_a"), EVERYTHING if a is None else prefix_range(encode_value(a)))
    return found


def by_id() -> ReadSet:
    found = ReadSet()
    found.add_document(TABLE, ID)
    return found


def never(ts: int, page_end: str | None) -> Outcome:
    raise AssertionError("the cache runs no query")


@pytest.fixture
def cache() -> QueryCache:
    return QueryCache()


def settled(cache: QueryCache, name: str, found: ReadSet, *, ts: int = 0, watched: bool = True) -> LiveQuery:
    key = (name, b"")
    query = cache.watch(key, never, False) if watched else cache.query(key, never, False)
    cache.take_stale()
    cache.settle(query, Outcome(Snapshot(ts), found))
    return query


# --- what goes stale -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "old", "new", "is_hit"),
    [
        (reads(1), None, 1, True),
        (reads(1), 1, None, True),
        (reads(1), 2, 1, True),
        (reads(1), 1, 2, True),
        (reads(1), 1, 1, True),
        (reads(1), None, 2, False),
        (reads(1), 2, 3, False),
        (reads(), 2, 3, True),
        (by_id(), 2, 3, True),
        (by_id(), 3, None, True),
        (reads(1, table=OTHER), 1, 2, False),
        (ReadSet(), 1, 2, False),
    ],
)
def test_a_commit_hits_who_reads_where_it_wrote(
    cache: QueryCache, found: ReadSet, old: int | None, new: int | None, is_hit: bool
) -> None:
    query = settled(cache, "q", found)
    cache.invalidate(commit(1, old, new))
    assert query.is_stale == is_hit
    assert (query in cache.take_stale()) == is_hit


@pytest.mark.parametrize(("found", "is_hit"), [(reads(9), True), (by_id(), True), (reads(table=OTHER), False)])
def test_a_bulk_commit_hits_whoever_reads_the_table(cache: QueryCache, found: ReadSet, is_hit: bool) -> None:
    query = settled(cache, "q", found)
    cache.invalidate(commit(1, None, 1, is_bulk=True))
    assert query.is_stale == is_hit


def test_stale_queries_are_taken_once_oldest_first(cache: QueryCache) -> None:
    queries = [settled(cache, f"q{number}", reads()) for number in range(20)]
    cache.invalidate(commit(1, 1, 2))
    assert cache.take_stale() == queries
    assert cache.take_stale() == []
    cache.settle(queries[0], Outcome(Snapshot(1), reads()))
    cache.put_back(queries)
    assert cache.take_stale() == queries[1:]


@pytest.mark.parametrize("ts", [3, 4, 5])
def test_a_run_that_a_commit_overtook_is_stale_at_birth(cache: QueryCache, ts: int) -> None:
    for number in range(1, 6):
        cache.invalidate(commit(number, None, 1 if number == 4 else 9))
    assert settled(cache, "q", reads(1), ts=ts).is_stale == (ts < 4)


def test_what_a_query_read_last_is_what_counts(cache: QueryCache) -> None:
    query = settled(cache, "q", reads(1))
    cache.settle(query, Outcome(Snapshot(1), reads(2)))
    cache.invalidate(commit(2, None, 1))
    assert not query.is_stale
    cache.invalidate(commit(3, None, 2))
    assert query.is_stale
    assert cache.ranges == 1


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_one_key_is_one_query(cache: QueryCache) -> None:
    assert cache.query(("q", b""), never, False) is cache.watch(("q", b""), never, False)
    assert cache.query(("q", b""), never, False) is not cache.query(("q", b"other"), never, False)
    assert len(cache) == 2


def test_what_nobody_watches_is_dropped_when_it_goes_stale(cache: QueryCache) -> None:
    settled(cache, "q", reads(1), watched=False)
    assert (len(cache), cache.ranges) == (1, 1)
    cache.invalidate(commit(1, None, 1))
    assert (len(cache), cache.ranges, cache.take_stale()) == (0, 0, [])


def test_what_nobody_watches_is_kept_up_to_a_limit(cache: QueryCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CACHED_QUERIES_MAX", 3)
    first = settled(cache, "q0", reads(0), watched=False)
    for number in range(1, 10):
        settled(cache, f"q{number}", reads(number), watched=False)
        assert cache.query(("q0", b""), never, False) is first, "it was asked for all the time"
    assert (len(cache), cache.ranges) == (3, 3)


def test_the_last_watcher_gone_nothing_is_left(cache: QueryCache) -> None:
    query = settled(cache, "q", reads(1))
    cache.unwatch(query)
    cache.invalidate(commit(1, None, 1))
    assert (len(cache), cache.ranges, cache.watched, cache.take_stale()) == (0, 0, {}, [])


def test_a_query_dropped_while_it_runs_is_taken_back(cache: QueryCache) -> None:
    query = settled(cache, "q", reads(1), watched=False)
    cache.invalidate(commit(1, None, 1))
    cache.settle(query, Outcome(Snapshot(1), reads(1)))
    assert (len(cache), cache.ranges, query.is_stale) == (1, 1, False)
    assert cache.query(query.key, never, False) is query
    cache.invalidate(commit(2, None, 1))
    assert (len(cache), cache.ranges) == (0, 0)


def test_a_query_dropped_and_replaced_while_it_runs_subscribes_to_nothing(cache: QueryCache) -> None:
    query = settled(cache, "q", reads(1), watched=False)
    cache.invalidate(commit(1, None, 1))
    successor = settled(cache, "q", reads(1), ts=1)
    assert successor is not query
    cache.settle(query, Outcome(Snapshot(1), reads(1)))
    assert (query.is_stale, cache.ranges, cache.watched[query.key]) == (True, 1, successor)
    cache.unwatch(successor)
    assert cache.ranges == 0


def test_a_query_run_apart_from_its_watchers_runs_with_them_before_another_joins(cache: QueryCache) -> None:
    query = settled(cache, "q", reads(1))
    query.shown = query.outcome
    assert cache.watch(query.key, never, False) is query
    assert cache.take_stale() == []
    cache.settle(query, Outcome(Snapshot(1), reads(1)))
    cache.watch(query.key, never, False)
    assert cache.take_stale() == [query]


# --- functions declared anew -----------------------------------------------------------------------------------------


def test_a_function_declared_anew_runs_again(cache: QueryCache) -> None:
    watched, other = settled(cache, "q", reads(1)), settled(cache, "other", reads(1))
    settled(cache, "idle", ReadSet(), watched=False)

    def renewed(snapshot: Snapshot, page_end: str | None) -> Outcome:
        return Outcome(snapshot, ReadSet(), "new")

    cache.invalidate_function("q", {watched.key: renewed})
    cache.invalidate_function("idle", {})
    assert cache.take_stale() == [watched]
    assert (watched.run, other.run) == (renewed, never)
    assert len(cache) == 2, "what nobody watches is made anew"


def test_reads_by_id_are_in_the_space_of_ids(cache: QueryCache) -> None:
    found = ReadSet()
    found.add_range((TABLE, BY_ID), EVERYTHING)
    query = settled(cache, "sql", found)
    cache.invalidate(commit(1, 1, 2))
    assert query.is_stale
