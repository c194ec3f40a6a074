"""The seeded runtime: time, randomness and timers that a test decides, so that one seed gives one run."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections.abc import Callable
from typing import Final

EPOCH_MS: Final = 1_700_000_000_000.0
"""When every seeded run begins, in milliseconds since the epoch."""


class SeededRuntime:
    """A `Runtime` that repeats itself.

    The wall clock goes on by a millisecond at each look, so that what happens later is later. The monotonic clock, and
    with it every timer, stands still until `advance`.

    May be used from several threads; who gets which random bytes is then up to them.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._now_ms = EPOCH_MS
        self._seconds = 0.0
        self._timers: list[_Timer] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def now(self) -> float:
        with self._lock:
            self._now_ms += 1.0
            return self._now_ms

    def monotonic(self) -> float:
        return self._seconds

    def random_bytes(self, n: int) -> bytes:
        with self._lock:
            return self._random.randbytes(n)

    def random(self) -> random.Random:
        with self._lock:
            return random.Random(self._random.getrandbits(64))

    def call_later(self, seconds: float, function: Callable[[], None]) -> _Timer:
        """Have `advance` call `function`, in its own thread, when it comes to that time."""
        with self._lock:
            timer = _Timer(self._seconds + seconds, next(self._numbers), function)
            heapq.heappush(self._timers, timer)
            return timer

    @property
    def timers(self) -> int:
        """How many calls are still to come."""
        return sum(not timer.is_cancelled for timer in self._timers)

    def advance(self, seconds: float, *, fires: bool = True) -> None:
        """Let time pass: every timer that comes due is called at its own time, in order.

        With `fires=False` none is: the thread that would call them is late, and does so in the next `advance`.
        """
        until = self._seconds + seconds
        while fires and (timer := self._next_due(until)) is not None:
            self._move_to(timer.due)
            timer.function()
        self._move_to(until)

    def _next_due(self, until: float) -> _Timer | None:
        with self._lock:
            while self._timers and self._timers[0].due <= until:
                timer = heapq.heappop(self._timers)
                if not timer.is_cancelled:
                    return timer
            return None

    def _move_to(self, seconds: float) -> None:
        passed = max(seconds - self._seconds, 0.0)
        self._seconds += passed
        self._now_ms += passed * 1000.0


class _Timer:
    """One call that is still to come; ordered by when, then by who asked first."""

    __slots__ = ("due", "function", "is_cancelled", "number")

    def __init__(self, due: float, number: int, function: Callable[[], None]) -> None:
        self.due = due
        self.number = number
        self.function = function
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def __lt__(self, other: _Timer) -> bool:
        return (self.due, self.number) < (other.due, other.number)
