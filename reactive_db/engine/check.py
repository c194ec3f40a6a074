"""Checks that a store is whole: every part by itself, and that the parts fit each other.

Changes nothing. The columns are opened for reading only, and the journal, which SQLite cannot open without recovering
it, is read from a copy; it is small, because the columns take from it what they hold. Nothing here repairs anything.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from reactive_db.errors import IdError, NotAStoreError, ReactiveDBError
from reactive_db.model.codec import decoder
from reactive_db.model.ids import USER_TABLES_FROM, table_number
from reactive_db.model.schema import TABLES_NUMBER, TableDefinition
from reactive_db.storage.columns import Columns
from reactive_db.storage.commit import Commit, DocumentWrite, join_parts
from reactive_db.storage.directory import StoreDirectory, is_store
from reactive_db.storage.journal import SqliteJournal

FAULTS_SHOWN_MAX: Final = 20
"""Of one part; a damaged table would say the same a million times."""

_VIEWS: Final = "SELECT view_name FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal ORDER BY 1"
_HISTORY: Final = """
SELECT min(ts) AS first, max(ts) AS last, count(DISTINCT ts) AS commits, count(*) AS writes,
       count(DISTINCT (ts, _id)) AS distinct_writes
FROM _history
"""
_LAST_STATES: Final = """
SELECT _id, arg_max(document IS NULL, ts) AS is_gone FROM _history WHERE "table" = ? GROUP BY _id
"""

_decode_definition: Final = decoder(TableDefinition).decode

Found = tuple[str, Iterable[str]]
"""What one part is, in a few words, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a store, and what is wrong with it."""

    name: str
    facts: str
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found."""

    path: Path
    parts: tuple[Part, ...]

    @property
    def faults(self) -> list[str]:
        """Every fault, with the part it is in; empty for a sound store."""
        return [f"{part.name}: {fault}" for part in self.parts for fault in part.faults]

    @property
    def is_sound(self) -> bool:
        return not self.faults


def verify(path: Path, tell: Callable[[Part], None] = lambda part: None) -> Report:
    """Look at every part of the store directory `path`; `tell` is called with each as it is done.

    Holds the store's lock meanwhile. Reads every document, and keeps the ids of all of them in memory.

    Raises:
        StoreLockedError: a process has the store open; the message names it.
        NotAStoreError: there is no store.
        StoreFormatError: a newer version wrote it.
    """
    if not is_store(path):
        raise NotAStoreError(f"there is no store at {path}. Check the path.")
    directory = StoreDirectory.open(path)
    try:
        with contextlib.ExitStack() as stack:
            look = _Look(directory, stack)
            parts = []
            for name, part in look.parts().items():
                parts.append(_looked_at(name, part))
                tell(parts[-1])
            return Report(path, tuple(parts))
    finally:
        directory.release()


def _looked_at(name: str, look: Callable[[], Found]) -> Part:
    try:
        facts, found = look()
        faults = [fault.removeprefix(f"{name}: ") for fault in found]
    except ReactiveDBError as error:
        return Part(name, "cannot be read", (error.message,))
    if len(faults) > FAULTS_SHOWN_MAX:
        faults[FAULTS_SHOWN_MAX:] = [f"and {len(faults) - FAULTS_SHOWN_MAX:,} more."]
    return Part(name, facts, tuple(faults))


