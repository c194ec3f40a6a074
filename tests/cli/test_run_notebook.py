"""`reactive-db run-notebook`: real notebooks through real kernels, and what cannot be run."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner, Result
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from reactive_db.cli import main
from tests.cli.terminal import ROOT, Terminal

PROGRAM = """
%load_ext reactive_db
import reactive_db as rdb

class Item(rdb.Document, table="items"):
    n: int

@rdb.query
def inverses(ctx: rdb.QueryCtx) -> list[float]:
    return [1 / item.n for item in ctx.db.query(Item).collect()]

@rdb.mutation
def add(ctx: rdb.MutationCtx, n: int) -> None:
    ctx.db.insert(Item(n=n))

db = rdb.connect()
handle = db.live(inverses)
"""
COUNT = "%%live\nprint(db.sql('SELECT count(*) FROM items').fetchall())"
DIVIDE = "%%live\nprint(1 / (len(handle.value) - 2))"


@pytest.fixture(autouse=True)
def of_this_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels import this package, and leave the user's IPython alone."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))


def saved(path: Path, *sources: str, kernel: str = "python3") -> Path:
    """A notebook of code cells below a title."""
    notebook = new_notebook(cells=[new_markdown_cell("# Title"), *(new_code_cell(source) for source in sources)])
    notebook.metadata.kernelspec = {"name": kernel, "display_name": kernel}
    nbformat.write(notebook, path)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["run-notebook", *map(str, arguments)])


def code_cells(path: Path) -> list[NotebookNode]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell: NotebookNode) -> list[str]:
    return [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]


def test_it_runs_top_to_bottom_and_saves_the_last_state_of_live_outputs(tmp_path: Path) -> None:
    """The division fails while there are two items, and recovers."""
    add = "for n in ({}): db.run(add, n)"
    source = saved(tmp_path / "in.ipynb", PROGRAM, COUNT, "handle", DIVIDE, "", add.format("1, 2"), add.format("4,"))
    before = source.read_bytes()
    result = run(source, tmp_path / "out.ipynb")
    assert result.exit_code == 0, result.output
    assert result.output == f"Ran every cell of {source}; saved in {tmp_path / 'out.ipynb'}.\n"
    assert source.read_bytes() == before
    _, count, table, division, *_ = code_cells(tmp_path / "out.ipynb")
    assert texts(count) == ["[(3,)]"]
    assert '<td class="number">0.25</td>' in table.outputs[0].data["text/html"]
    assert texts(division) == ["1.0"]
    assert [file.name for file in tmp_path.iterdir() if "out.ipynb" in file.name] == ["out.ipynb"]


def test_a_failing_cell_is_named_and_what_ran_is_saved(tmp_path: Path) -> None:
    """Into the same file; outputs of an earlier run do not pass for this one's, also not a failed live output."""
    path = saved(tmp_path / "same.ipynb", "print('ran')", "x = 0\n1 / x", "print('never')")
    notebook = nbformat.read(path, as_version=4)
    failed = new_output("display_data", {"text/plain": "old"}, metadata={"reactive_db": {"failed": "old"}})
    notebook.cells[-1].outputs = [failed]
    nbformat.write(notebook, path)
    result = run(path, path)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: code cell 2 (`x = 0`) raised ZeroDivisionError: division by zero\nWhat ran is saved in {path}.\n"
    )
    first, second, third = code_cells(path)
    assert texts(first) == ["ran\n"]
    assert second.outputs[0].ename == "ZeroDivisionError"
    assert (third.outputs, third.execution_count) == ([], None)


def test_failed_live_outputs_are_named_with_their_errors(tmp_path: Path) -> None:
    source = saved(tmp_path / "in.ipynb", PROGRAM, "handle", DIVIDE, "db.run(add, 1)\ndb.run(add, 2)", "db.run(add, 0)")
    result = run(source, tmp_path / "out.ipynb")
    assert result.exit_code == 1
    assert "a live output of code cell 2 (`handle`) failed:\n" in result.output
    assert "a live output of code cell 3 (`%%live`) failed:\n" in result.output
    assert "ZeroDivisionError" in result.output
    assert "code cell 4" not in result.output
    assert 'role="alert"' in code_cells(tmp_path / "out.ipynb")[1].outputs[0].data["text/html"]


def test_a_cell_that_takes_too_long_ends_the_run(tmp_path: Path) -> None:
    source = saved(tmp_path / "in.ipynb", "print('ran')", "import threading\nthreading.Event().wait()")
    result = run(source, tmp_path / "out.ipynb", "--timeout", "1")
    assert result.exit_code == 1
    assert "code cell 2 (`import threading`) did not end within 1 s (--timeout)." in result.output
    assert texts(code_cells(tmp_path / "out.ipynb")[0]) == ["ran\n"]


def test_a_kernel_that_dies_ends_the_run(tmp_path: Path) -> None:
    source = saved(tmp_path / "in.ipynb", "print('ran')", "import os\nos._exit(1)")
    result = run(source, tmp_path / "out.ipynb")
    assert result.exit_code == 1
    assert "code cell 2 (`import os`) ended its kernel" in result.output
    assert texts(code_cells(tmp_path / "out.ipynb")[0]) == ["ran\n"]


