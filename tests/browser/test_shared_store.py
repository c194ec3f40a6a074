"""Two notebooks on one server, one store: what one changes, the other shows."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.lab import PROGRAM, Lab

CHANGE = """

@rdb.mutation
def change(ctx: rdb.MutationCtx, id: rdb.Id[Item], n: int) -> None:
    ctx.db.patch(id, n=n)
"""
SHARED = PROGRAM.replace('rdb.connect(f"kernel-{os.getpid()}")', "rdb.connect({store!r})") + CHANGE
COUNT = "%%live\nprint(len(handle.value), 'items')"
ADD = "db.run(add, 'x', 7)"


def program(store: str) -> str:
    return SHARED.replace("{store!r}", repr(store))


def test_a_mutation_in_one_notebook_changes_the_table_of_the_other(lab: Lab) -> None:
    shown = lab.open(program("side-by-side"), "Table(handle)", COUNT)
    shown.run(0, 1, 2)
    expect(shown.output(2)).to_have_text("0 items")
    other = lab.open(program("side-by-side"), ADD, "db.run(change, handle.value[0].id, 8)")
    other.run(0, 1)
    expect(shown.output(2)).to_have_text("1 items")
    n = shown.output(1).locator("[role=row][aria-rowindex='3'] [role=gridcell]").nth(1)
    expect(n).to_have_text("7")
    other.run(2)
    expect(n).to_have_text("8")


def test_who_opens_a_notebook_is_shown_in_the_other(lab: Lab) -> None:
    shown = lab.open(program("presence"), "PresenceList(db)")
    shown.run(0, 1)
    people = shown.output(1).get_by_role("list", name="Who is connected")
    places = people.locator(".place")
    expect(places).to_have_count(1)
    other = lab.open(program("presence"), "db.close()")
    other.run(0)
    expect(shown.output(1).get_by_role("status")).to_have_text("1 person, 2 places")
    expect(places).to_have_text([f"{lab.folder}/{name}" for name in (shown.name, other.name)])
    expect(people.locator(".fresh .place")).to_have_attribute("title", f"{lab.folder}/{other.name}")
    other.run(1)
    expect(places).to_have_count(1)


def test_without_a_name_it_is_the_servers_default_store(lab: Lab) -> None:
    shown = lab.open(PROGRAM.replace('rdb.connect(f"kernel-{os.getpid()}")', "rdb.connect()"), COUNT)
    shown.run(0, 1)
    before = shown.output(1).inner_text()
    other = lab.open(PROGRAM.replace('rdb.connect(f"kernel-{os.getpid()}")', "rdb.connect()"), ADD, "print(db)")
    other.run(0, 1, 2)
    expect(shown.output(1)).not_to_have_text(before)
    expect(other.output(2)).to_contain_text("/reactive-db/default")


def test_a_restarted_kernel_finds_what_it_wrote(lab: Lab) -> None:
    notebook = lab.open(program("restarted"), ADD, COUNT)
    notebook.run(0, 1, 2)
    expect(notebook.output(2)).to_have_text("1 items")
    notebook.restart_kernel()
    notebook.run(0, 2)
    expect(notebook.output(2)).to_have_text("1 items")
