"""What has happened in a store since a server opened it: its latest commits and failures, and plain counters.

Theory of operation. Whoever does something adds to a few integers or appends to a bounded log; text and totals are
made when somebody looks. Who has looked is told once that something is different, and looks again at their own pace.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, deque
from typing import Final, Protocol

from reactive_db import limits
from reactive_db.engine.store import Store
from reactive_db.engine.write_log import LoggedCommit
from reactive_db.errors import ReactiveDBError, ServerError
from reactive_db.storage.tables import Write
from reactive_db.sync.shown import ChangeShown, CommitShown, FailureShown, SourceShown

LATENCIES: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram, in seconds."""

OTHERS: Final = "(other functions)"
"""Where functions are counted past `SOURCES_COUNTED_MAX`."""


class Looker(Protocol):
    """Who has looked."""

    def moved(self) -> None:
        """Something is different now; called on any thread, so it only takes note."""


class Latencies:
    """How long requests of one kind took: a count for each bound of `LATENCIES` and one beyond, and the sum."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCIES) + 1)
        self.seconds = 0.0


class Activity:
    """What has happened in one store.

    Responsibilities: counting, and bounded logs. Not: who may see them.

    Attributes:
        since: when the server opened the store, in milliseconds since the epoch.
        commits, failures: the latest, newest last; `commits_total` and `failures_total` count all.
        failed: how many requests failed, by kind and the error's code; lost races are among them.
        requests: how long requests took, by kind.
        transitions, bytes_out: what was sent to sessions.
    """

    def __init__(self, store: Store, records: int) -> None:
        """`records` is the number of the table of sessions, which says whose a commit is."""
        self.since = store.runtime.now()
        self.commits: deque[CommitShown] = deque(maxlen=limits.INSPECTED_COMMITS_MAX)
        self.commits_total = 0
        self.failures: deque[FailureShown] = deque(maxlen=limits.FAILURES_KEPT_MAX)
        self.failures_total = 0
        self.failed: Counter[tuple[str, str]] = Counter()
        self.requests: dict[str, Latencies] = {}
        self.transitions = 0
        self.bytes_out = 0
        self._store = store
        self._records = records
        self._sources: dict[str, _Source] = {}
        self._lookers: dict[Looker, None] = {}
        self._lock = threading.Lock()
        store.committer.listeners.append(self._on_commit)
        store.committer.on_settled.append(self.stir)

    def close(self) -> None:
        """Hear of no commit any more."""
        self._store.committer.listeners.remove(self._on_commit)
        self._store.committer.on_settled.remove(self.stir)

    # --- what happens -------------------------------------------------------------------------------------------------

    def answered(self, kind: str, seconds: float) -> None:
        """A request was answered, or refused."""
        with self._lock:
            found = self.requests.get(kind)
            if found is None:
                found = self.requests[kind] = Latencies()
            found.counts[bisect_left(LATENCIES, seconds)] += 1
            found.seconds += seconds

    def sent(self, size: int, is_transition: bool) -> None:
        """A frame went to a session."""
        with self._lock:
            self.bytes_out += size
            self.transitions += is_transition

    def lost(self, source: str, code: str) -> None:
        """A commit of a session lost its race; it is no failure, for the function runs again."""
        with self._lock:
            self.failed["commit", code] += 1
            self._source(source).note(self._store.runtime.now(), lost=1)

    def refused(self, user: str, kind: str, error: Exception) -> None:
        """A request failed; an error that is not ours is told more plainly here than to the other side."""
        code = error.code if isinstance(error, ReactiveDBError) else ServerError.code
        message = error.message if isinstance(error, ReactiveDBError) else f"{type(error).__name__}: {error}"
        said = message[: limits.FAILURE_CHARACTERS_MAX]
        with self._lock:
            self.failures.append(FailureShown(self._store.runtime.now(), user, kind, code, said))
            self.failures_total += 1
            self.failed[kind, code] += 1

    def _on_commit(self, commit: LoggedCommit) -> None:
        # The leader of a flush calls this, and others wait for it: no more than a loop.
        now, user, changes = self._store.runtime.now(), "", []
        for number, (schema, writes) in commit.writes.items():
            if number != self._records:
                changes.append(_change(schema.name, writes))
            elif writes:  # a session's commit writes its record, too
                user = getattr(writes[0].new, "user", "")
        with self._lock:
            self.commits.append(CommitShown(commit.ts, now, commit.source, user, changes))
            self.commits_total += 1
            self._source(commit.source).note(now, commits=1)

    def _source(self, name: str) -> _Source:
        found = self._sources.get(name)
        if found is None:
            name = name if len(self._sources) < limits.SOURCES_COUNTED_MAX else OTHERS
            found = self._sources.setdefault(name, _Source())
        return found

    # --- who looks ----------------------------------------------------------------------------------------------------

    def sources(self) -> list[SourceShown]:
        """Every function that committed or lost a race, the busiest first."""
        with self._lock:
            found = [SourceShown(name, one.commits, one.lost, one.last) for name, one in self._sources.items()]
        return sorted(found, key=lambda one: (-one.commits, -one.races_lost, one.name))

    def look(self, looker: Looker) -> None:
        """Tell `looker` once, when something is different."""
        with self._lock:
            self._lookers[looker] = None

    def look_away(self, looker: Looker) -> None:
        """Do not tell `looker`."""
        with self._lock:
            self._lookers.pop(looker, None)

    def stir(self) -> None:
        """Something is different: tell those who look."""
        if not self._lookers:
            return
        with self._lock:
            told, self._lookers = self._lookers, {}
        for looker in told:
            looker.moved()


class _Source:
    """What one function did."""

    __slots__ = ("commits", "last", "lost")

    def __init__(self) -> None:
        self.commits = self.lost = 0
        self.last = 0.0

    def note(self, now: float, *, commits: int = 0, lost: int = 0) -> None:
        self.commits += commits
        self.lost += lost
        self.last = now


def _change(table: str, writes: list[Write]) -> ChangeShown:
    """What a commit did to a table; of a bulk load, nothing is remembered but the table."""
    inserted = deleted = 0
    for write in writes:
        if write.new is None:
            deleted += 1
        elif write.old is None:
            inserted += 1
    return ChangeShown(table, inserted, len(writes) - inserted - deleted, deleted)
