"""SQL that a reader sends to a server: nothing but reading their tables, and nobody else has to wait for it.

What of DuckDB could be an escape at all, by name: `tests/storage/test_client_sql.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reactive_db import limits
from reactive_db.sync import messages as m
from tests.server.callers import Bystander, Talk, by_token, said_by

FILES = [
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_parquet('{file}')",
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM glob('{folder}/*')",
    "FROM '{file}'",
    'FROM "{file}"',
    "FROM read_csv('https://example.com/x.csv')",
    "COPY sync_notes TO '{folder}/out'",
    "COPY sync_notes FROM '{file}'",
    "EXPORT DATABASE '{folder}/out'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{file}' AS other",
    "ATTACH ':memory:' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
]
SETTINGS = [
    "SET memory_limit = '100GB'",
    "SET enable_external_access = true",
    "RESET memory_limit",
    "PRAGMA threads = 64",
    "PRAGMA database_list",
    "SELECT current_setting('memory_limit')",
    "FROM duckdb_settings()",
    "FROM duckdb_secrets()",
    "SELECT getenv('HOME')",
    "CREATE SECRET s (TYPE s3)",
]
WRITES = [
    "CREATE TABLE x (a INTEGER)",
    "INSERT INTO sync_notes (topic) VALUES ('x')",
    "UPDATE sync_notes SET rank = 1",
    "DELETE FROM sync_notes",
    "DROP TABLE sync_notes",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE sync_notes",
    "BEGIN",
]
OTHERS = ["FROM _sessions", "FROM _tables", "FROM store.meta", "FROM frame", "FROM self", "FROM request", "SELECT", ""]
"""Tables that are not the reader's, and variables of Python."""

LARGE = [
    "SELECT sum(length(repeat(i::VARCHAR, 3000000))) FROM range(100000) t(i)",
    "SELECT len(list(i)) FROM range(1000000000) t(i)",
    "SELECT repeat('x', 10000000000)",
    "FROM range(10000000000)",
    "SELECT i, repeat('x', 100000) FROM range(100000) t(i)",
    "SELECT " + "(" * 20_000 + "1" + ")" * 20_000,
    "SELECT 1 -- " + "x" * limits.CLIENT_SQL_CHARACTERS_MAX,
]
ENDLESS = "WITH RECURSIVE r AS (SELECT 1 a UNION ALL SELECT a FROM r) SELECT count(*) FROM r"
AT_ONCE = 20
"""More than a server has workers."""


@pytest.fixture(scope="module")
def reader(endpoint: str) -> Iterator[Talk]:
    talk = Talk(endpoint, by_token("reader"))
    talk.hello()
    yield talk
    talk.close()


@pytest.mark.parametrize("statement", [*FILES, *SETTINGS, *WRITES, *OTHERS, *LARGE], ids=lambda text: text[:60])
def test_it_ends_with_one_error_and_nobody_else_notices(
    reader: Talk, bystander: Bystander, tmp_path: Path, statement: str
) -> None:
    file = tmp_path / "file.csv"
    file.write_text("x,topsecret\n1,2\n", "utf-8")
    reader.say(m.Sql(1, statement.replace("{file}", str(file)).replace("{folder}", str(tmp_path)), None))
    bystander.check()
    failed = reader.hear_answer()
    assert isinstance(failed, m.Failed), failed
    assert (failed.request, failed.code) == (1, "invalid-sql")
    assert "topsecret" not in failed.message
    assert list(tmp_path.iterdir()) == [file]
    assert isinstance(said_by(reader, m.Sql(2, "SELECT count(*) FROM sync_notes", None)), m.SqlRows)


def test_statements_without_end_keep_nobody_else_waiting(endpoint: str, bystander: Bystander) -> None:
    readers = [Talk(endpoint, by_token("reader")) for _ in range(AT_ONCE)]
    for one in readers:
        one.hello()
        one.say(m.Sql(1, ENDLESS, None))
    for _ in range(20):
        bystander.check()
    newcomer = Talk(endpoint, by_token("reader"))
    assert isinstance(newcomer.hello(), m.Welcome)
    assert isinstance(said_by(newcomer, m.Browse(1, "sync_notes")), m.Browsed)
    for one in [*readers[1:], newcomer]:
        one.close()
    failed = readers[0].hear_answer()
    assert isinstance(failed, m.Failed)
    assert "CLIENT_SQL_SECONDS_MAX" in failed.message
    readers[0].close()
