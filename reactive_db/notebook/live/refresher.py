"""The refresher: brings live outputs up to date, on the kernel's main loop.

Theory of operation. A change of anything that a live output has read wakes the refresher, on whatever thread. It then
looks, on the main loop, which outputs are stale, and refreshes those, one after the other. Many changes before it comes
to that are one refresh, and rounds keep a distance: the server drops what a kernel sends too fast, and cells that take
long must leave the loop free for others. At the end of each cell everything is settled: the notebook that nbclient
saves shows the final state. nbclient hears only what is sent while a cell runs, so what was sent between cells is
sent once more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

from reactive_db import limits
from reactive_db.errors import LimitError
from reactive_db.notebook.live.executions import Execution
from reactive_db.notebook.live.names import Names, in_order
from reactive_db.runtime import Runtime

_log = logging.getLogger(__name__)


class Loop(Protocol):
    """The part of a kernel's main loop that we need; tornado's IOLoop is one."""

    def add_callback(self, callback: Callable[[], None], /) -> Any:
        """Call `callback` on the loop's thread, soon; may be called from any thread."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Any:
        """Call `callback` in `delay` seconds; called on the loop's thread only."""


class LiveOutput(Protocol):
    """Something shown in a notebook that follows what it has read.

    Attributes:
        made_by: the run of a cell that shows it.
        names: what its code assigns and reads.
        label: what a person calls it.
        messages: how many the last refresh sent.
    """

    made_by: Execution
    names: Names
    label: str

    @property
    def messages(self) -> int: ...

    def is_stale(self) -> bool:
        """Whether it would look different now."""

    def refresh(self) -> None:
        """Show the present state; not stale afterwards, unless that changed what it reads."""

    def repeat(self) -> None:
        """Send what it shows once more."""

    def pause(self, is_paused: bool) -> None:
        """Say that it is paused, or no longer."""

    def stop(self, error: Exception) -> None:
        """Stay as it is, and say why."""

    def close(self) -> None:
        """Follow nothing any more; what is shown stays."""

    def clear(self) -> None:
        """The same, and what was shown is gone from the notebook."""


