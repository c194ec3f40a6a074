"""The DuckDB database behind the columns: its settings, its one writer, its readers, its end.

Knows nothing of tables or commits. One connection writes; every read gets a cursor and a read-only
transaction of its own, so reads from many threads see one snapshot each and never wait for the writer.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from reactive_db.errors import (
    ReactiveDBError,
    SqlError,
    StoreClosedError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreLockedError,
)
from reactive_db.storage.column_types import quoted
from reactive_db.storage.directory import sync_directory

# Measured: small statements are fastest on few threads; below 256 MB a batch of updates checkpoints at every
# commit. The storage version is the oldest DuckDB that can read the file.
_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "threads": 2,
    "checkpoint_threshold": "256MB",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "storage_compatibility_version": "v1.5.0",
}
_WAL_BYTES_MAX: Final = 64 * 2**20
_INTERRUPT_SECONDS: Final = 0.1


class ColumnFile:
    """One open DuckDB database; in memory when `path` is None.

    `execute`, `execute_with` and `transaction` are for one thread at a time, everything else for any thread.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        """Open the file, creating it when there is none, unless `read_only`.

        Raises:
            StoreCorruptError: the file is no DuckDB database, or damaged.
            StoreLockedError: another process has it open.
            StoreError: the disk refuses.
        """
        self._path = path
        self.is_read_only = read_only
        self._changed = threading.Condition()
        # Each reader, and whether `interrupt` may stop it.
        self._readers: dict[duckdb.DuckDBPyConnection, bool] = {}
        self._is_closed = self._is_reopening = False
        self._log = 0
        """The inode of the write-ahead log whose name is durable."""
        self._open()

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def execute(self, sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement on the writer's connection and fetch its rows."""
        return self._writer.execute(sql, parameters).fetchall()

    def execute_with(self, sql: str, batch: pa.Table) -> None:
        """Run a statement in which the table name `batch` stands for the Arrow table `batch`."""
        self._writer.execute(sql).fetchall()

    def fetch(self, sql: str, rows: int) -> list[pa.RecordBatch]:
        """Run a query on the writer's connection; the result in batches of `rows`."""
        return list(self._writer.sql(sql).to_arrow_reader(rows))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the writes inside, or none of them when an exception leaves the block."""
        self._writer.execute("BEGIN TRANSACTION")
        try:
            yield
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                self._writer.execute("ROLLBACK")
            raise
        self._writer.execute("COMMIT")
        self._keep_log()

    @contextlib.contextmanager
    def reading(self, *, is_interruptible: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor in a read-only transaction; whatever it did is forgotten at the end of the block.

        Raises:
            SqlError: `interrupt` stopped it, which only happens to an interruptible one.
            StoreClosedError: the database is closed, or was in between.
            StoreError: the database was reopened in between.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._is_reopening)
            cursor = self._base.cursor()
            self._readers[cursor] = is_interruptible
        try:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            yield cursor
        except duckdb.InterruptException as error:
            raise self._interrupted() from error
        finally:
            cursor.close()
            with self._changed:
                del self._readers[cursor]
                self._changed.notify_all()

    def interrupt(self) -> None:
        """Stop every statement that an interruptible reader is running."""
        with self._changed:
            for reader, is_interruptible in self._readers.items():
                if is_interruptible:
                    reader.interrupt()

    def checkpoint_if_due(self) -> None:
        """Fold a grown write-ahead log into the file, at a moment when nothing is being written."""
        if self._path is None or _size(_log(self._path)) < _WAL_BYTES_MAX:
            return
        # A reader's snapshot can be in the way; then a later commit tries again.
        with contextlib.suppress(duckdb.TransactionException):
            self._writer.execute("CHECKPOINT")

    def backup(self, path: Path) -> None:
        """Write a copy of one snapshot to the new file `path`."""
        with self._changed:
            cursor = self._base.cursor()
        with contextlib.closing(cursor):
            name = cursor.execute("SELECT current_database()").fetchall()[0][0]
            target = "'" + str(path).replace("'", "''") + "'"
            cursor.execute(f"ATTACH {target} AS reactive_db_backup (STORAGE_VERSION 'v1.5.0')")
            try:
                cursor.execute(f"COPY FROM DATABASE {quoted(name)} TO reactive_db_backup").fetchall()
            finally:
                cursor.execute("DETACH reactive_db_backup")

    def reopen(self) -> None:
        """Close a database that DuckDB has given up on, and open it again from its file.

        Readers are interrupted. What was acknowledged before is in the file.
        """
        if self._path is None:
            raise StoreError("the store in memory failed and is lost; connect again.")
        with self._changed:
            self._is_reopening = True
            try:
                self._end_readers()
                self._disconnect()
                self._open()
            finally:
                self._is_reopening = False
                self._changed.notify_all()

    def close(self) -> None:
        """Interrupt every reader, wait until they have left, and close the file; safe to call again."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._end_readers()
            self._disconnect()

    def _open(self) -> None:
        if self._path is not None and not self.is_read_only and not self._path.exists():
            _create(self._path)
        base = _connect(self._path, self.is_read_only)
        base.execute("SET TimeZone = 'UTC'")
        base.execute("SET enable_progress_bar = false")
        writer = base.cursor()
        # Only here may a name in a statement stand for an Arrow table; in a user's SQL it would find ours.
        writer.execute("SET python_enable_replacements = true")
        writer.execute("SET arrow_large_buffer_size = true")
        self._connections: tuple[duckdb.DuckDBPyConnection, ...] = (base, writer)

    def _disconnect(self) -> None:
        # Let go of, not only closed: what still refers to a closed store at exit, such as the thread of a timer that
        # waits, would keep DuckDB's objects beyond the interpreter, which complains.
        connections, self._connections = self._connections, ()
        for connection in reversed(connections):
            with contextlib.suppress(duckdb.Error):
                connection.close()

    @property
    def _base(self) -> duckdb.DuckDBPyConnection:
        self._check_connected()
        return self._connections[0]

    @property
    def _writer(self) -> duckdb.DuckDBPyConnection:
        self._check_connected()
        return self._connections[1]

    def _keep_log(self) -> None:
        """Make the log's name durable when it is new: DuckDB, which syncs what is in it, does not."""
        if self._path is not None and (log := _inode(_log(self._path))) != self._log:
            sync_directory(self._path.parent)
            self._log = log

    def _check_connected(self) -> None:
        if not self._connections:
            raise StoreClosedError("the store is closed; connect again.")

    def _interrupted(self) -> ReactiveDBError:
        if self._is_closed:
            return StoreClosedError("the store was closed while a statement ran; connect again.")
        if self._is_reopening:
            return StoreError("the columns failed and were opened again while a statement ran; run it again.")
        return SqlError("the statement was interrupted.")

    def _end_readers(self) -> None:
        # Again and again, because an interrupt that comes just before a statement begins is lost.
        while self._readers:
            for reader in self._readers:
                reader.interrupt()
            self._changed.wait(_INTERRUPT_SECONDS)


def store_error(error: Exception, path: Path | None) -> StoreError:
    """What a failure of DuckDB outside a user's statement means for the store."""
    if _is_full(error):
        return StoreFullError(f"no room for the columns {path}: {error}. The journal has every commit; make room.")
    return StoreError(f"the columns {path} failed: {error}. The journal has every commit; connect again.")


def opening_error(error: Exception, path: Path | None) -> StoreError:
    """What it means that the columns cannot be opened or loaded."""
    if "Could not set lock" in str(error):
        return StoreLockedError(f"another process has the columns {path} open: {error}.")
    if _is_full(error) or "Cannot open file" in str(error):
        return store_error(error, path)
    return StoreCorruptError(f"the columns {path} cannot be read: {error}. Restore a backup.")


def _create(path: Path) -> None:
    """Make an empty database, under another name first: DuckDB cannot open one that it died in the middle of making."""
    if _log(path).exists():
        raise StoreCorruptError(f"the columns {path} are missing, only their log is left. Restore a backup.")
    new = path.with_name(f"{path.name}.new")
    for leftover in (new, _log(new)):
        leftover.unlink(missing_ok=True)
    _connect(new, read_only=False).close()
    new.replace(path)
    sync_directory(path.parent)


def _connect(path: Path | None, read_only: bool) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(":memory:" if path is None else str(path), read_only=read_only, config=_CONFIG)
    except duckdb.Error as error:
        raise opening_error(error, path) from error


def _is_full(error: Exception) -> bool:
    return "No space left on device" in str(error)


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
