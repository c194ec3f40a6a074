"""The scheduler: runs stale queries again and tells their watchers, one consistent step after the other.

Theory of operation. `advance` is called by every thread that committed something. It runs all stale watched queries
at one timestamp, then sets what every watcher shows, and only then are watchers' observers told, in the order in
which things changed. So when `advance` returns, everything that is shown is right, even while another thread is still
busy telling; nobody waits for anybody's observers.

Re-entrancy, on one example: handles a and b watch counters; an observer of a runs a mutation that changes b. The
mutation commits and advances inside the observer: b shows the new value when it returns. The news about b is queued
behind what is being told, so an observer of b that was to hear about an older change hears that first. A mutation
that changes what its own observer observes goes round again, up to `OBSERVER_ROUNDS_MAX` times.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from reactive_db import limits
from reactive_db.engine.access import StoreAccess
from reactive_db.engine.snapshots import Snapshot, SnapshotPassed, Unreachable
from reactive_db.engine.write_log import LoggedCommit
from reactive_db.errors import LimitError
from reactive_db.interrupts import Holding, Uninterrupted
from reactive_db.reactive.live_query import Compute, Key, LiveQuery, Outcome, Watcher, isolated
from reactive_db.reactive.query_cache import QueryCache

_log = logging.getLogger(__name__)


class Scheduler:
    """Keeps every watched query right.

    Responsibilities: one run for all who ask, one timestamp for all who watch, observers in order. Not: knowing what
    a query is, or when a commit happens.

    Attributes:
        ts: what every watcher shows is right at this timestamp.
        is_in_touch: nothing that is shown goes out of date unnoticed.
        on_advanced: called on any thread when a query may have run, or other queries are watched; they must not raise.
    """

    def __init__(self, store: StoreAccess) -> None:
        self.ts = store.published_ts
        self.is_in_touch = True
        self.cache = QueryCache()
        self.on_advanced: list[Callable[[], None]] = []
        self._monotonic = store.runtime.monotonic
        self._store = store
        self._turn = threading.RLock()
        self._news: deque[tuple[int, Callable[[], None]]] = deque()
        self._teller = threading.Lock()
        self._round = threading.local()
        self._gone: deque[tuple[LiveQuery, int]] = deque()

    def invalidate(self, commit: LoggedCommit) -> None:
        """The Committer's listener."""
        self.cache.invalidate(commit)

    def value(self, key: Key, run: Compute) -> Any:
        """The value of a query now; a run that still holds is not repeated, one under way is waited for.

        What watchers show is not older when this returns. Raises what the query raised.
        """
        with Uninterrupted() as interrupts:
            query = self.cache.query(key, run, reads_columns=False)
            interrupts.acquire(query.lock)
            try:
                outcome = query.outcome
                if outcome is None or query.is_stale or outcome.is_volatile or outcome.error is not None:
                    outcome = self._run_now(query, interrupts)
            finally:
                query.lock.release()
        # Its own run may have made it stale: the first use of a class that was declared anew is a commit.
        if self.ts < outcome.ts or query.is_behind:
            self.advance()
        else:
            self._tell_advanced()
        if outcome.error is not None:
            raise outcome.error
        return isolated(outcome.value)

    def watch(self, key: Key, run: Compute, watcher: Watcher, token: int, *, reads_columns: bool) -> LiveQuery:
        """Keep `watcher` right from now on; it has been shown the present outcome when this returns.

        `token` names the watcher in `unwatch_later`.
        """
        self._sweep()
        with Holding(self._turn) as interrupts:
            query = self.cache.watch(key, run, reads_columns)
            try:
                if key in self.cache.stale:
                    with suppress(Unreachable):  # perhaps of another query
                        self._step(interrupts)
                query.shown = query.shown or query.outcome
                if query.shown is None:
                    raise Unreachable
            except BaseException:
                self.cache.unwatch(query)
                raise
            query.watchers[token] = weakref.ref(watcher)
            watcher.show(query.shown)
        self.advance()
        return query

    def unwatch_later(self, query: LiveQuery, token: int) -> None:
        """Forget a watcher soon; takes no lock, so a finalizer may call it anywhere."""
        self._gone.append((query, token))

    def unwatch(self, query: LiveQuery, token: int) -> None:
        """Forget a watcher now."""
        self.unwatch_later(query, token)
        self._sweep()
        self._tell_advanced()

    def advance(self) -> None:
        """Bring every watcher to the newest published timestamp, then tell their observers."""
        if self._gone:
            self._sweep()
        target = self._store.published_ts
        if self.ts < target or self.cache.stale:
            # Taken even if nothing is stale: another thread may be running what this thread's commit made stale.
            with Holding(self._turn) as interrupts, suppress(Unreachable):
                if self.cache.stale:
                    self._step(interrupts)
                self.ts = max(self.ts, target)
        self.tell()
        self._tell_advanced()

    def lose_touch(self) -> None:
        """The store is out of reach: nothing that is shown is kept right until `regain_touch`."""
        with Holding(self._turn):
            self.is_in_touch = False
            for query in list(self.cache.watched.values()):
                query.is_out_of_touch = True
                for tell in [watcher.lose_touch() for watcher in query.living_watchers()]:
                    if tell is not None:
                        self.queue_news(tell)
        self.tell()

    def regain_touch(self) -> None:
        """The store is there again: everything runs again, because nobody knows what has changed."""
        self.is_in_touch = True
        self.cache.invalidate_everything()
        self.advance()

    def redefine(self, name: str, run: Callable[[Key], Compute | None]) -> None:
        """A function was defined anew; its live queries move to the new one."""
        with Holding(self._turn):
            keys = [key for key in self.cache.watched if key[0] == name]
            runs = {key: compute for key in keys if (compute := run(key)) is not None}
            self.cache.invalidate_function(name, runs)
        self.advance()

    def redeclare(self, number: int | None) -> None:
        """The class of a table was declared anew; what reads the table, or failed, runs when something is next done.

        Not now: a function that names the class finds the new one only when its declaration is over.
        """
        self.cache.invalidate_table(number)

    def check_rounds(self) -> None:
        """Raises LimitError if the calling thread is too many rounds deep in observers that run mutations."""
        if getattr(self._round, "depth", 0) >= limits.OBSERVER_ROUNDS_MAX:
            raise LimitError(
                f"observers ran mutations that woke observers, {limits.OBSERVER_ROUNDS_MAX:,} rounds in a row "
                "(OBSERVER_ROUNDS_MAX). An observer probably changes what it observes; make it stop by a condition.",
                limit="OBSERVER_ROUNDS_MAX",
            )

    def queue_news(self, tell: Callable[[], None]) -> None:
        """Have `tell` called in its order by the next `tell`."""
        self._news.append((getattr(self._round, "depth", 0) + 1, tell))

    def tell(self) -> None:
        """Call everything that is queued, in order; if somebody is at it already, they will."""
        if not self._news:
            return
        with Uninterrupted() as interrupts:
            while self._news and self._teller.acquire(blocking=False):
                try:
                    while self._news:
                        self._round.depth, tell = self._news.popleft()
                        try:
                            interrupts.call(tell)
                        except Exception:
                            _log.exception("an observer raised; what it observes is not affected")
                finally:
                    self._round.depth = 0
                    self._teller.release()

    def _run_now(self, query: LiveQuery, interrupts: Uninterrupted) -> Outcome:
        while True:
            try:
                with self._store.snapshot(with_columns=query.reads_columns) as snapshot:
                    outcome = interrupts.call(partial(self._timed_run, query, snapshot, None))
                    self.cache.settle(query, outcome)
                    if outcome.error is not None:
                        query.outcome = None  # not kept: it is raised with its frames, and is never given out again
                return outcome
            except SnapshotPassed:
                query.reads_columns = True

    def _timed_run(self, query: LiveQuery, snapshot: Snapshot, page_end: str | None) -> Outcome:
        began = self._monotonic()
        outcome = query.run(snapshot, page_end)
        query.seconds_last = self._monotonic() - began
        return outcome

    def _step(self, interrupts: Uninterrupted) -> None:
        """Run what is stale at one timestamp and set what its watchers show; the caller has the turn."""
        while batch := self.cache.take_stale():
            try:
                with self._store.snapshot(with_columns=any(query.reads_columns for query in batch)) as snapshot:
                    self._run_batch(batch, snapshot, interrupts)
                return
            except SnapshotPassed as passed:
                # All of the batch runs once more, with the columns held still in case the function asks SQL.
                for query in batch:
                    query.reads_columns |= query.key[0] == passed.source
            finally:
                self.cache.put_back(batch)

    def _run_batch(self, batch: list[LiveQuery], snapshot: Snapshot, interrupts: Uninterrupted) -> None:
        """Run all of `batch`, then show all that changed: watchers never see one half of a commit.

        Raises:
            Unreachable: some need what is out of reach. If that is known, the others are shown with what pending
                mutations write; `ts` does not move.
        """
        outcomes: list[tuple[LiveQuery, Outcome]] = []
        for query in batch:
            end = None if query.shown is None else query.shown.page_end
            try:
                outcomes.append((query, interrupts.call(partial(self._timed_run, query, snapshot, end))))
            except Unreachable:
                if self.is_in_touch:
                    raise
        for query, outcome in outcomes:
            outcome.forget_frames()
            before = query.shown
            is_silent = before is not None and not query.is_out_of_touch and outcome.shows_same_as(before)
            query.is_out_of_touch = not self.is_in_touch
            query.shown = before.at(outcome) if before is not None and is_silent else outcome
            self.cache.settle(query, query.shown)
            if is_silent:
                continue
            for watcher in query.living_watchers():
                tell = watcher.show(outcome)
                if tell is not None:
                    self.queue_news(tell)
        if len(outcomes) < len(batch):
            raise Unreachable
        self.ts = max(self.ts, snapshot.ts)

    def _tell_advanced(self) -> None:
        for listener in tuple(self.on_advanced):
            listener()

    def _sweep(self) -> None:
        with Holding(self._turn):
            while self._gone:
                query, token = self._gone.popleft()
                query.watchers.pop(token, None)
                self.cache.unwatch(query)
