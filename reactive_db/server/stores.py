"""The stores that this server has open, each once, for all who connect."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from reactive_db import limits
from reactive_db.database import store_path
from reactive_db.engine.store import Store
from reactive_db.errors import LimitError, NotAStoreError, PermissionDeniedError, StoreError
from reactive_db.limits import Limits
from reactive_db.runtime import Runtime
from reactive_db.server.sender import Sender
from reactive_db.sync.served import Served

Place = Callable[[str], Path]
"""Where the store is that a caller names; raises NotAStoreError for what names none here."""

_SWITCH_SECONDS: Final = 0.0005
_WORKERS: Final = 8
_SQL_WORKERS: Final = 4
_NAME: Final = re.compile(rf"\w[\w-]{{0,{limits.STORE_NAME_LENGTH_MAX - 1}}}")


class Stores:
    """Opens stores when they are first asked for, and closes them all at the end.

    Attributes:
        workers: where sessions work, so that the event loop never waits.
        sql_workers: where clients' SQL waits for its turn and its end, so that nobody else does.
        sender: what they say, on its way back to the event loop.
    """

    def __init__(self, runtime: Runtime, limits: Limits, place: Place = store_path) -> None:
        self.workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="reactive_db-worker")
        self.sql_workers = ThreadPoolExecutor(_SQL_WORKERS, thread_name_prefix="reactive_db-sql")
        self.sender = Sender()
        self._runtime = runtime
        self._limits = limits
        self._place = place
        self._open: dict[Path, Served] = {}
        self._lock = threading.Lock()
        """Held for microseconds: the event loop takes it, too."""
        self._opening = [threading.Lock() for _ in range(_WORKERS)]
        """One for the paths of each hash: who asks for a store that is being opened waits, and nearly nobody else."""
        # A thread that computes gives way to the event loop this often: with Python's own 5 ms, a commit from another
        # kernel takes 4.5 ms instead of 2.2.
        sys.setswitchinterval(_SWITCH_SECONDS)

    def open(self, target: str, may_create: bool, may_name_paths: bool = True) -> Served:
        """The store of a name or a path, opened if need be. May take long: call it on a worker.

        Raises:
            NotAStoreError: it is a path, and the caller has no business with the files of this server.
            StoreError: it cannot be opened; StoreLockedError names the process that has it.
            PermissionDeniedError: there is none yet, and the caller may not make one.
            LimitError: too many others are open.
        """
        path = self._place(target) if may_name_paths else self._place(_plain(target))
        with self._turn_of(path):
            found = self._usable(path)
            if found is not None:
                return found
            if not may_create and not path.exists():
                raise PermissionDeniedError(
                    f"there is no store {target!r} on this server yet. Whoever may write makes it by connecting to it."
                )
            if len(self._open) >= limits.STORES_OPEN_MAX:
                raise LimitError(
                    f"this server has {limits.STORES_OPEN_MAX} stores open (STORES_OPEN_MAX). Restart it to close "
                    "those that nobody uses, or keep more tables in one store.",
                    limit="STORES_OPEN_MAX",
                )
            served = Served(path.stem, Store.open(path, self._runtime, self._limits))
            with self._lock:
                self._open[path] = served
            return served

    def all_open(self, with_paths: bool = True) -> dict[str, Served]:
        """Every store that is open, by what a caller names it, in order; those that only have a path if asked."""
        with self._lock:
            found = [(self._target(path), served) for path, served in self._open.items()]
        return {target: served for target, served in sorted(found) if with_paths or _NAME.fullmatch(target)}

    def _turn_of(self, path: Path) -> threading.Lock:
        return self._opening[hash(path) % len(self._opening)]

    def _usable(self, path: Path) -> Served | None:
        """The store that is open there; one that a disk has failed is closed, to be opened again."""
        with self._lock:
            found = self._open.get(path)
            if found is None or not found.store.has_failed:
                return found
            del self._open[path]
        with suppress(StoreError):  # all that matters of it is in its journal
            found.close()
        return None

    def submit(self, work: Callable[[], None]) -> None:
        """Call `work` soon on a worker; after `close`, not at all."""
        with suppress(RuntimeError):
            self.workers.submit(work)

    def submit_sql(self, work: Callable[[], None]) -> None:
        """The same, on a worker of SQL's own."""
        with suppress(RuntimeError):
            self.sql_workers.submit(work)

    def _target(self, path: Path) -> str:
        """The name of a store that has one here, else its path."""
        try:
            return path.stem if self._place(path.stem) == path else str(path)
        except NotAStoreError:
            return str(path)

    def close(self) -> None:
        """Close every store; what is acknowledged is on the disk already."""
        self.workers.shutdown(cancel_futures=True)
        self.sql_workers.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for served in self._open.values():
                served.close()  # which ends what runs there
            self._open.clear()
        self.sql_workers.shutdown()


def named_in(folder: Path) -> Place:
    """Stores by plain names, all in `folder`: whoever comes from elsewhere has no business with other paths here."""

    return lambda target: folder / f"{_plain(target)}.rdb"


def _plain(target: str) -> str:
    """Raises NotAStoreError unless it is a plain name."""
    if _NAME.fullmatch(target):
        return target
    raise NotAStoreError(
        f"{target!r} names no store of this server. Its stores have plain names such as `course`: letters, "
        f"digits, `_` and `-`, at most {limits.STORE_NAME_LENGTH_MAX}; paths are for servers of your own."
    )
