"""The columns: every document of the store in DuckDB, typed, for SQL, for history and for the next start.

They follow the journal and never lead it: `apply` takes commits in timestamp order and stores how far it came
in the same transaction, so a replay after a crash applies each commit exactly once. Physically there is, in
schema `store`, a table per document table, `history` and `meta`; in schema `main` a view of each under the
name that users know. What may not live here: when to apply, what to keep in memory, what a user may see.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec
import pyarrow as pa

from reactive_db import limits
from reactive_db.errors import StoreClosedError, StoreCorruptError
from reactive_db.model.schema import TABLES_NUMBER
from reactive_db.storage import history
from reactive_db.storage.client_sql import ClientSql, ClientSqlLimits
from reactive_db.storage.client_tables import client_tables, words
from reactive_db.storage.column_catalog import ColumnCatalog
from reactive_db.storage.column_file import ColumnFile, opening_error, store_error
from reactive_db.storage.column_table import ColumnTable, row_keys
from reactive_db.storage.column_types import quoted
from reactive_db.storage.commit import Commit, DocumentWrite
from reactive_db.storage.sql import check_reads_only, sql_error, table_names
from reactive_db.storage.write_batch import WriteBatch

_CHUNK_ROWS: Final = 20_000
"""How many documents are read at a time."""

_HISTORY_ROWS_KEPT: Final = 0.9
"""Of the most that may be: trimming to less than the limit keeps it from happening at every commit."""

_APPLIED_TS: Final = "SELECT applied_ts FROM store.meta"
_META_TABLE: Final = "FROM duckdb_tables() WHERE schema_name = 'store' AND table_name = 'meta'"
_FATAL: Final = (duckdb.FatalException, duckdb.InternalException)

Parameters = Sequence[Any] | Mapping[str, Any] | None
"""Of an SQL statement: for `?` in order, or for `$name` by name."""


class Columns:
    """The typed tables of one store.

    Everything may be called from any thread. Readers see one snapshot each and never wait for `apply`.
    """

    def __init__(self, file: ColumnFile, path: Path | None, client_limits: ClientSqlLimits) -> None:
        """Use `open`."""
        self._file = file
        self._client_sql = ClientSql(client_limits)
        # The last commit that wrote to each table, by number, and never one too early; since the columns were opened.
        self._changed_ts: dict[int, int] = {}
        self._path = path
        self._lock = threading.Lock()
        self._catalog = ColumnCatalog.empty()
        self._applied_ts = self._history_rows = 0
        self._start()

    @classmethod
    def open(
        cls,
        path: Path | None = None,
        *,
        read_only: bool = False,
        client_limits: ClientSqlLimits = ClientSqlLimits(),  # noqa: B008
    ) -> Columns:
        """Open the columns in the file `path`, new ones where there is no file; in memory without a path.

        With `read_only`, nothing on the disk changes, and there must be a file. `client_limits` are those of
        `query_for_client`.

        Raises:
            StoreCorruptError: the file is damaged or something else.
            StoreLockedError: another process has it open.
            StoreError: the disk refuses.
        """
        file = ColumnFile(path, read_only=read_only)
        try:
            return cls(file, path, client_limits)
        except (duckdb.Error, msgspec.MsgspecError) as error:
            file.close()
            raise opening_error(error, path) from error

    @property
    def applied_ts(self) -> int:
        """The timestamp of the newest commit that is in the columns, 0 for none."""
        return self._applied_ts

    def apply(self, commits: Sequence[Commit]) -> None:
        """Write `commits`, in timestamp order, in one durable transaction; those already applied are skipped.

        Raises:
            StoreFullError: no room on the disk; none of them was applied.
            StoreError: DuckDB failed; none of them was applied.
            StoreClosedError: the columns are closed.
            StoreCorruptError: a commit writes to a table that nothing defines.
        """
        with self._lock:
            self._check_open()
            try:
                self._apply_or_reopen(commits)
            except duckdb.Error as error:
                raise store_error(error, self._path) from error
            except msgspec.MsgspecError as error:
                raise StoreCorruptError(f"a commit has a document that cannot be read: {error}.") from error

    def load(self, table_number: int) -> Iterator[tuple[list[str], list[bytes]]]:
        """The ids and stored forms of a table's documents, in chunks; nothing for an unknown table.

        The snapshot is that of the call.

        Raises:
            StoreCorruptError: the table is damaged.
        """
        table = self._catalog.tables.get(table_number)
        if table is None:
            return iter(())
        try:
            with self._file.reading() as cursor:
                return _documents(_fetch_documents(cursor, table))
        except duckdb.Error as error:
            raise opening_error(error, self._path) from error

    def query(self, sql: str, parameters: Parameters = None) -> tuple[pa.Table, int]:
        """The result of a statement that only reads, and the timestamp whose documents it saw.

        Raises:
            SqlError: the statement is refused, fails or is interrupted; DuckDB's message says why.
            StoreClosedError: the columns are closed, or were while it ran.
        """
        with self._file.reading(is_interruptible=True) as cursor:
            check_reads_only(cursor, sql)
            try:
                ts = cursor.execute(_APPLIED_TS).fetchall()[0][0]
                return cursor.sql(sql, params=parameters).to_arrow_table(), ts
            except duckdb.InterruptException:
                raise
            except duckdb.Error as error:
                raise sql_error(error) from error

    def query_for_client(
        self, sql: str, parameters: Parameters = None, *, hidden: Mapping[str, str] | None = None
    ) -> tuple[pa.Table, int]:
        """As `query`, for a statement of somebody who may be anybody: locked down and bounded.

        It runs in a process that has copies of the tables it mentions and nothing else: no file, network,
        environment, setting or variable of this process. Time, memory, what is read and the result are bounded by
        the `client_limits` of `open`, and so many run at once; more wait their turn. Commits are applied meanwhile.

        Clients see document tables and `_history`; not `_tables` or other tables that begin with `_`, nor those in
        the history. `hidden` says for a table's name the SQL condition on one of its rows under which this viewer
        sees it; the others do not exist in any way. It is trusted SQL of the server's and must depend on nothing but
        the documents. A table in `hidden` has no history at all for the viewer, because the condition is on columns;
        a condition for `_history` restricts that further.

        Raises:
            SqlError: the statement is refused, fails or exceeds a limit, which the message names; or a condition
                cannot be evaluated.
            StoreClosedError: the columns are closed, or were while it ran.
        """
        with self._client_sql.turn() as turn:
            with self._file.reading() as cursor:
                try:
                    ts = cursor.execute(_APPLIED_TS).fetchall()[0][0]
                    tables = client_tables(cursor, self._catalog, hidden or {}, self._changed_ts, ts)
                except duckdb.InterruptException:
                    raise
                except duckdb.Error as error:
                    raise store_error(error, self._path) from error
                turn.send(sql, parameters, tables, words(sql), cursor)
            return turn.result(), ts

    def tables_read(self, sql: str) -> set[str]:
        """The names of the document tables that a statement reads, `_history` if it reads that.

        Never too few: of a statement with parameters, a table that only lends its name to a CTE may be among
        them, and a statement that DuckDB cannot take apart reads every table.

        Raises:
            SqlError: it cannot be parsed, or does not only read.
        """
        with self._file.reading() as cursor:
            check_reads_only(cursor, sql)
            names = table_names(cursor, sql)
        catalog = self._catalog
        return catalog.documents_read(catalog.views.values() if names is None else names)

    def interrupt(self) -> None:
        """Make every `query` that is running now end with an error."""
        self._file.interrupt()

    def verify(self) -> list[str]:
        """What is wrong with the columns, one sentence per fault; reads every document."""
        faults: list[str] = []
        for table in self._catalog.tables.values():
            try:
                with self._file.reading() as cursor:
                    data = _fetch_documents(cursor, table)
                faults += _table_faults(table, _documents(data))
            except duckdb.Error as error:
                faults.append(f"columns: table {table.layout.name!r} cannot be read: {error}")
        return faults

    def backup(self, path: Path) -> None:
        """Write a copy of one snapshot to the new file `path`, while the columns are in use."""
        try:
            self._file.backup(path)
        except duckdb.Error as error:
            raise store_error(error, path) from error

    def close(self) -> None:
        """Interrupt what is running, wait for it, and close the file; safe to call again."""
        self._client_sql.close()
        with self._lock:
            self._file.close()

    def _check_open(self) -> None:
        if self._file.is_closed:
            raise StoreClosedError("the store is closed; connect again.")

    def _start(self) -> None:
        """Read how far the columns came and which tables they have; make them when they are new."""
        file = self._file
        if not file.execute(_META_TABLE):
            if file.is_read_only:
                self._catalog = ColumnCatalog({}, {}, {})
                return
            with file.transaction():
                self._create()
        self._applied_ts = file.execute(_APPLIED_TS)[0][0]
        self._history_rows = file.execute(history.COUNT_SQL)[0][0]
        empty = ColumnCatalog.empty()
        stored = _documents(file.fetch(empty.tables[TABLES_NUMBER].load_sql, _CHUNK_ROWS))
        definitions = (DocumentWrite(TABLES_NUMBER, *row) for chunk in stored for row in zip(*chunk, strict=True))
        self._catalog = empty.after(definitions)

    def _create(self) -> None:
        file, tables = self._file, ColumnCatalog.empty().tables[TABLES_NUMBER]
        file.execute("CREATE SCHEMA store")
        file.execute("CREATE TABLE store.meta (applied_ts BIGINT)")
        file.execute("INSERT INTO store.meta VALUES (0)")
        file.execute(history.CREATE_SQL)
        file.execute(history.CREATE_VIEW_SQL)
        file.execute(tables.create_sql)
        file.execute(tables.create_view_sql(tables.layout.name))

    def _apply_or_reopen(self, commits: Sequence[Commit]) -> None:
        try:
            self._apply(commits)
            self._file.checkpoint_if_due()
        except _FATAL:
            # DuckDB refuses every statement after such an error, but its file is whole.
            self._file.reopen()
            self._start()
            self._apply(commits)

    def _apply(self, commits: Sequence[Commit]) -> None:
        pending = [commit for commit in commits if commit.ts > self._applied_ts]
        if not pending:
            return
        batch = WriteBatch(pending)
        catalog = self._catalog.after(batch.writes)
        with self._file.transaction():
            self._change_tables(catalog)
            self._write(catalog, batch)
            history_rows = self._trim_history(len(batch))
            # Before the commit: whoever sees the rows must see this.
            self._changed_ts.update((write.table, pending[-1].ts) for write in batch.writes)
            self._file.execute("UPDATE store.meta SET applied_ts = ?", [pending[-1].ts])
        self._catalog, self._history_rows, self._applied_ts = catalog, history_rows, pending[-1].ts

    def _change_tables(self, catalog: ColumnCatalog) -> None:
        """Make the physical tables and views those of `catalog`."""
        before, file = self._catalog, self._file
        changed = [
            number
            for number in before.tables.keys() | catalog.tables.keys()
            if before.tables.get(number) is not catalog.tables.get(number)
            or before.views.get(number) != catalog.views.get(number)
        ]
        for number in changed:
            if number in before.tables:
                file.execute(f"DROP VIEW main.{quoted(before.views[number])}")
        for number in changed:
            self._change_table(before.tables.get(number), catalog.tables.get(number))
        for number in changed:
            if number in catalog.tables:
                file.execute(catalog.tables[number].create_view_sql(catalog.views[number]))

    def _change_table(self, before: ColumnTable | None, after: ColumnTable | None) -> None:
        file = self._file
        if before is not None and after is not None and before.layout.columns == after.layout.columns:
            return
        stored = [] if before is None or after is None else file.fetch(before.load_sql, _CHUNK_ROWS)
        if before is not None:
            file.execute(before.drop_sql)
        if after is not None:
            file.execute(after.create_sql)
            for ids, documents in _documents(stored):
                file.execute_with(after.insert_sql, after.rows(ids, documents, after.decode(documents)))

    def _write(self, catalog: ColumnCatalog, batch: WriteBatch) -> None:
        """Move the typed tables to the last write of each document, and append every write to the history."""
        for number, ids in batch.ids().items():
            if number not in catalog.known:
                raise StoreCorruptError(f"a commit writes to table number {number}, which nothing defines.")
            if number in catalog.tables:
                self._file.execute_with(catalog.tables[number].delete_sql, row_keys(ids))
        for chunk in batch.chunks():
            self._write_chunk(catalog, batch, chunk)

    def _write_chunk(self, catalog: ColumnCatalog, batch: WriteBatch, chunk: range) -> None:
        places: dict[int, list[int]] = defaultdict(list)
        for at in chunk:
            if batch.writes[at].document is not None:
                places[batch.writes[at].table].append(at)
        json: dict[int, bytes] = {}
        for number, ats in places.items():
            table = catalog.known[number]
            decoded = table.decode([batch.writes[at].document or b"" for at in ats])
            json.update(zip(ats, table.json(decoded), strict=True))
            if number in catalog.tables:
                self._insert(table, batch, dict(zip(ats, decoded, strict=True)))
        self._file.execute_with(history.INSERT_SQL, _history_rows(catalog, batch, chunk, json))

    def _insert(self, table: ColumnTable, batch: WriteBatch, decoded: Mapping[int, Any]) -> None:
        """Insert the documents, given by their places in the batch, that no later write replaces."""
        last = [at for at in decoded if batch.is_last(at)]
        if last:
            ids = [batch.writes[at].id for at in last]
            documents = [batch.writes[at].document or b"" for at in last]
            rows = table.rows(ids, documents, [decoded[at] for at in last])
            self._file.execute_with(table.insert_sql, rows)

    def _trim_history(self, added: int) -> int:
        rows = self._history_rows + added
        if rows <= limits.HISTORY_ROWS_MAX:
            return rows
        self._file.execute(history.TRIM_SQL, [int(limits.HISTORY_ROWS_MAX * _HISTORY_ROWS_KEPT)])
        count: int = self._file.execute(history.COUNT_SQL)[0][0]
        return count


def _fetch_documents(cursor: duckdb.DuckDBPyConnection, table: ColumnTable) -> list[pa.RecordBatch]:
    cursor.execute("SET arrow_large_buffer_size = true")
    return list(cursor.sql(table.load_sql).to_arrow_reader(_CHUNK_ROWS))


def _documents(batches: list[pa.RecordBatch]) -> Iterator[tuple[list[str], list[bytes]]]:
    """Ids and documents; empties `batches` on the way, so that the memory goes as the documents come."""
    batches.reverse()
    while batches:
        ids, documents = batches.pop().columns
        yield ids.to_pylist(), documents.to_pylist()


def _history_rows(catalog: ColumnCatalog, batch: WriteBatch, chunk: range, json: Mapping[int, bytes]) -> pa.Table:
    commits, writes = batch.commits, batch.writes
    names = {number: table.layout.name for number, table in catalog.known.items()}
    return history.rows(
        ts=[commits[at].ts for at in chunk],
        times=[commits[at].time for at in chunk],
        tables=[names[writes[at].table] for at in chunk],
        ids=[writes[at].id for at in chunk],
        documents=[json.get(at) for at in chunk],
    )


def _table_faults(table: ColumnTable, chunks: Iterable[tuple[list[str], list[bytes]]]) -> Iterator[str]:
    name = table.layout.name
    seen: set[str] = set()
    for ids, documents in chunks:
        for id, document in zip(ids, documents, strict=True):
            if id in seen:
                yield f"columns: table {name!r} has document {id!r} twice."
            seen.add(id)
            try:
                if table.decode([document])[0].id != id:
                    yield f"columns: document {id!r} of table {name!r} says that it has another id."
            except msgspec.MsgspecError as error:
                yield f"columns: document {id!r} of table {name!r} cannot be read: {error}."
