"""The journal: the durable, append-only log of commits. The acknowledgement of an append is the commit point.

What lives here: the `Journal` contract, one in memory and one on SQLite. What may not: any knowledge of what
a commit means, which timestamp comes next, or whether a commit may happen; the Committer decides all three.
`reactive_db.testing.journal_conformance` has the tests that every implementation must pass.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, NoReturn, Protocol

import msgspec

from reactive_db.errors import (
    CommitUncertainError,
    StoreClosedError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
)
from reactive_db.storage.commit import decode_commit

_CHUNK_ROWS: Final = 1_000
_CHUNK_BYTES: Final = 4 * 2**20
"""How much one step of a long read or trim takes before an append may go ahead."""

_WAL_BYTES_KEPT: Final = 16 * 2**20

# A row's key is its commit's timestamp and the part's number within the commit, so key order is commit order.
_PART_BITS: Final = 16

_SETUP: Final = f"""
PRAGMA fullfsync = ON;
PRAGMA synchronous = FULL;
PRAGMA journal_size_limit = {_WAL_BYTES_KEPT};
CREATE TABLE IF NOT EXISTS parts (key INTEGER PRIMARY KEY, part BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS trimmed (through INTEGER NOT NULL);
INSERT INTO trimmed SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM trimmed);
"""
_INSERT: Final = "INSERT INTO parts VALUES (?, ?)"
_ROWS_AT_ONCE: Final = 64
_INSERTS: Final = [_INSERT + ", (?, ?)" * more for more in range(-1, _ROWS_AT_ONCE)]
"""By the number of rows. A statement lets go of Python's lock and has to get it back: beside 15 busy threads, eight
rows take 1.9 ms in one statement and 11.5 ms one by one."""

_TRIMMED: Final = "SELECT through FROM trimmed"
_LAST_TS: Final = f"SELECT max(through, (SELECT ifnull(max(key), 0) >> {_PART_BITS} FROM parts)) FROM trimmed"
_CHUNK: Final = f"SELECT key, part FROM parts WHERE key >= ? ORDER BY key LIMIT {_CHUNK_ROWS}"
_CHUNK_SIZES: Final = f"SELECT key, length(part) FROM parts WHERE key < ? ORDER BY key LIMIT {_CHUNK_ROWS}"


class Journal(Protocol):
    """A log of commits, each a few parts of bytes under one timestamp.

    Every method may be called from any thread. The caller guarantees that no two appends run at once and that
    each append begins above `last_ts`, its timestamps ascending and the parts of one commit side by side.
    """

    @property
    def last_ts(self) -> int:
        """The newest timestamp ever appended, 0 for none; trimming does not lower it."""

    def append(self, commits: Sequence[tuple[int, bytes]]) -> None:
        """Make all of `commits`, as `(ts, part)`, durable, or none of them; returns once they are.

        An exception that does not come from the journal itself (an interrupt, a time limit) passes through;
        `last_ts` then says whether the append landed.

        Raises:
            StoreFullError: no room; nothing was kept, and the journal stays usable.
            CommitUncertainError: whether it landed is unknown. The journal is closed; open it again and look.
            StoreClosedError: used after `close()`, or after a `CommitUncertainError`.
        """

    def parts(self, after: int) -> Iterator[tuple[int, bytes]]:
        """`(ts, part)` of every commit later than `after`, in order."""

    def trim(self, through: int) -> None:
        """Forget the commits up to and including `through`, which must be durable elsewhere.

        `last_ts` is at least `through` afterwards. Works in small steps, between which an append goes first.
        """

    def backup(self, path: Path) -> None:
        """Write a consistent copy to the new file `path` while the journal is in use."""

    def verify(self) -> list[str]:
        """What is wrong with the journal, one sentence per fault; empty when nothing is."""

    def close(self) -> None:
        """Let go of every resource; safe to call again."""


class MemoryJournal:
    """A journal that ends with its process; every other promise of `Journal` holds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: list[tuple[int, bytes]] = []
        self._last_ts = 0
        self._trimmed = 0
        self._is_closed = False

    @property
    def last_ts(self) -> int:
        return self._last_ts

    def append(self, commits: Sequence[tuple[int, bytes]]) -> None:
        with self._lock:
            self._check_open()
            if commits:
                self._parts.extend(commits)
                self._last_ts = commits[-1][0]

    def parts(self, after: int) -> Iterator[tuple[int, bytes]]:
        with self._lock:
            self._check_open()
            return iter([part for part in self._parts if part[0] > after])

    def trim(self, through: int) -> None:
        with self._lock:
            self._check_open()
            self._trimmed = max(self._trimmed, through)
            self._last_ts = max(self._last_ts, through)
            self._parts = [part for part in self._parts if part[0] > through]

    def backup(self, path: Path) -> None:
        """Write the copy as the file of a `SqliteJournal`."""
        with self._lock:
            self._check_open()
            parts, trimmed = self._parts.copy(), self._trimmed
        with contextlib.closing(SqliteJournal(path)) as copy:
            copy.append(parts)
            copy.trim(trimmed)

    def verify(self) -> list[str]:
        with self._lock:
            self._check_open()
            return list(_faults(_with_keys(self._parts), self._trimmed))

    def close(self) -> None:
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise _closed()


