"""The columns: what commits become in SQL, that each is applied exactly once, and that nothing gets lost on the way."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactive_db import limits
from reactive_db.errors import StoreClosedError, StoreCorruptError, StoreError, StoreLockedError
from reactive_db.model.ids import Id, internal_number
from reactive_db.model.layout import ColumnType
from reactive_db.model.schema import TABLES_NUMBER
from reactive_db.storage import write_batch
from reactive_db.storage.column_file import ColumnFile
from reactive_db.storage.column_table import row_keys
from reactive_db.storage.columns import Columns
from reactive_db.storage.commit import Commit, DocumentWrite
from tests.storage.commits import NOW_MS, TASKS, commit, define, define_typed, delete, make_id, put
from tests.storage.conftest import RunOnSmallDisk, StartScript

PEOPLE = 10_002


@pytest.fixture
def columns() -> Iterator[Columns]:
    with contextlib.closing(Columns.open()) as columns:
        yield columns


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "columns.duckdb"


def rows(columns: Columns, sql: str, parameters: Any = None) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = columns.query(sql, parameters)[0].to_pylist()
    return result


def values(columns: Columns, sql: str) -> list[Any]:
    """The first column of a result."""
    return columns.query(sql)[0].column(0).to_pylist()  # type: ignore[no-any-return]


def stored(columns: Columns, table: int = TASKS) -> dict[str, bytes]:
    found = [pair for ids, documents in columns.load(table) for pair in zip(ids, documents, strict=True)]
    assert len(found) == len(dict(found))
    return dict(found)


# --- commits become rows ---------------------------------------------------------------------------------------------


def test_new_columns_are_empty(columns: Columns) -> None:
    assert columns.applied_ts == 0
    assert rows(columns, "SELECT * FROM _tables") == []
    assert rows(columns, "SELECT * FROM _history") == []
    assert columns.verify() == []


def test_documents_are_rows(columns: Columns) -> None:
    a, b = make_id(), make_id()
    columns.apply([commit(1, define("tasks", text="string", n="int64")), commit(2, put(a, text="one", n=1))])
    columns.apply([commit(3, put(b, text="two", n=2))])
    assert rows(columns, "SELECT * FROM tasks ORDER BY n") == [
        {"_id": a, "_creation_time": NOW_MS, "text": "one", "n": 1},
        {"_id": b, "_creation_time": NOW_MS, "text": "two", "n": 2},
    ]
    assert columns.applied_ts == 3


def test_the_last_write_of_a_batch_counts(columns: Columns) -> None:
    a, b, c = make_id(), make_id(), make_id()
    columns.apply(
        [
            commit(1, define("tasks", n="int64"), put(a, n=1), put(b, n=1), put(c, n=1)),
            commit(2, put(a, n=2), delete(b)),
            commit(3, delete(c), put(a, n=3)),
            commit(4, put(c, n=4)),
        ]
    )
    assert rows(columns, "SELECT _id, n FROM tasks ORDER BY n") == [{"_id": a, "n": 3}, {"_id": c, "n": 4}]
    assert columns.verify() == []


def test_replacing_and_deleting_what_is_there(columns: Columns) -> None:
    ids = [make_id() for _ in range(10)]
    columns.apply([commit(1, define("tasks", n="int64"), *(put(id, n=0) for id in ids))])
    columns.apply([commit(2, *(put(id, n=1) for id in ids[:5]), *(delete(id) for id in ids[5:8]), delete(make_id()))])
    assert values(columns, "SELECT n FROM tasks ORDER BY n") == [0, 0, 1, 1, 1, 1, 1]
    assert set(stored(columns)) == {*ids[:5], *ids[8:]}


def test_replay_applies_exactly_once(path: Path) -> None:
    ids = [make_id() for _ in range(3)]
    commits = [
        commit(1, define("tasks", n="int64"), *(put(id, n=1) for id in ids)),
        commit(2, put(ids[0], n=2)),
        commit(3, delete(ids[1])),
    ]
    columns = Columns.open(path)
    columns.apply(commits[:2])
    columns.apply(commits)
    columns.apply(commits)
    columns.close()
    with contextlib.closing(Columns.open(path)) as reopened:
        reopened.apply(commits)
        assert reopened.applied_ts == 3
        assert values(reopened, "SELECT n FROM tasks ORDER BY n") == [1, 2]
        assert len(values(reopened, "SELECT ts FROM _history")) == 6
        assert reopened.verify() == []


def test_a_failed_batch_changes_nothing(columns: Columns) -> None:
    a = make_id()
    columns.apply([commit(1, define("tasks", n="int64"), put(a, n=1))])
    with pytest.raises(StoreCorruptError, match="10002, which nothing defines"):
        columns.apply([commit(2, put(a, n=2)), commit(3, put(make_id(PEOPLE), PEOPLE, n=3))])
    with pytest.raises(StoreCorruptError, match="cannot be read"):
        columns.apply([commit(2, put(a, n=2), DocumentWrite(TASKS, make_id(), b"\xc1"))])
    assert columns.applied_ts == 1
    assert values(columns, "SELECT n FROM tasks") == [1]
    columns.apply([commit(2, put(a, n=2))])
    assert values(columns, "SELECT n FROM tasks") == [2]


def test_batches_larger_than_a_chunk_are_whole(columns: Columns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_batch, "_CHUNK_WRITES", 7)
    ids = [make_id() for _ in range(50)]
    columns.apply([commit(1, define("tasks", n="int64"), *(put(id, n=0) for id in ids), *(put(id, n=1) for id in ids))])
    assert values(columns, "SELECT count(*) FROM tasks WHERE n = 1") == [50]
    assert values(columns, "SELECT count(*) FROM _history") == [101]


def test_load_gives_what_was_written(columns: Columns) -> None:
    writes = [put(make_id(), text="x" * size) for size in (0, 1, 100, 2**20)]
    columns.apply([commit(1, define("tasks", text="string"), *writes)])
    assert stored(columns) == {write.id: write.document for write in writes}
    assert list(columns.load(10_999)) == []


def test_load_is_a_snapshot_of_the_call(columns: Columns) -> None:
    a = put(make_id(), n=1)
    columns.apply([commit(1, define("tasks", n="int64"), a)])
    loading = columns.load(TASKS)
    columns.apply([commit(2, delete(a.id), put(make_id(), n=2))])
    assert [pair for chunk in loading for pair in zip(*chunk, strict=True)] == [(a.id, a.document)]


def test_ids_of_their_own_class_are_strings(columns: Columns) -> None:
    write = put(make_id(), n=1)
    columns.apply([commit(1, define("tasks", n="int64"), DocumentWrite(TASKS, Id(write.id), write.document))])
    assert stored(columns) == {write.id: write.document}


def test_row_keys_tell_ids_apart() -> None:
    ids = [make_id() for _ in range(1_000)]
    keys = row_keys(ids)
    assert keys["_rid"].to_pylist() == [internal_number(id) for id in ids]
    assert len(set(zip(keys["_rid"].to_pylist(), keys["_rid_low"].to_pylist(), strict=True))) == 1_000


# --- values ----------------------------------------------------------------------------------------------------------

BERLIN = timezone(timedelta(hours=2))

SCALARS: list[tuple[str, list[Any]]] = [
    ("string", ["", "a", "nul\0inside", "ü𝄞\U0010ffff", "x" * 100_000, "'; DROP TABLE tasks; --"]),
    ("id", ["a" * 32]),
    ("int64", [0, -1, 2**63 - 1, -(2**63)]),
    ("float64", [0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308]),
    ("boolean", [True, False]),
    ("bytes", [b"", b"\0\xff", bytes(range(256)) * 10]),
    ("datetime", [datetime(2024, 2, 29, 23, 59, 59, 999_999, UTC), datetime(1, 1, 1, tzinfo=UTC)]),
    ("date", [date(1, 1, 1), date(2024, 2, 29), date(9999, 12, 31)]),
    ("decimal", [Decimal("0.000000001"), Decimal("-" + "9" * 29 + "." + "9" * 9), Decimal("1E+3"), Decimal(0)]),
]


@pytest.mark.parametrize(("kind", "samples"), SCALARS)
def test_values_of_every_kind_come_back_from_sql(columns: Columns, kind: str, samples: list[Any]) -> None:
    writes = [put(make_id(), n=n, value=value) for n, value in enumerate(samples)]
    columns.apply([commit(1, define("tasks", n="int64", value=kind), *writes)])
    found = values(columns, "SELECT value FROM tasks ORDER BY n")
    assert [repr(value) for value in map(normal, found)] == [repr(value) for value in map(normal, samples)]


def normal(value: Any) -> Any:
    """Equal values as equal text: decimals without exponent, moments in UTC."""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def test_a_moment_is_the_same_in_every_zone(columns: Columns) -> None:
    due = datetime(2024, 6, 1, 12, 0, tzinfo=BERLIN)
    columns.apply([commit(1, define("tasks", due="datetime"), put(make_id(), due=due))])
    assert values(columns, "SELECT due = TIMESTAMPTZ '2024-06-01 10:00:00+00' FROM tasks") == [True]
    assert values(columns, "SELECT due::VARCHAR FROM tasks") == ["2024-06-01 10:00:00+00"]


def test_missing_and_null_are_one_in_sql_and_two_in_the_document(columns: Columns) -> None:
    null, missing = put(make_id(), text=None, more=None), put(make_id())
    columns.apply([commit(1, define("tasks", text="string", more="json"), null, missing, put(make_id(), text="x"))])
    assert values(columns, "SELECT count(*) FROM tasks WHERE text IS NULL AND more IS NULL") == [2]
    documents = {id: msgspec.msgpack.decode(document) for id, document in stored(columns).items()}
    assert "text" in documents[null.id]
    assert "text" not in documents[missing.id]


def test_nested_values_have_nested_types(columns: Columns) -> None:
    point = ColumnType("object", fields={"x": ColumnType("float64"), "on": ColumnType("date")})
    layout = {
        "tags": ColumnType("array", item=ColumnType("string")),
        "grid": ColumnType("array", item=ColumnType("array", item=ColumnType("int64"))),
        "points": ColumnType("array", item=point),
        "prices": ColumnType("record", item=ColumnType("decimal")),
        "deep": ColumnType("object", fields={"by_day": ColumnType("record", item=point), "any": ColumnType("json")}),
    }
    on = date(2024, 1, 2)
    value: dict[str, Any] = {
        "tags": ["a", "b"],
        "grid": [[1], [], [2, 3]],
        "points": [{"x": 1.5, "on": on}, {"x": -0.0}],
        "prices": {"eur": Decimal("1.5"), "usd": None},
        "deep": {"by_day": {"mon": {"x": 1.0, "on": on}}, "any": [1, "x", {"y": None}]},
    }
    columns.apply([commit(1, define_typed("tasks", layout), put(make_id(), **value), put(make_id()))])
    (row,) = rows(columns, "SELECT * EXCLUDE (_id, _creation_time) FROM tasks WHERE tags IS NOT NULL")
    assert row == {
        "tags": ["a", "b"],
        "grid": [[1], [], [2, 3]],
        "points": [{"x": 1.5, "on": on}, {"x": -0.0, "on": None}],
        "prices": [("eur", Decimal("1.5")), ("usd", None)],
        "deep": {"by_day": [("mon", {"x": 1.0, "on": on})], "any": '[1,"x",{"y":null}]'},
    }
    assert values(columns, "SELECT prices['eur'] + points[1].x FROM tasks WHERE tags IS NOT NULL") == [3.0]
    assert values(columns, "SELECT deep.any ->> '$[1]' FROM tasks WHERE tags IS NOT NULL") == ["x"]


def test_json_holds_what_has_no_single_type(columns: Columns) -> None:
    samples = [1, "text", [1, "x"], {"a": {"b": True}}, 2**63 - 1]
    columns.apply(
        [commit(1, define("tasks", n="int64", v="json"), *(put(make_id(), n=n, v=v) for n, v in enumerate(samples)))]
    )
    assert [msgspec.json.decode(text) for text in values(columns, "SELECT v FROM tasks ORDER BY n")] == samples


def test_a_value_that_does_not_fit_is_null_and_stays_in_the_document(columns: Columns) -> None:
    good, bad = put(make_id(), n=1, due="2024-01-01"), put(make_id(), n="not a number", due="never")
    columns.apply([commit(1, define("tasks", n="int64", due="date"), good, bad)])
    assert rows(columns, "SELECT n, due FROM tasks ORDER BY n") == [
        {"n": 1, "due": date(2024, 1, 1)},
        {"n": None, "due": None},
    ]
    assert stored(columns)[bad.id] == bad.document


def test_names_that_sql_takes_for_one_are_told_apart(columns: Columns) -> None:
    layout = {name: ColumnType("int64") for name in ("Name", "name", "NAME", "order", "two words")}
    twins = {"both": ColumnType("object", fields={"x": ColumnType("int64"), "X": ColumnType("int64")})}
    empty = {"empty": ColumnType("object", fields={})}
    document: dict[str, Any] = {name: n for n, name in enumerate(layout)} | {"both": {"x": 1, "X": 2}, "empty": {}}
    columns.apply([commit(1, define_typed("tasks", layout | twins | empty), put(make_id(), **document))])
    (row,) = rows(columns, "SELECT * EXCLUDE (_id, _creation_time) FROM tasks")
    assert list(row.items()) == [
        ("Name", 0),
        ("name_2", 1),
        ("NAME_3", 2),
        ("order", 3),
        ("two words", 4),
        ("both", '{"x":1,"X":2}'),
        ("empty", "{}"),
    ]


SQL_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "s": st.none() | st.text(),
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.none() | st.floats(allow_nan=False),
        "b": st.none() | st.binary(),
        "on": st.none() | st.dates(),
        "at": st.none() | st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(fold=0)),
        "l": st.none() | st.lists(st.none() | st.text()),
        "r": st.none() | st.dictionaries(st.text(min_size=1), st.none() | st.integers(-(2**63), 2**63 - 1)),
    },
)
SQL_LAYOUT = {
    "s": ColumnType("string"),
    "n": ColumnType("int64"),
    "f": ColumnType("float64"),
    "b": ColumnType("bytes"),
    "on": ColumnType("date"),
    "at": ColumnType("datetime"),
    "l": ColumnType("array", item=ColumnType("string")),
    "r": ColumnType("record", item=ColumnType("int64")),
}


@given(st.lists(SQL_VALUES, max_size=8))
def test_any_documents_come_back_from_sql(documents: list[dict[str, Any]]) -> None:
    ids = [make_id() for _ in documents]
    writes = [put(id, **document) for id, document in zip(ids, documents, strict=True)]
    with contextlib.closing(Columns.open()) as columns:
        columns.apply([commit(1, define_typed("tasks", SQL_LAYOUT), *writes)])
        found = {row.pop("_id"): row for row in rows(columns, "SELECT * EXCLUDE _creation_time FROM tasks")}
    for id, document in zip(ids, documents, strict=True):
        expected = {name: document.get(name) for name in SQL_LAYOUT}
        if expected["r"] is not None:
            expected["r"] = list(expected["r"].items())
        assert repr(found[id] | {"at": normal(found[id]["at"])}) == repr(expected)


# --- tables change ---------------------------------------------------------------------------------------------------


def test_a_changed_layout_rebuilds_the_table_from_its_documents(path: Path) -> None:
    table, a, b = make_id(TABLES_NUMBER), make_id(), make_id()
    columns = Columns.open(path)
    columns.apply([commit(1, define("tasks", id=table, n="int64"), put(a, n=1, late="x"), put(b, n=2))])
    columns.apply([commit(2, define("tasks", id=table, late="string", n="float64"), put(b, n=3.5, late="y"))])
    expected = [{"_id": a, "n": 1.0, "late": "x"}, {"_id": b, "n": 3.5, "late": "y"}]
    assert rows(columns, "SELECT _id, n, late FROM tasks ORDER BY n") == expected
    columns.close()
    with contextlib.closing(Columns.open(path)) as reopened:
        assert rows(reopened, "SELECT _id, n, late FROM tasks ORDER BY n") == expected
        reopened.apply([commit(3, delete(a))])
        assert set(stored(reopened)) == {b}
        assert reopened.verify() == []


def test_a_table_can_be_renamed_and_dropped(columns: Columns) -> None:
    table, a = make_id(TABLES_NUMBER), make_id()
    columns.apply([commit(1, define("tasks", id=table, n="int64"), put(a, n=1))])
    columns.apply([commit(2, define("jobs", id=table, n="int64"))])
    assert values(columns, "SELECT n FROM jobs") == [1]
    assert columns.tables_read("SELECT * FROM jobs") == {"jobs"}
    columns.apply([commit(3, put(a, n=2), delete(table, TABLES_NUMBER))])
    assert list(columns.load(TASKS)) == []
    assert values(columns, "SELECT name FROM (SHOW TABLES) ORDER BY name") == ["_history", "_tables"]
    history = rows(columns, "SELECT \"table\", document ->> 'n' AS n FROM _history WHERE _id = ? ORDER BY ts", [a])
    assert history == [{"table": "tasks", "n": "1"}, {"table": "jobs", "n": "2"}]


def test_a_table_defined_filled_and_dropped_in_one_batch_leaves_only_history(columns: Columns) -> None:
    table = make_id(TABLES_NUMBER)
    columns.apply([commit(1, define("tasks", id=table, n="int64")), commit(2, put(make_id(), n=1))])
    other = make_id(TABLES_NUMBER)
    columns.apply(
        [
            commit(3, define("people", PEOPLE, other, n="int64")),
            commit(4, put(make_id(PEOPLE), PEOPLE, n=1)),
            commit(5, delete(other, TABLES_NUMBER)),
        ]
    )
    assert values(columns, "SELECT name FROM _tables") == ["tasks"]
    assert values(columns, "SELECT count(*) FROM _history") == [5]


def test_tables_whose_names_sql_takes_for_one_are_told_apart(columns: Columns) -> None:
    columns.apply([commit(1, define("tasks", n="int64"), define("Tasks", PEOPLE, n="int64"))])
    columns.apply([commit(2, put(make_id(), n=1), put(make_id(PEOPLE), PEOPLE, n=2))])
    assert values(columns, "SELECT n FROM tasks") == [1]
    assert values(columns, "SELECT n FROM tasks_10002") == [2]
    assert columns.tables_read("SELECT * FROM TASKS_10002") == {"Tasks"}


@pytest.mark.parametrize(
    "name", ["order", "select", "information_schema", "history", "t10001", 'a "b"', "sqlite_master"]
)
def test_a_table_may_have_any_name(columns: Columns, name: str) -> None:
    columns.apply([commit(1, define(name, n="int64"), put(make_id(), n=1))])
    quoted = '"' + name.replace('"', '""') + '"'
    assert values(columns, f"SELECT n FROM {quoted}") == [1]
    assert columns.tables_read(f"SELECT n FROM {quoted}") == {name}


def test_the_definitions_are_a_table_too(columns: Columns) -> None:
    columns.apply([commit(1, define("tasks", n="int64"))])
    (row,) = rows(columns, "SELECT number, name, columns FROM _tables")
    assert row == {"number": TASKS, "name": "tasks", "columns": '{"n":{"kind":"int64"}}'}


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_has_every_write(columns: Columns) -> None:
    a = make_id()
    columns.apply([commit(1, define("tasks", n="int64")), commit(2, put(a, n=1), put(a, n=2)), commit(3, delete(a))])
    found = rows(columns, 'SELECT ts, time, "table", document FROM _history WHERE _id = $1 ORDER BY ts', [a])
    at = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    document = f'{{"_id":"{a}","_creationTime":{NOW_MS}'
    assert [(row["ts"], normal(row["time"]), row["table"], row["document"]) for row in found] == [
        (2, at + timedelta(milliseconds=2), "tasks", document + ',"n":1}'),
        (2, at + timedelta(milliseconds=2), "tasks", document + ',"n":2}'),
        (3, at + timedelta(milliseconds=3), "tasks", None),
    ]


def test_history_keeps_the_newest_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HISTORY_ROWS_MAX", 20)
    columns = Columns.open(path)
    columns.apply([commit(1, define("tasks", n="int64"))])
    for ts in range(2, 40):
        if ts == 30:
            columns.close()
            columns = Columns.open(path)
        columns.apply([commit(ts, put(make_id(), n=ts), put(make_id(), n=ts))])
        kept = values(columns, "SELECT ts FROM _history ORDER BY ts")
        assert len(kept) <= 20
        assert set(kept) == set(range(kept[0], ts + 1))
    assert values(columns, "SELECT count(*) FROM tasks") == [76]
    columns.close()


# --- damage, threads, the end ----------------------------------------------------------------------------------------


def test_a_fatal_error_reopens_the_file_and_applies_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = make_id()
    columns = Columns.open(path)
    columns.apply([commit(1, define("tasks", n="int64"), put(a, n=1))])
    execute, failures = ColumnFile.execute, [duckdb.FatalException("database has been invalidated")]

    def fail_once(self: ColumnFile, sql: str, parameters: list[Any] | None = None) -> Any:
        if sql.startswith("UPDATE") and failures:
            raise failures.pop()
        return execute(self, sql, parameters)

    monkeypatch.setattr(ColumnFile, "execute", fail_once)
    columns.apply([commit(2, put(a, n=2), define("people", PEOPLE, n="int64"), put(make_id(PEOPLE), PEOPLE, n=1))])
    assert not failures
    assert values(columns, "SELECT n FROM tasks") == [2]
    assert columns.applied_ts == 2
    assert len(values(columns, "SELECT ts FROM _history")) == 5
    columns.close()


FILL_THE_DISK = """
from shutil import disk_usage
from reactive_db.errors import StoreFullError
from reactive_db.storage import column_file
from reactive_db.storage.columns import Columns
from tests.storage.commits import commit, define, make_id, put

