"""marimo, its own server on loopback and its editor's protocol: a cell runs again when a name that it reads changes.

The source is a slider. The page says by POST that it was moved, and hears by websocket what the cells show.
"""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import sys
import urllib.request
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection
from importlib.metadata import version as installed_version
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from benchmarks.graphs import Graph
from benchmarks.servers import LOOPBACK, Server, free_port

PROMISE = "W8: nothing is kept; an editor's page and its server, over loopback"
SESSION = "s_bench1"
TAG = re.compile("<[^>]*>")
NOTEBOOK = """import marimo

app = marimo.App()

@app.cell
def _():
    import marimo as mo
    slider = mo.ui.slider(0, 1_000_000)
    slider
    return
"""
CELL = """
@app.cell
def _():
    {code}
    return
"""


def missing() -> str | None:
    if not importlib.util.find_spec("marimo"):
        return "the Python package marimo is not installed: pip install marimo"
    return None


def version() -> str:
    return f"marimo {installed_version('marimo')}"


class Cells:
    """W8; see `systems.Cells`."""

    def __init__(self, directory: Path, graph: Graph) -> None:
        # Here, because this module also says what is missing where no notebook is installed.
        from benchmarks.kernels import environment
        from benchmarks.web_socket import WAIT_SECONDS, WebSocket

        notebook = directory / "cells.py"
        notebook.write_text(_notebook(graph), encoding="utf-8")
        port = free_port()
        self._server = Server(
            [sys.executable, "-m", "marimo", "edit", str(notebook), "--host", LOOPBACK, "--port", str(port)]
            + ["--headless", "--no-token", "--no-skew-protection", "--skip-update-check"],
            directory / "marimo.log",
            partial(urllib.request.urlopen, f"http://{LOOPBACK}:{port}/health"),
            stop=signal.SIGTERM,
            environment=environment(directory),
        )
        self._posts = HTTPConnection(LOOPBACK, port, timeout=WAIT_SECONDS)
        self._socket = WebSocket(f"ws://{LOOPBACK}:{port}/ws?session_id={SESSION}", {})
        self._graph = graph
        self._messages = 0
        self._shown: dict[str, str] = {}  # by cell
        slider, *self._cells = self._take_until("kernel-ready")["cell_ids"]
        self._slider = f"{slider}-0"  # the first element of its cell
        self._post("instantiate", {"objectIds": [], "values": [], "autoRun": True})
        self._finish()

    def change(self, number: int) -> int:
        waiting = dict(zip(self._cells, self._graph.expected(number), strict=True))
        before = received_ns = perf_counter_ns()
        self._post("set_ui_element_value", {"objectIds": [self._slider], "values": [number]})
        while waiting:
            received_ns = self._take()[2]
            for cell in [cell for cell, text in waiting.items() if self._shown.get(cell) == text]:
                del waiting[cell]
        self._finish()
        return received_ns - before

    def shown(self) -> list[str]:
        return [self._shown[cell] for cell in self._cells]

    def messages(self) -> int:
        return self._messages

    def close(self) -> None:
        self._socket.close()
        self._server.stop()

    def _post(self, what: str, body: Mapping[str, Any]) -> None:
        """Ask for it; `_finish` reads the answer, which comes before or after what happens."""
        headers = {"Content-Type": "application/json", "Marimo-Session-Id": SESSION}
        self._posts.request("POST", f"/api/kernel/{what}", json.dumps(body), headers)

    def _finish(self) -> None:
        answer = self._posts.getresponse()
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(f"marimo answered {answer.status}: {answer.read()!r}")
        answer.read()
        self._take_until("completed-run")

    def _take_until(self, wanted: str) -> dict[str, Any]:
        kind = ""
        while kind != wanted:
            kind, content, _ = self._take()
        return content

    def _take(self) -> tuple[str, dict[str, Any], int]:
        """Take one message and show what it says."""
        frame, received_ns = self._socket.receive()
        self._messages += 1
        message = json.loads(frame)
        content = message["data"]
        if message["op"] == "cell-op" and content["output"] is not None:
            self._shown[content["cell_id"]] = TAG.sub("", str(content["output"]["data"]))
        return message["op"], content, received_ns


def _notebook(graph: Graph) -> str:
    cells = (graph.code(position, "slider.value").replace("\n", "\n    ") for position in range(graph.size))
    return NOTEBOOK + "".join(CELL.format(code=code) for code in cells)
