"""The Committer: validate, append, publish. The one serial point of a store.

Theory of operation. A commit takes the *turn*, and in it: its read set is validated against every commit after its
snapshot, it gets the next timestamp, its writes enter the tables (where nobody reads at that timestamp yet), and it
joins the queue for the journal. Then, outside the turn, it waits for durability: whoever finds no flush under way
leads, that is, appends the whole queue to the journal in its own thread, publishes it and wakes its owners; the
others follow. Nothing is handed to another thread on the way (a hand-over costs 46 us a round trip, a flush 150).

Transactions that will write begin at the head, on commits that may not be durable yet. That is safe because the
journal's order is timestamp order: they can only become durable together with, or after, what they have read. What
such a transaction *shows*, a result or an error, waits until its snapshot is published.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from reactive_db import limits
from reactive_db.engine.lost_race import LostRace
from reactive_db.engine.snapshots import Snapshots
from reactive_db.engine.transaction import Transaction
from reactive_db.engine.write_log import Conflict, LoggedCommit, WriteLog
from reactive_db.errors import ConflictError, SchemaError, StoreClosedError, StoreError
from reactive_db.interrupts import Uninterrupted
from reactive_db.storage.commit import Commit, DocumentWrite, encode_commit
from reactive_db.storage.flusher import Flusher
from reactive_db.storage.journal import Journal
from reactive_db.storage.tables import Table, Write

Listener = Callable[[LoggedCommit], None]

_log = logging.getLogger(__name__)


class Assigned:
    """A commit that has its timestamp and waits for the journal."""

    __slots__ = ("commit", "error", "is_done", "leader", "logged", "wakes")

    def __init__(self, commit: Commit, logged: LoggedCommit) -> None:
        self.commit = commit
        self.logged = logged
        self.is_done = False
        self.error: BaseException | None = None
        self.wakes: list[Any] = []
        self.leader: Any = None
        """The wake of the thread that was asked to lead, until it does."""


class Committer:
    """Gives out timestamps, one commit after the other.

    Responsibilities: serializability, durability before anything is shown, order. Not: running user code, except
    that `commit` calls `again` in the turn for a transaction that lost its race.

    Attributes:
        listeners: called with every commit, before anybody may see it.
        on_settled: called on any thread, without a lock, when fewer commits wait or the store has failed.
        keeps_log: transactions that run elsewhere, at snapshots that nobody holds open here, are judged too: the write
            log reaches back to its limit, not to the oldest snapshot.
    """

    def __init__(self, journal: Journal, flusher: Flusher, snapshots: Snapshots, validates: bool = True) -> None:
        self.turn = threading.RLock()
        self.listeners: list[Listener] = []
        self.on_settled: list[Callable[[], None]] = []
        self.conflicts = 0
        self.keeps_log = False
        self._lost_races: deque[LostRace] = deque(maxlen=limits.LOST_RACES_MAX)
        self._journal = journal
        self._flusher = flusher
        self._snapshots = snapshots
        self._write_log = WriteLog(snapshots.head)
        self._validates = validates
        self._mutex = threading.Lock()
        self._queue: list[Assigned] = []
        self._unpublished: dict[int, Assigned] = {}
        self._is_flushing = False
        self._failure: BaseException | None = None

    def commit(self, transaction: Transaction, again: Callable[[], Transaction] | None = None) -> int:
        """Make every write of `transaction` durable and visible at one new timestamp, or none of them.

        Returns that timestamp; for a transaction without writes its snapshot's, once that is published. If a later
        commit wrote where `transaction` read, `again` is called in the turn: it must return the same work done once
        more in a transaction at the head, and must not raise.

        Raises:
            ConflictError: the race was lost and there is no `again`. Retry on a fresh snapshot.
            StoreFullError, CommitUncertainError: from the journal; the store is closed for good.
        """
        # Interrupts wait: a commit that has its timestamp goes all the way, for others may have read it already.
        with Uninterrupted() as interrupts:
            try:
                interrupts.acquire_brief(self.turn)
            except BaseException:
                self._snapshots.end(transaction.begin_ts)
                raise
            try:
                transaction, assigned = self._assign(transaction, again)
            finally:
                self.turn.release()
            if assigned is not None:
                self._make_durable(assigned, interrupts)
        if assigned is None:
            self.wait_published(transaction.begin_ts)
            return transaction.begin_ts
        if self._flusher.is_behind():
            self._hold_back()
        return assigned.commit.ts

    def commit_bulk(self, changes: list[tuple[Table, list[Write]]], now: float, source: str) -> int:
        """Commit any number of blind writes at once; the caller has built them with the schemas of their tables.

        Whoever read anything of one of the tables, even of one without writes, counts as having read what changed.

        Raises:
            SchemaError: a table's class was declared anew since the writes were built.
        """
        with Uninterrupted() as interrupts:
            interrupts.acquire_brief(self.turn)
            try:
                self._check_alive()
                for name in [table.schema.name for table, _ in changes if table.is_retired]:
                    raise SchemaError(f"table {name!r} was declared anew while its documents were made. Do it again.")
                tables = {table.schema.number: (table, writes) for table, writes in changes}
                assigned = self._enqueue(tables, now, source, is_bulk=True)
            finally:
                self.turn.release()
            self._make_durable(assigned, interrupts)
        return assigned.commit.ts

    def abandon(self, transaction: Transaction) -> None:
        """Let go of a transaction whose function failed or only read; waits until what it saw may be shown."""
        self._snapshots.end(transaction.begin_ts)
        self.wait_published(transaction.begin_ts)

    def wait_published(self, ts: int) -> None:
        """Return once everything up to `ts` is durable.

        Raises what the journal raised, also long after it did: what rests on a commit that was lost is not shown.
        """
        if ts > self._snapshots.published:
            with self._mutex:
                assigned = self._unpublished.get(ts)
            if assigned is not None:
                with Uninterrupted() as interrupts:
                    self._make_durable(assigned, interrupts)
            elif ts > self._snapshots.published:
                self._check_alive()

    @property
    def has_failed(self) -> bool:
        """Whether it refuses everything."""
        return self._failure is not None

    @property
    def pending(self) -> int:
        """How many commits have a timestamp and wait for the journal."""
        return len(self._unpublished)

    def lost_races(self) -> list[LostRace]:
        """The latest of the `conflicts`, newest first."""
        with self._mutex:
            return list(reversed(self._lost_races))

    def fail(self, error: BaseException) -> None:
        """Refuse everything from now on; `error` says why."""
        self._failure = self._failure or error
        self._tell_settled()

    def _hold_back(self) -> None:
        """Flush before this caller goes on. If that fails its commit is durable all the same; the next is refused."""
        try:
            self._flusher.flush()
        except StoreError as error:
            self.fail(error)

    def _check_alive(self) -> None:
        if self._failure is not None:
            raise StoreClosedError(f"the store is closed ({self._failure}). Connect again.") from self._failure

    def _validate(self, transaction: Transaction) -> None:
        if not self._validates:
            return
        # A table redefined meanwhile has new rules; documents built by the old ones must not enter it.
        for number, table in transaction.tables.items():
            if table.is_retired:
                raise Conflict(LoggedCommit(self._snapshots.head, "a new schema", {}, False), (number, "by_id"))
        self._write_log.validate(transaction.read_set, transaction.begin_ts, transaction.seen)

    def _assign(
        self, transaction: Transaction, again: Callable[[], Transaction] | None
    ) -> tuple[Transaction, Assigned | None]:
        """Validate until a run holds, and give it its timestamp, if it writes at all; the caller has the turn."""
        lost: list[LostRace] = []
        while True:
            try:
                self._check_alive()
                self._validate(transaction)
                tables = {number: (transaction.tables[number], w) for number, w in transaction.writes.items()}
                if not tables:
                    return transaction, None
                assigned = self._enqueue(tables, transaction.now, transaction.source, is_bulk=False)
                for race in lost:
                    race.retried_ts = assigned.commit.ts
                return transaction, assigned
            except Conflict as conflict:
                lost.append(self._note_conflict(transaction, conflict))
                if again is None:
                    raise _conflict_error(lost[-1]) from None
            finally:
                self._snapshots.end(transaction.begin_ts)
            transaction = again()

    def _enqueue(
        self, tables: dict[int, tuple[Table, list[Write]]], now: float, source: str, is_bulk: bool
    ) -> Assigned:
        """Give the writes the next timestamp and put them into the tables and the queue; the caller has the turn."""
        ts = self._snapshots.head + 1
        commit = Commit(ts, now, source, tuple(_document_writes(tables)))
        # Of a bulk load only the tables are remembered; its documents would stay in memory twice.
        kept = {n: (table.schema, [] if is_bulk else writes) for n, (table, writes) in tables.items()}
        logged = LoggedCommit(ts, source, kept, is_bulk)
        assigned = Assigned(commit, logged)
        oldest = self._snapshots.oldest()
        for table, writes in tables.values():
            table.apply(ts, writes, is_bulk)
            table.vacuum(oldest)
        self._write_log.append(logged)
        self._write_log.trim(0 if self.keeps_log else oldest)
        with self._mutex:
            self._queue.append(assigned)
            self._unpublished[ts] = assigned
        self._snapshots.head = ts
        return assigned

    def _make_durable(self, assigned: Assigned, interrupts: Uninterrupted) -> None:
        """Return once `assigned` is published, leading a flush if none is under way.

        Raises what the journal raised.
        """
        if self._must_lead(assigned, interrupts):
            self._lead()
        if assigned.error is not None:
            raise assigned.error

    def _must_lead(self, assigned: Assigned, interrupts: Uninterrupted) -> bool:
        """Wait until `assigned` is published, False, or until this thread is the one to flush it, True."""
        with self._mutex:
            if assigned.is_done:
                return False
            if not self._is_flushing:
                self._is_flushing = True
                return True
            wake = threading.Lock()
            wake.acquire()
            assigned.wakes.append(wake)
        try:
            interrupts.acquire(wake)
        except BaseException:
            # Interrupted: if this thread was just asked to lead, others wait for it.
            with self._mutex:
                assigned.wakes.remove(wake)
                was_asked = assigned.leader is wake
            if was_asked:
                self._lead()
            raise
        return assigned.leader is wake

    def _lead(self) -> None:
        """Append the queue to the journal, publish it, wake its owners, and pass the lead on."""
        with self._mutex:
            batch, self._queue = self._queue, []
        error = self._failure
        if error is None:
            try:
                # The commit point: once this returns, the batch is durable.
                self._journal.append([part for one in batch for part in encode_commit(one.commit)])
                self._publish(batch)
            except BaseException as failure:
                error = self._failure = failure
        with self._mutex:
            for one in batch:
                one.is_done, one.error = True, error
                del self._unpublished[one.commit.ts]
            wakes = [wake for one in batch for wake in one.wakes]
            wakes += self._pass_lead()
        for wake in wakes:
            wake.release()
        self._tell_settled()

    def _pass_lead(self) -> list[Any]:
        """The wake of the next leader, if somebody waits already; the caller has the mutex."""
        for one in self._queue:
            if one.wakes:
                one.leader = one.wakes[0]
                return [one.leader]
        self._is_flushing = False
        return []

    def _tell_settled(self) -> None:
        for listener in tuple(self.on_settled):
            try:
                listener()
            except Exception:
                _log.exception("a listener raised; the commits are not affected")

    def _publish(self, batch: list[Assigned]) -> None:
        # In this order: who sees the new timestamp finds every query that it made stale, and the columns in reach.
        for one in batch:
            self._flusher.add(one.commit)
            for listener in self.listeners:
                listener(one.logged)
        self._snapshots.published = batch[-1].commit.ts

    def _note_conflict(self, transaction: Transaction, conflict: Conflict) -> LostRace:
        number, index = conflict.space
        commit = conflict.commit
        known = commit.writes.get(number)
        table = known[0].name if known is not None else str(number)
        race = LostRace(transaction.source, transaction.begin_ts, table, index, commit.source, commit.ts)
        self.conflicts += 1
        with self._mutex:
            self._lost_races.append(race)
        return race


def _conflict_error(race: LostRace) -> ConflictError:
    return ConflictError(
        f"mutation {race.source!r} lost a race. It read {race.table}.{race.index} at ts {race.begin_ts}; "
        f"{race.winner!r} wrote there at ts {race.winner_ts}. Run it again, or read a narrower range.",
        table=race.table,
        index=race.index,
        begin_ts=race.begin_ts,
        commit_ts=race.winner_ts,
    )


def _document_writes(tables: dict[int, tuple[Table, list[Write]]]) -> list[DocumentWrite]:
    return [DocumentWrite(number, write.id, write.data) for number, (_, writes) in tables.items() for write in writes]
