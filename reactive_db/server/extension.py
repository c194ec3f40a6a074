"""What the extension does to a server: kernels learn its address, and their sockets are prompt and stamped."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.utils import url_path_join
from traitlets import Bool

from reactive_db.limits import Limits
from reactive_db.remote.address import ENDPOINT, PROCESS_VARIABLE, SERVER_VARIABLE
from reactive_db.runtime import SystemRuntime
from reactive_db.server.dashboard import handlers
from reactive_db.server.jupyter_page import PAGES
from reactive_db.server.jupyter_socket import JupyterSyncSocket
from reactive_db.server.kernel_connection import PromptConnection, PromptStampingConnection, StampingConnection
from reactive_db.server.stores import Stores

# Kernels inherit the server's environment; of those behind a gateway, only what begins with KERNEL_ travels.
ADDRESS_VARIABLES: Final = (SERVER_VARIABLE, f"KERNEL_{SERVER_VARIABLE}")

CONNECTIONS: Final[dict[tuple[bool, bool], type[ZMQChannelsWebsocketConnection]]] = {
    (False, False): ZMQChannelsWebsocketConnection,
    (True, False): PromptConnection,
    (False, True): StampingConnection,
    (True, True): PromptStampingConnection,
}
"""By `prompt_kernels` and `stamps_users`."""


class ReactiveDB(ExtensionApp):
    """reactive_db in a Jupyter server."""

    name = "reactive_db"

    prompt_kernels = Bool(
        True,
        help="Send each message of a kernel to the browser at once. Without it, whatever follows a small message, such "
        "as the output of a cell or the answer of a widget, waits about 40 ms. Has no effect where "
        "ServerApp.kernel_websocket_connection_class is set.",
    ).tag(config=True)

    stamps_users = Bool(
        True,
        help="Let kernels know who runs a cell or moves a widget: the name of the user who is logged in is put into "
        "header.username of each message from the browser, over any name that is there. Has no effect where "
        "ServerApp.kernel_websocket_connection_class is set.",
    ).tag(config=True)

    _stores: Stores | None = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._told: dict[str, str] = {}
        """What kernels were told, by the variable that has it."""

    def initialize_settings(self) -> None:
        """Set the class of the kernels' sockets, unless somebody else has.

        The server has read its configuration by now and has made no connection yet.
        """
        assert self.serverapp is not None
        ours = CONNECTIONS[self.prompt_kernels, self.stamps_users]
        theirs = self.serverapp.kernel_websocket_connection_class
        if theirs is ZMQChannelsWebsocketConnection:
            self.serverapp.kernel_websocket_connection_class = ours
            self.settings["kernel_websocket_connection_class"] = ours  # the handlers look here
        elif ours is not ZMQChannelsWebsocketConnection and not issubclass(theirs, ours):
            self.log.info(
                "Kernels keep the connection class that is configured, %s.%s. Derive it from %s.%s to have what "
                "ReactiveDB.prompt_kernels and ReactiveDB.stamps_users promise, or set both to False.",
                *(theirs.__module__, theirs.__qualname__, ours.__module__, ours.__qualname__),
            )

    def initialize_handlers(self) -> None:
        """Where the sync protocol is spoken, the page about the stores, and figures."""
        runtime = SystemRuntime()
        self._stores = Stores(runtime, Limits())
        self.handlers.append((rf"/{ENDPOINT}/sync", JupyterSyncSocket, {"stores": self._stores, "runtime": runtime}))
        self.handlers += handlers(f"/{ENDPOINT}", PAGES, stores=self._stores)

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Tell kernels where the server is, which it knows only now. Its token is not theirs to have."""
        address = url_path_join(serverapp.connection_url, ENDPOINT)
        self._told = {**dict.fromkeys(ADDRESS_VARIABLES, address), PROCESS_VARIABLE: str(os.getpid())}
        os.environ.update(self._told)

    async def stop_extension(self) -> None:
        """Take the address out again, unless it is another server's by now."""
        for variable, value in self._told.items():
            if os.environ.get(variable) == value:
                del os.environ[variable]
        if self._stores is not None:
            await asyncio.to_thread(self._stores.close)
