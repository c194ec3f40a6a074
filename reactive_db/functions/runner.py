"""The runner: runs functions in transactions, and sees to it that every mutation finishes."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import msgspec

from reactive_db.engine.access import StoreAccess
from reactive_db.engine.snapshots import Snapshot, SnapshotPassed
from reactive_db.engine.transaction import Transaction
from reactive_db.errors import FunctionError, FunctionTimeoutError
from reactive_db.functions.contexts import ActionCtx, DatabaseReader, DatabaseWriter, MutationCtx, QueryCtx
from reactive_db.functions.definitions import Action, Function, Mutation, Query, check_kind, current
from reactive_db.functions.time_limit import TimeLimit
from reactive_db.interrupts import Uninterrupted
from reactive_db.reactive.live_query import Compute, Key, Outcome, isolated
from reactive_db.reactive.scheduler import Scheduler
from reactive_db.runtime import Runtime


@dataclass(slots=True)
class _Run:
    """One run of a mutation: what it gave, or what it raised."""

    value: Any = None
    error: BaseException | None = None


@dataclass(eq=False, slots=True)
class MutationCall:
    """A mutation with its arguments.

    Attributes:
        runtime: makes the time and the randomness of each run; None: those of the store.
        on_sent: see `Transaction.on_sent`.
        value, error: what its last run returned, or raised.
    """

    function: Mutation[..., Any]
    fields: dict[str, Any]
    runtime: Callable[[], Runtime] | None = None
    on_sent: Callable[[int | None], None] | None = None
    value: Any = None
    error: Exception | None = None


class Runner:
    """Runs queries, mutations and actions against one store.

    Responsibilities: arguments and results checked, one snapshot a query, one transaction a mutation, the time limit.
    Not: deciding which commit is valid, or telling watchers what changed.

    Attributes:
        run_mutation: runs a mutation and returns its result; `mutate` unless somebody has more to do.
    """

    def __init__(self, store: StoreAccess, scheduler: Scheduler) -> None:
        self._store = store
        self._scheduler = scheduler
        self._time_limit = TimeLimit(store.runtime, store.limits.function_seconds)
        self.run_mutation: Callable[[MutationCall], Any] = self.mutate

    def run(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run a function once, by its kind, and return its value."""
        check_kind(function, Query, Mutation, Action)
        if isinstance(function, Mutation):
            return self.run_mutation(self.call("db.run", function, args, kwargs))
        self.check_outside("db.run", function)
        function = current(function)
        arguments = function.signature.bind(args, kwargs, self._store.converter)
        if isinstance(function, Query):
            self._store.check_open()
            key = (function.name, function.signature.key(arguments))
            return self._scheduler.value(key, self.compute(function, arguments))
        return self._run_action(cast("Action[..., Any]", function), arguments)

    def call(
        self, what: str, function: Mutation[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> MutationCall:
        """A mutation with its arguments, checked; `what` was called for it."""
        check_kind(function, Mutation)
        self.check_outside(what, function)
        self._scheduler.check_rounds()
        mutation = cast("Mutation[..., Any]", current(function))
        arguments = mutation.signature.bind(args, kwargs, self._store.converter)
        return MutationCall(mutation, msgspec.structs.asdict(arguments))

    def check_outside(self, what: str, function: Any = None) -> None:
        """Raises FunctionError inside a query or mutation: what it does there goes through its own context."""
        if self._time_limit.is_inside():
            call = f"{what}({function.__name__})" if function is not None else what
            raise FunctionError(
                f"{call} was called inside a query or mutation, where it would not be part of the transaction. Use "
                "that function's own `ctx`: `ctx.db`, `ctx.db.sql(…)`, or another function as `other(ctx, …)`."
            )

    def live_key(
        self, function: Function[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Key, Compute]:
        """What a live query of a function is known by, and how it is computed."""
        check_kind(function, Query)
        function = current(function)
        arguments = function.signature.bind(args, kwargs, self._store.converter)
        return (function.name, function.signature.key(arguments)), self.compute(function, arguments)

    def compute(self, function: Function[..., Any], arguments: msgspec.Struct) -> Compute:
        """A function from a snapshot to the outcome of the query at it."""
        fields = isolated(msgspec.structs.asdict(arguments))

        def compute(snapshot: Snapshot, page_end: str | None) -> Outcome:
            transaction = self._store.read_at(snapshot, function.name)
            transaction.page_end = page_end
            value, error = None, None
            try:
                ctx = QueryCtx(DatabaseReader(self._store, transaction), transaction)
                value = self._call(function, ctx, isolated(fields))
                transaction.check_reads()
            except Exception as raised:
                value, error = None, raised
            return Outcome(
                snapshot,
                transaction.read_set,
                value,
                error,
                transaction.page_end,
                transaction.is_volatile,
                transaction.documents_read,
            )

        return compute

    def _call(self, function: Function[..., Any], ctx: Any, fields: dict[str, Any]) -> Any:
        """Run the user's code under the time limit and check its result."""
        try:
            with Uninterrupted() as interrupts, self._time_limit:
                value = interrupts.call(partial(function.function, ctx, **fields))
                if inspect.iscoroutine(value):
                    value.close()
                    raise FunctionError(f"{function.kind} {function.name!r} is `async`. Only actions can be.")
                return function.signature.check_return(value, self._store.converter)
        except FunctionTimeoutError:
            seconds = self._store.limits.function_seconds
            raise FunctionTimeoutError(
                f"{function.kind} {function.name!r} ran longer than {seconds:g} s (function_seconds) and was stopped; "
                "nothing was written. Read less, or do the work in an action."
            ) from None

    def run_optimistically(self, call: MutationCall, transaction: Transaction) -> None:
        """Run what shows what a mutation will do: itself, unless `Mutation.optimistic` has replaced it.

        Raises:
            Exception: whatever it raised.
        """
        ctx = MutationCtx(DatabaseWriter(self._store, transaction), transaction)
        self._call(call.function.shown_by or call.function, ctx, isolated(call.fields))

    def attempt(self, call: MutationCall, is_in_turn: bool = False) -> Transaction:
        """Run a mutation once, on what is committed; the call has what it returned or raised.

        Raises:
            FunctionTimeoutError: not even if it lost a race is it run again: that would hold up everybody once more.
        """
        function, store = call.function, self._store
        transaction = store.begin(function.name, call.runtime and call.runtime())
        transaction.is_in_turn = is_in_turn
        transaction.on_sent = call.on_sent
        call.value, call.error = None, None
        try:
            ctx = MutationCtx(DatabaseWriter(store, transaction), transaction)
            call.value = self._call(function, ctx, call.fields)
            transaction.check_reads()
        except FunctionTimeoutError:
            store.abandon(transaction)
            raise
        except Exception as raised:
            # Nothing of a failed run is written; what it saw still has to be true when the error is shown.
            call.error = raised
            transaction.rollback(0)
        except BaseException:  # `SnapshotPassed`, Ctrl-C
            store.abandon(transaction)
            raise
        return transaction

    def mutate(
        self,
        call: MutationCall,
        ran: Transaction | None = None,
        on_ran: Callable[[Transaction], None] | None = None,
    ) -> Any:
        """Run a mutation until it is committed, and return its result.

        `ran` is its first run, if there was one; else `on_ran` hears of that.
        """
        store, again = self._store, partial(self.attempt, call, is_in_turn=True)
        # Only the user's code is interrupted, so that no snapshot is left open.
        with Uninterrupted():
            is_done = False
            hold: AbstractContextManager[Any] = nullcontext()
            while not is_done:
                try:
                    with hold:
                        if ran is None:
                            ran = self.attempt(call)
                            if on_ran is not None:
                                self._tell_ran(ran, on_ran)
                                on_ran = None
                        transaction, ran = ran, None
                        store.commit(transaction, again)
                    is_done = True
                except SnapshotPassed:
                    # It asks SQL: as long as the columns are held still, they are where its snapshot is.
                    hold = store.columns_held()
        if call.error is not None:
            raise call.error
        self._scheduler.advance()
        return call.value

    def _tell_ran(self, transaction: Transaction, on_ran: Callable[[Transaction], None]) -> None:
        try:
            if transaction.writes:
                on_ran(transaction)
        except BaseException:
            self._store.abandon(transaction)
            raise

    def _run_action(self, function: Action[..., Any], arguments: msgspec.Struct) -> Any:
        self._store.check_open()
        result = function.function(ActionCtx(self), **msgspec.structs.asdict(arguments))
        if inspect.iscoroutine(result):
            result = _finish(result)
        return function.signature.check_return(result, self._store.converter)


def _finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine; in a thread of its own where this one has a running loop, as a kernel's has."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    run = _Run()

    def work() -> None:
        try:
            run.value = asyncio.run(coroutine)
        except BaseException as error:
            run.error = error

    thread = threading.Thread(target=work, name="reactive_db-action")
    thread.start()
    thread.join()
    if run.error is not None:
        raise run.error
    return run.value
