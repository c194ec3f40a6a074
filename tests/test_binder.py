"""The steps of `binder/`, in a fresh environment: install, `postBuild`, then a notebook of the gallery."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.timeout(900)  # it installs everything anew
@pytest.mark.skipif(os.name == "nt", reason="Binder is Linux")
def test_the_gallery_starts_in_a_fresh_environment(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    tools = tmp_path / "venv" / "bin"
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = {
        **inherited,
        "PATH": os.pathsep.join([str(tools), os.environ["PATH"]]),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_DATA_DIR": str(tmp_path / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
    }

    def run(*command: str | Path) -> str:
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    run(tools / "python", "-m", "pip", "install", "--quiet", "-r", "binder/requirements.txt")
    run("bash", "binder/postBuild")

    run("reactive-db", "run-notebook", "notebooks/02-two-at-once.ipynb", tmp_path / "out.ipynb")
    assert str(tools) in run("bash", "-c", "command -v reactive-db")
    assert sys.prefix not in run(tools / "python", "-c", "import sys; print(sys.prefix)")
