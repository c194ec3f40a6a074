"""Fixtures of the engine tests: programs in processes of their own, and disks that fill up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.storage.conftest import run_on_small_disk

__all__ = ["run_on_small_disk"]  # a fixture, found by its name

ROOT = Path(__file__).parent.parent.parent
PROGRAM_SECONDS_MAX = 100

PREAMBLE = """
import faulthandler, os, signal, sys, threading
faulthandler.dump_traceback_later({seconds}, exit=True)  # a program that hangs says where
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
