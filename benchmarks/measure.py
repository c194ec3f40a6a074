"""Timing: latencies of one operation from one or many threads, and what they come to.

The traps avoided, for every workload:

- **Clock**: `perf_counter_ns`, monotonic and without the float rounding of `time()`; each sample costs about 0.1 us.
- **Warm-up**: the first calls pay for imports, page faults, prepared statements and JIT-like specialization. Every
  writer runs `WARM_UP_SECONDS` unrecorded; those calls count in the correctness checks, because they are commits.
- **Garbage**: preparation leaves garbage and a large young generation; it is collected before the clock starts.
  The collector stays on while measuring: a user has it on, and its pauses belong in p99.
- **Interpreter lock**: all writers are threads of one process, for every system. A thread that computes keeps the
  lock for up to the switch interval (5 ms) while others wait with their answer ready, so the interval decides p99.
  It is left at Python's default for everybody; a system that sets it itself keeps what it set.
- **Coordinated start**: a barrier after warm-up, so that no writer measures an idle system.
- **Late finishers**: the time divided by is from the start to the last acknowledgement, not the nominal duration, so
  that a starved writer lowers the throughput instead of vanishing.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns

WARM_UP_SECONDS = 0.25

Operation = Callable[[], object]


@dataclass
class Load:
    """What the writers did: sorted latencies, the time they took, all acknowledged calls, and what was raised."""

    latencies_ns: list[int]
    elapsed_ns: int
    acknowledged: int
    errors: list[str]

    def figures(self) -> dict[str, float]:
        return {"tps": len(self.latencies_ns) / (self.elapsed_ns / 1e9), **latency_figures(self.latencies_ns)}


def latency_figures(latencies_ns: Sequence[int]) -> dict[str, float]:
    """p50, p99 and the maximum in microseconds."""
    return {
        "p50_us": percentile(latencies_ns, 0.50) / 1e3,
        "p99_us": percentile(latencies_ns, 0.99) / 1e3,
        "max_us": percentile(latencies_ns, 1.0) / 1e3,
    }


def percentile(values: Sequence[int], fraction: float) -> int:
    """The smallest value that at least `fraction` of all values do not exceed; 0 for no values."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * fraction), len(ordered) - 1)] if ordered else 0


def run_writers(writers: int, make_operation: Callable[[int], Operation], seconds: float) -> Load:
    """Let `writers` threads call their operation back to back for `seconds`.

    `make_operation(w)` is called in writer `w`'s own thread, so that connections belong to it. The first exception
    of a writer ends that writer and is reported in `Load.errors`.
    """
    gc.collect()
    start_line = threading.Barrier(writers)
    crew = [_Writer(number, make_operation, seconds, start_line) for number in range(writers)]
    threads = [threading.Thread(target=writer.work, name=f"writer-{writer.number}") for writer in crew]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    begun = min((writer.begun for writer in crew if writer.begun), default=0)
    ended = max((writer.ended for writer in crew), default=0)
    latencies = sorted(latency for writer in crew for latency in writer.latencies_ns)
    acknowledged = sum(writer.warm_up_calls + len(writer.latencies_ns) for writer in crew)
    return Load(latencies, max(ended - begun, 1), acknowledged, [writer.error for writer in crew if writer.error])


class _Writer:
    """One thread's share of a load."""

    def __init__(
        self, number: int, make_operation: Callable[[int], Operation], seconds: float, start_line: threading.Barrier
    ) -> None:
        self.number = number
        self.make_operation = make_operation
        self.seconds = seconds
        self.start_line = start_line
        self.latencies_ns: list[int] = []
        self.warm_up_calls = 0
        self.begun = 0
        self.ended = 0
        self.error = ""

    def work(self) -> None:
        try:
            operation = self.make_operation(self.number)
            warm = perf_counter_ns() + int(WARM_UP_SECONDS * 1e9)
            while perf_counter_ns() < warm:
                operation()
                self.warm_up_calls += 1
            self.start_line.wait()
            self._measure(operation)
        except threading.BrokenBarrierError:
            pass  # another writer failed before the start and says why
        except Exception as error:
            self.start_line.abort()
            self.error = f"{type(error).__name__}: {error}"

    def _measure(self, operation: Operation) -> None:
        record = self.latencies_ns.append
        before = self.begun = perf_counter_ns()
        deadline = before + int(self.seconds * 1e9)
        while before < deadline:
            operation()
            after = perf_counter_ns()
            record(after - before)
            self.ended = before = after
