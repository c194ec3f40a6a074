"""`db.inspect()`: what it says about a store is right, it changes nothing by looking, and it leaves nothing behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

import reactive_db as rdb
from reactive_db import limits
from reactive_db.errors import (
    ArgumentError,
    ConflictError,
    DocumentError,
    DocumentNotFoundError,
    FunctionError,
    IdError,
    SchemaError,
    StoreClosedError,
)
from reactive_db.functions.contexts import DatabaseWriter
from reactive_db.inspection import Changes, CommitSummary, Inspection
from reactive_db.testing.runtime import SeededRuntime
from reactive_db.testing.threads import PATIENCE_SECONDS, run_in_threads
from tests.conftest import Open

ROOT = Path(__file__).parent.parent


class Color(Enum):
    RED = "red"


class Place(rdb.Object):
    city: str


class Player(rdb.Document, table="inspection_players", indexes={"by_name": ["name"], "by_team": ["team", "points"]}):
    name: str
    points: int = 0
    team: str | None = None
    note: str | msgspec.UnsetType = msgspec.UNSET


class Game(rdb.Document, table="inspection_games"):
    winner: rdb.Id[Player] | None
    kind: Literal["cup", "league"]
    color: Color
    place: Place
    scores: dict[str, list[int]]
    when: datetime
    anything: Any = None


@rdb.query
def players(ctx: rdb.QueryCtx, team: str | None = None) -> list[Player]:
    return ctx.db.query(Player).with_index("by_team", team=team).collect()


@rdb.query
def games(ctx: rdb.QueryCtx) -> int:
    return ctx.db.query(Game).count()


@rdb.mutation
def join(ctx: rdb.MutationCtx, *, name: str, points: int = 0) -> rdb.Id[Player]:
    return ctx.db.insert(Player(name, points))


@rdb.mutation
def win(ctx: rdb.MutationCtx, name: str) -> None:
    found = ctx.db.query(Player).with_index("by_name", name=name).unique()
    assert found is not None
    ctx.db.patch(found.id, points=found.points + 1)


@rdb.mutation
def leave(ctx: rdb.MutationCtx, name: str) -> None:
    for found in ctx.db.query(Player).with_index("by_name", name=name):
        ctx.db.delete(found.id)


def names(documents: list[rdb.Document]) -> list[str]:
    return [document.name for document in documents]  # type: ignore[attr-defined]


def commit_behind(db: rdb.Database, name: str) -> None:
    """Commit as another thread would that has not come to advance the live queries yet."""
    transaction = db._store.begin("behind")
    DatabaseWriter(db._store, transaction).insert(Player(name))
    db._store.committer.commit(transaction)


@pytest.fixture
def inspection(db: rdb.Database) -> Iterator[Inspection]:
    inspection = db.inspect()
    yield inspection
    inspection.close()


# --- tables ----------------------------------------------------------------------------------------------------------


def test_an_empty_store_has_no_tables(inspection: Inspection) -> None:
    assert (inspection.tables, inspection.commits, inspection.live_queries, inspection.conflicts) == ([], [], [], [])


def test_a_table_has_its_documents_counted(db: rdb.Database, inspection: Inspection) -> None:
    for name in ("ada", "bob", "cleo"):
        db.run(join, name=name)
    db.run(leave, "bob")
    (table,) = inspection.tables
    assert (table.name, table.documents, table.is_declared) == ("inspection_players", 2, True)
    db.run(leave, "ada")
    db.run(leave, "cleo")
    db.run(games)
    assert [(table.name, table.documents) for table in inspection.tables] == [
        ("inspection_games", 0),
        ("inspection_players", 0),
    ]


def test_a_table_says_its_indexes_and_the_types_of_its_fields(db: rdb.Database, inspection: Inspection) -> None:
    db.run(players)
    db.run(games)
    game, player = inspection.tables
    assert player.indexes == {"by_name": ("name",), "by_team": ("team", "points")}
    assert player.fields == {"name": "str", "points": "int", "team": "str | None", "note": "str | MISSING"}
    assert game.fields == {
        "winner": "Id[Player] | None",
        "kind": "Literal['cup', 'league']",
        "color": "Color",
        "place": "Place",
        "scores": "dict[str, list[int]]",
        "when": "datetime",
        "anything": "Any",
    }


def test_validators_read_like_annotations(db: rdb.Database, inspection: Inspection) -> None:
    shape = rdb.v.union(rdb.v.object({"x": rdb.v.int64()}), rdb.v.null(), rdb.v.array(rdb.v.id("nowhere")))
    player = rdb.v.id("inspection_players")
    table = rdb.table("inspection_shapes", shape=shape, exact=rdb.v.literal(1.5), player=player)
    db.run(rdb.query(lambda ctx: ctx.db.query(table).count()))
    (summary,) = inspection.tables
    assert summary.fields == {
        "shape": "Object | None | list[Id[nowhere]]",
        "exact": "Literal[1.5]",
        "player": "Id[Player]",
    }


# --- documents -------------------------------------------------------------------------------------------------------


def test_documents_are_live_and_the_newest_come_first(db: rdb.Database, inspection: Inspection) -> None:
    db.run(join, name="ada")
    handle = inspection.documents("inspection_players")
    assert isinstance(handle.value[0], Player)
    db.run(join, name="bob")
    assert names(handle.value) == ["bob", "ada"]
    assert (handle.title, handle.ts, handle.value[0].creation_time > handle.value[1].creation_time) == (
        "inspection_players",
        db.ts,
        True,
    )


def test_only_so_many_documents_are_read(
    db: rdb.Database, inspection: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INSPECTED_DOCUMENTS_MAX", 2)
    for name in ("ada", "bob", "cleo"):
        db.run(join, name=name)
    handle = inspection.documents("inspection_players")
    assert names(handle.value) == ["cleo", "bob"]
    (query,) = db._scheduler.cache.watched.values()
    db.run(win, "ada")
    assert query.runs == 1, "what is not shown makes nothing run"
    db.run(win, "bob")
    assert query.runs == 2
    db.run(leave, "cleo")
    assert names(handle.value) == ["bob", "ada"]


def test_an_unknown_table_is_refused(db: rdb.Database, inspection: Inspection) -> None:
    db.run(players)
    with pytest.raises(ArgumentError, match=r"the store has no table 'nothing'\. Its tables: inspection_players\."):
        inspection.documents("nothing")
    with pytest.raises(ArgumentError, match="the store has no table '_tables'"):
        inspection.delete("_tables", db._store.catalog.definitions()[0].id)


# --- documents of tables that are not declared here, or are declared otherwise ---------------------------------------

OTHER_PROCESS = """
from datetime import UTC, date, datetime
from decimal import Decimal
import sys
import msgspec
import reactive_db as rdb

