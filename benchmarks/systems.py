"""The systems that can be measured, and the roles they play in the workloads.

Each system is one module. It says whether it is installed (`missing`), its version and its promise, and takes part
in a workload by having the class of that role. This module knows their names and nothing of their insides.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from benchmarks.ears import Ear
from benchmarks.graphs import Graph

OURS = "reactive_db"

MODULES = {
    OURS: "benchmarks.reactive_store",
    "sqlite": "benchmarks.peers.sqlite",
    "sqlite_one_connection": "benchmarks.peers.sqlite_one_connection",
    "redis": "benchmarks.peers.redis",
    "postgresql": "benchmarks.peers.postgresql",
    "duckdb": "benchmarks.peers.duckdb",
    "websockets": "benchmarks.peers.websockets",
    "marimo": "benchmarks.peers.marimo",
}


@dataclass(frozen=True)
class Options:
    """What the command line decides for every workload."""

    directory: Path
    seconds: float = 3.0
    scale: float = 1.0
    tell: Callable[[str], object] = str
    """Shows how far a workload is; a fresh process has nobody to tell."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Options, (self.directory, self.seconds, self.scale)


class System(Protocol):
    """What every system's module offers."""

    PROMISE: str

    def missing(self) -> str | None:
        """Why it cannot run here and what would change that, or None."""

    def version(self) -> str:
        """Its version, with the client's where there is one."""


class Counters(Protocol):
    """W1: documents `{id, v, owner, body}` of about 1 KB, and the mutation read, check, patch `v + 1`."""

    def __init__(self, directory: Path, documents: int) -> None: ...

    def writer(self) -> Callable[[int], object]:
        """The mutation for the calling thread, taking a document's number; returns once the commit is durable."""

    def retries(self) -> int:
        """How often the mutation ran in vain so far."""

    def total(self) -> int:
        """The sum of `v`, read by a new connection after the writers are done."""

    def close(self) -> None: ...


class Messages(Protocol):
    """W2 and W3: messages `{n, channel, body}` and the live query "the newest 20 of one channel"."""

    def __init__(self, directory: Path, messages: int, channels: int) -> None: ...

    def insert(self, channel: int, number: int) -> None:
        """Commit one message durably."""

    def watch(self, channel: int, callback: Callable[[Any], None]) -> None:
        """Call `callback` with each new result set of the channel's query. Before `start`."""

    def start(self) -> None:
        """All watching is set up; returns when every watcher would hear of an insert."""

    def query(self, channel: int) -> Any:
        """The same query, run once."""

    def numbers(self, value: Any) -> list[int]:
        """The messages' numbers in a result set, newest first."""

    def runs(self) -> int:
        """How often live queries were evaluated so far; `query` does not count."""

    def count(self) -> int:
        """How many messages there are, asked in another way than the live query."""

    def close(self) -> None: ...


class Channel(Protocol):
    """W4_sockets: a server with one value of about 1 KB, and connections that are told of each new one."""

    ear: Ear
    """How a connection is told."""

    def __init__(self, directory: Path) -> None: ...

    def put(self, number: int) -> None:
        """Commit the value with this number, one more than that before."""

    def close(self) -> None: ...


class Items(Protocol):
    """W7: one table of small documents in a file; constructing it opens the file."""

    @staticmethod
    def build(path: Path, documents: int) -> str:
        """Write the file, and return the key of one document in it."""

    def __init__(self, path: Path) -> None: ...

    def get(self, key: str) -> int:
        """`x` of one document."""

    def groups(self) -> dict[int, tuple[int, int]]:
        """`select g, count(*), sum(x) group by g`."""

    def close(self) -> None: ...


class Cells(Protocol):
    """W8: a notebook with a source and cells that depend on it, on a page; constructing it runs all of them."""

    def __init__(self, directory: Path, graph: Graph) -> None: ...

    def change(self, number: int) -> int:
        """Set the source to a number it never had; nanoseconds until the page shows all cells that follow from it."""

    def shown(self) -> list[str]:
        """What the cells show on the page now, in order."""

    def messages(self) -> int:
        """How many messages about cells the page was sent so far."""

    def close(self) -> None: ...


def system(name: str) -> System:
    """The module of the system `name`."""
    return cast(System, importlib.import_module(MODULES[name]))


def role(name: str, role: str) -> Any:
    """The class that plays `role` for the system `name`."""
    return getattr(system(name), role)
