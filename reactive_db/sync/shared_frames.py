"""Transitions as frames, encoded once for all sessions that are told the same."""

from __future__ import annotations

from reactive_db import limits
from reactive_db.sync.messages import Encoding, Transition


class SharedFrames:
    """The latest transitions and their frames.

    Whoever watches the same is told the same: a transition has the new state of documents, whatever a session has heard
    before. Only the number of its own commit is in it, too; who only watches has none.
    """

    def __init__(self) -> None:
        self._frames: dict[object, bytes] = {}

    def frame(self, transition: Transition, encoding: Encoding) -> bytes:
        """`transition` as a frame. May be called on any thread."""
        one = transition
        key = (
            one.ts,
            encoding.is_text,
            one.source,
            tuple(one.writes),
            tuple(one.whole),
            tuple(one.touched),
            one.commit,
        )
        found = self._frames.get(key)
        if found is None:
            if len(self._frames) >= limits.SHARED_FRAMES_MAX:
                self._frames = {}
            found = self._frames[key] = encoding.encode(transition)
        return found
