"""`Table` in JupyterLab: scrolled, sorted, filtered, selected and edited, by mouse and by keyboard."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.lab import PROGRAM, Lab, NotebookPage
from tests.browser.test_live_outputs import contrast

FEW = "for n, name in enumerate(['cid', 'Ada', 'bob']): db.run(add, name, n)"

CHANGE = """
@rdb.mutation
def change(ctx: rdb.MutationCtx, id: rdb.Id[Item], name: str | None = None, n: int | None = None) -> None:
    if name == "bad":
        raise rdb.ApplicationError("no item is bad")
    ctx.db.patch(id, **{key: value for key, value in {"name": name, "n": n}.items() if value is not None})

table = Table(handle, edit=change)
table
"""

TYPES = """
import datetime as dt
from typing import Literal

class Typed(rdb.Document, table="typed"):
    done: bool = False
    size: Literal["S", "M"] = "S"
    due: dt.date | None = None
    at: dt.datetime | None = None

@rdb.query
def typed(ctx: rdb.QueryCtx) -> list[Typed]:
    return ctx.db.query(Typed).collect()

@rdb.mutation
def make(ctx: rdb.MutationCtx) -> None:
    ctx.db.insert(Typed())

@rdb.mutation
def set_done(ctx: rdb.MutationCtx, id: rdb.Id[Typed], done: bool) -> None:
    ctx.db.patch(id, done=done)

@rdb.mutation
def set_size(ctx: rdb.MutationCtx, id: rdb.Id[Typed], size: Literal["S", "M"]) -> None:
    ctx.db.patch(id, size=size)

@rdb.mutation
def set_due(ctx: rdb.MutationCtx, id: rdb.Id[Typed], due: dt.date | None) -> None:
    ctx.db.patch(id, due=due)

@rdb.mutation
def set_at(ctx: rdb.MutationCtx, id: rdb.Id[Typed], at: dt.datetime | None) -> None:
    ctx.db.patch(id, at=at)

db.run(make)
Table(db.live(typed), edit={"done": set_done, "size": set_size, "due": set_due, "at": set_at})
"""

MANY = """
rows = [{"id": n, "name": f"row {n}", "n": n} for n in range(100_000)]
class Many:
    title, error = "many", None
    value = rows
    def observe(self, handler, names): self.handler = handler
    def unobserve(self, handler, names): pass
    def show(self, value):
        self.value = value
        self.handler(None)
