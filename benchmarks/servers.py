"""Server processes of a benchmark: started on a free loopback port, waited for, and ended again."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

START_SECONDS = 20.0
STOP_SECONDS = 20.0
LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A loopback port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One server process, ready when `is_ready` stops raising.

    It writes to a log file rather than to our pipes: a full pipe would stop it in the middle of a measurement.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        is_ready: Callable[[], object],
        *,
        stop: int,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._stop_signal = stop
        with log.open("wb") as output:
            groups: list[int] | None = [] if user else None
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                user=user,
                group=user,
                extra_groups=groups,
                cwd=log.parent,
                env=environment,
            )
        self._log = log
        self._wait(is_ready)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def _wait(self, is_ready: Callable[[], object]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                is_ready()
                return
            except Exception as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"the server did not start: {error}\n{self._log.read_text()}") from error
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
