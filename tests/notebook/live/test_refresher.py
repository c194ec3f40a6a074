"""When live outputs are refreshed: coalesced, paced, settled at the end of a cell, and never for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from reactive_db import limits
from reactive_db.errors import LiveCycleError
from reactive_db.notebook.live.executions import Execution
from reactive_db.notebook.live.names import NO_NAMES, Names, names_of
from reactive_db.notebook.live.refresher import Refresher
from reactive_db.testing.runtime import SeededRuntime


class FakeLoop:
    """A main loop that runs when it is told to, on the clock of its runtime."""

    def __init__(self, runtime: SeededRuntime) -> None:
        self._runtime = runtime
        self._callbacks: list[Callable[[], None]] = []

    def add_callback(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self._runtime.call_later(delay, callback)

    def run(self) -> int:
        """Run what was added; how many callbacks that were."""
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
        return len(callbacks)


class FakeOutput:
    """A live output that writes down what is asked of it."""

    def __init__(self, on_refresh: Callable[[], None] = lambda: None, names: Names = NO_NAMES) -> None:
        self.made_by = Execution()
        self.names = names
        self.label = "output"
        self.messages = 1
        self.stale = False
        self.log: list[str] = []
        self._on_refresh = on_refresh

    def is_stale(self) -> bool:
        return self.stale

    def refresh(self) -> None:
        self.stale = False
        self.log.append("refresh")
        self._on_refresh()

    def repeat(self) -> None:
        self.log.append("repeat")

    def stop(self, error: Exception) -> None:
        self.log.append(f"stop: {error}")

    def pause(self, is_paused: bool) -> None:
        self.log.append("pause" if is_paused else "resume")

    def close(self) -> None:
        self.log.append("close")

    def clear(self) -> None:
        self.log.append("clear")


class Fixture:
    def __init__(self) -> None:
        self.runtime = SeededRuntime(1)
        self.loop = FakeLoop(self.runtime)
        self.flushes = 0
        self.refresher = Refresher(self.loop, self.runtime, self._flush)

    def _flush(self) -> None:
        self.flushes += 1

    def add(self, on_refresh: Callable[[], None] = lambda: None) -> FakeOutput:
        output = FakeOutput(on_refresh)
        self.refresher.add(output)
        return output

    def add_cell(self, code: str, log: list[str]) -> FakeOutput:
        output = FakeOutput(lambda: log.append(code), names_of(code))
        self.refresher.add(output)
        return output

    def change(self, *outputs: FakeOutput) -> None:
        for output in outputs:
            output.stale = True
            self.refresher.wake()


@pytest.fixture
def fixture() -> Fixture:
    return Fixture()


def test_many_changes_are_one_round(fixture: Fixture) -> None:
    one, other, idle = fixture.add(), fixture.add(), fixture.add()
    fixture.change(one, other, one, one)
    assert fixture.loop.run() == 1
    assert (one.log, other.log, idle.log) == (["refresh"], ["refresh"], [])


def test_nothing_is_refreshed_where_it_was_changed(fixture: Fixture) -> None:
    output = fixture.add()
    thread = threading.Thread(target=lambda: fixture.change(output))
    thread.start()
    thread.join()
    assert output.log == []
    fixture.loop.run()
    assert output.log == ["refresh"]


def test_rounds_keep_their_distance(fixture: Fixture) -> None:
    output = fixture.add()
    fixture.change(output)
    fixture.loop.run()
    fixture.change(output)
    fixture.loop.run()
    assert output.log == ["refresh"]
    fixture.runtime.advance(limits.LIVE_UPDATE_INTERVAL_SECONDS)
    assert output.log == ["refresh", "refresh"]


def test_many_outputs_keep_below_what_a_server_lets_through(fixture: Fixture) -> None:
    outputs = [fixture.add() for _ in range(limits.LIVE_OUTPUTS_MAX)]
    fixture.change(*outputs)
    fixture.loop.run()
    fixture.change(outputs[0])
    fixture.loop.run()
    fixture.runtime.advance(limits.LIVE_OUTPUTS_MAX / limits.LIVE_UPDATES_PER_SECOND_MAX - 0.01)
    assert outputs[0].log == ["refresh"]
    fixture.runtime.advance(0.02)
    assert outputs[0].log == ["refresh", "refresh"]


def test_slow_outputs_leave_the_loop_half_of_the_time(fixture: Fixture) -> None:
    output = fixture.add(lambda: fixture.runtime.advance(2.0, fires=False))
    fixture.change(output)
    fixture.loop.run()
    fixture.change(output)
    fixture.loop.run()
    fixture.runtime.advance(1.9)
    assert output.log == ["refresh"]
    fixture.runtime.advance(0.2)
    assert output.log == ["refresh", "refresh"]


def test_settling_needs_no_loop(fixture: Fixture) -> None:
    output = fixture.add()
    output.stale = True
    fixture.refresher.settle()
    assert output.log == ["refresh"]


def test_settling_goes_on_until_nothing_is_stale(fixture: Fixture) -> None:
    second = fixture.add()
    first = fixture.add(lambda: fixture.change(second))
    first.stale = True
    fixture.refresher.settle()
    assert (first.log, second.log) == (["refresh"], ["refresh"])


def test_what_was_sent_between_cells_is_sent_again_at_the_end_of_the_next(fixture: Fixture) -> None:
    between, within = fixture.add(), fixture.add()
    fixture.change(between)
    fixture.loop.run()
    within.stale = True
    fixture.refresher.settle()
    fixture.refresher.settle()
    assert (between.log, within.log) == (["refresh", "repeat"], ["refresh"])


def test_settling_gives_up_and_leaves_the_rest_to_the_loop(fixture: Fixture) -> None:
    def busy_writer() -> None:
        fixture.runtime.advance(3.0, fires=False)
        output.stale = True

    output = fixture.add(busy_writer)
    output.stale = True
    fixture.refresher.settle()
    assert output.log == ["refresh"] * 4
    assert fixture.loop.run() == 1


def test_settling_is_for_the_main_thread(fixture: Fixture) -> None:
    output = fixture.add()
    output.stale = True
    thread = threading.Thread(target=fixture.refresher.settle)
    thread.start()
    thread.join()
    assert output.log == []


def test_settling_inside_a_refresh_does_nothing(fixture: Fixture) -> None:
    other = fixture.add()
    output = fixture.add(fixture.refresher.settle)
    other.stale = output.stale = True
    fixture.refresher.settle()
    assert (output.log, other.log) == (["refresh"], ["refresh"])


def test_an_output_that_keeps_waking_others_is_stopped_and_only_that(fixture: Fixture) -> None:
    bystander = fixture.add()
    culprit = fixture.add(lambda: fixture.change(culprit, bystander))
    fixture.change(culprit)
    fixture.refresher.settle()
    assert culprit.log[:-1] == ["refresh"] * limits.LIVE_ROUNDS_MAX
    assert "LIVE_ROUNDS_MAX" in culprit.log[-1]
    assert set(bystander.log) == {"refresh"}
    assert len(fixture.refresher) == 1


def test_past_the_limit_the_oldest_output_stops(fixture: Fixture) -> None:
    outputs = [fixture.add() for _ in range(limits.LIVE_OUTPUTS_MAX + 1)]
    assert "LIVE_OUTPUTS_MAX" in outputs[0].log[0]
    assert outputs[1].log == []
    assert len(fixture.refresher) == limits.LIVE_OUTPUTS_MAX


def test_removed_outputs_are_closed_and_left_alone(fixture: Fixture) -> None:
    gone, stays = fixture.add(), fixture.add()
    fixture.change(gone, stays)
    fixture.refresher.remove(lambda output: output is gone)
    fixture.loop.run()
    assert (gone.log, stays.log) == (["close"], ["refresh"])


def test_an_output_that_cannot_be_shown_is_forgotten(fixture: Fixture, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        broken.stale = True
        raise OSError("no connection")

    broken, other = fixture.add(fail), fixture.add()
    broken.stale = other.stale = True
    fixture.refresher.settle()
    assert (broken.log, other.log) == (["refresh"], ["refresh"])
    assert "could not be shown" in caplog.text
    assert len(fixture.refresher) == 1


# --- names ------------------------------------------------------------------------------------------------------------


def test_readers_of_a_name_follow_in_order_each_once() -> None:
    fixture, log = Fixture(), list[str]()
    join, left, right, source = (fixture.add_cell(code, log) for code in ("d = b + c", "b = a", "c = a", "a = 1"))
    fixture.change(source)
    fixture.refresher.settle()
    assert log[0] == "a = 1"
    assert sorted(log[1:3]) == ["b = a", "c = a"]
    assert log[3:] == ["d = b + c"]
    assert not any(output.stale for output in (join, left, right))


def test_what_is_stale_by_itself_and_by_a_name_is_refreshed_once() -> None:
    fixture, log = Fixture(), list[str]()
    reader, source = fixture.add_cell("b = a", log), fixture.add_cell("a = 1", log)
    fixture.change(reader, source)
    fixture.loop.run()
    assert log == ["a = 1", "b = a"]


def test_a_paused_reader_catches_up_when_it_is_resumed() -> None:
    fixture, log = Fixture(), list[str]()
    source, reader = fixture.add_cell("a = 1", log), fixture.add_cell("b = a", log)
    fixture.refresher.pause(reader)
    fixture.change(source)
    fixture.refresher.settle()
    assert log == ["a = 1"]
    fixture.refresher.resume(reader)
    fixture.refresher.settle()
    assert log == ["a = 1", "b = a"]


def test_a_circle_is_refused_and_the_others_stay_live() -> None:
    fixture, log = Fixture(), list[str]()
    first = fixture.add_cell("a = b", log)
    with pytest.raises(LiveCycleError):
        fixture.add_cell("b = a", log)
    assert fixture.refresher.outputs == [first]
    fixture.change(first)
    fixture.refresher.settle()
    assert log == ["a = b"]
