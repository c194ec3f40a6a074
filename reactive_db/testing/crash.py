"""Kills processes with `kill -9` while they write to a store, and judges what is left. The proof of durability.

    python -m reactive_db.testing.crash --cycles 200 --seed 1

Theory of operation. A cycle forks a *worker*, which opens the store, runs the transactions of `crash_workload` from
several threads and tells through a pipe what was acknowledged to it and which stage it is in: opening, appending,
flushing to the columns, … The campaign kills it at a random moment after a stage it has drawn. What the pipe holds
then is what the store has promised. A second child, the *judge*, verifies the dead store without changing it, opens
it, compares documents, SQL and live handles with the one content that fits, goes on writing, closes and verifies
again. The next cycle goes on with that store, until its life is over and a new one is born.

The campaign itself never opens a store, so that it can fork: run it in a process of its own. Only where there is
`os.fork`. The seed decides what is done and when to kill; how far a worker has come by then is up to the machine.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, NamedTuple

import click
import msgspec

from reactive_db import limits
from reactive_db.database import Database
from reactive_db.engine.check import verify
from reactive_db.errors import StoreClosedError, StoreError
from reactive_db.runtime import SystemRuntime
from reactive_db.storage import column_file
from reactive_db.storage.columns import Columns
from reactive_db.storage.directory import is_store
from reactive_db.storage.journal import SqliteJournal
from reactive_db.testing import crash_workload as workload
from reactive_db.testing.crash_workload import WRITERS, Progress

Kind = Literal["birth", "writing", "flush", "load", "recovery", "close"]
Say = Callable[..., None]

PATIENCE_SECONDS: Final = 120.0
"""A child that takes longer hangs, which is a fault too."""

CYCLES_A_LIFE: Final = 8
"""After so many cycles a new store begins: judging looks at everything there is."""

# How often each kind of cycle is drawn, the stages it may wait for, and the longest time from there to the kill, in
# seconds.
_KINDS: Final[dict[Kind, tuple[int, list[str], float]]] = {
    "birth": (0, ["open"], 0.15),  # always the first of a life
    "writing": (6, ["ready"], 0.5),
    "flush": (5, ["flush", "flush", "trim", "checkpoint"], 0.02),
    "load": (3, ["load"], 0.4),
    "recovery": (4, ["open"], 0.15),
    "close": (2, ["close"], 0.05),
}
_QUERIES_BEFORE_CLOSE: Final = 5
_RECOVERIES_MAX: Final = 3


class Plan(NamedTuple):
    """One child's fate: killed `delay` seconds after it enters `stage` for the `times`th time."""

    kind: Kind
    stage: str
    times: int
    delay: float
    flush_seconds: float
    checkpoint_bytes: int


class Verdict(msgspec.Struct, frozen=True):
    """What the judge found in a store that was killed, and how far the store is now."""

    faults: list[str]
    survived: int
    """Transactions that were there although nobody had been told so."""
    numbers: tuple[int, ...] = ()
    loads: list[int] = []


@dataclass
class Figures:
    """What a campaign has seen."""

    cycles: int = 0
    acknowledged: int = 0
    survived: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    """By kind of cycle."""
    hits: Counter[str] = field(default_factory=Counter)
    """By the stages that the killed process was in; several at once where threads were."""
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kills = ", ".join(f"{kind} {count}" for kind, count in sorted(self.kills.items()))
        hits = ", ".join(f"{stage} {count}" for stage, count in sorted(self.hits.items()))
        return (
            f"{self.cycles} cycles, {self.kills.total()} kills ({kills}); hit during: {hits}.\n"
            f"{self.acknowledged:,} acknowledged commits, {self.survived} more that had landed unacknowledged, "
            f"{len(self.faults)} faults."
        )


