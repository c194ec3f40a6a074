"""Holding back what may interrupt a thread, Ctrl-C and the time limit of functions, while state is half moved.

`Uninterrupted` is for the microseconds of a commit. `Shielded` is for long work on the store's own state that a
function may set off, such as the first touch of a table. Who interrupts threads by other means asks `interrupt`.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading

# The C function under `signal.signal`, whose detour through enums costs 2 us, four times a commit.
from _signal import signal as set_handler  # type: ignore[import-not-found]
from collections import Counter
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, ClassVar, Final, Self, TypeVar

from reactive_db.runtime import pause

T = TypeVar("T")

_MAIN: Final = threading.main_thread().ident
_PATIENCE_SECONDS: Final = 0.1
_LOOKS: Final = 50
_LOOK_SECONDS: Final = 20e-6

_shielded: Counter[int] = Counter()
"""By thread, how many `Shielded` blocks it is in."""
_guard: Final = threading.Lock()
_set_async_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc


def interrupt(thread: int, error: type[BaseException]) -> None:
    """Raise `error` in another thread, between two of its bytecodes, unless that is in a `Shielded` block."""
    with _guard:
        if not _shielded[thread]:
            _set_async_exception(ctypes.c_ulong(thread), ctypes.py_object(error))


class _TakenBack(BaseException):
    """Raised and caught in `take_back`."""


def take_back() -> None:
    """Forget an `interrupt` of this thread that did not arrive yet.

    Another one takes its place and arrives here. Only to remove it would leave Python 3.11 on the watch for it
    for ever, and in every thread the first traced call (a debugger, coverage) would never return.
    """
    with Uninterrupted(), contextlib.suppress(_TakenBack):
        with _guard:
            _set_async_exception(ctypes.c_ulong(threading.get_ident()), ctypes.py_object(_TakenBack))
        _let_interrupt()


def is_shielded(thread: int) -> bool:
    """Whether a thread is in a `Shielded` block, so at work on the store and not on a function."""
    return bool(_shielded[thread])


class Uninterrupted:
    """A block in which the main thread gets no KeyboardInterrupt; one that arrives is delivered at its end.

    Only the main thread is ever interrupted by a signal, so in any other thread this does nothing. A block within
    another one changes nothing; what its `acquire` and `call` let in, they let in through both.
    """

    __slots__ = ("_arrived", "_before", "_holder")

    _held: ClassVar[Uninterrupted | None] = None
    """The block that the main thread is in, unless it is in a `call` of that."""

    def __enter__(self) -> Self:
        self._holder: Uninterrupted | None = None
        """The block that holds back what arrives now: this one, or the one around it."""
        if threading.get_ident() == _MAIN:
            self._holder = Uninterrupted._held
            if Uninterrupted._held is None:
                self._holder = self
                self._arrived: tuple[int, FrameType | None] | None = None
                self._before: Any = set_handler(signal.SIGINT, self._hold_back)
                Uninterrupted._held = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._holder is self:
            Uninterrupted._held = None
            self._restore()
            self._deliver()

    def acquire(self, lock: Any) -> None:
        """Take `lock`; an interrupt is delivered at once as long as it has to be waited for, and not after."""
        if self._holder is None:
            lock.acquire()
            return
        while not lock.acquire(timeout=_PATIENCE_SECONDS):
            self._holder._deliver()

    def acquire_brief(self, lock: Any) -> None:
        """Take `lock`, which is mostly held for microseconds, by looking again and again before waiting for it.

        Who waits in a lock is given it while asleep and then needs Python's own lock to go on; whoever has that soon
        wants this one, must wait too, and from then on they alternate: two threads commit 6,000 times a second
        where one of them would 20,000 times. Who only looks never owns anything asleep.
        """
        for _ in range(_LOOKS):
            if lock.acquire(blocking=False):
                return
            pause(_LOOK_SECONDS)
        self.acquire(lock)

    def call(self, function: Callable[[], T]) -> T:
        """Call `function`, which may be interrupted as if it stood outside the block."""
        holder = self._holder
        if holder is None:
            return function()
        Uninterrupted._held = None
        holder._restore()
        try:
            holder._deliver()
            return function()
        finally:
            set_handler(signal.SIGINT, holder._hold_back)
            Uninterrupted._held = holder

    def _restore(self) -> None:
        set_handler(signal.SIGINT, self._before if self._before is not None else signal.SIG_DFL)

    def _deliver(self) -> None:
        """Let in what has arrived."""
        arrived, self._arrived = self._arrived, None
        if arrived is not None and callable(self._before):
            self._before(*arrived)

    def _hold_back(self, number: int, frame: FrameType | None) -> None:
        self._arrived = (number, frame)


class Holding(Uninterrupted):
    """The same, and a lock that is mostly held for microseconds."""

    __slots__ = ("_lock",)

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.acquire_brief(self._lock)
        except BaseException as error:
            super().__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()
        super().__exit__(kind, error, traceback)


class Shielded(Uninterrupted):
    """The same, and no `interrupt` either; one that is on its way is delivered before the block begins."""

    __slots__ = ("_me",)

    def __enter__(self) -> Self:
        super().__enter__()
        self._me = threading.get_ident()
        with _guard:
            _shielded[self._me] += 1
        try:
            _let_interrupt()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with _guard:
            _shielded[self._me] -= 1
            if not _shielded[self._me]:
                del _shielded[self._me]
        super().__exit__(kind, error, traceback)


def _let_interrupt() -> None:
    """Python raises what another thread has set for this one when it begins a function."""
