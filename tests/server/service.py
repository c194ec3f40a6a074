"""`reactive-db serve` as a process of a test."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import STOP_SECONDS_MAX, server_environment

TOKEN = "open sesame"
COMMAND = [sys.executable, "-m", "reactive_db.cli", "serve"]
SHOWN = re.compile(r"db = rdb\.connect\('(http://.*)/course', token='(.*)'\)")


class Served:
    """A server that runs.

    Attributes:
        url: of its endpoint.
        token: that it showed.
        folder: of its stores.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self._log = log
        assert process.stdout is not None
        said = ""
        while (shown := SHOWN.search(said)) is None:
            line = process.stdout.readline()
            assert line, said + self.log
            said += line
        self.url, self.token = shown.groups()

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS_MAX)


@contextmanager
def running_service(scratch: Path, *options: str, token: str | None = TOKEN, port: int = 0) -> Iterator[Served]:
    """Start a server on a free port with these options; the end of the block ends it."""
    environment = server_environment(scratch)
    if token is not None:
        environment["REACTIVE_DB_TOKEN"] = token
    log, folder = scratch / "server.log", scratch / "served"
    command = [*COMMAND, f"--port={port}", f"--stores={folder}", *options]
    with (
        log.open("a") as out,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=out, text=True) as process,
    ):
        try:
            yield Served(process, log, folder)
        finally:
            process.kill()