source = Many()
Table(source)
"""


def grid(output: Locator) -> Locator:
    return output.get_by_role("grid")


def rows(output: Locator) -> Locator:
    return output.locator(".body [role=row]")


def row(output: Locator, rank: int) -> Locator:
    """The row at this rank, wherever it stands in the document."""
    return output.locator(f"[role=row][aria-rowindex='{rank + 3}']")


def cell(output: Locator, rank: int, column: int) -> Locator:
    return row(output, rank).locator("[role=gridcell]").nth(column)


def names(output: Locator) -> Locator:
    return output.locator(".body [role=gridcell]:first-child")


def opened(lab: Lab, *cells: str, theme: str = "JupyterLab Light") -> tuple[NotebookPage, Locator]:
    """A notebook with a few items, and the output of its table, in cell 2."""
    notebook = lab.open(PROGRAM, FEW, CHANGE, *cells, theme=theme)
    notebook.run(0, 1, 2)
    output = notebook.output(2)
    expect(rows(output)).to_have_count(3)
    return notebook, output


def test_100_000_rows_are_scrolled_to_the_end(lab: Lab) -> None:
    notebook = lab.open(
        PROGRAM, MANY, "source.show([{'id': -1, 'name': 'new', 'n': -1}, *rows])", "source.show(rows[1:])"
    )
    notebook.run(0, 1)
    output = notebook.output(1)
    expect(row(output, 0)).to_contain_text("row 0")
    expect(output.locator(".caption")).to_contain_text("100,000 rows")
    assert grid(output).get_attribute("aria-rowcount") == "100002"
    assert rows(output).count() < 100
    before = widths(output)
    scroller = output.locator(".scroll")
    scroller.evaluate("node => { node.scrollTop = node.scrollHeight; }")
    expect(row(output, 99_999)).to_contain_text("row 99999")
    expect(row(output, 99_999)).to_be_in_viewport()
    scroller.evaluate("node => { node.scrollTop = 50_000 * node.querySelector('.body .row').offsetHeight; }")
    expect(row(output, 50_000)).to_contain_text("row 50000")
    assert widths(output) == before
    # What can be seen stays in sight when something comes above it.
    top = row(output, 50_003).bounding_box()
    notebook.run(2)
    expect(row(output, 50_004)).to_contain_text("row 50003")
    assert row(output, 50_004).bounding_box() == top
    notebook.run(3)
    expect(row(output, 50_002)).to_contain_text("row 50003")
    assert row(output, 50_002).bounding_box() == top


def widths(output: Locator) -> list[float]:
    found: list[float] = output.locator("[role=columnheader]").evaluate_all("all => all.map(one => one.offsetWidth)")
    return found


def test_the_keyboard_goes_everywhere(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, MANY)
    notebook.run(0, 1)
    output, press = notebook.output(1), notebook.page.keyboard.press
    cell(output, 0, 0).click()
    press("ArrowDown")
    expect(cell(output, 1, 0)).to_be_focused()
    press("ArrowRight")
    expect(cell(output, 1, 1)).to_be_focused()
    press("Control+End")
    expect(cell(output, 99_999, 2)).to_be_focused()
    expect(cell(output, 99_999, 2)).to_be_in_viewport()
    press("PageUp")
    press("Home")
    expect(output.locator("[role=gridcell]:focus")).to_have_count(1)
    press("Control+Home")
    expect(cell(output, 0, 0)).to_be_focused()
    press("ArrowUp")
    expect(output.get_by_role("columnheader", name="id")).to_be_focused()
    assert len(notebook.outputs()) == 2  # JupyterLab took none of these keys for its own


def test_sorted_by_mouse_and_by_keyboard(lab: Lab) -> None:
    notebook, output = opened(lab)
    header = output.get_by_role("columnheader", name="name")
    header.click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    expect(names(output)).to_have_text(["Ada", "bob", "cid"])
    notebook.page.keyboard.press("Enter")
    expect(header).to_have_attribute("aria-sort", "descending")
    expect(names(output)).to_have_text(["cid", "bob", "Ada"])
    notebook.page.keyboard.press("Enter")
    expect(header).to_have_attribute("aria-sort", "none")
    expect(names(output)).to_have_text(["cid", "Ada", "bob"])


def test_filtered_by_columns(lab: Lab) -> None:
    notebook, output = opened(lab)
    number = output.get_by_role("textbox", name="Filter n", exact=True)
    number.fill("> 0")
    expect(names(output)).to_have_text(["Ada", "bob"])
    expect(output.locator(".caption")).to_contain_text("2 of 3 rows")
    notebook.page.keyboard.press("Shift+Tab")
    expect(output.get_by_role("textbox", name="Filter name")).to_be_focused()
    notebook.page.keyboard.type("zz")
    expect(output.get_by_text("No rows match")).to_be_visible()
    notebook.page.keyboard.press("Backspace")
    notebook.page.keyboard.press("Backspace")
    number.fill("many")
    expect(output.get_by_role("alert")).to_have_text("Numbers: 5, > 5, <= 3 or 1..9.")
    expect(output.get_by_role("alert")).to_be_in_viewport(ratio=0.99)
    expect(number).to_have_attribute("aria-invalid", "true")
    expect(names(output)).to_have_count(3)


def test_a_selection_reaches_python(lab: Lab) -> None:
    notebook, output = opened(lab, "print([item.name for item in table.selected])")
    press = notebook.page.keyboard.press
    cell(output, 1, 0).click()
    expect(row(output, 1)).to_have_attribute("aria-selected", "true")
    notebook.run(3)
    expect(notebook.output(3)).to_have_text("['Ada']", use_inner_text=True)
    cell(output, 2, 0).click(modifiers=["Control"])
    cell(output, 0, 0).click(modifiers=["Control"])
    expect(output.locator(".caption")).to_contain_text("3 selected")
    cell(output, 0, 0).click()
    press("Shift+ArrowDown")
    expect(output.locator(".caption")).to_contain_text("2 selected")
    press("Space")
    expect(output.locator(".caption")).to_contain_text("1 selected")
    press("Control+a")
    expect(output.locator(".caption")).to_contain_text("3 selected")
    notebook.run(3)
    expect(notebook.output(3)).to_have_text("['cid', 'Ada', 'bob']", use_inner_text=True)


def test_an_edit_goes_round(lab: Lab) -> None:
    notebook, output = opened(lab, "Table(handle)", "print(handle.value[0].name, handle.value[1].n)")
    notebook.run(3)
    page = notebook.page
    cell(output, 0, 0).dblclick()
    expect(output.get_by_role("textbox", name="name, row 1")).to_be_focused()
    page.keyboard.type("dora")
    page.keyboard.press("Enter")
    expect(cell(output, 0, 0)).to_have_text("dora")
    expect(cell(notebook.output(3), 0, 0)).to_have_text("dora")
    expect(cell(output, 0, 0)).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.type("eve")  # typing begins anew
    page.keyboard.press("Tab")
    expect(output.get_by_role("textbox", name="n, row 2")).to_be_focused()
    page.keyboard.type("77")
    page.keyboard.press("Enter")
    expect(cell(notebook.output(3), 1, 0)).to_have_text("eve")
    expect(cell(notebook.output(3), 1, 1)).to_have_text("77")
    page.keyboard.press("F2")
    page.keyboard.type("88")
    page.keyboard.press("Escape")
    expect(cell(output, 1, 1)).to_be_focused()
    notebook.run(4)
    expect(notebook.output(4)).to_have_text("dora 77", use_inner_text=True)


def test_a_failed_edit_goes_back_and_says_why(lab: Lab) -> None:
    notebook, output = opened(lab)
    page = notebook.page
    cell(output, 0, 0).dblclick()
    page.keyboard.type("bad")
    page.keyboard.press("Enter")
    expect(output.get_by_role("alert")).to_have_text("no item is bad")
    expect(names(output)).to_have_text(["cid", "Ada", "bob"])
    expect(output.locator(".pending")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(output.locator(".fault")).to_have_count(0)
    cell(output, 0, 1).dblclick()
    page.keyboard.type("many")
    page.keyboard.press("Enter")
    expect(output.get_by_role("alert")).to_have_text("expected a whole number, got 'many'.")
    output.get_by_role("button", name="Close").click()
    expect(output.locator(".fault")).to_have_count(0)


def test_what_is_wrong_in_the_last_cell_can_be_seen(lab: Lab) -> None:
    notebook, output = opened(lab)
    cell(output, 2, 1).dblclick()
    notebook.page.keyboard.type("many")
    notebook.page.keyboard.press("Enter")
    expect(output.get_by_role("alert")).to_be_in_viewport(ratio=0.99)


def test_what_is_entered_is_shown_while_the_mutation_runs(lab: Lab) -> None:
    slow = """
