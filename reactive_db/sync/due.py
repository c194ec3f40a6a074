"""The sessions that have something to say, a few at a time."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from reactive_db import limits

Soon = Callable[[Callable[[], None]], None]
"""Calls a function soon on another thread."""

_log = logging.getLogger(__name__)


class Speaker(Protocol):
    """Who has something to say."""

    def flush(self) -> None:
        """Say it, if it may be said now; must not wait."""


class Due:
    """Flushes sessions one after the other, on the thread that sends, which lets others have their turn in between.

    A worker for each would cost more than what it does: threads wait for each other's interpreter lock after each
    frame that is sent.
    """

    def __init__(self) -> None:
        self._speakers: deque[Speaker] = deque()
        self._lock = threading.Lock()

    def add(self, speaker: Speaker, soon: Soon) -> None:
        """Have `speaker` flushed soon."""
        with self._lock:
            self._speakers.append(speaker)
            is_first = len(self._speakers) == 1
        if is_first:
            soon(lambda: self._flush_some(soon))

    def _flush_some(self, soon: Soon) -> None:
        with self._lock:
            count = min(len(self._speakers), limits.FLUSHED_IN_A_ROW_MAX)
            speakers = [self._speakers.popleft() for _ in range(count)]
            is_more = bool(self._speakers)
        if is_more:
            soon(lambda: self._flush_some(soon))
        for speaker in speakers:
            try:
                speaker.flush()
            except Exception:
                _log.exception("a session could not be told what is new; others are not affected")
