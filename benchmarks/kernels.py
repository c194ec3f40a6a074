"""Kernels of a benchmark, spoken to as a front end does: over bare ZMQ, or through a Jupyter server's websocket.

The server is jupyter_server as it is installed, with its own limits and our extension. The user's settings of Jupyter
and IPython play no part: everything is kept in the directory of the measurement.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Protocol

import zmq
from jupyter_client.manager import KernelManager
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1

from benchmarks.fresh import ROOT
from benchmarks.servers import LOOPBACK, Server, free_port
from benchmarks.web_socket import WAIT_SECONDS, WebSocket

TOKEN = "benchmark"
PROTOCOL = "v1.kernel.websocket.jupyter.org"  # JupyterLab's


@dataclass(frozen=True)
class Message:
    """One message of a kernel.

    Attributes:
        parent: the id of the request that it answers.
        size: bytes of content and buffers.
        received_ns: by the clock that all processes of the machine share.
    """

    kind: str
    parent: str
    content: dict[str, Any]
    size: int
    received_ns: int


class Kernel(Protocol):
    """A kernel and the connection to it."""

    def send(self, kind: str, content: dict[str, Any], metadata: dict[str, Any]) -> str:
        """Send a request on the shell channel, and return its id."""

    def receive(self) -> Message:
        """The next message of any channel.

        Raises:
            TimeoutError: none came within WAIT_SECONDS.
        """

    def close(self) -> None: ...


class ZmqKernel:
    """A kernel of our own, with nothing between it and us."""

    def __init__(self, directory: Path) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(env=environment(directory), cwd=str(directory))
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=WAIT_SECONDS)
        self._poller = zmq.Poller()
        for channel in (self._client.iopub_channel, self._client.shell_channel):
            self._poller.register(channel.socket, zmq.POLLIN)

    def send(self, kind: str, content: dict[str, Any], metadata: dict[str, Any]) -> str:
        message = self._client.session.msg(kind, content, metadata=metadata)
        self._client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def receive(self) -> Message:
        ready = self._poller.poll(int(WAIT_SECONDS * 1000))
        if not ready:
            raise TimeoutError(f"no message within {WAIT_SECONDS:g} s")
        frames = ready[0][0].recv_multipart()
        received_ns = perf_counter_ns()
        _, (_signature, *parts) = self._client.session.feed_identities(frames)
        return _message(parts, received_ns)

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


class ServedKernel:
    """A kernel behind a Jupyter server, reached as a page reaches it."""

    def __init__(self, directory: Path, *, is_prompt: bool = True) -> None:
        """`is_prompt`: the server keeps no small frame back, because our extension tells it so."""
        self._address = f"{LOOPBACK}:{free_port()}"
        self._server = Server(
            [sys.executable, "-m", "jupyter_server", f"--ServerApp.root_dir={directory}", *self._options(is_prompt)],
            directory / "jupyter_server.log",
            partial(self._ask, "/api/status"),
            stop=signal.SIGTERM,
            environment=environment(directory),
        )
        self._session = Session()
        kernel = self._ask("/api/kernels", {"name": "python3"})["id"]
        channels = f"ws://{self._address}/api/kernels/{kernel}/channels?session_id={self._session.session}"
        self._socket = WebSocket(channels, self._authorization(), [PROTOCOL])

    def send(self, kind: str, content: dict[str, Any], metadata: dict[str, Any]) -> str:
        message = self._session.msg(kind, content, metadata=metadata)
        self._socket.send(serialize_msg_to_ws_v1(message, "shell", self._session.pack))  # type: ignore[no-untyped-call]
        return str(message["header"]["msg_id"])

    def receive(self) -> Message:
        frame, received_ns = self._socket.receive()
        _, parts = deserialize_msg_from_ws_v1(frame)  # type: ignore[no-untyped-call]
        return _message(parts, received_ns)

    def close(self) -> None:
        self._socket.close()
        self._server.stop()

    def _options(self, is_prompt: bool) -> list[str]:
        host, port = self._address.split(":")
        # Named, so that no figure depends on how this environment was made.
        extension = [
            "--ServerApp.jpserver_extensions=reactive_db.server=True",
            f"--ReactiveDB.prompt_kernels={is_prompt}",
        ]
        address = [f"--ServerApp.ip={host}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
        return [*address, *extension, f"--IdentityProvider.token={TOKEN}", "--no-browser", "--allow-root"]

    def _ask(self, path: str, body: Mapping[str, str] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self._address}{path}", data, self._authorization())
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
            return json.load(answer)

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"token {TOKEN}"}


def environment(directory: Path) -> dict[str, str]:
    """Of a server or kernel that keeps everything in `directory` and finds this checkout."""
    own = {
        "IPYTHONDIR": "ipython",
        "JUPYTER_CONFIG_DIR": "jupyter_config",
        "JUPYTER_RUNTIME_DIR": "jupyter_runtime",
        "REACTIVE_DB_HOME": "stores",
        "XDG_CONFIG_HOME": "config",
        "XDG_STATE_HOME": "state",
    }
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **{name: str(directory / folder) for name, folder in own.items()}}


def _message(parts: Sequence[bytes], received_ns: int) -> Message:
    header, parent, _, content, *buffers = parts
    size = len(content) + sum(map(len, buffers))
    answered = json.loads(parent).get("msg_id", "")
    return Message(json.loads(header)["msg_type"], answered, json.loads(content), size, received_ns)
