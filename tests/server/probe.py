"""What tests put into a server: an extension that tells how its sockets to browsers are, a user with a name, a
connection class of a user's own.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from jupyter_server.auth import Authorizer, IdentityProvider, User
from jupyter_server.base.handlers import APIHandler
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.utils import url_path_join
from tornado import web

USER = "grace"


class OneUser(IdentityProvider):
    """Whoever has the token is the same user; the server's own makes up a name for each request."""

    def generate_anonymous_user(self, handler: Any) -> User:
        return User(username=USER)


@dataclass
class Member(User):
    """A user who is in groups."""

    groups: tuple[str, ...] = ()


class Members(OneUser):
    """Whoever shows `of-tess` is tess, and so on; she alone is a teacher. The server's own user has the token."""

    def get_user(self, handler: Any) -> Any:
        token = self.get_token(handler) or ""
        if not token.startswith("of-"):
            return super().get_user(handler)
        name = token.removeprefix("of-")
        return Member(username=name, groups=("teacher",) if name == "tess" else ())


class MembersWrite(Authorizer):
    """Members may read and write, and not run what they like."""

    def is_authorized(self, handler: Any, user: User, action: str, resource: str) -> bool:
        return not isinstance(user, Member) or action != "execute"


class OnlyReads(Authorizer):
    """Whoever is logged in may read stores, and do everything else on the server."""

    def is_authorized(self, handler: Any, user: User, action: str, resource: str) -> bool:
        return resource != "reactive_db" or action == "read"


MAY = {"eve": (), "reader": ("read",), "writer": ("read", "write"), "lab": ("read", "write", "execute")}
"""What users whose names are their tokens may do with stores; the last one has the server's own."""


class ByToken(IdentityProvider):
    """Each of `MAY` has a token."""

    async def get_user_token(self, handler: Any) -> User | None:
        token = self.get_token(handler)
        return User(username=token) if token in MAY else None


class ByName(Authorizer):
    """Each may do with stores what `MAY` says, and everything else on the server."""

    def is_authorized(self, handler: Any, user: User, action: str, resource: str) -> bool:
        return resource != "reactive_db" or action in MAY[user.username]


class OwnConnection(ZMQChannelsWebsocketConnection):
    """A user's."""


class SocketsHandler(APIHandler):
    """Each open socket: its connection's class, and whether its messages are sent at once."""

    @web.authenticated
    def get(self) -> None:
        self.finish({"sockets": [_describe(connection) for connection in ZMQChannelsWebsocketConnection._open_sockets]})


def _describe(connection: ZMQChannelsWebsocketConnection) -> dict[str, Any]:
    stream = connection.websocket_handler.ws_connection.stream
    is_prompt = bool(stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    return {"class": type(connection).__name__, "is_prompt": is_prompt}


def _load_jupyter_server_extension(serverapp: Any) -> None:
    serverapp.web_app.add_handlers(".*$", [(url_path_join(serverapp.base_url, "probe/sockets"), SocketsHandler)])
