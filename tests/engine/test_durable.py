"""An acknowledged commit survives: `kill -9` at random moments, a torn tail of the journal, damaged and missing files.

The campaign is shipped, `reactive_db.testing.crash`; here a slice of it runs with a new seed every time, which is
printed. All of it: `REACTIVE_DB_CAMPAIGN=long ./test tests/engine/test_durable.py --timeout 0`, or without pytest
`python -m reactive_db.testing.crash --cycles 200`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

import reactive_db as rdb
from reactive_db.engine.check import verify
from reactive_db.testing import crash_workload as workload
from reactive_db.testing.crash_workload import Progress
from tests.engine.conftest import STEPS, RunProgram, run_steps

ROOT = Path(__file__).parent.parent.parent
IS_LONG = os.environ.get("REACTIVE_DB_CAMPAIGN") == "long"
FAULTS_CYCLES_MAX = 40
"""By when a broken store must have been noticed; it mostly takes 2 to 5 cycles."""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the campaign forks")


def run_campaign(*command: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which has no threads yet; each of numpy's would be one."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)


# --- kill -9 ---------------------------------------------------------------------------------------------------------


@needs_fork
@pytest.mark.timeout(0 if IS_LONG else 300)
def test_what_is_acknowledged_survives_kill_9() -> None:
    cycles = 200 if IS_LONG else 24
    done = run_campaign("-m", "reactive_db.testing.crash", "--cycles", str(cycles))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{cycles} cycles" in done.stdout


@needs_fork
@pytest.mark.parametrize(
    ("sabotage", "symptom"),
    [
        ("acknowledge-before-append", "was acknowledged"),
        ("trim-before-apply", "commits are missing"),
        ("append-in-two-steps", "torn: |commits since ts .* are missing"),
        ("forget-how-far", "are in it twice"),
    ],
)
def test_the_campaign_notices_a_broken_store(sabotage: str, symptom: str, tmp_path: Path) -> None:
    script = str(ROOT / "tests" / "engine" / "sabotaged_crash.py")
    seed = Random().randrange(2**32)
    done = run_campaign(script, sabotage, str(FAULTS_CYCLES_MAX), str(seed), str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(symptom, done.stderr), done.stderr


def test_what_is_left_of_columns_that_were_never_finished_is_made_anew(path: Path) -> None:
    rdb.connect(path).close()
    (path / "columns.duckdb").unlink()
    for half in ("columns.duckdb.new", "columns.duckdb.new.wal"):
        (path / half).write_bytes(b"half of a database")
    assert verify(path).faults == []
    with workload.open_store(path) as db:
        db.run(workload.begin)
    assert not list(path.glob("*.new*"))
    assert verify(path).faults == []


SCHEMA_CHANGE = """
from reactive_db.storage.journal import SqliteJournal

class Sheet(rdb.Document, table="sheets"):
    number: int

@rdb.mutation
def fill(ctx: rdb.MutationCtx) -> None:
    for number in range(3):
        ctx.db.insert(Sheet(number=number))

rdb.connect(path).run(fill)

class Sheet(rdb.Document, table="sheets"):
    number: int
    grade: int = 5

@rdb.query
def sheets(ctx: rdb.QueryCtx) -> list[Sheet]:
    return ctx.db.query(Sheet).collect()

append = SqliteJournal.append
def die(self, commits):
    if DIES_AFTER:
        append(self, commits)
    os.kill(os.getpid(), signal.SIGKILL)