class Campaign:
    """Cycles of work, kill and judgement, in one directory.

    Args:
        directory: where the stores go; each has a folder of its own, and stays there.
        seed: decides the plans.
        sabotage: called in every worker before it opens its store, to break something that the judge must notice.
        report: told a line about each cycle.
    """

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        sabotage: Callable[[], None] | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._directory = directory
        self._random = Random(seed)
        self._seed = seed
        self._sabotage = sabotage
        self._report = report
        self.figures = Figures()

    def run(self, cycles: int) -> Figures:
        """Run so many cycles, or up to the first in which a fault shows."""
        progress = Progress()
        for cycle in range(cycles):
            is_new = cycle % CYCLES_A_LIFE == 0
            progress = Progress() if is_new else progress
            path = self._directory / f"seed{self._seed}-life{cycle // CYCLES_A_LIFE}.rdb"
            verdict = self._cycle(path, progress, is_new)
            self.figures.cycles += 1
            self.figures.survived += verdict.survived
            if verdict.faults:
                self.figures.faults += [f"cycle {cycle} of seed {self._seed}, {path}: {one}" for one in verdict.faults]
                return self.figures
            progress = Progress(verdict.numbers, frozenset(verdict.loads), has_begun=True)
        return self.figures

    def _cycle(self, path: Path, progress: Progress, is_new: bool) -> Verdict:
        plans = self._draw(is_new)
        least = most = progress
        hits = []
        for plan in plans:
            worker = Worker(path, plan, self._sabotage)
            child = Child(worker.work)
            least, most = child.run_until_killed(plan, least, most)
            self.figures.kills[plan.kind] += 1
            self.figures.hits.update(child.stages)
            hits.append(f"{plan.kind} in {'+'.join(sorted(child.stages)) or 'between'}")
            if child.failure is not None:
                return Verdict([child.failure], 0)
        self.figures.acknowledged += least.transactions - progress.transactions
        judge = Child(lambda say: say("verdict", msgspec.json.encode(judged(path, least, most)).decode()))
        verdict = judge.verdict()
        self._report(f"cycle {self.figures.cycles}: {', '.join(hits)}; {least.transactions} acknowledged")
        return verdict

    def _draw(self, is_new: bool) -> list[Plan]:
        """The plans of the workers of one cycle."""
        random = self._random
        kinds: list[Kind] = [kind for kind, (weight, _, _) in _KINDS.items() for _ in range(weight)]
        kind: Kind = "birth" if is_new else random.choice(kinds)
        if kind != "recovery":
            return [self._plan(kind)]
        return [self._plan("writing"), *(self._plan("recovery") for _ in range(random.randint(1, _RECOVERIES_MAX)))]

    def _plan(self, kind: Kind) -> Plan:
        random = self._random
        _, stages, delay_max = _KINDS[kind]
        times = random.randint(1, 8) if kind == "flush" else 1
        flush_seconds, checkpoint_bytes = random.choice([0.01, 0.1, 0.5]), random.choice([20_000, 64 * 2**20])
        delay = random.uniform(0, delay_max)
        return Plan(kind, random.choice(stages), times, delay, flush_seconds, checkpoint_bytes)


