"""Deterministic scenarios: transactions of several callers, taking turns step by step as a seed says, on one thread.

Between the first read of a transaction and its commit any number of others may commit, so a few thousand steps meet
what real threads meet by luck. One seed gives one trace, on every machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from reactive_db.engine.store import Store
from reactive_db.engine.transaction import Transaction as EngineTransaction
from reactive_db.errors import ApplicationError, ConflictError
from reactive_db.functions.contexts import DatabaseWriter
from reactive_db.testing import registers
from reactive_db.testing.history import Outcome, Transaction


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a scenario.

    Attributes:
        trace: every step and its result, one line each.
        history: the same as the checker wants it.
    """

    trace: tuple[str, ...]
    history: tuple[Transaction, ...]


@dataclass(slots=True)
class _Recorder:
    trace: list[str] = field(default_factory=list)
    history: list[Transaction] = field(default_factory=list)
    clock: Iterator[int] = field(default_factory=itertools.count)
    values: Iterator[int] = field(default_factory=lambda: itertools.count(1))


def run_scenario(store: Store, seed: int, *, callers: int = 4, transactions: int = 40, names: int = 4) -> Run:
    """Run a random program against `store`, which has no registers yet; at the end every register is read."""
    random = Random(seed)
    recorder = _Recorder()
    all_names = [f"r{number}" for number in range(names)]
    transaction = store.begin("setup")
    ids = registers.create(DatabaseWriter(store.catalog, transaction), all_names[: names // 2])
    store.committer.commit(transaction)

    def steps() -> list[registers.Step]:
        made = registers.random_steps(random, all_names, ids, recorder.values)
        return [*made, registers.Step(kind="fail")] if random.random() < 0.1 else made

    ongoing = {caller: _one(store, caller, steps(), recorder) for caller in range(callers)}
    for _ in range(transactions):
        _until_one_ends(random, ongoing)
        ended = next(caller for caller in ongoing if ongoing[caller] is None)
        ongoing[ended] = _one(store, ended, steps(), recorder)
    for last in ongoing.values():
        for _ in last or ():
            pass
    for _ in _one(store, callers, [registers.Step(kind="read", register=name) for name in all_names], recorder):
        pass
    return Run(tuple(recorder.trace), tuple(recorder.history))


def _until_one_ends(random: Random, ongoing: dict[int, Iterator[None] | None]) -> None:
    while True:
        caller = random.choice(list(ongoing))
        steps = ongoing[caller]
        assert steps is not None
        try:
            next(steps)
        except StopIteration:
            ongoing[caller] = None
            return


def _one(store: Store, caller: int, steps: list[registers.Step], recorder: _Recorder) -> Iterator[None]:
    """One transaction, a step at a time; after its last step it ends, one way or another."""
    note: Callable[[object], None] = lambda what: recorder.trace.append(f"{caller}: {what}")  # noqa: E731
    started = next(recorder.clock)
    transaction = store.begin(f"caller {caller}")
    note(f"begins at {transaction.begin_ts}")
    db = DatabaseWriter(store.catalog, transaction)
    operations: list[registers.Operation] = []
    is_whole = True
    for step in steps:
        yield
        try:
            done = registers.perform(db, step)
        except ApplicationError:
            is_whole = False
            break
        operations += done
        note("; ".join(map(str, done)))
    yield
    outcome = _end(store, transaction, is_whole, note)
    recorder.history.append(Transaction(caller, started, next(recorder.clock), outcome, tuple(operations)))


def _end(store: Store, transaction: EngineTransaction, is_whole: bool, note: Callable[[object], None]) -> Outcome:
    if not is_whole:
        transaction.rollback(0)
        store.committer.abandon(transaction)
        note("fails")
        return Outcome.ABORTED
    try:
        note(f"commits at {store.committer.commit(transaction)}")
    except ConflictError:
        note("meets a conflict")
        return Outcome.ABORTED
    return Outcome.COMMITTED
