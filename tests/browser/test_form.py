"""`Form` in JupyterLab: filled in and submitted by keyboard, errors where they belong, nothing typed ever lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.lab import PROGRAM, Lab, NotebookPage
from tests.browser.test_live_outputs import contrast

ADD_ITEM = """
@rdb.mutation
def add_item(ctx: rdb.MutationCtx, name: str, n: int = 1) -> rdb.Id[Item]:
    \"\"\"Add an item.

    Args:
        name: what it is called
    \"\"\"
    if name == "bad":
        raise rdb.ApplicationError({"message": "no item is bad", "n": n})
    return ctx.db.insert(Item(name=name, n=n))

form = Form(db, add_item)
form
"""

TABLE = "Table(handle)"
STATE = "print(form.submitted, form.error, [(item.name, item.n) for item in handle.value])"

TYPES = """
import datetime as dt
from decimal import Decimal
from typing import Any, Literal

class Address(rdb.Object):
    street: str
    code: int | None = None

class Circle(rdb.Object, tag="circle"):
    radius: float

class Square(rdb.Object, tag="square"):
    side: float = 2.0

took = []

@rdb.mutation
def take(
    ctx: rdb.MutationCtx,
    note: str,
    price: Decimal,
    done: bool,
    sure: bool | None,
    size: Literal["S", "M"],
    due: dt.date,
    at: dt.datetime,
    photo: bytes,
    owner: rdb.Id[Item],
    address: Address,
    spare: Address | None,
    shape: Circle | Square,
    tags: list[str],
    limits: dict[str, int],
    extra: Any,
) -> None:
    \"\"\"Take one of everything.\"\"\"
    took.append((note, price, done, sure, size, due, at, photo, address, spare, shape, tags, limits, extra))

form = Form(db, take, choices={"owner": handle}, multiline=["note"])
form
"""

DEEP = """
class Contact(rdb.Object):
    email: str
    item: rdb.Id[Item] | None = None

@rdb.mutation
def invite(ctx: rdb.MutationCtx, contacts: list[Contact]) -> None:
    pass

Form(db, invite)
"""

UPLOAD = """
@rdb.mutation
def upload(ctx: rdb.MutationCtx, file: bytes, n: int = 1) -> int:
    return len(file) + n

form = Form(db, upload)
form
"""

EXECUTE = "code => void jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({ code })"
"""Runs code without a cell, which would take the focus."""

SLOW = """
@rdb.mutation
def slow(ctx: rdb.MutationCtx, name: str = "x", note: str = "") -> None:
    if open("go_on").read() == "fail":
        ctx.db.insert(Item(name=5))

