"""A store: the journal, the tables and the columns of one directory, opened and wired together.

Opening recovers: whatever the journal holds beyond the columns is applied to them first, so the columns are whole
before anybody reads, and tables can be loaded from them one by one, when they are first touched.
"""

from __future__ import annotations

import ctypes
import getpass
import os
import shutil
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from reactive_db.engine.access import Presence, Report, Status
from reactive_db.engine.bulk import SOURCE as LOAD
from reactive_db.engine.bulk import build
from reactive_db.engine.catalog import Catalog
from reactive_db.engine.collector import collector_paused
from reactive_db.engine.committer import Committer
from reactive_db.engine.lost_race import LostRace
from reactive_db.engine.snapshots import Snapshot, SnapshotPassed, Snapshots
from reactive_db.engine.transaction import Transaction
from reactive_db.errors import StoreClosedError, StoreCorruptError, StoreForkedError
from reactive_db.interrupts import Shielded
from reactive_db.limits import Limits
from reactive_db.model.codec import decoder
from reactive_db.model.documents import Document
from reactive_db.model.keys import EVERYTHING
from reactive_db.model.layout import TableLayout
from reactive_db.model.schema import TABLES_NUMBER, TableDefinition
from reactive_db.runtime import Runtime
from reactive_db.storage.column_table import ColumnTable
from reactive_db.storage.columns import Columns, Parameters
from reactive_db.storage.commit import Commit, join_parts
from reactive_db.storage.directory import StoreDirectory
from reactive_db.storage.flusher import Flusher
from reactive_db.storage.history import VIEW as HISTORY
from reactive_db.storage.journal import Journal, MemoryJournal, SqliteJournal
from reactive_db.storage.sql_result import SqlResult
from reactive_db.storage.tables import Table

_RECOVERY_COMMITS = 5_000
"""How many commits recovery applies at a time."""

_opened: weakref.WeakSet[Store] = weakref.WeakSet()


