"""The documentation: its programs run and print what stands below them, and the site builds without a warning.

A page is one program, run block by block; with magics in it, one notebook; with tests in it, a file for pytest. The
```text below a block is what it prints. Below a block of a notebook that shows nothing, it is what the live output
above shows by then. The pages of docs/errors are run by test_error_pages.py.
"""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from click.testing import CliRunner
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

import reactive_db as rdb
from reactive_db.cli import main
from reactive_db.notebook import widgets

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SECONDS_MAX = 120
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MAGIC = re.compile(r"^%", re.MULTILINE)
TEST = re.compile(r"^def test_", re.MULTILINE)
HELP = re.compile(r"^```sh\nreactive-db ([^\n]*--help)\n```\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A Python block of a page, and what it is to show; None if the page does not say."""

    code: str
    shows: str | None = None


def blocks_of(page: Path) -> list[Block]:
    found: list[Block] = []
    before = ""
    for language, text in FENCE.findall(page.read_text("utf-8")):
        if language == "python":
            found.append(Block(text))
        elif language == "text" and before == "python":
            found[-1] = Block(found[-1].code, text)
        before = language
    return found


def pages(*, magic: bool, tests: bool) -> list[Any]:
    """The pages with Python in them, of one kind."""
    found = []
    for page in sorted(DOCS.rglob("*.md")):
        code = "\n".join(block.code for block in blocks_of(page))
        if (
            code
            and page.parent.name != "errors"
            and bool(MAGIC.search(code)) is magic
            and bool(TEST.search(code)) is tests
        ):
            found.append(pytest.param(page, id=str(page.relative_to(DOCS))))
    return found


@pytest.fixture(autouse=True)
def of_this_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In an empty folder; kernels import this package and leave the user's IPython alone; stores are closed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    yield
    for database in list(rdb.database._open.values()):
        database.close()


@pytest.mark.parametrize("page", pages(magic=False, tests=False))
def test_the_program_of_a_page_prints_what_it_says(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(page.stem.replace("-", "_"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks_of(page):
        shown = printed(block, module, page)
        if block.shows is not None:
            assert shown == block.shows


def printed(block: Block, module: ModuleType, page: Path) -> str:
    """What a block prints, and the error that it ends with where the page says that it shows something."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            exec(compile(block.code, str(page), "exec"), vars(module))
        except Exception as error:
            if block.shows is None:
                raise
            output.write("".join(traceback.format_exception_only(error)))
    return output.getvalue()


@pytest.mark.parametrize("page", pages(magic=True, tests=False))
def test_the_notebook_of_a_page_shows_what_it_says(page: Path, tmp_path: Path) -> None:
    blocks = blocks_of(page)
    notebook = new_notebook(cells=[new_code_cell(block.code) for block in blocks])
    client = NotebookClient(notebook, timeout=SECONDS_MAX, resources={"metadata": {"path": str(tmp_path)}})
    with client.setup_kernel():
        for index, block in enumerate(blocks):
            execute(client, index, may_fail=block.shows is not None)
            if block.shows is not None:
                assert shown(notebook.cells[: index + 1]) == block.shows


def execute(client: NotebookClient, index: int, *, may_fail: bool) -> None:
    try:
        client.execute_cell(client.nb.cells[index], index)
    except CellExecutionError:
        if not may_fail:
            raise


def shown(cells: list[NotebookNode]) -> str:
    """What the last cell shows or, if that is nothing, the live output above it."""
    outputs = cells[-1].outputs or next(cell.outputs for cell in reversed(cells) if is_live(cell))
    return "".join(text_of(output).rstrip("\n") + "\n" for output in outputs)


def is_live(cell: NotebookNode) -> bool:
    return any(output.output_type == "display_data" for output in cell.outputs)


def text_of(output: NotebookNode) -> str:
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    return str(output.get("text") or output.data["text/plain"])


@pytest.mark.parametrize("page", pages(magic=False, tests=True))
def test_the_tests_of_a_page_pass(page: Path, tmp_path: Path) -> None:
    file = tmp_path / "test_page.py"
    file.write_text("\n\n".join(block.code for block in blocks_of(page)), "utf-8")
    run = subprocess.run([sys.executable, "-m", "pytest", "-q", str(file)], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_the_help_on_the_page_is_the_help_of_the_commands() -> None:
    page = (DOCS / "reference" / "command-line.md").read_text("utf-8")
    found = {
        command: CliRunner().invoke(main, command.split(), prog_name="reactive-db", terminal_width=100).output
        for command in ["--help", *(f"{name} --help" for name in sorted(main.commands))]
    }
    assert dict(HELP.findall(page)) == found


# --- the site --------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a built page links to, what it loads, and where links may lead in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.ids: set[str] = set()
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.update(value for name, value in given.items() if name == "id")
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        elif tag in ("script", "img", "link", "source", "iframe"):
            self.loaded.update(given[name] for name in ("src", "href") if name in given)


def test_the_site_builds_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(site)]
    build = subprocess.run(command, capture_output=True, text=True)
    assert build.returncode == 0, build.stderr
    built = {file: Page(file) for file in site.rglob("*.html") if "_static" not in file.parts}
    assert [str(file.relative_to(site)) + ": " + fault for file in built for fault in faults(file, built)] == []
    documented = set().union(*(page.ids for page in built.values()))
    names = {f"reactive_db.{name}" for name in rdb.__all__ if name not in ("v", "errors")}
    assert (names | {f"{widgets.__name__}.{name}" for name in widgets.__all__}) - documented == set()


def faults(file: Path, built: dict[Path, Page]) -> Iterator[str]:
    """Links of a page that lead nowhere, and what it would load from elsewhere."""
    for address in sorted(built[file].links | built[file].loaded):
        path, fragment = urldefrag(address)
        if urlsplit(path).scheme or address.startswith("//"):
            if address in built[file].loaded:
                yield f"loads {address}"
            continue
        target = (file.parent / unquote(urlsplit(path).path)).resolve() if path else file
        if not target.is_file():
            yield f"{address}: there is no such file"
        elif fragment and target in built and unquote(fragment) not in built[target].ids:
            yield f"{address}: there is no such place"
