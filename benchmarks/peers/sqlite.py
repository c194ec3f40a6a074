"""SQLite in this process: WAL, `synchronous=FULL`, one connection per thread.

The traps avoided: apsw rather than the standard library's `sqlite3`, because apsw brings a current SQLite, caches
statements without opening transactions behind one's back, and has `update_hook`; `BEGIN IMMEDIATE`, because a deferred
transaction that reads first fails with SQLITE_BUSY instead of waiting when it turns to writing; a busy timeout long
enough that no writer gives up within a run.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import data

if TYPE_CHECKING:
    import apsw

PROMISE = "flushed before the acknowledgement (WAL, synchronous=FULL); serializable by one writer lock"
BUSY_TIMEOUT_MS = 60_000


def missing() -> str | None:
    return None if importlib.util.find_spec("apsw") else "the Python package apsw is not installed: pip install apsw"


def version() -> str:
    import apsw

    return f"SQLite {apsw.sqlite_lib_version()} (apsw)"


def connect(path: Path) -> apsw.Connection:
    import apsw

    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


class Counters:
    """W1; see `systems.Counters`."""

    def __init__(self, directory: Path, documents: int) -> None:
        self._path = directory / "counters.sqlite"
        connection = connect(self._path)
        connection.execute("CREATE TABLE counters (id TEXT PRIMARY KEY, v INTEGER, owner TEXT, body TEXT)")
        with connection:
            connection.executemany("INSERT INTO counters VALUES (:id, :v, :owner, :body)", data.counters(documents))
        connection.close()

    def writer(self) -> Callable[[int], object]:
        return incrementer(connect(self._path))

    def retries(self) -> int:
        return 0

    def total(self) -> int:
        total: int = connect(self._path).execute("SELECT sum(v) FROM counters").get
        return total

    def close(self) -> None:
        pass


def incrementer(connection: apsw.Connection) -> Callable[[int], None]:
    """The mutation of W1 on one connection."""
    execute = connection.execute

    def increment(number: int) -> None:
        key = f"d{number}"
        execute("BEGIN IMMEDIATE")
        try:
            v = execute("SELECT v FROM counters WHERE id = ?", (key,)).get
            if v < 0:
                raise ValueError(f"{key} is negative")
            execute("UPDATE counters SET v = ? WHERE id = ?", (v + 1, key))
            execute("COMMIT")
        except BaseException:
            execute("ROLLBACK")
            raise

    return increment


class Messages:
    """W2 and W3 by hand: `update_hook` names the changed row, a dict finds its watcher, the query is run again.

    This is about the least a same-process live query over SQLite can cost, and it is only right for this one query.
    """

    def __init__(self, directory: Path, messages: int, channels: int) -> None:
        self._connection = connect(directory / "messages.sqlite")
        self._execute = self._connection.execute
        self._execute("CREATE TABLE messages (n INTEGER PRIMARY KEY, channel INTEGER, body TEXT)")
        with self._connection:
            rows = data.messages(messages, channels)
            self._connection.executemany("INSERT INTO messages VALUES (:n, :channel, :body)", rows)
            self._execute("CREATE INDEX by_channel ON messages (channel, n)")
        self._changed: list[int] = []
        self._watchers: dict[int, Callable[[Any], None]] = {}
        self._runs = 0
        self._connection.set_update_hook(lambda kind, database, table, row: self._changed.append(row))

    def insert(self, channel: int, number: int) -> None:
        self._execute("BEGIN IMMEDIATE")
        self._execute("INSERT INTO messages VALUES (?, ?, ?)", (number, channel, data.MESSAGE_BODY))
        self._execute("COMMIT")
        changed, self._changed = self._changed, []
        for row in changed:
            self._notify(self._execute("SELECT channel FROM messages WHERE n = ?", (row,)).get)

    def _notify(self, channel: int) -> None:
        watcher = self._watchers.get(channel)
        if watcher is not None:
            self._runs += 1
            watcher(self.query(channel))

    def watch(self, channel: int, callback: Callable[[Any], None]) -> None:
        self._watchers[channel] = callback

    def start(self) -> None:
        pass

    def query(self, channel: int) -> Any:
        statement = "SELECT n, channel, body FROM messages WHERE channel = ? ORDER BY n DESC LIMIT 20"
        return self._execute(statement, (channel,)).fetchall()

    def numbers(self, value: Any) -> list[int]:
        return [row[0] for row in value]

    def runs(self) -> int:
        return self._runs

    def count(self) -> int:
        count: int = self._execute("SELECT count(*) FROM messages").get
        return count

    def close(self) -> None:
        self._connection.close()


class Items:
    """W7; see `systems.Items`."""

    @staticmethod
    def build(path: Path, documents: int) -> str:
        connection = connect(path)
        connection.execute("CREATE TABLE items (id TEXT PRIMARY KEY, g INTEGER, x INTEGER, owner TEXT, body TEXT)")
        with connection:
            rows = data.item_rows(documents)
            connection.executemany("INSERT INTO items VALUES (:id, :g, :x, :owner, :body)", rows)
        connection.close()
        return data.item_key(documents)

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)

    def get(self, key: str) -> int:
        x: int = self._connection.execute("SELECT x FROM items WHERE id = ?", (key,)).get
        return x

    def groups(self) -> dict[int, tuple[int, int]]:
        rows = self._connection.execute("SELECT g, count(*), sum(x) FROM items GROUP BY g")
        return {g: (count, total) for g, count, total in rows}

    def close(self) -> None:
        self._connection.close()