class Store:
    """One open store.

    Responsibilities: lifetime, recovery, beginning and ending transactions. Not: functions, subscriptions.
    """

    def __init__(
        self,
        journal: Journal,
        columns: Columns,
        runtime: Runtime,
        limits: Limits,
        directory: StoreDirectory | None = None,
        *,
        validates: bool = True,
    ) -> None:
        self.runtime = runtime
        self.limits = limits
        self.journal = journal
        self.columns = columns
        self._directory = directory
        self._closed_by: str | None = None
        recover(journal, columns)
        self.snapshots = Snapshots(journal.last_ts)
        self.flusher = Flusher(journal, columns, lambda: self.snapshots.published)
        self.committer = Committer(journal, self.flusher, self.snapshots, validates)
        self.catalog = Catalog(columns, self.committer, self.snapshots, runtime)
        self.converter = self.catalog.converter
        self.on_commit = self.committer.listeners
        self.on_settled = self.committer.on_settled
        self.on_presence: list[Callable[[], None]] = []
        self._opened_at = runtime.now()
        self.flusher.start()
        _opened.add(self)

    @classmethod
    def in_memory(cls, runtime: Runtime, limits: Limits) -> Store:
        """A store that ends with its process."""
        return cls(MemoryJournal(), Columns.open(None), runtime, limits)

    @classmethod
    def open(cls, path: Path, runtime: Runtime, limits: Limits) -> Store:
        """Open the store directory `path`, creating it if there is none; no other process can until `close`.

        Raises:
            StoreLockedError: another process has it.
            NotAStoreError, StoreFormatError, StoreCorruptError: see there; nothing was changed.
        """
        directory = StoreDirectory.open(path)
        journal: Journal | None = None
        columns: Columns | None = None
        try:
            journal = SqliteJournal(directory.journal)
            columns = Columns.open(directory.columns)
            return cls(journal, columns, runtime, limits, directory)
        except BaseException:
            for part in (columns, journal):
                if part is not None:
                    part.close()
            directory.release()
            raise

    @property
    def path(self) -> Path | None:
        return None if self._directory is None else self._directory.path

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return str(self.path or "in memory")

    @property
    def published_ts(self) -> int:
        """The newest timestamp that may be shown."""
        return self.snapshots.published

    @property
    def has_failed(self) -> bool:
        """Whether a disk has failed it, so that it can only be closed and opened again."""
        return self.committer.has_failed or self.flusher.has_failed

    @property
    def status(self) -> Status:
        """`syncing` while commits wait for the journal; `offline` once the store is closed or has failed."""
        if self._closed_by is not None or self.has_failed:
            return "offline"
        return "syncing" if self.pending else "synced"

    @property
    def pending(self) -> int:
        """How many commits have a timestamp, and are not durable yet."""
        return self.committer.pending

    def begin(self, source: str, runtime: Runtime | None = None) -> Transaction:
        """A transaction that may write. End it with `commit` or `abandon`."""
        self.check_open()
        ts = self.snapshots.begin_at_head()
        return Transaction(ts, runtime or self.runtime, self.limits, is_read_only=False, source=source)

    def commit(self, transaction: Transaction, again: Callable[[], Transaction]) -> int:
        """See `Committer.commit`."""
        return self.committer.commit(transaction, again)

    def abandon(self, transaction: Transaction) -> None:
        """See `Committer.abandon`."""
        self.committer.abandon(transaction)

    @contextmanager
    def snapshot(self, *, with_columns: bool) -> Iterator[Snapshot]:
        """Hold the newest published snapshot open, with the columns at exactly its timestamp if they will be read."""
        # The flusher's turn comes first: the columns then never move beyond the snapshot.
        with self.columns_held() if with_columns else nullcontext():
            ts = self.snapshots.begin_published()
            try:
                if with_columns:
                    self.flusher.flush(through=ts)
                yield Snapshot(ts)
            finally:
                self.snapshots.end(ts)

    def columns_held(self) -> AbstractContextManager[Any]:
        """Within, the columns do not move."""
        return self.flusher.turn

    def read_at(self, snapshot: Snapshot, source: str) -> Transaction:
        """A transaction that only reads, at a snapshot the caller holds open."""
        self.check_open()
        return Transaction(snapshot.ts, self.runtime, self.limits, is_read_only=True, source=source)

    def table(self, transaction: Transaction, document: type[Document]) -> Table:
        """The table of a document class, for `transaction` to read or write.

        Raises:
            SnapshotPassed: the class was declared anew after the transaction began.
        """
        return self._seen(transaction, self.catalog.table(document))

    def table_of_id(self, transaction: Transaction, id: str) -> Table:
        """The table that an id belongs to; as `table`."""
        return self._seen(transaction, self.catalog.table_of_id(id))

    def sql(self, transaction: Transaction, statement: str, parameters: Parameters) -> SqlResult:
        """The result of a SELECT at the snapshot of `transaction`, which is taken to read whole tables.

        Raises:
            SqlError: the statement is wrong or would write, or the transaction has written already.
            SnapshotPassed: see there.
        """
        transaction.check_before_sql()
        if self.catalog.define_mentioned(statement):
            raise SnapshotPassed(transaction.source)
        with Shielded():
            self.committer.wait_published(transaction.begin_ts)
            # Who holds the Committer's turn must not wait for the flusher's: whoever has that may want to commit.
            if not self.flusher.turn.acquire(blocking=not transaction.is_in_turn):
                raise SnapshotPassed(transaction.source)
            try:
                self.flusher.flush(through=transaction.begin_ts)
                if self.columns.applied_ts != transaction.begin_ts:
                    raise SnapshotPassed(transaction.source)
                table, ts = self.columns.query(statement, parameters)
            finally:
                self.flusher.turn.release()
        for number in self._tables_named_in(statement):
            transaction.add_table_read(number)
        return SqlResult(table, ts)

    def query(self, statement: str, parameters: Parameters) -> SqlResult:
        """The result of a SELECT over everything committed so far.

        Raises:
            SqlError: the statement is wrong or would write.
        """
        self.catalog.define_mentioned(statement)
        self.flusher.flush()
        return SqlResult(*self.columns.query(statement, parameters))

    def query_at(self, snapshot: Snapshot, statement: str, parameters: Parameters) -> SqlResult:
        """The same at a `snapshot` with columns that the caller holds open."""
        table, _ = self.columns.query(statement, parameters)
        return SqlResult(table, snapshot.ts)

    def tables_read(self, statement: str) -> list[int]:
        """The numbers of the tables that an SQL statement reads; the history changes with every table."""
        self.catalog.define_mentioned(statement)
        self.flusher.flush()  # the columns take the statement apart: they have to know every table
        return self._tables_named_in(statement)

    def _tables_named_in(self, statement: str) -> list[int]:
        names = self.columns.tables_read(statement)
        if HISTORY in names:
            return [TABLES_NUMBER, *(definition.number for definition in self.catalog.definitions())]
        return [number for name in names if (number := self.catalog.number(name)) is not None]

    def outdate(self, table: str) -> int | None:
        """See `Catalog.outdate`."""
        return self.catalog.outdate(table)

    def load(self, document: type[Document], source: Any, report: Report) -> int:
        """Insert the rows of `source`, all at one timestamp; how many there were; see `bulk.build`."""
        self.check_open()
        table, now = self.catalog.table(document), self.runtime.now()
        with collector_paused():
            writes = build(table, source, self.runtime, now, report)
            if writes:
                self.committer.commit_bulk([(table, writes)], now, LOAD)
        return len(writes)

    def definitions(self) -> list[TableDefinition]:
        """Every table that people made, whether or not its class is declared here."""
        return [one for one in self.catalog.definitions() if not one.name.startswith("_")]

    def present(self) -> list[Presence]:
        """This process: nobody else can have the store open."""
        return [Presence.of(getpass.getuser(), Path(sys.argv[0] or "python").name, self._opened_at)]

    def lost_races(self) -> list[LostRace]:
        """The latest of the `conflicts`, newest first."""
        return self.committer.lost_races()

    @property
    def conflicts(self) -> int:
        """How many races were lost since the store was opened."""
        return self.committer.conflicts

    def counts(self) -> dict[int, int]:
        """How many documents each table has, by its number, all at one timestamp; loads no table."""
        definitions = self.definitions()
        counts = [f"SELECT {one.number}, count(*) FROM {_column_table(one).name}" for one in definitions]
        self.flusher.flush()
        return dict(self._rows(" UNION ALL ".join(counts))) if counts else {}

    def newest(
        self, transaction: Transaction, definition: TableDefinition, most: int, unloaded: type[Document]
    ) -> list[Document]:
        """The newest documents of a table, at most so many; loads no table, and needs no class that is declared.

        Those of a table that nobody has loaded are made of the class `unloaded`.

        Raises:
            SnapshotPassed: as `table`.
        """
        number = definition.number
        table = self.catalog.loaded_table(number)
        if table is None:
            stored = self._newest_stored(definition, most, unloaded)
            # Until somebody loads a table nobody writes to it: the columns have it as it is at every timestamp.
            table = self.catalog.loaded_table(number)
            if table is None:
                transaction.add_table_read(number)
                transaction.add_definition_read(number)
                return stored
        scan = transaction.scan(self._seen(transaction, table), "by_creation_time", EVERYTHING, descending=True)
        return scan.take(most)

    def backup(self, path: Path) -> None:
        """Write a consistent copy to the new directory `path`, while the store is in use."""
        self.check_open()
        copy = StoreDirectory.open(path, must_be_new=True)
        try:
            # While the columns stand still nothing is trimmed, so the journal's copy reaches back to theirs.
            with self.flusher.turn:
                self.columns.backup(copy.columns)
                self.journal.backup(copy.journal)
            copy.declare()
        except BaseException:
            shutil.rmtree(copy.path, ignore_errors=True)
            raise
        finally:
            copy.release()

    def check_open(self) -> None:
        """Raises StoreClosedError or StoreForkedError."""
        if self._closed_by is not None:
            raise (StoreForkedError if self._closed_by.startswith("forked") else StoreClosedError)(
                f"the store {self.path or 'in memory'} cannot be used: {self._closed_by}."
            )

    def close(self) -> None:
        """Bring the columns up to date and let go of everything; safe to call again."""
        if self._closed_by is not None:
            return
        self._closed_by = "it was closed. Connect again"
        self.committer.fail(StoreClosedError("it was closed"))
        self._close_all([self.flusher.close, self.columns.close, self.journal.close])

    def _newest_stored(self, definition: TableDefinition, most: int, document: type[Document]) -> list[Document]:
        latest = f"ORDER BY _creation_time DESC, _id DESC LIMIT {most}"
        decode = decoder(document).decode
        return [decode(data) for _, data in self._rows(f"{_column_table(definition).load_sql} {latest}")]

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        table, ts = self.columns.query(statement)
        return SqlResult(table, ts).fetchall()

    def _seen(self, transaction: Transaction, table: Table) -> Table:
        if table.since > transaction.begin_ts:
            raise SnapshotPassed(transaction.source)
        if transaction.is_read_only:
            transaction.add_definition_read(table.schema.number)
        return table

    def _close_all(self, closers: Sequence[Callable[[], None]]) -> None:
        """Call every closer, though one fails; the directory is let go of last."""
        try:
            closers[0]()
        finally:
            if closers[1:]:
                self._close_all(closers[1:])
            elif self._directory is not None:
                self._directory.release()

    def _refuse_in_child(self) -> None:
        self._closed_by = "forked: a child process must not use its parent's store. Connect in the child"
        # Never to be destroyed: DuckDB and SQLite would fold their logs into files that the parent is writing.
        for part in (self.columns, self.journal):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(part))


def _column_table(definition: TableDefinition) -> ColumnTable:
    return ColumnTable(TableLayout(definition.number, definition.name, definition.columns))


def recover(journal: Journal, columns: Columns) -> None:
    """Apply to `columns` what the journal holds beyond them.

    Raises:
        StoreCorruptError: commits are missing between the two; nothing was applied beyond the gap.
    """
    waiting: list[Commit] = []
    expected = columns.applied_ts + 1
    for commit in join_parts(journal.parts(columns.applied_ts)):
        if commit.ts != expected:
            raise _gap(expected, commit.ts)
        expected += 1
        waiting.append(commit)
        if len(waiting) >= _RECOVERY_COMMITS:
            columns.apply(waiting)
            waiting = []
    if expected <= journal.last_ts:
        raise _gap(expected, journal.last_ts)
    if waiting:
        columns.apply(waiting)
    journal.trim(columns.applied_ts)


def _gap(missing: int, last: int) -> StoreCorruptError:
    return StoreCorruptError(
        f"commits are missing: neither the columns nor the journal have ts {missing:,}, but ts {last:,} was committed. "
        "Restore a backup, of the whole directory."
    )


def _after_fork() -> None:
    for store in list(_opened):
        store._refuse_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
