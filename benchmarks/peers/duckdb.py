"""DuckDB in this process, used directly for each workload: a file, one cursor per thread.

Its transactions are snapshot isolation with first-writer-wins, so the loser of a race is rolled back and run again by
the client, as its documentation asks. `duckdb.connect` per thread would fail on the file's lock: cursors share it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from benchmarks import data

PROMISE = "flushed before the acknowledgement; snapshot isolation, retried by the client"


def missing() -> str | None:
    return None if importlib.util.find_spec("duckdb") else "the Python package duckdb is not installed"


def version() -> str:
    import duckdb

    return f"DuckDB {duckdb.__version__}"


class Counters:
    """W1; see `systems.Counters`."""

    def __init__(self, directory: Path, documents: int) -> None:
        import duckdb

        self._path = directory / "counters.duckdb"
        self._connection = duckdb.connect(str(self._path))
        self._retried: list[int] = []  # appended to from every thread: atomic, unlike `+= 1`
        self._connection.execute(
            "CREATE TABLE counters (id VARCHAR PRIMARY KEY, v BIGINT, owner VARCHAR, body VARCHAR)"
        )
        rows = data.table(data.counters(documents))
        self._connection.register("rows", rows)
        self._connection.execute("INSERT INTO counters SELECT * FROM rows")

    def writer(self) -> Callable[[int], object]:
        import duckdb

        cursor = self._connection.cursor()

        def increment(number: int) -> None:
            while True:
                try:
                    return attempt(f"d{number}")
                except duckdb.TransactionException:
                    cursor.rollback()
                    self._retried.append(number)

        def attempt(key: str) -> None:
            cursor.begin()
            found = cursor.execute("SELECT v FROM counters WHERE id = ?", [key]).fetchone()
            if found is None or found[0] < 0:
                raise ValueError(f"{key} is missing or negative")
            cursor.execute("UPDATE counters SET v = ? WHERE id = ?", [found[0] + 1, key])
            cursor.commit()

        return increment

    def retries(self) -> int:
        return len(self._retried)

    def total(self) -> int:
        found = self._connection.cursor().execute("SELECT sum(v)::BIGINT FROM counters").fetchone()
        return int(found[0]) if found else 0

    def close(self) -> None:
        self._connection.close()


class Items:
    """W7; see `systems.Items`."""

    @staticmethod
    def build(path: Path, documents: int) -> str:
        import duckdb

        with duckdb.connect(str(path)) as connection:
            ddl = "CREATE TABLE items (id VARCHAR PRIMARY KEY, g BIGINT, x BIGINT, owner VARCHAR, body VARCHAR)"
            connection.execute(ddl)
            connection.register("rows", data.items(documents))
            connection.execute("INSERT INTO items SELECT * FROM rows")
        return data.item_key(documents)

    def __init__(self, path: Path) -> None:
        import duckdb

        self._connection = duckdb.connect(str(path))

    def get(self, key: str) -> int:
        found = self._connection.execute("SELECT x FROM items WHERE id = ?", [key]).fetchone()
        return int(found[0]) if found else -1

    def groups(self) -> dict[int, tuple[int, int]]:
        rows = self._connection.execute("SELECT g, count(*), sum(x)::BIGINT FROM items GROUP BY g").fetchall()
        return {g: (count, total) for g, count, total in rows}

    def close(self) -> None:
        self._connection.close()