ballast = disk / "ballast"
ballast.write_bytes(bytes(4_000_000))
columns = Columns.open(disk / "columns.duckdb")
columns.apply([commit(1, define("tasks", n="int64", text="string"))])

def batch(ts):
    return commit(ts, *(put(make_id(), n=ts, text=make_id() * 100) for _ in range(20)))

def is_whole(ts):
    (row,) = columns.query("SELECT count(*) AS rows, max(n) AS n FROM tasks")[0].to_pylist()
    return columns.applied_ts == ts and row == {"rows": 20 * (ts - 1), "n": ts} and columns.verify() == []

def is_mended(ts):
    ballast.unlink()
    columns.apply([batch(ts + 1)])
    return is_whole(ts + 1)
"""


def test_a_full_disk_loses_nothing_and_can_be_mended(run_on_small_disk: RunOnSmallDisk) -> None:
    answer = run_on_small_disk(
        FILL_THE_DISK
        + """
ts = 1
try:
    while True:
        columns.apply([batch(ts + 1)])
        ts += 1
except StoreFullError:
    answer = [is_whole(ts), is_mended(ts)]
""",
        12_000,
    )
    assert answer == [True, True]


def test_a_disk_too_full_for_a_checkpoint_loses_nothing_and_can_be_mended(run_on_small_disk: RunOnSmallDisk) -> None:
    answer = run_on_small_disk(
        FILL_THE_DISK
        + """
