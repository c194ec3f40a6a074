"""`%live`: lists the live cells, pauses, resumes and stops them, in a real kernel."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def counter(page: Any) -> Any:
    """The output of a live cell that counts the items."""
    page.run("handle = db.live(items)")
    (shown,) = page.run("%%live\n# how many\nlen(handle.value)").shown
    return shown


def number_of(listed: Any) -> str:
    return str(listed.text.split("[")[1].split("]")[0])


def test_it_lists_the_live_cells(page: Any, counter: Any) -> None:
    page.run("db.run(add, 'x')")
    (listed,) = page.run("%live").shown
    heading, _, row, _ = listed.text.splitlines()
    assert heading.split() == ["cell", "state", "runs", "last", "run", "reads"]
    assert "len(handle.value)" in row
    assert row.split()[-5:-3] == ["live", "2"]
    assert row.split()[-2:] == ["ms", "1"]
    assert "<table" in listed.html


def test_a_paused_cell_stays_as_it_is_until_it_is_resumed(page: Any, counter: Any) -> None:
    (listed,) = page.run("%live pause").shown
    assert "paused" in listed.text
    page.run("db.run(add, 'x')\ndb.run(add, 'y')")
    assert counter.updates == 0
    page.run(f"%live resume {number_of(listed)}")
    assert (counter.text, counter.updates) == ("2", 1)


def test_a_stopped_cell_stays_as_it_is(page: Any, counter: Any) -> None:
    assert page.run("%live stop").shown[0].text == "No cell is live. Begin one with %%live."
    page.run("db.run(add, 'x')")
    assert counter.updates == 0


def test_the_number_of_a_cell_is_the_one_that_stands_beside_it(page: Any) -> None:
    page.run("handle = db.live(items)")
    cell = page.run("%%live\n1 // (1 - len(handle.value))")
    page.run("db.run(add, 'x')")
    assert f"Cell In[{cell.number}], line 1" in cell.shown[0].text
    assert number_of(page.run("%live").shown[0]) == str(cell.number)


def test_one_of_several_is_named_by_its_number(page: Any, counter: Any) -> None:
    page.run("%%live\nlen(handle.value) * 10")
    (listed,) = page.run("%live").shown
    (left,) = page.run(f"%live stop {number_of(listed)}").shown
    assert "len(handle.value) * 10" in left.text
    assert len(left.text.splitlines()) == len(listed.text.splitlines()) - 1


@pytest.mark.parametrize(
    ("line", "message"), [("halt", "%live halt: no such command"), ("stop 9999", "no live cell has the number 9999")]
)
def test_what_it_does_not_know_is_named(page: Any, counter: Any, line: str, message: str) -> None:
    assert message in page.run(f"%live {line}").error


def test_a_failed_cell_is_said_to_have_failed(page: Any) -> None:
    page.run("handle = db.live(items)")
    page.run("%%live\n1 / len(handle.value)")
    assert "failed" in page.run("%live").shown[0].text
