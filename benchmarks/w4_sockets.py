"""W4 over sockets: 1,000 connections, all held by a second process, hear of one commit of a 1 KB document.

A third process writes, as a client of the same server. The clock, which all processes of a machine share, runs from
the call that commits until the last connection has the value. Beside it, with the same audience: the bare broadcast of
`websockets`, which keeps nothing, Redis and PostgreSQL.

The checks: every connection hears each value exactly once, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns

from benchmarks import fresh, systems
from benchmarks.audience import audience
from benchmarks.measure import percentile
from benchmarks.results import Check, Column, Figures, Goal, Measurement, ratio
from benchmarks.systems import OURS, Options

TITLE = "W4 fan-out, 1,000 connections"
ABOUT = "One commit of a 1 KB document by a client; until the last of 1,000 connections in another process has it."
BARE = "websockets"
SYSTEMS = (OURS, BARE, "redis", "postgresql")
COLUMNS = (
    Column("p50_ms", "commit to last p50 ms", "{:.1f}"),
    Column("p99_ms", "p99 ms", "{:.1f}"),
    Column("returned_ms", "commit returned p50 ms", "{:.1f}"),
)
CASE = "1,000 connections"


def _beside(other: str) -> Callable[[Figures], float]:
    return ratio((OURS, CASE, "p50_ms"), (other, CASE, "p50_ms"))


GOALS = (
    Goal("within 2 x of the bare broadcast", _beside(BARE), at_most=2, full_size=True),
    Goal("(no goal) beside Redis", _beside("redis")),
    Goal("(no goal) beside PostgreSQL", _beside("postgresql")),
)
CONNECTIONS = 1_000
COMMITS, WARM_UP_COMMITS = 100, 10


def run(system: str, options: Options) -> list[Measurement]:
    """One fresh process for the writer, which starts the others."""
    return [fresh.call(measure, system, options)]


def measure(system: str, options: Options) -> Measurement:
    directory = options.directory / f"w4-sockets-{system}"
    directory.mkdir()
    connections = max(1, round(CONNECTIONS * options.scale))
    latencies: list[int] = []
    returns: list[int] = []
    wrong: list[str] = []
    channel = systems.role(system, "Channel")(directory)
    try:
        with audience(channel.ear, connections, directory) as everybody:
            for number in range(1, WARM_UP_COMMITS + COMMITS + 1):
                before = perf_counter_ns()
                channel.put(number)
                returns.append(perf_counter_ns() - before)
                heard = everybody.hear()
                latencies.append(heard.at_ns - before)
                if heard.right < connections or heard.number != number:
                    wrong.append(f"{heard.right} of {connections} heard {heard.number} when {number} was told")
            late = everybody.end()
    finally:
        channel.close()
    checks = [
        Check("everybody hears each value once", not wrong, "; ".join(wrong[:2])),
        Check("and nothing else", late == 0, f"{late} late"),
    ]
    figures = {
        "p50_ms": percentile(latencies[WARM_UP_COMMITS:], 0.5) / 1e6,
        "p99_ms": percentile(latencies[WARM_UP_COMMITS:], 0.99) / 1e6,
        "returned_ms": percentile(returns[WARM_UP_COMMITS:], 0.5) / 1e6,
    }
    return Measurement(system, CASE, figures, checks)
