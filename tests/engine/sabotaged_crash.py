"""Runs a crash campaign on a store that is broken on purpose: the campaign must notice. Started by test_durable.py.

python tests/engine/sabotaged_crash.py trim-before-apply 40 1 /tmp    # name, cycles, seed, where the stores go
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reactive_db.engine import store
from reactive_db.storage.columns import Columns
from reactive_db.storage.commit import Commit, decode_commit, encode_commit
from reactive_db.storage.journal import SqliteJournal
from reactive_db.testing.crash import run_campaign

Parts = Sequence[tuple[int, bytes]]


def acknowledge_before_append() -> None:
    """A journal that says "done" and appends later."""
    append = SqliteJournal.append
    waiting: queue.SimpleQueue[tuple[SqliteJournal, Parts]] = queue.SimpleQueue()

    def append_later() -> None:
        while True:
            append(*waiting.get())

    threading.Thread(target=append_later, daemon=True).start()
    SqliteJournal.append = lambda self, commits: waiting.put((self, commits))  # type: ignore[method-assign]


def trim_before_apply() -> None:
    """A flusher that forgets commits before the columns hold them."""
    apply = Columns.apply

    def trim_first(self: Columns, commits: Sequence[Commit]) -> None:
        for opened in store._opened:
            opened.journal.trim(commits[-1].ts)
        apply(self, commits)

    Columns.apply = trim_first  # type: ignore[method-assign]


def append_in_two_steps() -> None:
    """A journal whose appends are not all or nothing."""
    append = SqliteJournal.append

    def append_halves(self: SqliteJournal, commits: Parts) -> None:
        if commits[0][0] == commits[-1][0]:
            ts, part = commits[0]
            commit = decode_commit(part)
            half = commit.writes[: len(commit.writes) // 2]
            append(self, encode_commit(Commit(ts, commit.time, commit.source, half)))
            threading.Event().wait(0.01)  # stay in the bad moment for longer
            self._connection.execute("DELETE FROM parts WHERE key >> 16 = ?", (ts,))
        append(self, commits)

    SqliteJournal.append = append_halves  # type: ignore[method-assign]


def forget_how_far() -> None:
    """Columns that do not keep `applied_ts` in the transaction that moves them: a replay applies commits twice.

    The moment in between is so short that the process has to kill itself there.
    """
    apply = Columns._apply
    countdown = iter(range(3, -1, -1))

    def apply_only(self: Columns, commits: Sequence[Commit]) -> None:
        before = self.applied_ts
        execute: Any = self._file.execute

        def skip(sql: str, parameters: list[Any] | None = None) -> Any:
            return [] if sql.startswith("UPDATE store.meta") else execute(sql, parameters)

        self._file.execute = skip  # type: ignore[method-assign]
        try:
            apply(self, commits)
        finally:
            self._file.execute = execute  # type: ignore[method-assign]
        if self.applied_ts > before:
            if next(countdown) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            execute("UPDATE store.meta SET applied_ts = ?", [self.applied_ts])

    Columns._apply = apply_only  # type: ignore[method-assign]


SABOTAGES: dict[str, Callable[[], None]] = {
    "acknowledge-before-append": acknowledge_before_append,
    "trim-before-apply": trim_before_apply,
    "append-in-two-steps": append_in_two_steps,
    "forget-how-far": forget_how_far,
}


if __name__ == "__main__":
    name, cycles, seed, directory = sys.argv[1:]
    sys.exit(run_campaign(int(cycles), int(seed), Path(directory), SABOTAGES[name]))