SqliteJournal.append = die
rdb.connect(path).run(sheets)
"""


@pytest.mark.parametrize("dies_after", [False, True])
def test_a_schema_change_is_there_whole_or_not_at_all(path: Path, run_program: RunProgram, dies_after: bool) -> None:
    assert run_program(SCHEMA_CHANGE.replace("DIES_AFTER", str(dies_after))).returncode == -9
    assert verify(path).faults == []
    with rdb.connect(path) as db:
        assert db.sql("SELECT * EXCLUDE (_id, _creation_time) FROM sheets ORDER BY number").fetchall() == [
            (number, 5) if dies_after else (number,) for number in range(3)
        ]


# --- a torn journal --------------------------------------------------------------------------------------------------

TEARS = 12
TEAR_SEEDS = range(20 if IS_LONG else 1)


def progress_if_whole(path: Path, least: int) -> Progress:
    """Where the store at `path` is; it must hold whole transactions only, `least` of each writer or more."""
    everything = Progress((STEPS,) * workload.WRITERS, frozenset(), True)
    with workload.open_store(path) as db:
        state = workload.state_of_documents(db)
        assert workload.content_faults(state, Progress((least,) * workload.WRITERS), everything) == []
        assert workload.state_of_columns(db) == state
        # A prefix: writers took turns.
        numbers = workload.progress_of(state).numbers
        assert max(numbers) - min(numbers) <= 1
        assert sorted(numbers, reverse=True) == list(numbers)
        db.run(workload.step, 0, numbers[0] + 1)
    assert verify(path).faults == []
    return workload.progress_of(state)


def test_a_dead_store_is_brought_back_whole(copy: Path) -> None:
    assert verify(copy).faults == []
    assert progress_if_whole(copy, STEPS).numbers == (STEPS,) * workload.WRITERS


@pytest.mark.parametrize("tear", ["cut off", "zeros", "noise", "a flipped bit"])
@pytest.mark.parametrize("seed", TEAR_SEEDS)
def test_a_torn_journal_reopens_with_a_prefix(dead_store: Path, tmp_path: Path, tear: str, seed: int) -> None:
    random = Random(seed)
    found = []
    for at in sorted(random.randrange(_wal(dead_store).stat().st_size) for _ in range(TEARS)):
        path = Path(shutil.copytree(dead_store, tmp_path / "torn.rdb"))
        _tear(_wal(path), tear, at, random)
        found.append(progress_if_whole(path, STEPS // 2).transactions)
        shutil.rmtree(path)
    assert found == sorted(found), "a later tear lost more than an earlier one"
    assert found[0] < found[-1]


def _wal(path: Path) -> Path:
    return path / "journal.sqlite-wal"


def _tear(file: Path, tear: str, at: int, random: Random) -> None:
    content = bytearray(file.read_bytes())
    if tear == "cut off":
        del content[at:]
    elif tear == "zeros":
        content[at:] = bytes(len(content) - at)
    elif tear == "noise":
        content[at:] = random.randbytes(len(content) - at)
    else:
        content[at] ^= 1 << random.randrange(8)
    file.write_bytes(content)


# --- damaged and missing files ---------------------------------------------------------------------------------------


@pytest.fixture
def closed_store(tmp_path: Path) -> Path:
    path = tmp_path / "closed.rdb"
    with workload.open_store(path) as db:
        db.run(workload.begin)
        run_steps(db, 1, STEPS)
    return path


@pytest.mark.parametrize("file", ["columns.duckdb", "journal.sqlite"])
def test_garbage_is_named_and_what_is_whole_stays_so(closed_store: Path, file: str) -> None:
    damaged = closed_store / file
    good = damaged.read_bytes()
    damaged.write_bytes(b"not a database at all" * 1000)
    for _ in range(2):
        with pytest.raises(rdb.errors.StoreCorruptError, match=rf"{re.escape(file)}.*Restore a backup"):
            rdb.connect(closed_store)
    assert any(re.search("not a|damaged|valid", fault) for fault in verify(closed_store).faults)
    damaged.write_bytes(good)
    assert progress_if_whole(closed_store, STEPS).numbers == (STEPS,) * workload.WRITERS


@pytest.mark.parametrize("lost", [["columns.duckdb", "columns.duckdb.wal"], ["columns.duckdb.wal"], ["columns.duckdb"]])
def test_columns_that_the_journal_does_not_reach_back_to_are_refused(copy: Path, lost: list[str]) -> None:
    kept = {name: (copy / name).read_bytes() for name in lost}
    for name in lost:
        (copy / name).unlink()
    assert [fault for fault in verify(copy).faults if "what is between them is lost" in fault]
    for _ in range(2):
        with pytest.raises(rdb.errors.StoreCorruptError, match=r"(commits|columns .*) are missing.*Restore a backup"):
            rdb.connect(copy)
    for file in copy.glob("columns.*"):
        file.unlink()
    for name, content in kept.items():
        (copy / name).write_bytes(content)
    if "columns.duckdb" in lost and "columns.duckdb.wal" in lost:
        assert progress_if_whole(copy, STEPS).numbers == (STEPS,) * workload.WRITERS


def test_columns_are_made_anew_where_the_journal_has_everything(tmp_path: Path) -> None:
    path = tmp_path / "fresh.rdb"
    with workload.open_store(path) as db, db._store.flusher.turn:
        db.run(workload.begin)
        run_steps(db, 1, 3)
        copy = Path(shutil.copytree(path, tmp_path / "copy.rdb"))
    for file in copy.glob("columns.*"):
        file.unlink()
    with workload.open_store(copy) as db:
        assert workload.progress_of(workload.state_of_documents(db)).numbers == (3,) * workload.WRITERS
