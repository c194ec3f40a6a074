"""Who is there on a Jupyter server: the user that it knows, or a kernel of its own that proves itself."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable
from typing import Any, Final

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin

from reactive_db.remote.kernel import proof
from reactive_db.server.sync_socket import EVERYTHING, SyncSocket, owner
from reactive_db.sync.served import Caller

RESOURCE: Final = "reactive_db"
"""What Jupyter's authorizer is asked about."""

_ACTIONS: Final = {"read": "read", "write": "write", "deploy": "execute"}
"""By what a caller may do, the action that the authorizer knows."""


class JupyterSyncSocket(WebSocketMixin, SyncSocket, JupyterHandler):
    """A connection to a Jupyter server with the extension."""

    auth_resource = RESOURCE

    def set_default_headers(self) -> None:
        """None of a page's: a websocket has none."""

    @allow_unauthenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        # A kernel has no token: it proves itself once the connection is open.
        await super().get(*args, **kwargs)

    async def known(self) -> Caller | None:
        """The user that Jupyter knows, and what its authorizer allows."""
        return await user_of(self)

    def proven(self, answer: Any, nonce: str) -> Caller | None:
        """The owner of this server, if it is one of its kernels that answers."""
        kernel, given = str(answer["kernel"]), str(answer["proof"])
        if kernel not in self.kernel_manager:
            return None
        key = bytes(self.kernel_manager.get_kernel(kernel).session.key)
        if not key:  # the server is told to sign nothing: anybody could have such a proof
            return None
        return Caller(owner(), EVERYTHING) if hmac.compare_digest(proof(key, kernel, nonce), given) else None


async def user_of(handler: JupyterHandler) -> Caller | None:
    """The user that Jupyter knows a request to be of, and what its authorizer allows."""
    user = handler.current_user
    if user is None:
        return None
    may = [word for word, action in _ACTIONS.items() if await _is_allowed(handler, action)]
    return Caller(str(getattr(user, "username", user)), frozenset(may), _roles(user))


def _roles(user: Any) -> frozenset[str]:
    """The groups of a user: those of JupyterHub on one of its servers, else what the identity provider says."""
    of_hub = getattr(user, "hub_user", None) or {}
    return frozenset(of_hub.get("groups", getattr(user, "groups", ())))


async def _is_allowed(handler: JupyterHandler, action: str) -> bool:
    answer: Any = handler.authorizer.is_authorized(handler, handler.current_user, action, RESOURCE)
    return bool(await ensure_async(answer) if isinstance(answer, Awaitable) else answer)
