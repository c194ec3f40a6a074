"""Runs real threads in one exact interleaving that a test spells out as a list of labels.

    steps = Steps(["reader reads", "writer commits", "reader reads again"])

    def reader() -> None:
        steps.reach("reader reads")
        before = …
        steps.reach("reader reads again")
        …

    results = steps.run(reader=reader, writer=writer)

Theory of operation. A thread that reaches a label waits there. A label goes when it is the next of the script, a
thread waits at it, and every other thread waits or has finished: so only one thread runs at a time, what stands after
a label is done before the next one goes, and the same script gives the same run. The first labels go once all threads
have reached theirs. Nothing here sleeps or polls.

A step that cannot come to its thread's next label by itself, because the thread blocks on a lock that another one
holds, is written `meanwhile(label)`: the script goes on at once, without waiting for that thread.

Threads that `run` did not start, such as one of a store's own, may reach labels too; nobody waits for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

STUCK_SECONDS: Final = 10.0
"""How long nothing may happen before the script counts as stuck."""


class InterleavingError(AssertionError):
    """The threads did not do what the script says."""


class meanwhile(str):  # noqa: N801 - reads as a word of the script
    """A label of the script after which its thread may block, so that nothing waits for it."""

    __slots__ = ()


class Steps:
    """One script and the threads that follow it; good for one run.

    Not a simulator: it decides only who passes the next label. What threads do between labels without being told to
    wait (background flushes, timers) stays as free as it was.
    """

    def __init__(self, script: Sequence[str], *, stuck_seconds: float = STUCK_SECONDS) -> None:
        self._script = list(script)
        self._stuck_seconds = stuck_seconds
        self._passed = 0
        self._moves = 0  # grows whenever anything happens
        self._states: dict[str, str] = {}
        self._waiting: dict[str, str] = {}  # thread name -> label
        self._busy: set[str] = set()  # threads that must come to a label or an end before the next step
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
