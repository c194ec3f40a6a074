"""The same live notebook in Notebook 7, in Voila, and through nbconvert."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.lab import PROGRAM, Lab
from tests.servers import server_environment

COUNT = "%%live\nprint(len(handle.value), 'so far')"
TABLE = "handle"
WIDGET = "Value(handle, lambda items: f'{len(items)} items')"
ADD = "db.run(add, 'ada')"
BUTTON = """
import ipywidgets
button = ipywidgets.Button(description="Add one")
button.on_click(lambda _: db.run(add, "bob"))
button
"""


def test_notebook_7_is_live_also_after_a_reload(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, COUNT, TABLE, WIDGET, ADD, front_end="Notebook 7")
    notebook.run_all()
    notebook.save()
    notebook.reload()
    notebook.run(4)
    expect(notebook.output(1)).to_have_text("2 so far")
    expect(notebook.output(1)).to_have_attribute("data-rdb-state", "live")
    expect(notebook.output(2).locator("td", has_text="ada")).to_have_count(2)
    expect(notebook.output(3)).to_have_text("2 items")
    assert "2 so far" in str(notebook.save()["cells"][1]["outputs"])


def test_voila_shows_what_each_cell_left_and_widgets_are_live(lab: Lab) -> None:
    # Voila sends each cell to the page as soon as it has run, and leaves later replacements to widgets.
    page = lab.open_in_voila(PROGRAM, WIDGET, ADD, COUNT, TABLE, BUTTON).page
    expect(page.get_by_text("1 so far")).to_be_visible()
    expect(page.locator("td", has_text="ada")).to_have_count(1)
    expect(page.get_by_text("1 items")).to_be_visible()
    page.get_by_role("button", name="Add one").click()
    expect(page.get_by_text("2 items")).to_be_visible()


def test_nbconvert_has_the_last_state(lab: Lab, tmp_path: Path) -> None:
    notebook = lab.folder / lab.write([PROGRAM, COUNT, TABLE, ADD, ADD])
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html", "--output-dir", tmp_path, notebook]
    result = subprocess.run(command, env=server_environment(tmp_path), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    page = lab.open_address((tmp_path / notebook.name).with_suffix(".html").as_uri()).page
    expect(page.get_by_text("2 so far")).to_be_visible()
    expect(page.locator("td", has_text="ada")).to_have_count(2)
