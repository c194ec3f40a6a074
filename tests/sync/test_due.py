"""Sessions that have something to say are flushed in order, a few at a time, whatever one of them does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest

from reactive_db import limits
from reactive_db.sync.due import Due


class Speaker:
    """Takes note that it was flushed."""

    def __init__(self, name: int, flushed: list[int]) -> None:
        self.name = name
        self.flushed = flushed

    def flush(self) -> None:
        self.flushed.append(self.name)
        if self.name < 0:
            raise ValueError("mine")


class Loop(deque[Callable[[], None]]):
    """The thread that sends."""

    def step(self) -> None:
        for _ in range(len(self)):
            self.popleft()()


def test_many_are_flushed_in_order_with_one_call_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FLUSHED_IN_A_ROW_MAX", 3)
    due, loop, flushed = Due(), Loop(), list[int]()
    for name in range(7):
        due.add(Speaker(name, flushed), loop.append)
    assert len(loop) == 1
    loop.step()
    assert (flushed, len(loop)) == ([0, 1, 2], 1)
    due.add(Speaker(7, flushed), loop.append)
    loop.step()
    loop.step()
    assert (flushed, len(loop)) == (list(range(8)), 0)


def test_after_a_rest_it_begins_again() -> None:
    due, loop, flushed = Due(), Loop(), list[int]()
    for name in range(3):
        due.add(Speaker(name, flushed), loop.append)
        loop.step()
    assert flushed == [0, 1, 2]


def test_one_that_raises_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    due, loop, flushed = Due(), Loop(), list[int]()
    for name in (1, -1, 2):
        due.add(Speaker(name, flushed), loop.append)
    loop.step()
    assert flushed == [1, -1, 2]
    assert "could not be told" in caplog.text
