"""`verify` and `reactive-db check`: every kind of damage is named, with the part it is in, and nothing is changed."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path
from random import Random

import duckdb
import msgspec
import pytest
from click.testing import CliRunner

import reactive_db as rdb
from reactive_db.cli import main
from reactive_db.engine.check import FAULTS_SHOWN_MAX, verify
from reactive_db.errors import NotAStoreError, StoreLockedError
from reactive_db.storage.commit import Commit, DocumentWrite, encode_commit
from reactive_db.testing import crash_workload as workload
from tests.engine.conftest import STEPS, run_steps

PARTS = ["journal", "columns", "order", "tables", "documents", "history"]
PART_BITS = 16


@pytest.fixture(scope="module")
def sound_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store: everything is in the columns."""
    path = tmp_path_factory.mktemp("sound") / "sound.rdb"
    with workload.open_store(path) as db:
        db.run(workload.begin)
        run_steps(db, 1, STEPS)
    return path


@pytest.fixture
def store(sound_store: Path, path: Path) -> Path:
    return Path(shutil.copytree(sound_store, path))


def content(path: Path) -> dict[str, bytes]:
    """Of everything but what says who has the store open."""
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name not in ("lock", "holder.json")}


# --- sound stores ----------------------------------------------------------------------------------------------------


def test_a_closed_store_is_sound_and_stays_as_it_is(store: Path) -> None:
    before = content(store)
    told = []
    report = verify(store, told.append)
    assert report.faults == []
    assert report.is_sound
    assert [part.name for part in report.parts] == PARTS
    assert tuple(told) == report.parts
    facts = {part.name: part.facts for part in report.parts}
    assert facts["order"] == "0 commits wait for the columns"
    assert facts["tables"].startswith("4: crash_accounts, crash_entries")
    assert content(store) == before


def test_a_store_whose_process_died_is_sound_and_stays_as_it_is(copy: Path) -> None:
    before = content(copy)
    report = verify(copy)
    assert report.faults == []
    waiting = STEPS // 2 * workload.WRITERS
    assert (
        next(part.facts for part in report.parts if part.name == "order") == f"{waiting} commits wait for the columns"
    )
    assert content(copy) == before


def test_a_store_that_nobody_has_written_to_is_sound(path: Path) -> None:
    rdb.connect(path).close()
    assert verify(path).faults == []


@pytest.mark.parametrize("made", [[], ["journal.sqlite"], ["journal.sqlite", "columns.duckdb"]])
def test_a_store_whose_process_died_at_its_birth_is_sound(path: Path, made: list[str]) -> None:
    rdb.connect(path).close()
    for file in path.iterdir():
        if file.name != "format.json" and file.name not in made:
            file.unlink()
    assert verify(path).faults == []
    with workload.open_store(path) as db:
        db.run(workload.begin)


def test_the_history_may_begin_late(store: Path) -> None:
    in_columns(store, "DELETE FROM store.history WHERE ts <= 30")
    report = verify(store)
    assert report.faults == []
    assert "since ts 31" in report.parts[-1].facts


# --- damage ----------------------------------------------------------------------------------------------------------


def in_columns(path: Path, *statements: str) -> None:
    with duckdb.connect(str(path / "columns.duckdb")) as connection:
        for statement in statements:
            connection.execute(statement)


def in_journal(path: Path, statement: str, *parameters: object) -> None:
    connection = sqlite3.connect(path / "journal.sqlite", isolation_level=None)
    connection.execute(statement, parameters)
    connection.close()


def table(path: Path, name: str) -> str:
    with duckdb.connect(str(path / "columns.duckdb"), read_only=True) as connection:
        found = connection.execute("SELECT number FROM main._tables WHERE name = ?", [name]).fetchone()
    assert found is not None
    return f'store."t{found[0]}"'


