"""Every notebook in `notebooks/` runs headless from top to bottom, and is saved with its live outputs settled."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS_MAX = 120
LIVE = "%%live\n"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
LOADING = {"01-quickstart", "03-dashboard"}
"""Those that load real data, with a progress bar, into a store that they find again."""


@pytest.fixture(autouse=True)
def of_this_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels import this package, and leave the user's IPython alone; the stores folder is the test's own already."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))


def execute(path: Path) -> NotebookNode:
    """The notebook as nbclient saves it, followed by what its live cells and handles would show if asked once more."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=SECONDS_MAX, kernel_name="python3")
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
        for cell in cells:
            cell.metadata["asked_again"] = [ask(client, question) for question in questions(cell)]
    return notebook


def questions(cell: NotebookNode) -> Iterator[str]:
    """Code that shows what a live output must be showing."""
    if cell.source.startswith(LIVE):
        yield cell.source.removeprefix(LIVE)
    elif shows_a_widget(cell):
        yield f"print(({last_expression(cell)}).static_bundle()['text/plain'])"
    elif shows_a_handle(cell):
        yield f"print(__import__('reactive_db').presentation.as_text(({last_expression(cell)}).value))"


def last_expression(cell: NotebookNode) -> str:
    """The code of what a cell shows."""
    return str(ast.get_source_segment(cell.source, ast.parse(cell.source).body[-1]))


def ask(client: NotebookClient, code: str) -> str:
    """What `code` shows, run in the notebook's kernel."""
    cell = new_code_cell(code)
    client.nb.cells.append(cell)
    client.execute_cell(cell, len(client.nb.cells) - 1)
    client.nb.cells.remove(cell)
    return shown(cell.outputs[0])


def shown(output: NotebookNode) -> str:
    """The picture or the text of one output."""
    data = output.get("data", {})
    return str(output.get("text") or data.get("image/svg+xml") or data.get("text/plain", "")).rstrip()


def shows_a_widget(cell: NotebookNode) -> bool:
    """Whether it shows one of our widgets; a store at a glance is another one each time."""
    ours = [output for output in cell.outputs if "reactive_db" in output.get("metadata", {})]
    return any(WIDGET_VIEW in output.data for output in ours) and "inspect()" not in cell.source


def shows_a_handle(cell: NotebookNode) -> bool:
    is_magic = cell.source.startswith("%")
    return not is_magic and any(
        output.output_type == "display_data" and "text/html" in output["data"] and WIDGET_VIEW not in output["data"]
        for output in cell.outputs
    )


def loaded(notebook: NotebookNode) -> list[str]:
    """The progress bars that it showed."""
    texts = [
        output.get("data", {}).get("text/plain", "") for cell in notebook.cells for output in cell.get("outputs", [])
    ]
    return [text for text in texts if text.startswith("Loading")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_it_runs_settles_and_runs_again_without_loading_twice(path: Path) -> None:
    for is_again in (False, True):
        notebook = execute(path)
        live = [cell for cell in notebook.cells if cell.metadata.get("asked_again")]
        assert live, "a notebook of ours shows something live"
        for cell in live:
            assert '<div role="alert">' not in str(cell.outputs)
            (expected,) = cell.metadata["asked_again"]
            assert any(expected in shown(output) for output in cell.outputs), cell.source
        assert bool(loaded(notebook)) is (path.stem in LOADING and not is_again)


def test_a_stored_notebook_has_no_machine_in_it() -> None:
    for path in NOTEBOOKS:
        text = path.read_text("utf-8")
        assert "/home/" not in text
        assert "/tmp/" not in text
        assert "Traceback" not in text
