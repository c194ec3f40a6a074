"""`reactive_db.__all__` is exactly what a user can import, and every name in it says what it is for."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

import reactive_db

ROOT = Path(__file__).parent.parent

# IPython finds these by name in whatever `%load_ext` names; nobody imports them.
IPYTHON_HOOKS = {"load_ipython_extension", "unload_ipython_extension"}


def is_submodule(name: str, value: object) -> bool:
    return isinstance(value, ModuleType) and value.__name__ == f"reactive_db.{name}"


def is_future(value: object) -> bool:
    return type(value).__module__ == "__future__"


def test_all_is_exactly_what_is_importable() -> None:
    values = {name: getattr(reactive_db, name) for name in dir(reactive_db) if not name.startswith("_")}
    submodules = {name for name, value in values.items() if is_submodule(name, value)}
    futures = {name for name, value in values.items() if is_future(value)}
    listed = {name for name in reactive_db.__all__ if not name.startswith("__")}

    assert listed == values.keys() - (submodules - listed) - futures - IPYTHON_HOOKS
    assert all(hasattr(reactive_db, name) for name in reactive_db.__all__)


def test_all_is_sorted_and_without_duplicates() -> None:
    assert list(reactive_db.__all__) == sorted(set(reactive_db.__all__))


@pytest.mark.parametrize("name", sorted(getattr(reactive_db, "__all__", [])))
def test_every_public_name_has_a_docstring(name: str) -> None:
    value = getattr(reactive_db, name)
    if isinstance(value, type):
        missing = [name] if "__doc__" not in vars(value) or not value.__doc__ else []
        missing += [f"{name}.{member}" for member in _undocumented_members(value)]
        assert missing == []
    elif isinstance(value, ModuleType) or callable(value):
        assert inspect.getdoc(value)


def _undocumented_members(cls: type[Any]) -> list[str]:
    """Public methods and properties that neither `cls` nor a class above it explains."""
    return [
        member
        for member, value in vars(cls).items()
        if not member.startswith("_")
        and isinstance(value, FunctionType | classmethod | staticmethod | property)
        and not inspect.getdoc(getattr(cls, member))
    ]


def test_pyright_knows_the_type_of_everything_public() -> None:
    unknown = [
        f"{symbol['name']}: {diagnostic['message']}"
        for symbol in _symbols()
        if _is_public(symbol["name"]) and not (symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"])
        for diagnostic in symbol["diagnostics"]
        # "Partially" is said because of an attribute somewhere inside the engine, which users never see.
        if "partially unknown" not in diagnostic["message"] and not symbol["name"].endswith(".__hash__")
    ]
    assert unknown == []


def _symbols() -> list[dict[str, Any]]:
    """Every symbol of the package as pyright sees it from outside."""
    command = [sys.executable, "-m", "pyright", "--verifytypes", "reactive_db", "--ignoreexternal", "--outputjson"]
    # Pyright asks the first `python` of the path where packages are.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    report = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    symbols: list[dict[str, Any]] = json.loads(report.stdout)["typeCompleteness"]["symbols"]
    assert symbols, report.stdout + report.stderr
    return symbols


def _is_public(symbol: str) -> bool:
    """Whether users reach `symbol`: a name of `__all__`, where it is defined, or a member of one."""
    return any(symbol == home or symbol.startswith(f"{home}.") for home in _homes())


def _homes() -> set[str]:
    values = [getattr(reactive_db, name) for name in reactive_db.__all__]
    modules = {value.__name__ for value in values if isinstance(value, ModuleType)}
    named = {f"{value.__module__}.{value.__qualname__}" for value in values if hasattr(value, "__qualname__")}
    return modules | named
