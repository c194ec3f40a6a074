"""Nothing is left behind by what a notebook creates a thousand times and drops again."""

from __future__ import annotations

import ast
import textwrap
from typing import Any

import pytest

TIMES = 1_000
TIMES_BY_HAND = 30

COUNT = """
import gc, threading
from ipywidgets import Label
from traitlets import dlink
from reactive_db.notebook import extension

total = rdb.query(lambda ctx: len(ctx.db.query(Item).collect()))

def counts():
    gc.collect()
    db.run(add, "sweep")
    (loaded,) = extension._loaded.values()
    cache = db._scheduler.cache
    return {
        "watched": len(cache.watched),
        "live": len(loaded._refresher),
        "threads": threading.active_count(),
        "comms": len(get_ipython().kernel.comm_manager.comms),
    }
"""

MANY = {
    "closed handles, though kept": "kept.append(db.live(items))\nkept[-1].close()",
    "dropped handles": "db.live(items).observe(print, 'value')",
    "dropped statements": "db.live(f'SELECT {number} AS n')",
    "handles linked to closed widgets": """
label = Label()
handle = db.live(total)
dlink((handle, "value"), (label, "value"), transform=str)
for part in (label.layout, label.style, label):  # ipywidgets closes none of the first two itself
    part.close()
""",
    "live cells": "get_ipython().run_cell_magic('live', '', 'len(db.run(items))')",
}
AGAIN = {
    "live cells": "get_ipython().run_cell_magic('live', '', 'len(db.run(items))')",
    "shown handles": "display(db.live(items))",
    "live cells that show widgets": "get_ipython().run_cell_magic('live', '', 'len(db.run(items))\\nLabel()')",
}


def counted(page: Any) -> dict[str, int]:
    counts: dict[str, int] = ast.literal_eval(page.run("print(counts())", cell_id="count").streams)
    return counts


def check_nothing_is_left(before: dict[str, int], after: dict[str, int]) -> None:
    # The thread of the time limit comes and goes.
    assert after.pop("threads") <= before.pop("threads") + 1
    assert after == before


@pytest.fixture
def counting(page: Any) -> Any:
    page.run(COUNT)
    counted(page)  # what the first use leaves for good
    return page


@pytest.mark.parametrize("what", MANY)
def test_a_thousand_times_leaves_nothing_behind(counting: Any, what: str) -> None:
    before = counted(counting)
    body = textwrap.indent(MANY[what].strip(), "    ")
    assert counting.run(f"kept = []\nfor number in range({TIMES}):\n{body}\nlabel = handle = part = None").error == ""
    counting.run("%live stop")
    check_nothing_is_left(before, counted(counting))


@pytest.mark.parametrize("what", AGAIN)
def test_a_cell_run_again_leaves_nothing_of_its_former_run(counting: Any, what: str) -> None:
    counting.run(AGAIN[what], cell_id="again")
    before = counted(counting)
    for _ in range(TIMES_BY_HAND):
        assert counting.run(AGAIN[what], cell_id="again").error == ""
    check_nothing_is_left(before, counted(counting))


def test_a_live_cell_closes_the_widgets_of_its_former_runs(counting: Any) -> None:
    cell = counting.run("%%live\nslider = Label(str(len(db.run(items))))\nslider", cell_id="widgets")
    before = counted(counting)
    assert counting.run(f"for number in range({TIMES_BY_HAND}):\n    db.run(add, 'x')", cell_id="adding").error == ""
    for _ in range(TIMES_BY_HAND):
        counting.run("db.run(add, 'x')", cell_id="adding")
    check_nothing_is_left(before, counted(counting))
    assert cell.shown[0].updates > TIMES_BY_HAND


def test_a_widget_that_is_still_shown_is_not_closed(page: Any) -> None:
    page.run("from functools import cache\nfrom ipywidgets import Label\nhandle = db.live(items)")
    page.run("@cache\ndef label(): return Label('kept')")
    page.run("%%live\nhandle.value\nlabel()", cell_id="a")
    page.run("db.run(add, 'x')", cell_id="b")
    page.run("db.run(add, 'x')", cell_id="b")
    assert page.run("label().comm is not None").shown[0].text == "True"


def test_a_handle_is_a_control_of_interactive_output(page: Any) -> None:
    page.run("from ipywidgets import interactive_output\nseen = []\nhandle = db.live(items)")
    page.run("out = interactive_output(lambda value: seen.append(len(value)), {'value': handle})")
    page.run("db.run(add, 'x')")
    assert page.run("print(seen)").streams == "[0, 1]\n"
