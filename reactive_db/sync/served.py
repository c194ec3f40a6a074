"""A store as a server has it: shared by sessions, with document classes made of what the store itself keeps."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from reactive_db import limits
from reactive_db.engine.bulk import SOURCE as LOAD
from reactive_db.engine.read_set import BY_ID
from reactive_db.engine.store import Store
from reactive_db.engine.transaction import Transaction
from reactive_db.engine.write_log import LoggedCommit
from reactive_db.errors import (
    ConflictError,
    DocumentError,
    IdError,
    LimitError,
    PermissionDeniedError,
    ProtocolError,
    ReactiveDBError,
    SchemaError,
    SchemaMismatchError,
)
from reactive_db.model.defined import defined_document
from reactive_db.model.documents import Document
from reactive_db.model.ids import RANDOM_BYTES, new_id, table_number
from reactive_db.model.keys import EVERYTHING, prefix_range
from reactive_db.model.schema import TableDefinition, TableSchema
from reactive_db.model.stored_types import patterns_in
from reactive_db.storage.columns import Parameters
from reactive_db.storage.sql_result import SqlResult
from reactive_db.storage.tables import Table, Write
from reactive_db.sync.activity import Activity
from reactive_db.sync.definitions import digest, tables_named_in
from reactive_db.sync.due import Due
from reactive_db.sync.messages import Commit, Present, Range, Written
from reactive_db.sync.publisher import Publisher
from reactive_db.sync.turns import Turns

_DAY_MS: Final = 86_400_000


class SessionRecord(Document, table="_sessions", indexes={"by_session": ["session"]}):
    """What a store keeps of a session, written in the same transaction as what that commits."""

    session: str
    user: str
    commit: int
    """The number of its last commit."""
    seen: float
    """When that was, in milliseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end, as the server found out; never as they say themselves.

    Attributes:
        name: the user.
        may: of `read`, `write`, `deploy`.
        roles: groups, which row policies go by.
    """

    name: str
    may: frozenset[str]
    roles: frozenset[str] = frozenset()

    @property
    def is_owner(self) -> bool:
        """Whether it may run code here anyway, so that nothing of its own has to be locked up."""
        return "deploy" in self.may


@dataclass(frozen=True, slots=True)
class Load:
    """What a session watches, and what waits for it: see `SessionShown`."""

    ranges: int
    tables: int
    requests: int
    documents: int
    frames: int


class Connected(Protocol):
    """A session that has a connection."""

    session: str
    description: str
    caller: Caller

    def end(self) -> None: ...

    def presence_changed(self) -> None: ...

    def load(self) -> Load: ...


class Served:
    """One store that sessions share.

    Responsibilities: tables by their definitions, writes that arrive as messages, each session's last commit, who is
    connected. Not: connections, or finding out who somebody is.
    """

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self.store = store
        store.committer.keeps_log = True
        self._records = store.catalog.table(SessionRecord)
        self.publisher = Publisher(store, self._records.schema.number)
        self.due = Due()
        self.turns = Turns(store.runtime)
        self._forget_sessions()
        self._sessions: dict[str, tuple[Connected, float]] = {}
        self._lock = threading.Lock()
        self._defining = threading.Lock()
        self.activity = Activity(store, self._records.schema.number)

    def close(self) -> None:
        """Bring everything to the disk and let go of the store."""
        self.activity.close()
        self.publisher.close()
        self.store.close()

    # --- who is there -------------------------------------------------------------------------------------------------

    def enter(self, one: Connected) -> None:
        """A session has a connection; one that it had before is ended.

        Raises:
            LimitError: there are too many.
        """
        with self._lock:
            before, _ = self._sessions.pop(one.session, (None, 0.0))
            if len(self._sessions) >= limits.SESSIONS_MAX:
                raise LimitError(
                    f"more than {limits.SESSIONS_MAX:,} sessions are connected to store {self.name!r} (SESSIONS_MAX). "
                    "Close notebooks that nobody uses.",
                    limit="SESSIONS_MAX",
                )
            self._sessions[one.session] = one, self.store.runtime.now()
        if before is not None:
            before.end()
        self._tell_presence()

    def leave(self, one: Connected) -> None:
        """A connection is gone; it may be that another one took its place before."""
        with self._lock:
            if self._sessions.get(one.session, (None, 0.0))[0] is not one:
                return
            del self._sessions[one.session]
        self._tell_presence()

    def present(self) -> list[Present]:
        """Everybody who is connected, the longest first."""
        with self._lock:
            return [Present(one.caller.name, one.description, since) for one, since in self._sessions.values()]

    def connected(self) -> list[tuple[Connected, float]]:
        """Every session that is connected, and since when; the longest first."""
        with self._lock:
            return list(self._sessions.values())

    def _tell_presence(self) -> None:
        for one, _ in self.connected():
            one.presence_changed()
        self.activity.stir()

    # --- what they may do, and do -------------------------------------------------------------------------------------

    def check(self, caller: Caller, needed: str) -> None:
        """Raises PermissionDeniedError unless `caller` may do what is `needed`: `read`, `write` or `deploy`."""
        if needed not in caller.may:
            raise PermissionDeniedError(f"{caller.name!r} may not {needed} in store {self.name!r}.")

    def table(self, number: int) -> Table:
        """The table of that number, for anybody to read or write.

        Raises:
            IdError: the store has none, or it is the store's own.
        """
        definition, catalog = self.definition(number), self.store.catalog
        # One at a time: a second class made of the same definition would take the place of the first.
        with self._defining:
            found = catalog.loaded_table(number)
            return catalog.table(defined_document(definition)) if found is None else found

    def definition(self, number: int) -> TableDefinition:
        """Raises IdError: the store has no such table, or it is the store's own."""
        found = next((one for one in self.store.catalog.definitions() if one.number == number), None)
        if found is None or found.name.startswith("_"):
            raise IdError(f"this store has no table with number {number}.")
        return found

    def define(self, caller: Caller, fields: Mapping[str, Any]) -> None:
        """Create a table, or move it to another definition.

        Raises:
            PermissionDeniedError: the table has a policy, or would have one now, and `caller` may not deploy. Also if
                the policy stays: whether documents fit another definition would tell what is in them.
            SchemaError: it is no definition.
            SchemaMismatchError: documents in the store do not fit it.
        """
        try:
            wanted = msgspec.convert({**fields, "number": 0}, TableDefinition)
        except msgspec.ValidationError as error:
            raise SchemaError(f"this is no definition of a table: {error}.") from None
        if wanted.name.startswith("_"):
            raise SchemaError(f"table {wanted.name!r} is the store's own.")
        with self._defining:
            known = next((one for one in self.store.catalog.definitions() if one.name == wanted.name), None)
            if known is not None and digest(known) == digest(wanted):
                return
            document = defined_document(wanted)
            if known is not None:
                _check_redefines(caller, known, wanted)
                self._check_patterns(known, wanted)
            self.store.catalog.table(document)

    def _check_patterns(self, known: TableDefinition, wanted: TableDefinition) -> None:
        """Raises SchemaMismatchError: a pattern is new, and there are documents, on which nobody here may try it."""
        new = patterns_in(wanted.schema) - patterns_in(known.schema)
        count = self.store.counts().get(known.number, 0) if new else 0
        if count:
            raise SchemaMismatchError(
                f"a server tries no patterns, so it cannot tell whether the {count} documents of table {known.name!r} "
                f"match {min(new)!r}. Give a table its patterns while it is empty, or check in the mutation.",
                table=known.name,
                offenders=[],
            )

    def last_commit(self, session: str) -> int:
        """The number of the last commit of a session, 0 if it made none."""
        record = self._record(session)
        self.store.committer.wait_published(self.store.snapshots.head)  # until then it may still be lost
        return 0 if record is None else record.commit

    def commit(self, session: str, caller: Caller, message: Commit) -> int:
        """Commit what arrived, together with its number, and return the timestamp; once, however often it arrives.

        Raises:
            ConflictError: somebody wrote meanwhile where it read.
            DocumentError, IdError: a document does not fit; nothing was written.
            PermissionDeniedError: a table's policy does not let `caller` write one of the documents.
            SchemaError: the documents were built for another definition of their table.
        """
        try:
            return self._commit(session, caller, message)
        except (_CommittedBefore, ReactiveDBError) as error:
            # Whatever is wrong with it by now: where it read, for one, its own first arrival wrote.
            if self.last_commit(session) < message.commit:
                if isinstance(error, ConflictError):
                    self.activity.lost(message.source, error.code)
                raise
            return self.store.published_ts

    def _commit(self, session: str, caller: Caller, message: Commit) -> int:
        if message.begin_ts > self.publisher.ts:
            # Who validates against what comes after it would validate nothing.
            raise ProtocolError(
                f"a commit read at ts {message.begin_ts}, and store {self.name!r} is at ts {self.publisher.ts}. If the "
                "store was put back to an older state, connect again: `db.close()`, then `rdb.connect(…)`."
            )
        transaction = _Arrived(self, session, caller, message)
        for number, built_for in message.definitions.items():
            self._check_definition(number, built_for)
        tables = {number: self.table(number) for number in {written.table for written in message.writes}}
        for written in message.writes:
            transaction.put(_built(tables[written.table], written))
        self.store.snapshots.begin_at(transaction.begin_ts)
        return self.store.committer.commit(transaction)

    def load(self, caller: Caller, number: int, documents: Iterable[tuple[str, bytes]]) -> int:
        """Insert documents in bulk, at one timestamp, which is returned; raises as `commit`."""
        table, head = self.table(number), self.store.snapshots.head
        built = [_built(table, Written(number, id, data)) for id, data in documents]
        for one in built:
            if not _may_write(caller, table, one.document):
                raise _denied(caller, table, one.id)
        ids = Counter(one.id for one in built)
        known = next((id for id, count in ids.items() if count > 1 or table.get(id, head) is not None), None)
        if known is not None:
            raise DocumentError(f"a load inserts, and {known!r} is there already.", table=table.schema.name)
        writes = [Write(one.id, None, one.document, one.data) for one in built]
        return self.store.committer.commit_bulk([(table, writes)], self.store.runtime.now(), LOAD)

    def tables_named_in(self, statement: str) -> list[int]:
        """The tables that a statement may read: whose names are among its words; the history is of all."""
        return tables_named_in(statement, self.store.catalog.definitions())

    def sql(self, caller: Caller, statement: str, parameters: Parameters, hidden: Mapping[str, str]) -> SqlResult:
        """What a SELECT gives; the owner's runs in this process, others' locked up in one of its own.

        `hidden` is what the policies leave for `caller`; see `Columns.query_for_client`.

        Raises:
            SqlError: the statement is wrong, would write, or asks for too much.
        """
        if caller.is_owner:
            return self.store.query(statement, parameters)
        self.store.flusher.flush()
        return SqlResult(*self.store.columns.query_for_client(statement, parameters, hidden=hidden))

    def record_write(self, session: str, user: str, commit: int) -> Write:
        """The write that takes note of a session's commit; called in the Committer's turn.

        Raises:
            _CommittedBefore: it is noted already.
        """
        schema, now = self._records.schema, self.store.runtime.now()
        before = self._record(session)
        if before is not None and before.commit >= commit:
            raise _CommittedBefore
        id = new_id(schema.number, self.store.runtime.random_bytes(RANDOM_BYTES), now) if before is None else before.id
        created = now if before is None else before.creation_time
        document, data = schema.build(id, created, {"session": session, "user": user, "commit": commit, "seen": now})
        return Write(id, before, document, data)

    @property
    def records_table(self) -> Table:
        """The table of session records."""
        return self._records

    def _record(self, session: str) -> SessionRecord | None:
        key_range = prefix_range(self._records.schema.bound("session", session))
        found = self._records.scan("by_session", key_range, self.store.snapshots.head, descending=False)
        record = next((document for _, document in found), None)
        assert record is None or isinstance(record, SessionRecord)
        return record

    def _forget_sessions(self) -> None:
        """Delete the records of sessions that nobody will go on with any more."""
        oldest = self.store.runtime.now() - limits.SESSION_DAYS_MAX * _DAY_MS
        transaction = self.store.begin("sessions long past")
        for record in list(transaction.scan(self._records, "by_creation_time", EVERYTHING, descending=False)):
            if isinstance(record, SessionRecord) and record.seen < oldest:
                transaction.delete(self._records, record.id)
        self.store.committer.commit(transaction)

    def _check_definition(self, number: int, built_for: str) -> None:
        definition = self.definition(number)
        if digest(definition) != built_for:
            raise SchemaError(
                f"table {definition.name!r} was declared anew elsewhere since this kernel first used it, with the "
                f"fields {', '.join(definition.columns)}. Declare the class here in the same way."
            )


