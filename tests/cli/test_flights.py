"""The flights as documents, and the board on them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import reactive_db as rdb
from reactive_db.cli.airport import DATE, BusyAirport
from reactive_db.cli.board import Board
from reactive_db.cli.flights import (
    AIRPORTS,
    BOARD_ROWS,
    GATES,
    Departure,
    board,
    cancel,
    data_folder,
    delay,
    departures,
    flights_of_day,
    leave,
    load_missing,
    move,
    open_day,
)
from reactive_db.testing.runtime import SeededRuntime
from tests.cli.conftest import FLIGHTS

DAY = ("JFK", DATE.month, DATE.day)


@pytest.fixture
def db(tmp_path: Path, flights_folder: Path) -> Iterator[rdb.Database]:
    with rdb.connect(tmp_path / "flights.rdb") as db:
        load_missing(db, flights_folder, progress=False)
        yield db


def rows(db: rdb.Database) -> list[Departure]:
    return db.run(departures, *DAY)


def test_every_table_is_loaded_once(db: rdb.Database, flights_folder: Path) -> None:
    assert load_missing(db, flights_folder, progress=False) == 0
    counts = db.sql(
        "SELECT (SELECT count(*) FROM flights), (SELECT count(*) FROM weather), (SELECT count(*) FROM planes), "
        "(SELECT count(*) FROM airports), (SELECT count(*) FROM airlines)"
    )
    assert counts.fetchall() == [(FLIGHTS, 1, 2, 2, 1)]


def test_gaps_become_none_and_times_have_a_zone(db: rdb.Database) -> None:
    first = db.sql("SELECT dep_time, tailnum, time_hour, status FROM flights ORDER BY sched_dep_time LIMIT 1")
    assert first.fetchall() == [(None, None, datetime(2013, 7, 15, 10, tzinfo=UTC), "on time")]
    assert db.sql("SELECT wind_dir, wind_gust, temp FROM weather").fetchall() == [(None, None, 80.1)]
    assert db.sql("SELECT year FROM planes ORDER BY tailnum").fetchall() == [(2004,), (None,)]


def test_the_board_names_what_it_can(db: rdb.Database) -> None:
    board = rows(db)
    assert len(board) == BOARD_ROWS
    assert [(row.time, row.flight, row.airline, row.to) for row in board[:3]] == [
        ("06:00", "B6 0", "JetBlue Airways", "Los Angeles Intl"),
        ("06:10", "B6 1", "JetBlue Airways", "Logan"),
        ("06:20", "B6 2", "JetBlue Airways", "XYZ"),
    ]


def test_what_happens_to_a_flight_shows(db: rdb.Database) -> None:
    assert db.run(open_day, *DAY) == FLIGHTS
    first, second, third, fourth, *_ = rows(db)
    assert first.gate == GATES[0]
    db.run(delay, first.id, 50)
    db.run(delay, first.id, 25)
    db.run(cancel, second.id)
    db.run(delay, second.id, 5)
    db.run(move, third.id, "D9")
    db.run(board, fourth.id)
    assert [(row.status, row.gate, row.expected) for row in rows(db)[:4]] == [
        ("delayed", GATES[0], "07:15"),
        ("cancelled", "", ""),
        ("on time", "D9", ""),
        ("boarding", GATES[3], ""),
    ]
    db.run(leave, second.id)
    db.run(leave, fourth.id)
    assert [row.id for row in rows(db)[:2]] == [first.id, third.id]
    assert db.sql("SELECT status, count(*) FROM flights WHERE has_left GROUP BY ALL ORDER BY ALL").fetchall() == [
        ("cancelled", 1),
        ("departed", 1),
    ]


def test_opening_the_day_begins_it_again(db: rdb.Database) -> None:
    before = rows(db)
    for id in db.run(flights_of_day, *DAY):
        db.run(leave, id)
    assert rows(db) == []
    db.run(open_day, *DAY)
    assert [row.id for row in rows(db)] == [row.id for row in before]


def test_a_busy_airport_goes_on_until_every_flight_has_left(db: rdb.Database) -> None:
    busy = BusyAirport(db, "JFK", SeededRuntime(3))
    changes = 0
    while busy.change():
        changes += 1
        assert busy.board.value == rows(db)
        assert changes < 2_000
    assert busy.flights == FLIGHTS
    assert rows(db) == []
    assert len(busy.times.durable) == changes
    assert busy.hurry(1.0) == 0.0


def test_the_drawn_board_lights_up_what_changed(db: rdb.Database) -> None:
    runtime = SeededRuntime(1)
    busy = BusyAirport(db, "JFK", runtime)
    drawn = Board(busy.board, "Departures", runtime)
    assert glowing(drawn) == []
    second = busy.board.value[1]
    db.run(delay, second.id, 10)
    assert glowing(drawn) == [1]
    runtime.advance(0.5)
    assert glowing(drawn) == [1]
    runtime.advance(1.0)
    assert glowing(drawn) == []


def glowing(board: Board) -> list[int]:
    table = board.draw().renderables[0]
    return [at for at, row in enumerate(table.rows) if row.style]  # type: ignore[union-attr]


def test_the_real_files_are_where_we_look() -> None:
    folder = data_folder()
    assert folder is not None
    assert {file.name for file in folder.iterdir()} >= {"flights.csv.zip", "weather.csv", "planes.csv"}
    assert "JFK" in AIRPORTS
