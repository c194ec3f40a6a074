"""The journals: the conformance suite on both, and what only a disk can do to one of them."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reactive_db.errors import CommitUncertainError, StoreClosedError, StoreCorruptError, StoreError
from reactive_db.storage import journal as journal_module
from reactive_db.storage.journal import _ROWS_AT_ONCE, Journal, MemoryJournal, SqliteJournal
from reactive_db.testing.journal_conformance import JournalConformance, part
from tests.storage.conftest import RunOnSmallDisk


class TestMemoryJournal(JournalConformance):
    is_durable = False

    def open_journal(self, path: Path) -> Journal:
        return MemoryJournal()


class TestSqliteJournal(JournalConformance):
    def open_journal(self, path: Path) -> Journal:
        return SqliteJournal(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    with contextlib.closing(SqliteJournal(path)) as journal:
        yield journal


# --- durability ------------------------------------------------------------------------------------------------------


def test_every_append_is_flushed(journal: SqliteJournal) -> None:
    connection = journal._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_torn_tail_loses_only_what_was_not_acknowledged(journal: SqliteJournal, path: Path, tmp_path: Path) -> None:
    wal = path.with_name(f"{path.name}-wal")
    sizes = [wal.stat().st_size]  # of the log at each acknowledgement
    for ts in range(1, 9, 2):
        journal.append([(ts, part(ts, "x" * 5_000)), (ts + 1, part(ts + 1))])
        sizes.append(wal.stat().st_size)
    content = wal.read_bytes()
    for size in range(sizes[0], len(content) + 1, 997):
        copy = tmp_path / f"torn-{size}"
        shutil.copy(path, copy)
        copy.with_name(f"{copy.name}-wal").write_bytes(content[:size])
        with contextlib.closing(SqliteJournal(copy)) as torn:
            acknowledged = 2 * sum(1 for at in sizes[1:] if at <= size)
            assert [ts for ts, _ in torn.parts(0)] == list(range(1, acknowledged + 1))
            assert torn.verify() == []


def test_garbage_after_the_tail_is_ignored(journal: SqliteJournal, path: Path, tmp_path: Path) -> None:
    journal.append([(1, part(1))])
    copy = tmp_path / "copy"
    shutil.copy(path, copy)
    log = path.with_name(f"{path.name}-wal").read_bytes()
    copy.with_name(f"{copy.name}-wal").write_bytes(log + bytes(range(256)) * 40)
    with contextlib.closing(SqliteJournal(copy)) as damaged:
        assert list(damaged.parts(0)) == [(1, part(1))]


def test_a_full_disk_keeps_everything_earlier_and_nothing_else(run_on_small_disk: RunOnSmallDisk) -> None:
    answer = run_on_small_disk(
        """
from reactive_db.errors import StoreFullError
from reactive_db.storage.journal import SqliteJournal
from reactive_db.testing.journal_conformance import part

ballast = disk / "ballast"
ballast.write_bytes(bytes(300_000))
journal = SqliteJournal(disk / "journal.sqlite")
ts, refused = 0, []
for batch in [1, 3] * 1_000:
    try:
        journal.append([(ts + n, part(ts + n, "x" * 4_000)) for n in range(1, batch + 1)])
        ts += batch
    except StoreFullError as error:
        refused.append(batch)
        if len(refused) == 2:
            break