ts = 1
while disk_usage(disk).free > 500_000:
    ts += 1
    columns.apply([batch(ts)])
failures = []
reopen = column_file.ColumnFile.reopen
column_file.ColumnFile.reopen = lambda self: (failures.append(1), reopen(self))
column_file._WAL_BYTES_MAX = 0
columns.apply([batch(ts + 1)])
answer = [len(failures), is_whole(ts + 1), is_mended(ts + 1)]
""",
        12_000,
    )
    assert answer == [1, True, True]


def test_readers_see_whole_commits_while_they_are_applied(path: Path) -> None:
    ids = [make_id() for _ in range(10)]
    columns = Columns.open(path)
    columns.apply([commit(1, define("tasks", n="int64"), *(put(id, n=1) for id in ids))])
    done, seen, failures = threading.Event(), set(), []

    def read() -> None:
        try:
            while not done.is_set():
                table, ts = columns.query("SELECT count(*) AS rows, min(n) AS low, max(n) AS high FROM tasks")
                assert table.to_pylist() == [{"rows": 10, "low": ts, "high": ts}]
                seen.add(ts)
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    ts = 1
    while ts < 30 or (len(seen) < 3 and reader.is_alive()):
        ts += 1
        columns.apply([commit(ts, *(put(id, n=ts) for id in ids))])
    done.set()
    reader.join()
    assert failures == []
    columns.close()


def test_a_backup_taken_in_use_is_one_snapshot(path: Path, tmp_path: Path) -> None:
    ids = [make_id() for _ in range(10)]
    columns = Columns.open(path)
    columns.apply([commit(1, define("tasks", n="int64"), *(put(id, n=1) for id in ids))])
    failures: list[BaseException] = []

    def backup() -> None:
        try:
            columns.backup(tmp_path / "copy.duckdb")
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=backup)
    thread.start()
    ts = 1
    while thread.is_alive():
        ts += 1
        columns.apply([commit(ts, *(put(id, n=ts) for id in ids))])
    assert failures == []
    columns.close()
    with contextlib.closing(Columns.open(tmp_path / "copy.duckdb")) as copy:
        assert rows(copy, "SELECT count(*) AS rows, min(n) AS low, max(n) AS high FROM tasks") == [
            {"rows": 10, "low": copy.applied_ts, "high": copy.applied_ts}
        ]
        assert copy.verify() == []
        copy.apply([commit(copy.applied_ts + 1, delete(ids[0]))])


def test_a_backup_of_columns_in_memory_is_a_file(columns: Columns, path: Path) -> None:
    columns.apply([commit(1, define("tasks", n="int64"), put(make_id(), n=1))])
    columns.backup(path)
    with contextlib.closing(Columns.open(path)) as copy:
        assert values(copy, "SELECT n FROM tasks") == [1]


def test_verify_finds_what_does_not_belong(path: Path) -> None:
    a = make_id()
    columns = Columns.open(path)
    columns.apply([commit(1, define("tasks", n="int64"), put(a, n=1))])
    columns.close()
    with contextlib.closing(duckdb.connect(str(path))) as connection:
        connection.execute("INSERT INTO store.t10001 FROM store.t10001")
        (document,) = connection.execute("SELECT DISTINCT _doc FROM store.t10001").fetchall()[0]
        for row in (["elsewhere", document], ["broken", b"\xc1"]):
            connection.execute("INSERT INTO store.t10001 (_id, _doc) VALUES (?, ?)", row)
    with contextlib.closing(Columns.open(path)) as damaged:
        faults = damaged.verify()
    for words, fault in zip(["twice", "another id", "cannot be read"], faults, strict=True):
        assert words in fault


def test_a_file_that_is_something_else_is_refused(path: Path) -> None:
    path.write_bytes(b"no DuckDB database at all" * 1_000)
    with pytest.raises(StoreCorruptError, match="Restore a backup"):
        Columns.open(path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Cannot open file"):
        Columns.open(tmp_path / "nowhere" / "columns.duckdb")


def test_columns_that_another_process_has_open_are_refused(path: Path, start_script: StartScript) -> None:
    process = start_script(
        f"import sys, duckdb; c = duckdb.connect({str(path)!r}); print('ready', flush=True); sys.stdin.read()"
    )
    with pytest.raises(StoreLockedError, match=f"PID {process.pid}"):
        Columns.open(path)
    process.communicate()


def test_a_damaged_file_is_refused_or_found(path: Path) -> None:
    columns = Columns.open(path)
    columns.apply(
        [commit(1, define("tasks", text="string"), *(put(make_id(), text=make_id() * 50) for _ in range(2_000)))]
    )
    columns.close()
    content = bytearray(path.read_bytes())
    for at in range(20_000, len(content), 40_000):
        content[at] ^= 0xFF
    path.write_bytes(content)
    try:
        with contextlib.closing(Columns.open(path)) as damaged:
            assert damaged.verify() != []
    except StoreCorruptError:
        pass


def test_closed_columns_refuse(columns: Columns) -> None:
    columns.apply([commit(1, define("tasks", n="int64"))])
    columns.close()
    columns.close()
    uses = [
        lambda: columns.apply([commit(2, put(make_id(), n=1))]),
        lambda: columns.load(TASKS),
        lambda: columns.query("SELECT 1"),
        lambda: columns.tables_read("SELECT 1"),
        columns.verify,
    ]
    for use in uses:
        with pytest.raises(StoreClosedError):
            use()


def test_a_disk_that_fails_is_an_error_of_the_store(tmp_path: Path, columns: Columns) -> None:
    with pytest.raises(StoreError):
        columns.backup(tmp_path / "nowhere" / "copy.duckdb")


def test_a_commit_without_writes_only_moves_on(columns: Columns) -> None:
    columns.apply([Commit(5, NOW_MS, "tests:nothing", ())])
    assert columns.applied_ts == 5
    assert columns.query("SELECT 1")[1] == 5