IN_COLUMNS: dict[str, tuple[str, str]] = {
    "a document that cannot be read": ("UPDATE {notes} SET _doc = 'x'::BLOB", r"columns: .*cannot be read"),
    "documents that were swapped": (
        "UPDATE {notes} SET _doc = (SELECT min(_doc) FROM {notes})",
        "columns: .*says that it has another id",
    ),
    "a document that is there twice": (
        "INSERT INTO {notes} SELECT * FROM {notes} LIMIT 1",
        "columns: .*has document .* twice",
    ),
    "an id of another table": (
        "INSERT INTO {notes} SELECT n._rid, n._rid_low, a._id, n._creation_time, n.writer, n.number, n.tags, n.comment,"
        " a._doc FROM {notes} n, {accounts} a LIMIT 1",
        "documents: .*is an id of table number",
    ),
    "something that is no id": ("UPDATE {notes} SET _id = 'nobody'", "documents: 'nobody' .*is no id"),
    "a table that is gone": ("DROP TABLE {notes} CASCADE", "columns: .*cannot be read"),
    "a commit that the history lacks": ("DELETE FROM store.history WHERE ts = 50", "history: 1 commits .*are missing"),
    "a commit that came twice": (
        "INSERT INTO store.history SELECT * FROM store.history WHERE ts = 50",
        "history: .* writes are in it twice",
    ),
    "a history without its end": ("DELETE FROM store.history WHERE ts > 80", "history: it ends at ts 80"),
    "a document that came back": (
        """UPDATE store.history SET document = NULL WHERE "table" = 'crash_accounts'""",
        "history: .*should be deleted and is not",
    ),
    "a document that went": ("DELETE FROM {accounts}", "history: .*should be there and is not"),
    "a table that is defined twice": (
        "INSERT INTO store.t128 SELECT _rid + 1, _rid_low, 'x' || _id, * EXCLUDE (_rid, _rid_low, _id)"
        " FROM store.t128 LIMIT 1",
        "tables: .*is defined twice",
    ),
    "a definition that cannot be read": ("UPDATE store.t128 SET _doc = 'x'::BLOB", "columns: .*cannot be read"),
    "columns that think they are further": ("UPDATE store.meta SET applied_ts = applied_ts + 1", "history: it ends at"),
}


@pytest.mark.parametrize("damage", IN_COLUMNS)
def test_damage_in_the_columns_is_named(store: Path, damage: str) -> None:
    statement, fault = IN_COLUMNS[damage]
    in_columns(store, statement.format(notes=table(store, "crash_notes"), accounts=table(store, "crash_accounts")))
    before = content(store)
    assert_named(store, fault)
    assert content(store) == before


def assert_named(path: Path, fault: str) -> None:
    faults = verify(path).faults
    assert [one for one in faults if re.match(fault, one)], faults


def some_commit(path: Path, *writes: DocumentWrite) -> tuple[int, bytes]:
    """The key and the part of a commit right after the last one."""
    connection = sqlite3.connect(path / "journal.sqlite")
    ts = (connection.execute("SELECT max(key) FROM parts").fetchone()[0] >> PART_BITS) + 1
    connection.close()
    return ts << PART_BITS, encode_commit(Commit(ts, 0.0, "test", writes))[0][1]


IN_JOURNAL = {
    "a commit that cannot be read": (
        "UPDATE parts SET part = x'c1' WHERE key = (SELECT max(key) FROM parts)",
        "journal: part 0 of ts .* cannot be read",
    ),
    "a commit with another's number": (
        "UPDATE parts SET part = (SELECT max(part) FROM parts)",
        "journal: part 0 of ts .* says that it belongs to ts",
    ),
    "a commit that is gone": (
        "DELETE FROM parts WHERE key = (SELECT min(key) FROM parts) + 3 * 65536",
        "order: after ts .* comes ts .*; what is between them is lost",
    ),
    "the first commit that waits": (
        "DELETE FROM parts WHERE key = (SELECT min(key) FROM parts)",
        "order: after ts .* comes ts .*; what is between them is lost",
    ),
    "everything that waits": ("UPDATE trimmed SET through = 1000000", "order: .* but ts 1,000,000 was committed"),
}


@pytest.mark.parametrize("damage", IN_JOURNAL)
def test_damage_in_the_journal_is_named(copy: Path, damage: str) -> None:
    statement, fault = IN_JOURNAL[damage]
    in_journal(copy, statement)
    assert_named(copy, fault)