class Line(rdb.Object):
    item: str
    price: Decimal

class Customer(rdb.Document, table="{name}_customers"):
    name: str

class Order(rdb.Document, table="{name}", indexes={{"by_number": ["number"]}}):
    number: int
    customer: rdb.Id[Customer] | None
    total: Decimal
    day: date | None
    placed: datetime
    lines: list[Line]
    stock: dict[str, int]
    scan: bytes
    paid: bool
    rebate: float
    state: int | str
    remark: str | msgspec.UnsetType = msgspec.UNSET

@rdb.mutation
def fill(ctx: rdb.MutationCtx) -> None:
    customer = ctx.db.insert(Customer(name="ada"))
    for number in range(3):
        ctx.db.insert(Order(
            number=number, customer=customer, total=Decimal("9.50"), day=date(2026, 1, 2),
            placed=datetime(2026, 1, 2, 3, 4, tzinfo=UTC), lines=[Line("pen", Decimal("1.25"))], stock={{"pen": 2}},
            scan=b"xyz", paid=True, rebate=0.5, state="new",
        ))

with rdb.connect({path!r}) as db:
    db.run(fill)
"""

_number = count()


@pytest.fixture
def name() -> str:
    """Of a table that no class in this process is declared for."""
    return f"inspection_orders_{next(_number)}"


@pytest.fixture
def foreign(open_db: Open, tmp_path: Path, name: str) -> rdb.Database:
    """A store that another process has written, with a table of that name."""
    path = tmp_path / "foreign.rdb"
    code = OTHER_PROCESS.format(name=name, path=str(path))
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    return open_db(path)


def test_a_table_of_another_process_can_be_looked_at(foreign: rdb.Database, name: str) -> None:
    before = foreign.ts
    inspection = foreign.inspect()
    orders, customers = inspection.tables
    assert (orders.name, orders.documents, orders.is_declared) == (name, 3, False)
    assert (customers.name, customers.documents) == (f"{name}_customers", 1)
    assert orders.indexes == {"by_number": ("number",)}
    assert orders.fields == {
        "number": "int",
        "customer": f"Id[{name}_customers] | None",
        "total": "Decimal",
        "day": "date | None",
        "placed": "datetime",
        "lines": "list[Object]",
        "stock": "dict[str, int]",
        "scan": "bytes",
        "paid": "bool",
        "rebate": "float",
        "state": "int | str",
        "remark": "str | MISSING",
    }
    handle = inspection.documents(name)
    assert handle.error is None
    found: list[Any] = handle.value
    assert [order.number for order in found] == [2, 1, 0]
    order = found[0]
    assert (order.customer, type(order.id), order.total, order.day, order.placed) == (
        inspection.documents(f"{name}_customers").value[0].id,
        rdb.Id,
        Decimal("9.50"),
        date(2026, 1, 2),
        datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    )
    assert [(line.item, line.price) for line in order.lines] == [("pen", Decimal("1.25"))]
    assert (order.scan, order.state, order.remark) == (b"xyz", "new", rdb.MISSING)
    assert list(foreign._store.catalog._by_number) == [128], "no table was loaded"
    assert (foreign.ts, inspection.commits) == (before, [])
    assert name in repr(inspection)


def test_a_table_of_another_process_is_not_written_to(foreign: rdb.Database, name: str) -> None:
    inspection = foreign.inspect()
    handle = inspection.documents(name)
    with pytest.raises(SchemaError, match=f"no document class for table '{name}' is declared here"):
        inspection.patch(name, handle.value[0].id, "number", 5)
    with pytest.raises(SchemaError, match=f"no document class for table '{name}' is declared here"):
        inspection.delete(name, handle.value[0].id)
    assert len(handle.value) == 3


def test_a_class_that_is_declared_later_takes_over(foreign: rdb.Database, name: str) -> None:
    inspection = foreign.inspect()
    customers = f"{name}_customers"
    handle = inspection.documents(customers)
    customer = rdb.table(customers, name=rdb.v.string())
    before = foreign.ts
    assert [table.is_declared for table in inspection.tables] == [False, True]
    inspection.patch(customers, handle.value[0].id, "name", "eve")
    assert (names(handle.value), foreign.ts) == (["eve"], before + 1)
    assert isinstance(handle.value[0], customer)
    inspection.delete(customers, handle.value[0].id)
    assert handle.value == []


def test_looking_does_not_give_the_store_a_new_definition(open_db: Open, tmp_path: Path, name: str) -> None:
    first = rdb.table(name, a=rdb.v.string())
    insert = rdb.mutation(lambda ctx, a: ctx.db.insert(first(a=a)))
    with rdb.connect(tmp_path / "moved.rdb") as db:
        db.run(insert, "x")
    second = rdb.table(name, a=rdb.v.string(), b=rdb.v.optional(rdb.v.string()))
    db = open_db(tmp_path / "moved.rdb")
    before = db.ts
    inspection = db.inspect()
    handle = inspection.documents(name)
    (table,) = inspection.tables
    assert (table.fields, [document.a for document in handle.value]) == ({"a": "str"}, ["x"])  # type: ignore[attr-defined]
    assert db.ts == before
    inspection.patch(name, handle.value[0].id, "b", "y")
    assert [(document.a, document.b) for document in handle.value] == [("x", "y")]  # type: ignore[attr-defined]
    assert isinstance(handle.value[0], second)
    assert inspection.tables[0].fields == {"a": "str", "b": "str | MISSING"}


def test_a_class_that_is_declared_again_moves_the_documents(
    db: rdb.Database, inspection: Inspection, name: str
) -> None:
    first = rdb.table(name, a=rdb.v.string())
    id = db.run(rdb.mutation(lambda ctx: ctx.db.insert(first(a="x"))))
    handle = inspection.documents(name)
    second = rdb.table(name, a=rdb.v.string(), b=rdb.v.optional(rdb.v.int64()))
    assert inspection.documents(name).value[0].id == id, "though nobody has used the new class yet"
    db.run(rdb.mutation(lambda ctx: ctx.db.insert(second(a="y", b=1))))
    assert [(type(document), document.a) for document in handle.value] == [(second, "y"), (second, "x")]  # type: ignore[attr-defined]


# --- edits -----------------------------------------------------------------------------------------------------------


def test_an_edit_is_checked_like_any_write(db: rdb.Database, inspection: Inspection) -> None:
    id = db.run(join, name="ada")
    table = "inspection_players"
    inspection.patch(table, id, "note", "tall")
    inspection.patch(table, id, "points", 3)
    handle = inspection.documents(table)
    (player,) = handle.value
    assert (player.points, player.note) == (3, "tall")  # type: ignore[attr-defined]
    inspection.patch(table, id, "note", rdb.MISSING)
    assert handle.value[0].note is rdb.MISSING  # type: ignore[attr-defined]
    before = db.ts
    for field, value, says in [
        ("points", "many", r"expected `int`, got `str` at `\$\.points`"),
        ("pionts", 3, "pionts"),
        ("_id", "x", "given by the store"),
        ("name", rdb.MISSING, "name"),
    ]:
        with pytest.raises(DocumentError, match=says):
            inspection.patch(table, id, field, value)
    assert db.ts == before
    inspection.delete(table, id)
    assert handle.value == []
    with pytest.raises(DocumentNotFoundError):
        inspection.patch(table, id, "points", 4)


def test_an_id_of_another_table_is_refused(db: rdb.Database, inspection: Inspection) -> None:
    id = db.run(join, name="ada")
    db.run(games)
    for wrong in (id, "nonsense"):
        with pytest.raises(IdError):
            inspection.delete("inspection_games", wrong)
    assert inspection.tables[1].documents == 1


# --- live queries ----------------------------------------------------------------------------------------------------


def test_a_live_query_says_what_it_costs(open_db: Open) -> None:
    runtime = SeededRuntime(1)
    db = open_db(runtime=runtime)
    took = iter([0.25, 0.5])

    @rdb.query
    def slow(ctx: rdb.QueryCtx, team: str | None) -> int:
        runtime.advance(next(took))
        return len(ctx.db.query(Player).with_index("by_team", team=team).collect())

    db.run(join, name="ada")
    db.run(join, name="bob")
    handles = [db.live(slow, None), db.live(slow, team=None)]
    inspection = db.inspect()
    (query,) = inspection.live_queries
    assert query.name == slow.name
    assert (query.title, query.arguments) == (f"{slow.name}(team=None)", {"team": None})
    assert (query.watchers, query.runs, query.seconds_last, query.seconds_total) == (2, 1, 0.25, 0.25)
    assert (query.ranges, query.documents_read, query.is_stale) == (1, 2, False)
    handles[0].close()
    db.run(join, name="cleo")
    (query,) = inspection.live_queries
    assert (query.watchers, query.runs, query.seconds_last, query.seconds_total) == (1, 2, 0.5, 0.75)
    assert query.documents_read == 3


def test_queries_that_nobody_watches_come_last(
    db: rdb.Database, inspection: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.run(join, name="ada")
    db.run(games)
    handle = db.live("SELECT name\n FROM inspection_players WHERE points = ?", [0])
    inspected = inspection.documents("inspection_players")
    sql, query = inspection.live_queries
    assert (sql.title, sql.watchers, sql.documents_read) == (
        "SELECT name FROM inspection_players WHERE points = ?",
        1,
        None,
    )
    assert sql.arguments["parameters"] == [0]
    assert (query.title, query.watchers) == (f"{games.name}()", 0)
    assert len(handle.value) == len(inspected.value) == 1
    monkeypatch.setattr(limits, "INSPECTED_QUERIES_MAX", 1)
    assert inspection.live_queries == [sql]


def test_a_stale_query_says_so(db: rdb.Database, inspection: Inspection) -> None:
    handle = db.live(players)
    commit_behind(db, "ada")
    assert [query.is_stale for query in inspection.live_queries] == [True]
    db.run(games)
    db.run(join, name="bob")
    assert inspection.live_queries[0].is_stale is False
    assert names(list(handle.value)) == ["ada", "bob"]


# --- commits and conflicts -------------------------------------------------------------------------------------------


def test_a_commit_says_who_did_what(db: rdb.Database, inspection: Inspection) -> None:
    @rdb.mutation
    def season(ctx: rdb.MutationCtx) -> None:
        for name in ("cleo", "dora"):
            join(ctx, name=name)
        win(ctx, "ada")
        leave(ctx, "bob")

    db.run(join, name="ada")
    db.run(join, name="bob")
    before = inspection.commits
    db.run(season)
    latest, *rest = inspection.commits
    changes = {"inspection_players": Changes(inserted=2, changed=1, deleted=1)}
    assert latest == CommitSummary(db.ts, season.name, changes, is_bulk=False, races_lost=0)
    assert rest == before
    assert [commit.ts for commit in inspection.commits] == [4, 3, 2, 1]
    assert (rest[-1].source, rest[-1].is_bulk) == ("a new schema", True)


def test_of_a_load_only_the_tables_are_known(db: rdb.Database, inspection: Inspection) -> None:
    db.load(Player, [{"name": "ada"}, {"name": "bob"}], progress=False)
    commit = inspection.commits[0]
    assert commit.is_bulk
    assert commit.tables == {"inspection_players": Changes(None, None, None)}
    assert inspection.tables[0].documents == 2


def test_only_so_many_commits_are_shown(
    db: rdb.Database, inspection: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INSPECTED_COMMITS_MAX", 2)
    for name in ("ada", "bob", "cleo"):
        db.run(join, name=name)
    assert [commit.ts for commit in inspection.commits] == [db.ts, db.ts - 1]


def test_a_lost_race_says_against_whom(db: rdb.Database, inspection: Inspection) -> None:
    has_read, may_go_on = threading.Event(), threading.Event()

    @rdb.mutation
    def slow_win(ctx: rdb.MutationCtx) -> None:
        found = ctx.db.query(Player).with_index("by_name", name="ada").unique()
        assert found is not None
        has_read.set()
        assert may_go_on.wait(PATIENCE_SECONDS)
        ctx.db.patch(found.id, points=found.points + 10)

    def overtake() -> None:
        assert has_read.wait(PATIENCE_SECONDS)
        db.run(win, "ada")
        may_go_on.set()

    db.run(join, name="ada")
    begun = db.ts
    run_in_threads([lambda: db.run(slow_win), overtake])
    (race,) = inspection.conflicts
    assert (race.source, race.begin_ts, race.retried_ts) == (slow_win.name, begun, db.ts)
    assert (race.winner, race.winner_ts) == (win.name, begun + 1)
    assert race.table == "inspection_players"
    assert race.index in ("by_id", "by_name")
    assert inspection.conflicts_total == 1
    assert [commit.races_lost for commit in inspection.commits[:2]] == [1, 0]


def test_a_race_that_is_given_up_has_no_commit(
    db: rdb.Database, inspection: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = db.run(join, name="ada")
    store = db._store
    for number in range(limits.LOST_RACES_MAX + 1):
        loser = store.begin(f"loser {number}")
        DatabaseWriter(store, loser).patch(id, points=number)
        db.run(win, "ada")
        with pytest.raises(ConflictError):
            store.committer.commit(loser)
    found = inspection.conflicts
    assert (found[0].source, found[0].index, found[0].retried_ts) == (f"loser {limits.LOST_RACES_MAX}", "by_id", None)
    assert (len(found), inspection.conflicts_total) == (limits.LOST_RACES_MAX, limits.LOST_RACES_MAX + 1)
    assert {commit.races_lost for commit in inspection.commits} == {0}


# --- being told ------------------------------------------------------------------------------------------------------


def test_a_listener_hears_when_there_is_something_new(db: rdb.Database, inspection: Inspection) -> None:
    heard: list[int] = []
    end = inspection.on_change(lambda: heard.append(inspection.ts))

    def is_told(do: Any) -> bool:
        heard.clear()
        do()
        return bool(heard)

    handle = db.live(players)
    assert is_told(lambda: db.run(join, name="ada"))
    assert heard[-1] == db.ts, "it is told when the news can be read"
    assert is_told(lambda: db.run(games))
    assert is_told(lambda: db.live(games))
    assert is_told(handle.close)
    assert is_told(lambda: run_in_threads([lambda: db.run(win, "ada")]))
    end()
    end()
    assert not is_told(lambda: db.run(win, "ada"))


def test_a_listener_that_raises_harms_nobody(
    db: rdb.Database, inspection: Inspection, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("broken widget")

    heard: list[bool] = []
    inspection.on_change(fail)
    inspection.on_change(lambda: heard.append(True))
    db.run(join, name="ada")
    assert heard
    assert "broken widget" in caplog.text


def test_closing_leaves_nothing_behind(db: rdb.Database) -> None:
    db.run(players)
    inspection = db.inspect()
    heard: list[bool] = []
    inspection.on_change(lambda: heard.append(True))
    handle = inspection.documents("inspection_players")
    inspection.close()
    inspection.close()
    heard.clear()
    db.run(join, name="ada")
    assert (heard, handle.is_closed) == ([], True)
    assert (db._scheduler.on_advanced, db._scheduler.cache.watched) == ([], {})
    inspection.on_change(lambda: heard.append(True))
    db.run(join, name="bob")
    assert heard


def test_an_inspection_that_nobody_has_any_more_leaves_nothing_behind(db: rdb.Database) -> None:
    class Widget:
        def __init__(self) -> None:
            self.inspection = db.inspect()
            self.inspection.on_change(self.hear)
            self.handle = self.inspection.documents("inspection_players")

        def hear(self) -> None:
            """Kept alive by its inspection, and by nothing else."""

    db.run(players)
    widget = Widget()
    db.run(join, name="ada")
    del widget
    gc.collect()
    db.run(join, name="bob")
    assert (db._scheduler.on_advanced, db._scheduler.cache.watched) == ([], {})


# --- when it may be asked --------------------------------------------------------------------------------------------


def test_looking_changes_nothing(db: rdb.Database, inspection: Inspection) -> None:
    db.run(join, name="ada")
    handle = db.live(players)
    before = (db.ts, handle.ts, len(inspection.commits), inspection.live_queries)
    for _ in range(2):
        assert len(inspection.tables) == len(inspection.documents("inspection_players").value) == 1
        assert repr(inspection)
        assert inspection._repr_html_()
    assert (db.ts, handle.ts, len(inspection.commits), inspection.live_queries) == before


def test_looking_waits_for_no_commit(db: rdb.Database, inspection: Inspection) -> None:
    db.run(join, name="ada")
    with db._store.committer.turn:
        run_in_threads([lambda: repr(inspection), lambda: inspection.documents("inspection_players")])


def test_functions_do_not_inspect(db: rdb.Database, inspection: Inspection) -> None:
    db.run(join, name="ada")
    looks = [db.inspect, lambda: inspection.tables, lambda: inspection.documents("inspection_players")]
    for number in range(len(looks)):
        with pytest.raises(FunctionError, match=r"db\.inspect.* was called inside a query or mutation"):
            db.run(rdb.query(lambda ctx, number: len([looks[number]()])), number)


def test_a_closed_store_is_not_inspected(db: rdb.Database) -> None:
    db.run(join, name="ada")
    inspection = db.inspect()
    db.close()
    with pytest.raises(StoreClosedError):
        db.inspect()
    with pytest.raises(StoreClosedError):
        _ = inspection.tables
    with pytest.raises(StoreClosedError):
        inspection.documents("inspection_players")
    assert "at ts 2" in repr(inspection)


# --- how it looks ----------------------------------------------------------------------------------------------------


def test_it_is_shown_as_tables(db: rdb.Database) -> None:
    handle = db.live(players, "<b>")
    db.run(join, name="ada")
    inspection = db.inspect()
    text, html = repr(inspection), inspection._repr_html_()
    assert text.startswith("Store in memory at ts 2, 0 races lost")
    for shown in ("inspection_players", players.name, join.name, "1 inserted", "by_name(name)"):
        assert shown in text
        assert shown in html
    assert "Lost races" not in text
    assert "&lt;b&gt;" in html
    assert "<b>'" not in html
    assert handle.value == []
