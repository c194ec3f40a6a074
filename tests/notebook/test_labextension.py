"""The labextension as it is installed: JupyterLab finds it, and it is of this version."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "reactive_db" / "notebook" / "labextension"
INSTALLED = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / "reactive-db"


def test_it_is_installed_where_jupyterlab_looks() -> None:
    package = json.loads((INSTALLED / "package.json").read_text("utf-8"))
    assert (INSTALLED / package["jupyterlab"]["_build"]["load"]).is_file()
    assert package["name"] == INSTALLED.name


def test_it_has_the_version_of_the_package() -> None:
    package = json.loads((SOURCE / "package.json").read_text("utf-8"))
    assert package["version"] == version("reactive-db")
