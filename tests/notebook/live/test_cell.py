"""`%%live`: a cell that runs again when what it read changes, in a real kernel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def test_it_runs_again_when_a_handle_that_it_read_changes(page: Any) -> None:
    page.run("handle = db.live(items)")
    (shown,) = page.run("%%live\nlen(handle.value)").shown
    assert shown.data == {"text/plain": "0"}
    page.run("db.run(add, 'x')")
    assert (shown.data, shown.updates) == ({"text/plain": "1"}, 1)


@pytest.mark.parametrize("read", ["len(db.run(items))", "db.sql('SELECT count(*) FROM items').fetchone()[0]"])
def test_it_follows_what_it_asks_the_database_itself(page: Any, read: str) -> None:
    (shown,) = page.run(f"%%live\n{read}").shown
    for expected in ("1", "2", "3"):
        page.run("db.run(add, 'x')")
        assert shown.text == expected


def test_what_it_did_not_read_does_not_wake_it(page: Any) -> None:
    page.run("handle = db.live(items)\nother = db.live('SELECT 1')")
    (shown,) = page.run("%%live\nother.value.fetchone()").shown
    page.run("db.run(add, 'x')")
    assert shown.updates == 0


def test_it_follows_what_the_last_run_read(page: Any) -> None:
    page.run("handle = db.live(items)\nmany = db.live('SELECT count(*) AS n FROM items')\nwatching = True\nruns = 0")
    (shown,) = page.run("%%live\nruns += 1\nprint(runs, len(handle.value) if watching else '')").shown
    page.run("watching = False\ndb.run(add, 'x')")
    assert shown.text.split() == ["2"]
    page.run("db.run(add, 'x')")
    assert shown.text.split() == ["2"]


def test_each_part_that_it_shows_is_replaced_if_it_has_changed(page: Any) -> None:
    page.run("handle = db.live(items)\nimport sys")
    printed, careful, fixed, table = page.run(
        "%%live\nprint('rows:', len(handle.value))\nprint('careful', file=sys.stderr)\ndisplay({'a': 1})\nhandle"
    ).shown
    page.run("db.run(add, '<b>')")
    assert [printed.text, careful.text, fixed.text] == ["rows: 1", "careful", "{'a': 1}"]
    assert "<td>&lt;b&gt;</td>" in table.html
    assert [part.updates for part in (printed, careful, fixed, table)] == [1, 0, 0, 1]


def test_parts_that_come_later_are_folded_into_the_last_display(page: Any) -> None:
    page.run("handle = db.live(items)")
    (shown,) = page.run("%%live\nfor n in range(len(handle.value) + 1): display(n)").shown
    page.run("db.run(add, 'x')")
    assert shown.text.split() == ["0", "1"]
    page.run("db.run(clear)")
    assert shown.data == {"text/plain": "0"}


def test_a_semicolon_hides_the_last_value(page: Any) -> None:
    page.run("handle = db.live(items)")
    (shown,) = page.run("%%live\nlen(handle.value);").shown
    assert shown.data == {"text/plain": ""}


def test_a_function_that_formats_numbers_is_asked(page: Any) -> None:
    page.run("handle = db.live(items)\nhtml = get_ipython().display_formatter.formatters['text/html']")
    page.run("html.for_type(int, lambda n: f'<b>{n}</b>');")
    (shown,) = page.run("%%live\nlen(handle.value)").shown
    assert shown.data == {"text/plain": "0", "text/html": "<b>0</b>"}
    page.run("html.pop(int);")
    page.run("db.run(add, 'x')")
    assert shown.data == {"text/plain": "1"}


def test_magics_work_in_it(page: Any) -> None:
    page.run("handle = db.live(items)")
    (shown,) = page.run("%%live\nhandle.value\n%pwd").shown
    assert shown.text


def test_figures_are_part_of_its_output(page: Any) -> None:
    page.run("import matplotlib.pyplot as plt\nhandle = db.live(items)")
    (shown,) = page.run("%%live\nplt.plot([item.n for item in handle.value]);").shown
    before = shown.data["image/png"]
    page.run("db.run(add, 'x', 1)\ndb.run(add, 'y', 5)")
    assert shown.data["image/png"] != before
    assert page.run("plt.get_fignums()").shown[0].text == "[]"


CHARTS = {
    "application/vnd.plotly.v1+json": "import plotly.express as px\npx.bar(x=['rows'], y=[len(handle.value)])",
    "application/vnd.vegalite.v6.json": """
