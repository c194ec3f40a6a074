"""SQL from users: it only reads, it says which tables it reads, and it can be stopped."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactive_db.errors import SqlError, StoreClosedError
from reactive_db.storage.columns import Columns
from tests.storage.commits import commit, define, make_id, put

PEOPLE = 10_002
ENDLESS = "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range + b.range = -1"


@pytest.fixture
def columns() -> Iterator[Columns]:
    with contextlib.closing(Columns.open()) as columns:
        columns.apply(
            [
                commit(1, define("tasks", owner="string", n="int64"), define("people", PEOPLE, name="string")),
                commit(2, put(make_id(), owner="ada", n=1), put(make_id(), owner="bob", n=2)),
                commit(3, put(make_id(PEOPLE), PEOPLE, name="ada")),
            ]
        )
        yield columns


# --- results ---------------------------------------------------------------------------------------------------------


def test_a_result_comes_with_the_timestamp_it_saw(columns: Columns) -> None:
    table, ts = columns.query("SELECT owner, n FROM tasks ORDER BY n;")
    assert table.to_pydict() == {"owner": ["ada", "bob"], "n": [1, 2]}
    assert ts == 3


def test_parameters_by_place_and_by_name(columns: Columns) -> None:
    assert columns.query("SELECT n FROM tasks WHERE owner = ?", ["bob"])[0].to_pydict() == {"n": [2]}
    assert columns.query("SELECT n FROM tasks WHERE owner = $o", {"o": "ada"})[0].to_pydict() == {"n": [1]}


@pytest.mark.parametrize(
    "sql",
    [
        "FROM tasks",
        "TABLE tasks",
        "VALUES (1)",
        "WITH t AS (FROM tasks) FROM t",
        "DESCRIBE tasks",
        "SUMMARIZE tasks",
        "SHOW TABLES",
        "EXPLAIN SELECT * FROM tasks",
        "explain analyze SELECT * FROM tasks",
        "EXPLAIN (FORMAT json) SELECT * FROM tasks",
        "PIVOT tasks ON owner USING sum(n)",
        "FROM (PIVOT tasks ON owner USING sum(n))",
        "UNPIVOT tasks ON n",
        "-- a comment\nSELECT 1",
    ],
)
def test_reads_are_allowed(columns: Columns, sql: str) -> None:
    columns.query(sql)


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO store.t10001 (_id) VALUES ('x')",
        "UPDATE store.t10001 SET n = 5",
        "DELETE FROM store.t10001",
        "TRUNCATE store.t10001",
        "MERGE INTO store.t10001 USING tasks ON true WHEN MATCHED THEN DELETE",
        "CREATE TABLE x (a INTEGER)",
        "CREATE TEMP TABLE x (a INTEGER)",
        "CREATE OR REPLACE VIEW tasks AS SELECT 1",
        "CREATE TABLE x AS PIVOT tasks ON owner USING sum(n)",
        "DROP VIEW tasks",
        "ALTER TABLE store.t10001 ADD COLUMN b INTEGER",
        "COPY tasks TO '{file}'",
        "COPY (PIVOT tasks ON owner USING sum(n)) TO '{file}'",
        "EXPORT DATABASE '{file}'",
        "ATTACH '{file}' AS other",
        "USE memory",
        "SET threads = 1",
        "RESET threads",
        "PRAGMA threads = 1",
        "PRAGMA force_checkpoint",
        "CHECKPOINT",
        "VACUUM",
        "INSTALL httpfs",
        "LOAD httpfs",
        "BEGIN",
        "COMMIT",
        "CALL force_checkpoint()",
        "PREPARE p AS SELECT 1",
        "EXPLAIN ANALYZE DELETE FROM store.t10001",
        "EXPLAIN ANALYZE COPY tasks TO '{file}'",
        "/* hidden */ EXPLAIN ANALYZE COPY tasks TO '{file}'",
        "SELECT 1; DELETE FROM store.t10001",
        "SELECT 1; SELECT 2",
        "FROM force_checkpoint()",
        "",
        "-- nothing",
        "SELEC 1",
        "SELECT * FROM nowhere",
        "SELECT nothing FROM tasks",
        "SELECT 1 / 'x'",
        "SELECT ?",
    ],
)
def test_everything_else_is_refused_and_changes_nothing(columns: Columns, tmp_path: Path, sql: str) -> None:
    before = columns.query("SELECT * FROM tasks ORDER BY n")
    settings = columns.query("SELECT name, value FROM duckdb_settings()")[0]
    with pytest.raises(SqlError):
        columns.query(sql.format(file=tmp_path / "file"))
    assert columns.query("SELECT * FROM tasks ORDER BY n") == before
    assert columns.query("SELECT name, value FROM duckdb_settings()")[0] == settings
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_says_what_to_do(columns: Columns) -> None:
    with pytest.raises(SqlError, match=r"INSERT is not allowed here.*Write through a mutation"):
        columns.query("INSERT INTO tasks VALUES (1)")


def test_an_error_has_the_words_of_duckdb(columns: Columns) -> None:
    with pytest.raises(SqlError, match="nowhere does not exist"):
        columns.query("SELECT * FROM nowhere")


def test_our_own_variables_are_no_tables(columns: Columns) -> None:
    with pytest.raises(SqlError):
        columns.query("SELECT * FROM columns")
    with pytest.raises(SqlError):
        columns.query("SELECT * FROM batch")


# --- what a statement reads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT 1", set()),
        ("SELECT * FROM tasks", {"tasks"}),
        ("SELECT * FROM main.TASKS AS t", {"tasks"}),
        ("SELECT * FROM tasks t JOIN people p ON t.owner = p.name", {"tasks", "people"}),
        ("WITH people AS (SELECT * FROM tasks) SELECT * FROM people", {"tasks"}),
        ("WITH RECURSIVE r AS (SELECT 1 a UNION ALL SELECT a + 1 FROM r, people WHERE a < 3) FROM r", {"people"}),
        ("SELECT (SELECT max(n) FROM tasks) FROM people", {"tasks", "people"}),
        ("SELECT * FROM people WHERE EXISTS (FROM tasks WHERE owner = name)", {"tasks", "people"}),
        ("SELECT * FROM people UNION ALL BY NAME SELECT * FROM tasks", {"tasks", "people"}),
        ("SELECT * FROM store.t10001", {"tasks"}),
        ("SELECT * FROM _history", {"_history"}),
        ("SELECT * FROM _tables", {"_tables"}),
        ("DESCRIBE tasks", {"tasks"}),
        ("EXPLAIN SELECT * FROM people", {"people"}),
        ("SELECT * FROM query_table('tasks')", {"tasks"}),
        ("SELECT * FROM tasks WHERE n = ?", {"tasks"}),
        ("SELECT * FROM tasks WHERE n = $n AND owner IN (SELECT name FROM people LIMIT $limit)", {"tasks", "people"}),
        ("SELECT * FROM _history WHERE ts > ?", {"_history"}),
        ("SELECT * FROM range(?)", set()),
        ("SELECT n FROM tasks WHERE n > 5 AND n < 3", {"tasks"}),
    ],
)
def test_tables_read(columns: Columns, sql: str, tables: set[str]) -> None:
    assert columns.tables_read(sql) == tables


@pytest.mark.parametrize(
    "sql",
    [
        "PIVOT tasks ON owner USING sum(n)",
        "FROM query_table(['tasks', 'people'])",
        "FROM query('FROM ta' || 'sks')",
        "FROM query_table(?)",
        "WITH people AS (FROM tasks WHERE n = ?) FROM people",
        "EXPLAIN SELECT * FROM tasks WHERE n = ?",
    ],
)
def test_where_it_is_hard_to_say_more_tables_are_named_never_fewer(columns: Columns, sql: str) -> None:
    assert columns.tables_read(sql) >= {"tasks", "people"}


def test_what_cannot_be_parsed_or_writes_reads_nothing(columns: Columns) -> None:
    with pytest.raises(SqlError):
        columns.tables_read("SELEC 1")
    with pytest.raises(SqlError, match="mutation"):
        columns.tables_read("DELETE FROM tasks")


# --- stopping --------------------------------------------------------------------------------------------------------


class Running:
    """A statement that runs on another thread until something ends it."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> BaseException | None:
        while self._thread.is_alive():  # an interrupt before the statement began is lost
            self._columns.interrupt()
            self._thread.join(0.02)
        return self.error

    def join(self) -> BaseException | None:
        self._thread.join()
        return self.error

    def _run(self) -> None:
        try:
            self._columns.query(ENDLESS)
        except BaseException as error:
            self.error = error


def test_a_statement_can_be_interrupted(columns: Columns) -> None:
    error = Running(columns).end()
    assert isinstance(error, SqlError)
    assert "interrupted" in str(error)
    assert columns.query("SELECT count(*) AS n FROM tasks")[0].to_pydict() == {"n": [2]}


def test_commits_are_applied_while_a_statement_runs(columns: Columns) -> None:
    running = Running(columns)
    columns.apply([commit(4, put(make_id(), owner="eve", n=3))])
    assert columns.query("SELECT count(*) AS n FROM tasks")[0].to_pydict() == {"n": [3]}
    assert isinstance(running.end(), SqlError)


def test_closing_ends_what_is_running(columns: Columns) -> None:
    running = Running(columns)
    columns.close()
    assert isinstance(running.join(), StoreClosedError)