class SqliteJournal:
    """A journal in one SQLite file: WAL mode, `synchronous=FULL`, used as a log and nothing else.

    An append is one SQLite transaction: after a crash, SQLite's own recovery settles which appends are there.
    The file belongs to this object alone; `StoreDirectory` keeps other processes away.
    """

    def __init__(self, path: Path) -> None:
        """Open the journal in `path`, creating it when there is none.

        Raises:
            StoreCorruptError: the file is no journal, or damaged.
            StoreError: the disk cannot hold a SQLite database in WAL mode.
        """
        self._path = path
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._is_closed = False
        self._connection = _connect(path)
        try:
            self._last_ts: int = self._connection.execute(_LAST_TS).fetchone()[0]
        except BaseException:
            self._connection.close()
            raise

    @property
    def last_ts(self) -> int:
        return self._last_ts

    def append(self, commits: Sequence[tuple[int, bytes]]) -> None:
        if not commits:
            return
        # Holding the turn lets an append go before the next step of a trim, which takes the lock many times.
        with self._turn, self._lock:
            try:
                if len(commits) <= _ROWS_AT_ONCE:
                    self._connection.execute(_INSERTS[len(commits)], list(chain.from_iterable(_with_keys(commits))))
                else:
                    self._connection.execute("BEGIN IMMEDIATE")
                    self._connection.executemany(_INSERT, _with_keys(commits))
                    self._connection.execute("COMMIT")
                self._last_ts = commits[-1][0]
            except BaseException as error:
                self._settle(error)

    def parts(self, after: int) -> Iterator[tuple[int, bytes]]:
        with self._exclusive() as connection:
            trimmed = connection.execute(_TRIMMED).fetchone()[0]
        key = (max(after, trimmed) + 1) << _PART_BITS
        while chunk := self._read_chunk(key):
            yield from ((key >> _PART_BITS, part) for key, part in chunk)
            key = chunk[-1][0] + 1

    def trim(self, through: int) -> None:
        with self._exclusive() as connection:
            # Recorded first: what a crash leaves of a commit that is half deleted is then never shown again.
            connection.execute("UPDATE trimmed SET through = max(through, ?)", (through,))
            self._last_ts = max(self._last_ts, through)
        while self._delete_chunk((through + 1) << _PART_BITS):
            pass

    def backup(self, path: Path) -> None:
        self._check_open()
        # A connection of its own reads one snapshot, so appends go on meanwhile.
        with (
            contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as source,
            contextlib.closing(sqlite3.connect(path)) as target,
        ):
            source.backup(target)

    def verify(self) -> list[str]:
        try:
            with self._exclusive() as connection:
                answers = [row[0] for row in connection.execute("PRAGMA integrity_check")]
                trimmed = connection.execute(_TRIMMED).fetchone()[0]
                rows = connection.execute("SELECT key, part FROM parts ORDER BY key")
                faults = [f"journal: {answer}" for answer in answers if answer != "ok"]
                return faults + list(_faults(rows, trimmed))
        except sqlite3.DatabaseError as error:
            return [f"journal: {error}"]

    def close(self) -> None:
        with self._turn, self._lock:
            self._is_closed = True
            self._connection.close()

    def _read_chunk(self, key: int) -> list[tuple[int, bytes]]:
        chunk: list[tuple[int, bytes]] = []
        size = 0
        with self._exclusive() as connection, contextlib.closing(connection.execute(_CHUNK, (key,))) as rows:
            for row in rows:
                chunk.append(row)
                size += len(row[1])
                if size >= _CHUNK_BYTES:
                    break
        return chunk

    def _delete_chunk(self, end: int) -> bool:
        """Delete the first rows below the key `end`; whether there were any."""
        last = size = 0
        with self._exclusive() as connection:
            for key, length in connection.execute(_CHUNK_SIZES, (end,)).fetchall():
                last, size = key, size + length
                if size >= _CHUNK_BYTES:
                    break
            if last:
                connection.execute("DELETE FROM parts WHERE key <= ?", (last,))
        return last > 0

    def _settle(self, error: BaseException) -> NoReturn:
        """After a failed append: keep nothing of it, or say that this is not known.

        The caller holds the lock.
        """
        if isinstance(error, sqlite3.ProgrammingError) and self._is_closed:
            raise _closed() from None
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._last_ts = self._connection.execute(_LAST_TS).fetchone()[0]
        except sqlite3.Error as failure:
            self._fail(failure)
        if not isinstance(error, sqlite3.Error):
            raise error
        # SQLite reports a full disk before the frame that commits is whole, so nothing can have landed.
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            message = f"no room on the disk for {self._path}; the commit was not kept. Make room and retry."
            raise StoreFullError(message) from error
        self._fail(error)

    def _fail(self, error: sqlite3.Error) -> NoReturn:
        """Close for good: what a failed flush left in memory cannot be trusted to reach the disk later."""
        self._is_closed = True
        self._connection.close()
        raise CommitUncertainError(
            f"the journal {self._path} failed while appending ({error}); the commit may or may not be there. "
            "Do not retry: connect again and look."
        ) from error

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            pass
        with self._lock:
            self._check_open()
            yield self._connection

    def _check_open(self) -> None:
        if self._is_closed:
            raise _closed()


