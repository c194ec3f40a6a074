"""load_sessions: 200 connected sessions, each writing once a second, on `reactive-db serve`.

Four processes hold the sessions, each a `RemoteStore` with its websocket, replica and threads, as a kernel has one.
Every mutation adds one to the session's own counter; one in twenty adds one to a counter that all share, too, which
makes ten of those a second. Who has read the shared counter is kept fresh from then on, so each of them is told to
everybody. The moments are spread over each second, by a seed.
Five minutes: `python -m benchmarks load_sessions --seconds 300`.

The checks: every mutation was acknowledged, and no acknowledged one is lost: each counter is exactly the number of its
increments. Memory is the server's resident set; the slope is a straight line through the second half, because the
write log fills up in the first. DuckDB is asked what it has of that, and counted apart: it keeps what was written since
its last checkpoint, which comes when that is 64 MB in its log, after about ten minutes of this load.

The trap avoided: a session that waits for its answer longer than a second must not make its next mutation look fast, so
the clock of each runs from the moment at which it was due.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import linear_regression
from time import perf_counter_ns
from typing import Any

import reactive_db as rdb
from benchmarks.fresh import ROOT
from benchmarks.measure import latency_figures
from benchmarks.results import Check, Column, Goal, Measurement, figure
from benchmarks.store_server import StoreServer
from benchmarks.systems import OURS, Options

TITLE = "load_sessions, 200 sessions on one server"
ABOUT = "Each session makes one durable mutation a second, for --seconds; memory is the server's."
SYSTEMS = (OURS,)
COLUMNS = (
    Column("rate", "mutations/s"),
    Column("p50_ms", "p50 ms", "{:.1f}"),
    Column("p99_ms", "p99 ms", "{:.1f}"),
    Column("max_ms", "max ms", "{:.0f}"),
    Column("conflicts", "races lost"),
    Column("cpu", "server CPU s/s", "{:.2f}"),
    Column("memory_mb", "server RSS MB"),
    Column("duckdb_mb", "of it DuckDB"),
    Column("slope_mb", "RSS MB/min", "{:+.1f}"),
    Column("own_slope_mb", "without DuckDB", "{:+.1f}"),
)
CASE = "200 sessions"
GOALS = (
    Goal(
        "memory flat: without DuckDB at most 1 MB more a minute",
        figure(OURS, CASE, "own_slope_mb"),
        at_most=1,
        format="{:+.2f} MB/min",
        full_size=True,
    ),
    Goal("(no goal) p99", figure(OURS, CASE, "p99_ms"), format="{:.1f} ms"),
)
SESSIONS, PROCESSES = 200, 4
SHARED_EVERY = 20
WAIT_SECONDS = 120.0
SHARED = "shared"
SAMPLE_SECONDS = 2
TICKS_PER_SECOND, PAGE_BYTES = 100, 4096


class Tally(rdb.Document, table="tallies", indexes={"by_name": ["name"]}):
    name: str
    n: int = 0


@rdb.mutation
def start(ctx: rdb.MutationCtx, names: list[str]) -> dict[str, rdb.Id[Tally]]:
    return {name: ctx.db.insert(Tally(name=name)) for name in names}


@rdb.mutation
def count(ctx: rdb.MutationCtx, ids: list[rdb.Id[Tally]]) -> None:
    for id in ids:
        tally = ctx.db.get(id)
        assert tally is not None
        ctx.db.patch(id, n=tally.n + 1)


@rdb.query
def tallies(ctx: rdb.QueryCtx) -> dict[str, int]:
    return {tally.name: tally.n for tally in ctx.db.query(Tally)}


@dataclass(frozen=True)
class Work:
    """What one process does: its sessions, the counter of each, and how often each counts."""

    url: str
    token: str
    ids: dict[str, str]
    mutations: int


@dataclass
class Done:
    """What one session did."""

    latencies_ns: list[int]
    conflicts: int = 0
    error: str = ""


def run(system: str, options: Options) -> list[Measurement]:
    """This process starts the others, watches and adds up; it computes nothing while the clock runs."""
    sessions = max(PROCESSES, round(SESSIONS * options.scale))
    mutations = max(2, round(options.seconds))
    names = [f"session {number}" for number in range(sessions)]
    with ExitStack() as stack:
        server = StoreServer(options.directory)
        stack.callback(server.stop)
        db = rdb.connect(server.url, token=server.token)
        stack.callback(db.close)
        ids = db.run(start, [SHARED, *names])
        work = [
            Work(server.url, server.token, {name: ids[name] for name in [SHARED, *names[at::PROCESSES]]}, mutations)
            for at in range(PROCESSES)
        ]
        processes = [stack.enter_context(_process(one)) for one in work]
        samples = Samples(server.pid, db)
        done = _watch(processes, samples, mutations, options)
        found = db.run(tallies)
    return [_measurement(done, samples, found, names, mutations)]


def _watch(processes: Sequence[Process], samples: Samples, mutations: int, options: Options) -> list[Done]:
    """Begin together, and look at the server now and then until all are done."""
    for process in processes:
        process.wait_ready()
    for process in processes:
        process.begin()
    for second in range(mutations):
        time.sleep(1)
        if second % SAMPLE_SECONDS == 0:
            samples.take()
        memory = f"{samples.memory_mb[-1]:,.0f} MB"
        options.tell(f"load_sessions {_bar(second + 1, mutations)} {second + 1} of {mutations} s, server {memory}")
    return [done for process in processes for done in process.results()]


def _bar(done: int, total: int, width: int = 30) -> str:
    full = done * width // total
    return "━" * full + "╌" * (width - full)


def _measurement(
    done: Sequence[Done], samples: Samples, found: dict[str, int], names: Sequence[str], mutations: int
) -> Measurement:
    latencies = [latency for one in done for latency in one.latencies_ns]
    errors = [one.error for one in done if one.error]
    shared = sum(len(_shared_turns(name, mutations)) for name in names)
    expected = {SHARED: shared, **dict.fromkeys(names, mutations)}
    wrong = [f"{name}: {found.get(name)} of {n}" for name, n in expected.items() if found.get(name) != n]
    micro = latency_figures(latencies)
    figures = {
        "rate": len(latencies) / max(samples.seconds, 1),
        **{f"{name}_ms": micro[f"{name}_us"] / 1e3 for name in ("p50", "p99", "max")},
        "conflicts": sum(one.conflicts for one in done),
        "cpu": samples.cpu,
        "memory_mb": samples.memory_mb[-1],
        "duckdb_mb": samples.duckdb_mb[-1],
        "slope_mb": _slope(samples.memory_mb),
        "own_slope_mb": _slope(
            [one - duckdb for one, duckdb in zip(samples.memory_mb, samples.duckdb_mb, strict=True)]
        ),
    }
    checks = [
        Check("every mutation is acknowledged", not errors, "; ".join(errors[:2])),
        Check("no update is lost", not wrong, "; ".join(wrong[:3])),
    ]
    return Measurement(OURS, CASE, figures, checks)


class Samples:
    """What the server's process uses, looked at every `SAMPLE_SECONDS`."""

    def __init__(self, pid: int, db: rdb.Database) -> None:
        self.memory_mb: list[float] = []
        self.duckdb_mb: list[float] = []
        self._db = db
        self._process = Path(f"/proc/{pid}")
        self._began = (time.monotonic(), self._ticks())
        self._ended = self._began

    def take(self) -> None:
        pages = int((self._process / "statm").read_text().split()[1])
        self.memory_mb.append(pages * PAGE_BYTES / 2**20)
        used = self._db.sql("SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory()").fetchall()
        self.duckdb_mb.append(used[0][0] / 2**20)
        self._ended = (time.monotonic(), self._ticks())

    @property
    def seconds(self) -> float:
        return self._ended[0] - self._began[0]

    @property
    def cpu(self) -> float:
        """Seconds of processor time a second."""
        return (self._ended[1] - self._began[1]) / TICKS_PER_SECOND / self.seconds

    def _ticks(self) -> int:
        fields = (self._process / "stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])


def _slope(samples: Sequence[float]) -> float:
    """How much more it is each minute, in the second half."""
    half = samples[len(samples) // 2 :]
    return linear_regression(range(len(half)), half).slope * 60 / SAMPLE_SECONDS if len(half) > 1 else 0.0


# --- the processes that have the sessions ----------------------------------------------------------------------------


class Process:
    """One of them, as the process that watches has it."""

    def __init__(self, process: subprocess.Popen[str], sessions: int) -> None:
        self._process = process
        self._sessions = sessions

    def wait_ready(self) -> None:
        """Return when all its sessions are connected."""
        self._line()

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def results(self) -> list[Done]:
        """What each session did, once all are done."""
        return [Done(**json.loads(self._line())) for _ in range(self._sessions)]

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process with sessions has ended; what it said is above")
        return line


@contextmanager
def _process(work: Work) -> Iterator[Process]:
    command = [sys.executable, "-m", "benchmarks.load_sessions", json.dumps(asdict(work))]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Process(process, len(work.ids) - 1)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


class Session:
    """One session in a thread of its own: waits for its moment in each second, and counts."""

    def __init__(self, work: Work, name: str, begun: threading.Event) -> None:
        self.done = Done([])
        self._db = connect(work.url, work.token)
        self._own, self._shared = rdb.Id[Tally](work.ids[name]), rdb.Id[Tally](work.ids[SHARED])
        self._name = name
        self._mutations = work.mutations
        self._random = random.Random(name)
        self._begun = begun
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        shared = _shared_turns(self._name, self._mutations)
        self._begun.wait()
        began_ns = perf_counter_ns()
        try:
            for turn in range(self._mutations):
                due_ns = began_ns + int((turn + self._random.random()) * 1e9)
                time.sleep(max(0, due_ns - perf_counter_ns()) / 1e9)
                self._db.run(count, [self._own, self._shared] if turn in shared else [self._own])
                self.done.latencies_ns.append(perf_counter_ns() - due_ns)
        except Exception as error:
            self.done.error = f"{type(error).__name__}: {error}"
        self.done.conflicts = self._db._store.conflicts

    def close(self) -> None:
        self._db.close()


def _shared_turns(name: str, mutations: int) -> Sequence[int]:
    """At which of its turns a session counts in the shared counter, too; as many sessions at each."""
    return range(int(name.split()[-1]) % SHARED_EVERY, mutations, SHARED_EVERY)


def connect(url: str, token: str) -> rdb.Database:
    """What `rdb.connect` does, which would give all sessions of a process the same connection."""
    from reactive_db.database import Database
    from reactive_db.limits import CONNECT_SECONDS_MAX, Limits
    from reactive_db.remote.address import Address
    from reactive_db.remote.store import RemoteStore
    from reactive_db.runtime import SystemRuntime

    server, _, name = url.rpartition("/")
    store = RemoteStore.at(Address(server, name, token), None, SystemRuntime(), Limits())
    store.wait_until_open(CONNECT_SECONDS_MAX)
    return Database(store)


def work_on(given: dict[str, Any]) -> None:
    """The process's side."""
    work, begun = Work(**given), threading.Event()
    sessions = [Session(work, name, begun) for name in work.ids if name != SHARED]
    for session in sessions:
        session.thread.start()
    print(json.dumps(len(sessions)), flush=True)
    sys.stdin.readline()
    begun.set()
    for session in sessions:
        session.thread.join()
    for session in sessions:
        print(json.dumps(asdict(session.done)), flush=True)
    for session in sessions:
        session.close()


if __name__ == "__main__":
    work_on(json.loads(sys.argv[1]))
