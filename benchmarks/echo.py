"""A Jupyter server extension that sends back what it gets: the bare websocket round trip beside ours, on one server."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.websocket import WebSocketHandler


class Echo(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """One connection."""

    def set_default_headers(self) -> None: ...

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        await super().get(*args, **kwargs)

    def open(self, *args: Any, **kwargs: Any) -> None:
        super().open(*args, **kwargs)
        self.set_nodelay(True)

    async def on_message(self, frame: str | bytes) -> None:
        await self.write_message(frame, binary=isinstance(frame, bytes))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "benchmarks.echo"}]


def _load_jupyter_server_extension(server: Any) -> None:
    server.web_app.add_handlers(".*", [(f"{server.base_url.rstrip('/')}/benchmarks/echo", Echo)])
