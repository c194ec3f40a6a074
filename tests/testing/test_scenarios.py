"""The deterministic tools themselves: the seeded runtime, scripts, and interleaved functions."""

from __future__ import annotations

import pytest

from reactive_db.testing.history import Append, Outcome, Read
from reactive_db.testing.runtime import EPOCH_MS, SeededRuntime
from reactive_db.testing.scenarios import run_script
from reactive_db.testing.stores import memory_database, memory_store
from reactive_db.testing.workloads import run_interleaved

# --- the seeded runtime ----------------------------------------------------------------------------------------------


def test_one_seed_gives_the_same_randomness() -> None:
    def drawn(seed: int) -> tuple[bytes, float, bytes]:
        runtime = SeededRuntime(seed)
        return runtime.random_bytes(8), runtime.random().random(), runtime.random_bytes(3)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_the_wall_clock_moves_at_each_look_and_the_other_when_told() -> None:
    runtime = SeededRuntime(0)
    assert (runtime.now(), runtime.now()) == (EPOCH_MS + 1, EPOCH_MS + 2)
    assert (runtime.monotonic(), runtime.monotonic()) == (0.0, 0.0)
    runtime.advance(1.5)
    assert (runtime.monotonic(), runtime.now()) == (1.5, EPOCH_MS + 1_503)


def test_timers_are_called_at_their_time_in_order() -> None:
    runtime = SeededRuntime(0)
    called: list[tuple[str, float]] = []

    def note(name: str) -> None:
        called.append((name, runtime.monotonic()))

    runtime.call_later(2.0, lambda: note("late"))
    runtime.call_later(1.0, lambda: note("early"))
    runtime.call_later(1.0, lambda: (note("same"), runtime.call_later(0.5, lambda: note("made by a timer"))))
    runtime.call_later(1.2, lambda: note("cancelled")).cancel()
    assert runtime.timers == 3
    runtime.advance(1.9)
    assert called == [("early", 1.0), ("same", 1.0), ("made by a timer", 1.5)]
    runtime.advance(0.1)
    assert called[3:] == [("late", 2.0)]
    assert runtime.timers == 0


def test_a_late_timer_is_called_in_the_next_advance() -> None:
    runtime = SeededRuntime(0)
    called: list[float] = []
    runtime.call_later(1.0, lambda: called.append(runtime.monotonic()))
    runtime.advance(3.0, fires=False)
    assert (called, runtime.timers) == ([], 1)
    runtime.advance(0.0)
    assert called == [3.0]


# --- scripts ---------------------------------------------------------------------------------------------------------


def test_a_script_takes_its_steps_in_order() -> None:
    store = memory_store()
    run = run_script(store, ["a reads x", "b appends x y", "b commits", "a reads all", "a commits"])
    store.close()
    assert [line.split(" at ")[0] for line in run.trace[:8]] == [
        "a: begins", "a: read x=[]", "b: begins", "b: append x 1", "b: append y 2", "b: commits",
        "a: read x=[]; read y=[]", "a: meets a conflict",
    ]  # fmt: skip
    assert run.outcome("b") is Outcome.COMMITTED
    assert run.history[-1].operations == (Read("x", (1,)), Read("y", (2,)))


def test_a_line_that_says_nothing_is_refused() -> None:
    store = memory_store()
    with pytest.raises(ValueError, match="no line 'a ponders x'"):
        run_script(store, ["a ponders x"])
    store.close()


def test_the_same_script_runs_as_functions_on_threads() -> None:
    with memory_database() as database:
        history = run_interleaved(database, ["a reads x", "b appends x", "b commits", "a appends y", "a commits"])
    assert {one.caller: one.operations for one in history} == {
        "a": (Read("x", (1,)), Append("y", 2)),  # it lost the race, and ran again
        "b": (Append("x", 1),),
        "last": (Read("x", (1,)), Read("y", (2,))),
    }
