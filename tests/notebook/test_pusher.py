"""The pusher: soon, together, not too often, and the last number once more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reactive_db import limits
from reactive_db.notebook.pusher import Pusher
from reactive_db.testing.runtime import SeededRuntime


class Log:
    """Something to push; writes down when it is."""

    def __init__(self, runtime: SeededRuntime, on_push: Callable[[], None] = lambda: None) -> None:
        self.pushes: list[float] = []
        self.numbers: list[float] = []
        self._runtime = runtime
        self._on_push = on_push

    def push(self) -> None:
        self.pushes.append(self._runtime.monotonic())
        self._on_push()

    def tell_number(self) -> None:
        self.numbers.append(self._runtime.monotonic())


@pytest.fixture
def runtime() -> SeededRuntime:
    return SeededRuntime(1)


@pytest.fixture
def pusher(runtime: SeededRuntime) -> Pusher:
    return Pusher(runtime)


def test_the_first_change_goes_at_once_and_many_later_ones_together(pusher: Pusher, runtime: SeededRuntime) -> None:
    one, other = Log(runtime), Log(runtime)
    pusher.wake(one)
    runtime.advance(0.0)
    assert len(one.pushes) == 1
    for _ in range(1_000):
        pusher.wake(one)
        pusher.wake(other)
    runtime.advance(limits.PUSH_INTERVAL_SECONDS)
    assert one.pushes[1] - one.pushes[0] >= limits.PUSH_INTERVAL_SECONDS * 0.999
    assert other.pushes == one.pushes[1:]


def test_a_change_during_a_push_is_pushed_later(pusher: Pusher, runtime: SeededRuntime) -> None:
    log = Log(runtime, lambda: len(log.pushes) < 3 and pusher.wake(log))  # type: ignore[func-returns-value]
    pusher.wake(log)
    runtime.advance(1.0)
    assert len(log.pushes) == 3


def test_flush_pushes_at_once_in_the_calling_thread(pusher: Pusher, runtime: SeededRuntime) -> None:
    log = Log(runtime)
    pusher.wake(log)
    pusher.flush()
    assert len(log.pushes) == 1
    runtime.advance(1.0)
    assert len(log.pushes) == 1


def test_the_last_number_is_told_when_a_flood_may_be_over(pusher: Pusher, runtime: SeededRuntime) -> None:
    log = Log(runtime)
    pusher.sent(log)
    runtime.advance(0.5)
    pusher.sent(log)
    began = runtime.monotonic()
    runtime.advance(limits.TAIL_SECONDS[-1] + 1.0)
    assert [round(at - began, 3) for at in log.numbers] == list(limits.TAIL_SECONDS)


def test_one_that_fails_harms_no_other(
    pusher: Pusher, runtime: SeededRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    broken, fine = Log(runtime, lambda: 1 / 0 and None), Log(runtime)
    pusher.wake(broken)
    pusher.wake(fine)
    runtime.advance(0.1)
    assert len(fine.pushes) == 1
    assert "could not be sent" in caplog.text


def test_what_is_forgotten_leaves_nothing_behind(pusher: Pusher, runtime: SeededRuntime) -> None:
    log = Log(runtime)
    pusher.wake(log)
    pusher.sent(log)
    pusher.forget(log)
    runtime.advance(60.0)
    assert (log.pushes, log.numbers) == ([], [])
