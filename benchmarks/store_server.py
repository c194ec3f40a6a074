"""`reactive-db serve` as a process of a benchmark."""

from __future__ import annotations

import os
import signal
import sys
import urllib.request
from pathlib import Path

from benchmarks.fresh import ROOT
from benchmarks.servers import LOOPBACK, Server, free_port

READY_SECONDS = 5.0


class StoreServer:
    """One server, with stores of its own in `directory`.

    Attributes:
        url: of one store.
        path: where on the server its connections begin.
        pid: of the process.
    """

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.token = "benchmark"
        self.url = f"http://{LOOPBACK}:{self.port}/reactive-db/benchmark"
        self.path = "/reactive-db/sync?store=benchmark"
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._server = Server(
            [sys.executable, "-m", "reactive_db.cli", "serve", "--port", str(self.port), "--token", self.token]
            + ["--stores", str(directory / "stores")],
            directory / "serve.log",
            self._ask_health,
            stop=signal.SIGTERM,
            environment={**os.environ, "PYTHONPATH": path},
        )
        self.pid = self._server.pid

    def stop(self) -> None:
        self._server.stop()

    def _ask_health(self) -> None:
        url = f"http://{LOOPBACK}:{self.port}/reactive-db/health"
        urllib.request.urlopen(url, timeout=READY_SECONDS).close()
