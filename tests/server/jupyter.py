"""A real Jupyter server, and a client that speaks to its kernels as a browser does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import websocket
from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    deserialize_msg_from_ws_v1,
    serialize_binary_message,
    serialize_msg_to_ws_v1,
)

from tests.servers import (
    START_SECONDS_MAX,
    TOKEN,
    free_port,
    have_kernels_listen,
    server,
    server_environment,
    server_options,
)

V1 = "v1.kernel.websocket.jupyter.org"
LEGACY = ""


class JupyterServer:
    """One that runs.

    Attributes:
        url: where it listens, with its base.
        process: what a test may end; of a server that a Hub started, the Hub's.
        log: what it wrote.
        authorization: what requests show.
    """

    def __init__(self, url: str, process: subprocess.Popen[Any], log: Path, token: str = TOKEN) -> None:
        self.url = url
        self.authorization = {"Authorization": f"token {token}"}
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    @property
    def scratch(self) -> Path:
        """The folder of its own."""
        return self._log.parent

    @cached_property
    def kernel(self) -> str:
        """The id of one kernel, which all tests of the server share."""
        return self.new_kernel()

    def new_kernel(self) -> str:
        """Start another kernel; its id."""
        return str(self.ask("api/kernels", {"name": "python3"})["id"])

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"{self.url}/{path}", data, self.authorization), timeout=START_SECONDS_MAX) as answer:
            return json.load(answer)

    def end_kernel(self, kernel: str) -> None:
        request = Request(f"{self.url}/api/kernels/{kernel}", headers=self.authorization, method="DELETE")
        urlopen(request, timeout=START_SECONDS_MAX).close()

    @contextmanager
    def connection(
        self, protocol: str = V1, *, username: str = "", kernel: str | None = None
    ) -> Iterator[KernelSocket]:
        """A websocket to a kernel, if none is named the shared one, of a client that calls itself `username`."""
        opened = KernelSocket(self, kernel or self.kernel, protocol, username)
        try:
            yield opened
        finally:
            opened.close()


class KernelSocket:
    """One websocket to a kernel."""

    def __init__(self, jupyter: JupyterServer, kernel: str, protocol: str = V1, username: str = "") -> None:
        self._session = Session(username=username)
        address = f"ws{jupyter.url.removeprefix('http')}/api/kernels/{kernel}/channels"
        self._socket = websocket.create_connection(
            f"{address}?session_id={self._session.session}",
            timeout=START_SECONDS_MAX,
            header=jupyter.authorization,
            subprotocols=[protocol] if protocol else None,
        )
        self._is_v1 = self._socket.subprotocol == V1

    def run(self, code: str) -> str:
        """Run code as a cell; what it printed."""
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        return self.send("execute_request", content, ends={"execute_reply", "status"})

    def send(
        self, kind: str, content: dict[str, Any], *, buffers: Sequence[bytes] = (), ends: Sequence[str] = ("status",)
    ) -> str:
        """Send a message and wait until all of `ends` have come for it; what was printed meanwhile."""
        message = self._session.msg(kind, content)
        self._send(message, buffers)
        printed, waiting = [], set(ends)
        while waiting:
            header, parent, answer = self._receive()
            if parent.get("msg_id") != message["header"]["msg_id"]:
                continue
            assert header["msg_type"] != "error", answer
            if header["msg_type"] == "stream":
                printed.append(answer["text"])
            if answer.get("execution_state", "idle") == "idle":
                waiting.discard(header["msg_type"])
        return "".join(printed).strip()

    def close(self) -> None:
        self._socket.close()

    def _send(self, message: dict[str, Any], buffers: Sequence[bytes]) -> None:
        if self._is_v1:
            parts = [self._session.pack(message[part]) for part in ("header", "parent_header", "metadata", "content")]
            self._socket.send_binary(serialize_msg_to_ws_v1([*parts, *buffers], "shell"))
        elif buffers:
            self._socket.send_binary(serialize_binary_message({**message, "channel": "shell", "buffers": buffers}))
        else:
            self._socket.send(json.dumps({**message, "channel": "shell"}, default=json_default))

    def _receive(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Header, parent's header and content of the next message."""
        frame = self._socket.recv()
        if self._is_v1:
            _, (header, parent, _, content, *_) = deserialize_msg_from_ws_v1(frame)
            return json.loads(header), json.loads(parent), json.loads(content)
        message = deserialize_binary_message(frame) if isinstance(frame, bytes) else json.loads(frame)
        return message["header"], message["parent_header"], message["content"]


@contextmanager
def running_server(scratch: Path, *config: str) -> Iterator[JupyterServer]:
    """Start a Jupyter server in folders of its own, with these lines of configuration and our extension alone."""
    folder, settings = scratch / "notebooks", scratch / "config"
    folder.mkdir()
    have_kernels_listen(scratch)
    enable_only_ours(settings, "tests.server.probe")
    lines = ['c.ServerApp.base_url = "/of/a/hub"', 'c.ServerApp.identity_provider_class = "tests.server.probe.OneUser"']
    (settings / "jupyter_server_config.py").write_text("\n".join([*lines, *config]), "utf-8")
    port, log = free_port(), scratch / "server.log"
    url = f"http://127.0.0.1:{port}/of/a/hub"
    command = [sys.executable, "-m", "jupyter_server", *server_options(port, folder)]
    with log.open("w") as out, server(command, server_environment(scratch), out, url) as process:
        yield JupyterServer(url, process, log)


def enable_only_ours(settings: Path, *more: str) -> None:
    """Have servers with these settings load our extension, `more`, and none of the others that are installed.

    They take seconds, and have warnings of their own.
    """
    enabled: dict[str, bool] = {}
    for file in (Path(sys.prefix) / "etc" / "jupyter" / "jupyter_server_config.d").glob("*.json"):
        enabled |= json.loads(file.read_text("utf-8"))["ServerApp"]["jpserver_extensions"]
    wanted = {name: False for name in enabled if not name.startswith("reactive_db")} | dict.fromkeys(more, True)
    (settings / "jupyter_server_config.d").mkdir(parents=True)
    file = settings / "jupyter_server_config.d" / "tests.json"
    file.write_text(json.dumps({"ServerApp": {"jpserver_extensions": wanted}}), "utf-8")
