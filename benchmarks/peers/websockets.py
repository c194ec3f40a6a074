"""`websockets.broadcast`, bare: one frame of 1 KB to every connection of a server that keeps nothing.

The least that any server in Python pays to tell a thousand connections: the system's calls, and a few bytes of frame.
The writer is a connection like the others, as a client of a store is: it sends the value, and everybody gets it.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from benchmarks import data
from benchmarks.ears import WebSocketEar
from benchmarks.fresh import ROOT
from benchmarks.servers import LOOPBACK, Server, free_port
from benchmarks.web_socket import WebSocket

PROMISE = "kept nowhere; the bare broadcast, over loopback"


def missing() -> str | None:
    if not importlib.util.find_spec("websockets"):
        return "the Python package websockets is not installed: pip install websockets"
    return None


def version() -> str:
    return f"websockets {installed_version('websockets')}"


class Channel:
    """W4_sockets; see `systems.Channel`."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self._server = Server(
            [sys.executable, "-m", __name__, str(port)],
            directory / "websockets.log",
            lambda: socket.create_connection((LOOPBACK, port)).close(),
            stop=signal.SIGTERM,
            environment={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.ear = WebSocketEar(port)
        self._writer = WebSocket(f"ws://{LOOPBACK}:{port}/writer", {})

    def put(self, number: int) -> None:
        self._writer.send(f"{number} {data.COUNTER_BODY}".encode())

    def close(self) -> None:
        self._writer.close()
        self._server.stop()


def serve(port: int) -> None:
    """The server's side."""
    import asyncio

    from websockets.asyncio.server import ServerConnection
    from websockets.asyncio.server import broadcast as tell
    from websockets.asyncio.server import serve as listen

    connections: set[ServerConnection] = set()

    async def converse(connection: ServerConnection) -> None:
        if connection.request is None or connection.request.path != "/writer":
            connections.add(connection)
        async for value in connection:
            tell(connections, value)

    async def run() -> None:
        async with listen(converse, LOOPBACK, port, compression=None, ping_interval=None):
            await asyncio.get_running_loop().create_future()

    asyncio.run(run())


if __name__ == "__main__":
    serve(int(sys.argv[1]))
