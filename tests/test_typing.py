"""What type checkers see of the API: `typing/right.py` passes, every marked line of `typing/wrong.py` does not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RIGHT = ROOT / "tests" / "typing" / "right.py"
WRONG = ROOT / "tests" / "typing" / "wrong.py"


def by_mypy() -> dict[Path, set[int]]:
    done = _run("mypy", "--strict", "--no-incremental", "--no-error-summary", str(RIGHT), str(WRONG))
    found = re.findall(r"^(.+?):(\d+): error:", done.stdout, re.MULTILINE)
    assert done.returncode < 2, done.stdout + done.stderr
    return _by_file((ROOT / name, int(line)) for name, line in found)


def by_pyright() -> dict[Path, set[int]]:
    done = _run("pyright", "--outputjson", str(RIGHT), str(WRONG))
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = [item for item in found if item["severity"] == "error"]
    return _by_file((Path(item["file"]), item["range"]["start"]["line"] + 1) for item in errors)


@pytest.mark.parametrize("check", [by_mypy, by_pyright])
def test_right_code_passes_and_each_wrong_line_does_not(check: object) -> None:
    assert callable(check)
    found = check()

    assert found.get(RIGHT, set()) == set()
    assert found.get(WRONG, set()) == marked(WRONG)


def marked(path: Path) -> set[int]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# error")}


def _by_file(found: object) -> dict[Path, set[int]]:
    files: dict[Path, set[int]] = {}
    for path, line in found:  # type: ignore[attr-defined]
        files.setdefault(path.resolve(), set()).add(line)
    return files


def _run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": os.pathsep.join([str(folder), os.environ.get("PATH", "")])}
    return subprocess.run([folder / tool, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
