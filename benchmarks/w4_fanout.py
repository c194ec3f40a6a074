"""W4, fan-out in one process: 1,000 callbacks hear of one commit.

Two live queries on two documents of 1 KB: one has 1,000 callbacks, the other one. Commits to them alternate, and the
fan-out is the median of the pairs' differences, so the flush, the re-run and the wake-up drop out, and work done
before the first callback does not. Beside it: the same 1,000 callbacks called bare in a loop, between the same
commits, because the interpreter's speed varies with the machine's load. Also 1,000 handles with one callback each.

The checks: each of the 1,000 callbacks is called exactly once per commit and holds the document's new value.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from statistics import median
from time import perf_counter_ns
from typing import Any

from benchmarks import fresh, systems
from benchmarks.results import Check, Column, Goal, Measurement, figure
from benchmarks.systems import OURS, Options

TITLE = "W4 fan-out, 1,000 callbacks in process"
ABOUT = "One durable commit to a 1 KB document; until the last of 1,000 callbacks has the new value."
SYSTEMS = (OURS,)
COLUMNS = (
    Column("total_us", "commit to last p50 us"),
    Column("fan_out_us", "fan-out alone us"),
    Column("bare_us", "1,000 bare calls us"),
    Column("ratio", "fan-out / bare", "{:.2f}"),
)
CALLBACKS, HANDLES = "1,000 callbacks", "1,000 handles"
GOALS = (
    Goal("1,000 callbacks within 2 x of bare calls", figure(OURS, CALLBACKS, "ratio"), at_most=2),
    Goal("(no goal) 1,000 handles of one query, beside bare calls", figure(OURS, HANDLES, "ratio")),
)
SUBSCRIBERS = 1_000
COMMITS, WARM_UP_COMMITS = 200, 30
WAIT_SECONDS = 10.0
MANY, ONE = 0, 1  # the two documents


class Audience:
    """Callbacks that each keep the value they were given; the last one takes the time."""

    def __init__(self, size: int) -> None:
        self.values: list[Any] = [None] * size
        self.calls = 0
        self.ended_ns = 0
        self._everyone = threading.Event()
        self.callbacks = [self._callback(position) for position in range(size)]

    def _callback(self, position: int) -> Callable[[dict[str, Any]], None]:
        values, size = self.values, len(self.values)

        def callback(change: dict[str, Any]) -> None:
            values[position] = change["new"]
            self.calls += 1
            if self.calls == size:
                self.ended_ns = perf_counter_ns()
                self._everyone.set()

        return callback

    def forget(self) -> None:
        self.calls = 0
        self._everyone.clear()

    def wait(self) -> int:
        """When the last callback was called."""
        if not self._everyone.wait(WAIT_SECONDS):
            raise RuntimeError(f"{self.calls} of {len(self.values)} callbacks within {WAIT_SECONDS:g} s")
        return self.ended_ns


def run(system: str, options: Options) -> list[Measurement]:
    """One fresh process per case."""
    return [fresh.call(measure, system, case, options) for case in (CALLBACKS, HANDLES)]


def measure(system: str, case: str, options: Options) -> Measurement:
    from benchmarks import reactive_store

    directory = options.directory / f"w4-{system}-{case.split()[1]}"
    directory.mkdir()
    counters = systems.role(system, "Counters")(directory, 2)
    many, one = Audience(SUBSCRIBERS), Audience(1)
    try:
        handles = []
        for audience, document in ((many, MANY), (one, ONE)):
            handle = counters.db.live(reactive_store.counter, counters.ids[document])
            for callback in audience.callbacks:
                if case == HANDLES:
                    handle = counters.db.live(reactive_store.counter, counters.ids[document])
                handle.observe(callback, "value")
                handles.append(handle)
        return _measure(system, case, counters.writer(), many, one)
    finally:
        counters.close()


def _measure(system: str, case: str, increment: Callable[[int], object], many: Audience, one: Audience) -> Measurement:
    totals: list[int] = []
    differences: list[int] = []
    bare: list[int] = []
    wrong: list[str] = []
    gc.collect()
    for turn in range(-WARM_UP_COMMITS, COMMITS):
        # Which comes first alternates: the commit after the bare calls finds colder caches.
        if turn % 2:
            to_one, to_many = _commit(increment, ONE, one), _commit(increment, MANY, many)
        else:
            to_many, to_one = _commit(increment, MANY, many), _commit(increment, ONE, one)
        wrong += _faults(many, turn + WARM_UP_COMMITS + 1)
        alone = _call_bare(many)
        if turn >= 0:
            totals.append(to_many)
            differences.append(to_many - to_one)
            bare.append(alone)
    fan_out_us, bare_us = median(differences) / 1e3, median(bare) / 1e3
    figures = {
        "total_us": median(totals) / 1e3,
        "fan_out_us": fan_out_us,
        "bare_us": bare_us,
        "ratio": fan_out_us / bare_us,
    }
    checks = [Check("each callback once per commit, with the new value", not wrong, "; ".join(wrong[:2]))]
    return Measurement(system, case, figures, checks)


def _commit(increment: Callable[[int], object], document: int, audience: Audience) -> int:
    audience.forget()
    before = perf_counter_ns()
    increment(document)
    return audience.wait() - before


def _call_bare(audience: Audience) -> int:
    audience.forget()
    change = {"new": audience.values[0]}
    before = perf_counter_ns()
    for callback in audience.callbacks:
        callback(change)
    return audience.wait() - before


def _faults(audience: Audience, v: int) -> list[str]:
    stale = sum(value is None or value.v != v for value in audience.values)
    twice = audience.calls - len(audience.values)
    return [f"{stale} stale, {twice} called twice at v = {v}"] if stale or twice else []
