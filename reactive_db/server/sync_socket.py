"""The websocket on which the sync protocol is spoken: a greeting, then frames to and from a session.

Knows tornado and no Jupyter, because `reactive-db serve` runs without one. Who is there is for the classes below to
say: `JupyterSyncSocket` asks a Jupyter server, `ServiceSocket` a token or JupyterHub.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import struct
from contextlib import suppress
from typing import Any, Final

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketHandler

from reactive_db import limits
from reactive_db.errors import PermissionDeniedError, ProtocolError, ReactiveDBError
from reactive_db.runtime import Runtime
from reactive_db.server.stores import Stores
from reactive_db.sync import messages as m
from reactive_db.sync.failures import failure
from reactive_db.sync.served import Caller, Served
from reactive_db.sync.session import ServerSession, Threads

EVERYTHING: Final = frozenset({"read", "write", "deploy"})
"""What the owner of a server may do."""

_NONCE_BYTES: Final = 16


class SyncSocket(WebSocketHandler):
    """One connection of a kernel, a script or a page.

    Responsibilities: the greeting, opening the store, frames to and from a session, their limits. Not: who is there.
    """

    def initialize(self, stores: Stores, runtime: Runtime) -> None:
        self._stores = stores
        self._nonce = runtime.random_bytes(_NONCE_BYTES).hex()
        self._encoding = m.MSGPACK
        self._session: ServerSession | None = None
        self._is_asked = False
        self._is_gone = False
        self._deadline: object | None = None

    # --- who is there, for the classes below --------------------------------------------------------------------------

    async def known(self) -> Caller | None:
        """Who sent the request, as far as it tells; None asks for a proof."""
        raise NotImplementedError

    def proven(self, answer: Any, nonce: str) -> Caller | None:
        """Who gave this answer to our nonce; None is nobody we know."""
        raise NotImplementedError

    # --- the connection, called by tornado ----------------------------------------------------------------------------

    @property
    def max_message_size(self) -> int:
        return limits.FRAME_BYTES_MAX

    async def get(self, *args: Any, **kwargs: Any) -> None:
        # Before there is a connection: an address that cannot be read is refused as such.
        self._encoding = m.ENCODINGS.get(self.get_argument("format", "msgpack"), m.MSGPACK)
        self._store = self.get_argument("store", "")
        await super().get(*args, **kwargs)

    async def open(self, *args: Any, **kwargs: Any) -> None:
        self.set_nodelay(True)
        self._loop = IOLoop.current()
        caller = await self.known()
        if caller is not None:
            await self.write_message(json.dumps({}))
            await self._begin(caller)
            return
        self._is_asked = True
        self._deadline = self._loop.call_later(limits.PROOF_SECONDS_MAX, self._refuse)
        await self.write_message(json.dumps({"nonce": self._nonce}))

    async def on_message(self, frame: str | bytes) -> None:
        if self._session is not None and isinstance(frame, str) == self._encoding.is_text:
            try:
                self._session.hear(frame.encode() if isinstance(frame, str) else frame)
            except ReactiveDBError as error:
                self._fail(error)
        elif self._is_asked and isinstance(frame, str):
            self._is_asked = False
            caller = self._answered(frame)
            if caller is None:
                self._refuse()
            else:
                await self._begin(caller)
        else:
            self._fail(ProtocolError("a frame that was not asked for."))

    def on_close(self) -> None:
        super().on_close()
        self._is_gone = True
        self._forget_deadline()
        if self._session is not None:
            self._session.closed()

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _answered(self, frame: str) -> Caller | None:
        if len(frame) > limits.PROOF_BYTES_MAX:
            return None
        try:
            return self.proven(json.loads(frame), self._nonce)
        except (ValueError, KeyError, TypeError):
            return None

    def _refuse(self) -> None:
        self._fail(PermissionDeniedError("this server does not know who is there. Pass its token."))

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._loop.remove_timeout(self._deadline)
            self._deadline = None

    async def _begin(self, caller: Caller) -> None:
        """Open the store and begin a session on it."""
        self._forget_deadline()
        try:
            if "read" not in caller.may:  # first of all: whoever may not even read learns nothing of what is here
                raise PermissionDeniedError(f"{caller.name!r} may not read the stores of this server.")
            may_create = "write" in caller.may and not self._encoding.is_text
            served = await self._loop.run_in_executor(
                self._stores.workers, self._stores.open, self._store, may_create, caller.is_owner
            )
        except Exception as error:
            self._fail(error)
            return
        if not self._is_gone:
            self._session = self._new_session(served, caller)

    def _new_session(self, served: Served, caller: Caller) -> ServerSession:
        def send(frame: bytes) -> None:
            self._stores.sender.send(self._loop, self._write, frame)

        def close() -> None:
            self._loop.add_callback(self.close)

        threads = Threads(self._stores.submit, self._stores.submit_sql, self._loop.add_callback)
        return ServerSession(served, caller, send, close, threads, self._encoding)

    def _write(self, frame: bytes) -> None:
        connection = self.ws_connection
        stream = None if connection is None or connection.is_closing() else connection.stream
        if stream is None:
            return
        with suppress(StreamClosedError):
            # Not `write_message`: that makes a task for each frame, which costs more than the frame.
            written = stream.write(_head(len(frame), self._encoding.is_text) + frame)
            if written.done():
                self._on_written(written)
            else:
                written.add_done_callback(self._on_written)

    def _on_written(self, written: asyncio.Future[None]) -> None:
        if self._session is not None and written.exception() is None:
            self._session.drained()

    def _fail(self, error: Exception) -> None:
        """Say why, and end the connection."""
        self._stores.sender.send(self._loop, self._write, self._encoding.encode(failure(0, error)))
        self._loop.add_callback(self.close)


def _head(size: int, is_text: bool) -> bytes:
    """What a websocket puts before a whole message of a server (RFC 6455, 5.2)."""
    kind = 0x81 if is_text else 0x82
    if size < 126:
        return struct.pack("!BB", kind, size)
    return struct.pack("!BBH", kind, 126, size) if size < 2**16 else struct.pack("!BBQ", kind, 127, size)


def owner() -> str:
    """Who started this server, for the records of what is done in their name."""
    user = os.environ.get("JUPYTERHUB_USER")
    if user:
        return user
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run as a user that has no name
        return "owner"
