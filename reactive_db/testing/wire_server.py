"""A server of stores as a process: ended and begun again, on the same port and with the same stores."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

START_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 30.0


TOKEN: Final = "wire"

Command = Callable[[int, Path], Sequence[str]]
"""By the port and the folder of the stores, how to start a server."""


def serve(program: Sequence[str] = (sys.executable, "-m", "reactive_db.cli")) -> Command:
    """`reactive-db serve`, or a broken variant of that."""
    return lambda port, stores: [*program, "serve", "--port", str(port), "--token", TOKEN, "--stores", str(stores)]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A kind of server."""

    command: Command = field(default_factory=serve)
    token: str = TOKEN
    environment: Mapping[str, str] | None = None


class StoreServer:
    """A server of the kind that is asked for.

    Attributes:
        port: the same after each start.
        log: where it writes.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.log = folder / "server.log"
        self.recipe = recipe
        self._folder = folder
        self._process: subprocess.Popen[Any] | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]

    def start(self) -> None:
        """Begin, and return when it listens."""
        command, environment = self.recipe.command(self.port, self._folder / "stores"), self.recipe.environment
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
        pause = threading.Event()
        for _ in range(int(START_SECONDS_MAX * 50)):
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                pause.wait(0.02)  # it says nothing until it listens
        raise AssertionError(f"the server does not start:\n{self.log.read_text('utf-8')[-2_000:]}")

    def stop(self, *, kill: bool = False) -> None:
        """End it as an administrator does, or as a loss of power does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            self._process.wait(STOP_SECONDS_MAX)
            self._process = None