def test_it_runs_in_its_own_folder_with_python3_if_its_kernel_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data.txt").write_text("beside it")
    source = saved(tmp_path / "folder" / "in.ipynb", "print(open('data.txt').read())", kernel="elsewhere")
    result = run(source, tmp_path / "out.ipynb")
    assert result.exit_code == 0
    assert "kernel 'elsewhere' is not installed here; python3 runs it." in result.output
    assert texts(code_cells(tmp_path / "out.ipynb")[0]) == ["beside it\n"]


def test_a_kernel_that_is_missing_or_does_not_start_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "jupyter" / "kernels" / "broken"
    broken.mkdir(parents=True)
    argv = [sys.executable, "-c", "raise SystemExit('something is missing')"]
    (broken / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "broken", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    source = saved(tmp_path / "in.ipynb", "1")
    before = source.read_bytes()
    missing = run(source, source, "--kernel", "elsewhere")
    assert missing.exit_code == 2
    assert "there is no kernel 'elsewhere'; installed: broken, " in missing.output
    silent = run(source, source, "--kernel", "broken")
    assert silent.exit_code == 1
    assert "Error: the kernel 'broken' did not start: " in silent.output
    assert "something is missing" in silent.output
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["hello", "[]", "{}", '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "\udcff"]
)
def test_what_is_no_notebook_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "in.ipynb").write_bytes(text.encode("utf-8", "surrogateescape"))
    result = run(tmp_path / "in.ipynb", tmp_path / "out.ipynb")
    assert result.exit_code == 2
    assert f"Error: Invalid value for 'IN': {tmp_path / 'in.ipynb'} is no notebook: " in result.output
    assert not (tmp_path / "out.ipynb").exists()


def test_a_missing_notebook_and_a_missing_directory_are_refused(tmp_path: Path) -> None:
    source = saved(tmp_path / "in.ipynb", "open('ran', 'w').close()")
    missing = run(tmp_path / "none.ipynb", tmp_path / "out.ipynb")
    assert (missing.exit_code, "does not exist" in missing.output) == (2, True)
    nowhere = run(source, tmp_path / "none" / "out.ipynb")
    assert (nowhere.exit_code, f"there is no directory {tmp_path / 'none'}" in nowhere.output) == (2, True)
    assert not (tmp_path / "ran").exists()


def test_without_nbclient_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = saved(tmp_path / "in.ipynb", "1")
    monkeypatch.setitem(sys.modules, "nbclient", None)
    result = run(source, tmp_path / "out.ipynb")
    assert result.exit_code == 1
    assert "pip install 'reactive-db[notebook]'" in result.output


def test_in_a_terminal_a_bar_counts_the_cells_and_ctrl_c_saves_what_ran(tmp_path: Path) -> None:
    source = saved(tmp_path / "in.ipynb", "print('ran')", "import threading\nthreading.Event().wait()", "never = 1")
    terminal = Terminal("from reactive_db.cli import main; main()", "run-notebook", source, tmp_path / "out.ipynb")
    terminal.read_until(lambda written: "1/3" in written and "import threading" in written)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130, terminal.written
    assert "Stopped. What ran is saved in" in terminal.written
    assert "Traceback" not in terminal.written
    assert texts(code_cells(tmp_path / "out.ipynb")[0]) == ["ran\n"]


VALUE = "from reactive_db.notebook.widgets import Value\nvalue = Value(handle, lambda found: f'{len(found)} inverses')"


def test_a_widget_is_saved_with_its_last_state(tmp_path: Path) -> None:
    source = saved(tmp_path / "in.ipynb", PROGRAM, f"{VALUE}\nvalue", "db.run(add, 1)\ndb.run(add, 2)")
    assert run(source, tmp_path / "out.ipynb").exit_code == 0
    notebook = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    (shown,) = notebook.cells[2].outputs
    assert shown.data["text/plain"] == "2 inverses"
    assert "2 inverses" in shown.data["text/html"]
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    model = shown.data["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert states[model]["state"]["_whole"]["text"] == "2 inverses"


def test_widgets_that_nothing_shows_are_not_saved(tmp_path: Path) -> None:
    cell = "%%live\nfrom ipywidgets import Label\nLabel(str(len(handle.value)))"
    source = saved(tmp_path / "in.ipynb", PROGRAM, cell, "for n in (1, 2, 4): db.run(add, n)", "db.run(add, 8)")
    assert run(source, tmp_path / "out.ipynb").exit_code == 0
    notebook = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    assert [one["state"]["value"] for one in states.values() if one["model_name"] == "LabelModel"] == ["4"]


def test_a_widget_whose_source_has_failed_fails_the_run(tmp_path: Path) -> None:
    source = saved(tmp_path / "in.ipynb", PROGRAM, f"{VALUE}\nvalue", "db.run(add, 0)")
    result = run(source, tmp_path / "out.ipynb")
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.output