import threading
gate = threading.Event()
@rdb.mutation
def slowly(ctx: rdb.MutationCtx, id: rdb.Id[Item], name: str) -> None:
    gate.wait(30)
    ctx.db.patch(id, name=name.upper())
Table(handle, edit={"name": slowly})
"""
    notebook, _ = opened(lab, slow, "gate.set()")
    notebook.run(3)
    output = notebook.output(3)
    cell(output, 0, 0).dblclick()
    notebook.page.keyboard.type("dora")
    notebook.page.keyboard.press("Enter")
    expect(cell(output, 0, 0)).to_have_text("dora")
    expect(cell(output, 0, 0)).to_have_class(re.compile("pending"))
    notebook.run(4)
    expect(cell(output, 0, 0)).to_have_text("DORA")
    expect(cell(output, 0, 0)).not_to_have_class(re.compile("pending"))


def test_an_edit_under_way_survives_a_change(lab: Lab) -> None:
    notebook, output = opened(lab)
    output.get_by_role("columnheader", name="name").click()
    expect(names(output)).to_have_text(["Ada", "bob", "cid"])
    cell(output, 2, 0).dblclick()
    notebook.page.keyboard.type("dora")
    execute(notebook, "db.run(add, 'Bea'); db.run(change, handle.value[0].id, n=9)")
    expect(names(output)).to_have_text(["Ada", "Bea", "bob", "cid"])
    expect(cell(output, 3, 1)).to_have_text("9")
    editor = output.locator(".editor textarea")
    expect(editor).to_be_focused()
    expect(editor).to_have_value("dora")
    assert top_of(editor) == top_of(cell(output, 3, 0))
    notebook.page.keyboard.press("Enter")
    expect(names(output)).to_have_text(["Ada", "Bea", "bob", "dora"])


def execute(notebook: NotebookPage, code: str) -> None:
    """Run code in the kernel, and leave the focus where it is."""
    notebook.page.evaluate(
        "code => jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({ code }).done", code
    )


def top_of(place: Locator) -> float:
    found: float = place.evaluate("node => node.getBoundingClientRect().top")
    return found


def test_every_type_has_its_editor(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, TYPES)
    notebook.run(0, 1)
    output, page = notebook.output(1), notebook.page
    cell(output, 0, 0).get_by_role("img", name="false").click()
    expect(cell(output, 0, 0).get_by_role("img", name="true")).to_be_visible()
    cell(output, 0, 1).dblclick()
    output.get_by_label("size, row 1").select_option("M")
    page.keyboard.press("Enter")
    expect(cell(output, 0, 1)).to_have_text("M")
    cell(output, 0, 2).dblclick()
    output.get_by_label("due, row 1").fill("2026-03-01")
    page.keyboard.press("Enter")
    expect(cell(output, 0, 2)).to_have_text("2026-03-01")
    cell(output, 0, 3).dblclick()
    output.get_by_label("at, row 1").fill("2026-03-01T10:30")
    page.keyboard.press("Enter")
    expect(cell(output, 0, 3)).to_have_text("2026-03-01 10:30:00Z")
    expect(output.locator(".pending")).to_have_count(0)
    cell(output, 0, 3).dblclick()
    expect(output.get_by_label("at, row 1")).to_have_value("2026-03-01T10:30")
    page.keyboard.press("Escape")
    cell(output, 0, 2).dblclick()
    output.get_by_label("due, row 1").fill("")
    page.keyboard.press("Enter")
    expect(cell(output, 0, 2)).to_have_text("—")


def test_an_edit_stays_pending_though_a_column_grows(lab: Lab) -> None:
    slow = """
