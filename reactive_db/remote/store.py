"""A store on a server, for functions that run in this kernel: reads in the replica, commits over the connection."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Final, Protocol, Self

import msgspec

from reactive_db import limits
from reactive_db.engine.access import Listener, Presence, Report, Status
from reactive_db.engine.bulk import build
from reactive_db.engine.lost_race import LostRace
from reactive_db.engine.optimistic import OptimisticUpdate
from reactive_db.engine.snapshots import Snapshot, SnapshotPassed, Unreachable
from reactive_db.engine.transaction import Transaction
from reactive_db.engine.write_log import LoggedCommit
from reactive_db.errors import ConflictError, IdError, SchemaError
from reactive_db.limits import Limits
from reactive_db.model.codec import Converter, encoder, to_plain
from reactive_db.model.documents import Document, current_document, declared_document, declared_documents, table_of
from reactive_db.model.ids import table_number
from reactive_db.model.keys import EVERYTHING
from reactive_db.model.schema import TABLES_NUMBER, TableDefinition, TableSchema, decode_definition
from reactive_db.remote.address import Address
from reactive_db.remote.kernel import Kernel, description
from reactive_db.remote.link import End, Link
from reactive_db.runtime import Runtime
from reactive_db.storage.client_tables import words
from reactive_db.storage.column_types import quoted
from reactive_db.storage.columns import Parameters
from reactive_db.storage.sql_result import SqlResult, of_ipc
from reactive_db.storage.tables import Table
from reactive_db.sync import messages as m
from reactive_db.sync.background import Background
from reactive_db.sync.client import ClientSession
from reactive_db.sync.definitions import digest, digest_of, tables_named_in
from reactive_db.sync.replica import Replica, ReplicaTable

_BACK_OFF_SECONDS: Final = 0.002
_BACK_OFF_DOUBLINGS: Final = 6

_log = logging.getLogger(__name__)

Listeners = list[Callable[[], None]]


class Connection(Protocol):
    """What keeps a session in touch with its server: a `Link`, or a test's own."""

    def close(self) -> None:
        """End it for good."""


Connect = Callable[[End], Connection]
"""Makes the connection of a session, which is its `End`."""


