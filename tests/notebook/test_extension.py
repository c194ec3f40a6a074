"""`%load_ext reactive_db` where there is no kernel: it says what it cannot do, and does the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

SCRIPT = """
%load_ext reactive_db
import reactive_db as rdb
handle = rdb.connect().live("SELECT 42 AS answer")
handle
get_ipython().run_cell_magic("live", "", "print('answer:', handle.value.fetchone()[0])")
%unload_ext reactive_db
print("live" in get_ipython().magics_manager.magics["cell"])
"""


def test_in_a_terminal_a_live_cell_runs_once_and_a_handle_is_text(tmp_path: Path) -> None:
    script = tmp_path / "session.ipy"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path)}
    command = [sys.executable, "-m", "IPython", "--colors=nocolor", "--no-banner", "-c", f"%run {script}"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "answer: 42\n(A live cell runs again by itself only in a Jupyter kernel" in result.stdout
    assert result.stdout.rstrip().endswith("False")


def test_without_ipython_a_handle_prints_as_text() -> None:
    program = 'import reactive_db as rdb; print(rdb.connect().live("SELECT 42 AS answer"))'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert result.stdout.splitlines() == [
        "SELECT 42 AS answer: current at ts 0",
        "answer",
        "──────",
        "    42",
        "1 row",
    ]
