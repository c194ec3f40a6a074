"""The whole store at a glance, for people: tables and their documents, live queries, recent commits and conflicts.

Looking changes nothing: no table is loaded, no class is matched with the store, and only `patch` and `delete` commit.
What is shown is read when it is asked for; `on_change` tells when it is worth asking again.
"""

from __future__ import annotations

import logging
import typing
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from reprlib import repr as short
from typing import Any, Final

import msgspec

from reactive_db import limits
from reactive_db.engine.access import StoreAccess
from reactive_db.engine.lost_race import LostRace
from reactive_db.engine.snapshots import Snapshot
from reactive_db.engine.write_log import LoggedCommit
from reactive_db.errors import ArgumentError, IdError, SchemaError, StoreError
from reactive_db.functions.contexts import MutationCtx
from reactive_db.functions.definitions import mutation
from reactive_db.handles import Connection, QueryHandle
from reactive_db.model.codec import encoder
from reactive_db.model.defined import reading_class
from reactive_db.model.documents import Document, declared_document, table_of
from reactive_db.model.ids import Id, table_number
from reactive_db.model.layout import layout_of
from reactive_db.model.schema import TableDefinition
from reactive_db.model.type_text import type_text
from reactive_db.presentation import as_html, as_text, framed
from reactive_db.reactive.live_query import Compute, Key, LiveQuery, Outcome
from reactive_db.reactive.scheduler import Scheduler

