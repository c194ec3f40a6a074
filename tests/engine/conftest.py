"""Fixtures of the engine tests: programs in processes of their own, and disks that fill up."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db.testing import crash_workload as workload
from tests.storage.conftest import run_on_small_disk

__all__ = ["run_on_small_disk"]  # a fixture, found by its name

ROOT = Path(__file__).parent.parent.parent
PROGRAM_SECONDS_MAX = 100
STEPS = 40
"""Transactions of each writer in `dead_store`."""

PREAMBLE = """
import faulthandler, os, signal, sys, threading
faulthandler.register(signal.SIGALRM, chain=True)
signal.alarm({seconds})  # a program that hangs says where, and ends
from pathlib import Path
import reactive_db as rdb
from reactive_db.testing import crash_workload as workload
path = Path({path!r})
"""

StartProgram = Callable[[str], "subprocess.Popen[str]"]
RunProgram = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store of a test goes."""
    return tmp_path / "course.rdb"


@pytest.fixture(scope="session")
def dead_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a store as a dead process leaves them: half of its commits wait for the columns. Copy it."""
    path = tmp_path_factory.mktemp("dead") / "original.rdb"
    dead = path.with_name("dead.rdb")
    with workload.open_store(path) as db:
        db.run(workload.begin)
        run_steps(db, 1, STEPS // 2)
        db.sql("SELECT 1")  # the columns catch up
        with db._store.flusher.turn:
            run_steps(db, STEPS // 2 + 1, STEPS)
            shutil.copytree(path, dead)
    return dead


@pytest.fixture
def copy(dead_store: Path, tmp_path: Path) -> Path:
    """A dead store of the test's own."""
    return Path(shutil.copytree(dead_store, tmp_path / "copy.rdb"))


def run_steps(db: rdb.Database, first: int, last: int) -> None:
    """Let every writer take its steps, one after the other."""
    for number in range(first, last + 1):
        for writer in range(workload.WRITERS):
            db.run(workload.step, writer, number)


@pytest.fixture
def start_program(path: Path) -> Iterator[StartProgram]:
    """Starts a program that knows `path`; its input and output are pipes."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        preamble = PREAMBLE.format(seconds=PROGRAM_SECONDS_MAX, path=str(path))
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-c", preamble + code]
        started.append(
            subprocess.Popen(command, cwd=path.parent, env=environment, text=True, start_new_session=True, **pipes)
        )
        return started[-1]

    yield start
    for process in started:
        # The program and whatever it has forked; a program that is done has left its group empty.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def run_program(start_program: StartProgram) -> RunProgram:
    """Runs a program to its end."""

    def run(code: str) -> subprocess.CompletedProcess[str]:
        process = start_program(code)
        stdout, stderr = process.communicate(timeout=2 * PROGRAM_SECONDS_MAX)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    return run
