"""Handles: the traitlets face of a live query.

A `QueryHandle` shows `value`, `status`, `error` and `ts` as traits, so that `observe`, `link` and `dlink` work on it.
What it shows is swapped in one step, from any thread; observers are told afterwards, in order.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

import traitlets
from traitlets.utils.bunch import Bunch

from reactive_db.errors import ReturnError
from reactive_db.presentation import as_html, as_text
from reactive_db.reactive.live_query import Compute, Key, LiveQuery, Outcome, is_same, isolated
from reactive_db.reactive.scheduler import Scheduler
from reactive_db.runtime import Runtime, Timer

R = TypeVar("R")

Status = Literal["loading", "current", "stale", "error"]

reading: ContextVar[Callable[[QueryHandle[Any]], None] | None] = ContextVar("reading", default=None)
"""Called with each handle whose value is read; a live cell finds out so what it depends on."""


_NAMES = ("ts", "status", "error", "value")
_log = logging.getLogger(__name__)


@contextmanager
def unfollowed() -> Iterator[None]:
    """Within, nobody hears of the handles that are read."""
    token = reading.set(None)
    try:
        yield
    finally:
        reading.reset(token)


@dataclass(frozen=True, slots=True)
class _Shown:
    """Everything a handle shows, as one object, so that no reader ever sees half a change."""

    value: Any = None
    status: Status = "loading"
    error: Exception | None = None
    ts: int = 0


class _Mirror(traitlets.TraitType[Any, Any]):
    """A trait that nobody sets: it reads from what the handle shows."""

    def get(self, obj: Any, cls: Any = None) -> Any:
        return obj._read(self.name)

    def set(self, obj: Any, value: Any) -> None:
        raise traitlets.TraitError(f"{self.name!r} of a handle is read-only; change the data with a mutation.")


class Connection(Protocol):
    """What handles are made by: a `Database`."""

    def run(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a query, a mutation or an action."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a mutation run, without waiting for it."""
        ...