_DOCUMENTS: Final = "documents of a table"
"""Our own live queries, which are no part of what is inspected."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TableSummary:
    """One table.

    Attributes:
        documents: how many it has.
        fields: their types as a class would annotate them.
        indexes: the fields of each index that its class declares.
        is_declared: its class is declared in this process; without it, documents can be looked at but not changed.
    """

    name: str
    documents: int
    fields: Mapping[str, str]
    indexes: Mapping[str, tuple[str, ...]]
    is_declared: bool


@dataclass(frozen=True, slots=True)
class QuerySummary:
    """One query that is kept right, or kept for whoever asks next.

    Attributes:
        title: its call, or its SQL text.
        name: of its function; `sql` for a statement.
        arguments: by name.
        watchers: how many handles show it.
        runs: how often it ran; `seconds_last` is how long the latest run took, `seconds_total` all of them.
        ranges: how many key ranges and single documents it is subscribed to.
        documents_read: by its latest run; None for SQL, which reads whole tables.
        is_stale: a commit wrote where it read, and it has not run since.
    """

    title: str
    name: str
    arguments: Mapping[str, Any]
    watchers: int
    runs: int
    seconds_last: float
    seconds_total: float
    ranges: int
    documents_read: int | None
    is_stale: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """How many documents of one table a commit inserted, changed and deleted; None where it was too many to count."""

    inserted: int | None
    changed: int | None
    deleted: int | None


@dataclass(frozen=True, slots=True)
class CommitSummary:
    """One commit.

    Attributes:
        source: the function that made it.
        tables: what it did, by table.
        is_bulk: it was a load or a new schema; of those only the tables are remembered.
        races_lost: how often the function had to run again because another commit was first.
    """

    ts: int
    source: str
    tables: Mapping[str, Changes]
    is_bulk: bool
    races_lost: int


@mutation(internal=True)
def patch_document(ctx: MutationCtx, id: str, field: str, value: Any) -> None:
    """Change one field, by hand."""
    ctx.db.patch(Id[Any](id), {field: value})


@mutation(internal=True)
def delete_document(ctx: MutationCtx, id: str) -> None:
    """Delete a document, by hand."""
    ctx.db.delete(Id[Any](id))


class Inspection:
    """The whole store at a glance. Made by `db.inspect()`; usable from any thread.

    Attributes:
        db: the connection that it was made by.
    """

    def __init__(
        self, db: Connection, store: StoreAccess, scheduler: Scheduler, check_usable: Callable[[str], None]
    ) -> None:
        self.db = db
        self._store = store
        self._scheduler = scheduler
        self._check_usable = check_usable
        self._commits: dict[int, CommitSummary] = {}
        self._handles: weakref.WeakSet[QueryHandle[list[Document]]] = weakref.WeakSet()
        self._listeners: dict[object, Callable[[], None]] = {}
        self._hearing: weakref.finalize[Any, Inspection] | None = None

    @property
    def ts(self) -> int:
        """The newest timestamp: how many commits the store has seen."""
        return self._store.published_ts

    @property
    def table_names(self) -> list[str]:
        """The names of all tables; unlike `tables`, known at once."""
        return sorted(definition.name for definition in self._store.definitions())

    @property
    def tables(self) -> list[TableSummary]:
        """Every table of the store by name, declared here or not; counted at one timestamp."""
        self._check_usable("inspect().tables")
        definitions = sorted(self._store.definitions(), key=lambda definition: definition.name)
        counts = self._store.counts()
        return [_table_summary(definition, counts.get(definition.number, 0)) for definition in definitions]

    @property
    def live_queries(self) -> list[QuerySummary]:
        """The queries with a kept value, those that somebody watches first; at most `INSPECTED_QUERIES_MAX`."""
        found = self._scheduler.cache.queries(limits.INSPECTED_QUERIES_MAX)
        return [_query_summary(query) for query in found if query.key[0] != _DOCUMENTS]

    @property
    def commits(self) -> list[CommitSummary]:
        """The latest commits of this process, newest first; at most `INSPECTED_COMMITS_MAX`."""
        logged = self._scheduler.cache.commits(limits.INSPECTED_COMMITS_MAX)
        lost = Counter(race.retried_ts for race in self._store.lost_races())
        # A commit does not change any more, and one of many documents takes a while to count.
        before = self._commits
        self._commits = {one.ts: before.get(one.ts) or _commit_summary(one, lost[one.ts]) for one in logged}
        return list(self._commits.values())

    @property
    def conflicts(self) -> list[LostRace]:
        """The latest races that functions lost, newest first; at most `LOST_RACES_MAX`."""
        found = self._store.lost_races()
        return [replace(race, source=_short_name(race.source), winner=_short_name(race.winner)) for race in found]

    @property
    def conflicts_total(self) -> int:
        """How many races were lost since the store was opened."""
        return self._store.conflicts

    def documents(self, table: str) -> QueryHandle[list[Document]]:
        """A handle on the newest documents of a table, at most `INSPECTED_DOCUMENTS_MAX`; needs no declared class.

        Raises:
            ArgumentError: the store has no such table.
        """
        self._check_usable("inspect().documents")
        definition = self._definition(table)
        handle: QueryHandle[list[Document]] = QueryHandle(self.db, self._scheduler, self._store.runtime, table)
        handle.start((_DOCUMENTS, encoder.encode(table)), _newest(self._store, definition), reads_columns=False)
        self._handles.add(handle)
        return handle

    def patch(self, table: str, id: str, field: str, value: Any) -> None:
        """Change one field of a document, checked like any other write; `rdb.MISSING` takes an optional field away.

        Raises:
            ArgumentError, IdError: the store has no such table; the id is not of that table.
            SchemaError: the table's class is not declared in this process.
            DocumentError, DocumentNotFoundError: as `ctx.db.patch`.
        """
        self._check_id(table, id)
        self.db.run(patch_document, id, field, value)

    def delete(self, table: str, id: str) -> None:
        """Delete a document; raises as `patch`."""
        self._check_id(table, id)
        self.db.run(delete_document, id)

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on any thread when something may read differently now; returns what ends that.

        Whoever made the change waits meanwhile: only take note of it, and read later. `close` ends it too, as does the
        end of this object.
        """
        if self._hearing is None:
            hear = partial(_tell, weakref.ref(self))
            self._scheduler.on_advanced.append(hear)
            self._hearing = weakref.finalize(self, self._scheduler.on_advanced.remove, hear)
            self._hearing.atexit = False
        token = object()
        self._listeners[token] = listener
        return partial(_end, self._listeners, token)

    def close(self) -> None:
        """Tell no listener any more, and close the handles that `documents` gave; safe to call again."""
        self._listeners.clear()
        if self._hearing is not None:
            self._hearing()
            self._hearing = None
        for handle in list(self._handles):
            handle.close()

    def __repr__(self) -> str:
        parts = [f"{part}\n{as_text(rows)}" for part in PARTS if (rows := self.rows(part))]
        return "\n\n".join([self._headline(), *parts])

    def _repr_html_(self) -> str:
        parts = [as_html(rows, caption=part) for part in PARTS if (rows := self.rows(part))]
        return framed(f'<div class="caption">{escape(self._headline())}</div>') + "".join(parts)

    def _headline(self) -> str:
        lost = f"{self.conflicts_total:,} race{'' if self.conflicts_total == 1 else 's'} lost"
        return f"Store {self._store.place} at ts {self.ts:,}, {lost}"

    def rows(self, part: str) -> list[dict[str, Any]]:
        """One of `PARTS` as rows, for people; of a closed store what is left in memory."""
        try:
            return _ROWS[part](self)
        except StoreError:
            return []

    def _definition(self, table: str) -> TableDefinition:
        definitions = {definition.name: definition for definition in self._store.definitions()}
        if table not in definitions:
            known = ", ".join(sorted(definitions)) or "none yet"
            raise ArgumentError(f"the store has no table {table!r}. Its tables: {known}.")
        return definitions[table]

    def _check_id(self, table: str, id: str) -> None:
        if table_number(id) != self._definition(table).number:
            raise IdError(f"{id!r} is no id of table {table!r}: it belongs to another table or store.")


