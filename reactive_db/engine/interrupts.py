"""Holding back Ctrl-C over the few microseconds in which state is moved and must not be left half moved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_MAIN = threading.main_thread().ident


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Deliver a SIGINT that arrives inside when the block has ended.

    Only the main thread is ever interrupted by it, so in any other thread this does nothing.
    """
    if threading.get_ident() != _MAIN:
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: arrived.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)
        if arrived and callable(before):
            before(*arrived[-1])