def _check_redefines(caller: Caller, known: TableDefinition, wanted: TableDefinition) -> None:
    """Raises PermissionDeniedError unless `caller` may move a table from one definition to the other."""
    if (known.policy is None and wanted.policy is None) or caller.is_owner:
        return
    has = f"has policy={known.policy!r}" if known.policy is not None else "has no policy"
    raise PermissionDeniedError(
        f"{caller.name!r} may not change table {known.name!r}: that takes the right to deploy where a row policy is in "
        f"force, or would be. Declare its class as the store has it, with the fields {', '.join(known.columns)}. The "
        f"table {has}."
    )


def _may_write(caller: Caller, table: Table, *states: Document | None) -> bool:
    """Whether the table's policy lets `caller` write a document that was and becomes these; None is no document."""
    policy = table.schema.policy
    scope = None if policy is None else policy.writable(caller)
    return scope is None or all(scope.has(state) for state in states if state is not None)


def _denied(caller: Caller, table: Table, id: str) -> PermissionDeniedError:
    # The same words whether there is such a document or not: who may not read it must not hear of it.
    return PermissionDeniedError(
        f"{caller.name!r} may not write document {id!r} of table {table.schema.name!r}. Its policy is "
        f"{table.schema.policy!r}; a rule for writing must hold for the document as it was and as it becomes."
    )