def _end(listeners: dict[object, Callable[[], None]], token: object) -> None:
    listeners.pop(token, None)


def _tell(reference: weakref.ref[Inspection]) -> None:
    """Tell the listeners of an inspection, which nobody but its users keeps alive."""
    inspection = reference()
    for listener in tuple(inspection._listeners.values()) if inspection is not None else ():
        try:
            listener()
        except Exception:
            _log.exception("a listener of an inspection raised; the data are not affected")


def _newest(store: StoreAccess, definition: TableDefinition) -> Compute:
    """The newest documents of a table at a timestamp."""
    document = reading_class(definition)

    def compute(snapshot: Snapshot, page_end: str | None) -> Outcome:
        transaction = store.read_at(snapshot, _DOCUMENTS)
        value, error = None, None
        try:
            value = store.newest(transaction, definition, limits.INSPECTED_DOCUMENTS_MAX, document)
        except Exception as raised:
            error = raised
        return Outcome(snapshot, transaction.read_set, value, error)

    return compute


# --- summaries -------------------------------------------------------------------------------------------------------


def _table_summary(definition: TableDefinition, documents: int) -> TableSummary:
    declared = declared_document(definition.name)
    is_declared = declared is not None and table_of(declared) == definition.name
    indexes = {name: tuple(fields) for name, fields in definition.indexes.items()}
    return TableSummary(definition.name, documents, _fields(definition, declared), indexes, is_declared)


def _query_summary(query: LiveQuery) -> QuerySummary:
    title, name, arguments = _call(query.key)
    return QuerySummary(
        title=title,
        name=name,
        arguments=arguments,
        watchers=sum(1 for _ in query.living_watchers()),
        runs=query.runs,
        seconds_last=query.seconds_last,
        seconds_total=query.seconds_total,
        ranges=0 if query.registered is None else len(query.registered),
        documents_read=None if query.outcome is None else query.outcome.documents_read,
        is_stale=query.is_stale,
    )