while_full = [key for key, _ in journal.parts(0)] == list(range(1, ts + 1)) and journal.last_ts == ts
ballast.unlink()
journal.append([(ts + 1, part(ts + 1))])
journal.close()
reopened = SqliteJournal(disk / "journal.sqlite")
answer = [while_full, reopened.verify(), [key for key, _ in reopened.parts(0)] == list(range(1, ts + 2)), ts > 10]
""",
        1_024,
    )
    assert answer == [True, [], True, True]


def test_a_failed_append_of_unknown_outcome_closes_the_journal(journal: SqliteJournal, path: Path) -> None:
    journal.append([(1, part(1))])
    journal._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(CommitUncertainError, match=r"connect again and look.*docs/errors/commit-uncertain\.md"):
        journal.append([(2, part(2))])
    with pytest.raises(StoreClosedError):
        journal.append([(2, part(2))])
    with contextlib.closing(SqliteJournal(path)) as reopened:
        assert list(reopened.parts(0)) == [(1, part(1))]


class InterruptedConnection:
    """A connection that Ctrl-C interrupts just before or just after a statement."""

    def __init__(self, connection: sqlite3.Connection, statement: str, *, after: bool) -> None:
        self._connection = connection
        self._statement = statement
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, parameters: Iterable[Any] = ()) -> sqlite3.Cursor:
        if not sql.startswith(self._statement):
            return self._connection.execute(sql, tuple(parameters))
        if self._after:
            self._connection.execute(sql, tuple(parameters))
        raise KeyboardInterrupt


@pytest.mark.parametrize("statement", ["BEGIN", "COMMIT", "INSERT"])
@pytest.mark.parametrize("after", [False, True])
def test_an_interrupted_append_says_whether_it_landed(journal: SqliteJournal, statement: str, after: bool) -> None:
    journal.append([(1, part(1))])
    connection = journal._connection
    journal._connection = InterruptedConnection(connection, statement, after=after)  # type: ignore[assignment]
    size = 3 if statement == "INSERT" else _ROWS_AT_ONCE + 1
    batch = [(ts, part(ts)) for ts in range(2, 2 + size)]
    with pytest.raises(KeyboardInterrupt):
        journal.append(batch)
    journal._connection = connection
    landed = after and statement != "BEGIN"
    assert journal.last_ts == (batch[-1][0] if landed else 1)
    assert [ts for ts, _ in journal.parts(1)] == ([ts for ts, _ in batch] if landed else [])
    journal.append([(journal.last_ts + 1, part(journal.last_ts + 1))])


def test_all_of_an_append_or_nothing(journal: SqliteJournal) -> None:
    journal.append([(1, part(1))])
    broken: Any = [(2, part(2)), (3, object())]
    with pytest.raises((CommitUncertainError, sqlite3.Error)):
        journal.append(broken)
    with contextlib.closing(SqliteJournal(journal._path)) as reopened:
        assert [ts for ts, _ in reopened.parts(0)] == [1]


def test_a_half_deleted_commit_is_not_shown(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.append([(1, part(1)), (1, part(1)), (2, part(2))])
    with monkeypatch.context() as patched:
        patched.setattr(SqliteJournal, "_delete_chunk", lambda self, end: False)  # dies before it deletes
        journal.trim(1)
    journal._connection.execute("DELETE FROM parts WHERE key = (SELECT min(key) FROM parts)")
    assert list(journal.parts(0)) == [(2, part(2))]
    assert journal.verify() == []


def test_trimming_takes_small_steps(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_CHUNK_BYTES", 2_000)
    journal.append([(ts, part(ts, "x" * 900)) for ts in range(1, 21)])
    steps = 0
    delete = SqliteJournal._delete_chunk

    def counted(self: SqliteJournal, end: int) -> bool:
        nonlocal steps
        steps += 1
        # An append between two steps does not wait for the whole trim.
        self.append([(self.last_ts + 1, part(self.last_ts + 1))])
        return delete(self, end)

    monkeypatch.setattr(SqliteJournal, "_delete_chunk", counted)
    journal.trim(20)
    assert steps > 5
    assert [ts for ts, _ in journal.parts(0)] == list(range(21, 21 + steps))


# --- files that are no journal ----------------------------------------------------------------------------------------


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be taken for one" * 50)
    before = path.read_bytes()
    with pytest.raises(StoreCorruptError, match="journal"):
        SqliteJournal(path)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot open"):
        SqliteJournal(tmp_path / "nowhere" / "journal.sqlite")


def test_verify_finds_damaged_pages(journal: SqliteJournal, path: Path) -> None:
    journal.append([(ts, part(ts, "x" * 2_000)) for ts in range(1, 200)])
    journal.close()
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4_096] = b"\xff" * 4_096
    path.write_bytes(content)
    with contextlib.closing(SqliteJournal(path)) as damaged:
        assert damaged.verify() != []
