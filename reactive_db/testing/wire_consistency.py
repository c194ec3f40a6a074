"""The list-append workload from several kernels at once, over real connections that break. The proof of sync.

    python -m reactive_db.testing.wire_consistency --lives 50 --seed 1

Theory of operation. A *life* is one store on one server process. Several kernels, each with a connection of its own
through a bad network (`wire_proxy`), append to lists and read them, while connections are cut, in the middle of frames
too, commits that were sent already are sent again, and the server is stopped and killed and comes back. Then the
network is good again, and the life is judged: the history has a serial order in which each kernel sees its own work,
every append that was acknowledged is there once, one that was not at most once, the total that each transaction adds
one to says the same, and every kernel's live handle shows what the server has.

A query sees a snapshot of its kernel's, which may be older than what another kernel has committed: against real time
nothing is asked of it. A handle that says that it is stale is not judged by what it shows: while the server is out of
reach it may be older than what a function of its kernel has seen. In the end every handle has to be current.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import click

from reactive_db.database import Database
from reactive_db.errors import ApplicationError, CommitUncertainError, ReactiveDBError, ServerError
from reactive_db.functions.contexts import MutationCtx, QueryCtx
from reactive_db.functions.definitions import mutation, query
from reactive_db.handles import QueryHandle
from reactive_db.limits import Limits
from reactive_db.model.documents import Document
from reactive_db.remote.address import ENDPOINT, Address
from reactive_db.remote.link import End, Link
from reactive_db.remote.store import RemoteStore
from reactive_db.runtime import Runtime, SystemRuntime
from reactive_db.sync import messages as m
from reactive_db.sync.client import Send
from reactive_db.testing import registers
from reactive_db.testing.consistency import check
from reactive_db.testing.history import Append, Outcome, Transaction
from reactive_db.testing.registers import Operation, Step
from reactive_db.testing.wire_proxy import Proxy
from reactive_db.testing.wire_server import Recipe, StoreServer
from reactive_db.testing.workloads import look, look_at_all

PATIENCE_SECONDS: Final = 60.0
"""A kernel that takes longer is stuck, which is a fault too."""


class Total(Document, table="testing_totals"):
    """One document, to which each transaction that appends adds one."""

    count: int = 0


@mutation
def append(ctx: MutationCtx, steps: list[Step], fails: bool) -> Any:
    """Do the steps, and count this transaction."""
    done = [operation for step in steps for operation in registers.perform(ctx.db, step)]
    total = ctx.db.query(Total).first()
    if total is None:
        ctx.db.insert(Total(count=1))
    else:
        ctx.db.patch(total.id, count=total.count + 1)
    if fails:
        raise ApplicationError("on purpose")
    return done


@query
def total_of(ctx: QueryCtx) -> int:
    """How many transactions there were."""
    return sum(one.count for one in ctx.db.query(Total))


@dataclass(frozen=True, slots=True)
class Plan:
    """How much work in one life, and what goes wrong meanwhile."""

    kernels: int = 3
    transactions: int = 25
    """Of each kernel."""
    registers: int = 3
    faults: int = 6
    restarts: int = 2
    repeats: float = 0.2
    """How likely a commit is sent twice, and an older one once more after it."""


@dataclass
class Figures:
    """What lives have seen."""

    acknowledged: int = 0
    cuts: int = 0
    repeated: int = 0
    restarts: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.acknowledged:,} acknowledged transactions, {self.cuts} cut connections, {self.repeated} commits "
            f"sent again, {self.restarts} restarts, {len(self.faults)} faults."
        )


class Repeating:
    """A client's end that says some of its commits again, as a network or a bad client might."""

    def __init__(self, end: End, random: Random, figures: Figures, repeats: float) -> None:
        self._end = end
        self._random = random
        self._figures = figures
        self.repeats = repeats
        self._commits: list[bytes] = []

    def opened(self, send: Send) -> None:
        def send_again(frame: bytes) -> None:
            send(frame)
            if not isinstance(m.decode_client(frame), m.Commit):
                return
            self._commits.append(frame)
            if self._random.random() < self.repeats:
                self._figures.repeated += 2
                send(frame)
                send(self._random.choice(self._commits))

        self._end.opened(send_again)

    def hear(self, frame: bytes) -> None:
        self._end.hear(frame)

    def lost(self) -> None:
        self._end.lost()

    def refused(self, error: ReactiveDBError) -> None:
        self._end.refused(error)