import os
os.mkfifo("gate")

@rdb.mutation
def change(ctx: rdb.MutationCtx, id: rdb.Id[Item], n: int) -> None:
    ctx.db.patch(id, n=n)
    open("gate").read()

Table(handle, edit={"n": change})
"""
    notebook = lab.open(PROGRAM, FEW, slow)
    notebook.run(0, 1, 2)
    output = notebook.output(2)
    cell(output, 0, 1).dblclick()
    notebook.page.keyboard.type("42")
    notebook.page.keyboard.press("Enter")
    expect(output.locator(".pending")).to_have_text(["42"])
    execute(notebook, "db.run(add, 'a long name makes the column grow')")
    expect(names(output)).to_have_count(4)
    expect(output.locator(".pending")).to_have_text(["42"])
    (lab.folder / "gate").write_text("go")
    expect(output.locator(".pending")).to_have_count(0)
    expect(cell(output, 0, 1)).to_have_text("42")


def test_a_row_that_another_cell_changed_lights_up(lab: Lab) -> None:
    notebook, output = opened(lab, "db.run(change, handle.value[1].id, n=42)", "db.run(add, 'new')")
    lit = """node => {
        window.lit = [];
        new MutationObserver((all) => all.forEach(({ target }) => {
            if (target.classList.contains("fresh")) window.lit.push(target.firstChild.textContent);
        })).observe(node, { attributes: true, attributeFilter: ["class"], subtree: true });
    }"""
    output.locator(".body").evaluate(lit)
    notebook.run(3)
    expect(cell(output, 1, 1)).to_have_text("42")
    notebook.run(4)
    expect(names(output)).to_have_count(4)
    notebook.page.wait_for_function("() => window.lit.includes('new')")
    assert set(notebook.page.evaluate("() => window.lit")) == {"Ada", "new"}
    expect(output.locator(".fresh")).to_have_count(0)


def test_two_views_scroll_for_themselves_and_reload_works(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, MANY.replace("Table(source)", "table = Table(source)\ntable"), "table")
    notebook.run(0, 1, 2)
    one, two = notebook.output(1), notebook.output(2)
    two.locator(".scroll").evaluate("node => { node.scrollTop = node.scrollHeight; }")
    expect(row(two, 99_999)).to_contain_text("row 99999")
    expect(row(one, 0)).to_contain_text("row 0")
    one.get_by_role("columnheader", name="n", exact=True).click()
    one.get_by_role("columnheader", name="n", exact=True).click()
    expect(row(one, 0)).to_contain_text("row 99999")
    expect(row(two, 0)).to_contain_text("row 99999")
    notebook.save()
    notebook.reload()
    expect(row(notebook.output(1), 0)).to_contain_text("row 99999")
    expect(notebook.output(1).get_by_role("columnheader", name="n", exact=True)).to_have_attribute(
        "aria-sort", "descending"
    )
    notebook.output(1).locator(".scroll").evaluate("node => { node.scrollTop = node.scrollHeight; }")
    expect(row(notebook.output(1), 99_999)).to_contain_text("row 0")


def test_an_error_of_the_query_leaves_the_rows(lab: Lab) -> None:
    failing = """
