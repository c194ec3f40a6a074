"""The query cache: which live queries exist, what they read, and which of them a commit made stale.

One query with the same arguments is one `LiveQuery`, however many handles watch it. Those that nobody watches stay
for the next caller, up to a limit, and are dropped rather than re-run when they go stale.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import replace
from itertools import chain, islice, takewhile
from operator import attrgetter

from reactive_db import limits
from reactive_db.engine.read_set import Space
from reactive_db.engine.write_log import LoggedCommit, overlap
from reactive_db.reactive.live_query import Compute, Key, LiveQuery, Outcome
from reactive_db.reactive.subscription_index import SubscriptionIndex


class QueryCache:
    """Finds queries by what they are and by what they read.

    Its lock is held for microseconds; no query runs under it, and no other lock is taken.
    """

    def __init__(self) -> None:
        self.watched: dict[Key, LiveQuery] = {}
        self.stale: dict[Key, LiveQuery] = {}
        """Watched queries that have to run again."""
        self._idle: OrderedDict[Key, LiveQuery] = OrderedDict()
        self._index: SubscriptionIndex[LiveQuery] = SubscriptionIndex()
        self._spaces: dict[int, dict[Space, int]] = {}
        self._readers: dict[int, dict[LiveQuery, None]] = {}
        self._recent: deque[LoggedCommit] = deque(maxlen=limits.WRITE_LOG_COMMITS_MAX)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.watched) + len(self._idle)

    @property
    def ranges(self) -> int:
        """How many key ranges are subscribed to."""
        return len(self._index)

    def queries(self, most: int) -> list[LiveQuery]:
        """Some of the queries there are, at most so many; those that are watched come first."""
        with self._lock:
            return list(islice(chain(self.watched.values(), self._idle.values()), most))

    def commits(self, most: int) -> list[LoggedCommit]:
        """The latest commits, newest first, at most so many."""
        with self._lock:
            return list(islice((commit for commit in reversed(self._recent) if not commit.step), most))

    def query(self, key: Key, run: Compute, reads_columns: bool) -> LiveQuery:
        """The one query with that key, made if need be."""
        with self._lock:
            return self._find(key, run, reads_columns)

    def watch(self, key: Key, run: Compute, reads_columns: bool) -> LiveQuery:
        """The one query with that key, which is kept right from now on."""
        with self._lock:
            query = self._find(key, run, reads_columns)
            self._idle.pop(key, None)
            self.watched[key] = query
            # One that was run apart from its watchers has to run with them before another joins.
            if query.is_behind:
                self.stale[key] = query
            return query

    def unwatch(self, query: LiveQuery) -> None:
        """Nobody watches `query` any more."""
        with self._lock:
            if self.watched.get(query.key) is query and not query.watchers:
                del self.watched[query.key]
                self.stale.pop(query.key, None)
                self._forget(query)

    def take_stale(self) -> list[LiveQuery]:
        """The watched queries that have to run again, oldest first; they are the caller's to run."""
        with self._lock:
            batch = sorted(self.stale.values(), key=attrgetter("number"))
            self.stale.clear()
            return batch

    def put_back(self, batch: list[LiveQuery]) -> None:
        """Those of `batch` that are not done, because an interrupt came before their turn, have to run after all."""
        with self._lock:
            self.stale.update({q.key: q for q in batch if q.is_behind and self.watched.get(q.key) is q})

    def settle(self, query: LiveQuery, outcome: Outcome) -> None:
        """Remember what a run of `query` gave, and notice a commit that has made it stale already."""
        with self._lock:
            query.outcome = outcome
            query.runs += 1
            query.seconds_total += query.seconds_last
            if not self._is_kept(query):
                # Dropped while it ran, and another one took its place: nobody would ever unsubscribe it.
                query.is_stale = True
                return
            self._register(query, outcome)
            seen = outcome.snapshot.ts, outcome.snapshot.step
            missed = takewhile(lambda commit: (commit.ts, commit.step) > seen, reversed(self._recent))
            query.is_stale = any(overlap(commit, outcome.reads) is not None for commit in missed)
            if query.is_stale and query.key in self.watched:
                self.stale[query.key] = query

    def invalidate(self, commit: LoggedCommit) -> None:
        """Mark what `commit` made stale; called once for every one, in the order of their timestamps and steps."""
        with self._lock:
            self._recent.append(commit)
            hit: set[LiveQuery] = set()
            for table in commit.writes:
                if commit.is_bulk:
                    hit.update(self._readers.get(table, ()))
                    continue
                for space in self._spaces.get(table, ()):
                    for key in commit.keys(space):
                        self._index.stab(space, key, hit)
            self._mark(hit)

    def invalidate_query(self, key: Key) -> None:
        """What one query shows has changed, and no commit says so."""
        with self._lock:
            self._mark({one for one in (self.watched.get(key), self._idle.get(key)) if one is not None})

    def invalidate_everything(self) -> None:
        """Whatever was found may be wrong."""
        with self._lock:
            self._mark({*self.watched.values(), *self._idle.values()})

    def invalidate_table(self, number: int | None) -> None:
        """The class of a table was declared anew: whatever read the table, or failed, runs again."""
        with self._lock:
            failed = {q for q in self.watched.values() if q.shown is not None and q.shown.error is not None}
            self._mark(failed.union(self._readers.get(number, ()) if number is not None else ()))

    def invalidate_function(self, name: str, run: dict[Key, Compute]) -> None:
        """A function was defined anew: its queries run again, by the functions in `run`."""
        with self._lock:
            hit = {query for query in [*self.watched.values(), *self._idle.values()] if query.key[0] == name}
            for query in hit:
                query.run = run.get(query.key, query.run)
                if query.shown is not None:
                    query.shown = replace(query.shown, page_end=None)  # the new function chooses its own page
            self._mark(hit)

    def _find(self, key: Key, run: Compute, reads_columns: bool) -> LiveQuery:
        found = self.watched.get(key) or self._idle.get(key)
        if found is None:
            found = self._idle[key] = LiveQuery(key, run, reads_columns)
        elif key in self._idle:
            self._idle.move_to_end(key)
        while len(self._idle) > limits.CACHED_QUERIES_MAX:
            self._forget(self._idle.popitem(last=False)[1])
        return found

    def _is_kept(self, query: LiveQuery) -> bool:
        """Whether `query` is the one of its key; one that was dropped is taken back if there is no other."""
        return (self.watched.get(query.key) or self._idle.setdefault(query.key, query)) is query

    def _mark(self, hit: set[LiveQuery]) -> None:
        for query in hit:
            query.is_stale = True
            if query.key in self.watched:
                self.stale[query.key] = query
            elif self._idle.pop(query.key, None) is not None:
                self._forget(query)

    def _register(self, query: LiveQuery, outcome: Outcome) -> None:
        before = query.registered
        if before is not None and before.is_same_as(outcome.reads):
            return
        self._forget(query)
        query.registered = outcome.reads
        for space, key_range in outcome.reads:
            spaces = self._spaces.setdefault(space[0], {})
            spaces[space] = spaces.get(space, 0) + 1
            self._index.add(space, key_range, query)
            self._readers.setdefault(space[0], {})[query] = None
        for table in outcome.reads.tables:
            self._readers.setdefault(table, {})[query] = None

    def _forget(self, query: LiveQuery) -> None:
        if query.registered is None:
            return
        for space, key_range in query.registered:
            self._index.remove(space, key_range, query)
            spaces = self._spaces[space[0]]
            spaces[space] -= 1
            if not spaces[space]:
                del spaces[space]
            self._readers[space[0]].pop(query, None)
        for table in query.registered.tables:
            self._readers[table].pop(query, None)
        query.registered = None