def _call(key: Key) -> tuple[str, str, dict[str, Any]]:
    """The title, the function and the arguments of a live query."""
    name, arguments = _short_name(key[0]), msgspec.msgpack.decode(key[1])
    if isinstance(arguments, dict):
        given = ", ".join(f"{parameter}={short(value)}" for parameter, value in arguments.items())
        return f"{name}({given})", name, arguments
    statement, parameters = arguments
    return " ".join(statement.split()), name, {"statement": statement, "parameters": parameters}


def _commit_summary(commit: LoggedCommit, races_lost: int) -> CommitSummary:
    nothing = Changes(None, None, None)
    tables = {
        schema.name: nothing if commit.is_bulk else _changes([(w.old is None, w.new is None) for w in writes])
        for schema, writes in commit.writes.values()
    }
    return CommitSummary(commit.ts, _short_name(commit.source), tables, commit.is_bulk, races_lost)


def _changes(writes: list[tuple[bool, bool]]) -> Changes:
    """Of writes, given as whether there was no document before and whether there is none after."""
    count = Counter(writes)
    return Changes(count[True, False], count[False, False], count[False, True])


def _short_name(source: str) -> str:
    return source.removeprefix("__main__:")


# --- the types of fields ---------------------------------------------------------------------------------------------


def _fields(definition: TableDefinition, declared: type[Document] | None) -> dict[str, str]:
    """The type of every field: as its class has it, or what the store knows of that."""
    is_here = declared is not None and _is_of(declared, definition)
    hints = typing.get_type_hints(declared if is_here else reading_class(definition), include_extras=True)
    return {name: type_text(hints[name]) for name in definition.columns}


def _is_of(document: type[Document], definition: TableDefinition) -> bool:
    """Whether a class has the fields that the store knows."""
    try:
        return layout_of(document, definition.number, definition.name).columns == definition.columns
    except SchemaError:
        return False


# --- how it looks ----------------------------------------------------------------------------------------------------


def _table_row(table: TableSummary) -> dict[str, Any]:
    return {
        "table": table.name,
        "documents": table.documents,
        "indexes": ", ".join(f"{name}({', '.join(fields)})" for name, fields in table.indexes.items()) or None,
        "fields": ", ".join(f"{name}: {type_}" for name, type_ in table.fields.items()),
    }


def _query_row(query: QuerySummary) -> dict[str, Any]:
    return {
        "query": query.title,
        "watchers": query.watchers,
        "runs": query.runs,
        "last ms": round(query.seconds_last * 1000, 3),
        "total ms": round(query.seconds_total * 1000, 3),
        "ranges": query.ranges,
        "documents read": query.documents_read,
        "state": "stale" if query.is_stale else "right",
    }


def _commit_row(commit: CommitSummary) -> dict[str, Any]:
    changes = [f"{table}: {_changes_text(done)}" for table, done in commit.tables.items()]
    return {"ts": commit.ts, "by": commit.source, "changes": "; ".join(changes), "races lost": commit.races_lost}


def _changes_text(changes: Changes) -> str:
    counts = {"inserted": changes.inserted, "changed": changes.changed, "deleted": changes.deleted}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "as a whole"


def _race_row(race: LostRace) -> dict[str, Any]:
    return {
        "lost by": race.source,
        "at ts": race.begin_ts,
        "where": f"{race.table}.{race.index}",
        "won by": race.winner,
        "with ts": race.winner_ts,
        "then at ts": race.retried_ts,
    }


_ROWS: Final[dict[str, Callable[[Inspection], list[dict[str, Any]]]]] = {
    "Tables": lambda inspection: [_table_row(one) for one in inspection.tables],
    "Live queries": lambda inspection: [_query_row(one) for one in inspection.live_queries],
    "Commits": lambda inspection: [_commit_row(one) for one in inspection.commits],
    "Lost races": lambda inspection: [_race_row(one) for one in inspection.conflicts],
}
PARTS: Final = tuple(_ROWS)