class _Look:
    """One look at one store. A part whose foundation cannot be opened has no faults of its own."""

    def __init__(self, directory: StoreDirectory, stack: contextlib.ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._journal: SqliteJournal | None = None
        self._columns: Columns | None = None
        self._definitions: dict[str, TableDefinition] = {}
        self._ids: dict[str, set[str]] = {}

    def parts(self) -> Mapping[str, Callable[[], Found]]:
        """In this order: each may lean on those before it."""
        return {
            "journal": self._look_at_journal,
            "columns": self._look_at_columns,
            "order": self._look_at_order,
            "tables": self._look_at_tables,
            "documents": self._look_at_documents,
            "history": self._look_at_history,
        }

    def _look_at_journal(self) -> Found:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="reactive_db-check-")))
        original = self._directory.journal
        for file in (original, original.with_name(f"{original.name}-wal")):
            if file.exists():
                shutil.copyfile(file, folder / file.name)
        journal = self._stack.enter_context(contextlib.closing(SqliteJournal(folder / original.name)))
        self._journal = journal
        return f"ends at ts {journal.last_ts:,}", journal.verify()

    def _look_at_columns(self) -> Found:
        # A store that died at its birth has none yet.
        path = self._directory.columns
        columns = Columns.open(path, read_only=True) if path.exists() else Columns.open(None)
        self._columns = self._stack.enter_context(contextlib.closing(columns))
        return f"reach ts {columns.applied_ts:,}", _column_faults(columns)

    def _look_at_order(self) -> Found:
        if self._journal is None or self._columns is None:
            return "not looked at", ()
        applied, last = self._columns.applied_ts, self._journal.last_ts
        return f"{max(last - applied, 0):,} commits wait for the columns", self._order_faults(applied, last)

    def _order_faults(self, applied: int, last: int) -> Iterator[str]:
        expected = applied + 1
        for commit in self._tail():
            if commit.ts != expected:
                yield f"after ts {expected - 1:,} comes ts {commit.ts:,}; what is between them is lost."
            expected = commit.ts + 1
        if expected <= last:
            yield f"the columns and the journal together end at ts {expected - 1:,}, but ts {last:,} was committed."

    def _look_at_tables(self) -> Found:
        if self._columns is None:
            return "not looked at", ()
        faults: list[str] = []
        by_id: dict[str, bytes] = {}
        for ids, documents in self._columns.load(TABLES_NUMBER):
            by_id.update(zip(ids, documents, strict=True))
        for write in self._tail_writes():
            if write.table == TABLES_NUMBER and write.document is not None:
                by_id[write.id] = write.document
        for id, document in by_id.items():
            try:
                definition = _decode_definition(document)
            except msgspec.MsgspecError as error:
                faults.append(f"definition {id!r} cannot be read: {error}.")
                continue
            faults += self._definition_faults(definition)
            self._definitions[definition.name] = definition
        return f"{len(by_id):,}: {', '.join(sorted(self._definitions)) or 'none'}", faults

    def _definition_faults(self, definition: TableDefinition) -> Iterator[str]:
        name = definition.name
        if name in self._definitions:
            yield f"{name!r} is defined twice."
        if definition.number in {other.number for other in self._definitions.values()}:
            yield f"{name!r} has number {definition.number}, which another table has."
        if definition.number < USER_TABLES_FROM:
            yield f"{name!r} has number {definition.number}, which only a system table may have."
        for index, fields in definition.indexes.items():
            unknown = [field for field in fields if field.split(".")[0] not in definition.columns]
            if unknown:
                yield f"index {index!r} of {name!r} is on {unknown[0]!r}, which is no field."

    def _look_at_documents(self) -> Found:
        if self._columns is None:
            return "not looked at", ()
        faults: list[str] = []
        tables = {"_tables": TABLES_NUMBER} | {name: d.number for name, d in self._definitions.items()}
        for name, number in tables.items():
            ids = self._ids[name] = {id for chunk, _ in self._columns.load(number) for id in chunk}
            faults += [f"{id!r} in table {name!r} {what}." for id in ids if (what := _id_fault(id, number))]
        waiting = 0
        for write in self._tail_writes():
            waiting += 1
            faults += _write_faults(write, set(tables.values()))
        count = sum(len(ids) for name, ids in self._ids.items() if name in self._definitions)
        return f"{count:,} in the columns, {waiting:,} writes waiting for them", faults

    def _look_at_history(self) -> Found:
        columns = self._columns
        if columns is None:
            return "not looked at", ()
        if columns.applied_ts == 0:
            return "none yet", ()
        found: dict[str, Any] = columns.query(_HISTORY)[0].to_pylist()[0]
        facts = f"{found['writes']:,} writes since ts {found['first'] or 0:,}"
        return facts, [*_span_faults(found, columns.applied_ts), *self._state_faults(columns)]

    def _state_faults(self, columns: Columns) -> Iterator[str]:
        """Where the newest history of a document contradicts the document."""
        for name, ids in self._ids.items():
            last = columns.query(_LAST_STATES, [name])[0].to_pydict()
            for id, is_gone in zip(last["_id"], last["is_gone"], strict=True):
                if is_gone == (id in ids):
                    state = "deleted" if is_gone else "there"
                    yield f"document {id!r} of table {name!r} should be {state} and is not."

    def _tail(self) -> Iterator[Commit]:
        """What the columns do not have yet; parts that cannot be read are a fault of the journal."""
        if self._journal is not None and self._columns is not None:
            with contextlib.suppress(msgspec.MsgspecError):
                yield from join_parts(self._journal.parts(self._columns.applied_ts))

    def _tail_writes(self) -> Iterator[DocumentWrite]:
        for commit in self._tail():
            yield from commit.writes


def _column_faults(columns: Columns) -> Iterator[str]:
    yield from columns.verify()
    if columns.applied_ts == 0:
        return
    for name in columns.query(_VIEWS)[0].to_pydict()["view_name"]:
        quoted = '"' + name.replace('"', '""') + '"'
        try:
            # Touches every block of every column; DuckDB keeps a checksum with each.
            columns.query(f"SELECT bit_xor(hash(t)) FROM {quoted} AS t")
        except ReactiveDBError as error:
            yield f"{name!r} cannot be read: {error.message}"


def _span_faults(found: Mapping[str, Any], applied: int) -> Iterator[str]:
    """Old commits may be forgotten, so the history may begin anywhere, but then it has every commit once."""
    first, last = found["first"], found["last"]
    if last != applied:
        yield f"it ends at ts {last}, the columns at ts {applied}."
    elif found["commits"] != last - first + 1:
        yield f"{last - first + 1 - found['commits']:,} commits since ts {first} are missing."
    if found["writes"] != found["distinct_writes"]:
        yield f"{found['writes'] - found['distinct_writes']:,} writes are in it twice."


def _write_faults(write: DocumentWrite, tables: set[int]) -> Iterator[str]:
    """What is wrong with a write that waits in the journal."""
    if write.table not in tables:
        yield f"{write.id!r} waits for table number {write.table}, which nothing defines."
    if fault := _id_fault(write.id, write.table):
        yield f"{write.id!r} waits in the journal and {fault}."
    if write.document is None:
        return
    try:
        named = msgspec.msgpack.decode(write.document)["_id"]
    except (msgspec.MsgspecError, LookupError, TypeError) as error:
        yield f"{write.id!r} waits in the journal and cannot be read: {error}."
        return
    if named != write.id:
        yield f"{write.id!r} waits in the journal and says that it is {named!r}."


def _id_fault(id: str, number: int) -> str | None:
    try:
        found = table_number(id)
    except IdError as error:
        return f"is no id ({error.message.removesuffix('.')})"
    return None if found == number else f"is an id of table number {found}"