def test_writes_that_cannot_be_are_named(copy: Path) -> None:
    with duckdb.connect(str(copy / "columns.duckdb"), read_only=True) as connection:
        found = connection.execute("SELECT _id, number FROM main._tables ORDER BY name").fetchall()
    (accounts, _), _, (id, number), _ = found
    document = msgspec.msgpack.encode({"_id": "somebody else", "_creationTime": 0.0})
    writes = [
        DocumentWrite(9_999, id, None),
        DocumentWrite(number, id, document),
        DocumentWrite(number, id, b"x"),
        DocumentWrite(128, accounts + "?", b"x"),
        DocumentWrite(128, "nobody", None),
    ]
    in_journal(copy, "INSERT INTO parts VALUES (?, ?)", *some_commit(copy, *writes))
    for fault in (
        f"documents: '{id}' waits for table number 9999, which nothing defines",
        f"documents: '{id}' waits in the journal and is an id of table number 128",
        f"documents: '{id}' waits in the journal and says that it is 'somebody else'",
        f"documents: '{id}' waits in the journal and cannot be read",
        "documents: 'nobody' waits in the journal and is no id",
        rf"tables: definition '{accounts}\?' cannot be read",
    ):
        assert_named(copy, fault)


def test_every_flipped_byte_is_survived_and_what_is_found_is_a_fault(store: Path) -> None:
    columns = store / "columns.duckdb"
    good = columns.read_bytes()
    random = Random(1)
    found = 0
    for _ in range(12):
        bad = bytearray(good)
        for at in random.sample(range(3 * 4096, len(bad)), 50):
            bad[at] ^= 0xFF
        columns.write_bytes(bad)
        found += not verify(store).is_sound
    assert found > 6
    columns.write_bytes(good)
    assert verify(store).is_sound


def test_of_very_many_faults_some_are_shown(store: Path) -> None:
    in_columns(store, f"UPDATE {table(store, 'crash_entries')} SET _doc = 'x'::BLOB")
    part = verify(store).parts[1]
    assert len(part.faults) == FAULTS_SHOWN_MAX + 1
    assert re.fullmatch(r"and \d+ more\.", part.faults[-1])


# --- what is not looked at -------------------------------------------------------------------------------------------


def test_a_store_in_use_is_not_looked_at(path: Path) -> None:
    with rdb.connect(path):
        with pytest.raises(StoreLockedError, match="this very process"):
            verify(path)
        assert (path / "holder.json").exists()


@pytest.mark.parametrize("kind", ["nothing", "an empty directory"])
def test_nothing_is_no_store_and_stays_nothing(path: Path, kind: str) -> None:
    if kind == "an empty directory":
        path.mkdir()
    with pytest.raises(NotAStoreError, match="there is no store at"):
        verify(path)
    assert not path.exists() or not list(path.iterdir())


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_shows_every_part_and_a_verdict(store: Path) -> None:
    done = CliRunner().invoke(main, ["check", str(store)])
    assert done.exit_code == 0, done.output
    assert [line.split()[:2] for line in done.output.splitlines()[1:-1]] == [["ok", part] for part in PARTS]
    assert done.output.endswith("The store is sound.\n")


def test_the_command_names_the_damage_and_the_remedy(store: Path) -> None:
    in_columns(store, "DELETE FROM store.history WHERE ts = 50")
    done = CliRunner().invoke(main, ["check", str(store)])
    assert done.exit_code == 1
    assert "  damaged  history" in done.output
    assert "1 commits since ts 1 are missing" in done.output
    assert "the store is damaged (history)" in done.output
    assert "restore a backup" in done.output


def test_the_command_says_who_has_the_store(path: Path) -> None:
    with rdb.connect(path):
        done = CliRunner().invoke(main, ["check", str(path)])
    assert done.exit_code == 1
    assert "is open in this very process" in done.output


def test_the_command_takes_a_plain_name(stores_folder: Path) -> None:
    rdb.connect("course").close()
    done = CliRunner().invoke(main, ["check", "course"])
    assert done.exit_code == 0
    assert str(stores_folder / "course.rdb") in done.output
