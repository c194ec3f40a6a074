"""The server behind `reactive-db serve`: the sync endpoint and no more; no contents, no kernels, no Jupyter.

It answers at its own address and below any path that a proxy leaves in front, as JupyterHub's does.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Final, Protocol

from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler, create_signed_value, decode_signed_value

from reactive_db import limits
from reactive_db.remote.address import ENDPOINT
from reactive_db.runtime import Runtime
from reactive_db.server.dashboard import handlers
from reactive_db.server.service_page import PAGES
from reactive_db.server.stores import Stores
from reactive_db.server.sync_socket import EVERYTHING, SyncSocket, owner
from reactive_db.sync.served import Caller

Announce = Callable[[int], None]
"""Called with the port when the server listens."""

_HEADER: Final = re.compile(r"(?:token|bearer)\s+(.+)", re.IGNORECASE)
_TOKEN: Final = re.compile(r"(?<=token=)[^&\s]+")
_LOGIN: Final = "login"
_PING_SECONDS: Final = 20.0
_GOING_AWAY: Final = 1001
_BUSY: Final = 503

_log = logging.getLogger(__name__)


class Identity(Protocol):
    """Who is there."""

    def credential(self, handler: RequestHandler) -> str:
        """What a request shows; empty if nothing."""

    async def caller(self, credential: str) -> Caller | None:
        """Whom that stands for at this moment; None: nobody we know. Waits for others, but never blocks the loop.

        Raises:
            HTTPError: whoever knows cannot be asked now.
        """

    def pages(self) -> Sequence[Any]:
        """The handlers that people need to log in."""


class TokenIdentity:
    """Whoever has the token is as good as the one who started the server.

    A browser that has shown it is given a login to keep: a signed word that ends with the browser's session, with this
    process, or after LOGIN_DAYS_MAX. Other servers of this host are sent it too, as cookies know no port; so it must
    not be the token, nor tell anything of it.
    """

    def __init__(self, token: str, secret: bytes) -> None:
        """`secret` signs logins; a new one for each process."""
        self._token = token
        self._secret = secret
        self._owner = Caller(owner(), EVERYTHING)

    def credential(self, handler: RequestHandler) -> str:
        match = _HEADER.fullmatch(handler.request.headers.get("Authorization", ""))
        return match[1] if match else self._of_browser(handler)

    async def caller(self, credential: str) -> Caller | None:
        return self._owner if self._is_token(credential) or self._is_login(credential) else None

    def _of_browser(self, handler: RequestHandler) -> str:
        """The login of a browser: a new one for the token in a page's address, or the one it has kept."""
        name, given = _cookie_of(handler), handler.get_query_argument("token", "")
        if not self._is_token(given):
            return handler.get_cookie(name) or given
        login = create_signed_value(self._secret, _LOGIN, "").decode()
        is_secure = handler.request.protocol == "https"
        handler.set_cookie(name, login, httponly=True, samesite="Strict", secure=is_secure)
        return login

    def _is_token(self, credential: str) -> bool:
        return hmac.compare_digest(credential.encode(), self._token.encode())

    def _is_login(self, credential: str) -> bool:
        found = decode_signed_value(self._secret, _LOGIN, credential, max_age_days=limits.LOGIN_DAYS_MAX)
        return found is not None

    def pages(self) -> Sequence[Any]:
        return []


