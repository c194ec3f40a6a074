"""Fixtures of the storage tests: a disk that really fills up, and other processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent

RunOnSmallDisk = Callable[[str, int], Any]
StartScript = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def run_on_small_disk(tmp_path: Path) -> RunOnSmallDisk:
    """Runs a script in a process whose `disk` is a path on a disk of so many KiB; gives what `answer` was set to."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], capture_output=True).returncode != 0:
        pytest.skip("no full disk can be made here: `unshare -rm` is not there or not allowed")
    disk = tmp_path / "disk"
    disk.mkdir()
    preamble = f"import json\nfrom pathlib import Path\ndisk = Path({str(disk)!r})\n"

    def run(script: str, kibibytes: int) -> Any:
        code = tmp_path / "script.py"
        code.write_text(f"{preamble}{script}\nprint(json.dumps(answer))\n")
        mount = f"mount -t tmpfs -o size={kibibytes}k tmpfs {disk}"
        command = [unshare, "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, str(code)]
        done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def start_script() -> StartScript:
    """Starts a script in a process of its own and waits for its first line."""

    def start(script: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    return start


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)])}
