"""`Value`, `Metric`, `Status` and `Pager` in JupyterLab: what they say, by keyboard, live and after a reload."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.lab import PROGRAM, Lab

ADD = "db.run(add, 'ada', 1_500)"
MANY = "for n in range(7): db.run(add, 'ada', n)"
PAGED = """
@rdb.query
def paged(ctx: rdb.QueryCtx, cursor: str | None, n: int) -> rdb.Page[Item]:
    found = ctx.db.query(Item).paginate(cursor, n)
    if any(item.name == "bad" for item in found.items): raise rdb.ApplicationError("a bad one")
    return found

pager = Pager(db, paged, page_size=3)
pager
"""


# --- Value and Metric ------------------------------------------------------------------------------------------------


def test_a_value_follows(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, "Value(handle, lambda items: f'{len(items)} <b>items</b>')", ADD)
    notebook.run(0, 1)
    value = notebook.output(1).locator(".rdb-value output")
    expect(value).to_have_text("0 <b>items</b>")
    notebook.run(2)
    expect(value).to_have_text("1 <b>items</b>")
    expect(value).to_have_attribute("title", "items()")
    notebook.save()
    notebook.reload()
    expect(notebook.output(1).locator(".rdb-value output")).to_have_text("1 <b>items</b>")


def test_a_metric_says_how_it_has_changed(lab: Lab) -> None:
    total = 'Metric(db.live("SELECT coalesce(sum(n), 0)::BIGINT FROM items"), "Total")'
    notebook = lab.open(PROGRAM, total, ADD, "db.run(add, 'bob', -20)")
    notebook.run(0, 1)
    metric = notebook.output(1).locator(".rdb-metric")
    expect(metric).to_have_text("Total0")
    notebook.run(2)
    expect(metric.locator(".number")).to_have_text("1,500")
    expect(metric.locator(".step")).to_have_text("▲ +1,500")
    notebook.run(3)
    expect(metric.locator(".step")).to_have_text("▼ -20")
    expect(metric.locator("[aria-live='polite']")).to_have_text("Total1,480▼ -20")


# --- Status ----------------------------------------------------------------------------------------------------------


def test_a_badge_follows_the_store(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, "Status(db)", "before = db.ts\ndb.run(add, 'x'); print(db.ts)", "db.close()")
    notebook.run(0, 1)
    badge = notebook.output(1).locator(".rdb-status")
    expect(badge.get_by_role("status")).to_have_text("synced")
    notebook.run(2)
    ts = notebook.output(2).inner_text().strip().splitlines()[0]
    expect(badge.locator(".ts")).to_have_text(f"ts {ts}")
    notebook.run(3)
    expect(badge.get_by_role("status")).to_have_text("offline")


# --- Pager -----------------------------------------------------------------------------------------------------------


def test_pages_load_by_keyboard_to_the_end(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, MANY, PAGED, "print([item.n for item in pager.items])")
    notebook.run(0, 1, 2)
    pager = notebook.output(2).locator(".rdb-pager")
    rows, button = pager.locator("tbody tr"), pager.get_by_role("button")
    expect(rows).to_have_count(3)
    expect(pager.get_by_role("table", name="paged")).to_be_visible()
    button.focus()
    notebook.page.keyboard.press("Enter")
    expect(rows).to_have_count(6)
    notebook.page.keyboard.press("Enter")
    expect(rows).to_have_count(7)
    expect(button).to_have_text("No more rows")
    expect(button).to_be_disabled()
    expect(button).to_be_focused()
    expect(pager.get_by_role("status")).to_have_text("7 rows")
    notebook.run(3)
    expect(notebook.output(3)).to_contain_text("[0, 1, 2, 3, 4, 5, 6]")


def test_loaded_pages_stay_live_and_are_there_after_a_reload(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, MANY, PAGED, "db.run(clear)", ADD)
    notebook.run(0, 1, 2)
    rows = notebook.output(2).locator(".rdb-pager tbody tr")
    notebook.output(2).get_by_role("button").click()
    expect(rows).to_have_count(6)
    notebook.save()
    notebook.reload()
    expect(notebook.output(2).locator(".rdb-pager tbody")).to_have_count(2)
    expect(rows).to_have_count(6)
    notebook.run(3)
    expect(rows).to_have_count(0)


def test_a_page_that_fails_says_so_and_is_tried_again(lab: Lab) -> None:
    repair = "db.run(clear)\nfor n in range(4): db.run(add, 'eve', n)"
    notebook = lab.open(PROGRAM, MANY.replace("7", "3") + "\ndb.run(add, 'bad')", PAGED, repair)
    notebook.run(0, 1, 2)
    pager = notebook.output(2).locator(".rdb-pager")
    pager.get_by_role("button").click()
    expect(pager.get_by_role("alert")).to_have_text("a bad one")
    expect(pager.locator("table")).to_have_attribute("aria-busy", "false")
    expect(pager.locator("tbody tr")).to_have_count(3)
    notebook.run(3)
    pager.get_by_role("button").click()
    expect(pager.get_by_role("alert")).to_have_count(0)
