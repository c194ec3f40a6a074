"""A browser's websocket to a kernel, as the server's own in all but two things: what it delays, and whose name it lets
through.

Each is a class of its own, because the configuration may want one without the other. A class of a user's own can be
derived from either.
"""

from __future__ import annotations

import json
from typing import Any, Final

from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    deserialize_msg_from_ws_v1,
    serialize_binary_message,
    serialize_msg_to_ws_v1,
)
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

V1: Final = "v1.kernel.websocket.jupyter.org"


class PromptConnection(ZMQChannelsWebsocketConnection):
    """Sends each message at once.

    The server leaves Nagle's algorithm on: every small frame after the first waits until the browser has acknowledged
    the one before, which it delays by 40 ms. A cell's output waits behind its `busy`, a widget behind its answer.
    """

    def connect(self) -> Any:
        self.websocket_handler.set_nodelay(True)
        return super().connect()


class StampingConnection(ZMQChannelsWebsocketConnection):
    """Puts the name of who is logged in over the one that a message says it comes from.

    JupyterLab leaves `header.username` empty, and any client can write any name there. The server signs messages after
    this, so no browser can forge it. It tells who sent what, not what they may do: who may run code in a kernel may do
    all that the kernel may.
    """

    def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        name = self.websocket_handler.current_user.username
        stamp = _stamp_v1 if self.subprotocol == V1 else _stamp_legacy
        super().handle_incoming_message(stamp(incoming_msg, name))  # type: ignore[arg-type]  # it takes bytes, too


class PromptStampingConnection(PromptConnection, StampingConnection):
    """Does both."""


def _stamp_v1(frame: str | bytes, name: str) -> bytes:
    """Of JupyterLab's protocol, in which the parts of a message lie one behind the other."""
    channel, (header, *parts) = deserialize_msg_from_ws_v1(frame)  # type: ignore[no-untyped-call]
    stamped = json.dumps({**json.loads(header), "username": name}).encode()
    return bytes(serialize_msg_to_ws_v1([stamped, *parts], channel))  # type: ignore[no-untyped-call]


def _stamp_legacy(frame: str | bytes, name: str) -> str | bytes:
    """Of the protocol for all that know no other: JSON as text, or in bytes before a message's buffers."""
    if isinstance(frame, bytes):
        message: dict[str, Any] = deserialize_binary_message(frame)  # type: ignore[no-untyped-call]
        message["header"]["username"] = name
        return bytes(serialize_binary_message(message))  # type: ignore[no-untyped-call]
    message = json.loads(frame)
    message["header"]["username"] = name
    return json.dumps(message)
