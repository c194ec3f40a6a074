"""Frames on their way from worker threads to the event loop: many cross in one step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tornado.ioloop import IOLoop

Write = Callable[[bytes], None]
"""Gives a frame to a connection; called on the event loop."""

_log = logging.getLogger(__name__)


class Sender:
    """What the event loop has to send, in the order in which it was given.

    To wake the loop for each frame costs more than the frame: a commit that a thousand sessions hear of wakes it a few
    times.
    """

    def __init__(self) -> None:
        self._frames: list[tuple[Write, bytes]] = []
        self._lock = threading.Lock()

    def send(self, loop: IOLoop, write: Write, frame: bytes) -> None:
        """Have `loop` call `write` with `frame` soon, before whatever it is asked for later."""
        with self._lock:
            self._frames.append((write, frame))
            is_first = len(self._frames) == 1
        if is_first:
            loop.add_callback(self._empty)

    def _empty(self) -> None:
        with self._lock:
            frames, self._frames = self._frames, []
        for write, frame in frames:
            try:
                write(frame)
            except Exception:
                _log.exception("a frame could not be sent; other connections are not affected")