@rdb.query
def careful(ctx: rdb.QueryCtx) -> list[Item]:
    found = ctx.db.query(Item).collect()
    if len(found) > 3:
        raise rdb.ApplicationError("more than three")
    return found
Table(db.live(careful))
"""
    notebook, _ = opened(lab, failing, "db.run(add, 'dan')")
    notebook.run(3)
    expect(names(notebook.output(3))).to_have_count(3)
    notebook.run(4)
    expect(notebook.output(3).get_by_role("alert")).to_contain_text("more than three")
    expect(names(notebook.output(3))).to_have_text(["cid", "Ada", "bob"])


def test_it_says_what_it_is(lab: Lab) -> None:
    _, output = opened(lab)
    table = grid(output)
    assert table.get_attribute("aria-label") == "items()"
    assert [table.get_attribute(f"aria-{name}") for name in ("rowcount", "colcount", "multiselectable")] == [
        *("5", "2", "true")
    ]
    assert {row.get_attribute("role") for row in table.locator("xpath=./*").all()} == {"rowgroup"}
    assert output.locator("[tabindex='0']").count() == 1  # one cell is reached by Tab
    nameless = "all => all.filter(one => !one.getAttribute('aria-label')).length"
    assert output.locator("input, select, textarea, button").evaluate_all(nameless) == 0
    assert output.locator("[role=gridcell]:not([aria-colindex]), .body [role=row]:not([aria-rowindex])").count() == 0


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_it_can_be_read_in_light_and_dark(lab: Lab, theme: str) -> None:
    notebook, output = opened(lab, theme=theme)
    cell(output, 1, 0).click()
    expect(row(output, 1)).to_have_attribute("aria-selected", "true")
    cell(output, 0, 0).dblclick()
    places = [cell(output, 2, 0), output.get_by_role("columnheader", name="name"), output.locator(".editor textarea")]
    for place in places:
        assert contrast(notebook, place) > 4.5
