"""What every `Journal` must do, as tests that pytest runs on a subclass.

    class TestMyJournal(JournalConformance):
        def open_journal(self, path: Path) -> Journal:
            return MyJournal(path)

Needs pytest, which the package itself does not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from reactive_db.errors import StoreClosedError
from reactive_db.storage.commit import Commit, DocumentWrite, encode_commit
from reactive_db.storage.journal import Journal, SqliteJournal
from reactive_db.testing.threads import run_in_threads

_MANY = 1_000


class JournalConformance:
    """Subclass it, say how to open a journal, and give the class a name that pytest collects.

    Attributes:
        is_durable: whether a closed journal can be opened again with everything in it.
    """

    is_durable: ClassVar[bool] = True

    def open_journal(self, path: Path) -> Journal:
        """The journal that lives in `path`, a new one where there is nothing."""
        raise NotImplementedError

    def open_backup(self, path: Path) -> Journal:
        """The journal that another one's `backup` wrote to `path`."""
        return SqliteJournal(path)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "journal"

    @pytest.fixture
    def journal(self, path: Path) -> Iterator[Journal]:
        journal = self.open_journal(path)
        yield journal
        journal.close()

    def test_a_new_journal_is_empty(self, journal: Journal) -> None:
        assert journal.last_ts == 0
        assert list(journal.parts(0)) == []
        assert journal.verify() == []

    def test_parts_come_back_as_they_were_appended(self, journal: Journal) -> None:
        journal.append([(1, part(1))])
        journal.append([(2, part(2)), (3, part(3))])
        assert list(journal.parts(0)) == [(1, part(1)), (2, part(2)), (3, part(3))]
        assert journal.last_ts == 3

    def test_parts_after_a_timestamp_begin_with_the_next_commit(self, journal: Journal) -> None:
        journal.append([(ts, part(ts)) for ts in (1, 2, 3)])
        assert [ts for ts, _ in journal.parts(2)] == [3]
        assert list(journal.parts(3)) == []

    def test_the_parts_of_one_commit_keep_their_order(self, journal: Journal) -> None:
        parts = [(1, part(1, f"part {number}")) for number in range(300)]
        journal.append([*parts, (2, part(2))])
        assert list(journal.parts(0)) == [*parts, (2, part(2))]
        assert list(journal.parts(1)) == [(2, part(2))]

    def test_appending_nothing_changes_nothing(self, journal: Journal) -> None:
        journal.append([])
        journal.append([(1, part(1))])
        journal.append([])
        assert journal.last_ts == 1
        assert len(list(journal.parts(0))) == 1

    def test_large_and_many_parts_come_back_whole(self, journal: Journal) -> None:
        large = [(ts, part(ts, "x" * 3_000_000)) for ts in (1, 2, 3)]
        many = [(ts, part(ts)) for ts in range(4, _MANY)]
        journal.append(large)
        journal.append(many)
        assert list(journal.parts(0)) == large + many

    def test_trimming_forgets_the_oldest_commits_only(self, journal: Journal) -> None:
        journal.append([(ts, part(ts)) for ts in range(1, _MANY)])
        journal.trim(990)
        assert [ts for ts, _ in journal.parts(0)] == list(range(991, _MANY))
        assert journal.verify() == []

    def test_trimming_everything_keeps_the_last_timestamp(self, journal: Journal) -> None:
        journal.append([(ts, part(ts)) for ts in (1, 2, 3)])
        journal.trim(3)
        journal.trim(2)
        assert list(journal.parts(0)) == []
        assert journal.last_ts == 3
        journal.append([(4, part(4))])
        assert [ts for ts, _ in journal.parts(0)] == [4]
        assert journal.verify() == []

    def test_trimming_past_the_end_moves_the_last_timestamp(self, journal: Journal) -> None:
        journal.append([(1, part(1))])
        journal.trim(7)
        assert journal.last_ts == 7

    def test_verify_tells_what_is_missing(self, journal: Journal) -> None:
        journal.append([(1, part(1))])
        journal.append([(3, part(3))])
        (fault,) = journal.verify()
        assert "ts 3" in fault

    def test_verify_tells_what_belongs_elsewhere_or_nowhere(self, journal: Journal) -> None:
        journal.append([(1, part(2)), (2, b"\xc1 is no msgpack")])
        assert len(journal.verify()) == 2

    def test_a_closed_journal_refuses(self, journal: Journal) -> None:
        journal.append([(1, part(1))])
        journal.close()
        journal.close()
        for use in (
            lambda: journal.append([(2, part(2))]),
            lambda: list(journal.parts(0)),
            lambda: journal.trim(1),
            journal.verify,
        ):
            with pytest.raises(StoreClosedError):
                use()

    def test_a_closed_journal_can_be_opened_again(self, journal: Journal, path: Path) -> None:
        if not self.is_durable:
            pytest.skip("this journal ends when it is closed")
        journal.append([(ts, part(ts)) for ts in (1, 2, 3)])
        journal.trim(2)
        journal.close()
        reopened = self.open_journal(path)
        assert list(reopened.parts(0)) == [(3, part(3))]
        assert reopened.last_ts == 3
        reopened.trim(3)
        reopened.close()
        again = self.open_journal(path)
        assert again.last_ts == 3
        again.close()

    def test_appends_and_trims_from_several_threads_lose_nothing(self, journal: Journal) -> None:
        turn = threading.Lock()

        def append() -> None:
            for _ in range(50):
                with turn:
                    ts = journal.last_ts + 1
                    journal.append([(ts, part(ts))])

        def trim() -> None:
            for _ in range(50):
                journal.trim(max(journal.last_ts - 20, 0))

        run_in_threads([append] * 4 + [trim])
        journal.trim(180)
        assert list(journal.parts(0)) == [(ts, part(ts)) for ts in range(181, 201)]
        assert journal.verify() == []

    def test_a_backup_taken_in_use_is_a_whole_prefix(self, journal: Journal, tmp_path: Path) -> None:
        copies = [tmp_path / f"copy{number}" for number in range(3)]
        journal.append([(1, part(1)), (2, part(2))])
        journal.trim(1)

        def append() -> None:
            for ts in range(3, 100):
                journal.append([(ts, part(ts))])

        def backup() -> None:
            for copy in copies:
                journal.backup(copy)

        run_in_threads([append, backup])
        for copy in copies:
            copied = self.open_backup(copy)
            assert copied.verify() == []
            assert list(copied.parts(0)) == [(ts, part(ts)) for ts in range(2, copied.last_ts + 1)]
            copied.close()


def part(ts: int, text: str = "") -> bytes:
    """One encoded commit at `ts`."""
    write = DocumentWrite(10_001, "a" * 32, text.encode())
    ((_, encoded),) = encode_commit(Commit(ts, 1_700_000_000_000.0 + ts, "test", (write,)))
    return encoded
