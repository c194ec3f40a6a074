"""Deterministic scenarios: transactions of several callers that take turns step by step, on one thread.

`run_script` follows an interleaving that is spelled out, `run_random` one that a seed decides. Between the first read
of a transaction and its commit any number of others may commit, so a few hundred steps meet what real threads meet by
luck. One seed gives one trace, on every machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from reactive_db.engine.store import Store
from reactive_db.engine.transaction import Transaction as EngineTransaction
from reactive_db.errors import ApplicationError, ConflictError
from reactive_db.functions.contexts import DatabaseWriter
from reactive_db.testing import registers
from reactive_db.testing.history import Caller, Outcome, Transaction
from reactive_db.testing.registers import Operation, Step


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a scenario.

    Attributes:
        trace: every step and its result, one line each.
        history: the same as the checker wants it.
    """

    trace: tuple[str, ...]
    history: tuple[Transaction, ...]

    def outcome(self, caller: Caller) -> Outcome:
        """Of the caller's only transaction."""
        (found,) = [transaction for transaction in self.history if transaction.caller == caller]
        return found.outcome


def run_script(store: Store, script: Sequence[str], *, way: int = registers.WAYS) -> Run:
    """Run one transaction of each caller, in the interleaving of `script`; at the end every register is read.

    A line is `<caller> reads x y`, `<caller> reads all`, `<caller> appends x` or `<caller> commits`; a transaction
    begins with its first line. `way` is how registers are read and written.
    """
    recorder = _Recorder()
    lines = parse(script, way)
    ongoing = {caller: _one(store, caller, steps_of(caller, lines), recorder) for caller in dict.fromkeys(c for c, _ in lines)}
    begun: set[str] = set()
    for caller, steps in lines:
        for _ in range(max(len(steps), 1) + (caller not in begun)):
            next(ongoing[caller], None)
        begun.add(caller)
    _read_at_last(store, names_in(lines), recorder)
    return Run(tuple(recorder.trace), tuple(recorder.history))


def run_random(store: Store, seed: int, *, callers: int = 4, transactions: int = 40, names: int = 4) -> Run:
    """Run a random program against `store`, which has no registers yet; at the end every register is read."""
    random = Random(seed)
    recorder = _Recorder()
    all_names = [f"r{number}" for number in range(names)]
    transaction = store.begin("setup")
    ids = registers.create(DatabaseWriter(store, transaction), all_names[: names // 2])
    store.committer.commit(transaction)

    def begin(caller: int) -> Iterator[None]:
        steps = registers.random_steps(random, all_names, ids, recorder.values)
        return _one(store, caller, [*steps, Step(kind="fail")] if random.random() < 0.1 else steps, recorder)

    ongoing = [begin(caller) for caller in range(callers)]
    for _ in range(transactions):
        caller = random.randrange(callers)
        while next(ongoing[caller], _ENDED) is not _ENDED:
            caller = random.randrange(callers)
        ongoing[caller] = begin(caller)
    for last in ongoing:
        for _ in last:
            pass
    _read_at_last(store, all_names, recorder)
    return Run(tuple(recorder.trace), tuple(recorder.history))


def parse(script: Sequence[str], way: int) -> list[tuple[str, list[Step]]]:
    """The lines of a script as caller and steps; to commit is no step."""
    values = itertools.count(1)
    named = dict.fromkeys(name for line in script for name in line.split()[2:] if name != "all")
    lines: list[tuple[str, list[Step]]] = []
    for caller, verb, *names in map(str.split, script):
        match verb:
            case "reads" if names == ["all"]:
                steps = [Step(kind="read all", all_registers=list(named), way=way)]
            case "reads":
                steps = [Step(kind="read", register=name, way=way) for name in names]
            case "appends":
                steps = [Step(kind="append", register=name, value=next(values), way=way) for name in names]
            case "commits" if not names:
                steps = []
            case _:
                raise ValueError(f"{caller!r} cannot {verb!r} {names}")
        lines.append((caller, steps))
    return lines


def steps_of(caller: str, lines: Sequence[tuple[str, list[Step]]]) -> list[Step]:
    """Everything that one caller does."""
    return [step for own, steps in lines for step in steps if own == caller]


def names_in(lines: Sequence[tuple[str, list[Step]]]) -> list[str]:
    """Every register that a script speaks of."""
    return list(dict.fromkeys(step.register for _, steps in lines for step in steps if step.register))


_ENDED = object()


@dataclass(slots=True)
class _Recorder:
    trace: list[str] = field(default_factory=list)
    history: list[Transaction] = field(default_factory=list)
    clock: Iterator[int] = field(default_factory=itertools.count)
    values: Iterator[int] = field(default_factory=lambda: itertools.count(1))


def _one(store: Store, caller: Caller, steps: Sequence[Step], recorder: _Recorder) -> Iterator[None]:
    """One transaction, a step at a time; after its last step it ends, one way or another."""
    started = next(recorder.clock)
    transaction = store.begin(f"caller {caller}")
    recorder.trace.append(f"{caller}: begins at {transaction.begin_ts}")
    db = DatabaseWriter(store, transaction)
    operations: list[Operation] = []
    is_whole = True
    for step in steps:
        yield
        try:
            done = registers.perform(db, step)
        except ApplicationError:
            is_whole = False
            break
        operations += done
        recorder.trace.append(f"{caller}: {'; '.join(map(str, done))}")
    yield
    outcome, told = _end(store, transaction, is_whole)
    recorder.trace.append(f"{caller}: {told}")
    recorder.history.append(Transaction(caller, started, next(recorder.clock), outcome, tuple(operations)))


def _end(store: Store, transaction: EngineTransaction, is_whole: bool) -> tuple[Outcome, str]:
    if not is_whole:
        transaction.rollback(0)
        store.committer.abandon(transaction)
        return Outcome.ABORTED, "fails"
    try:
        return Outcome.COMMITTED, f"commits at {store.committer.commit(transaction)}"
    except ConflictError:
        return Outcome.ABORTED, "meets a conflict"


def _read_at_last(store: Store, names: Sequence[str], recorder: _Recorder) -> None:
    for _ in _one(store, "last", [Step(kind="read", register=name) for name in names], recorder):
        pass