class Kernel:
    """One process's worth of connection, and the handle that it watches."""

    def __init__(
        self, port: int, token: str, repeated: Callable[[End], Repeating], names: list[str], runtime: Runtime
    ) -> None:
        address = Address(f"http://127.0.0.1:{port}/{ENDPOINT}", "wire", token)
        store = RemoteStore(str(address), lambda end: Link(address, None, repeated(end), runtime), runtime, Limits())
        try:
            store.wait_until_open(PATIENCE_SECONDS)
            self.database = Database(store)
            self.everything: QueryHandle[Any] = self.database.live(look_at_all, names)
        except BaseException:
            store.close()
            raise

    def shows(self, wanted: Any) -> bool:
        """Wait until the handle shows `wanted`; whether it ever does."""
        changed = threading.Event()
        observer: Callable[[Any], None] = lambda change: changed.set()  # noqa: E731 - to be taken back
        self.everything.observe(observer)
        try:
            while self.everything.value != wanted or self.everything.status != "current":
                if not changed.wait(PATIENCE_SECONDS / 4):
                    return bool(self.everything.value == wanted and self.everything.status == "current")
                changed.clear()
            return True
        finally:
            self.everything.unobserve(observer)

    def close(self) -> None:
        self.database.close()


class Life:
    """One run of a plan on one server; use it once."""

    def __init__(self, folder: Path, seed: int, plan: Plan, figures: Figures, recipe: Recipe) -> None:
        self.plan = plan
        self.figures = figures
        self.history: list[Transaction] = []
        self.faults: list[str] = []
        self._seed = seed
        self._names = [f"r{number}" for number in range(plan.registers)]
        self._clock = itertools.count()
        self._values = itertools.count(1)
        self._counted = self._maybe = 0
        self._lock = threading.Lock()
        self._server = StoreServer(folder, recipe)

    def run(self) -> list[str]:
        """Everything; the faults that were found."""
        with ExitStack() as stack:
            self._server.start()
            stack.callback(self._server.stop, kill=True)
            proxy = Proxy(self._server.port, Random(f"{self._seed}/proxy"))
            stack.callback(proxy.close)
            kernels = [self._kernel(proxy.port, number) for number in range(self.plan.kernels)]
            for kernel in kernels:
                stack.callback(kernel.close)
            self._work(kernels, proxy)
            self.figures.cuts += proxy.cuts
            if not self.faults:
                self._judge(kernels)
        self.figures.acknowledged += self._counted
        return self.faults

    def _kernel(self, port: int, number: int) -> Kernel:
        random = Random(f"{self._seed}/network {number}")
        repeated = partial(Repeating, random=random, figures=self.figures, repeats=self.plan.repeats)
        return Kernel(port, self._server.recipe.token, repeated, self._names, SystemRuntime())

    # --- what happens -------------------------------------------------------------------------------------------------

    def _work(self, kernels: list[Kernel], proxy: Proxy) -> None:
        is_over = threading.Event()
        breaking = threading.Thread(target=self._break, args=[proxy, is_over], name="faults", daemon=True)
        threads = [
            threading.Thread(target=self._transactions, args=[number, kernel], name=f"kernel {number}", daemon=True)
            for number, kernel in enumerate(kernels)
        ]
        for thread in [breaking, *threads]:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
            if thread.is_alive():
                self.faults.append(f"{thread.name} is stuck: its mutation does not end")
                break
        is_over.set()
        breaking.join(PATIENCE_SECONDS)
        proxy.delays = 0.0

    def _break(self, proxy: Proxy, is_over: threading.Event) -> None:
        """One thing after the other, for as long as there is work."""
        random = Random(f"{self._seed}/faults")
        kinds = ["cut", "cut within", "delay"] * self.plan.faults
        deeds = random.sample(kinds, self.plan.faults) + ["stop", "kill"] * ((self.plan.restarts + 1) // 2)
        random.shuffle(deeds)
        try:
            for deed in deeds:
                if is_over.wait(random.uniform(0.05, 0.4)):
                    return
                self._do(deed, proxy, random)
        except BaseException as error:
            self.faults.append(f"the server: {error}")

    def _do(self, deed: str, proxy: Proxy, random: Random) -> None:
        match deed:
            case "delay":
                proxy.delays = random.choice([0.0, 0.1, 0.5])
            case "cut" | "cut within":
                proxy.cut_all(within_frames=deed == "cut within")
            case _:
                self._server.stop(kill=deed == "kill")
                self._server.start()
                self.figures.restarts += 1

    def _transactions(self, number: int, kernel: Kernel) -> None:
        random = Random(f"{self._seed}/{number}")
        try:
            for _ in range(self.plan.transactions):
                self._transaction(number, kernel, random)
        except BaseException as error:
            self.faults.append(f"kernel {number}: {type(error).__name__}: {error}")

    def _transaction(self, number: int, kernel: Kernel, random: Random) -> None:
        steps, database = self._steps(random), kernel.database
        match random.randrange(10):
            case 0:
                reads = [step for step in steps if step.kind != "append"]
                self._record(number, lambda: database.run(look, reads))
            case 1:
                self._look(number, kernel)
            case 2:
                self._record(number, lambda: database.run(append, steps, True), steps)
            case 3 | 4:
                self._submit(number, kernel, [steps, *(self._steps(random) for _ in range(random.randrange(1, 4)))])
            case _:
                self._record(number, lambda: database.run(append, steps, False), steps)

    def _steps(self, random: Random) -> list[Step]:
        with self._lock:
            return registers.random_steps(random, self._names, {}, self._values)

    def _submit(self, number: int, kernel: Kernel, all_steps: list[list[Step]]) -> None:
        """Several one after the other, without waiting; they are done in this order."""
        futures = [kernel.database.submit(append, steps, False) for steps in all_steps]
        for future, steps in zip(futures, all_steps, strict=True):
            self._record(number, future.result, steps)

    def _look(self, number: int, kernel: Kernel) -> None:
        """What the handle shows, unless it says that this is not right any more; both are read as one."""
        shown = kernel.everything._shown
        if shown.status == "current":
            self._record(number, lambda: shown.value)

    def _record(self, caller: int, run: Callable[[], list[Operation]], steps: list[Step] | None = None) -> None:
        started = next(self._clock)
        operations: tuple[Operation, ...] = registers.attempted(steps or [])
        try:
            operations, outcome = tuple(run()), Outcome.COMMITTED
        except (ServerError, CommitUncertainError):
            outcome = Outcome.UNKNOWN
        except ReactiveDBError:
            outcome = Outcome.ABORTED  # the error says that nothing was written
        with self._lock:
            self._counted += steps is not None and outcome is Outcome.COMMITTED
            self._maybe += steps is not None and outcome is Outcome.UNKNOWN
            self.history.append(Transaction(caller, started, next(self._clock), outcome, operations))

    # --- what came of it ----------------------------------------------------------------------------------------------

    def _judge(self, kernels: list[Kernel]) -> None:
        witness = self._kernel(self._server.port, len(kernels))
        try:
            everything = Step(kind="read all", all_registers=self._names)
            self._record(len(kernels), lambda: witness.database.run(look, [everything]))
            wanted, total = witness.everything.value, witness.database.run(total_of)
            for number, kernel in enumerate(kernels):
                if not kernel.shows(wanted):
                    self.faults.append(f"does not converge: kernel {number} shows {kernel.everything}, not {wanted}")
        finally:
            witness.close()
        if not self._counted <= total <= self._counted + self._maybe:
            self.faults.append(f"{self._counted} transactions were acknowledged, {total} were applied")
        report = check(self.history)
        self.faults += [one.story for one in report.anomalies if not one.kind.endswith("-realtime")]
        self._count_appends()

    def _count_appends(self) -> None:
        """Each acknowledged append is there once; the checker says so too, in fewer words."""
        last = {one.register: one.values for one in self.history[-1].operations if not isinstance(one, Append)}
        for transaction in self.history:
            if transaction.outcome is Outcome.COMMITTED:
                for one in transaction.operations:
                    if isinstance(one, Append) and last.get(one.register, ()).count(one.value) != 1:
                        found = last.get(one.register, ()).count(one.value)
                        self.faults.append(f"{one} was acknowledged, and is there {found} times")


def run_lives(lives: int, seed: int, folder: Path, plan: Plan, recipe: Recipe) -> Figures:
    """Lives one after the other, until one has a fault."""
    figures = Figures()
    for number in range(lives):
        place = folder / str(number)
        place.mkdir()
        found = Life(place, seed + number, plan, figures, recipe).run()
        figures.faults += [f"seed {seed + number}: {fault}" for fault in found]
        if found:
            break
    return figures


@click.command()
@click.option("--lives", default=20, show_default=True, help="How many stores to try.")
@click.option("--seed", type=int, help="Of the first; a new one if none is given.")
@click.option("--transactions", default=60, show_default=True, help="Of each kernel.")
@click.option("--kernels", default=4, show_default=True)
def main(lives: int, seed: int | None, transactions: int, kernels: int) -> None:
    """Break connections and servers under several kernels, and judge what they saw."""
    chosen = Random().randrange(2**32) if seed is None else seed
    click.echo(f"seed {chosen}")
    with tempfile.TemporaryDirectory() as folder:
        figures = run_lives(lives, chosen, Path(folder), Plan(kernels, transactions, faults=20, restarts=4), Recipe())
    click.echo(str(figures))
    for fault in figures.faults:
        click.echo(fault, err=True)
    sys.exit(bool(figures.faults))


if __name__ == "__main__":
    main()