Form(db, slow)
"""
"""Runs until somebody writes into the pipe `go_on`."""


def opened(lab: Lab, *cells: str, theme: str = "JupyterLab Light") -> tuple[NotebookPage, Locator]:
    """A notebook with an item, and the form that its cell 1 shows."""
    notebook = lab.open(f"{PROGRAM}\ndb.run(add, 'ada')", *cells, theme=theme)
    notebook.run(0, 1)
    form = notebook.output(1).get_by_role("form")
    expect(form).to_be_visible()
    return notebook, form


def test_a_form_is_filled_in_and_submitted_by_keyboard(lab: Lab) -> None:
    notebook, form = opened(lab, ADD_ITEM, TABLE, STATE)
    notebook.run(2)
    rows = notebook.output(2).locator(".body [role=row]")
    expect(rows).to_have_count(1)
    name, n = form.get_by_label("Name"), form.get_by_label("N", exact=True)
    expect(name).to_have_accessible_description("what it is called")
    expect(n).to_have_value("1")
    keyboard = notebook.page.keyboard
    name.focus()
    keyboard.type("bob and dd a")  # dd deletes a cell where JupyterLab hears it
    keyboard.press("Tab")
    keyboard.press("Control+a")
    keyboard.type("42")
    keyboard.press("Enter")
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("bob and dd a")
    expect(form.get_by_role("status")).to_have_text("Add item: done")
    expect(name).to_have_value("")
    expect(n).to_have_value("1")
    expect(name).to_be_focused()
    keyboard.type("cid")
    keyboard.press("Tab")
    keyboard.press("Tab")
    expect(form.get_by_role("button", name="Add item")).to_be_focused()
    keyboard.press("Space")
    expect(rows).to_have_count(3)
    assert len(notebook.outputs()) == 4
    notebook.run(3)
    expect(notebook.output(3)).to_contain_text("2 None [('ada', 0), ('bob and dd a', 42), ('cid', 1)]")


def test_what_is_missing_is_said_at_its_field(lab: Lab) -> None:
    _, form = opened(lab, ADD_ITEM)
    name, n = form.get_by_label("Name"), form.get_by_label("N", exact=True)
    n.fill("1.5")
    form.get_by_role("button", name="Add item").click()
    expect(name).to_be_focused()
    expect(name).to_have_attribute("aria-invalid", "true")
    expect(name).to_have_accessible_description("what it is called Please fill out this field.")
    expect(n).to_have_attribute("aria-invalid", "true")
    expect(n).to_have_value("1.5")
    name.fill("x")
    expect(name).not_to_have_attribute("aria-invalid", "true")


def test_an_error_of_the_mutation_is_said_above_the_button(lab: Lab) -> None:
    notebook, form = opened(lab, ADD_ITEM, STATE)
    name = form.get_by_label("Name")
    name.fill("bad")
    name.press("Enter")
    alert = form.get_by_role("alert")
    expect(alert).to_have_text("no item is bad\nn: 1")
    expect(name).to_have_value("bad")
    notebook.run(2)
    expect(notebook.output(2)).to_contain_text("0 {'message': 'no item is bad', 'n': 1} [('ada', 0)]")
    name.fill("good")
    name.press("Enter")
    expect(form.get_by_role("status")).to_have_text("Add item: done")
    expect(alert).to_have_count(0)


def test_what_the_kernel_refuses_is_said_at_its_field(lab: Lab) -> None:
    _, form = opened(lab, DEEP)
    add = form.get_by_role("button", name="Add to Contacts")
    add.click()
    expect(form.get_by_label("Email")).to_be_focused()
    add.click()
    for at, email in enumerate(["a", "b"]):
        form.get_by_label("Email").nth(at).fill(email)
    item = form.get_by_label("Item").nth(1)
    item.fill("nobody")
    item.press("Enter")
    expect(item).to_be_focused()
    expect(item).to_have_attribute("aria-invalid", "true")
    expect(item).to_have_accessible_description("'nobody' is no id: an id has 32 characters, this has 6")
    expect(form.get_by_label("Item").nth(0)).not_to_have_attribute("aria-invalid", "true")
    expect(form.get_by_label("Email").nth(1)).to_have_value("b")
    form.get_by_role("button", name="Remove Contacts 1").click()
    expect(form.get_by_label("Email")).to_have_value("b")
    expect(form.get_by_role("button", name="Remove Contacts 1")).to_be_focused()


def test_every_type_is_entered(lab: Lab, tmp_path: Path) -> None:
    notebook, form = opened(lab, TYPES, "for value in took[0]: print(repr(value))")
    photo = tmp_path / "photo.bin"
    photo.write_bytes(b"\0\xff")
    note = form.get_by_label("Note")
    note.fill("two")
    note.press("End")
    note.press("Enter")
    note.press_sequentially("lines")
    form.get_by_label("Price").fill("9.90")
    form.get_by_label("Done").check()
    form.get_by_label("Sure").select_option("no")
    form.get_by_label("Size").select_option("M")
    form.get_by_label("Due").fill("2026-03-01")
    form.get_by_label("At").fill("2026-03-01T10:00:30")
    form.get_by_label("Photo").set_input_files(photo)
    form.get_by_label("Owner").select_option("ada")
    form.get_by_label("Street").first.fill("Elm 1")
    form.get_by_label("Spare").check()
    form.get_by_label("Street").nth(1).fill("Elm 2")
    form.get_by_label("Code").nth(1).fill("5")
    form.get_by_label("Shape").select_option("Circle")
    form.get_by_label("Radius").fill("1.5")
    form.get_by_role("button", name="Add to Tags").click()
    form.get_by_role("textbox", name="Tags 1", exact=True).fill("a")
    form.get_by_role("button", name="Add to Limits").click()
    form.get_by_label("Limits 1 key").fill("a b")
    form.get_by_label("Limits 1 value").fill("3")
    form.get_by_label("Extra").fill('{"a": [1, null]}')
    note.press("Control+Enter")
    expect(form.get_by_role("status")).to_have_text("Take: done")
    expect(form.get_by_role("textbox", name="Tags 1", exact=True)).to_have_count(0)
    notebook.run(2)
    # The zone is the browser's: here that of the machine.
    zone = notebook.page.evaluate("() => new Date('2026-03-01T10:00:30').toISOString().slice(0, 19)")
    at = "datetime.datetime({}, {}, {}, {}, {}, {}, tzinfo=datetime.timezone.utc)".format(
        *(int(part) for part in zone.replace("T", "-").replace(":", "-").split("-"))
    )
    for line in [
        "'two\\nlines'",
        "Decimal('9.90')",
        "True",
        "False",
        "'M'",
        "datetime.date(2026, 3, 1)",
        at,
        "b'\\x00\\xff'",
        "Address(street='Elm 1', code=None)",
        "Address(street='Elm 2', code=5)",
        "Circle(radius=1.5)",
        "['a']",
        "{'a b': 3}",
        "{'a': [1, None]}",
    ]:
        expect(notebook.output(2)).to_contain_text(line)


def test_choices_follow_their_documents(lab: Lab) -> None:
    clear = "db.run(clear); db.run(add, 'bob')"
    notebook, form = opened(lab, TYPES, "db.run(add, 'cid')", clear)
    owner = form.get_by_label("Owner")
    expect(owner.locator("option")).to_have_text(["Choose…", "ada"])
    owner.select_option("ada")
    notebook.run(2)
    expect(owner.locator("option")).to_have_text(["Choose…", "ada", "cid"])
    expect(owner.locator("option:checked")).to_have_text("ada")
    notebook.run(3)
    expect(owner.locator("option")).to_have_text(["Choose…", "bob", "ada (no longer there)"])
    expect(owner.locator("option:checked")).to_have_text("ada (no longer there)")


def test_while_it_runs_the_button_says_so(lab: Lab) -> None:
    pipe = lab.folder / "go_on"
    os.mkfifo(pipe)
    _, form = opened(lab, SLOW)
    button = form.get_by_role("button")
    button.click()
    expect(button).to_have_text("Slow: running…")
    expect(button).to_be_disabled()
    expect(form).to_have_attribute("aria-busy", "true")
    pipe.write_text("")
    expect(form.get_by_role("status")).to_have_text("Slow: done")
    expect(button).to_have_text("Slow")
    expect(button).to_be_enabled()


def test_what_is_typed_while_it_runs_stays(lab: Lab) -> None:
    pipe = lab.folder / "typed_meanwhile"
    os.mkfifo(pipe)
    _, form = opened(lab, SLOW.replace("go_on", pipe.name))
    name, note, button = form.get_by_label("Name"), form.get_by_label("Note"), form.get_by_role("button")
    name.fill("first")
    note.fill("a")
    note.press("Enter")
    expect(button).to_be_disabled()
    name.fill("second")
    pipe.write_text("")
    expect(form.get_by_role("status")).to_have_text("Slow: done")
    expect(name).to_have_value("second")
    expect(name).to_be_focused()
    expect(note).to_have_value("")


@pytest.mark.parametrize("answer", ["", "fail"])
def test_an_answer_takes_the_focus_from_nobody_who_went_elsewhere(lab: Lab, answer: str) -> None:
    pipe = lab.folder / f"elsewhere{answer}"
    os.mkfifo(pipe)
    notebook, form = opened(lab, SLOW.replace("go_on", pipe.name), "# elsewhere")
    form.get_by_role("button").click()
    expect(form.get_by_role("button")).to_be_disabled()
    elsewhere = notebook.cell(2).locator(".cm-content")
    elsewhere.click()
    pipe.write_text(answer)
    expect(form.get_by_role("button")).to_be_enabled()
    expect(elsewhere).to_be_focused()
    if answer:
        expect(form.get_by_label("Name")).to_have_attribute("aria-invalid", "true")


def test_a_mutation_declared_anew_redraws_the_form_and_keeps_what_was_typed(lab: Lab) -> None:
    renewed = ADD_ITEM.split("form =")[0].replace("n: int = 1", "n: int = 2, note: str = ''")
    notebook, form = opened(lab, ADD_ITEM, renewed)
    form.get_by_label("Name").fill("typed")
    form.get_by_label("N", exact=True).fill("3")
    notebook.run(2)
    expect(form.get_by_label("Note")).to_be_visible()
    expect(form.get_by_label("Name")).to_have_value("typed")
    expect(form.get_by_label("N", exact=True)).to_have_value("3")


def test_a_mutation_declared_anew_leaves_the_rest_of_its_form_alone(lab: Lab, tmp_path: Path) -> None:
    photo = tmp_path / "photo.bin"
    photo.write_bytes(b"abc")
    notebook, form = opened(lab, UPLOAD, "form.result")
    file = form.get_by_label("File")
    file.set_input_files(photo)
    file.focus()
    renewed = UPLOAD.split("form =")[0].replace("n: int = 1", "n: int = 20, note: str = ''")
    notebook.page.evaluate(EXECUTE, renewed)
    expect(form.get_by_label("Note")).to_be_visible()
    expect(file).to_be_focused()
    expect(form.get_by_label("N", exact=True)).to_have_value("20")  # nobody had entered another one
    form.get_by_role("button", name="Upload").click()
    expect(form.get_by_role("status")).to_have_text("Upload: done")
    notebook.run(2)
    expect(notebook.output(2)).to_contain_text("23")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_everything_can_be_read(lab: Lab, theme: str) -> None:
    notebook, form = opened(lab, ADD_ITEM, theme=theme)
    form.get_by_label("N", exact=True).fill("")
    form.get_by_role("button").click()
    for part in ["label", ".hint", ".fault", "button", "input", ".summary"]:
        assert contrast(notebook, form.locator(part).first) >= 4.5, part