import altair as alt
alt.renderers.enable("mimetype")
alt.Chart(alt.Data(values=[{"rows": len(handle.value)}])).mark_bar().encode(x="rows:Q")
""",
}


@pytest.mark.parametrize("mime", CHARTS)
def test_charts_keep_the_form_that_the_page_draws(page: Any, mime: str) -> None:
    page.run("handle = db.live(items)")
    (shown,) = page.run(f"%%live\n{CHARTS[mime]}").shown
    before = shown.data[mime]
    page.run("db.run(add, 'x')")
    assert shown.data[mime] != before
    assert shown.updates == 1


def test_an_error_shows_in_place_and_the_next_change_mends_it(page: Any) -> None:
    page.run("handle = db.live(items)\ndb.run(add, 'good', 1)")
    cell = page.run("%%live\nprint('looking')\nmax(10 // item.n for item in handle.value)", cell_id="a")
    looking, shown = cell.shown
    assert (looking.text, shown.text) == ("looking", "10")
    page.run("db.run(add, 'zero')", cell_id="b")
    assert shown.text.split()[:2] == ["10", "looking"]  # the last good output, and what the failed run printed
    assert "ZeroDivisionError" in shown.text
    assert "line 2" in shown.html
    assert "site-packages" not in shown.text
    page.run("db.run(clear)\ndb.run(add, 'good', 5)", cell_id="c")
    assert (looking.text, shown.text) == ("looking", "2")
    assert cell.error == ""


BROKEN = """
class Broken:
    def __init__(self, n): self.n = n
    def _repr_html_(self): return str(1 / self.n)
"""


@pytest.mark.parametrize("show", ["Broken(len(handle.value))", "display(Broken(len(handle.value)));"])
def test_what_cannot_be_displayed_is_an_error_in_place(page: Any, show: str) -> None:
    page.run(BROKEN + "handle = db.live(items)\ndb.run(add, 'one')")
    (shown,) = page.run(f"%%live\n{show}").shown
    emptied = page.run("db.run(clear)")
    assert "ZeroDivisionError" in shown.text
    assert (emptied.error, emptied.streams) == ("", "")
    page.run("db.run(add, 'a')\ndb.run(add, 'b')")
    assert shown.html == "0.5"


def test_an_error_of_the_first_run_can_be_mended_by_a_change(page: Any) -> None:
    page.run("handle = db.live(items)")
    cell = page.run("%%live\nhandle.value[0].name")
    assert "IndexError" in cell.shown[0].text
    assert cell.error == ""
    page.run("db.run(add, 'at last')")
    assert cell.shown[0].text == "'at last'"


def test_an_error_before_anything_was_read_fails_the_cell(page: Any) -> None:
    cell = page.run("%%live\n1 / 0")
    assert cell.error == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("code", ["a b", "await something()"])
def test_what_is_not_python_fails_the_cell(page: Any, code: str) -> None:
    assert page.run(f"%%live\n{code}").error.startswith("SyntaxError")


def test_a_query_that_raises_is_an_error_of_the_cell(page: Any) -> None:
    page.run(
        """
@rdb.query
def only(ctx: rdb.QueryCtx) -> str:
    return ctx.db.query(Item).unique().name
db.run(add, "one")
"""
    )
    (shown,) = page.run("%%live\ndb.run(only)").shown
    page.run("db.run(add, 'two')")
    assert "NotUniqueError" in shown.text
    page.run("db.run(clear)\ndb.run(add, 'three')")
    assert shown.text == "'three'"


def test_run_again_by_hand_it_takes_its_own_place(page: Any) -> None:
    page.run("handle = db.live(items)")
    (old,) = page.run("%%live\n'old', len(handle.value)", cell_id="a").shown
    (new,) = page.run("%%live\n'new', len(handle.value)", cell_id="a").shown
    page.run("db.run(add, 'x')", cell_id="b")
    assert (old.text, new.text) == ("('old', 0)", "('new', 1)")


def test_where_cells_have_no_names_the_same_code_is_the_same_cell(page: Any) -> None:
    page.run("handle = db.live(items)")
    (old,) = page.run("%%live\nlen(handle.value)").shown
    (new,) = page.run("%%live\nlen(handle.value)").shown
    page.run("db.run(add, 'x')")
    assert (old.text, new.text) == ("0", "1")


def test_a_cell_that_changes_what_it_reads_is_stopped(page: Any) -> None:
    page.run("handle = db.live(items)")
    (bystander,) = page.run("%%live\nlen(handle.value)").shown
    (shown,) = page.run("%%live\ndb.run(add, str(len(handle.value)))\nNone").shown
    assert "LIVE_ROUNDS_MAX" in shown.text
    assert int(bystander.text) > 100
    page.run("db.run(clear)")
    assert bystander.text == "0"


def test_the_stop_button_stops_a_run_between_cells(page: Any, tmp_path: Path) -> None:
    page.run("import threading\nhandle = db.live(items)\nhandle.value")
    cell = page.run(
        """%%live
