"""The websocket on which the sync protocol is spoken: who is there, and frames to and from a session."""

from __future__ import annotations

import getpass
import hmac
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.ioloop import IOLoop
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from reactive_db.errors import PermissionDeniedError, ProtocolError
from reactive_db.remote.kernel import proof
from reactive_db.runtime import Runtime
from reactive_db.server.stores import Stores
from reactive_db.sync import messages as m
from reactive_db.sync.failures import failure
from reactive_db.sync.served import Caller, Served
from reactive_db.sync.session import ServerSession

RESOURCE: Final = "reactive_db"
"""What Jupyter's authorizer is asked about."""

_ACTIONS: Final = {"read": "read", "write": "write", "deploy": "execute"}
"""By what a caller may do, the action that the authorizer knows."""

_NONCE_BYTES: Final = 16
_PROOF_SECONDS_MAX: Final = 10.0
_MESSAGE_BYTES_MAX: Final = 32 * 2**20


class SyncSocket(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """One connection of a kernel, a script or a page."""

    auth_resource = RESOURCE

    def initialize(self, stores: Stores, runtime: Runtime) -> None:
        self._stores = stores
        self._nonce = runtime.random_bytes(_NONCE_BYTES).hex()
        self._session: ServerSession | None = None
        self._is_asked = False
        self._deadline: object | None = None

    def set_default_headers(self) -> None:
        """None of a page's: a websocket has none."""

    @property
    def max_message_size(self) -> int:
        return _MESSAGE_BYTES_MAX

    @allow_unauthenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        # A kernel has no token: it proves itself once the connection is open.
        await super().get(*args, **kwargs)

    async def open(self, *args: Any, **kwargs: Any) -> None:
        super().open(*args, **kwargs)
        self.set_nodelay(True)
        self._loop = IOLoop.current()
        if self.current_user is not None:
            await self.write_message(json.dumps({}))
            await self._begin(await self._caller())
            return
        self._is_asked = True
        self._deadline = self._loop.call_later(_PROOF_SECONDS_MAX, self._refuse)
        await self.write_message(json.dumps({"nonce": self._nonce}))

    async def on_message(self, frame: str | bytes) -> None:
        if self._session is not None and isinstance(frame, bytes):
            self._session.hear(frame)
        elif self._is_asked and isinstance(frame, str):
            self._is_asked = False
            kernel = self._proven(frame)
            if kernel is None:
                self._refuse()
            else:
                await self._begin(kernel)
        else:
            self._fail(ProtocolError("a frame that was not asked for."))

    def on_close(self) -> None:
        super().on_close()
        if self._deadline is not None:
            self._loop.remove_timeout(self._deadline)
        if self._session is not None:
            self._session.closed()

    # --- who is there -------------------------------------------------------------------------------------------------

    async def _caller(self) -> Caller:
        """The user that Jupyter knows, and what its authorizer allows."""
        user = self.current_user
        may = [word for word, action in _ACTIONS.items() if await self._is_allowed(action)]
        return Caller(str(getattr(user, "username", user)), frozenset(may))

    async def _is_allowed(self, action: str) -> bool:
        answer: Any = self.authorizer.is_authorized(self, self.current_user, action, RESOURCE)
        return bool(await ensure_async(answer) if isinstance(answer, Awaitable) else answer)

    def _proven(self, frame: str) -> Caller | None:
        """The owner of this server, if it is one of its kernels that answers our nonce."""
        try:
            answer = json.loads(frame)
            kernel, given = str(answer["kernel"]), str(answer["proof"])
            key = bytes(self.kernel_manager.get_kernel(kernel).session.key)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        if not hmac.compare_digest(proof(key, kernel, self._nonce), given):
            return None
        return Caller(os.environ.get("JUPYTERHUB_USER") or getpass.getuser(), frozenset(_ACTIONS))

    def _refuse(self) -> None:
        self._fail(PermissionDeniedError("this server does not know who is there. Pass its token."))

    # --- frames -------------------------------------------------------------------------------------------------------

    async def _begin(self, caller: Caller) -> None:
        """Open the store and begin a session on it."""
        if self._deadline is not None:
            self._loop.remove_timeout(self._deadline)
            self._deadline = None
        try:
            target = self.get_argument("store")
            served = await self._loop.run_in_executor(self._stores.workers, self._stores.open, target)
        except Exception as error:
            self._fail(error)
            return
        self._session = self._new_session(served, caller)

    def _new_session(self, served: Served, caller: Caller) -> ServerSession:
        add_callback = self._loop.add_callback

        def send(frame: bytes) -> None:
            add_callback(self._write, frame)

        def close() -> None:
            add_callback(self.close)

        def submit(work: Callable[[], None]) -> None:
            self._stores.workers.submit(work)

        return ServerSession(served, caller, send, submit, close)

    async def _write(self, frame: bytes) -> None:
        try:
            await self.write_message(frame, binary=True)
        except WebSocketClosedError:
            return
        if self._session is not None:
            self._session.drained()

    def _fail(self, error: Exception) -> None:
        """Say why, and end the connection."""
        self._loop.add_callback(self._write, m.encode(failure(0, error)))
        self._loop.add_callback(self.close)
