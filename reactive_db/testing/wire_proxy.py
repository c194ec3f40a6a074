"""A proxy that is as bad as a network can be: it delays bytes, and cuts connections, in the middle of frames too."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from random import Random
from typing import Final

_CHUNK_BYTES: Final = 4_096
_DELAY_SECONDS_MAX: Final = 0.02


class Proxy:
    """Passes bytes on between clients and one server of this machine, until it is told to be bad.

    Attributes:
        port: where clients find it.
        delays: how likely a piece of what is said comes late, from 0 to 1.
        cuts: how many connections it has cut.
    """

    def __init__(self, server_port: int, random: Random) -> None:
        self.delays = 0.0
        self.cuts = 0
        self._server_port = server_port
        self._random = random
        self._pairs: dict[_Pair, None] = {}
        self._is_closed = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def cut_all(self, *, within_frames: bool) -> None:
        """End every connection: at once, or after a part of what is said next."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self.cuts += 1
            if within_frames:
                pair.passes_most = self._random.randint(1, 30)
            else:
                pair.cut()

    def close(self) -> None:
        """Listen no more, and end every connection."""
        self._is_closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all(within_frames=False)

    def late(self) -> None:
        """Wait as long as the network takes this time."""
        if self._random.random() < self.delays:
            self._is_closed.wait(self._random.random() * _DELAY_SECONDS_MAX)

    def leave(self, pair: _Pair) -> None:
        with self._lock:
            self._pairs.pop(pair, None)

    def _accept(self) -> None:
        while not self._is_closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(self, client, server)
            with self._lock:
                self._pairs[pair] = None
            pair.start()


class _Pair:
    """A client and the server, each on a socket of its own."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.passes_most: int | None = None
        """How many more bytes it passes on before it cuts."""
        self._proxy = proxy
        self._sockets = (client, server)

    def start(self) -> None:
        for source, target in (self._sockets, self._sockets[::-1]):
            threading.Thread(target=self._pass, args=[source, target], name="proxy", daemon=True).start()

    def cut(self) -> None:
        self._proxy.leave(self)
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                self._proxy.late()
                most = self.passes_most
                target.sendall(data if most is None else data[:most])
                if most is not None:
                    break
        self.cut()
