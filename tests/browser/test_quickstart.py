"""The quickstart, as a new user goes through it: by Shift+Enter from top to bottom, a cell of their own, then again."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

from tests.browser.lab import Lab, NotebookPage, copy_gallery

LOAD, COUNTS, BOARD, CHART, CHANGE, SQL, REFUSED, LAST = 7, 8, 12, 15, 18, 22, 24, 28
FLIGHTS = "336776"


def test_a_new_user_runs_the_quickstart(lab: Lab) -> None:
    notebook = lab.open_file(copy_gallery(lab, "01-quickstart.ipynb"))
    notebook.cell(0).click()
    run_next(notebook, 0, COUNTS)
    expect(notebook.output(LOAD)).to_contain_text("Loading flights")
    expect(notebook.output(COUNTS)).to_contain_text(FLIGHTS)

    run_next(notebook, COUNTS + 1, CHART)
    expect(rows(notebook)).to_have_count(10)
    expect(notebook.output(CHART).locator(".jp-RenderedSVG img")).to_be_visible()

    run_next(notebook, CHART + 1, CHANGE)
    expect(rows(notebook).nth(0)).to_contain_text("40 minutes late")
    expect(rows(notebook).nth(1)).to_contain_text("cancelled")
    expect(rows(notebook).nth(2)).to_contain_text("D99")

    run_next(notebook, CHANGE + 1, LAST)
    expect(rows(notebook).filter(has_text="15 minutes late")).to_have_count(7)
    expect(notebook.output(SQL)).to_contain_text("BOEING")
    expect(notebook.output(REFUSED)).to_contain_text("$[0].lon")

    notebook.page.keyboard.type("db.run(move, third.id, 'Z9')")  # into the new cell that Jupyter has opened below
    run_next(notebook, LAST + 1, LAST + 1)
    expect(rows(notebook).nth(2)).to_contain_text("Z9")
    assert "Z9" in str(notebook.save()["cells"][BOARD]["outputs"])

    notebook.restart_kernel()
    run_all_by_mouse(notebook)
    expect(rows(notebook).nth(0)).to_contain_text("80 minutes late")
    expect(notebook.output(LOAD)).not_to_contain_text("Loading flights")
    assert errors(notebook) == []


def run_next(notebook: NotebookPage, first: int, last: int) -> None:
    """Run the selected cell, `first`, and those after it, up to `last`: by Shift+Enter, which selects the next one."""
    for index in range(first, last + 1):
        notebook.page.keyboard.press("Shift+Enter")
        if notebook.cell(index).locator(".jp-MarkdownOutput").count() == 0:
            notebook.wait_until_run(index)


def run_all_by_mouse(notebook: NotebookPage) -> None:
    notebook.page.get_by_role("menuitem", name="Run", exact=True).click()
    notebook.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    notebook.wait_until_run(LAST + 1)


def rows(notebook: NotebookPage) -> Locator:
    """The rows of the departure board."""
    return notebook.output(BOARD).locator("tbody tr")


def errors(notebook: NotebookPage) -> list[object]:
    return [output for outputs in notebook.outputs() for output in outputs if output["output_type"] == "error"]
