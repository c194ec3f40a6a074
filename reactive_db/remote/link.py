"""A websocket to a server that is opened again whenever it is lost, on a thread of its own."""

from __future__ import annotations

import json
import logging
import socket
import threading
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from reactive_db import limits
from reactive_db.errors import PermissionDeniedError, ProtocolError, ReactiveDBError
from reactive_db.remote.address import Address
from reactive_db.remote.kernel import Kernel
from reactive_db.runtime import Runtime
from reactive_db.sync.client import Send

_FIRST_DELAY_SECONDS: Final = 0.1
_OPEN_SECONDS_MAX: Final = 10.0
_PING_SECONDS: Final = 20.0
_REFUSED: Final = {401, 403}

_log = logging.getLogger(__name__)


class End(Protocol):
    """This side's end of the connection; called by the link's thread."""

    def opened(self, send: Send) -> None: ...

    def hear(self, frame: bytes) -> None: ...

    def lost(self) -> None: ...

    def refused(self, error: ReactiveDBError) -> None:
        """The server does not want us; trying again is of no use."""


class Link:
    """Keeps a connection.

    Responsibilities: opening, proving who we are, trying again with growing pauses. Not: what is said. What goes
    wrong here while the server is heard is logged, and the connection begun again, which asks for everything anew.
    """

    def __init__(self, address: Address, kernel: Kernel | None, end: End, runtime: Runtime) -> None:
        self._address = address
        self._kernel = kernel
        self._end = end
        self._random = runtime.random()
        self._connection: ClientConnection | None = None
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reactive_db-link", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the connection for good."""
        self._is_closed.set()
        connection = self._connection
        if connection is not None:
            connection.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        delay, failures = _FIRST_DELAY_SECONDS, 0
        while not self._is_closed.is_set():
            try:
                with self._open() as self._connection:
                    if self._is_closed.is_set():
                        return  # while it was being opened, when `close` could not find it
                    delay = _FIRST_DELAY_SECONDS
                    self._converse(self._connection)
            except InvalidProof:
                self._end.refused(_refusal(self._address))
                return
            except InvalidStatus as error:
                if error.response.status_code in _REFUSED:
                    self._end.refused(_refusal(self._address))
                    return
                _log.info("%s: %s", self._address, error)
            except (OSError, WebSocketException, TimeoutError) as error:
                _log.info("%s: %s", self._address, error)
            except (msgspec.DecodeError, json.JSONDecodeError) as error:
                self._end.refused(
                    ProtocolError(f"{self._address} said what this version does not understand: {error}.")
                )
                return
            except Exception:
                _log.exception("%s: what the server said could not be taken; connecting anew", self._address)
                failures += 1
                delay = min(_FIRST_DELAY_SECONDS * 2**failures, limits.RECONNECT_SECONDS_MAX)
            finally:
                self._connection = None
            self._is_closed.wait(delay * (0.5 + self._random.random()))
            delay = min(delay * 2, limits.RECONNECT_SECONDS_MAX)

    def _open(self) -> ClientConnection:
        token = self._address.token
        connection = connect(
            self._address.socket_url,
            additional_headers={"Authorization": f"token {token}"} if token else None,
            compression=None,
            open_timeout=_OPEN_SECONDS_MAX,
            ping_interval=_PING_SECONDS,
            ping_timeout=_PING_SECONDS,
            max_size=None,  # the server's own messages; it cuts them
            proxy=None,
        )
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _converse(self, connection: ClientConnection) -> None:
        is_open = False
        try:
            for frame in connection:
                if isinstance(frame, str):
                    self._prove(connection, json.loads(frame))
                    is_open = True
                    self._end.opened(partial(_send, connection))
                elif is_open:
                    self._end.hear(frame)
        finally:
            if is_open:
                self._end.lost()

    def _prove(self, connection: ClientConnection, greeting: Any) -> None:
        """Answer the server's greeting: it names a nonce unless it knows already who we are."""
        nonce = greeting.get("nonce")
        if nonce is None:
            return
        if self._kernel is None:
            raise InvalidProof
        connection.send(json.dumps({"kernel": self._kernel.id, "proof": self._kernel.proof(nonce)}))


class InvalidProof(WebSocketException):
    """The server asks which of its kernels this is, and it is none."""


def _send(connection: ClientConnection, frame: bytes) -> None:
    with suppress(ConnectionClosed):  # the link's thread hears of it too, and says so
        connection.send(frame)


def _refusal(address: Address) -> PermissionDeniedError:
    return PermissionDeniedError(
        f"{address.url} does not let this process in. Pass `token=`, the token of that server or of JupyterHub; a "
        "notebook's own kernel needs none."
    )
