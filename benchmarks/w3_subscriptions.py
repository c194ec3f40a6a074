"""W3, subscription scale: N live queries, query i on channel i; a commit touches one of them.

Latency is from the call of the insert to the callback of the right query. Ideal: flat in N, fired exactly one. The
store begins empty, so that N is the only thing that grows. Each N runs in a fresh process: 100,000 handles leave a
heap behind that the next case must not inherit.

CPU is that of this process, so a peer's server is not in it.

The checks: each commit fires the query of its channel, with a value equal to a re-run, and nothing else, neither at
once nor within `SETTLE_SECONDS` after the last; no other query was even evaluated.
"""

from __future__ import annotations

import gc
import random
import time
from dataclasses import dataclass, field
from time import perf_counter_ns

from benchmarks import fresh, systems
from benchmarks.machine import resident_bytes
from benchmarks.measure import latency_figures
from benchmarks.notifications import Mailbox
from benchmarks.results import Check, Column, Goal, Measurement, figure, ratio
from benchmarks.systems import OURS, Messages, Options

TITLE = "W3 subscription scale"
ABOUT = "N live queries on N channels; one insert into a random channel; until the right query has fired, durable."
SYSTEMS = (OURS, "sqlite", "redis", "postgresql")
COLUMNS = (
    Column("p50_us", "p50 us"),
    Column("p99_us", "p99 us"),
    Column("fired", "fired / commit", "{:.3f}"),
    Column("evaluated", "evaluated / commit", "{:.3f}"),
    Column("cpu_us", "CPU us / commit"),
    Column("subscribe_us", "us / subscribe", "{:,.1f}"),
    Column("subscription_bytes", "B / subscription"),
)
SIZES = (100, 1_000, 10_000, 100_000)
# PostgreSQL walks its list of channels for each LISTEN and each NOTIFY: 100,000 LISTENs take minutes.
LARGEST = {"postgresql": 10_000}
GOALS = (
    Goal(
        "p50 at 100,000 live queries at most 2 x that at 100",
        ratio((OURS, "100,000", "p50_us"), (OURS, "100", "p50_us")),
        at_most=2,
        full_size=True,
    ),
    Goal(
        "exactly the overlapping queries fire, at 100,000",
        figure(OURS, "100,000", "fired"),
        at_most=1,
        at_least=1,
        format="{:.3f} / commit",
        full_size=True,
    ),
)
COMMITS, WARM_UP_COMMITS = 500, 50
SETTLE_SECONDS = 0.3


def run(system: str, options: Options) -> list[Measurement]:
    """One fresh process per number of live queries."""
    largest = min(LARGEST.get(system, max(SIZES)), int(max(SIZES) * options.scale))
    return [fresh.call(measure, system, size, options) for size in SIZES if size <= largest]


@dataclass
class _Run:
    latencies_ns: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    cpu_seconds: float = 0.0


def measure(system: str, size: int, options: Options) -> Measurement:
    directory = options.directory / f"w3-{system}-{size}"
    directory.mkdir()
    messages: Messages = systems.role(system, "Messages")(directory, 0, size)
    try:
        mailbox = Mailbox()
        gc.collect()
        memory, before = resident_bytes(), perf_counter_ns()
        for channel in range(size):
            messages.watch(channel, mailbox.callback(channel))
        messages.start()
        figures = {
            "subscribe_us": (perf_counter_ns() - before) / 1e3 / size,
            "subscription_bytes": (resident_bytes() - memory) / size,
        }
        runs = messages.runs()
        outcome = _commit(messages, mailbox, size)
        late = mailbox.drain(SETTLE_SECONDS)
        evaluated = messages.runs() - runs
    finally:
        messages.close()
    commits = COMMITS + WARM_UP_COMMITS
    figures |= latency_figures(outcome.latencies_ns)
    figures |= {
        "fired": mailbox.fired / commits,
        "evaluated": evaluated / commits,
        "cpu_us": outcome.cpu_seconds / commits * 1e6,
    }
    checks = [
        Check("the right query fired, its value equals a re-run", not outcome.wrong, "; ".join(outcome.wrong[:2])),
        Check(
            "fired exactly once per commit", mailbox.fired == commits, f"{mailbox.fired:,}, {len(late)} of them late"
        ),
        Check("no other query was evaluated", evaluated <= commits, f"{evaluated:,} of {commits:,}"),
    ]
    return Measurement(system, f"{size:,}", figures, checks)


def _commit(messages: Messages, mailbox: Mailbox, size: int) -> _Run:
    outcome = _Run()
    draw = random.Random(size)
    gc.collect()
    for turn in range(-WARM_UP_COMMITS, COMMITS):
        channel, number = draw.randrange(size), turn + WARM_UP_COMMITS
        cpu, before = time.process_time(), perf_counter_ns()
        messages.insert(channel, number)
        delivery = mailbox.take()
        outcome.cpu_seconds += time.process_time() - cpu
        if turn >= 0:
            outcome.latencies_ns.append(delivery.at_ns - before)
        got, expected = messages.numbers(delivery.value), messages.numbers(messages.query(channel))
        if delivery.watcher != channel or got != expected or got[0] != number:
            outcome.wrong.append(f"channel {delivery.watcher} fired {got[:3]} for message {number} in {channel}")
    return outcome
