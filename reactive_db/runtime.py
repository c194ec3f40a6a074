"""The one seam for time, randomness and timers: nothing else in the package may ask for them.

`SystemRuntime` is the real one; `reactive_db.testing.SeededRuntime` replays the same run from a seed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

Random = random.Random
"""A generator of random numbers."""

pause: Final = time.sleep
"""Let other threads run for so many seconds. For a lock's sake only: nothing may depend on how long it takes."""

_POOL_BYTES: Final = 1_024


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Forget the call if it has not begun."""


class Runtime(Protocol):
    """Where time and randomness come from."""

    def now(self) -> float:
        """The wall clock, in milliseconds since the epoch."""

    def monotonic(self) -> float:
        """A clock that never goes back, in seconds; only differences mean something."""

    def random_bytes(self, n: int) -> bytes:
        """`n` bytes nobody can guess."""

    def random(self) -> Random:
        """A fresh generator for one function run."""

    def call_later(self, seconds: float, function: Callable[[], None]) -> Timer:
        """Call `function` once, on another thread, `seconds` from now."""


class Replay:
    """Another runtime, but with a time that stands still and randomness that comes again: for runs of one call."""

    def __init__(self, runtime: Runtime, now: float, seed: int) -> None:
        self.monotonic = runtime.monotonic
        self.call_later = runtime.call_later
        self._now = now
        self._random = Random(seed)

    def now(self) -> float:
        return self._now

    def random_bytes(self, n: int) -> bytes:
        return self._random.randbytes(n)

    def random(self) -> Random:
        return Random(self._random.getrandbits(64))


class SystemRuntime:
    """The operating system's clock and randomness."""

    def __init__(self) -> None:
        self._entropy = random.SystemRandom()
        self._pool = b""
        self._lock = threading.Lock()

    def now(self) -> float:
        return time.time() * 1000.0

    def monotonic(self) -> float:
        return time.monotonic()

    def random_bytes(self, n: int) -> bytes:
        # A system call for every new id would cost more than the rest of it.
        with self._lock:
            if len(self._pool) < n:
                self._pool += self._entropy.randbytes(max(n, _POOL_BYTES))
            taken, self._pool = self._pool[:n], self._pool[n:]
            return taken

    def random(self) -> Random:
        return Random(self._entropy.getrandbits(64))

    def call_later(self, seconds: float, function: Callable[[], None]) -> Timer:
        timer = threading.Timer(seconds, function)
        timer.daemon = True
        timer.start()
        return timer
