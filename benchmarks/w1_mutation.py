"""W1, durable mutation: begin, read one document by id, check `v >= 0`, patch `v + 1`, commit, return.

Latency is from the call to the acknowledged return, in the caller's thread. Every system flushes before it
acknowledges; without that the figures would compare different promises. Each system runs in a fresh process, each
mode on a fresh store. The check: the final `sum(v)`, read by a new connection, is the number of acknowledged calls.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from benchmarks import data, fresh, systems
from benchmarks.measure import Operation, run_writers
from benchmarks.results import Check, Column, Goal, Measurement, ratio
from benchmarks.systems import OURS, Counters, Options

TITLE = "W1 durable mutation"
ABOUT = f"{data.COUNTERS:,} documents of about 1 KB; read, check, patch, commit, flushed before the acknowledgement."
SYSTEMS = (OURS, "sqlite", "sqlite_one_connection", "redis", "postgresql", "duckdb")
COLUMNS = (
    Column("tps", "tps"),
    Column("p50_us", "p50 us"),
    Column("p99_us", "p99 us"),
    Column("max_us", "max us"),
    Column("retries", "retries"),
)
ONE, DISJOINT, HOT = "uniform/1", "disjoint/16", "hot/16"
MODES = {ONE: 1, DISJOINT: 16, HOT: 16}
OURS_AT_16 = (OURS, DISJOINT, "tps")
GOALS = (
    Goal(
        "1 writer: p50 at most 1.3 x SQLite FULL", ratio((OURS, ONE, "p50_us"), ("sqlite", ONE, "p50_us")), at_most=1.3
    ),
    Goal("16 writers: at least 1.5 x Redis", ratio(OURS_AT_16, ("redis", DISJOINT, "tps")), at_least=1.5),
    Goal("16 writers: at least 3 x PostgreSQL", ratio(OURS_AT_16, ("postgresql", DISJOINT, "tps")), at_least=3),
    Goal("16 writers: at least 4 x SQLite", ratio(OURS_AT_16, ("sqlite", DISJOINT, "tps")), at_least=4),
    Goal("16 on one hot document: at least 0.8 x disjoint", ratio((OURS, HOT, "tps"), OURS_AT_16), at_least=0.8),
)


def run(system: str, options: Options) -> list[Measurement]:
    """Every mode of one system, in one fresh process."""
    return fresh.call(measure, system, options)


def measure(system: str, options: Options) -> list[Measurement]:
    return [_measure_mode(system, mode, options) for mode in MODES]


def _measure_mode(system: str, mode: str, options: Options) -> Measurement:
    directory = options.directory / f"w1-{system}-{mode.replace('/', '-')}"
    directory.mkdir()
    counters: Counters = systems.role(system, "Counters")(directory, data.COUNTERS)
    try:
        writers = MODES[mode]
        load = run_writers(writers, lambda number: _operation(counters, mode, number), options.seconds)
        figures = {**load.figures(), "retries": float(counters.retries())}
        total = counters.total()
    finally:
        counters.close()
    checks = [
        Check("no lost update", total == load.acknowledged, f"sum(v) = {total:,}, acknowledged {load.acknowledged:,}"),
        Check("no error reached a caller", not load.errors, "; ".join(load.errors[:1])),
    ]
    return Measurement(system, mode, figures, checks)


def _operation(counters: Counters, mode: str, writer: int) -> Operation:
    increment, choose = counters.writer(), _chooser(mode, writer)
    return lambda: increment(choose())


def _chooser(mode: str, writer: int) -> Callable[[], int]:
    """Which document the next mutation of this writer takes: any, one of its own sixteenth, or the hot one."""
    if mode == HOT:
        return lambda: 0
    stride = MODES[mode]
    draw, own = random.Random(writer).random, data.COUNTERS // stride
    return lambda: int(draw() * own) * stride + writer
