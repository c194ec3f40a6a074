"""How one connection of each system begins, and how it tells the numbers in what it hears.

As little as the protocols allow, on a plain socket: a thousand of these share one core with the server's kernel work,
and what they cost would pass for the server's. Frames are taken apart only as far as the number in them.
"""

from __future__ import annotations

import base64
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

BUFFER_BYTES = 65_536
WAIT_SECONDS = 60.0
CHANNEL = "w4"
NUMBER = re.compile(rb"\d+")
"""At the beginning of the body that Redis, PostgreSQL and the bare broadcast send."""


class Ear(Protocol):
    """What a connection says and hears. Pickled to the process that has the connections."""

    port: int

    def begin(self, connection: socket.socket, position: int) -> None:
        """Say what has to be said, and return when news would come; waits."""

    def take(self, connection: socket.socket, buffer: bytearray) -> Iterator[int]:
        """Take whole messages out of `buffer`; the numbers of those that are news."""


@dataclass(frozen=True)
class WebSocketEar:
    """A websocket whose every frame begins with a number."""

    port: int
    path: str = "/"
    token: str = ""

    def begin(self, connection: socket.socket, position: int) -> None:
        key = base64.b64encode(position.to_bytes(16, "big")).decode()
        head = [
            f"GET {self.path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"),
            *([f"Authorization: token {self.token}"] if self.token else []),
        ]
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):  # byte by byte: a frame may follow at once
            answer += connection.recv(1) or end_of(answer)
        if b" 101 " not in answer.splitlines()[0]:
            raise ConnectionError(answer.decode())

    def take(self, connection: socket.socket, buffer: bytearray) -> Iterator[int]:
        for payload in _frames(connection, buffer):
            yield _number(payload)


class _Counted(msgspec.Struct):
    """What we read of a document."""

    v: int


_counted = msgspec.msgpack.Decoder(_Counted)


@dataclass(frozen=True)
class ReactiveEar(WebSocketEar):
    """A session that watches one document."""

    id: str = ""

    def begin(self, connection: socket.socket, position: int) -> None:
        from reactive_db.model.ids import table_number
        from reactive_db.sync import messages as m

        super().begin(connection, position)
        key = self.id.encode()
        watched = m.Range(table_number(self.id), "by_id", key, key + b"\0", len(key))
        said = [m.Hello(m.VERSION, position.to_bytes(16, "big").hex(), "benchmark"), m.Read(1, watched, False, 1)]
        connection.sendall(b"".join(_frame(0x2, m.encode(message)) for message in said))
        buffer, heard = bytearray(), list[m.Message]()
        while not any(isinstance(message, m.Rows) for message in heard):
            buffer += connection.recv(BUFFER_BYTES) or end_of(buffer)
            heard += [m.decode_server(bytes(payload)) for payload in _frames(connection, buffer)]

    def take(self, connection: socket.socket, buffer: bytearray) -> Iterator[int]:
        from reactive_db.sync import messages as m

        for payload in _frames(connection, buffer):
            message: Any = m.decode_server(bytes(payload))
            for written in message.writes if isinstance(message, m.Transition) else ():
                yield _counted.decode(written.document or b"").v


@dataclass(frozen=True)
class RedisEar:
    """A subscriber of one channel."""

    port: int

    def begin(self, connection: socket.socket, position: int) -> None:
        connection.sendall(f"SUBSCRIBE {CHANNEL}\r\n".encode())
        answer = b""
        while b":1\r\n" not in answer:
            answer += connection.recv(BUFFER_BYTES) or end_of(answer)

    def take(self, connection: socket.socket, buffer: bytearray) -> Iterator[int]:
        # *3 $7 message $2 w4 $<length> <body>
        while buffer.count(b"\r\n") >= 7:
            *parts, _ = buffer.split(b"\r\n", 7)
            del buffer[: sum(map(len, parts)) + 2 * len(parts)]
            yield _number(parts[6])


@dataclass(frozen=True)
class PostgresqlEar:
    """A connection that listens to one channel."""

    port: int
    user: str

    def begin(self, connection: socket.socket, position: int) -> None:
        words = f"user\0{self.user}\0database\0{self.user}\0\0".encode()
        connection.sendall(struct.pack("!ii", len(words) + 8, 3 << 16) + words)
        self._wait_ready(connection)
        query = f"LISTEN {CHANNEL}\0".encode()
        connection.sendall(b"Q" + struct.pack("!i", len(query) + 4) + query)
        self._wait_ready(connection)

    def take(self, connection: socket.socket, buffer: bytearray) -> Iterator[int]:
        for kind, body in self._messages(buffer):
            if kind == b"A":  # the sender's process, the channel, the body
                yield _number(body[4:].split(b"\0")[1])

    def _wait_ready(self, connection: socket.socket) -> None:
        buffer = bytearray()
        while not any(kind == b"Z" for kind, _ in self._messages(buffer)):
            buffer += connection.recv(BUFFER_BYTES) or end_of(buffer)

    @staticmethod
    def _messages(buffer: bytearray) -> Iterator[tuple[bytes, bytes]]:
        while len(buffer) >= 5 and len(buffer) > (size := struct.unpack_from("!i", buffer, 1)[0]):
            message = bytes(buffer[: size + 1])
            del buffer[: size + 1]
            yield message[:1], message[5:]


def _frames(connection: socket.socket, buffer: bytearray) -> Iterator[bytearray]:
    """Take whole frames of a server out of `buffer`; pings are answered, text is a greeting."""
    while len(buffer) >= 2:
        kind, size, start = buffer[0] & 0xF, buffer[1], 2
        if size == 126:
            size, start = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < start + size:
            return
        payload = buffer[start : start + size]
        del buffer[: start + size]
        if kind == 0x9:
            connection.sendall(_frame(0xA, bytes(payload)))
        elif kind == 0x2:
            yield payload
        elif kind == 0x8:
            raise ConnectionError(f"the server closed the connection: {bytes(payload)!r}")


def _frame(kind: int, payload: bytes) -> bytes:
    """A frame of a client: masked, with a mask that changes nothing."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    return bytes([0x80 | kind]) + length + bytes(4) + payload


def _number(body: bytes | bytearray) -> int:
    match = NUMBER.match(body)
    assert match is not None, body[:80]
    return int(match[0])


def end_of(heard: bytes | bytearray) -> bytes:
    """Raises ConnectionError: the server ended a connection on which this was heard."""
    raise ConnectionError(f"the server ended the connection after {bytes(heard[-500:])!r}")
