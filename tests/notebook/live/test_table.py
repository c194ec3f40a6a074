"""A handle as the last line of a cell: a live table, in a real kernel."""

from __future__ import annotations

from typing import Any


def test_a_handle_is_a_table_with_text_beside_it(page: Any) -> None:
    page.run("db.run(add, 'first', 1)")
    (table,) = page.run("db.live(items)").shown
    assert "<caption><b>items()</b><small>1 row</small></caption>" in table.html
    assert "first" in table.text


def test_a_later_cell_changes_it_in_place(page: Any) -> None:
    (table,) = page.run("handle = db.live(items)\nhandle").shown
    later = page.run("db.run(add, 'second')")
    assert "<td>second</td>" in table.html
    assert (table.updates, later.shown[1:]) == (1, [])


def test_a_change_while_no_cell_runs_is_shown_too(page: Any) -> None:
    (table,) = page.run("handle = db.live(items)\nhandle").shown
    page.run("import threading\ngo = threading.Event()")
    page.run("threading.Thread(target=lambda: (go.wait(), db.run(add, 'from a thread'))).start()")
    assert "from a thread" not in table.html
    page.run("import asyncio\nasyncio.get_running_loop().call_later(0, go.set)")
    page.wait_until(lambda: "from a thread" in table.html)


def test_many_changes_in_a_cell_are_one_update(page: Any) -> None:
    (table,) = page.run("handle = db.live(items)\nhandle").shown
    page.run("for n in range(100): db.run(add, 'many', n)")
    assert "20 of 100 rows" in table.html
    assert table.updates == 1


def test_an_awaiting_cell_lets_changes_be_seen_before_it_ends(page: Any) -> None:
    (table,) = page.run("handle = db.live(items)\nhandle").shown
    page.run(
        """
import asyncio
seen = []
handle.observe(lambda change: seen.append(len(change.new)), "value")
for n in range(3):
    db.run(add, 'step', n)
    await asyncio.sleep(0.06)
"""
    )
    assert table.updates >= 3
    assert "3 rows" in table.html


def test_new_rows_light_up_until_they_are_sent_again(page: Any) -> None:
    (table,) = page.run("db.run(add, 'old')\nhandle = db.live(items)\nhandle").shown
    page.run("db.run(add, 'new')")
    assert '<tr class="fresh"><td>new</td>' in table.html
    assert '<tr class="fresh"><td>old</td>' not in table.html


def test_a_failing_query_shows_its_error_above_the_last_good_rows(page: Any) -> None:
    page.run(
        """
@rdb.query
def picky(ctx: rdb.QueryCtx) -> list[Item]:
    found = ctx.db.query(Item).collect()
    if any(item.n < 0 for item in found):
        raise ValueError("negative")
    return found
db.run(add, "good", 1)
"""
    )
    (table,) = page.run("db.live(picky)").shown
    page.run("bad = db.run(add, 'bad', -1)")
    assert "<strong>ValueError</strong>: negative" in table.html
    assert "<td>good</td>" in table.html
    page.run("db.run(clear)")
    assert "negative" not in table.html


def test_it_stays_live_though_nobody_keeps_the_handle(page: Any) -> None:
    (table,) = page.run("handle = db.live(items)\nhandle").shown
    page.run("%reset -f out\ndel handle\nimport gc\ngc.collect()")
    page.run("db.run(add, 'still')")
    assert "still" in table.html


def test_the_cell_run_again_takes_its_place(page: Any) -> None:
    page.run("handle = db.live(items)")
    (first,) = page.run("handle", cell_id="a").shown
    (second,) = page.run("handle", cell_id="a").shown
    (other,) = page.run("handle", cell_id="b").shown
    page.run("db.run(add, 'new')", cell_id="c")
    assert (first.updates, second.updates, other.updates) == (0, 1, 1)


def test_a_deleted_cell_is_followed_no_more(page: Any) -> None:
    (table,) = page.run("handle = db.live(items)\nhandle", cell_id="a").shown
    page.run("db.run(add, 'new')", cell_id="b", deleted=["a"])
    assert table.updates == 0


def test_two_tables_of_one_cell_both_follow(page: Any) -> None:
    cell = page.run("display(db.live(items))\ndisplay(db.live('SELECT count(*) AS n FROM items'))", cell_id="a")
    page.run("db.run(add, 'new')", cell_id="b")
    assert [shown.updates for shown in cell.shown] == [1, 1]


def test_without_the_extension_a_handle_is_shown_as_it_is(page: Any) -> None:
    page.run("%unload_ext reactive_db")
    (table,) = page.run("handle = db.live(items)\nhandle").shown
    page.run("db.run(add, 'new')")
    assert "<b>items()</b>" in table.html
    assert table.updates == 0


def test_unloading_leaves_what_is_shown_as_it_is(page: Any) -> None:
    (table,) = page.run("handle = db.live(items)\nhandle").shown
    page.run("%unload_ext reactive_db")
    page.run("db.run(add, 'new')")
    assert table.updates == 0
