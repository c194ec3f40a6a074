"""Where callbacks of live queries arrive, stamped with their time, from whatever thread they come."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One callback: when it was called, for which watcher, with what."""

    at_ns: int
    watcher: int
    value: Any


class Mailbox:
    """Collects deliveries. The time is taken first in the callback, so a slow reader does not count."""

    def __init__(self) -> None:
        self.fired = 0
        self._deliveries: queue.SimpleQueue[Delivery] = queue.SimpleQueue()

    def callback(self, watcher: int) -> Callable[[Any], None]:
        put = self._deliveries.put
        return lambda value: put(Delivery(perf_counter_ns(), watcher, value))

    def take(self) -> Delivery:
        """The next delivery; raises if none comes, because a lost notification has no latency."""
        try:
            delivery = self._deliveries.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            raise RuntimeError(f"no callback within {WAIT_SECONDS:g} s of the insert") from None
        self.fired += 1
        return delivery

    def drain(self, seconds: float) -> list[Delivery]:
        """Whatever else arrives within `seconds` of silence."""
        late: list[Delivery] = []
        while True:
            try:
                late.append(self._deliveries.get(timeout=seconds))
            except queue.Empty:
                self.fired += len(late)
                return late
