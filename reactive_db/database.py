"""What users hold: `connect` and `Database`. Wires the layers together and keeps no logic of its own."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from reprlib import repr as short
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeGuard, TypeVar, overload

import platformdirs
from tqdm.auto import tqdm

from reactive_db.engine.access import Presence, Status, StoreAccess
from reactive_db.engine.read_set import BY_ID, ReadSet
from reactive_db.engine.snapshots import Snapshot, Unreachable
from reactive_db.engine.store import Store
from reactive_db.errors import NotAStoreError, OfflineError, ReactiveDBError, SqlError, StoreError
from reactive_db.functions.definitions import Action, Function, Mutation, Query, check_kind, on_redefined
from reactive_db.functions.outbox import Outbox
from reactive_db.functions.runner import Runner
from reactive_db.handles import QueryHandle, reading
from reactive_db.inspection import Inspection
from reactive_db.interrupts import Uninterrupted
from reactive_db.limits import CONNECT_SECONDS_MAX, Limits
from reactive_db.model.codec import encoder
from reactive_db.model.documents import Document, on_declared, table_of
from reactive_db.model.keys import EVERYTHING
from reactive_db.model.schema import TABLES_NUMBER
from reactive_db.reactive.live_query import Compute, Key, Outcome
from reactive_db.reactive.scheduler import Scheduler
from reactive_db.remote.address import URL, Address, address_of, hub_server, hub_token, own_server, store_at
from reactive_db.remote.kernel import this_kernel
from reactive_db.remote.store import RemoteStore
from reactive_db.runtime import Runtime, SystemRuntime
from reactive_db.storage.columns import Parameters
from reactive_db.storage.sql_result import SqlResult

P = ParamSpec("P")
R = TypeVar("R")

IN_MEMORY: Final = ":memory:"
"""The target that is a store in memory also where there is a server; named as DuckDB and SQLite name theirs."""

_SQL: Final = "sql"
_PRESENCE: Final = ("presence", encoder.encode({}))
_open: dict[Path | Address | None, Database] = {}
_open_lock = threading.RLock()


def connect(
    target: str | os.PathLike[str] | None = None,
    *,
    token: str | None = None,
    seconds: float = CONNECT_SECONDS_MAX,
    limits: Limits | None = None,
    runtime: Runtime | None = None,
) -> Database:
    """Open a store, or return the connection that this process has to it already.

    In a kernel of a Jupyter server that has the extension, the server opens it, and every kernel shares it. On a
    JupyterHub that has stores for all its users, a plain name is one of those.

    Args:
        target: nothing: that server's default store; elsewhere a store in memory, the same for the whole process.
            `":memory:"`: that store in memory, everywhere. A plain name: a store directory in the stores folder,
            `$REACTIVE_DB_HOME` or the user's data directory. A path: a store directory there. Both are created if there
            is none. A URL: a store on a server.
        token: of the server at a URL; a server's own kernels need none, nor do kernels of a JupyterHub for its stores.
        seconds: how long a server may take to answer.
        limits: what functions may use; the first connection to a store decides.
        runtime: where time and randomness come from; only tests need another one.

    Raises:
        StoreLockedError: another process holds the store; it is named.
        NotAStoreError, StoreFormatError, StoreCorruptError: see there; nothing was changed.
        OfflineError, PermissionDeniedError: the server does not answer; it does not let this process in.
    """
    place = _place(target, token)
    # Uninterrupted: a store that is half open or half closed would keep its lock to the end of the process.
    with _open_lock, Uninterrupted() as interrupts:
        found = _open.get(place)
        if found is not None and (found.is_closed or found._store.has_failed):
            # Another thread may be closing it; of a failed one, everything that matters is in its journal.
            with contextlib.suppress(StoreError):
                found.close()
            found = None
        if found is None:
            found = _opened(place, seconds, limits or Limits(), runtime or SystemRuntime(), interrupts)
            _open[place] = found
        return found


def _place(target: str | os.PathLike[str] | None, token: str | None) -> Path | Address | None:
    """Where the store is that `connect` is to open; None for one in memory."""
    if target == IN_MEMORY:
        return None
    if target is not None and URL.match(os.fspath(target)):
        return address_of(os.fspath(target), token or hub_token(os.fspath(target)))
    hub = hub_server()
    if hub is not None and _is_name(target):
        return store_at(hub, target, token or hub_token(hub))  # paths stay with the user's own server
    server, kernel = own_server(), this_kernel()
    if server is not None and kernel is not None:
        return store_at(server, None if target is None else store_path(target))
    return None if target is None else store_path(target)


def _opened(
    place: Path | Address | None, seconds: float, limits: Limits, runtime: Runtime, interrupts: Uninterrupted
) -> Database:
    if isinstance(place, Address):
        remote = RemoteStore.at(place, this_kernel(), runtime, limits)
        try:
            interrupts.call(partial(remote.wait_until_open, seconds))
        except BaseException:
            remote.close()
            raise
        return Database(remote)
    return Database(Store.in_memory(runtime, limits) if place is None else Store.open(place, runtime, limits))


def store_path(target: str | os.PathLike[str]) -> Path:
    """The store directory that a name or a path stands for.

    Raises:
        NotAStoreError: it is nothing that can name a store.
    """
    text = os.fspath(target)
    if not text.strip(". "):
        raise NotAStoreError(f"{text!r} names no store. Pass a name such as `course`, or nothing for one in memory.")
    return (stores_folder() / f"{text}.rdb" if _is_name(target) else Path(text).expanduser()).resolve()


def stores_folder() -> Path:
    """Where the stores with plain names are."""
    home = os.environ.get("REACTIVE_DB_HOME")
    return Path(home) if home else Path(platformdirs.user_data_dir("reactive_db", appauthor=False))


def _is_name(target: str | os.PathLike[str] | None) -> TypeGuard[str]:
    """Whether a store is given by a plain name, and not by a path."""
    if not isinstance(target, str) or not target.strip(". "):
        return False
    return Path(target).name == target and not Path(target).suffix and not target.startswith("~")


class Database:
    """A connection to one store; get one from `connect`.

    Every method may be called from any thread. Handles, cells and functions of one process share it.
    """

    def __init__(self, store: StoreAccess) -> None:
        self._store = store
        self._scheduler = Scheduler(store)
        self._runner = Runner(store, self._scheduler)
        self._outbox: Outbox | None = None
        store.on_commit.append(self._scheduler.invalidate)
        store.on_presence.append(partial(self._scheduler.cache.invalidate_query, _PRESENCE))
        if isinstance(store, RemoteStore):
            store.follow(self._scheduler.advance, self._scheduler.lose_touch, self._scheduler.regain_touch)
            self._outbox = Outbox(store, self._runner, self._scheduler, store.tell_settled)
            self._runner.run_mutation = self._outbox.run
        self.is_closed: bool = False
        self._closing = threading.RLock()
        on_redefined.append(self._follow_redefinition)
        on_declared.append(self._follow_declaration)

    @property
    def path(self) -> Path | None:
        """The store directory; None for a store in memory, or on a server."""
        return self._store.path if isinstance(self._store, Store) else None

    @property
    def ts(self) -> int:
        """The newest timestamp: how many commits the store has seen."""
        return self._store.published_ts

    @property
    def status(self) -> Status:
        """`syncing` while mutations are on their way; `offline` while a server is out of reach, or when closed."""
        status = self._store.status
        return "syncing" if status == "synced" and self._outbox else status

    @property
    def pending(self) -> int:
        """How many mutations are on their way and not durable yet."""
        return max(self._store.pending, len(self._outbox or ()))  # of those in the outbox one may be a commit

    @property
    def presence(self) -> QueryHandle[list[Presence]]:
        """A handle on who is connected to the store, the longest first."""
        self._check_usable("presence")

        def compute(snapshot: Snapshot, page_end: str | None) -> Outcome:
            return Outcome(snapshot, ReadSet(), self._store.present())

        handle: QueryHandle[list[Presence]] = QueryHandle(self, self._scheduler, self._store.runtime, "presence")
        handle.start(_PRESENCE, compute, reads_columns=False)
        return handle

    def on_settled(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on any thread when `ts`, `status` or `pending` may be different; returns what ends that."""
        listeners = self._store.on_settled
        listeners.append(listener)
        return partial(listeners.remove, listener)

    @overload
    def run(self, function: Query[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def run(self, function: Mutation[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def run(self, function: Action[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def run(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a function once and return its result.

        A mutation is durable when this returns, and every handle of this process shows its effect.

        Raises:
            ArgumentError, ReturnError: what was passed or returned does not fit the annotations.
            Exception: whatever the function raised; a mutation that raised wrote nothing.
        """
        if reading.get() is not None and isinstance(function, Query):
            return _read(self.live(function, *args, **kwargs))
        with _in_reach():
            return self._runner.run(function, args, kwargs)

    def submit(self, function: Mutation[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Have a mutation run, and do not wait for the server; the future has its result when it is durable.

        Handles show what it writes at once, and take that back if the server refuses it. While the server is out of
        reach, what was submitted waits, in order, and is applied once; what this process has not sent when it ends is
        lost. In a store of this process it is done when this returns.

        Raises:
            ArgumentError: what was passed does not fit the annotations.
            LimitError: OUTBOX_MUTATIONS_MAX of them wait.
        """
        call = self._runner.call("db.submit", function, args, kwargs)
        self._store.check_open()
        if self._outbox is not None:
            return self._outbox.submit(call)
        future: Future[R] = Future()
        try:
            future.set_result(self._runner.mutate(call))
        except Exception as error:
            future.set_exception(error)
        return future

    @overload
    def live(self, query: Query[P, R], /, *args: P.args, **kwargs: P.kwargs) -> QueryHandle[R]: ...
    @overload
    def live(
        self, query: str, parameters: Parameters = None, /, *, debounce: float = 0.0, throttle: float = 0.0
    ) -> QueryHandle[SqlResult]: ...
    def live(self, query: Any, /, *args: Any, **kwargs: Any) -> QueryHandle[Any]:
        """A handle on a query function with its arguments, or on an SQL SELECT; its value stays right by itself.

        `debounce=` and `throttle=`, in seconds, slow down what is shown; they may also be set on the handle.
        """
        self._check_usable("live")
        pace = self._take_pace(query, kwargs)
        with _in_reach():
            if isinstance(query, str):
                key, run = self._sql_key(query, *args)
                title = " ".join(query.split())
            else:
                key, run = self._runner.live_key(query, args, kwargs)
                title = _call_text(query.name, args, kwargs)
            handle: QueryHandle[Any] = QueryHandle(self, self._scheduler, self._store.runtime, title, **pace)
            handle.row_type = None if isinstance(query, str) else query.signature.row_type()
            handle.start(key, run, reads_columns=isinstance(query, str))
        return handle

    def sql(self, statement: str, parameters: Parameters = None) -> SqlResult:
        """Run a SELECT over everything committed so far; tables have the names of document tables.

        Raises:
            SqlError: the statement is wrong, or would write.
        """
        if reading.get() is not None:
            return _read(self.live(statement, parameters))
        self._check_usable("sql")
        with _in_reach():
            result = self._store.query(statement, parameters)
        if self._scheduler.ts < result.ts:
            self._scheduler.advance()  # no handle shows less than what is returned here
        return result

    def load(self, document: type[Document], source: Any, *, progress: bool = True) -> int:
        """Insert many documents at once, all or none; how many.

        Args:
            document: their class.
            source: a path to a .parquet or .csv file (.csv.gz and .csv.zip too), a data frame, an Arrow table, or an
                iterable of documents or dicts. Its columns are the fields.
            progress: show a progress bar.

        Raises:
            DocumentError: a row does not fit; the path says which, and nothing was inserted.
        """
        self._check_usable("load")
        with tqdm(desc=f"Loading {table_of(document)}", unit=" documents", disable=not progress) as bar:

            def report(done: int, total: int | None) -> None:
                bar.total = total
                bar.update(done - bar.n)

            with _in_reach():
                count = self._store.load(document, source, report)
        self._scheduler.advance()
        return count

    def inspect(self) -> Inspection:
        """The whole store at a glance: tables, documents, live queries, recent commits and conflicts."""
        self._check_usable("inspect")
        return Inspection(self, self._store, self._scheduler, self._check_usable)

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a consistent copy of the store to the new directory `path`, while it is in use."""
        if not isinstance(self._store, Store):
            raise StoreError(f"a backup is made where the store is, which is {self._store.place}; not from afar.")
        self._store.backup(Path(path).expanduser().resolve())

    def close(self) -> None:
        """Let go of the store; handles keep what they show. Safe to call again, and from several threads."""
        with self._closing, Uninterrupted():
            if not self.is_closed:
                self._forsake()
                if self._outbox is not None:
                    self._outbox.close()
                self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else f"ts {self.ts}"
        return f"<Database {self._store.place}, {state}>"

    def _forsake(self) -> None:
        self.is_closed = True
        on_redefined.remove(self._follow_redefinition)
        on_declared.remove(self._follow_declaration)

    def _check_usable(self, verb: str) -> None:
        self._store.check_open()
        self._runner.check_outside(f"db.{verb}")

    def _take_pace(self, query: Any, kwargs: dict[str, Any]) -> dict[str, float]:
        own = query.signature.parameters if isinstance(query, Function) else {}
        names = [name for name in ("debounce", "throttle") if name in kwargs and name not in own]
        return {name: float(kwargs.pop(name)) for name in names}

    def _sql_key(self, statement: str, parameters: Parameters = None) -> tuple[Key, Compute]:
        numbers = self._store.tables_read(statement)

        def compute(snapshot: Snapshot, page_end: str | None) -> Outcome:
            reads = ReadSet()
            # Who reads the definitions reads the history, perhaps, and that has a new table now.
            for number in self._store.tables_read(statement) if TABLES_NUMBER in numbers else numbers:
                reads.add_range((number, BY_ID), EVERYTHING)
            try:
                return Outcome(snapshot, reads, self._store.query_at(snapshot, statement, parameters))
            except Exception as error:
                return Outcome(snapshot, reads, error=error)

        try:
            return (_SQL, encoder.encode([statement, parameters])), compute
        except (TypeError, UnicodeEncodeError, OverflowError) as error:
            raise SqlError(f"the parameters of a live statement are plain values: {error}.") from None

    def _follow_declaration(self, document: type[Document]) -> None:
        """A re-run cell declared a class again: its documents are made of the new one from now on."""
        self._scheduler.redeclare(self._store.outdate(table_of(document)))

    def _follow_redefinition(self, function: Function[..., Any]) -> None:
        """A re-run cell declared a function again: its open handles move to the new one."""

        def renewed(key: Key) -> Compute:
            try:
                check_kind(function, Query)
                arguments = function.signature.unkey(key[1], self._store.converter)
            except ReactiveDBError as error:
                # The handle shows it; whoever declares a function is not to blame for what others asked of the old one.
                outcome = partial(Outcome, reads=ReadSet(), error=error)
                return lambda snapshot, page_end: outcome(snapshot)
            return self._runner.compute(function, arguments)

        self._scheduler.redefine(function.name, renewed)


@contextlib.contextmanager
def _in_reach() -> Iterator[None]:
    """Says so if what runs within needs a server that is out of reach."""
    try:
        yield
    except Unreachable:
        raise OfflineError(
            "the server of this store is out of reach, and what is asked for is not here. Handles keep their values "
            "and follow again when it is back; until then, try again."
        ) from None


def _read(handle: QueryHandle[R]) -> R:
    """What a live cell sees of a query that it runs itself; reading the handle makes the cell follow it."""
    value = handle.value
    if handle.error is not None:
        raise handle.error
    return value


def _call_text(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """A call as its author wrote it: `departures('JFK', day=15)`."""
    arguments = [short(value) for value in args] + [f"{name}={short(value)}" for name, value in kwargs.items()]
    return f"{name.removeprefix('__main__:')}({', '.join(arguments)})"


def _forget_in_child() -> None:
    """A forked child connects anew; what it has from its parent refuses everything."""
    global _open_lock  # noqa: PLW0603 - a thread that held it at the fork is not here to let it go
    _open_lock = threading.RLock()
    for database in _open.values():
        database._forsake()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


@atexit.register
def _close_all() -> None:
    """A thread inside DuckDB when the interpreter ends would abort the process."""
    for database in list(_open.values()):
        database.close()