def _connect(path: Path) -> sqlite3.Connection:
    connection = None
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StoreError(f"the disk of {path} cannot hold SQLite's WAL; put the store on a local disk.")
        connection.executescript(_SETUP)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.OperationalError):
            raise StoreError(f"cannot open the journal {path}: {error}.") from error
        if isinstance(error, sqlite3.DatabaseError):
            raise StoreCorruptError(f"the journal {path} is damaged: {error}. Restore a backup.") from error
        raise
    return connection


def _with_keys(parts: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    ts_before = number = 0
    for ts, part in parts:
        number = number + 1 if ts == ts_before else 0
        ts_before = ts
        yield (ts << _PART_BITS) + number, part


def _faults(rows: Iterable[tuple[int, bytes]], trimmed: int) -> Iterator[str]:
    """What contradicts the contract in `rows`, each a key and a part; commits up to `trimmed` are ignored."""
    expected = (trimmed + 1) << _PART_BITS
    for key, part in rows:
        ts, number = key >> _PART_BITS, key & ((1 << _PART_BITS) - 1)
        if ts <= trimmed:
            continue
        if key not in (expected, _first_key_after(expected)):
            yield f"journal: something is missing before part {number} of ts {ts}."
        expected = key + 1
        try:
            commit = decode_commit(part)
        except msgspec.DecodeError as error:
            yield f"journal: part {number} of ts {ts} cannot be read: {error}."
            continue
        if commit.ts != ts:
            yield f"journal: part {number} of ts {ts} says that it belongs to ts {commit.ts}."


def _first_key_after(key: int) -> int:
    return ((key >> _PART_BITS) + 1) << _PART_BITS


def _closed() -> StoreClosedError:
    return StoreClosedError("the journal is closed; connect again.")
