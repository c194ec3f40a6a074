"""Addresses of stores on servers."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

from reactive_db.errors import NotAStoreError

ENDPOINT: Final = "reactive-db"
"""Below a server's own address, everything of ours."""

SERVER_VARIABLE: Final = "REACTIVE_DB_URL"
PROCESS_VARIABLE: Final = "REACTIVE_DB_SERVER_PID"
"""What a server tells its kernels: its endpoint, and which process it is."""

HUB_VARIABLE: Final = "REACTIVE_DB_HUB_URL"
"""What tells the processes of a Hub's users where the stores are that all of them share."""

DEFAULT_STORE: Final = "default"
URL: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_SOCKET: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is.

    Attributes:
        url: of the server's endpoint, `http://127.0.0.1:8888/reactive-db`.
        store: a name, or the absolute path of a store directory on the server's machine.
        token: for `Authorization`, None for a kernel that proves itself.
    """

    url: str
    store: str
    token: str | None = field(default=None, repr=False)

    @property
    def socket_url(self) -> str:
        """Where the sync protocol is spoken."""
        scheme, rest = self.url.split("://", 1)
        return f"{_SOCKET[scheme]}://{rest}/sync?store={quote(self.store, safe='')}"

    def __str__(self) -> str:
        return f"{self.url}/{self.store}"


def address_of(url: str, token: str | None) -> Address:
    """The store at a URL: `http://host:8888/reactive-db/course`; without a name the server's default store.

    Raises:
        NotAStoreError: it is no address of a store.
    """
    parts = urlsplit(url)
    base, found, name = parts.path.partition(f"/{ENDPOINT}")
    if parts.scheme not in _SOCKET or not parts.netloc or not found or (name and not name.startswith("/")):
        raise NotAStoreError(
            f"{url!r} is no address of a store. It looks like `http://host:8888/{ENDPOINT}/course`: the address of a "
            f"Jupyter server or of `reactive-db serve`, then `/{ENDPOINT}/` and the store's name."
        )
    token = token or next(iter(parse_qs(parts.query).get("token", [])), None)
    return Address(f"{parts.scheme}://{parts.netloc}{base}/{ENDPOINT}", name.strip("/") or DEFAULT_STORE, token)


def own_server(environment: Mapping[str, str] = os.environ) -> str | None:
    """The endpoint of the server that started this process as a kernel, if it told us.

    Whatever a server starts inherits what it tells: terminals, and with them other servers, VS Code, `jupyter kernel`,
    also long after the server is gone. What those start is no kernel of its own, and could not prove itself to it.
    """
    server, parent = environment.get(PROCESS_VARIABLE), environment.get("JPY_PARENT_PID")
    # On Windows that is a handle, and tells nothing.
    is_own = (server is not None and server == parent) or os.name == "nt"
    return environment.get(SERVER_VARIABLE) or None if is_own else None


def hub_server(environment: Mapping[str, str] = os.environ) -> str | None:
    """The endpoint that all users of this process's JupyterHub share, if the Hub has one; `hub.config` tells them."""
    return environment.get(HUB_VARIABLE) or None


def hub_token(url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token that the Hub gave this process, if `url` is of the Hub's own stores: it is nobody else's to have."""
    shared = hub_server(environment)
    if shared is None or not f"{url.rstrip('/')}/".startswith(f"{shared.rstrip('/')}/"):
        return None
    return environment.get("JUPYTERHUB_API_TOKEN") or None


def store_at(server: str, target: str | Path | None, token: str | None = None) -> Address:
    """A store by name or path on a server."""
    return Address(server.rstrip("/"), DEFAULT_STORE if target is None else str(target), token)