class Refresher:
    """Keeps live outputs right.

    Responsibilities: when, in which order, how often. Not: what an output shows, or what it reads.

    An output whose code reads a name that another one assigns comes after it, and with it.
    """

    def __init__(self, loop: Loop, runtime: Runtime, flush: Callable[[], None]) -> None:
        """`flush` sends what a round has gathered for pages; called after each."""
        self._loop = loop
        self._runtime = runtime
        self._flush = flush
        self._thread = threading.get_ident()
        self._outputs: dict[LiveOutput, None] = {}
        self._order: list[LiveOutput] = []
        """The same, each after those whose names it reads."""
        self._touched: set[LiveOutput] = set()
        """Those whose names another output has assigned since they ran."""
        self._paused: set[LiveOutput] = set()
        self._unsaved: dict[LiveOutput, None] = {}
        self._lock = threading.Lock()
        self._is_due = False
        self._refreshing: LiveOutput | None = None
        self._culprits: dict[LiveOutput, None] = {}
        self._rounds = 0
        self._next_round = 0.0

    def __len__(self) -> int:
        return len(self._outputs)

    def add(self, output: LiveOutput) -> None:
        """Keep `output` right from now on. Past LIVE_OUTPUTS_MAX the oldest one stops.

        Raises:
            LiveCycleError: it reads names of outputs that read its own.
        """
        names = {one: one.names for one in (*self._outputs, output)}
        self._order = in_order(names, lambda one: one.label)
        self._outputs[output] = None
        if len(self._outputs) > limits.LIVE_OUTPUTS_MAX:
            oldest = next(iter(self._outputs))
            self._stop(oldest, f"more than {limits.LIVE_OUTPUTS_MAX} outputs are live", "LIVE_OUTPUTS_MAX")

    def is_fed(self, output: LiveOutput) -> bool:
        """Whether `output` reads a name that another one assigns."""
        return any(one is not output and one.names.feed(output.names) for one in self._outputs)

    def ran(self, output: LiveOutput) -> None:
        """`output` was run by hand: those that read its names are to be refreshed."""
        self._touched.update(self._readers(output))

    @property
    def outputs(self) -> list[LiveOutput]:
        """Everything that is live, the oldest first."""
        return list(self._outputs)

    def is_paused(self, output: LiveOutput) -> bool:
        return output in self._paused

    def pause(self, output: LiveOutput) -> None:
        """Let `output` stay as it is until it is resumed."""
        self._paused.add(output)
        output.pause(True)

    def resume(self, output: LiveOutput) -> None:
        """Bring `output` up to date, soon, and keep it so."""
        self._paused.discard(output)
        output.pause(False)
        self.wake()

    def remove(self, is_meant: Callable[[LiveOutput], bool]) -> None:
        """Close and forget the outputs for which `is_meant` is true; what they show stays."""
        for output in self._forgotten(is_meant):
            output.close()
        self._flush()

    def clear(self, is_gone: Callable[[LiveOutput], bool]) -> None:
        """Forget the outputs for which `is_gone` is true: their cells show something else now."""
        for output in self._forgotten(is_gone):
            output.clear()
        self._flush()

    def wake(self, change: object = None) -> None:
        """Something changed; any thread may say so, and as often as it likes."""
        if self._refreshing is not None and threading.get_ident() == self._thread:
            self._culprits[self._refreshing] = None
        with self._lock:
            if self._is_due:
                return
            self._is_due = True
        self._loop.add_callback(self._on_loop)

    def settle(self) -> None:
        """Refresh until nothing is stale, and send again what no saved notebook has heard of. Never raises.

        Gives up after LIVE_SETTLE_SECONDS_MAX and leaves the rest to the loop. Does nothing outside the main thread or
        inside a refresh.
        """
        if self._refreshing is not None or threading.get_ident() != self._thread:
            return
        deadline = self._runtime.monotonic() + limits.LIVE_SETTLE_SECONDS_MAX
        while stale := self._stale():
            if self._runtime.monotonic() >= deadline:
                self.wake()
                break
            for output in self._refresh(stale):
                self._unsaved.pop(output, None)
        for output in list(self._unsaved):
            self._guarded(output, output.repeat)
        self._unsaved.clear()
        self._flush()

    def _on_loop(self) -> None:
        wait = self._next_round - self._runtime.monotonic()
        if wait > 0:
            self._loop.call_later(wait, self._round)
        else:
            self._round()

    def _round(self) -> None:
        with self._lock:
            self._is_due = False
        if self._refreshing is not None:
            return
        began = self._runtime.monotonic()
        stale = self._stale()
        refreshed = self._refresh(stale)
        self._unsaved.update(dict.fromkeys(refreshed))
        self._flush()
        ended = self._runtime.monotonic()
        sent = sum(output.messages for output in refreshed) / limits.LIVE_UPDATES_PER_SECOND_MAX
        self._next_round = ended + max(limits.LIVE_UPDATE_INTERVAL_SECONDS, sent, ended - began)

    def _stale(self) -> list[LiveOutput]:
        awake = [output for output in self._order if output not in self._paused]
        return [output for output in awake if output in self._touched or output.is_stale()]

    def _readers(self, output: LiveOutput) -> list[LiveOutput]:
        if not output.names.assigned:
            return []
        return [one for one in self._order if one is not output and output.names.feed(one.names)]

    def _refresh(self, stale: list[LiveOutput]) -> list[LiveOutput]:
        """One round, in order: `stale`, and all that read names assigned in it, each once; what was refreshed.

        Outputs whose own code keeps the rounds going are stopped after LIVE_ROUNDS_MAX of them.
        """
        self._culprits.clear()
        refreshed: list[LiveOutput] = []
        due = set(stale)
        try:
            for output in list(self._order):
                if output not in due:
                    continue
                self._refreshing = output
                self._touched.discard(output)
                self._guarded(output, output.refresh)
                refreshed.append(output)
                readers = set(self._readers(output))
                self._touched |= readers
                due |= readers - self._paused
        finally:
            self._refreshing = None
        self._rounds = self._rounds + 1 if self._culprits else 0
        if self._rounds >= limits.LIVE_ROUNDS_MAX:
            self._rounds = 0
            why = f"{limits.LIVE_ROUNDS_MAX} times in a row, it changed what live cells read"
            for output in list(self._culprits):
                self._stop(output, why, "LIVE_ROUNDS_MAX")
        return refreshed

    def _stop(self, output: LiveOutput, why: str, limit: str) -> None:
        self._forget(output)
        error = LimitError(f"no longer live: {why} ({limit}). Run the cell again to make it live.", limit=limit)
        self._guarded(output, lambda: output.stop(error))

    def _guarded(self, output: LiveOutput, call: Callable[[], None]) -> None:
        """An output that cannot be shown is forgotten; it harms neither the others nor the cell that has just ended."""
        try:
            call()
        except Exception:
            self._forget(output)
            _log.exception("a live output could not be shown; it is no longer live")

    def _forgotten(self, is_meant: Callable[[LiveOutput], bool]) -> list[LiveOutput]:
        found = [output for output in self._outputs if is_meant(output)]
        for output in found:
            self._forget(output)
        return found

    def _forget(self, output: LiveOutput) -> None:
        self._outputs.pop(output, None)
        self._unsaved.pop(output, None)
        self._order = [one for one in self._order if one is not output]
        self._touched.discard(output)
        self._paused.discard(output)
