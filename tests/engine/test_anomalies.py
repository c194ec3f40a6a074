"""The named anomalies, each as one exact interleaving that a serializable store must not let through.

On the engine the loser gets a ConflictError; as functions on real threads nobody loses and the result is serializable.
A Committer that validates nothing is caught by each of them, so each of them can fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from reactive_db.errors import ConflictError
from reactive_db.functions.contexts import DatabaseWriter
from reactive_db.testing.consistency import check
from reactive_db.testing.history import Outcome, Read
from reactive_db.testing.registers import BY_ID, WAYS, Register
from reactive_db.testing.scenarios import run_script
from reactive_db.testing.stores import memory_database, memory_store
from reactive_db.testing.workloads import run_interleaved

# Each with what a checker calls it when it is let through, and whom the Committer must stop.
ANOMALIES = {
    "lost update": (
        ["a reads x", "b reads x", "a appends x", "a commits", "b appends x", "b commits"],
        {"G-single", "lost-append"},
        "b",
    ),
    "write skew": (
        ["a reads x y", "b reads x y", "a appends x", "b appends y", "a commits", "b commits"],
        {"G2"},
        "b",
    ),
    # Each finds no trace of the other, by whatever range it looks: what is not there yet is a phantom.
    "phantom": (
        ["a reads all", "b reads all", "a appends x", "b appends y", "a commits", "b commits"],
        {"G2"},
        "b",
    ),
    # Fekete, O'Neil, O'Neil 2004: a and b alone would be serializable, as a before b; c, who only reads, sees that b
    # was there and a was not.
    "read-only anomaly": (
        [
            "a reads x y",
            "b reads y",
            "b appends y",
            "b commits",
            "c reads x y",
            "c commits",
            "a appends x",
            "a commits",
        ],
        {"G2"},
        "a",
    ),
}

each_anomaly = pytest.mark.parametrize("name", ANOMALIES)
each_way = pytest.mark.parametrize("way", range(WAYS + 1))
existing_or_not = pytest.mark.parametrize("exist", [False, True], ids=["new documents", "old documents"])


@each_anomaly
@each_way
def test_the_engine_stops_the_loser(name: str, way: int) -> None:
    script, _, loser = ANOMALIES[name]
    store = memory_store()
    run = run_script(store, script, way=way, exist=way == BY_ID)
    store.close()
    assert run.outcome(loser) is Outcome.ABORTED, "\n".join(run.trace)
    others = [one for one in run.history if one.caller != loser]
    assert all(one.outcome is Outcome.COMMITTED for one in others)
    check(run.history).raise_if_any()


@each_anomaly
@each_way
def test_an_engine_that_validates_nothing_is_caught(name: str, way: int) -> None:
    script, kinds, loser = ANOMALIES[name]
    store = memory_store(validates=False)
    run = run_script(store, script, way=way, exist=way == BY_ID)
    store.close()
    assert run.outcome(loser) is Outcome.COMMITTED
    assert {anomaly.kind for anomaly in check(run.history).anomalies} & kinds


@each_anomaly
@existing_or_not
def test_functions_on_threads_all_finish(name: str, exist: bool) -> None:
    script, _, _ = ANOMALIES[name]
    with memory_database() as database:
        history = run_interleaved(database, script, exist=exist)
    appended = sum(len(line.split()[2:]) for line in script if " appends " in line)
    assert sum(len(read.values) for read in history[-1].operations if isinstance(read, Read)) == appended
    check(history).raise_if_any()


@each_anomaly
@existing_or_not
def test_functions_over_an_engine_that_validates_nothing_are_caught(name: str, exist: bool) -> None:
    script, kinds, _ = ANOMALIES[name]
    with memory_database(validates=False) as database:
        history = run_interleaved(database, script, exist=exist)
    assert {anomaly.kind for anomaly in check(history).anomalies} & kinds


# --- phantoms, one per way to read a range: each leaves its own read set ---------------------------------------------


READS = {
    "collect": lambda query: query.collect(),
    "an index range": lambda query: query.with_index("by_name", name="x").collect(),
    "count": lambda query: query.count(),
    "first": lambda query: query.first(),
    "unique": lambda query: query.unique(),
    "take more than there is": lambda query: query.take(5),
    "a page": lambda query: query.paginate(None, 5),
    "a filter": lambda query: query.filter(lambda register: register.name == "x").collect(),
    "iteration": lambda query: [register.id for register in query],
    "descending": lambda query: query.order("desc").first(),
}


@pytest.mark.parametrize("name", READS)
def test_a_phantom_conflicts_with_every_kind_of_read(name: str) -> None:
    store = memory_store()
    reader, writer = store.begin("reader"), store.begin("writer")
    READS[name](DatabaseWriter(store, reader).query(Register))
    DatabaseWriter(store, reader).insert(Register(name="unrelated"))
    DatabaseWriter(store, writer).insert(Register(name="x"))
    store.committer.commit(writer)
    with pytest.raises(ConflictError):
        store.committer.commit(reader)
    store.close()


def _numbered(count: int) -> Iterator[Register]:
    return (Register(name=f"r{number}", values=[number]) for number in range(count))


UNREAD: dict[str, Sequence[str]] = {
    "first": ["r1", "r2", "r4"],
    "take two": ["r2", "r3", "r4"],
    "a range below": ["r2", "r3", "r4"],
    "the last": ["r0", "r1", "r3"],
    "a document": ["r0", "r2", "r4"],
}


@pytest.mark.parametrize("name", UNREAD)
def test_who_writes_where_nobody_read_is_no_conflict(name: str) -> None:
    """What a transaction did not look at may change: `first()` of many documents reads one."""
    store = memory_store()
    setup = store.begin("setup")
    ids = {register.name: DatabaseWriter(store, setup).insert(register) for register in _numbered(5)}
    store.committer.commit(setup)
    reader, writer = store.begin("reader"), store.begin("writer")
    db = DatabaseWriter(store, reader)
    by_name = db.query(Register).with_index("by_name")
    match name:
        case "first":
            by_name.first()
        case "take two":
            by_name.take(2)
        case "a range below":
            for register in by_name:
                if register.name == "r1":
                    break
        case "the last":
            by_name.order("desc").first()
        case "a document":
            db.get(ids["r1"])
    db.insert(Register(name="z"))
    for other in UNREAD[name]:
        DatabaseWriter(store, writer).patch(ids[other], values=[])
    store.committer.commit(writer)
    assert store.committer.commit(reader) == store.published_ts
    store.close()
