"""`rdb.connect` and what it gives: which store a target means, one connection to each, SQL, and the end of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db.database import store_path
from reactive_db.errors import (
    NotAStoreError,
    SqlError,
    StoreClosedError,
    StoreCorruptError,
    StoreError,
    StoreFormatError,
    StoreLockedError,
)
from reactive_db.testing.runtime import SeededRuntime


class Page(rdb.Document, table="database_pages", indexes={"by_title": ["title"]}):
    title: str
    views: int = 0


@rdb.query
def titles(ctx: rdb.QueryCtx) -> list[str]:
    return [one.title for one in ctx.db.query(Page)]


@rdb.mutation
def add(ctx: rdb.MutationCtx, title: str) -> rdb.Id[Page]:
    return ctx.db.insert(Page(title))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Relative paths lead here, and whatever a test connects to is closed with it."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    for database in list(rdb.database._open.values()):
        database.close()


# --- which store a target means --------------------------------------------------------------------------------------


def test_nothing_means_a_store_in_memory_one_for_the_process() -> None:
    db = rdb.connect()
    assert db.path is None
    db.run(add, "a")
    assert rdb.connect() is db
    assert rdb.connect(None).run(titles) == ["a"]


@pytest.mark.parametrize("name", ["course", "my course", "2024", "größe", "course-1"])
def test_a_plain_name_means_a_directory_in_the_stores_folder(name: str, stores_folder: Path) -> None:
    with rdb.connect(name) as db:
        assert db.path == stores_folder / f"{name}.rdb"
        assert db.path.is_dir()


def test_without_a_stores_folder_it_is_in_the_users_data_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("REACTIVE_DB_HOME")
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *args, **kwargs: str(tmp_path / "data"))
    assert store_path("course") == tmp_path / "data" / "course.rdb"


def test_anything_like_a_path_means_that_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    here = tmp_path / "work"
    for target, path in {
        "./data/course.rdb": here / "data" / "course.rdb",
        "course.rdb": here / "course.rdb",
        "data/course": here / "data" / "course",
        "./course": here / "course",
        "~/course.rdb": tmp_path / "home" / "course.rdb",
        Path("course"): here / "course",
        tmp_path / "x" / ".." / "course.rdb": tmp_path / "course.rdb",
    }.items():
        assert store_path(target) == path  # type: ignore[arg-type]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with rdb.connect("./a/b/course.rdb") as db:
        assert db.path == tmp_path / "work" / "a" / "b" / "course.rdb"


@pytest.mark.parametrize("url", ["http://localhost:8888", "https://hub.example/services/db", "ws://x", "HTTP://X/"])
def test_a_url_is_refused_until_there_are_servers(url: str, in_a_folder_of_its_own: Path) -> None:
    with pytest.raises(
        NotAStoreError, match=r"is a URL; this version opens stores in its own process only\. Pass a name"
    ):
        rdb.connect(url)
    assert list(in_a_folder_of_its_own.iterdir()) == []


@pytest.mark.parametrize("target", ["", " ", ".", "..", "..."])
def test_what_names_nothing_is_refused(target: str, in_a_folder_of_its_own: Path, stores_folder: Path) -> None:
    with pytest.raises(NotAStoreError, match=r"names no store\. Pass a name such as `course`"):
        rdb.connect(target)
    assert list(in_a_folder_of_its_own.iterdir()) == []
    assert not stores_folder.exists()


@pytest.mark.parametrize("target", [3, b"course", ["course"], 1.5, object()])
def test_a_target_is_text_or_a_path(target: Any) -> None:
    with pytest.raises(TypeError):
        rdb.connect(target)


# --- one connection to each ------------------------------------------------------------------------------------------


def test_connecting_again_gives_the_same_connection(tmp_path: Path) -> None:
    db = rdb.connect("./course.rdb")
    for same in ("course.rdb", "./x/../course.rdb", tmp_path / "work" / "course.rdb"):
        assert rdb.connect(same) is db
    assert rdb.connect("./other.rdb") is not db


def test_a_closed_store_can_be_connected_to_again() -> None:
    db = rdb.connect("course")
    db.run(add, "a")
    db.close()
    again = rdb.connect("course")
    assert again is not db
    assert again.run(titles) == ["a"]
    with pytest.raises(StoreClosedError, match=r"course\.rdb cannot be used: it was closed\. Connect again"):
        db.run(titles)


def test_a_store_that_another_process_holds_is_refused_and_its_holder_named() -> None:
    hold = "import reactive_db as rdb, sys; db = rdb.connect('course'); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold]
    root = str(Path(__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root, "JPY_SESSION_NAME": "lecture.ipynb"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=root
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        says = rf"course\.rdb is open in process {holder.pid} on .*notebook 'lecture\.ipynb'.*Close it there"
        with pytest.raises(StoreLockedError, match=says):
            rdb.connect("course")
        holder.communicate("")
    assert rdb.connect("course").run(titles) == []


def test_the_first_connection_decides_the_limits() -> None:
    db = rdb.connect("course", limits=rdb.Limits(documents_read_max=1), runtime=SeededRuntime(0))
    assert rdb.connect("course", limits=rdb.Limits()) is db
    db.run(add, "a")
    db.run(add, "b")
    with pytest.raises(rdb.errors.LimitError):
        db.run(titles)


# --- what is no store ------------------------------------------------------------------------------------------------


def snapshot(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return {str(one.relative_to(path.parent)): one.read_bytes() for one in files}


def make_file(path: Path) -> None:
    path.write_text("mine")


def make_full_directory(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def make_newer_store(path: Path) -> None:
    path.mkdir()
    (path / "format.json").write_text(json.dumps({"format": 99}))
    (path / "journal.sqlite").write_bytes(b"from the future")


def make_broken_format(path: Path) -> None:
    path.mkdir()
    (path / "format.json").write_text("{")


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (make_file, NotAStoreError, "is a file, not a store. Choose another path"),
        (make_full_directory, NotAStoreError, "is a directory with something else in it, not a store. Choose another"),
        (make_newer_store, StoreFormatError, "has format 99; this version reads up to 1. Upgrade reactive_db"),
        (make_broken_format, NotAStoreError, "is not the format file of a store"),
    ],
)
def test_what_is_no_store_of_ours_is_refused_and_left_as_it_was(
    make: Any, error: type[StoreError], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "course.rdb"
    make(path)
    before = snapshot(path)
    for _ in range(2):
        with pytest.raises(error, match=says) as caught:
            rdb.connect(path)
        assert str(path) in str(caught.value)
    assert snapshot(path) == before


def test_a_damaged_part_is_named_and_can_be_put_back(tmp_path: Path) -> None:
    path = tmp_path / "course.rdb"
    with rdb.connect(path) as db:
        db.run(add, "a")
    columns = path / "columns.duckdb"
    kept = columns.read_bytes()
    columns.write_bytes(b"garbage" * 1_000)
    with pytest.raises(StoreCorruptError, match=r"columns\.duckdb cannot be read"):
        rdb.connect(path)
    columns.write_bytes(kept)
    assert rdb.connect(path).run(titles) == ["a"]


def test_an_empty_directory_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "course.rdb"
    path.mkdir()
    assert rdb.connect(path).run(titles) == []


# --- the database itself ---------------------------------------------------------------------------------------------


def test_a_database_says_what_it_is(tmp_path: Path) -> None:
    with rdb.connect("./course.rdb") as db:
        db.run(add, "a")
        assert repr(db) == f"<Database {tmp_path / 'work' / 'course.rdb'}, ts {db.ts}>"
    assert repr(db) == f"<Database {tmp_path / 'work' / 'course.rdb'}, closed>"
    assert "in memory" in repr(rdb.connect())


def test_everything_is_there_after_a_restart() -> None:
    with rdb.connect("course") as db:
        id = db.run(add, "a")
        db.load(Page, [{"title": "b"}], progress=False)
        ts = db.ts
    with rdb.connect("course") as db:
        assert db.run(titles) == ["a", "b"]
        assert db.ts == ts
        assert db.run(rdb.query(lambda ctx: ctx.db.get(id).title)) == "a"  # type: ignore[union-attr]


def test_closing_twice_is_closing_once() -> None:
    db = rdb.connect("course")
    db.close()
    db.close()
    assert db.is_closed


@pytest.mark.parametrize(
    "use",
    [
        lambda db: db.run(titles),
        lambda db: db.run(add, "b"),
        lambda db: db.live(titles),
        lambda db: db.live("SELECT 1"),
        lambda db: db.sql("SELECT 1"),
        lambda db: db.load(Page, [], progress=False),
        lambda db: db.backup("copy.rdb"),
    ],
)
def test_a_closed_database_cannot_be_used(use: Any, in_a_folder_of_its_own: Path) -> None:
    db = rdb.connect("course")
    db.run(add, "a")
    db.close()
    with pytest.raises(StoreClosedError, match=r"it was closed\. Connect again"):
        use(db)
    assert list(in_a_folder_of_its_own.iterdir()) == []


def test_a_backup_is_a_store_of_its_own(tmp_path: Path) -> None:
    db = rdb.connect("course")
    db.run(add, "a")
    db.backup("copy.rdb")
    db.run(add, "b")
    assert rdb.connect("./copy.rdb").run(titles) == ["a"]
    assert db.run(titles) == ["a", "b"]
    with pytest.raises(StoreError, match=r"exists already\. Choose a path where there is nothing yet"):
        db.backup("copy.rdb")


# --- SQL -------------------------------------------------------------------------------------------------------------


def test_sql_sees_every_commit_before_it(db: rdb.Database) -> None:
    for at in range(3):
        db.run(add, str(at))
        assert db.sql("SELECT count(*) FROM database_pages").fetchone() == (at + 1,)
    found = db.sql("SELECT title FROM database_pages WHERE title > ? ORDER BY title DESC", ["0"])
    assert (found.fetchall(), found.columns, found.ts) == ([("2",), ("1",)], ["title"], db.ts)
    assert db.sql("SELECT title FROM Database_Pages WHERE title = $it", {"it": "1"}).rows() == [{"title": "1"}]


def test_a_table_can_be_asked_before_it_was_ever_used(db: rdb.Database) -> None:
    found = db.sql("SELECT * FROM database_pages")
    assert (found.columns, len(found)) == (["_id", "_creation_time", "title", "views"], 0)


def test_a_class_that_is_not_mentioned_is_not_looked_at(db: rdb.Database) -> None:
    """A word inside another is no mention, and somebody else's broken class breaks nothing."""

    class Broken(rdb.Document, table="pages"):
        it: NoSuchClass  # type: ignore[name-defined]  # noqa: F821

    assert len(db.sql("SELECT * FROM database_pages")) == 0
    with pytest.raises(rdb.errors.SchemaError, match="NoSuchClass"):
        db.sql("SELECT * FROM pages")

    class Mended(rdb.Document, table="pages"):
        it: int

    assert len(db.sql("SELECT it FROM pages")) == 0


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("INSERT INTO database_pages (title) VALUES ('x')", "INSERT is not allowed here: SQL only reads"),
        ("UPDATE database_pages SET views = 1", "UPDATE is not allowed here"),
        ("DELETE FROM database_pages", "DELETE is not allowed here"),
        ("DROP VIEW database_pages", "DROP is not allowed here"),
        ("CREATE TABLE mine (a INT)", "CREATE is not allowed here"),
        ("ATTACH 'x.db'", "ATTACH is not allowed here"),
        ("COPY database_pages TO 'pages.csv'", "is not allowed here"),
        ("SET threads = 1", "SET is not allowed here"),
        ("BEGIN", "TRANSACTION is not allowed here"),
        ("EXPLAIN ANALYZE DELETE FROM database_pages", "DELETE is not allowed here"),
        ("SELECT 1; DELETE FROM database_pages", "expected one statement, got 2"),
        ("", "expected one statement, got 0"),
        ("SELEKT 1", "syntax error"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT nothing FROM database_pages", "nothing"),
        ("SELECT ?", "parameter"),
        ("SELECT title::INT FROM database_pages", "Could not convert|Conversion"),
    ],
)
def test_sql_that_cannot_be_is_refused_and_changes_nothing(
    statement: str, says: str, db: rdb.Database, in_a_folder_of_its_own: Path
) -> None:
    db.run(add, "a")
    with pytest.raises(SqlError, match=says) as caught:
        db.sql(statement)
    assert caught.value.code == "invalid-sql"
    assert db.sql("SELECT title, views FROM database_pages").fetchall() == [("a", 0)]
    assert db.run(titles) == ["a"]
    assert list(in_a_folder_of_its_own.iterdir()) == []


def test_a_result_comes_in_every_form(db: rdb.Database) -> None:
    db.run(add, "a")
    found = db.sql("SELECT title, views FROM database_pages")
    assert found.df().to_dict("records") == found.pl().to_dicts() == found.arrow().to_pylist() == found.rows()
    assert found.relation().filter("views = 0").fetchall() == list(found) == [("a", 0)]
    assert db.sql("SELECT 1 WHERE false").fetchone() is None
