"""`db.backup`: a consistent copy while the store is in use, and never half of one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import reactive_db as rdb
from reactive_db.engine.check import verify
from reactive_db.errors import NotAStoreError, StoreClosedError, StoreError
from reactive_db.storage.columns import Columns
from reactive_db.storage.journal import SqliteJournal
from reactive_db.testing import crash_workload as workload
from reactive_db.testing.crash_workload import Progress
from tests.engine.conftest import StartProgram

WRITERS = 4
COPIES = 5


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copies" / "copy.rdb"


class Slip(rdb.Document, table="backup_slips", indexes={"by_writer": ["writer", "number"]}):
    writer: int
    number: int
    side: str


@rdb.mutation
def sign(ctx: rdb.MutationCtx, writer: int, number: int) -> int:
    """Two slips each; the writer before goes first."""
    for side in ("left", "right"):
        ctx.db.insert(Slip(writer=writer, number=number, side=side))
    return number


@rdb.query
def slips(ctx: rdb.QueryCtx) -> list[Slip]:
    return ctx.db.query(Slip).with_index("by_writer").collect()


class Writers:
    """Threads that write until they are told to stop, and how far each of them has come."""

    def __init__(self, db: rdb.Database) -> None:
        self.acknowledged = [0] * WRITERS
        self._db = db
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(writer,)) for writer in range(WRITERS)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, writer: int) -> None:
        while not self._stop.is_set():
            self.acknowledged[writer] = self._db.run(sign, writer, self.acknowledged[writer] + 1)


def assert_prefix(copy: Path, original: rdb.Database, least: list[int], most: list[int]) -> None:
    """The copy is sound, and is what the original was at the copy's timestamp."""
    assert verify(copy).faults == []
    with rdb.connect(copy) as db:
        ts = db.ts
        found = db.sql("SELECT writer, number, side FROM backup_slips ORDER BY ALL").fetchall()
        assert sorted((slip.writer, slip.number, slip.side) for slip in db.run(slips)) == found
        ids = db.sql("SELECT _id FROM backup_slips ORDER BY ALL").fetchall()
    history = """SELECT _id FROM _history WHERE "table" = 'backup_slips' AND ts <= ? ORDER BY ALL"""
    assert original.sql(history, [ts]).fetchall() == ids
    numbers = [max((number for writer, number, _ in found if writer == one), default=0) for one in range(WRITERS)]
    assert all(low <= number <= high for low, number, high in zip(least, numbers, most, strict=True))
    assert len(found) == 2 * sum(numbers)


def test_copies_made_while_others_write_are_prefixes(path: Path, tmp_path: Path) -> None:
    with rdb.connect(path, limits=rdb.Limits(documents_read_max=10**9, function_seconds=100)) as db:
        bounds = []
        with Writers(db) as writers:
            for at in range(COPIES):
                least = writers.acknowledged.copy()
                db.backup(tmp_path / f"copy{at}.rdb")
                bounds.append((least, [number + 1 for number in writers.acknowledged]))
        for at, (least, most) in enumerate(bounds):
            assert_prefix(tmp_path / f"copy{at}.rdb", db, least, most)
    assert sum(bounds[-1][0]) > sum(bounds[0][0])


