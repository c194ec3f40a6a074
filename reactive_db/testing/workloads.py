"""List-append workloads: real threads run real functions against a database, and what each saw is written down.

In a `Workload` the seed decides what every thread does and the operating system when; `run_interleaved` follows an
interleaving that is spelled out. Judge their histories with `reactive_db.testing.consistency.check`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from reactive_db.database import Database
from reactive_db.errors import ApplicationError
from reactive_db.functions.contexts import MutationCtx, QueryCtx
from reactive_db.functions.definitions import mutation, query
from reactive_db.handles import QueryHandle
from reactive_db.testing import registers
from reactive_db.testing.history import Outcome, Transaction
from reactive_db.testing.interleave import Steps
from reactive_db.testing.registers import Operation, Step
from reactive_db.testing.scenarios import callers_of, names_in, parse
from reactive_db.testing.threads import switching_often


@mutation
def create(ctx: MutationCtx, names: list[str]) -> dict[str, str]:
    """Give registers documents."""
    return registers.create(ctx.db, names)


@mutation
def transact(ctx: MutationCtx, steps: list[Step]) -> Any:
    """Do the steps in one transaction."""
    return [operation for step in steps for operation in registers.perform(ctx.db, step)]


@mutation
def transact_nested(ctx: MutationCtx, steps: list[Step], failing: list[Step]) -> Any:
    """The same, after a mutation inside it that fails and takes its own writes back."""
    with contextlib.suppress(ApplicationError):
        transact(ctx, [*failing, Step(kind="fail")])
    return transact(ctx, steps)


@query
def look(ctx: QueryCtx, steps: list[Step]) -> Any:
    """Do steps that only read."""
    return [operation for step in steps for operation in registers.look(ctx.db, step)]


@query
def look_at_all(ctx: QueryCtx, names: list[str]) -> Any:
    """Every register, whole."""
    return registers.look(ctx.db, Step(kind="read all", all_registers=names, way=2))


@dataclass(frozen=True, slots=True)
class Plan:
    """How much work, and over how few registers."""

    threads: int = 4
    transactions: int = 30
    """Of each thread."""
    registers: int = 4


class Workload:
    """One run of a plan; use it once, on a database without registers."""

    def __init__(self, database: Database, seed: int, plan: Plan) -> None:
        self._database = database
        self._seed = seed
        self._plan = plan
        self._names = [f"r{number}" for number in range(plan.registers)]
        self._clock = itertools.count()
        self._values = itertools.count(1)
        self._history: list[Transaction] = []
        self._failures: list[BaseException] = []
        self._ids: dict[str, str] = {}

    def run(self) -> list[Transaction]:
        """Run every thread to its end, then read every register; the history of all.

        Raises:
            BaseException: what a function raised that was not meant to.
        """
        self._ids = self._database.run(create, self._names[: len(self._names) // 2])
        everything = self._database.live(look_at_all, self._names)
        start = threading.Barrier(self._plan.threads)
        threads = [
            threading.Thread(target=self._work, args=(number, start, everything), name=f"caller {number}")
            for number in range(self._plan.threads)
        ]
        with switching_often():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if self._failures:
            raise self._failures[0]
        self._record(len(threads), lambda: self._database.run(look, [self._read_all()]))
        self._record(len(threads), lambda: everything.value)
        everything.close()
        return self._history

    def _work(self, number: int, start: threading.Barrier, everything: QueryHandle[Any]) -> None:
        random = Random(f"{self._seed}/{number}")
        start.wait()
        try:
            for _ in range(self._plan.transactions):
                self._transaction(number, random, everything)
        except BaseException as error:
            self._failures.append(error)

    def _transaction(self, caller: int, random: Random, everything: QueryHandle[Any]) -> None:
        database = self._database
        steps = self._steps(random)
        match random.randrange(10):
            case 0:
                steps = [step for step in steps if step.kind != "append"]
                self._record(caller, lambda: database.run(look, steps))
            case 1:
                self._record(caller, lambda: everything.value)
            case 2:
                self._record(caller, lambda: database.run(transact, [*steps, Step(kind="fail")]), steps)
            case 3:
                failing = self._steps(random, paged=False)
                self._record(caller, lambda: database.run(transact_nested, steps, failing), steps)
            case _:
                self._record(caller, lambda: database.run(transact, steps), steps)

    def _steps(self, random: Random, *, paged: bool = True) -> list[Step]:
        steps = registers.random_steps(random, self._names, self._ids, self._values)
        return [step for step in steps if paged or step.kind != "read all"]

    def _read_all(self) -> Step:
        return Step(kind="read all", all_registers=self._names)

    def _record(self, caller: int, run: Callable[[], list[Operation]], steps: list[Step] | None = None) -> None:
        started = next(self._clock)
        try:
            operations, outcome = tuple(run()), Outcome.COMMITTED
        except ApplicationError:
            operations, outcome = registers.attempted(steps or []), Outcome.ABORTED
        self._history.append(Transaction(caller, started, next(self._clock), outcome, operations))


def run_interleaved(
    database: Database, script: Sequence[str], *, way: int = registers.WAYS, exist: bool = False
) -> list[Transaction]:
    """Run a script of `reactive_db.testing.scenarios.run_script` as functions, each caller on a thread of its own.

    A caller that appends nothing is a query, any other a mutation: nobody loses, because who loses a race runs again.
    """
    ids = database.run(create, names_in(script)) if exist else {}
    lines = parse(script, way, ids)
    turns = Steps(script)
    clock = itertools.count()
    has_run: set[str] = set()

    def body(db: Any, caller: str) -> list[Operation]:
        # Only the first run follows the script; the second one has the Committer's turn and waits for nobody.
        follows, operations = caller not in has_run, list[Operation]()
        has_run.add(caller)
        for number, line in enumerate(line for line in lines if line.caller == caller):
            if follows and number > 0:
                turns.reach(line.text)
            operations += [done for step in line.steps for done in registers.perform(db, step)]
        return operations

    @mutation
    def write(ctx: MutationCtx, caller: str) -> Any:
        return body(ctx.db, caller)

    @query
    def read(ctx: QueryCtx, caller: str) -> Any:
        return body(ctx.db, caller)

    def work(caller: str) -> Transaction:
        own = [line for line in lines if line.caller == caller]
        writes = any(step.kind == "append" for line in own for step in line.steps)
        turns.reach(own[0].text)
        started = next(clock)
        operations = database.run(write, caller) if writes else database.run(read, caller)
        return Transaction(caller, started, next(clock), Outcome.COMMITTED, tuple(operations))

    history = turns.run(**{caller: functools.partial(work, caller) for caller in callers_of(lines)})
    started = next(clock)
    last = database.run(look, [Step(kind="read", register=name) for name in names_in(script)])
    return [*history.values(), Transaction("last", started, next(clock), Outcome.COMMITTED, tuple(last))]
