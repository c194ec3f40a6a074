"""Snapshots: which timestamps are being read, so that nothing they can see is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from reactive_db.storage.tables import Write

WriteSet = Mapping[int, Mapping[str, Write]]
"""By table number and id, what becomes of documents."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What queries see: every commit up to `ts`, and over that what pending mutations write.

    Attributes:
        step: how often `over` has changed at this timestamp.
    """

    ts: int
    step: int = 0
    over: WriteSet = field(default_factory=dict)


class SnapshotPassed(BaseException):
    """What a function asks for cannot be seen at its snapshot any more; it must run again, on a newer one.

    That happens to SQL, when the columns have moved on, and to a table whose class was declared anew. No `Exception`,
    because a function must not catch it.
    """

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.source = source


class Unreachable(BaseException):
    """A function needs documents that are on a server, and there is no connection to it; it must run again later.

    No `Exception`, because a function must not catch it.
    """


class Snapshots:
    """Counts the live snapshots at each timestamp.

    `head` is the newest assigned timestamp: everything up to it is in the tables, not all of it durable yet.
    `published` is the newest one that is durable, and so may be shown.
    """

    def __init__(self, last_ts: int) -> None:
        self.head = last_ts
        self.published = last_ts
        self._live: dict[int, int] = {}
        self._lock = threading.Lock()

    def begin_at_head(self) -> int:
        """Open a snapshot of everything assigned; what it shows must not leave before it is published."""
        with self._lock:
            ts = self.head
            self._live[ts] = self._live.get(ts, 0) + 1
            return ts

    def begin_published(self) -> int:
        """Open a snapshot of everything published."""
        with self._lock:
            ts = self.published
            self._live[ts] = self._live.get(ts, 0) + 1
            return ts

    def begin_at(self, ts: int) -> None:
        """Open a snapshot at `ts`, for whoever knows that what it shows is still there."""
        with self._lock:
            self._live[ts] = self._live.get(ts, 0) + 1

    def end(self, ts: int) -> None:
        with self._lock:
            count = self._live[ts] - 1
            if count:
                self._live[ts] = count
            else:
                del self._live[ts]

    def oldest(self) -> int:
        """No snapshot, open or still to be opened, lies before this timestamp."""
        with self._lock:
            return min(self.published, *self._live) if self._live else self.published

    def __len__(self) -> int:
        return sum(self._live.values())
