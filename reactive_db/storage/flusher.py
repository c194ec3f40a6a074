"""The flusher: follows the journal into the columns, in batches, in the background.

It sees commits only after they were published, applies them in order, and trims the journal behind itself. SQL waits
for it with `flush`, so SQL never sees less than its reader already knows.
"""

from __future__ import annotations

# pyarrow imports pandas when it first makes an array, and pandas this, which cannot be imported any more once the
# interpreter is ending; the last flush may come then.
import concurrent.futures.thread  # noqa: F401
import logging
import threading
from collections import deque
from collections.abc import Callable

from reactive_db import limits
from reactive_db.interrupts import Shielded
from reactive_db.storage.columns import Columns
from reactive_db.storage.commit import Commit
from reactive_db.storage.journal import Journal

_log = logging.getLogger(__name__)


class Flusher:
    """Moves published commits from memory to columns.

    Responsibilities: batch, apply, trim, hold back writers when it falls behind. Not: decide what a commit is,
    repeat a failed flush (a failed flush closes the way to the columns; the journal still has every commit).
    """

    def __init__(self, journal: Journal, columns: Columns, published: Callable[[], int]) -> None:
        self._published = published
        self._journal = journal
        self._columns = columns
        self._waiting: deque[Commit] = deque()
        self._writes_waiting = 0
        self._turn = threading.RLock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._follow, name="reactive_db-flusher", daemon=True)

    @property
    def turn(self) -> threading.RLock:
        """Held while the columns move; who holds it keeps them still."""
        return self._turn

    @property
    def has_failed(self) -> bool:
        """Whether the columns have stopped following."""
        return self._failure is not None

    def start(self) -> None:
        self._thread.start()

    def add(self, commit: Commit) -> None:
        """Take one published commit; commits come in timestamp order."""
        self._waiting.append(commit)
        self._writes_waiting += len(commit.writes)
        if not self._wake.is_set():
            self._wake.set()

    def is_behind(self) -> bool:
        """Whether writers should flush themselves before they go on."""
        return self._writes_waiting > limits.UNFLUSHED_WRITES_MAX

    def flush(self, through: int | None = None) -> None:
        """Bring the columns to everything published so far, or up to the timestamp `through`."""
        with Shielded(), self._turn:
            if self._failure is not None:
                raise self._failure
            through = self._published() if through is None else through
            batch: list[Commit] = []
            while self._waiting and self._waiting[0].ts <= through:
                batch.append(self._waiting.popleft())
            if not batch:
                return
            try:
                self._columns.apply(batch)
                self._journal.trim(batch[-1].ts)
            except BaseException as error:
                self._failure = error
                raise
            self._writes_waiting -= sum(len(commit.writes) for commit in batch)

    def close(self) -> None:
        """Flush what is left and join the thread."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        if self._failure is None:
            self.flush()

    def _follow(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            # Commits of half a second become one batch: 1,000 rows cost DuckDB twice as much as one.
            self._closing.wait(limits.FLUSH_INTERVAL_SECONDS)
            self._wake.clear()
            try:
                self.flush()
            except Exception:
                _log.exception("the columns stopped following the journal; SQL is refused until the store is reopened")
                return