class RemoteStore:
    """A `StoreAccess` whose documents are on a server.

    Responsibilities: the tables of this kernel's classes, commits and their retries, running optimistic updates again,
    SQL. Not: how frames travel.

    Attributes:
        on_settled: called by the mover's thread when `published_ts`, `status` or `pending` may be different.
        on_lost: called by the receiving thread, which must not be kept waiting, when the connection is lost: nothing is
            kept fresh until `on_begun`.
        on_begun: called by the receiving thread: what was found before may be wrong, and is kept fresh again.
        conflicts: how many races commits of this kernel lost.
        user: as the server knows them.
    """

    def __init__(self, place: str, connect: Connect, runtime: Runtime, limits_: Limits) -> None:
        """Begin to connect; `place` is where to, for people."""
        self.place = place
        self.has_failed = False
        self.user = ""
        self.runtime = runtime
        self.limits = limits_
        self.converter = Converter(self._number)
        self.replica = Replica()
        self.session = ClientSession(runtime.random_bytes(16).hex(), description(), self)
        self.on_commit: list[Listener] = self.replica.listeners
        self.on_settled: Listeners = []
        self.on_lost: Listeners = []
        self.on_begun: Listeners = []
        self.conflicts = 0
        self.on_presence: Listeners = []
        self._present: list[Presence] = []
        self._hears_presence = False
        self._lost_races: deque[LostRace] = deque(maxlen=limits.LOST_RACES_MAX)
        self._definitions: dict[str, TableDefinition] = {}
        self._by_class: dict[type[Document], ReplicaTable] = {}
        self._results: OrderedDict[bytes, tuple[list[int], SqlResult]] = OrderedDict()
        self._fullness_max = 1.0
        self._has_forgotten = False
        self._random = runtime.random()
        self._is_closed = threading.Event()
        self._rebasing = threading.RLock()
        self._lock = threading.Lock()
        """Guards the dicts; nobody waits for the server while it is held."""
        self._defining = threading.RLock()
        self._background: list[Background] = []
        self.on_commit.append(self._drop_results)
        self._link = connect(self.session)

    @classmethod
    def at(cls, address: Address, kernel: Kernel | None, runtime: Runtime, limits_: Limits) -> Self:
        """The store at an address, over a websocket."""
        return cls(str(address), lambda end: Link(address, kernel, end, runtime), runtime, limits_)

    @property
    def is_at_rest(self) -> bool:
        """Whether all that the server has said is done with."""
        return all(one.is_idle for one in self._background)

    def wait_until_open(self, seconds: float) -> None:
        """Return when there is a connection; raises what it was refused for, or OfflineError after `seconds`."""
        self.session.wait_until_open(seconds)

    def follow(self, advance: Callable[[], None], lose: Callable[[], None], regain: Callable[[], None]) -> None:
        """Have `advance` called when something has changed, `lose` and `regain` with the connection.

        Each on the mover's thread, which may wait for answers; the receiving thread may not. So may whoever hears of
        `on_settled`: they may be anybody.
        """
        steps: deque[Callable[[], None]] = deque()

        def work() -> None:
            while steps:
                steps.popleft()()
            self.rebase()
            advance()
            self._stay_small()
            self.tell_settled()

        mover = Background(work, "reactive_db-mover")
        self._background.append(mover)

        def then(step: Callable[[], None]) -> Callable[[], None]:
            def note() -> None:
                steps.append(step)
                mover.wake()

            return note

        self.on_presence.append(mover.wake)
        self.on_lost.append(then(lose))
        self.on_begun.append(then(regain))

    # --- what the server says; see `Hearer` ---------------------------------------------------------------------------

    def welcomed(self, welcome: m.Welcome) -> None:
        if welcome.ts < self.published_ts:
            _log.warning("store %r went back to ts %d; everything is read anew", welcome.name, welcome.ts)
        self.user = welcome.user
        self._take_definitions(welcome.definitions)
        self._start_anew(welcome.ts, welcome.commit)

    def begun(self) -> None:
        if self._hears_presence:
            self.session.say(m.WatchPresence())
        _call(self.on_begun)
        self._wake()

    def told(self, message: m.Message) -> None:
        if isinstance(message, m.Transition):
            self._take_definitions(message.writes)
            self.replica.take(message)
            self._wake()
        elif isinstance(message, m.Rows):
            self.replica.take_rows(message)
            if self.replica.fullness > self._fullness_max:
                self._wake()
        elif isinstance(message, m.Forgotten):
            self._start_anew(message.ts, 0)
            _call(self.on_begun)
        elif isinstance(message, m.Counted):
            self.replica.take_count(message)
        elif isinstance(message, m.Presence):
            self._present = [Presence.of(one.user, one.description, one.since) for one in message.present]
            _call(self.on_presence)
        elif isinstance(message, m.Committed):
            self._wake()

    def cut_off(self) -> None:
        _call(self.on_lost)
        self._wake()

    def _start_anew(self, ts: int, commit: int) -> None:
        """Know nothing: classes find their tables again when they are next used; see `Replica.start`."""
        with self._lock:
            self._results.clear()
            self._by_class = {}
            numbers = {definition.number for definition in self._definitions.values()}
        self.replica.start(ts, numbers, commit)

    def _stay_small(self) -> None:
        """Forget everything when too much is known here; what live queries need is read again, and little else is.

        If they alone need more than half as much as there may be, there may be twice what they need.
        """
        if self._has_forgotten:
            self._has_forgotten = False
            self._fullness_max = max(1.0, 2 * self.replica.fullness)
        elif self.replica.fullness > self._fullness_max:
            with suppress(Unreachable):  # all is forgotten with the connection
                self._has_forgotten = True
                self.session.ask(m.Forget)

    # --- transactions; see `StoreAccess` ------------------------------------------------------------------------------

    @property
    def published_ts(self) -> int:
        return self.replica.snapshots.published

    @property
    def status(self) -> Status:
        return self.session.status

    @property
    def pending(self) -> int:
        return self.session.pending

    def check_open(self) -> None:
        self.session.check_open()

    def begin(self, source: str, runtime: Runtime | None = None) -> Transaction:
        self.check_open()
        ts = self.replica.snapshots.begin_published()
        return Transaction(ts, runtime or self.runtime, self.limits, is_read_only=False, source=source)

    def read_at(self, snapshot: Snapshot, source: str) -> Transaction:
        self.check_open()
        over = snapshot.over
        return Transaction(snapshot.ts, self.runtime, self.limits, is_read_only=True, source=source, over=over)

    def abandon(self, transaction: Transaction) -> None:
        self.replica.snapshots.end(transaction.begin_ts)

    @contextmanager
    def snapshot(self, *, with_columns: bool) -> Iterator[Snapshot]:
        snapshot = self.replica.begin()
        try:
            yield snapshot
        finally:
            self.replica.snapshots.end(snapshot.ts)

    def columns_held(self) -> AbstractContextManager[Any]:
        return nullcontext()  # the server's columns move on; who asked at an older snapshot runs again

    def commit(self, transaction: Transaction, again: Callable[[], Transaction]) -> int:
        """Have the server commit; who lost a race runs again on what won it, a little later each time.

        After `retries_max` lost races it runs in a turn of its own, when the server lets nobody else commit.

        Raises:
            ReactiveDBError: what the server refused it for; nothing was written.
        """
        for attempt in itertools.count():
            try:
                return self._commit_once(transaction)
            except ConflictError as conflict:
                self._note(transaction, conflict)
            finally:
                self.abandon(transaction)
            if attempt < self.limits.retries_max:
                self._back_off(attempt)
                transaction = again()
            else:
                transaction = self._in_turn(again)
        raise AssertionError

    def _in_turn(self, again: Callable[[], Transaction]) -> Transaction:
        """Run once more, and commit before anybody else does."""
        with suppress(Unreachable):  # without a connection there is no turn, and the commit waits for one anyway
            self.session.ask(m.Turn)
        try:
            transaction = again()
        except BaseException:
            self.session.say(m.EndTurn())
            raise
        if not transaction.writes:
            self.session.say(m.EndTurn())
        return transaction

    def _commit_once(self, transaction: Transaction) -> int:
        writes = transaction.writes
        if not writes:
            return transaction.begin_ts
        tables = {number: table for number, table in transaction.tables.items() if number in writes}
        message = m.Commit(
            request=0,
            commit=0,
            begin_ts=transaction.begin_ts,
            source=transaction.source,
            reads=[m.Range.of(space, key_range) for space, key_range in transaction.read_set],
            writes=[m.Written(number, one.id, one.data) for number, found in writes.items() for one in found],
            definitions={number: digest_of(table.schema) for number, table in tables.items()},
        )
        replace = msgspec.structs.replace
        answer = self.session.commit(
            lambda request, number: replace(message, request=request, commit=number), transaction.on_sent
        )
        assert isinstance(answer, m.Committed)
        return answer.ts

    def _note(self, transaction: Transaction, conflict: ConflictError) -> None:
        self.conflicts += 1
        where = conflict.table, conflict.index
        self._lost_races.append(
            LostRace(transaction.source, transaction.begin_ts, *where, "another session", conflict.commit_ts)
        )

    def _back_off(self, attempt: int) -> None:
        """Not at all at first; then for a while that doubles, and differs from that of whoever else lost."""
        if attempt:
            most = _BACK_OFF_SECONDS * 2 ** min(attempt, _BACK_OFF_DOUBLINGS)
            self._is_closed.wait(most * self._random.random())
        self.check_open()

    # --- optimistic updates; see `RemoteAccess` -----------------------------------------------------------------------

    def show(self, update: OptimisticUpdate, ran: Transaction | None = None) -> None:
        with self.replica.lock:
            updates = self.replica.updates
            is_right = ran is not None and not updates and not updates.is_passed(ran)
            self.replica.push(update)
            if is_right:
                self.replica.settle(update, ran)
        self._wake()

    def drop(self, update: OptimisticUpdate) -> None:
        self.replica.drop(update)

    def wait_in_reach(self) -> None:
        self.session.wait_in_reach()

    def rebase(self) -> None:
        """Run every update again whose reads are not right any more; those that need the server wait for it."""
        with self._rebasing, suppress(Unreachable):
            for _ in range(limits.REBASES_MAX):
                with suppress(SnapshotPassed):
                    if not self._run_next_update():
                        return

    def _run_next_update(self) -> bool:
        """Run the lowest update that has to run again, on top of those below it; False if there is none."""
        replica, updates = self.replica, self.replica.updates
        with replica.lock:
            update = updates.next_stale()
            if update is None:
                return False
            seen, over, changes = replica.begin(), updates.below(update), updates.changes
        transaction = Transaction(
            seen.ts, update.runtime(), self.limits, is_read_only=False, source=update.source, over=over
        )
        ran: Transaction | None = transaction
        try:
            update.run(transaction)
        except Exception:
            ran = None  # it will say why when it runs for its commit
        finally:
            replica.snapshots.end(seen.ts)
        with replica.lock:
            is_passed = updates.is_passed(transaction) or updates.changes != changes
            replica.settle(update, ran)
            update.is_stale = is_passed  # nobody knew before what it reads
        return True

    # --- tables -------------------------------------------------------------------------------------------------------

    def table(self, transaction: Transaction, document: type[Document]) -> Table:
        return self._seen(transaction, self._table(document))

    def table_of_id(self, transaction: Transaction, id: str) -> Table:
        number = table_number(id)
        found = self.replica.tables.get(number)
        if found is None:
            definition = next((one for one in self.definitions() if one.number == number), None)
            if definition is None:
                raise IdError(f"{id!r} is no id of this store: it has no table with number {number}.")
            document = declared_document(definition.name)
            if document is None or table_of(document) != definition.name:
                raise SchemaError(
                    f"no document class for table {definition.name!r} is declared here. Run the cell or import the "
                    f'module that declares `class …(rdb.Document, table="{definition.name}")`.'
                )
            found = self._table(document)
        elif current_document(found.schema.document) is not found.schema.document:
            with suppress(SchemaError):  # refused: the old definition stays in force for all but users of the new class
                found = self._table(found.schema.document)
        return self._seen(transaction, found)

    def definitions(self) -> list[TableDefinition]:
        """Every table of the store that people made, whether or not its class is declared here."""
        with self._lock:
            return [one for one in self._definitions.values() if not one.name.startswith("_")]

    def outdate(self, table: str) -> int | None:
        with self._lock:
            self._by_class = {cls: found for cls, found in self._by_class.items() if found.schema.name != table}
        return self._number(table)

    def _number(self, name: str) -> int | None:
        definition = self._definitions.get(name)
        return None if definition is None else definition.number

    def _seen(self, transaction: Transaction, table: ReplicaTable) -> Table:
        if table.since > transaction.begin_ts:
            raise SnapshotPassed(transaction.source)
        if transaction.is_read_only:
            transaction.add_definition_read(table.schema.number)
        return table

    def _table(self, document: type[Document]) -> ReplicaTable:
        """The table of a class; the server creates it, or moves it to what the class says, if need be.

        Raises:
            SchemaError: the class cannot be a table.
            SchemaMismatchError: documents in the store do not fit it.
        """
        found = self._by_class.get(document)
        if found is not None and not found.is_retired:
            return found
        with self._defining:
            current = current_document(document)
            found = self._by_class.get(current)
            # Retired: all was forgotten, perhaps while it was being entered.
            if found is None or found.is_retired:
                found = self._entered(current)
            self._by_class[current] = self._by_class[document] = found
            return found

    def _entered(self, document: type[Document]) -> ReplicaTable:
        name = table_of(document)
        definition = self._definitions.get(name)  # once: another kernel's may arrive at any moment
        schema = self._schema(document, definition)
        if definition is None or digest(definition) != digest_of(schema):
            fields = msgspec.to_builtins(schema.definition_fields)
            self.session.ask(lambda request: m.Define(request, fields))
            schema = self._schema(document, self._definitions[name])
        table = ReplicaTable(schema, self.session)
        with self.replica.lock:
            table.since = self.published_ts
            before = self.replica.tables.get(schema.number)
            if before is not None:
                before.is_retired = True
            self.replica.tables[schema.number] = table
        return table

    def _schema(self, document: type[Document], definition: TableDefinition | None) -> TableSchema:
        return TableSchema(document, 0 if definition is None else definition.number, self.converter)

    def _take_definitions(self, writes: list[m.Written]) -> None:
        found = [written.document for written in writes if written.table == TABLES_NUMBER]
        for data in found:
            if data is not None:
                definition = decode_definition(data)
                with self._lock:
                    self._definitions[definition.name] = definition

    # --- who is there -------------------------------------------------------------------------------------------------

    def present(self) -> list[Presence]:
        if not self._hears_presence:
            self._hears_presence = True
            self.session.say(m.WatchPresence())
        return self._present

    # --- to look at it ------------------------------------------------------------------------------------------------

    def counts(self) -> dict[int, int]:
        found = [f"SELECT {one.number}, count(*) FROM {quoted(one.name)}" for one in self.definitions()]
        return dict(self.query(" UNION ALL ".join(found), None).fetchall()) if found else {}

    def newest(
        self, transaction: Transaction, definition: TableDefinition, most: int, unloaded: type[Document]
    ) -> list[Document]:
        table = self.replica.tables.get(definition.number)
        if table is None:
            schema = TableSchema(unloaded, definition.number, self.converter)
            table = self.replica.tables.setdefault(definition.number, ReplicaTable(schema, self.session))
        scan = transaction.scan(self._seen(transaction, table), "by_creation_time", EVERYTHING, descending=True)
        return scan.take(most)

    def lost_races(self) -> list[LostRace]:
        return list(reversed(self._lost_races))

    # --- SQL and bulk loads -------------------------------------------------------------------------------------------

    def sql(self, transaction: Transaction, statement: str, parameters: Parameters) -> SqlResult:
        transaction.check_before_sql()
        tables, result = self._result(transaction.begin_ts, statement, parameters)
        for number in tables:
            transaction.add_table_read(number)
        return result

    def query(self, statement: str, parameters: Parameters) -> SqlResult:
        return self._ask_sql(statement, parameters)[1]

    def query_at(self, snapshot: Snapshot, statement: str, parameters: Parameters) -> SqlResult:
        return self._result(snapshot.ts, statement, parameters)[1]

    def tables_read(self, statement: str) -> list[int]:
        self._define_mentioned(statement)
        with self._lock:
            return tables_named_in(statement, self._definitions.values())

    def load(self, document: type[Document], source: Any, report: Report) -> int:
        table = self._table(document)
        writes = build(table, source, self.runtime, self.runtime.now(), report)
        parts = list(_parts([(write.id, write.data or b"") for write in writes]))
        for at, part in enumerate(parts):
            self.session.ask(partial(_load_part, at, table.schema.number, part, at == len(parts) - 1))
        return len(writes)

    def tell_settled(self) -> None:
        """Tell whoever listens that `published_ts`, `status` or `pending` may be different."""
        _call(self.on_settled)

    def _wake(self) -> None:
        for one in self._background:
            one.wake()

    def close(self) -> None:
        """End the session; whoever waits gets StoreClosedError."""
        self._is_closed.set()
        self.session.close()
        self._link.close()
        for one in self._background:
            one.close()
        self.tell_settled()

    def _result(self, ts: int, statement: str, parameters: Parameters) -> tuple[list[int], SqlResult]:
        """What a statement gives at `ts`, and the tables that it reads; asked for if it is not known.

        Raises:
            SnapshotPassed: the server has it at a newer timestamp only.
        """
        key = encoder.encode([statement, parameters])
        with self._lock:
            known = self._results.get(key)
            if known is not None and known[1].ts <= ts:
                self._results.move_to_end(key)
                return known
        found = self._ask_sql(statement, parameters)
        # A transition may have come meanwhile; under this lock none does.
        with self.replica.lock, self._lock:
            if found[1].ts == self.published_ts:
                self._results[key] = found
                while len(self._results) > limits.SQL_RESULTS_MAX:
                    self._results.popitem(last=False)
        if found[1].ts != ts:
            raise SnapshotPassed(statement)
        return found

    def _ask_sql(self, statement: str, parameters: Parameters) -> tuple[list[int], SqlResult]:
        self._define_mentioned(statement)
        plain = to_plain(parameters)
        parts = self.session.ask_all(lambda request: m.Sql(request, statement, plain))
        rows = [part for part in parts if isinstance(part, m.SqlRows)]
        return rows[0].tables, of_ipc(b"".join(part.part for part in rows), rows[0].ts)

    def _define_mentioned(self, statement: str) -> None:
        """Have the server create the tables that are declared here and that a statement seems to name."""
        mentioned = words(statement)
        for document in declared_documents():
            name = table_of(document)
            if name.casefold() in mentioned and name not in self._definitions and not name.startswith("_"):
                self._table(document)

    def _drop_results(self, commit: LoggedCommit) -> None:
        """What was found before is not right any more where `commit` wrote."""
        if commit.step:
            return  # SQL sees only what is committed
        with self._lock:
            for key, (tables, _) in list(self._results.items()):
                if not commit.writes.keys().isdisjoint(tables):
                    del self._results[key]


def _load_part(at: int, table: int, part: list[tuple[str, bytes]], is_last: bool, request: int) -> m.LoadPart:
    return m.LoadPart(request, at, table, part, is_last)


def _parts(documents: list[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """Documents in pieces that fit into a message each."""
    part: list[tuple[str, bytes]] = []
    size = 0
    for document in documents:
        if part and size + len(document[1]) > limits.MESSAGE_BYTES:
            yield part
            part, size = [], 0
        part.append(document)
        size += len(document[1])
    if part:
        yield part


def _call(listeners: Listeners) -> None:
    for listener in tuple(listeners):
        try:
            listener()
        except Exception:
            _log.exception("a listener raised; the connection is not affected")
