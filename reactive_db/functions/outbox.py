"""The outbox: mutations on their way to a server, in order, and shown before they are there.

Theory of operation. `run` runs a mutation in the thread that asks, and shows what it writes while its commit travels.
`submit` does so too, and returns; one thread sends the commits of what was submitted, one after the other. A mutation
that is submitted while others wait is run only to be shown; for its commit it runs on what is committed by then. So it
is in the end what it would have been had it been asked for later. Whoever runs one while others wait goes behind them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from reactive_db import limits
from reactive_db.engine.access import RemoteAccess
from reactive_db.engine.optimistic import OptimisticUpdate
from reactive_db.engine.snapshots import SnapshotPassed, Unreachable
from reactive_db.engine.transaction import Transaction
from reactive_db.errors import FunctionTimeoutError, LimitError
from reactive_db.functions.runner import MutationCall, Runner
from reactive_db.interrupts import Uninterrupted
from reactive_db.reactive.scheduler import Scheduler
from reactive_db.runtime import Replay

_SEED_BYTES: Final = 16


@dataclass(eq=False, slots=True)
class _Submitted:
    """A mutation that waits for its turn."""

    call: MutationCall
    update: OptimisticUpdate
    future: Future[Any] = field(default_factory=Future)
    ran: Transaction | None = None
    """Its first run, if that was on what is committed."""


class Outbox:
    """The mutations of this process that are to be committed elsewhere.

    Responsibilities: their order, showing them, one result for each. Not: running a mutation, or sending a commit.
    """

    def __init__(self, store: RemoteAccess, runner: Runner, scheduler: Scheduler, tell: Callable[[], None]) -> None:
        """`tell` is called when there are more of them, or fewer."""
        self._store = store
        self._runner = runner
        self._scheduler = scheduler
        self._tell = tell
        self._waiting: deque[_Submitted] = deque()
        self._is_closed = False
        self._changed = threading.Condition()
        self._submitting = threading.Lock()
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        """How many were submitted and are not done."""
        return len(self._waiting)

    def run(self, call: MutationCall) -> Any:
        """Run a mutation, after those that were submitted before; it is durable when this returns."""
        if self._waiting and threading.current_thread() is not self._thread:
            return self.submit(call).result()
        update = self._update(call)

        def show_when_sent(ran: Transaction) -> None:
            # Not before: an observer of it may run a mutation, which has to be committed after this one.
            if self._scheduler.cache.watched:
                ran.on_sent = partial(self._show_sent, update, ran if call.function.shown_by is None else None)

        try:
            return self._runner.mutate(call, on_ran=show_when_sent)
        finally:
            self._forget(update)

    def submit(self, call: MutationCall) -> Future[Any]:
        """Show what a mutation writes, and have it run after those that were submitted before.

        Raises:
            LimitError: too many wait.
        """
        one = _Submitted(call, self._update(call))
        with self._submitting:  # so that they are shown in the order in which they will run
            self._check_room()
            try:
                if not self._waiting and call.function.shown_by is None:
                    one.ran = self._first_run(call)
                self._store.show(one.update, one.ran)
                self._store.rebase()
            except FunctionTimeoutError as error:
                one.future.set_exception(error)
                return one.future
            except BaseException:  # Ctrl-C
                if one.ran is not None:
                    self._store.abandon(one.ran)
                self._forget(one.update)
                raise
            self._append(one)
        self._scheduler.advance()
        self._tell()
        return one.future

    def close(self) -> None:
        """Wait a while until all is done, unless the server is out of reach; then the store must be closed."""
        with self._changed:
            if threading.current_thread() is not self._thread:
                self._changed.wait_for(
                    lambda: not self._waiting or self._store.status == "offline", limits.SHUTDOWN_SECONDS_MAX
                )
            self._is_closed = True
            self._changed.notify_all()

    def _update(self, call: MutationCall) -> OptimisticUpdate:
        runtime = self._store.runtime
        call.runtime = partial(Replay, runtime, runtime.now(), int.from_bytes(runtime.random_bytes(_SEED_BYTES)))
        update = OptimisticUpdate(call.function.name, call.runtime, partial(self._runner.run_optimistically, call))
        call.on_sent = update.sent
        return update

    def _show_sent(self, update: OptimisticUpdate, ran: Transaction | None, commit: int | None) -> None:
        """The commit is next; handles change on another thread, because this one waits for the server."""
        update.sent(commit)
        if commit is not None:
            self._store.show(update, ran)

    def _first_run(self, call: MutationCall) -> Transaction | None:
        """Run it for its commit; None if that has to wait."""
        with Uninterrupted(), suppress(Unreachable):
            for _ in range(limits.REBASES_MAX):
                with suppress(SnapshotPassed):
                    return self._runner.attempt(call)
        return None

    def _forget(self, update: OptimisticUpdate) -> None:
        """What it shows is committed, or never will be."""
        self._store.drop(update)
        self._scheduler.advance()

    def _check_room(self) -> None:
        if len(self._waiting) >= limits.OUTBOX_MUTATIONS_MAX:
            raise LimitError(
                f"{limits.OUTBOX_MUTATIONS_MAX:,} mutations wait for the server (OUTBOX_MUTATIONS_MAX); this one was "
                "not taken. Try again when `db.pending` is smaller.",
                limit="OUTBOX_MUTATIONS_MAX",
            )

    def _append(self, one: _Submitted) -> None:
        with self._changed:
            self._waiting.append(one)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="reactive_db-outbox", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                one = self._waiting[0]
            self._run_submitted(one)

    def _run_submitted(self, one: _Submitted) -> None:
        value, error = None, None
        is_wanted = one.future.set_running_or_notify_cancel()
        try:
            if is_wanted:
                value = self._mutate_in_reach(one)
            elif one.ran is not None:
                self._store.abandon(one.ran)
        except BaseException as raised:
            error = raised
        self._forget(one.update)
        with self._changed:
            self._waiting.popleft()
            self._changed.notify_all()
        self._tell()
        if error is not None:  # last: whoever hears of it sees all of its effects
            one.future.set_exception(error)
        elif is_wanted:
            one.future.set_result(value)

    def _mutate_in_reach(self, one: _Submitted) -> Any:
        while True:
            ran, one.ran = one.ran, None
            if ran is None:
                self._store.wait_in_reach()
            try:
                return self._runner.mutate(one.call, ran)
            except Unreachable:
                continue
