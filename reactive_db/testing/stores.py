"""Stores in memory for tests: fresh each time, where `rdb.connect()` gives the whole process the same one."""

from __future__ import annotations

from reactive_db.database import Database
from reactive_db.engine.store import Store
from reactive_db.limits import Limits
from reactive_db.runtime import Runtime
from reactive_db.storage.columns import Columns
from reactive_db.storage.journal import Journal, MemoryJournal
from reactive_db.testing.runtime import SeededRuntime


def memory_store(
    runtime: Runtime | None = None,
    *,
    journal: Journal | None = None,
    limits: Limits | None = None,
    validates: bool = True,
) -> Store:
    """A store that ends with its process; its time and randomness are seeded if no runtime is given.

    With `validates=False` its Committer lets every race be won by both: a store to be caught by a test that can fail.
    """
    return Store(
        journal or MemoryJournal(),
        Columns.open(None),
        runtime or SeededRuntime(0),
        limits or Limits(),
        validates=validates,
    )


def memory_database(
    runtime: Runtime | None = None,
    *,
    journal: Journal | None = None,
    limits: Limits | None = None,
    validates: bool = True,
) -> Database:
    """The same, with functions and handles."""
    return Database(memory_store(runtime, journal=journal, limits=limits, validates=validates))
