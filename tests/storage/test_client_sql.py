"""SQL from clients: what it can do, that it cannot do anything else, and that what is hidden stays hidden."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reactive_db.errors import SqlError, StoreClosedError
from reactive_db.model.schema import TABLES_NUMBER
from reactive_db.storage.client_sql import ClientSqlLimits
from reactive_db.storage.columns import Columns
from tests.storage.commits import TASKS, commit, define, delete, make_id, put

PEOPLE, GRADES, STATS = 10_002, 10_003, 10_004
ENDLESS = "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range + b.range = -1"
# Each statement that is killed costs the start of a process, so each of these limits has its test apart.
SMALL = ClientSqlLimits(
    seconds=30.0, memory_bytes_max=64 * 2**20, read_bytes_max=200_000, result_bytes_max=100_000, at_once_max=1
)


def filled(path: Path | None = None, limits: ClientSqlLimits = SMALL) -> Columns:
    columns = Columns.open(path, client_limits=limits)
    fields = {"owner": "string", "n": "int64", "meta": "json", "due": "date"}
    columns.apply(
        [
            commit(1, define("tasks", **fields), define("people", PEOPLE, name="string")),  # type: ignore[arg-type]
            commit(2, define("grades", GRADES, student="string", points="int64"), define("stats", STATS, n="int64")),
            commit(3, put(make_id(), owner="ada", n=1, meta={"a": 1}), put(make_id(), owner="bob", n=2)),
            commit(4, put(make_id(PEOPLE), PEOPLE, name="ada"), put(make_id(STATS), STATS, n=7)),
            commit(5, *(put(make_id(GRADES), GRADES, student=f"s{n}", points=100 * n) for n in range(1, 4))),
            commit(6, put(make_id(GRADES), GRADES, student="topsecret", points=987_654)),
        ]
    )
    return columns


@pytest.fixture(scope="module")
def shared() -> Iterator[Columns]:
    """Columns that no test changes, so that their process need not start again."""
    with contextlib.closing(filled()) as columns:
        yield columns


@pytest.fixture
def columns() -> Iterator[Columns]:
    with contextlib.closing(filled()) as columns:
        yield columns


def rows(columns: Columns, sql: str, parameters: Any = None, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = columns.query_for_client(sql, parameters, **options)[0].to_pylist()
    return found


def assert_works(columns: Columns) -> None:
    """The store still commits, and its clients still get answers."""
    columns.apply([commit(columns.applied_ts + 1, put(make_id(PEOPLE), PEOPLE, name="new"))])
    expected = columns.query("SELECT count(*) AS n FROM people")
    assert columns.query_for_client("SELECT count(*) AS n FROM people") == expected


# --- what works ------------------------------------------------------------------------------------------------------


def test_the_result_comes_with_the_timestamp_it_saw(columns: Columns) -> None:
    table, ts = columns.query_for_client("SELECT owner, n FROM tasks ORDER BY n")
    assert (table.to_pydict(), ts) == ({"owner": ["ada", "bob"], "n": [1, 2]}, 6)
    columns.apply([commit(7, put(make_id(), owner="eve", n=3))])
    table, ts = columns.query_for_client("SELECT owner, n FROM tasks ORDER BY n")
    assert (table.to_pydict(), ts) == ({"owner": ["ada", "bob", "eve"], "n": [1, 2, 3]}, 7)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM tasks ORDER BY n",
        "FROM main.TASKS ORDER BY n",
        'SELECT count(*) FROM "Tasks"',
        "TABLE people",
        "VALUES (1, 'a'), (2, 'b')",
        "SELECT t.n, p.name FROM tasks t LEFT JOIN people p ON t.owner = p.name ORDER BY n",
        "SELECT * FROM tasks WHERE EXISTS (FROM people WHERE owner = name)",
        "SELECT n, sum(n) OVER (ORDER BY n), lag(n) OVER (ORDER BY n) FROM tasks ORDER BY n",
        "SELECT n FROM tasks QUALIFY row_number() OVER (ORDER BY n) = 1",
        "WITH x AS (FROM tasks), y AS (SELECT n * 2 AS m FROM x) SELECT * FROM y ORDER BY m",
        "WITH RECURSIVE r AS (SELECT 1 a UNION ALL SELECT a + 1 FROM r WHERE a < 5) FROM r",
        "SELECT owner, sum(n) FROM tasks GROUP BY ALL ORDER BY ALL",
        "PIVOT (SELECT owner, n FROM tasks) ON owner USING sum(n)",
        "PIVOT (SELECT owner, n FROM tasks) ON owner IN ('ada') USING sum(n)",
        "FROM (UNPIVOT (SELECT n FROM tasks) ON n) ORDER BY ALL",
        "SUMMARIZE people",
        "DESCRIBE SELECT n, owner FROM tasks",
        "SELECT * FROM range(3)",
        "SELECT unnest([1, 2, 3])",
        "SELECT [x * 2 FOR x IN [1, 2]], {'a': 1}.a, map {'k': 'v'}['k'], list_sum([1, 2])",
        "SELECT meta->>'a', json_extract(meta, '$.a'), meta FROM tasks ORDER BY n",
        "SELECT key, value FROM json_each('{\"a\": 1}')",
        "SELECT DATE '2024-02-28' + 2, date_trunc('month', TIMESTAMP '2024-02-28 10:00:00'), INTERVAL 1 DAY",
        "SELECT regexp_extract('a1b2', '[0-9]'), upper('x') || lower('Y'), 'abc' LIKE 'a%', pg_typeof(1)",
        "SELECT * EXCLUDE (n), COLUMNS('o.*') FROM tasks ORDER BY owner",
        "SELECT 1 UNION ALL BY NAME SELECT 2 ORDER BY ALL",
        "SELECT approx_count_distinct(n), median(n), string_agg(owner, ',' ORDER BY n), arg_max(owner, n) FROM tasks",
        "SELECT * FROM stats",
        "WITH stats AS (SELECT n + 1 AS n FROM stats) FROM stats",
        'SELECT ts, "table", _id, document FROM _history WHERE NOT starts_with("table", \'_\') ORDER BY ts, _id',
        "-- a comment\nSELECT 1 /* and another */;",
    ],
)
def test_ordinary_statements_give_what_the_owner_gets(shared: Columns, sql: str) -> None:
    assert shared.query_for_client(sql) == shared.query(sql)


@pytest.mark.parametrize(
    "sql", ["EXPLAIN FROM tasks", "EXPLAIN ANALYZE FROM tasks", "EXPLAIN (FORMAT json) FROM tasks"]
)
def test_plans_can_be_seen(shared: Columns, sql: str) -> None:
    assert rows(shared, sql)


@pytest.mark.parametrize(
    ("sql", "parameters", "value"),
    [
        ("SELECT n FROM tasks WHERE owner = ?", ["bob"], 2),
        ("SELECT n FROM tasks WHERE owner = $owner", {"owner": "ada"}, 1),
        ("SELECT ?", [None], None),
        ("SELECT ?", [b"\x00\xff"], b"\x00\xff"),
        ("SELECT ?", [1.5], 1.5),
        ("SELECT len(?)", [[1, 2, 3]], 3),
        ("SELECT ?", [datetime(2024, 1, 2, tzinfo=UTC)], datetime(2024, 1, 2, tzinfo=UTC)),
        ("SELECT ?", ["'; DROP TABLE tasks; --"], "'; DROP TABLE tasks; --"),
    ],
)
def test_parameters(shared: Columns, sql: str, parameters: Any, value: Any) -> None:
    assert list(rows(shared, sql, parameters)[0].values()) == [value]


def test_the_tables_of_a_client_and_no_others(shared: Columns) -> None:
    names = ["_history", "grades", "people", "stats", "tasks"]
    assert [row["name"] for row in rows(shared, "SHOW TABLES")] == names
    found = rows(shared, "SELECT table_name FROM information_schema.tables ORDER BY ALL")
    assert [row["table_name"] for row in found] == names


def test_columns_in_a_file(tmp_path: Path) -> None:
    with contextlib.closing(filled(tmp_path / "columns.duckdb")) as columns:
        assert rows(columns, "SELECT max(n) AS n FROM tasks") == [{"n": 2}]


# --- what a process keeps --------------------------------------------------------------------------------------------


def test_every_commit_is_seen_by_the_next_statement(columns: Columns) -> None:
    id = make_id()
    for ts, n in enumerate((3, 4, 5), 7):
        columns.apply([commit(ts, put(id, owner="x", n=n))])
        assert rows(columns, "SELECT n FROM tasks WHERE owner = 'x'") == [{"n": n}]
    columns.apply([commit(10, delete(id))])
    assert rows(columns, "SELECT n FROM tasks WHERE owner = 'x'") == []


def test_definitions_may_change(columns: Columns) -> None:
    id = make_id(TABLES_NUMBER)
    columns.apply([commit(7, define("notes", 10_009, id, a="int64")), commit(8, put(make_id(10_009), 10_009, a=1))])
    assert rows(columns, "SELECT * EXCLUDE (_id, _creation_time) FROM notes") == [{"a": 1}]
    columns.apply([commit(9, define("notes", 10_009, id, a="string", b="string"))])
    assert rows(columns, "SELECT * EXCLUDE (_id, _creation_time) FROM notes") == [{"a": None, "b": None}]
    columns.apply([commit(10, delete(id, TABLES_NUMBER))])
    with pytest.raises(SqlError, match="notes does not exist"):
        rows(columns, "FROM notes")
    columns.apply([commit(11, define("notes", 10_010, a="string", b="string"))])
    assert rows(columns, "FROM notes") == []


def test_a_table_mentioned_later_has_its_rows(columns: Columns) -> None:
    assert rows(columns, "SELECT 1 AS one") == [{"one": 1}]
    assert rows(columns, "SELECT name FROM people") == [{"name": "ada"}]
    assert rows(columns, "SELECT 1 AS one") == [{"one": 1}]
    assert rows(columns, "SELECT name FROM people") == [{"name": "ada"}]


# --- escapes ---------------------------------------------------------------------------------------------------------

READERS = (
    ["read_csv", "read_csv_auto", "read_text", "read_blob", "read_json", "read_json_auto", "read_json_objects"]
    + ["read_ndjson", "read_ndjson_auto", "read_ndjson_objects", "read_parquet", "parquet_scan", "parquet_metadata"]
    + ["parquet_schema", "parquet_file_metadata", "parquet_kv_metadata", "sniff_csv", "glob", "read_duckdb"]
)


@pytest.mark.parametrize(
    "sql",
    [
        *(f"SELECT * FROM {reader}('{{file}}')" for reader in READERS),
        "SELECT * FROM '{file}'",
        "FROM '{file}' AS tasks",
        'SELECT * FROM "{file}"',
        "SELECT * FROM read_csv/**/('{file}')",
        "WITH tasks AS (FROM read_text('{file}')) FROM tasks",
        "SELECT (SELECT content FROM read_text('{file}'))",
        "SELECT n FROM tasks WHERE owner IN (SELECT content FROM read_text('{file}'))",
        "EXPLAIN ANALYZE FROM read_text('{file}')",
        "DESCRIBE FROM read_csv('{file}')",
        "SUMMARIZE '{file}'",
        "SUMMARIZE FROM read_csv('{file}')",
        "PIVOT '{file}' ON owner USING sum(n)",
        "PIVOT (FROM read_csv('{file}')) ON x",
        "PIVOT (SELECT getenv('HOME') AS h) ON h",
        "SELECT * FROM tasks, LATERAL (FROM read_text('{file}'))",
        "FROM read_csv('https://example.com/x.csv')",
        "FROM 'https://example.com/x.parquet'",
        "FROM 's3://bucket/x.parquet'",
        "COPY tasks TO '{file}2'",
        "COPY (SELECT 1) TO '{file}2'",
        "COPY tasks FROM '{file}'",
        "EXPLAIN ANALYZE COPY tasks TO '{file}2'",
        "EXPORT DATABASE '{file}2'",
        "IMPORT DATABASE '{file}'",
        "ATTACH '{file}' AS other",
        "ATTACH ':memory:' AS other",
        "ATTACH IF NOT EXISTS '{file}2' (TYPE sqlite)",
        "INSTALL httpfs",
        "LOAD httpfs",
        "LOAD '{file}'",
        "USE memory",
        "SET threads = 8",
        "SET enable_external_access = true",
        "SET GLOBAL memory_limit = '100GB'",
        "SET VARIABLE x = 1",
        "RESET memory_limit",
        "PRAGMA threads = 8",
        "PRAGMA database_list",
        "PRAGMA show_tables",
        "CALL pragma_version()",
        "CALL force_checkpoint()",
        "CHECKPOINT",
        "VACUUM",
        "ANALYZE",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "CREATE TABLE x (a INTEGER)",
        "CREATE TEMP TABLE x AS SELECT 1",
        "CREATE MACRO f(x) AS x",
        "CREATE VIEW v AS SELECT 1",
        "CREATE SECRET s (TYPE s3)",
        "CREATE TYPE t AS ENUM ('a')",
        "INSERT INTO tasks (n) VALUES (1)",
        "WITH x AS (SELECT 1) INSERT INTO people SELECT 'a', 1, 'b' FROM x",
        "UPDATE tasks SET n = 5",
        "DELETE FROM tasks",
        "TRUNCATE tasks",
        "MERGE INTO tasks USING people ON true WHEN MATCHED THEN DELETE",
        "DROP TABLE tasks",
        "ALTER TABLE tasks ADD COLUMN b INTEGER",
        "COMMENT ON TABLE tasks IS 'x'",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE tasks",
        "SELECT 1 /* ; */; -- \n DROP TABLE tasks",
        "/* x */ EXPLAIN ANALYZE DELETE FROM tasks",
        "SELECT getenv('HOME')",
        "SELECT current_setting('memory_limit')",
        "SELECT CURRENT_SETTING/**/('temp_directory')",
        "SELECT main.current_setting('memory_limit')",
        "SELECT list_transform(['memory_limit'], lambda x: current_setting(x))",
        "SELECT getvariable('x')",
        "SELECT current_query()",
        "SELECT nextval('s')",
        "SELECT sleep_ms(1)",
        "SELECT pg_sleep(1)",
        "SELECT setseed(0.5)",
        "SELECT write_log('x')",
        "SELECT json_serialize_sql('SELECT 1')",
        "FROM json_execute_serialized_sql('{{}}')",
        "FROM query('SELECT 1')",
        "FROM query_table('tasks')",
        "FROM query_table(['tasks'])",
        "FROM duckdb_settings()",
        "FROM duckdb_settings",
        "FROM duckdb_secrets()",
        "FROM duckdb_variables()",
        "FROM duckdb_databases()",
        "FROM duckdb_logs",
        "FROM duckdb_extensions()",
        "FROM duckdb_functions()",
        "FROM which_secret('{file}', 's3')",
        "FROM pragma_storage_info('tasks')",
        "FROM pragma_table_info('tasks')",
        "FROM pragma_database_size()",
        "FROM pg_catalog.pg_tables",
        "FROM pg_tables",
        "FROM sqlite_master",
        "FROM system.main.duckdb_settings",
        "FROM enable_logging()",
        "FROM enable_profiling()",
        "FROM force_checkpoint()",
        "FROM test_all_types()",
        "FROM arrow_scan(1, 2, 3)",
        "FROM pandas_scan(1)",
        "FROM seq_scan('tasks')",
        "FROM store.t10001",
        "FROM store.meta",
        "FROM store.history",
        "FROM _tables",
        "FROM columns",
        "FROM request",
        'FROM "incoming rows"',
        "FROM rows",
        "FROM tasks AT (VERSION => 1)",
        "SELECT _doc FROM tasks",
        "SELECT _rid FROM tasks",
        "SELECT",
        "",
        "-- nothing",
        "SELECT ?",
        "SELECT * FROM nowhere",
    ],
)
def test_escapes_are_refused_and_harm_nothing(shared: Columns, tmp_path: Path, sql: str) -> None:
    file = tmp_path / "file.csv"
    file.write_text("x,topsecret\n1,2\n")
    before = shared.query("FROM tasks ORDER BY n")
    with pytest.raises(SqlError) as caught:
        shared.query_for_client(sql.format(file=file))
    assert "topsecret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [file]
    assert shared.query("FROM tasks ORDER BY n") == before
    assert shared.query_for_client("SELECT count(*) AS n FROM tasks")[0].to_pylist() == [{"n": 2}]


def test_the_process_has_no_environment_of_the_server(columns: Columns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_SECRET", "topsecret")
    rows(columns, "SELECT 1")
    (process,) = columns._client_sql._idle
    environment = Path(f"/proc/{process._process.pid}/environ")
    if not environment.exists():
        pytest.skip("no /proc to look into")
    assert b"topsecret" not in environment.read_bytes()


def test_a_parameter_that_is_no_plain_value(shared: Columns) -> None:
    with pytest.raises(SqlError, match="plain value"):
        shared.query_for_client("SELECT ?", [object()])


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        ENDLESS,
        "WITH RECURSIVE r AS (SELECT 1 a UNION ALL SELECT a FROM r) SELECT count(*) FROM r",
        "SELECT length(format('{:>1000000000}', 'x')), length(printf('%1000000000d', 1))",  # no interrupt ends these
        f"EXPLAIN ANALYZE {ENDLESS}",
    ],
)
def test_time_is_bounded(sql: str) -> None:
    with contextlib.closing(filled(limits=ClientSqlLimits(seconds=0.1))) as columns:
        for _ in range(2):
            with pytest.raises(SqlError, match=r"0.1 seconds.*CLIENT_SQL_SECONDS_MAX"):
                columns.query_for_client(sql)
        columns.apply([commit(7, put(make_id(), owner="eve", n=3))])
        assert columns.query("SELECT count(*) AS n FROM tasks")[0].to_pylist() == [{"n": 3}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sum(length(repeat(i::VARCHAR, 3000000))) FROM range(1000) t(i)",  # DuckDB does not count this
        "SELECT len(list_transform(range(20000000 + i), lambda x: x::VARCHAR)) FROM range(2) t(i)",  # nor this
        "SELECT max(i) FROM (SELECT i FROM range(100000000) t(i) ORDER BY hash(i) LIMIT 50000000)",
        "SELECT len(list(i)) FROM range(100000000) t(i)",
    ],
)
def test_memory_is_bounded(columns: Columns, sql: str) -> None:
    with pytest.raises(SqlError, match="CLIENT_SQL_MEMORY_BYTES_MAX"):
        columns.query_for_client(sql)
    assert_works(columns)


@pytest.mark.parametrize("sql", ["SELECT repeat('x', 10000000000)", "SELECT range(1000000000000)"])
def test_what_duckdb_itself_finds_too_big(shared: Columns, sql: str) -> None:
    with pytest.raises(SqlError):
        shared.query_for_client(sql)


@pytest.mark.parametrize(
    "sql",
    ["FROM range(1000000000)", "SELECT repeat('x', 200000)", "SELECT i, repeat('x', 1000) FROM range(1000) t(i)"],
)
def test_the_result_is_bounded(shared: Columns, sql: str) -> None:
    with pytest.raises(SqlError, match=r"100000 bytes.*CLIENT_SQL_RESULT_BYTES_MAX.*LIMIT"):
        shared.query_for_client(sql)
    assert len(rows(shared, "SELECT * FROM range(1000)")) == 1000


def test_what_is_read_is_bounded(columns: Columns) -> None:
    columns.apply([commit(7, *(put(make_id(), owner="x" * 1000, n=n) for n in range(300)))])
    with pytest.raises(SqlError, match="'tasks'") as caught:
        columns.query_for_client("SELECT count(*) FROM tasks")
    assert "CLIENT_SQL_READ_BYTES_MAX" in str(caught.value)
    assert rows(columns, "SELECT count(*) AS n FROM grades") == [{"n": 4}]


def test_the_statement_is_bounded(shared: Columns) -> None:
    with pytest.raises(SqlError, match="CLIENT_SQL_CHARACTERS_MAX"):
        shared.query_for_client("SELECT 1 -- " + "x" * 100_000)


@pytest.mark.parametrize("sql", ["SELECT " + "(" * 20_000 + "1" + ")" * 20_000, "SELECT 1" + " + 1" * 20_000])
def test_deep_nesting_ends_at_most_the_process(columns: Columns, sql: str) -> None:
    with pytest.raises(SqlError):
        columns.query_for_client(sql)
    assert_works(columns)


# --- several at once -------------------------------------------------------------------------------------------------


class Running:
    """A statement of a client's on another thread."""

    def __init__(self, columns: Columns, sql: str = ENDLESS) -> None:
        self.error: BaseException | None = None
        self._columns, self._sql = columns, sql
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._columns.query_for_client(self._sql)
        except BaseException as error:
            self.error = error


