"""The stores that this server has open, each once, for all who connect."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reactive_db.database import store_path
from reactive_db.engine.store import Store
from reactive_db.limits import Limits
from reactive_db.runtime import Runtime
from reactive_db.sync.served import Served

_WORKERS = 8


class Stores:
    """Opens stores when they are first asked for, and closes them all at the end.

    Attributes:
        workers: where sessions work, so that the event loop never waits.
    """

    def __init__(self, runtime: Runtime, limits: Limits) -> None:
        self.workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="reactive_db-worker")
        self._runtime = runtime
        self._limits = limits
        self._open: dict[Path, Served] = {}
        self._lock = threading.Lock()

    def open(self, target: str) -> Served:
        """The store of a name or a path, opened if need be. May take long: call it on a worker.

        Raises:
            StoreError: it cannot be opened; StoreLockedError names the process that has it.
        """
        path = store_path(target)
        with self._lock:
            found = self._open.get(path)
            if found is None or found.store.has_failed:
                if found is not None:
                    found.close()
                found = self._open[path] = Served(path.stem, Store.open(path, self._runtime, self._limits))
            return found

    def close(self) -> None:
        """Close every store; what is acknowledged is on the disk already."""
        self.workers.shutdown(cancel_futures=True)
        with self._lock:
            for served in self._open.values():
                served.close()
            self._open.clear()
