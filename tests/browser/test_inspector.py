"""`db.inspect()` in JupyterLab: the whole store, live, by mouse and keyboard."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.lab import PROGRAM, Lab


def test_it_follows_the_store_and_its_documents_can_be_edited(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, "db.run(add, 'lamp', 1)\ndb.inspect()", "db.run(add, 'desk', 2)", "db.run(items)")
    notebook.run(0, 1)
    shown = notebook.output(1)
    expect(shown.get_by_role("gridcell", name="items", exact=True)).to_be_visible()
    notebook.run(2)
    shown.get_by_role("tab", name="Commits").click()
    expect(shown.get_by_role("gridcell", name="items: 1 inserted")).to_have_count(2)
    shown.get_by_role("tab", name="Documents").click()
    shown.get_by_role("gridcell", name="lamp").dblclick()
    notebook.page.keyboard.press("Control+a")
    notebook.page.keyboard.type("torch")
    notebook.page.keyboard.press("Enter")
    expect(shown.get_by_role("gridcell", name="torch")).to_be_visible()
    notebook.run(3)
    expect(notebook.output(3)).to_contain_text("name='torch'")


def test_run_again_it_leaves_nothing_of_its_former_run(lab: Lab) -> None:
    count = "from ipywidgets.widgets.widget import _instances\nlen(_instances), len(db._scheduler.on_advanced)"
    notebook = lab.open(PROGRAM, "db.run(add, 'lamp')\ndb.inspect()", count)
    notebook.run(0, 1, 2)
    before = notebook.output(2).inner_text().splitlines()[-1]
    notebook.run(1, 1, 2)
    assert notebook.output(2).inner_text().splitlines()[-1] == before
