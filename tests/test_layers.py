"""The layers hold, and their contracts can fail: one planted import per contract must break it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]


def lint_imports(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Run every contract of `checkout`'s pyproject.toml on the package beside it."""
    options = ["--no-logo", "--no-cache"]
    return subprocess.run([*LINT, *options], cwd=checkout, capture_output=True, text=True, check=False)


def test_every_import_points_down() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("model/planted.py", "from reactive_db import engine", "A module imports its own layer and those below"),
        ("storage/planted.py", "def f(): import reactive_db.engine", "A module imports its own layer and those below"),
        ("cli/planted.py", "import reactive_db.notebook", "A module imports its own layer and those below"),
        ("planted.py", "", "A module imports its own layer and those below"),
        ("limits.py", "import reactive_db.runtime, reactive_db.errors", "No import cycle of any kind"),
        (
            "notebook/planted.py",
            "import reactive_db.server",
            "Only the command line and the Hub's configuration know the server",
        ),
        (
            "server/service.py",
            "import reactive_db.server.jupyter_socket",
            "What `reactive-db serve` runs knows no Jupyter server",
        ),
        ("server/service.py", "import jupyterhub", "Only the notebook and the server know Jupyter"),
        ("notebook/planted.py", "import reactive_db", "Nothing inside the package imports its front door"),
        ("engine/planted.py", "import duckdb", "Only storage knows a database or its columns"),
        ("database.py", "import sqlite3", "Only storage knows a database or its columns"),
        ("functions/planted.py", "import traitlets", "Only handles and what is above them know traitlets"),
        ("database.py", "import IPython", "Only the notebook and the server know Jupyter"),
        ("server/planted.py", "import IPython", "Only the notebook and the server know Jupyter"),
        ("engine/planted.py", "from time import monotonic", "Only the runtime asks for time, randomness or a new id"),
        ("storage/planted.py", "import random", "Only the runtime asks for time, randomness or a new id"),
    ],
)
def test_a_planted_import_breaks_its_contract(tmp_path: Path, module: str, line: str, contract: str) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "reactive_db", tmp_path / "reactive_db", ignore=shutil.ignore_patterns("__pycache__"))
    if module == "limits.py":  # a cycle needs both of its halves
        _append(tmp_path / "reactive_db" / "runtime.py", "import reactive_db.limits")
    _append(tmp_path / "reactive_db" / module, line)

    result = lint_imports(tmp_path)

    assert result.returncode == 1
    assert f"{contract} BROKEN" in result.stdout, result.stdout + result.stderr


def _append(module: Path, line: str) -> None:
    with module.open("a", encoding="utf-8") as out:
        out.write(f"\n{line}\n")
