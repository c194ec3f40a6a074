"""The page and the figures on a Jupyter server: browsers that it does not know are sent to its login."""

from __future__ import annotations

from typing import Final

from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from reactive_db.server.dashboard import Asked, Metrics, PageFile, StoresList
from reactive_db.server.jupyter_socket import RESOURCE, user_of
from reactive_db.sync.served import Caller


class JupyterAsked(Asked, JupyterHandler):
    """Somebody asks whom Jupyter knows."""

    auth_resource = RESOURCE

    async def known(self) -> Caller | None:
        return await user_of(self)


class JupyterPageFile(PageFile, JupyterAsked):
    """The page and what it loads."""

    @web.authenticated
    @authorized
    async def get(self, name: str | None = None) -> None:  # type: ignore[override]  # it says no more of what it makes
        await super().get(name)


class JupyterStoresList(StoresList, JupyterAsked):
    """The stores that are open."""

    @web.authenticated
    @authorized
    async def get(self) -> None:  # type: ignore[override]
        await super().get()


class JupyterMetrics(Metrics, JupyterHandler):
    """Figures for Prometheus, for whom Jupyter's own `/metrics` is."""

    @allow_unauthenticated
    async def get(self) -> None:
        await super().get()

    async def may_scrape(self) -> bool:
        return bool(self.logged_in or not self.settings["authenticate_prometheus"])


PAGES: Final = (JupyterPageFile, JupyterStoresList, JupyterMetrics)
