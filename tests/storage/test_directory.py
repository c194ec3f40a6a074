"""The store directory: one process at a time, named to the others, and no harm to what is not a store."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from reactive_db.errors import NotAStoreError, StoreError, StoreFormatError, StoreLockedError
from reactive_db.storage.directory import FORMAT, StoreDirectory
from tests.storage.conftest import StartScript


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "course.rdb"


def content(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_new_directory_is_a_store(path: Path) -> None:
    directory = StoreDirectory.open(path / "with" / "parents")
    assert json.loads((directory.path / "format.json").read_text()) == {"format": FORMAT}
    assert directory.journal == directory.path / "journal.sqlite"
    assert directory.columns == directory.path / "columns.duckdb"
    directory.release()


def test_a_released_directory_can_be_opened_again(path: Path) -> None:
    directory = StoreDirectory.open(path)
    directory.release()
    directory.release()
    again = StoreDirectory.open(path)
    directory.release()  # of what it no longer holds
    with pytest.raises(StoreLockedError):
        StoreDirectory.open(path)
    again.release()
    assert not (path / "holder.json").exists()


def test_an_empty_directory_becomes_a_store(path: Path) -> None:
    path.mkdir()
    StoreDirectory.open(path).release()
    assert (path / "format.json").exists()


def test_what_a_process_left_that_died_while_creating_becomes_a_store(path: Path) -> None:
    path.mkdir()
    for name in ("lock", "holder.json", "format.json.new"):
        (path / name).write_bytes(b"")
    StoreDirectory.open(path).release()
    assert json.loads((path / "format.json").read_text()) == {"format": FORMAT}


def test_another_thread_may_release(path: Path) -> None:
    directory = StoreDirectory.open(path)
    thread = threading.Thread(target=directory.release)
    thread.start()
    thread.join()
    StoreDirectory.open(path).release()


# --- locks -----------------------------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from reactive_db.storage.directory import StoreDirectory
sys.argv = ["/somewhere/grading.py"]
directory = StoreDirectory.open(Path({path!r}))
print("ready", flush=True)
sys.stdin.read()
"""


def test_another_process_is_named(path: Path, start_script: StartScript, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "course/week 1.ipynb")
    process = start_script(HOLD.format(path=str(path)))
    before = content(path)
    with pytest.raises(StoreLockedError) as refused:
        StoreDirectory.open(path)
    message = str(refused.value)
    assert f"process {process.pid} on {os.uname().nodename}" in message
    assert "grading.py, notebook 'course/week 1.ipynb'" in message
    assert "Close it there" in message
    assert content(path) == before
    process.kill()
    process.communicate()
    # What a killed process leaves does not keep others out.
    StoreDirectory.open(path).release()


def test_this_process_is_named_too(path: Path) -> None:
    directory = StoreDirectory.open(path)
    with pytest.raises(StoreLockedError, match="this very process"):
        StoreDirectory.open(path)
    directory.release()


def test_a_holder_that_cannot_be_read_is_another_process(path: Path) -> None:
    directory = StoreDirectory.open(path)
    (path / "holder.json").write_text("{")
    with pytest.raises(StoreLockedError, match="another process"):
        StoreDirectory.open(path)
    directory.release()


# --- what is no store of ours ----------------------------------------------------------------------------------------


def test_a_file_is_no_store(path: Path) -> None:
    path.write_text("data")
    with pytest.raises(NotAStoreError, match="is a file"):
        StoreDirectory.open(path)
    assert path.read_text() == "data"


@pytest.mark.parametrize("name", ["thesis.docx", "journal.sqlite", "lock.txt"])
def test_a_directory_with_something_else_is_no_store(path: Path, name: str) -> None:
    path.mkdir()
    (path / name).write_text("precious")
    with pytest.raises(NotAStoreError, match="not a store"):
        StoreDirectory.open(path)
    assert content(path) == {name: b"precious"}


def test_a_newer_format_is_refused(path: Path) -> None:
    StoreDirectory.open(path).release()
    (path / "format.json").write_text(json.dumps({"format": FORMAT + 1, "later": "field"}))
    before = content(path)
    with pytest.raises(StoreFormatError, match=rf"format {FORMAT + 1}.*Upgrade reactive_db"):
        StoreDirectory.open(path)
    assert content(path) == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "one"}', '{"other": 1}', "\xff"])
def test_a_format_file_of_something_else_is_refused(path: Path, text: str) -> None:
    path.mkdir()
    (path / "format.json").write_text(text)
    with pytest.raises(NotAStoreError, match="not the format file"):
        StoreDirectory.open(path)
    assert content(path) == {"format.json": text.encode()}


def test_what_must_be_new_must_not_exist(path: Path) -> None:
    directory = StoreDirectory.open(path, must_be_new=True)
    directory.columns.touch()
    with pytest.raises(NotAStoreError):
        StoreDirectory.open(path)
    directory.declare()
    directory.release()
    with pytest.raises(StoreError, match="exists already"):
        StoreDirectory.open(path, must_be_new=True)


def test_a_path_that_the_disk_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot open the store"):
        StoreDirectory.open(tmp_path / "file" / "course.rdb")
