"""The websocket of a page: one thread, frames with the time at which they came, and an end to waiting.

The trap avoided: a client with a reader thread adds a hand-over to each of a thousand frames, and one that only sets
the socket's timeout waits for ever, because the server's pings count as news.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter_ns

import websocket

WAIT_SECONDS = 60.0


class WebSocket:
    """A connection to a server on this machine."""

    def __init__(self, address: str, headers: Mapping[str, str], protocols: Sequence[str] = ()) -> None:
        self._socket = websocket.create_connection(
            address, timeout=WAIT_SECONDS, header=dict(headers), subprotocols=list(protocols)
        )

    def send(self, frame: bytes) -> None:
        self._socket.send_binary(frame)

    def receive(self) -> tuple[bytes, int]:
        """The next frame and when it came.

        Raises:
            TimeoutError: none came within WAIT_SECONDS.
        """
        deadline_ns = perf_counter_ns() + WAIT_SECONDS * 1e9
        while perf_counter_ns() < deadline_ns:
            kind, frame = self._socket.recv_data(control_frame=True)
            received_ns = perf_counter_ns()
            if kind in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
                return frame, received_ns
            if kind == websocket.ABNF.OPCODE_CLOSE:
                raise ConnectionError(f"the server closed the connection: {frame!r}")
        raise TimeoutError(f"no message within {WAIT_SECONDS:g} s")

    def close(self) -> None:
        self._socket.close()