def test_nobody_waits_for_a_backup(path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copying, written = threading.Event(), threading.Event()
    backup = Columns.backup

    def slow(self: Columns, to: Path) -> None:
        copying.set()
        written.wait()
        backup(self, to)

    monkeypatch.setattr(Columns, "backup", slow)
    with rdb.connect(path) as db:
        db.run(sign, 0, 1)
        copier = threading.Thread(target=db.backup, args=(target,))
        copier.start()
        copying.wait()
        handle = db.live(slips)
        db.run(sign, 0, 2)
        assert len(handle.value) == 4
        written.set()
        copier.join()
        # What came while the columns were copied is in the copy of the journal.
        assert_prefix(target, db, [2, 0, 0, 0], [2, 0, 0, 0])


def test_close_waits_for_a_backup(path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copying, closing = threading.Event(), threading.Event()
    backup = Columns.backup

    def slow(self: Columns, to: Path) -> None:
        copying.set()
        closing.wait()
        backup(self, to)

    monkeypatch.setattr(Columns, "backup", slow)
    db = rdb.connect(path)
    db.run(sign, 0, 1)
    copier = threading.Thread(target=db.backup, args=(target,))
    copier.start()
    copying.wait()
    closer = threading.Thread(target=db.close)
    closer.start()
    closing.set()
    copier.join()
    closer.join()
    assert verify(target).faults == []


def test_a_copy_is_a_store_of_its_own(path: Path, target: Path) -> None:
    with rdb.connect(path) as db:
        db.run(sign, 0, 1)
        db.backup(target)
        with rdb.connect(target) as copy:
            copy.run(sign, 0, 2)
            assert len(copy.run(slips)) == 4
            assert copy.ts == db.ts + 1
        assert len(db.run(slips)) == 2
    assert sorted(file.name for file in target.iterdir()) == ["columns.duckdb", "format.json", "journal.sqlite", "lock"]


def test_a_store_in_memory_can_be_kept(target: Path) -> None:
    with rdb.connect() as db:
        db.run(sign, 0, 1)
        db.sql("SELECT 1")
        db.run(sign, 0, 2)
        db.backup(target)
        assert_prefix(target, db, [2, 0, 0, 0], [2, 0, 0, 0])


@pytest.mark.parametrize("kind", ["file", "directory", "store", "itself"])
def test_a_backup_overwrites_nothing(path: Path, target: Path, kind: str) -> None:
    target.parent.mkdir()
    if kind == "file":
        target.write_text("precious")
    elif kind == "directory":
        target.mkdir()
        (target / "thesis.txt").write_text("precious")
    elif kind == "store":
        rdb.connect(target).close()
    else:
        target = path
    with rdb.connect(path) as db:
        before = {file: file.read_bytes() for file in target.parent.rglob("*") if file.is_file()}
        with pytest.raises(StoreError, match="Choose"):
            db.backup(target)
        assert {file: file.read_bytes() for file in target.parent.rglob("*") if file.is_file()} == before
        db.run(sign, 0, 1)


def test_a_backup_that_fails_leaves_nothing_behind(path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: SqliteJournal, to: Path) -> None:
        raise OSError("the disk was pulled out")

    with rdb.connect(path) as db:
        db.run(sign, 0, 1)
        with monkeypatch.context() as patched:
            patched.setattr(SqliteJournal, "backup", fail)
            with pytest.raises(OSError, match="pulled out"):
                db.backup(target)
        assert not target.exists()
        db.backup(target)
        assert_prefix(target, db, [1, 0, 0, 0], [1, 0, 0, 0])


def test_half_of_a_backup_is_no_store(path: Path, target: Path, start_program: StartProgram) -> None:
    program = start_program(f"""
from reactive_db.storage.journal import SqliteJournal
SqliteJournal.backup = lambda self, to: os.kill(os.getpid(), signal.SIGKILL)
db = workload.open_store(path)
db.run(workload.begin)
db.backup({str(target)!r})
""")
    program.wait()
    assert target.exists()
    before = {file.name: file.read_bytes() for file in target.iterdir()}
    for look in (rdb.connect, verify):
        with pytest.raises(NotAStoreError):
            look(target)
    assert {file.name: file.read_bytes() for file in target.iterdir()} == before
    with workload.open_store(path) as db:
        assert workload.progress_of(workload.state_of_documents(db)) == Progress(has_begun=True)


def test_a_closed_store_cannot_be_copied(path: Path, target: Path) -> None:
    db = rdb.connect(path)
    db.close()
    with pytest.raises(StoreClosedError):
        db.backup(target)
    assert not target.exists()
