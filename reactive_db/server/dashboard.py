"""The page about a server's stores, the list of them that it asks for, and figures for Prometheus.

Knows tornado and no Jupyter, as `sync_socket` does. Who is there is for the classes below to say: they say it once,
in a class that goes in front of all three (`JupyterPage` and its like).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from tornado.web import HTTPError, RequestHandler

from reactive_db.server.metrics import StoresCollector
from reactive_db.server.stores import Stores
from reactive_db.sync.served import Caller, Served

_FOLDER: Final = Path(__file__).parent / "page"
_FILES: Final = {
    "": ("dashboard.html", "text/html; charset=utf-8"),
    "dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
    "dashboard.css": ("dashboard.css", "text/css; charset=utf-8"),
}
"""By the end of the address, the file and its type; nothing else in the folder can be had."""

ADDRESSES: Final = (r"(?:/(|dashboard\.js|dashboard\.css))?", "/stores", "/metrics")
"""Below the endpoint's own, of `PageFile`, `StoresList` and `Metrics`."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""The page loads its own two files and talks to its own server; it has no code in itself."""


class Asked(RequestHandler):
    """Somebody asks. The classes below say who, and leave `get` to these."""

    def initialize(self, stores: Stores) -> None:
        self._stores = stores

    async def known(self) -> Caller | None:
        """Who sent the request; None: nobody we know."""
        raise NotImplementedError

    async def reader(self) -> Caller:
        """Who sent the request, if they may read."""
        caller = await self.known()
        if caller is None or "read" not in caller.may:
            raise HTTPError(403)
        return caller


class PageFile(Asked):
    """The page and what it loads."""

    async def get(self, name: str | None = None) -> None:
        await self.reader()
        if name is None:  # what the page loads lies beside it
            self.redirect(f"{self.request.path}/" + (f"?{self.request.query}" if self.request.query else ""))
            return
        file, kind = _FILES[name]
        self.set_header("Content-Type", kind)
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")  # the address may hold a token
        self.set_header("Cache-Control", "no-cache")  # asked for each time, and answered with 304
        self.finish(await asyncio.to_thread((_FOLDER / file).read_bytes))


class StoreListed(msgspec.Struct, frozen=True):
    """One store that is open.

    Attributes:
        target: what a connection calls it.
        place: where it is on the disk; with `bytes` only for who may deploy, as in `StoreShown.use`.
    """

    target: str
    name: str
    status: str
    place: str | None
    bytes: int | None


class StoresList(Asked):
    """The stores that are open, as JSON."""

    async def get(self) -> None:
        caller = await self.reader()
        found = self._stores.all_open(with_paths=caller.is_owner)
        listed = await asyncio.to_thread(
            lambda: [_listed(target, served, caller.is_owner) for target, served in found.items()]
        )
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(msgspec.json.encode(listed))


class Metrics(Asked):
    """Figures of every open store, for Prometheus."""

    async def may_scrape(self) -> bool:
        """Whether this request is answered."""
        caller = await self.known()
        return caller is not None and caller.is_owner

    async def get(self) -> None:
        if not await self.may_scrape():
            raise HTTPError(403)
        # One of our own: in the library's, names of other extensions would clash, and theirs is at /metrics.
        registry = CollectorRegistry()
        registry.register(StoresCollector(self._stores.all_open()))
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(await asyncio.to_thread(generate_latest, registry))


def _listed(target: str, served: Served, is_owner: bool) -> StoreListed:
    store = served.store
    size = _size(store.path) if is_owner and store.path is not None else None
    return StoreListed(target, served.name, store.status, store.place if is_owner else None, size)


def _size(path: Path) -> int:
    """How many bytes the files of a store have; those that go away meanwhile are not counted."""
    return sum(_file_size(file) for file in path.rglob("*"))


def _file_size(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


def handlers(base: str, kinds: Sequence[type[Any]], **settings: Any) -> list[tuple[str, type[Any], dict[str, Any]]]:
    """The addresses below `base`, the endpoint's own; `kinds` are a server's `PageFile`, `StoresList` and `Metrics`."""
    return [(f"{base}{end}", kind, settings) for end, kind in zip(ADDRESSES, kinds, strict=True)]
