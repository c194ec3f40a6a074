"""A unit test of the source itself: the rules of the house that no linter knows, each with a sample that breaks it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reactive_db import errors

ROOT = Path(__file__).parent.parent
PACKAGE = sorted(ROOT.glob("reactive_db/**/*.py"))
TESTS = sorted(ROOT.glob("tests/**/*.py"))
OTHERS = sorted([*ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("tools/**/*.py")])

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 700

# The seam for time and randomness, and its other side for replaying a run from a seed.
SEAM = {ROOT / "reactive_db" / "runtime.py"}
SEEDED = ROOT / "reactive_db" / "testing"

# Never raised itself: it only gathers the errors below it.
ROOT_ERROR = "ReactiveDBError"

Rule = Callable[[ast.Module], Iterator[str]]


# --- the rules: each yields one line per fault -----------------------------------------------------------------------


def has_a_docstring(module: ast.Module) -> Iterator[str]:
    if not ast.get_docstring(module):
        yield "1: the module does not say what lives in it"


def has_short_functions(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{node.lineno}: {node.name} has {lines} lines; at most {FUNCTION_LINES_MAX}"


def does_not_sleep(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "time.sleep":
            yield f"{node.lineno}: time.sleep; wait for the event itself"
        if isinstance(node, ast.ImportFrom) and node.module == "time" and "sleep" in _imported(node):
            yield f"{node.lineno}: time.sleep; wait for the event itself"


def asks_no_clock_and_no_dice(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        for name in _names_used(node):
            if FORBIDDEN_SOURCE.fullmatch(name):
                yield f"{node.lineno}: {name}; ask the Runtime"  # type: ignore[attr-defined]


def raises_a_named_error(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if ast.unparse(raised).rpartition(".")[2] == ROOT_ERROR:
                yield f"{node.lineno}: {ROOT_ERROR} says nothing; raise a class below it"


FORBIDDEN_SOURCE = re.compile(
    r"time(\..*)?|random(\..*)?|secrets(\..*)?"
    r"|uuid\.uuid\d|os\.urandom|os\.getrandom"
    r"|(datetime\.)?(datetime|date)\.(now|utcnow|today)"
)


def _names_used(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), level=0):
            return [f"{module}.{name}" for name in _imported(node)]
        case ast.Attribute(value=ast.Name() | ast.Attribute()):
            # A bare `self.random` or `ctx.time` is somebody's own attribute: only whole dotted names count.
            return [ast.unparse(node)]
    return []


def _imported(node: ast.ImportFrom) -> list[str]:
    return [alias.name for alias in node.names]


# --- the source keeps them -------------------------------------------------------------------------------------------


def faults(rule: Rule, files: list[Path]) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{fault}" for path in files for fault in rule(ast.parse(path.read_text("utf-8")))]


def test_every_module_has_a_docstring() -> None:
    assert faults(has_a_docstring, PACKAGE + TESTS + OTHERS) == []


def test_functions_are_short() -> None:
    assert faults(has_short_functions, PACKAGE + TESTS + OTHERS) == []


def test_modules_hold_one_idea() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in PACKAGE}
    assert {path.name: lines for path, lines in lengths.items() if lines > MODULE_LINES_MAX} == {}


def test_tests_do_not_sleep() -> None:
    assert faults(does_not_sleep, TESTS) == []


def test_only_the_runtime_asks_for_time_and_randomness() -> None:
    asked = [path for path in PACKAGE if path not in SEAM and not path.is_relative_to(SEEDED)]
    assert faults(asks_no_clock_and_no_dice, asked) == []


def test_the_root_of_the_errors_is_not_raised() -> None:
    assert faults(raises_a_named_error, PACKAGE) == []


@pytest.mark.parametrize(
    ("rule", "sample"),
    [
        (has_a_docstring, "x = 1"),
        (has_short_functions, "def long():\n" + "    pass\n" * FUNCTION_LINES_MAX),
        (does_not_sleep, "import time\ntime.sleep(1)"),
        (does_not_sleep, "from time import sleep"),
        (asks_no_clock_and_no_dice, "import time"),
        (asks_no_clock_and_no_dice, "import random as dice"),
        (asks_no_clock_and_no_dice, "from secrets import token_bytes"),
        (asks_no_clock_and_no_dice, "from uuid import uuid4"),
        (asks_no_clock_and_no_dice, "uuid.uuid4()"),
        (asks_no_clock_and_no_dice, "os.urandom(8)"),
        (asks_no_clock_and_no_dice, "datetime.now(UTC)"),
        (asks_no_clock_and_no_dice, "datetime.date.today()"),
        (raises_a_named_error, "raise ReactiveDBError('x')"),
        (raises_a_named_error, "raise errors.ReactiveDBError"),
    ],
)
def test_a_bad_sample_breaks_its_rule(rule: Rule, sample: str) -> None:
    assert list(rule(ast.parse(sample)))


@pytest.mark.parametrize("sample", ["ctx.now()", "self.runtime.random()", "from uuid import UUID", "runtime.time.x"])
def test_the_seam_may_be_asked(sample: str) -> None:
    assert list(asks_no_clock_and_no_dice(ast.parse(sample))) == []


# --- errors ----------------------------------------------------------------------------------------------------------


def error_classes() -> dict[str, type[errors.ReactiveDBError]]:
    return {
        name: cls
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, errors.ReactiveDBError) and name != ROOT_ERROR
    }


def test_every_error_has_a_page_and_every_page_an_error() -> None:
    pages = {page.stem for page in (ROOT / "docs" / "errors").glob("*.md")} - {"README"}
    assert pages == {cls.code for cls in error_classes().values()}


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [cls.code for cls in error_classes().values()]
    assert sorted(codes) == sorted(set(codes))


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"^ {4}((?:[│ ]   )*)(?:├──|└──) (\w+)", inspect.getdoc(errors) or "", re.MULTILINE)
    depths = {name: len(indent) // 4 + 1 for indent, name in drawn}
    members = [cls for cls in vars(errors).values() if isinstance(cls, type) and cls.__module__ == errors.__name__]
    assert depths == {cls.__name__: _depth(cls) for cls in members if cls is not errors.ReactiveDBError}


def test_codes_in_the_docstring_are_the_codes() -> None:
    drawn = dict(re.findall(r"(\w+Error) +\[([a-z-]+)\]", errors.__doc__ or ""))
    classes = error_classes()
    assert drawn == {name: classes[name].code for name in drawn}


def _depth(cls: type) -> int:
    return len([base for base in cls.__mro__ if issubclass(base, errors.ReactiveDBError)]) - 1
