"""Holding back Ctrl-C over the few microseconds in which state is moved and must not be left half moved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Final

# The C function under `signal.signal`, whose detour through enums costs 2 us, four times a commit.
from _signal import signal as set_handler  # type: ignore[import-not-found]

_MAIN: Final = threading.main_thread().ident


class Uninterrupted:
    """A block in which the main thread gets no KeyboardInterrupt; one that arrives is delivered at its end.

    Only the main thread is ever interrupted by a signal, so in any other thread this does nothing.
    """

    __slots__ = ("_arrived", "_before", "_is_main")

    def __enter__(self) -> None:
        self._is_main = threading.get_ident() == _MAIN
        if self._is_main:
            self._arrived: tuple[int, FrameType | None] | None = None
            self._before: Any = set_handler(signal.SIGINT, self._hold_back)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._is_main:
            return
        set_handler(signal.SIGINT, self._before if self._before is not None else signal.SIG_DFL)
        if self._arrived is not None and callable(self._before):
            self._before(*self._arrived)

    def _hold_back(self, number: int, frame: FrameType | None) -> None:
        self._arrived = (number, frame)
