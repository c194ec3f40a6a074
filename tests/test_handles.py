"""Handles as users hold them: traits that can be observed and linked, and that nobody can set.

How handles move with commits is in `reactive/test_scheduler.py`.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
import traitlets

import reactive_db as rdb
from reactive_db.errors import FunctionError, SqlError, StoreClosedError
from reactive_db.handles import reading
from tests.conftest import Open


class Score(rdb.Document, table="handles_scores", indexes={"by_name": ["name"]}):
    name: str
    points: int


@rdb.query
def scores(ctx: rdb.QueryCtx, name: str) -> list[int]:
    """The points of a player."""
    found = [one.points for one in ctx.db.query(Score).with_index("by_name", name=name)]
    if -1 in found:
        raise ValueError("a negative score")
    return found


@rdb.mutation
def add(ctx: rdb.MutationCtx, name: str, points: int) -> None:
    ctx.db.insert(Score(name, points))


@rdb.mutation
def clear(ctx: rdb.MutationCtx) -> None:
    for one in ctx.db.query(Score):
        ctx.db.delete(one.id)


# --- traits ----------------------------------------------------------------------------------------------------------


def test_a_handle_has_a_value_when_it_is_made(db: rdb.Database) -> None:
    db.run(add, "ada", 3)
    handle = db.live(scores, "ada")
    assert (handle.value, handle.status, handle.error, handle.ts) == ([3], "current", None, db.ts)


@pytest.mark.parametrize("name", ["value", "status", "error", "ts"])
def test_a_handle_is_read_only(db: rdb.Database, name: str) -> None:
    handle = db.live(scores, "ada")
    with pytest.raises(
        traitlets.TraitError, match=f"'{name}' of a handle is read-only; change the data with a mutation"
    ):
        setattr(handle, name, 3)
    assert handle.value == []


def test_every_trait_can_be_observed(db: rdb.Database) -> None:
    handle = db.live(scores, "ada")
    seen: list[Any] = []
    handle.observe(lambda change: seen.append((change["name"], change["old"], change["new"])))
    db.run(add, "ada", 3)
    assert ("value", [], [3]) in seen
    db.run(add, "ada", -1)
    names = [name for name, _, _ in seen]
    assert names.count("value") == 1, "the last good value stays"
    assert ("status", "current", "error") in seen
    assert [str(new) for name, _, new in seen if name == "error"] == ["a negative score"]


def test_a_change_is_what_traitlets_says_it_is(db: rdb.Database) -> None:
    handle = db.live(scores, "ada")
    seen: list[Any] = []
    handle.observe(seen.append, "value")
    db.run(add, "ada", 3)
    (change,) = seen
    assert (change.owner, change.name, change.type, change.old, change.new) == (handle, "value", "change", [], [3])
    handle.unobserve(seen.append, "value")
    db.run(add, "ada", 4)
    assert len(seen) == 1


def test_a_handle_can_be_linked_to_a_widget(db: rdb.Database) -> None:
    class Label(traitlets.HasTraits):
        value = traitlets.Any()
        text = traitlets.Unicode()

    handle, label = db.live(scores, "ada"), Label()
    traitlets.dlink((handle, "value"), (label, "value"))
    link = traitlets.dlink((handle, "value"), (label, "text"), transform=lambda value: f"{sum(value)} points")
    assert (label.value, label.text) == ([], "0 points")
    db.run(add, "ada", 3)
    assert (label.value, label.text) == ([3], "3 points")
    link.unlink()
    db.run(add, "ada", 4)
    assert (label.value, label.text) == ([3, 4], "3 points")


def test_each_observer_is_called_though_another_raises(db: rdb.Database, caplog: pytest.LogCaptureFixture) -> None:
    handle = db.live(scores, "ada")
    seen: list[str] = []

    def fail(change: Any) -> None:
        seen.append(f"fails at {change['name']}")
        raise RuntimeError("broken widget")

    for name in ("ts", "value"):
        handle.observe(fail, name)
        handle.observe(lambda change: seen.append(change["name"]), name)
    db.run(add, "ada", 3)
    assert seen == ["fails at ts", "ts", "fails at value", "value"]
    assert [record.getMessage() for record in caplog.records] == [
        f"an observer of {handle.title} raised; other observers and the data are not affected"
    ] * 2
    assert "broken widget" in caplog.text
    assert handle.value == [3]


def test_a_handle_may_be_used_from_any_thread(db: rdb.Database) -> None:
    handle = db.live(scores, "ada")
    seen: list[int] = []
    handle.observe(lambda change: seen.append(threading.get_ident()), "value")
    thread = threading.Thread(target=lambda: db.run(add, "ada", 3))
    thread.start()
    thread.join()
    assert (handle.value, seen) == ([3], [thread.ident])


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pace", [{"debounce": -1}, {"throttle": -0.5}])
def test_a_pace_is_not_negative(db: rdb.Database, pace: dict[str, float]) -> None:
    with pytest.raises(traitlets.TraitError):
        db.live(scores, "ada", **pace)  # type: ignore[call-arg]
    assert len(db._scheduler.cache.watched) == 0


def test_a_query_may_have_a_parameter_of_that_name(db: rdb.Database) -> None:
    @rdb.query
    def waits(ctx: rdb.QueryCtx, debounce: str) -> str:
        return debounce

    handle = db.live(waits, debounce="long")
    assert (handle.value, handle.debounce) == ("long", 0.0)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT", "syntax|Parser"),
        ("SELECT * FROM handles_nothing", "handles_nothing"),
        ("SELECT nothing FROM handles_scores", "nothing"),
        ("DELETE FROM handles_scores", "DELETE is not allowed here: SQL only reads"),
        ("SELECT 1; SELECT 2", "expected one statement, got 2"),
        ("", "expected one statement, got 0"),
    ],
)
def test_a_live_statement_that_cannot_be_is_refused(db: rdb.Database, statement: str, says: str) -> None:
    db.run(add, "ada", 3)
    with pytest.raises(SqlError, match=says):
        raise db.live(statement).error or AssertionError("it runs")
    assert db.run(scores, "ada") == [3]


def test_a_live_statement_takes_values_as_parameters(db: rdb.Database) -> None:
    db.run(add, "ada", 3)
    handle = db.live("SELECT points FROM handles_scores WHERE name = ?", ["ada"])
    named = db.live("SELECT points FROM handles_scores WHERE name = $name", {"name": "ada"})
    db.run(add, "ada", 4)
    assert sorted(handle.value.fetchall()) == sorted(named.value.fetchall()) == [(3,), (4,)]
    with pytest.raises(SqlError, match="the parameters of a live statement are plain values"):
        db.live("SELECT ?", [object()])


@pytest.mark.parametrize("thing", [None, 3, scores.name.encode(), add])
def test_nothing_else_is_live(db: rdb.Database, thing: Any) -> None:
    with pytest.raises(FunctionError, match=r"expected a function made by @rdb\.query"):
        db.live(thing)


# --- the end of a handle ---------------------------------------------------------------------------------------------


def test_a_closed_handle_keeps_what_it_shows(db: rdb.Database) -> None:
    db.run(add, "ada", 3)
    handle = db.live(scores, "ada")
    handle.close()
    shown = (handle.value, handle.ts)
    db.run(add, "ada", 4)
    handle.close()
    assert handle.is_closed
    assert (handle.value, handle.ts) == shown == ([3], shown[1])


def test_handles_of_a_closed_store_keep_what_they_show(db: rdb.Database) -> None:
    db.run(add, "ada", 3)
    handle = db.live(scores, "ada")
    db.close()
    assert (handle.value, handle.status) == ([3], "current")
    handle.close()
    with pytest.raises(StoreClosedError):
        db.live(scores, "ada")


# --- how it looks ----------------------------------------------------------------------------------------------------


def test_a_handle_shows_its_call_and_its_value(db: rdb.Database) -> None:
    handle = db.live(scores, "ada")
    assert handle.title in repr(handle)
    assert "current at ts" in repr(handle)
    db.run(add, "<b>", -1)
    failed = db.live(scores, "<b>")
    assert "error at ts" in repr(failed)
    assert "a negative score" in repr(failed)
    html = failed._repr_html_()
    assert "a negative score" in html
    assert "<b>" not in html


def test_a_live_statement_shows_a_table(db: rdb.Database) -> None:
    db.run(add, "ada & co", 3)
    handle = db.live("SELECT name,\n points FROM handles_scores")
    assert handle.title == "SELECT name, points FROM handles_scores"
    assert "ada & co" in repr(handle)
    assert "ada &amp; co" in handle._repr_html_()


def test_who_reads_a_value_can_be_known(db: rdb.Database) -> None:
    """A live cell finds out so what it depends on."""
    handle, other = db.live(scores, "ada"), db.live(scores, "bob")
    read: list[Any] = []
    token = reading.set(read.append)
    try:
        assert handle.status == other.status == "current"
        assert handle.value == []
    finally:
        reading.reset(token)
    assert other.value == []
    assert read == [handle]


def test_two_stores_do_not_hear_of_each_other(open_db: Open) -> None:
    one, other = open_db(), open_db()
    handles = [db.live(scores, "ada") for db in (one, other)]
    one.run(add, "ada", 3)
    assert [handle.value for handle in handles] == [[3], []]
