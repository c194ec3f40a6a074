"""Every notebook of `notebooks/`, run from top to bottom by nbclient, twice: nothing is loaded again."""

from __future__ import annotations

import re
from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
SECONDS_MAX = 240


def run(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=SECONDS_MAX, kernel_name="python3")
    return client.execute(cwd=str(path.parent))


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    """Everything that the cells show, as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom_and_again_after_a_restart(path: Path) -> None:
    first, again = run(path), run(path)

    assert not [text for text in [*texts(first), *texts(again)] if "Traceback" in text]
    assert any(re.search(r"336,?776", text) for text in texts(first))
    assert not any("Loading flights" in text for text in texts(again))
    # The board was shown before its flights were delayed and cancelled; what is saved shows them as they are now.
    (board,) = [cell for cell in first.cells if cell.source.endswith("\nboard")]
    shown = board.outputs[0]["data"]["text/plain"]
    assert "minutes late" in shown
    assert "cancelled" in shown
