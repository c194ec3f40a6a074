"""The page and the figures on the server behind `reactive-db serve`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from tornado.web import RequestHandler

from reactive_db.server.dashboard import Asked, Metrics, PageFile, StoresList
from reactive_db.server.stores import Stores
from reactive_db.sync.served import Caller

Who = Callable[[RequestHandler], Awaitable[Caller | None]]
"""Who sent a request; None: nobody we know."""


class ServiceAsked(Asked):
    """Somebody asks whom the server's identity knows; nobody else gets anything."""

    def initialize(self, stores: Stores, who: Who) -> None:  # type: ignore[override]  # tornado passes what the route says
        super().initialize(stores)
        self._who = who

    async def known(self) -> Caller | None:
        return await self._who(self)


class ServicePageFile(PageFile, ServiceAsked):
    """The page and what it loads."""


class ServiceStoresList(StoresList, ServiceAsked):
    """The stores that are open."""


class ServiceMetrics(Metrics, ServiceAsked):
    """Figures for Prometheus, for who may deploy."""


PAGES: Final = (ServicePageFile, ServiceStoresList, ServiceMetrics)
