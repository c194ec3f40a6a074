"""The pusher: sends to pages what has changed, at a pace that the server lets through, from any thread.

Theory of operation. The server drops what a kernel sends above 1,000 messages a second, and tells neither side. So
changes are gathered, and everything that is due is pushed together, `PUSH_INTERVAL_SECONDS` apart. Every message has a
number; a page that misses one asks for the whole. That the *last* message was lost no page can see by itself: its
number is told again after `TAIL_SECONDS`, when a flood that swallowed it is over.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from reactive_db import limits
from reactive_db.runtime import Runtime, SystemRuntime, Timer

_log = logging.getLogger(__name__)


class Pushed(Protocol):
    """Something whose changes go to pages. Its methods are called on any thread, never two at a time by the pusher."""

    def push(self) -> None:
        """Send what has changed since the last time."""

    def tell_number(self) -> None:
        """Send the number of the last message."""


class Pusher:
    """Pushes each that was woken, soon and not too often.

    Responsibilities: when. Not: what is sent. `wake` never waits for a push that is under way.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._woken: dict[Pushed, None] = {}
        self._tails: dict[Pushed, list[float]] = {}
        """When the last number of each is told again, the next time last."""
        self._next_push = 0.0
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def wake(self, one: Pushed) -> None:
        """`one` has changed; any thread may say so, and as often as it likes."""
        with self._lock:
            if one not in self._woken:
                self._woken[one] = None
                self._set_timer()

    def sent(self, one: Pushed) -> None:
        """A numbered message of `one` went out just now."""
        now = self._runtime.monotonic()
        with self._lock:
            self._tails[one] = [now + seconds for seconds in reversed(limits.TAIL_SECONDS)]
            self._set_timer()

    def forget(self, one: Pushed) -> None:
        """Push and tell nothing of `one` any more."""
        with self._lock:
            self._woken.pop(one, None)
            self._tails.pop(one, None)
            if not self._woken and not self._tails and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def flush(self) -> None:
        """Push now whatever was woken; returns when it is sent."""
        with self._turn:
            with self._lock:
                due, self._woken = self._woken, {}
                self._next_push = self._runtime.monotonic() + limits.PUSH_INTERVAL_SECONDS
            for one in due:
                _guarded(one.push)

    def _set_timer(self) -> None:
        """Have the timer go off when the next thing is due."""
        times = [tail[-1] for tail in self._tails.values()]
        at = min([*times, self._next_push] if self._woken else times)
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        delay = max(0.0, at - self._runtime.monotonic())
        self._timer = self._runtime.call_later(delay, partial(self._on_timer, at))

    def _on_timer(self, at: float) -> None:
        with self._lock:
            if self._timer is None or self._timer_at != at:
                return  # another one was set since
            self._timer = None
            now = self._runtime.monotonic()
            is_due = bool(self._woken) and self._next_push <= now
            told = [one for one, tail in self._tails.items() if tail[-1] <= now]
            for one in told:
                self._tails[one].pop()
                if not self._tails[one]:
                    del self._tails[one]
        if is_due:
            self.flush()
        for one in told:
            _guarded(one.tell_number)
        with self._lock:
            if self._woken or self._tails:
                self._set_timer()


def _guarded(call: Callable[[], None]) -> None:
    """One that cannot be pushed harms no other."""
    try:
        call()
    except Exception:
        _log.exception("a change could not be sent to the page; the next one is tried again")


pusher: Final = Pusher(SystemRuntime())
"""The one of this process: what it paces is the kernel's one connection to its server."""
