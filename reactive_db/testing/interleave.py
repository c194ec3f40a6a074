"""Runs real threads in one exact interleaving, which a test spells out as a list of labels.

    steps = Steps(["reader looks", "writer commits", "reader looks again"])

    def reader() -> tuple[int, int]:
        steps.reach("reader looks")
        before = balance()
        steps.reach("reader looks again")
        return before, balance()

    results = steps.run(reader=reader, writer=writer)

A thread that reaches a label waits at it. The label goes when it is the next one of the script and every other thread
waits too, or has finished. So one thread runs at a time, all that stands between two labels is done before anybody
else goes on, and one script gives one run. Nothing here sleeps, polls or looks at a clock.

Two kinds of threads are not waited for once their label has gone: one that may block on what another holds, which the
script says by `Meanwhile(label)`, and one that `run` did not start, such as a store's own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeVar

T = TypeVar("T")

STUCK_SECONDS: Final = 10.0
"""So long may nothing happen before the script counts as stuck."""


class InterleavingError(AssertionError):
    """The threads cannot follow the script; says who waits where."""


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """A step after which the script goes on at once, because its thread may have to wait for others."""

    label: str


class _State(Enum):
    RUNNING = "runs"
    LOOSE = "runs meanwhile"
    WAITING = "waits at"
    FINISHED = "has finished"


@dataclass(slots=True)
class _Party:
    """A thread of the interleaving; `label` is where it waits, or what it passed last."""

    name: str
    is_ours: bool
    state: _State
    label: str | None = None

    def __str__(self) -> str:
        match self.state:
            case _State.FINISHED:
                return f"{self.name} has finished"
            case _State.WAITING:
                return f"{self.name} waits at {self.label!r}"
            case _ if self.label is None:
                return f"{self.name} runs and has reached no label"
            case _:
                return f"{self.name} {self.state.value} since {self.label!r}"


class Steps:
    """One script, for one run of its threads."""

    def __init__(self, script: Sequence[str | Meanwhile], *, stuck_seconds: float = STUCK_SECONDS) -> None:
        self._script = list(script)
        self._labels = [step if isinstance(step, str) else step.label for step in script]
        self._stuck_seconds = stuck_seconds
        self._passed = 0
        self._parties: dict[threading.Thread, _Party] = {}
        self._failure: BaseException | None = None
        self._changed = threading.Condition()  # guards all of the above

    def reach(self, label: str) -> None:
        """Wait until the script has come to `label`.

        Raises:
            InterleavingError: the script has no such label left, or it is stuck, or another thread has failed.
        """
        with self._changed:
            me = self._parties.setdefault(
                threading.current_thread(), _Party(threading.current_thread().name, False, _State.LOOSE)
            )
            me.state, me.label = _State.WAITING, label
            if label not in self._labels[self._passed :]:
                self._fail(InterleavingError(f"{me}, which is not a step that is still to come. {self._describe()}"))
            self._advance()
            self._wait_until(lambda: me.state is not _State.WAITING)
            if self._failure is not None:
                raise InterleavingError(f"{me.name} was stopped at {label!r}: {self._failure}") from self._failure

    def run(self, **functions: Callable[[], T]) -> dict[str, T]:
        """Run each function on a thread of its name, through the whole script; give what they returned.

        Raises:
            InterleavingError: the threads could not follow the script to its end.
            BaseException: whatever was the first to go wrong in a function.
        """
        results: dict[str, T] = {}

        def work(name: str) -> None:
            try:
                results[name] = functions[name]()
            except BaseException as error:  # pytest's own outcomes are no `Exception`s; `run` raises it again
                with self._changed:
                    self._fail(error)
            with self._changed:
                self._parties[threading.current_thread()].state = _State.FINISHED
                self._advance()

        threads = [threading.Thread(target=work, args=(name,), name=name, daemon=True) for name in functions]
        # All are known before the first one starts, or it would find nobody to wait for.
        self._parties |= {thread: _Party(thread.name, True, _State.RUNNING) for thread in threads}
        for thread in threads:
            thread.start()
        with self._changed:
            self._wait_until(lambda: all(self._parties[thread].state is _State.FINISHED for thread in threads))
            if self._failure is None and self._passed < len(self._script):
                self._fail(InterleavingError(f"The threads ended before their script. {self._describe()}"))
        if self._failure is not None:
            for thread in threads:
                thread.join(self._stuck_seconds)  # one that is blocked elsewhere is left behind
            raise self._failure
        return results

    def _advance(self) -> None:
        """Let go of every thread whose turn it is. Called with the lock, after each change."""
        while self._passed < len(self._script) and not self._is_anyone_running():
            label, step = self._labels[self._passed], self._script[self._passed]
            at_label = [p for p in self._parties.values() if p.state is _State.WAITING and p.label == label]
            if not at_label:
                break
            is_loose = isinstance(step, Meanwhile) or not at_label[0].is_ours
            at_label[0].state = _State.LOOSE if is_loose else _State.RUNNING
            self._passed += 1
        self._changed.notify_all()

    def _is_anyone_running(self) -> bool:
        return any(party.state is _State.RUNNING for party in self._parties.values())

    def _wait_until(self, is_reached: Callable[[], bool]) -> None:
        """Wait for that or for a failure; that nothing at all changes for long enough is one. Called with the lock."""
        while not is_reached() and self._failure is None:
            if not self._changed.wait(self._stuck_seconds) and not is_reached():
                self._fail(InterleavingError(f"Stuck. {self._describe()}"))

    def _fail(self, error: BaseException) -> None:
        """Stop everybody who waits; the first failure is the one that counts. Called with the lock."""
        if self._failure is None:
            self._failure = error
        self._changed.notify_all()

    def _describe(self) -> str:
        parties = "; ".join(map(str, self._parties.values()))
        if self._passed == len(self._script):
            return f"All {self._passed} steps have gone: {parties}."
        return f"Step {self._passed + 1} of {len(self._script)} is {self._labels[self._passed]!r}: {parties}."