def until_running(columns: Columns, count: int) -> None:
    client_sql = columns._client_sql
    with client_sql._changed:
        assert client_sql._changed.wait_for(lambda: len(client_sql._running) == count, 60)


def test_commits_and_owners_do_not_wait_for_a_client(columns: Columns) -> None:
    rows(columns, "SELECT 1")
    running = Running(columns)
    until_running(columns, 1)
    columns.apply([commit(7, put(make_id(), owner="eve", n=3))])
    assert columns.query("SELECT count(*) AS n FROM tasks")[0].to_pylist() == [{"n": 3}]
    assert running.thread.is_alive()
    columns.close()
    running.thread.join()
    assert isinstance(running.error, StoreClosedError)


def test_others_wait_their_turn(columns: Columns) -> None:
    threads = [Running(columns, f"SELECT count(*) + {n} FROM tasks") for n in range(8)]
    for running in threads:
        running.thread.join()
    assert [running.error for running in threads] == [None] * 8
    assert len(columns._client_sql._idle) == 1


def test_closing_ends_those_that_run_and_those_that_wait(columns: Columns) -> None:
    running = [Running(columns) for _ in range(3)]
    until_running(columns, 1)
    columns.close()
    for statement in running:
        statement.thread.join()
        assert isinstance(statement.error, StoreClosedError)
    with pytest.raises(StoreClosedError):
        columns.query_for_client("SELECT 1")


