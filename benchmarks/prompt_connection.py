"""A kernel's websocket without Nagle's algorithm, which jupyter_server leaves on.

With it on, the server keeps each small frame after the first back until the client has acknowledged the one before,
which clients delay by 40 ms: that hides what anything behind it costs.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptConnection(ZMQChannelsWebsocketConnection):
    """For `ServerApp.kernel_websocket_connection_class`."""

    def connect(self) -> Any:
        self.websocket_handler.set_nodelay(True)
        return super().connect()