class _CommittedBefore(Exception):
    """The same commit arrived before, on a connection that was lost."""


@dataclass(frozen=True, slots=True)
class _Built:
    """The new state of a document, checked; None and None of one that is deleted."""

    table: Table
    id: str
    document: Document | None
    data: bytes | None


def _built(table: Table, written: Written) -> _Built:
    """What arrived, checked like any other document, and encoded as we do it."""
    if table_number(written.id) != written.table:
        raise IdError(f"{written.id!r} is no id of table {table.schema.name!r}.")
    if written.document is None:
        return _Built(table, written.id, None, None)
    try:
        given = table.schema.decode(written.document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DocumentError(f"{error} (table {table.schema.name!r}).", table=table.schema.name) from None
    if given.id != written.id or given.creation_time is None:
        raise DocumentError("a document without its own id and creation time.", table=table.schema.name)
    document, data = table.schema.build(given.id, given.creation_time, table.schema.plain(given))
    return _Built(table, written.id, document, data)


class _Arrived(Transaction):
    """A transaction that ran elsewhere: what it read and wrote, for the Committer to judge."""

    def __init__(self, served: Served, session: str, caller: Caller, message: Commit) -> None:
        store = served.store
        super().__init__(message.begin_ts, store.runtime, store.limits, is_read_only=False, source=message.source)
        self.tables[served.records_table.schema.number] = served.records_table
        self._served = served
        self._session = session
        self._caller = caller
        self._commit = message.commit
        self._built: dict[str, _Built] = {}
        for one in message.reads:
            self._add_read(one)

    def put(self, built: _Built) -> None:
        """Write a document; what was there before is found out when the Committer asks."""
        self.tables.setdefault(built.table.schema.number, built.table)
        self._built[built.id] = built

    @property
    def writes(self) -> dict[int, list[Write]]:
        """Asked by the Committer in its turn, when nobody else writes.

        Raises:
            PermissionDeniedError: a table's policy is against it.
        """
        number = self._served.records_table.schema.number
        found = {number: [self._served.record_write(self._session, self._caller.name, self._commit)]}
        head = self._served.store.snapshots.head
        for one in self._built.values():
            old = one.table.get(one.id, head)
            if not _may_write(self._caller, one.table, old, one.document):
                if one.document is not None or self._sees(one.table.schema, old):
                    raise _denied(self._caller, one.table, one.id)
                old = None  # to delete what one may not read is to delete what does not exist
            if old is not None or one.document is not None:
                found.setdefault(one.table.schema.number, []).append(Write(one.id, old, one.document, one.data))
        return found

    def seen(self, commit: LoggedCommit) -> LoggedCommit:
        """Without documents that the caller may not read: nothing rests on them, and a conflict would tell of them."""
        if commit.is_bulk or self._caller.is_owner:
            return commit
        seen = {
            number: (schema, [write for write in writes if self._sees(schema, write.old, write.new)])
            for number, (schema, writes) in commit.writes.items()
        }
        return LoggedCommit(commit.ts, commit.source, seen, commit.is_bulk)

    def _sees(self, schema: TableSchema, *states: Document | None) -> bool:
        """Whether the caller may read a document in one of these states; what is the store's own they may not."""
        if schema.name.startswith("_"):
            return False
        scope = None if schema.policy is None else schema.policy.readable(self._caller)
        return scope is None or scope.has(*states)

    def _add_read(self, one: Range) -> None:
        if one.index == BY_ID and one.hi == one.lo + b"\0":
            self._reads.add_document(one.table, one.lo.decode())
        else:
            self._reads.add_range(one.space, one.keys)