def test_a_process_that_died_is_replaced(columns: Columns) -> None:
    rows(columns, "SELECT 1")
    (process,) = columns._client_sql._idle
    os.kill(process._process.pid, 9)
    process._process.wait()
    with pytest.raises(SqlError, match="died"):
        rows(columns, "SELECT 1")
    assert_works(columns)


# --- hidden rows -----------------------------------------------------------------------------------------------------

SECRET = ("topsecret", "987654", "987_654")
POLICY = {"grades": "student <> 'topsecret' -- a comment", "people": "false"}


@pytest.mark.parametrize(
    "sql",
    [
        "FROM grades",
        "FROM main.grades",
        "FROM memory.main.grades",
        'FROM "GRADES"',
        'FROM memory."main"."Grades"',
        "TABLE grades",
        "FROM grades AS people",
        "SELECT grades FROM grades",
        "SELECT count(*), min(points), max(points), sum(points), max(student) FROM grades",
        "SELECT sum(points) OVER () FROM grades",
        "WITH g AS (FROM grades) FROM g",
        "WITH grades AS (FROM main.grades) FROM grades",
        "WITH RECURSIVE r AS (FROM grades UNION FROM grades) FROM r",
        "SELECT (SELECT max(points) FROM grades)",
        "SELECT 1 WHERE EXISTS (FROM grades WHERE points > 300)",
        "SELECT * FROM tasks, grades",
        "SELECT * FROM tasks RIGHT JOIN grades ON false",
        "SELECT * FROM grades ANTI JOIN people ON student = name",
        "FROM grades TABLESAMPLE 100%",
        "FROM grades UNION ALL FROM grades",
        "FROM grades WHERE true OR student = 'topsecret'",
        "SELECT CAST(student AS INTEGER) FROM grades WHERE points > 300",
        "SELECT 1 / (points - 987654), error(student) FROM grades WHERE points > 300",
        "PIVOT grades ON student USING sum(points)",
        "SUMMARIZE grades",
        "DESCRIBE grades",
        "SHOW ALL TABLES",
        "EXPLAIN FROM grades WHERE points > 300",
        "EXPLAIN ANALYZE FROM grades",
        "FROM query_table('grades')",
        "FROM query('FROM grades')",
        "FROM duckdb_tables()",
        "FROM pragma_storage_info('grades')",
        "SELECT stats(points) FROM grades",
        "FROM information_schema.tables",
        "FROM information_schema.columns",
        "FROM store.t10003",
        "FROM _history",
        "FROM main._history",
        "SELECT document->>'student' FROM _history ORDER BY 1",
        "SELECT count(*) FROM _history WHERE \"table\" = 'grades'",
        'SELECT "table", count(*), max(ts) FROM _history GROUP BY ALL ORDER BY ALL',
        "SELECT (FROM _history WHERE document::VARCHAR LIKE '%grades%')",
        "FROM people",
        "SELECT * FROM tasks WHERE owner IN (SELECT name FROM people)",
    ],
)
def test_hidden_rows_do_not_show_in_any_way(shared: Columns, sql: str) -> None:
    """Another viewer's rows are in the same process before; and a store without the rows must answer the same."""
    shared.query_for_client("SELECT * FROM grades, people, _history")

    def said(columns: Columns) -> str:
        try:
            table, _ = columns.query_for_client(sql, hidden=POLICY)
        except SqlError as error:
            return str(error)
        text = str(table.to_pylist())
        return text if not sql.startswith("EXPLAIN") else ""

    answer = said(shared)
    assert not [secret for secret in SECRET if secret in answer.replace(sql, "")]
    assert answer == said(shared)
    visible = "SELECT count(*) AS n, max(points) AS m, sum(points)::BIGINT AS s FROM grades"
    assert rows(shared, visible, hidden=POLICY) == [{"n": 3, "m": 300, "s": 600}]