class Service:
    """One server.

    Responsibilities: its addresses, its open connections, its end. Not: who is there, or what is said.
    """

    def __init__(self, identity: Identity, stores: Stores, runtime: Runtime, recheck_seconds: float) -> None:
        self.identity = identity
        self.stores = stores
        self.runtime = runtime
        self.sockets: set[ServiceSocket] = set()
        self._recheck_seconds = recheck_seconds

    async def run(self, host: str, port: int, announce: Announce) -> None:
        """Serve until SIGTERM or Ctrl-C.

        Raises:
            OSError: the address cannot be listened on.
        """
        stop = _stop_signal()
        sockets = bind_sockets(port, host)
        server = HTTPServer(self._application(), xheaders=True)
        server.add_sockets(sockets)
        recheck = PeriodicCallback(self._recheck, self._recheck_seconds * 1_000)
        recheck.start()
        try:
            announce(sockets[0].getsockname()[1])
            await stop.wait()
        finally:
            server.stop()
            recheck.stop()
            await self._close_sockets()
            await asyncio.to_thread(self.stores.close)

    def _application(self) -> Application:
        base = rf"(?:/.*)?/{ENDPOINT}"
        return Application(
            [
                (f"{base}/sync", ServiceSocket, {"service": self}),
                (f"{base}/health", _Health),
                *handlers(base, PAGES, stores=self.stores, who=self._who),
                *self.identity.pages(),
            ],
            cookie_secret=self.runtime.random_bytes(32),  # for the Hub's pages: browsers log in anew, by themselves
            xsrf_cookies=True,
            websocket_ping_interval=_PING_SECONDS,
            log_function=_log_request,
        )

    async def _who(self, handler: RequestHandler) -> Caller | None:
        """Who sent a request; None: nobody we know."""
        credential = self.identity.credential(handler)
        return await self.identity.caller(credential) if credential else None

    async def _recheck(self) -> None:
        """Close the connections of those whose rights have changed; they connect anew, and learn what they may."""
        by_credential: dict[str, list[ServiceSocket]] = {}
        for socket in self.sockets:
            by_credential.setdefault(socket.credential, []).append(socket)
        for credential, sockets in by_credential.items():  # one after the other: the Hub has other things to do
            try:
                caller = await self.identity.caller(credential)
            except HTTPError as error:
                _log.warning("cannot ask what those who are connected may; they keep what they had: %s", error)
                return
            for socket in sockets:
                if socket.caller != caller:
                    _log.info("what %s may has changed: closing a connection", socket.caller.name)
                    socket.close(_GOING_AWAY, "what you may has changed")

    async def _close_sockets(self) -> None:
        """Nobody is cut off in the middle of a frame, and nobody can hold up the end."""
        closing = [socket.ended.wait() for socket in self.sockets]
        for socket in tuple(self.sockets):
            socket.close(_GOING_AWAY, "the server stops")
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*closing), limits.SHUTDOWN_SECONDS_MAX)


class ServiceSocket(SyncSocket):
    """A connection to this server, of somebody whom its identity knows."""

    caller: Caller

    def initialize(self, service: Service) -> None:  # type: ignore[override]  # tornado passes what the route says
        super().initialize(service.stores, service.runtime)
        self._service = service
        self.credential = ""
        self.ended = asyncio.Event()

    async def get(self, *args: Any, **kwargs: Any) -> None:
        service = self._service
        if len(service.sockets) >= limits.CONNECTIONS_MAX:
            raise HTTPError(_BUSY, f"more than {limits.CONNECTIONS_MAX} connections (CONNECTIONS_MAX)")
        self.credential = service.identity.credential(self)
        caller = await service.identity.caller(self.credential) if self.credential else None
        if caller is None:
            raise HTTPError(403)
        self.caller = caller
        await super().get(*args, **kwargs)

    async def known(self) -> Caller | None:
        self._service.sockets.add(self)
        return self.caller

    def on_close(self) -> None:
        super().on_close()
        self._service.sockets.discard(self)
        self.ended.set()


class _Health(RequestHandler):
    """Says that the server answers; nothing that only some may know."""

    def get(self) -> None:
        self.finish({"status": "ok", "version": version("reactive-db")})


def without_tokens(record: logging.LogRecord) -> bool:
    """A filter for logs: tornado's own words about a request that fails have its whole address."""
    record.msg, record.args = _TOKEN.sub("…", record.getMessage()), ()
    return True


def _cookie_of(handler: RequestHandler) -> str:
    """Servers beside each other must not take each other's."""
    return f"reactive-db-{re.sub(r'[^0-9A-Za-z]', '-', handler.request.host)}"


def _stop_signal() -> asyncio.Event:
    """What is set when somebody wants this process to end."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # on Windows, Ctrl-C ends `asyncio.run`, which comes to the same
            loop.add_signal_handler(number, stop.set)
    return stop


def _log_request(handler: RequestHandler) -> None:
    """The path alone: a query may hold a token."""
    status = handler.get_status()
    level = logging.WARNING if status >= 400 else logging.DEBUG
    _log.log(level, "%s %s: %d", handler.request.method, handler.request.path, status)