class QueryHandle(traitlets.HasTraits, Generic[R]):
    """A query whose value is right again the moment the data changes. Made by `db.live(…)`.

    A handle that nobody refers to any more closes itself.

    Attributes:
        db: the connection that it was made by.
        title: what it shows, as the query's call or its SQL text.
        row_type: the class of the rows, where the query says that it gives a list of one.
        value: the query's result at `ts`; after an error, the last good one.
        status: `loading`, `current`, `stale` (it is known that a newer value is on its way) or `error`.
        error: what the query raised, if it did.
        ts: the timestamp at which the value is right; it never goes back.
        debounce: seconds without a change after which a change is shown; 0 shows each at once.
        throttle: seconds between two changes at the least; the last one is never left out.
    """

    if TYPE_CHECKING:
        value: R
        status: Status
        error: Exception | None
        ts: int
        debounce: float
        throttle: float
    else:
        value = _Mirror()
        status = _Mirror()
        error = _Mirror()
        ts = _Mirror()
        debounce = traitlets.Float(0.0, min=0.0)
        throttle = traitlets.Float(0.0, min=0.0)

    _tokens: ClassVar[Any] = iter(range(2**62))

    def __init__(self, db: Connection, scheduler: Scheduler, runtime: Runtime, title: str, **pace: float) -> None:
        super().__init__(**pace)
        self.db = db
        self._scheduler = scheduler
        self._runtime = runtime
        self.title = title
        self.row_type: type[Any] | None = None
        self._shown = _Shown()
        self._query: LiveQuery | None = None
        self._held: Outcome | None = None
        self._timer: Timer | None = None
        self._last_change = -1e9
        self._lock = threading.RLock()

    def start(self, key: Key, run: Compute, *, reads_columns: bool) -> None:
        """Begin to watch a query; its first outcome is shown when this returns."""
        self._token = next(QueryHandle._tokens)
        self._query = self._scheduler.watch(key, run, self, self._token, reads_columns=reads_columns)
        self._finalizer = weakref.finalize(self, self._scheduler.unwatch_later, self._query, self._token)
        self._finalizer.atexit = False

    def close(self) -> None:
        """Stop following the data; the handle keeps what it shows."""
        with self._lock:
            query, shown, ts = self._query, self._shown, self._read("ts")
            self._shown = _Shown(shown.value, shown.status, shown.error, ts)
            self._query = None
            self._drop_held()
        if query is not None:
            self._finalizer.detach()
            self._scheduler.unwatch(query, self._token)

    @property
    def is_closed(self) -> bool:
        """Whether it stopped following the data."""
        return self._query is None

    def show(self, outcome: Outcome) -> Callable[[], None] | None:
        """Take a new outcome, telling nobody; see `Watcher`."""
        with self._lock:
            delay, ts = self._delay(), self._read("ts")
            if delay <= 0:
                self._drop_held()
                return self._swap(outcome)
            self._held = outcome
            if self.debounce > 0 and self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._timer is None:
                self._timer = self._runtime.call_later(delay, partial(_release, weakref.ref(self)))
            before = self._shown
            # Until now no commit had touched it, so it was right up to there.
            self._shown = _Shown(before.value, "stale", before.error, ts)
            return self._teller(before, self._shown)

    def lose_touch(self) -> Callable[[], None] | None:
        """Say that what is shown may be stale; see `Watcher`."""
        with self._lock:
            if self._query is None or self._shown.status == "loading":
                return None
            before = self._shown
            self._shown = _Shown(before.value, "stale", before.error, before.ts)
            return self._teller(before, self._shown)

    def _delay(self) -> float:
        """How many seconds a change has to wait."""
        if self._shown.status == "loading":
            return 0.0
        wait = self._last_change + self.throttle - self._runtime.monotonic() if self.throttle > 0 else 0.0
        return max(self.debounce, wait)

    def _drop_held(self) -> None:
        """Forget what was held back: something newer is shown, or nothing any more."""
        self._held = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _release(self) -> None:
        """Show what was held back; called by the timer."""
        with self._lock:
            held, self._held, self._timer = self._held, None, None
            if held is None or self._query is None:
                return
            self._scheduler.queue_news(self._swap(held))
        self._scheduler.tell()

    def _swap(self, outcome: Outcome) -> Callable[[], None]:
        before = self._shown
        after = _Shown(before.value, "error", outcome.error, outcome.ts)
        if outcome.error is None:
            # The scheduler compared it with the last outcome, which was not shown if it was held back or an error.
            is_back = before.status in ("stale", "error") and is_same(before.value, outcome.value)
            try:
                value = before.value if is_back else isolated(outcome.value)
                status: Status = "current" if self._scheduler.is_in_touch else "stale"
                after = _Shown(value, status, None, outcome.ts)
            except ReturnError as error:
                after = _Shown(before.value, "error", error, outcome.ts)
        self._shown = after
        if self.throttle > 0:
            self._last_change = self._runtime.monotonic()
        return self._teller(before, after)

    def _teller(self, before: _Shown, after: _Shown) -> Callable[[], None]:
        def tell() -> None:
            for name in _NAMES:
                old, new = getattr(before, name), getattr(after, name)
                # Values were found different already; comparing them again could be ambiguous.
                if old is not new and (name == "value" or old != new):
                    self.notify_change(Bunch(name=name, old=old, new=new, owner=self, type="change"))

        return tell

    def _notify_observers(self, event: Any) -> None:
        """Call every observer, though one raises; traitlets stops at the first."""
        found = self._trait_notifiers
        kinds = [found.get(name, {}) for name in (event["name"], traitlets.All)]
        for observer in [one for kind in kinds for type_ in ("change", traitlets.All) for one in kind.get(type_, ())]:
            try:
                observer(event)
            except Exception:
                _log.exception("an observer of %s raised; other observers and the data are not affected", self.title)

    def _read(self, name: str | None) -> Any:
        if name == "value" and (reader := reading.get()) is not None:
            reader(self)  # first, so that it hears of every change after what is returned here
        shown = self._shown
        if name == "ts":
            # A value that no commit touched is right at every later timestamp too.
            return max(shown.ts, self._scheduler.ts) if self._query is not None and self._held is None else shown.ts
        return getattr(shown, str(name))

    def __repr__(self) -> str:
        shown = self._shown
        head = f"{self.title}: {shown.status} at ts {self._read('ts')}"
        return f"{head}: {shown.error}" if shown.error is not None else f"{head}\n{as_text(shown.value)}"

    def _repr_html_(self) -> str:
        shown = self._shown
        return as_html(shown.value, caption=self.title, error=shown.error)


def _release(handle: weakref.ref[QueryHandle[Any]]) -> None:
    """Called by a timer, which keeps no handle alive that nobody else refers to."""
    living = handle()
    if living is not None:
        living._release()
