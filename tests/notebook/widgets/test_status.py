"""`db.status` and `db.pending`, and `Status`, the badge that shows them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import reactive_db as rdb
from reactive_db.errors import StoreError
from reactive_db.notebook.widgets import Status
from tests.conftest import Open
from tests.notebook.widgets.conftest import Sent


class Item(rdb.Document, table="status_items"):
    name: str


@rdb.mutation
def add(ctx: rdb.MutationCtx, name: str = "x") -> None:
    ctx.db.insert(Item(name))


class HeldJournal:
    """Makes appends to the journal of a database wait, or fail."""

    def __init__(self, db: rdb.Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waits = threading.Event()
        self.release = threading.Event()
        self.error: Exception | None = None
        self._append = db._store.journal.append
        monkeypatch.setattr(db._store.journal, "append", self._held)

    def _held(self, parts: list[bytes]) -> None:
        self.waits.set()
        self.release.wait()
        if self.error is not None:
            raise self.error
        self._append(parts)  # type: ignore[arg-type]


def test_a_commit_on_its_way_is_pending(db: rdb.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.run(add)
    assert (db.status, db.pending) == ("synced", 0)
    journal = HeldJournal(db, monkeypatch)
    thread = threading.Thread(target=db.run, args=(add,))
    thread.start()
    journal.waits.wait()
    assert (db.status, db.pending) == ("syncing", 1)
    journal.release.set()
    thread.join()
    assert (db.status, db.pending) == ("synced", 0)


def test_a_closed_or_failed_store_is_offline(open_db: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, failed = open_db(), open_db()
    closed.close()
    assert closed.status == "offline"
    failed.run(add)
    journal = HeldJournal(failed, monkeypatch)
    journal.error = OSError("no disk")
    journal.release.set()
    with pytest.raises(OSError, match="no disk"):
        failed.run(add)
    assert (failed.status, failed.pending) == ("offline", 0)


def test_the_badge_says_which_store_and_how_far(open_db: Open, sent: Sent, tmp_path: Path) -> None:
    db = open_db(tmp_path / "course.rdb")
    db.run(add)
    badge = Status(db)
    assert badge.static_bundle()["text/plain"] == f"course · ts {db.ts} · synced"
    whole = sent.hello(badge)
    assert (whole["name"], whole["ts"], whole["status"]) == ("course", f"ts {db.ts}", "synced")


def test_the_badge_follows_commits(db: rdb.Database, sent: Sent) -> None:
    db.run(add)
    sent.hello(Status(db))
    before = db.ts
    for _ in range(10):
        db.run(add)
    (change,) = sent.pushed()
    assert (change["ts"], change["text"]) == (f"ts {before + 10}", "synced")


def test_the_badge_counts_what_is_pending(db: rdb.Database, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    db.run(add)
    badge = Status(db)
    journal = HeldJournal(db, monkeypatch)
    thread = threading.Thread(target=db.run, args=(add,))
    thread.start()
    journal.waits.wait()
    whole = sent.hello(badge)
    assert (whole["status"], whole["text"]) == ("syncing", "syncing, 1 pending")
    journal.release.set()
    thread.join()
    assert sent.pushed()[-1]["text"] == "synced"


def test_the_badge_says_that_the_store_was_closed(db: rdb.Database, sent: Sent) -> None:
    sent.hello(Status(db))
    db.close()
    assert sent.pushed()[-1]["status"] == "offline"


def test_the_badge_says_that_the_store_has_failed(
    db: rdb.Database, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.run(add)
    sent.hello(Status(db))
    journal = HeldJournal(db, monkeypatch)
    journal.error = StoreError("no disk")
    journal.release.set()
    with pytest.raises(StoreError):
        db.run(add)
    assert sent.pushed()[-1]["status"] == "offline"


def test_a_closed_badge_leaves_nothing_at_the_store(db: rdb.Database, sent: Sent) -> None:
    Status(db).close()
    assert db._store.committer.on_settled == []


def test_a_listener_that_raises_harms_no_commit(db: rdb.Database, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise ValueError("mine")

    told = threading.Event()
    db.on_settled(broken)
    end = db.on_settled(told.set)
    db.run(add)
    assert told.is_set()
    assert "a listener raised" in caplog.text
    told.clear()
    end()
    db.run(add)
    assert not told.is_set()
