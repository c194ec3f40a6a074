"""A program in a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SECONDS_MAX = 60


class Terminal:
    """Python running `program` with `arguments`, and all that it has written so far."""

    def __init__(self, program: str, *arguments: str | Path) -> None:
        self.written = ""
        self._master, slave = pty.openpty()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
        command = [sys.executable, "-c", program, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
        os.close(slave)

    def read_until(self, is_so: Callable[[str], bool]) -> None:
        """Read what it writes until `is_so` of all of it, or its end."""
        while not is_so(self.written):
            ready, _, _ = select.select([self._master], [], [], SECONDS_MAX)
            assert ready, self.written
            try:
                self.written += os.read(self._master, 65536).decode("utf-8", "replace")
            except OSError:  # the other side is closed
                return

    def end(self) -> int:
        """Read to the end; the exit status."""
        self.read_until(lambda written: False)
        os.close(self._master)
        return self.process.wait(SECONDS_MAX)