class Child:
    """A forked process and what it has said so far.

    Attributes:
        stages: how often it is in each stage right now.
        failure: what it did wrong besides its work: ended by itself, or hung.
    """

    def __init__(self, work: Callable[[Say], None]) -> None:
        self.stages: Counter[str] = Counter()
        self.failure: str | None = None
        self._entered: Counter[str] = Counter()
        self._acknowledged: list[list[str]] = []
        self._asked_loads: set[int] = set()
        self._verdict: Verdict | None = None
        self._unread = b""
        self._clock = SystemRuntime().monotonic
        self._pipe, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._pipe)
            _be_child(work, writer)
        os.close(writer)

    def run_until_killed(self, plan: Plan, least: Progress, most: Progress) -> tuple[Progress, Progress]:
        """Let the worker go its way to the moment of `plan`; what it was acknowledged, and what it may have done."""
        hangs_at = self._clock() + PATIENCE_SECONDS
        kill_at = None
        try:
            while kill_at is None or self._clock() < kill_at:
                if not self._listen(kill_at or hangs_at):
                    break
                if kill_at is None and self._entered[plan.stage] >= plan.times:
                    kill_at = self._clock() + plan.delay
                if kill_at is None and self._clock() > hangs_at:
                    self.failure = f"the process hangs; stages: {dict(self.stages)}"
                    break
        finally:
            self._kill()
        return self._progress(least, most)

    def verdict(self) -> Verdict:
        """What the judge says; that it says nothing is a fault."""
        hangs_at = self._clock() + PATIENCE_SECONDS
        try:
            while self._clock() < hangs_at and self._listen(hangs_at):
                pass
        finally:
            self._kill()
        return self._verdict or Verdict(["the store could not be judged; a traceback is above, or it hangs"], 0)

    def _kill(self) -> None:
        """End the process and take in its last words. It may have killed itself, at a fault point: that is as good."""
        os.kill(self._pid, signal.SIGKILL)  # not yet waited for, so the number is still its own
        while self._listen(self._clock() + PATIENCE_SECONDS):
            pass
        os.close(self._pipe)
        _, status = os.waitpid(self._pid, 0)
        if not os.WIFSIGNALED(status):
            self.failure = "the process ended by itself; its traceback is above"
        self.stages = +self.stages

    def _listen(self, until: float) -> bool:
        """Take in what the child has said, waiting for it at most `until`; False at its end."""
        ready, _, _ = select.select([self._pipe], [], [], max(0.0, until - self._clock()))
        if not ready:
            return True
        heard = os.read(self._pipe, 2**16)
        *lines, self._unread = (self._unread + heard).split(b"\n")
        for line in lines:
            self._hear(line.decode())
        return bool(heard)

    def _hear(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "verdict":
            self._verdict = msgspec.json.decode(rest, type=Verdict)
        elif word == "acknowledged":
            self._acknowledged.append(rest.split())
        elif word == "enter":
            self.stages[rest.split()[0]] += 1
            self._entered[rest.split()[0]] += 1
            self._asked_loads.update(int(number) for number in rest.split()[1:])
        elif word == "leave":
            self.stages[rest.split()[0]] -= 1

    def _progress(self, least: Progress, most: Progress) -> tuple[Progress, Progress]:
        numbers = list(least.numbers)
        loads = set(least.loads)
        has_begun = least.has_begun
        for what, *values in self._acknowledged:
            if what == "begin":
                has_begun = True
            elif what == "step":
                numbers[int(values[0])] = int(values[1])
            else:
                loads.add(int(values[0]))
        # A writer asks for one transaction after the other, so at most one of each is still without an answer.
        asked = tuple(max(number + 1, before) for number, before in zip(numbers, most.numbers, strict=True))
        least = Progress(tuple(numbers), frozenset(loads), has_begun)
        return least, Progress(asked, most.loads | loads | self._asked_loads, has_begun=True)


def _be_child(work: Callable[[Say], None], pipe: int) -> None:
    """Do `work` in the forked child and end it, whatever happens."""

    def say(*words: Any) -> None:
        # Short lines go into a pipe whole, from any thread, and are there for the reader even if we die next.
        line = " ".join(map(str, words)).encode() + b"\n"
        while line:
            line = line[os.write(pipe, line) :]

    try:
        work(say)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


class Worker:
    """What a process does until it is killed."""

    def __init__(self, path: Path, plan: Plan, sabotage: Callable[[], None] | None) -> None:
        self._path = path
        self._plan = plan
        self._sabotage = sabotage

    def work(self, say: Say) -> None:
        """Open the store and write to it, to no end."""
        self._say = say
        self._announce(Columns, "apply", "flush")
        self._announce(SqliteJournal, "append", "append")
        self._announce(SqliteJournal, "trim", "trim")
        self._announce(column_file.ColumnFile, "checkpoint_if_due", "checkpoint")
        limits.FLUSH_INTERVAL_SECONDS = self._plan.flush_seconds  # type: ignore[misc]
        column_file._WAL_BYTES_MAX = self._plan.checkpoint_bytes  # type: ignore[misc]
        if self._sabotage is not None:
            self._sabotage()
        with self._stage("open"):
            db = workload.open_store(self._path)
        if self._plan.kind != "recovery":
            self._write(db)
        signal.pause()

    def _write(self, db: Database) -> None:
        db.run(workload.begin)
        self._say("acknowledged", "begin")
        # What the dead process had not been told may have happened all the same.
        progress = workload.progress_of(workload.state_of_documents(db))
        for writer in range(WRITERS):
            last = progress.numbers[writer]
            threading.Thread(target=self._run_steps, args=(db, writer, last), daemon=True).start()
        self._say("enter", "ready")
        if self._plan.kind == "load":
            self._load(db, 1 + max(progress.loads, default=0))
        while self._plan.kind == "flush":
            db.sql("SELECT count(*) FROM crash_entries")
        if self._plan.kind == "close":
            for _ in range(_QUERIES_BEFORE_CLOSE):
                db.sql("SELECT count(*) FROM crash_entries")
            with self._stage("close"):
                db.close()

    def _run_steps(self, db: Database, writer: int, number: int) -> None:
        with contextlib.suppress(StoreClosedError):
            while True:
                number += 1
                db.run(workload.step, writer, number)
                self._say("acknowledged", "step", writer, number)

    def _load(self, db: Database, number: int) -> None:
        while True:
            with self._stage("load", number):
                workload.load(db, number)
                self._say("acknowledged", "load", number)
            number += 1

    @contextlib.contextmanager
    def _stage(self, *name: Any) -> Iterator[None]:
        self._say("enter", *name)
        try:
            yield
        finally:
            self._say("leave", *name)

    def _announce(self, owner: type, method: str, stage: str) -> None:
        """Say when a method of the store is entered and left."""
        original = getattr(owner, method)

        def announced(*args: Any, **kwargs: Any) -> Any:
            with self._stage(stage):
                return original(*args, **kwargs)

        setattr(owner, method, announced)


# --- judgement -------------------------------------------------------------------------------------------------------


def judged(path: Path, least: Progress, most: Progress) -> Verdict:
    """Look at a dead store, bring it back, go on with it, and say everything that is wrong.

    It must hold what was acknowledged, `least`, and nothing that was not asked for, `most`.
    """
    faults = [f"dead, {fault}" for fault in verify(path).faults] if is_store(path) else []
    try:
        db = workload.open_store(path)
    except StoreError as error:
        return Verdict([*faults, f"it cannot be opened: {error}"], 0)
    with db:
        state = workload.state_of_documents(db)
        faults += workload.content_faults(state, least, most)
        faults += _differences("SQL", workload.state_of_columns(db), state)
        progress = workload.progress_of(state)
        survived = max(0, progress.transactions - least.transactions)
        if not faults:
            progress, found = _go_on(db, state, progress)
            faults += found
    faults += [f"closed, {fault}" for fault in verify(path).faults]
    return Verdict(faults, survived, progress.numbers, sorted(progress.loads))


def _go_on(db: Database, state: workload.State, progress: Progress) -> tuple[Progress, list[str]]:
    """Write on to a reopened store; its handles show what was there, and follow. Where it is now, and the faults."""
    handles = {name: db.live(workload.everything, name) for name in state}
    tallies = db.live("SELECT writer, number FROM crash_tallies ORDER BY writer")
    shown = {name: workload.rows_of(handle.value) for name, handle in handles.items()}
    faults = _differences("a handle, once opened", shown, state)
    db.run(workload.begin)
    for writer, number in enumerate(progress.numbers):
        db.run(workload.step, writer, number + 1)
    after = replace(progress, numbers=tuple(number + 1 for number in progress.numbers), has_begun=True)
    shown = {name: workload.rows_of(handle.value) for name, handle in handles.items()}
    faults += _differences("a handle, after a commit", shown, workload.expected_state(after))
    if tallies.value.fetchall() != shown[workload.Tally.__table__]:
        faults.append(f"a live SQL handle shows {tallies.value.fetchall()} after a commit")
    return after, faults


def _differences(what: str, found: workload.State, expected: workload.State) -> list[str]:
    return [
        f"{what} has {len(rows)} rows of {name}, not the {len(expected[name])} that the documents are"
        for name, rows in found.items()
        if rows != expected[name]
    ]


# --- the command -----------------------------------------------------------------------------------------------------


@click.command()
@click.option("--cycles", default=200, show_default=True, help="How many times to work, kill and judge.")
@click.option("--seed", default=None, type=int, help="Decides the plans; drawn when left out.")
@click.option("--directory", default=None, type=click.Path(file_okay=False, path_type=Path), help="Where stores go.")
@click.option("--quiet", is_flag=True, help="Only the figures at the end.")
def main(cycles: int, seed: int | None, directory: Path | None, quiet: bool) -> None:
    """Kill processes that write to a store, and check that nothing acknowledged is lost."""
    sys.exit(run_campaign(cycles, seed, directory, None, quiet=quiet))


def run_campaign(
    cycles: int,
    seed: int | None = None,
    directory: Path | None = None,
    sabotage: Callable[[], None] | None = None,
    *,
    quiet: bool = False,
) -> int:
    """Run a campaign and print its figures; the exit code: 1 when there was a fault."""
    seed = Random().randrange(2**32) if seed is None else seed
    click.echo(f"seed {seed}")
    _import_what_children_need()
    folder = directory or Path(tempfile.mkdtemp(prefix="reactive_db-crash-"))
    report: Callable[[str], None] = (lambda line: None) if quiet else click.echo
    figures = Campaign(folder, seed, sabotage=sabotage, report=report).run(cycles)
    if directory is None and not figures.faults:
        shutil.rmtree(folder)
    click.echo(str(figures))
    _print_faults(figures.faults)
    return 1 if figures.faults else 0


def _import_what_children_need() -> None:
    """Arrow imports pandas, if there is one, when it first makes an array: a second that every child would pay."""
    with contextlib.suppress(ImportError):
        importlib.import_module("pandas")


def _print_faults(faults: Sequence[str]) -> None:
    for fault in faults:
        click.echo(f"FAULT {fault}", err=True)


if __name__ == "__main__":
    main()
