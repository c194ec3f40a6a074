"""Widgets without a kernel: what they send to pages is recorded, and a page can say something to them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm

from reactive_db.notebook.pusher import Pusher
from reactive_db.notebook.widgets import widget as widget_module
from reactive_db.notebook.widgets.widget import LiveWidget
from reactive_db.testing.runtime import SeededRuntime

Message = dict[str, Any]


class RecordingComm(BaseComm):
    """A comm whose other end is a list."""

    def __init__(self, sent: Sent, **arguments: Any) -> None:
        self._sent = sent
        super().__init__(**arguments)

    def publish_msg(self, msg_type: str, data: Any = None, *_: Any, buffers: Any = None, **__: Any) -> None:
        if msg_type == "comm_msg":
            message = data["content"] if data["method"] == "custom" else data["state"].get("_whole")
            if message is not None:
                self._sent.append({**message, "buffers": buffers} if buffers else message)


class Sent(list[Message]):
    """What all widgets have sent to their pages so far, oldest first: `whole`, `change` and messages of their own.

    Nothing is pushed by itself: time stands still.

    Attributes:
        pusher: the one that the widgets use.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pusher = Pusher(SeededRuntime(0))

    def hello(self, widget: LiveWidget, have: int = -1) -> Message:
        """A page opens `widget`, or has missed something; the whole that it is told."""
        told = self.say(widget, {"type": "hello", "have": have})
        return [message for message in told if message["type"] == "whole"][-1]

    def say(self, widget: LiveWidget, message: Message) -> list[Message]:
        """A page says `message` to `widget`; what it is told."""
        before = len(self)
        widget.comm.handle_msg({"content": {"data": {"method": "custom", "content": message}}, "buffers": []})
        return self[before:]

    def pushed(self) -> list[Message]:
        """What the pusher sends of all that has changed."""
        before = len(self)
        self.pusher.flush()
        return self[before:]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    """Records what widgets send; those that a test leaves open are closed at its end."""
    sent = Sent()
    monkeypatch.setattr(comm, "create_comm", partial(RecordingComm, sent))
    monkeypatch.setattr(widget_module, "pusher", sent.pusher)
    yield sent
    for widget in list(LiveWidget._open.values()):
        widget.close()
