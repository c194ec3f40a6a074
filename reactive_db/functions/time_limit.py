"""The time limit of functions: a query or mutation that does not end is ended.

One watching thread raises `FunctionTimeoutError` inside a function that is over its time. Python delivers it between
two bytecodes, so a loop in Python ends at once, and a call into C ends when it returns.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final

from reactive_db.errors import FunctionTimeoutError
from reactive_db.interrupts import interrupt, is_shielded, take_back
from reactive_db.runtime import Runtime

_TICK_SECONDS: Final = 0.05
_IDLE_TICKS: Final = 20


class TimeLimit:
    """Watches the functions that run now, each in its thread.

    The thread is started with the first function and ends when none has run for a second.
    """

    def __init__(self, runtime: Runtime, seconds: float) -> None:
        self._runtime = runtime
        self._seconds = seconds
        self._deadlines: dict[int, float] = {}
        self._grace: dict[int, float] = {}
        """By thread, the seconds it spent on the store's own work, such as the first touch of a table."""
        self._ticked = 0.0
        self._overdue: set[int] = set()
        self._lock = threading.Lock()
        self._is_watching = False

    def __enter__(self) -> None:
        """Run the block under the limit: FunctionTimeoutError is raised inside it when its time is over."""
        if self._grace:
            self._grace.pop(threading.get_ident(), None)
        self._deadlines[threading.get_ident()] = self._runtime.monotonic() + self._seconds
        if not self._is_watching:
            self._start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        me = threading.get_ident()
        del self._deadlines[me]
        if me in self._overdue:
            self._take_back(me)

    def is_inside(self) -> bool:
        """Whether the calling thread runs a function right now."""
        return threading.get_ident() in self._deadlines

    def _start(self) -> None:
        with self._lock:
            if not self._is_watching:
                self._is_watching = True
                threading.Thread(target=self._watch, name="reactive_db-time-limit", daemon=True).start()

    def _take_back(self, me: int) -> None:
        """The function ended just as it was to be interrupted: whatever follows it must not be."""
        with self._lock:
            self._overdue.discard(me)
            take_back()

    def _watch(self) -> None:
        pause = threading.Event()
        idle = 0
        while idle < _IDLE_TICKS:
            pause.wait(_TICK_SECONDS)
            idle = 0 if self._deadlines else idle + 1
            self._interrupt_overdue()
        with self._lock:
            self._is_watching = False
        if self._deadlines:
            self._start()

    def _interrupt_overdue(self) -> None:
        now = self._runtime.monotonic()
        since, self._ticked = self._ticked, now
        for thread, deadline in list(self._deadlines.items()):
            if is_shielded(thread):
                self._grace[thread] = self._grace.get(thread, 0.0) + min(now - since, 2 * _TICK_SECONDS)
            elif now > deadline + self._grace.get(thread, 0.0):
                with self._lock:
                    # Again at every tick, in case the function caught the last one.
                    if thread in self._deadlines:
                        self._overdue.add(thread)
                        interrupt(thread, FunctionTimeoutError)
