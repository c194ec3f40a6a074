"""SQLite again, all writers behind one lock and one connection (W1 only).

Connections that wait for SQLite's own lock sleep and try again, which starves some of them; a lock in front is the
better way for one process, so it is shown beside the plain one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers import sqlite

PROMISE = sqlite.PROMISE + "; one connection behind one Python lock"
missing = sqlite.missing
version = sqlite.version


class Counters(sqlite.Counters):
    """W1; see `systems.Counters`."""

    def __init__(self, directory: Path, documents: int) -> None:
        super().__init__(directory, documents)
        self._lock = threading.Lock()
        self._increment = sqlite.incrementer(sqlite.connect(self._path))

    def writer(self) -> Callable[[int], object]:
        def increment(number: int) -> None:
            with self._lock:
                self._increment(number)

        return increment
