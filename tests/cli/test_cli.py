"""The `reactive-db` command, run as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import reactive_db as rdb
from reactive_db.cli import main


class Note(rdb.Document, table="cli_notes"):
    text: str


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "notes.rdb"
    with rdb.connect(path) as db:
        db.load(Note, [{"text": "milk"}], progress=False)
    return path


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])

    assert result.exit_code == 0
    assert {"check", "demo"} <= set(result.output.split())


def test_check_finds_a_good_store_sound(store: Path) -> None:
    result = CliRunner().invoke(main, ["check", str(store)])

    assert result.exit_code == 0, result.output
    assert "The store is sound" in result.output


def test_check_says_what_is_damaged(store: Path) -> None:
    (store / "columns.duckdb").write_bytes(b"not a database" * 1_000)

    result = CliRunner().invoke(main, ["check", str(store)])

    assert result.exit_code == 1
    assert "columns" in result.output


def test_check_of_a_store_in_use_names_its_holder(store: Path) -> None:
    with rdb.connect(store):
        result = CliRunner().invoke(main, ["check", str(store)])

    assert result.exit_code == 1
    assert "check" not in result.output.splitlines()[-1].split(":")[0]


def test_demo_loads_every_flight_and_shows_the_board_reacting() -> None:
    result = CliRunner().invoke(main, ["demo", "--airport", "LGA", "--seconds", "1"])

    assert result.exit_code == 0, result.output
    assert "Departures from LGA" in result.output
    assert "durable" in result.output
