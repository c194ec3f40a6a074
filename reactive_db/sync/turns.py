"""Turns: the right of one session to commit alone, for those that lost too many races.

Theory of operation. A session that keeps losing asks for a turn. While somebody waits for one, commits that arrive are
held; when those that were under way are done, the first in the queue has the turn. It runs its function once more, on
everything that was committed before, and nobody else's commit is let in until its own has been, or until
`TURN_SECONDS_MAX` have passed, or its connection is gone. Then all that were held go on, and after them comes the next
turn: who waits for a turn waits for those before it, who is held waits for one turn.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from reactive_db import limits
from reactive_db.errors import LimitError
from reactive_db.runtime import Runtime, Timer

Owner = Any
"""A session's connection, told apart by identity; it makes one commit at a time."""

Call = Callable[[], None]
"""Called without a lock, on any thread; must not wait or raise."""


class Turns:
    """Lets commits of sessions in.

    Responsibilities: who may commit now, and who is next. Not: validating. What commits without asking, a program that
    has the store open itself or a bulk load, is not held: who loses to it asks for another turn.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._turn: _Turn | None = None
        self._asked: deque[tuple[Owner, Call]] = deque()
        self._held: deque[tuple[Owner, Call]] = deque()
        self._inside: set[Owner] = set()
        self._lock = threading.Lock()

    def ask(self, owner: Owner, grant: Call) -> None:
        """Have `grant` called when `owner` has the turn.

        Raises:
            LimitError: it waits for too many.
        """
        with self._lock:
            if sum(one is owner for one, _ in self._asked) >= limits.SESSION_REQUESTS_MAX:
                raise LimitError(
                    f"a session waits for {limits.SESSION_REQUESTS_MAX} turns already (SESSION_REQUESTS_MAX).",
                    limit="SESSION_REQUESTS_MAX",
                )
            self._asked.append((owner, grant))
            calls = self._next()
        _make(calls)

    def enter(self, owner: Owner, go_on: Call) -> bool:
        """Whether `owner` may commit now; else `go_on` is called when it may. Either way, it has to `leave`."""
        with self._lock:
            is_free = not self._asked if self._turn is None else self._turn.owner is owner
            if is_free:
                self._inside.add(owner)
            else:
                self._held.append((owner, go_on))
            return is_free

    def leave(self, owner: Owner) -> None:
        """The commit of `owner` is done, and so is its turn if it had one."""
        with self._lock:
            self._inside.discard(owner)
            calls = self._end(owner) + self._next()
        _make(calls)

    def end(self, owner: Owner) -> None:
        """`owner` will not commit in its turn."""
        with self._lock:
            calls = self._end(owner) + self._next()
        _make(calls)

    def forget(self, owner: Owner) -> None:
        """The connection of `owner` is gone."""
        with self._lock:
            self._inside.discard(owner)
            self._asked = deque(one for one in self._asked if one[0] is not owner)
            self._held = deque(one for one in self._held if one[0] is not owner)
            calls = self._end(owner) + self._next()
        _make(calls)

    # The rest is called with the lock, and returns the calls that are due.

    def _end(self, owner: Owner) -> list[Call]:
        if self._turn is None or self._turn.owner is not owner:
            return []
        self._turn.timer.cancel()
        self._turn = None
        return self._let_go()

    def _next(self) -> list[Call]:
        if self._turn is not None or self._inside:
            return []
        if not self._asked:
            return self._let_go()
        owner, grant = self._asked.popleft()
        timer = self._runtime.call_later(limits.TURN_SECONDS_MAX, partial(self.end, owner))
        self._turn = _Turn(owner, timer)
        return [grant, *self._let_go(owner)]

    def _let_go(self, only: Owner | None = None) -> list[Call]:
        going = [one for one in self._held if only in (None, one[0])]
        self._held = deque(one for one in self._held if only not in (None, one[0]))
        self._inside.update(owner for owner, _ in going)
        return [go_on for _, go_on in going]


class _Turn:
    """One turn."""

    __slots__ = ("owner", "timer")

    def __init__(self, owner: Owner, timer: Timer) -> None:
        self.owner = owner
        self.timer = timer


def _make(calls: list[Call]) -> None:
    for call in calls:
        call()
