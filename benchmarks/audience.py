"""A thousand connections in one process, which hear the same news: when the last one has it, and who did not.

The traps avoided: a thread or a task for each connection, whose scheduling would pass for the server's work; and an
audience that waits for ever for somebody who was left out.
"""

from __future__ import annotations

import json
import pickle
import selectors
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import IO

from benchmarks.ears import BUFFER_BYTES, WAIT_SECONDS, Ear, end_of
from benchmarks.fresh import ROOT
from benchmarks.servers import LOOPBACK

LATE_SECONDS = 0.3


@dataclass(frozen=True)
class Heard:
    """As many pieces of news as there are connections.

    Attributes:
        at_ns: when the last one came.
        number: what most heard.
        right: how many connections heard that and nothing else.
    """

    at_ns: int
    number: int
    right: int


class Audience:
    """The process with the connections, as the one that measures has it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin: IO[str] = process.stdin
        self._stdout: IO[str] = process.stdout

    def hear(self) -> Heard:
        """The next round of news.

        Raises:
            RuntimeError: somebody did not hear it.
        """
        return Heard(**json.loads(self._line()))

    def end(self) -> int:
        """Close all connections; how many pieces of news came late, to those who had theirs."""
        self._stdin.close()
        late: int = json.loads(self._line())
        return late

    def close(self) -> None:
        """Let go of a process that has ended."""
        self._stdin.close()
        self._stdout.close()

    def _line(self) -> str:
        line = self._stdout.readline()
        if not line:
            raise RuntimeError(f"not everybody heard the news within {WAIT_SECONDS:g} s, or a connection was lost")
        return line


@contextmanager
def audience(ear: Ear, size: int, directory: Path) -> Iterator[Audience]:
    """`size` connections in a process of their own, all of which would hear news now."""
    task = directory / "ear"
    task.write_bytes(pickle.dumps(ear))
    command = [sys.executable, "-m", "benchmarks.audience", str(task), str(size)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    found = Audience(process)
    try:
        found._line()
        yield found
    finally:
        process.kill()
        process.wait()
        found.close()


def attend(ear: Ear, size: int) -> None:
    """The process's side: say when everybody is connected, each round of news, and what came late."""
    selector = selectors.DefaultSelector()
    for position in range(size):
        connection = socket.create_connection((LOOPBACK, ear.port), WAIT_SECONDS)
        ear.begin(connection, position)
        selector.register(connection, selectors.EVENT_READ, bytearray())
    selector.register(sys.stdin, selectors.EVENT_READ)
    print(json.dumps(size), flush=True)
    news: list[tuple[int, int]] = []
    timeout = WAIT_SECONDS
    while ready := selector.select(timeout):
        for key, _ in ready:
            if key.fileobj is sys.stdin:
                selector.unregister(sys.stdin)
                timeout = LATE_SECONDS
                continue
            assert isinstance(key.fileobj, socket.socket)
            key.data.extend(key.fileobj.recv(BUFFER_BYTES) or end_of(key.data))
            news += [(key.fd, number) for number in ear.take(key.fileobj, key.data)]
        if len(news) >= size and timeout == WAIT_SECONDS:
            print(json.dumps(asdict(_heard(news, perf_counter_ns()))), flush=True)
            news = []
    if timeout == LATE_SECONDS:
        print(json.dumps(len(news)), flush=True)


def _heard(news: list[tuple[int, int]], at_ns: int) -> Heard:
    number, _ = Counter(number for _, number in news).most_common(1)[0]
    by_connection = Counter(connection for connection, _ in news)
    right = sum(heard == number and by_connection[connection] == 1 for connection, heard in news)
    return Heard(at_ns, number, right)


if __name__ == "__main__":
    attend(pickle.loads(Path(sys.argv[1]).read_bytes()), int(sys.argv[2]))