def test_counts_of_hidden_rows_are_not_told(shared: Columns) -> None:
    def count(sql: str) -> Any:
        return rows(shared, f"SELECT count(*) AS n FROM {sql}", hidden=POLICY)[0]["n"]

    assert count("grades") == 3
    assert count("people") == 0
    assert count("_history WHERE \"table\" IN ('grades', 'people')") == 0
    assert count("_history") == 3  # two tasks and one of stats
    assert count("(SUMMARIZE grades) WHERE count <> 3") == 0


def test_each_viewer_sees_their_own(shared: Columns) -> None:
    for student in ("s1", "s2", "s1", "s3"):
        found = rows(shared, "SELECT student FROM grades", hidden={"grades": f"student = '{student}'"})
        assert found == [{"student": student}]
    assert rows(shared, "SELECT count(*) AS n FROM grades") == [{"n": 4}]


def test_a_condition_may_look_into_other_tables(columns: Columns) -> None:
    hidden = {"TASKS": "owner IN (SELECT name FROM people)"}
    assert rows(columns, "SELECT owner FROM tasks", hidden=hidden) == [{"owner": "ada"}]
    columns.apply([commit(7, put(make_id(PEOPLE), PEOPLE, name="bob"))])
    assert rows(columns, "SELECT owner FROM tasks ORDER BY 1", hidden=hidden) == [{"owner": "ada"}, {"owner": "bob"}]


def test_the_history_can_be_restricted_or_hidden(shared: Columns) -> None:
    hidden = {"_history": "\"table\" = 'stats'"}
    assert rows(shared, 'SELECT DISTINCT "table" AS t FROM _history', hidden=hidden) == [{"t": "stats"}]
    assert rows(shared, "FROM _history", hidden={"_history": "false"}) == []


@pytest.mark.parametrize("condition", ["nothing = 1", "CAST(student AS INTEGER) > 0", ""])
def test_a_condition_that_does_not_work_shows_nothing(columns: Columns, condition: str) -> None:
    with pytest.raises(SqlError, match="which rows of 'grades' this viewer may see cannot be told") as caught:
        columns.query_for_client("FROM grades", hidden={"grades": condition})
    assert "topsecret" not in str(caught.value)


def test_documents_of_other_tables_are_not_restricted(shared: Columns) -> None:
    assert rows(shared, f"SELECT count(*) AS n FROM tasks -- {TASKS}", hidden=POLICY) == [{"n": 2}]
