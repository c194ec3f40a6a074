"""A thread of its own for work that others set off and must not wait for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Background:
    """Calls a function soon after each `wake`, once for many, on one thread."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work = work
        self._woken = threading.Event()
        self._is_closed = False
        self._is_working = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    @property
    def is_idle(self) -> bool:
        """Whether all that was set off is done."""
        return not (self._is_working or self._woken.is_set())

    def close(self) -> None:
        """Do not begin again; waits for what is under way, unless that calls this."""
        self._is_closed = True
        self._woken.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._woken.wait()
            self._is_working = True  # before it is no longer woken, so that it is never idle in between
            self._woken.clear()
            if self._is_closed:
                return
            try:
                self._work()
            except Exception:
                _log.exception("work in the background failed; the next change sets it off again")
            finally:
                self._is_working = False