if handle.value:
    threading.Thread(target=print, args=("running",)).start()
    while True:
        pass
"""
    )
    (shown,) = cell.shown
    # The thread waits until somebody writes: the cell that starts it has ended by then.
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    go = page.run(f"threading.Thread(target=lambda: (open({str(gate)!r}).read(), db.run(add, 'x'))).start()")
    gate.write_text("go")
    page.wait_until(lambda: "running" in cell.streams + go.streams)
    page.manager.interrupt_kernel()
    page.wait_until(lambda: "KeyboardInterrupt" in shown.text)
    assert page.run("1 + 1").shown[0].text == "2"


def test_other_threads_print_where_they_did(page: Any) -> None:
    page.run("import threading\nhandle = db.live(items)\nloud = lambda: print('loud')")
    cell = page.run("%%live\nt = threading.Thread(target=loud); t.start(); t.join()\nprint(len(handle.value))")
    assert cell.shown[0].text == "0"
    assert cell.streams == "loud\n"


def test_a_handle_made_in_it_is_followed(page: Any) -> None:
    (shown,) = page.run("%%live\ndb.live(items)").shown
    page.run("db.run(add, 'x')")
    assert "<td>x</td>" in shown.html


def test_its_reads_of_a_redefined_query_move_on(page: Any) -> None:
    (shown,) = page.run("%%live\nlen(db.run(items))").shown
    page.run("db.run(add, 'x')")
    page.run(
        """
@rdb.query
def items(ctx: rdb.QueryCtx) -> list[Item]:
    return ctx.db.query(Item).collect() * 2
"""
    )
    assert shown.text == "2"


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_name_that_a_live_cell_assigns_wakes_the_live_cells_that_read_it(page: Any) -> None:
    page.run("handle = db.live(items)")
    assert "NameError" in page.run("%%live\nf'{twice} items, twice over'").error, "nobody could mend that"
    page.run("%%live\ncount = len(handle.value)")
    page.run("%%live\ntwice = count * 2")
    (last,) = page.run("%%live\nf'{twice} items, twice over'").shown
    page.run("db.run(add, 'x')")
    assert (last.text, last.updates) == ("'2 items, twice over'", 1)


def test_a_diamond_of_names_runs_each_cell_once(page: Any) -> None:
    page.run("handle = db.live(items)\nruns = []")
    page.run("%%live\nn = len(handle.value)\nruns.append('n')")
    page.run("%%live\nleft = n + 1\nruns.append('left')")
    page.run("%%live\nright = n + 2\nruns.append('right')")
    (shown,) = page.run("%%live\nruns.append('sum')\nleft + right").shown
    page.run("runs.clear()\ndb.run(add, 'x')")
    assert page.run("print(*runs)").streams.split() in (["n", "left", "right", "sum"], ["n", "right", "left", "sum"])
    assert (shown.text, shown.updates) == ("5", 1)


def test_running_a_live_cell_by_hand_wakes_its_readers(page: Any) -> None:
    page.run("%%live\nrate = 2", cell_id="rate")
    (shown,) = page.run("%%live\nrate * 10", cell_id="reader").shown
    page.run("%%live\nrate = 3", cell_id="rate")
    assert (shown.text, shown.updates) == ("30", 1)


def test_a_reader_that_failed_is_mended_by_the_cell_that_it_reads(page: Any) -> None:
    page.run("%%live\nrate = 0", cell_id="rate")
    (shown,) = page.run("%%live\n1 / rate", cell_id="reader").shown
    assert "ZeroDivisionError" in shown.text
    page.run("%%live\nrate = 4", cell_id="rate")
    assert shown.text == "0.25"


def test_cells_that_read_each_others_names_are_refused(page: Any) -> None:
    page.run("ping = pong = 0")
    page.run("%%live\nping = pong + 1")
    error = page.run("%%live\npong = ping + 1").error
    assert "LiveCycleError" in error
    assert "ping = pong + 1" in error
    assert "pong = ping + 1" in error
