"""Deterministic scenarios: transactions of several callers that take turns step by step, on one thread.

`run_script` follows an interleaving that is spelled out, `run_random` one that a seed decides. Between the first read
of a transaction and its commit any number of others may commit, so a few hundred steps meet what real threads meet by
luck. One seed gives one trace, on every machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple

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


def run_script(store: Store, script: Sequence[str], *, way: int = registers.WAYS, exist: bool = False) -> Run:
    """Run one transaction of each caller, in the interleaving of `script`; at the end every register is read.

    A line is `<caller> reads x y`, `<caller> reads all`, `<caller> appends x` or `<caller> commits`; a transaction
    begins with its first line. `way` is how registers are read and written; with `exist` they have documents before.
    """
    recorder = _Recorder()
    lines = parse(script, way, _create(store, names_in(script)) if exist else {})
    ongoing: dict[str, Iterator[None]] = {}
    for line in lines:
        if line.caller not in ongoing:
            steps = [step for other in lines if other.caller == line.caller for step in other.steps]
            ongoing[line.caller] = _one(store, line.caller, steps, recorder)
            next(ongoing[line.caller])
        for _ in range(len(line.steps) or 1):
            next(ongoing[line.caller], None)
    _read_at_last(store, names_in(script), recorder)
    return Run(tuple(recorder.trace), tuple(recorder.history))


def run_random(store: Store, seed: int, *, callers: int = 4, transactions: int = 40, names: int = 4) -> Run:
    """Run a random program against `store`, which has no registers yet; at the end every register is read."""
    random = Random(seed)
    recorder = _Recorder()
    all_names = [f"r{number}" for number in range(names)]
    ids = _create(store, all_names[: names // 2])

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


class Line(NamedTuple):
    """A line of a script; to commit takes no step."""

    text: str
    caller: str
    steps: list[Step]


def parse(script: Sequence[str], way: int, ids: Mapping[str, str]) -> list[Line]:
    """A script as steps; `ids` are those of the registers that exist."""
    values = itertools.count(1)

    def step(kind: Literal["read", "append"], name: str) -> Step:
        value = next(values) if kind == "append" else 0
        return Step(kind=kind, register=name, value=value, way=way, id=ids.get(name, ""))

    lines: list[Line] = []
    for text in script:
        caller, verb, *names = text.split()
        match verb:
            case "reads" if names == ["all"]:
                steps = [Step(kind="read all", all_registers=names_in(script), way=way)]
            case "reads":
                steps = [step("read", name) for name in names]
            case "appends":
                steps = [step("append", name) for name in names]
            case "commits" if not names:
                steps = []
            case _:
                raise ValueError(f"a script has no line {text!r}")
        lines.append(Line(text, caller, steps))
    return lines


def callers_of(lines: Sequence[Line]) -> list[str]:
    """Every caller, in order of appearance."""
    return list(dict.fromkeys(line.caller for line in lines))


def names_in(script: Sequence[str]) -> list[str]:
    """Every register that a script speaks of."""
    return list(dict.fromkeys(name for line in script for name in line.split()[2:] if name != "all"))


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


def _create(store: Store, names: Sequence[str]) -> dict[str, str]:
    transaction = store.begin("create")
    ids = registers.create(DatabaseWriter(store, transaction), names)
    store.committer.commit(transaction)
    return ids


def _read_at_last(store: Store, names: Sequence[str], recorder: _Recorder) -> None:
    for _ in _one(store, "last", [Step(kind="read", register=name) for name in names], recorder):
        pass
