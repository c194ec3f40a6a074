"""Checks that a store is whole: every part by itself, and that the parts fit each other.

Changes nothing. The columns are opened for reading only, and the journal, which SQLite cannot open without recovering
it, is read from a copy; it is small, because the columns take from it what they hold. Nothing here repairs anything.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from reactive_db.errors import IdError, NotAStoreError, ReactiveDBError
from reactive_db.model.codec import decoder
from reactive_db.model.ids import USER_TABLES_FROM, table_number
from reactive_db.model.schema import TABLES_NUMBER, TableDefinition
from reactive_db.storage.columns import Columns
from reactive_db.storage.commit import Commit, join_parts
from reactive_db.storage.directory import StoreDirectory
from reactive_db.storage.journal import Journal, SqliteJournal

FAULTS_SHOWN_MAX: Final = 20
"""Of one part; a damaged table would say the same a million times."""

_VIEWS: Final = "SELECT view_name FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal ORDER BY 1"
_HISTORY_SPAN: Final = "SELECT min(ts), max(ts), count(DISTINCT ts), count(*), count(DISTINCT (ts, _id)) FROM _history"
_HISTORY_LAST: Final = 'SELECT _id, arg_max(document IS NULL, ts) AS is_gone FROM _history WHERE "table" = ? GROUP BY 1'

_decode_definition: Final = decoder(TableDefinition).decode


@dataclass(frozen=True, slots=True)
class Part:
    """What was found in one part of a store: in a few words, and what is wrong with it."""

    name: str
    facts: str
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found."""

    path: Path
    parts: tuple[Part, ...]

    @property
    def faults(self) -> list[str]:
        """Every fault, with the part it is in; empty for a sound store."""
        return [f"{part.name}: {fault}" for part in self.parts for fault in part.faults]

    @property
    def is_sound(self) -> bool:
        return not self.faults


def verify(path: Path, begins: Callable[[str], None] = lambda part: None) -> Report:
    """Look at every part of the store directory `path`; nobody else may have it open meanwhile.

    `begins` is told the name of each part before it is looked at. Takes the store's lock.

    Raises:
        StoreLockedError: a process has the store open; the message names it.
        NotAStoreError: there is no store.
        StoreFormatError: a newer version wrote it.
    """
    if not path.is_dir() or not any(path.iterdir()):
        raise NotAStoreError(f"there is no store at {path}. Choose another path.")
    directory = StoreDirectory.open(path)
    try:
        with contextlib.ExitStack() as stack:
            check = _Check(directory, stack)
            return Report(path, tuple(_looked_at(name, look, begins) for name, look in check.parts().items()))
    finally:
        directory.release()


class _Skip(Exception):
    """A part cannot be looked at because another one could not be opened."""


class _Findings:
    """Collects what a part has to say."""

    def __init__(self) -> None:
        self.facts = "not looked at"
        self.faults: Iterator[str] = iter(())


def _looked_at(name: str, look: Callable[[], tuple[str, list[str]]], begins: Callable[[str], None]) -> Part:
    begins(name)
    try:
        facts, faults = look()
    except _Skip as reason:
        return Part(name, str(reason))
    except ReactiveDBError as error:
        return Part(name, "cannot be read", (error.message,))
    shown = faults[:FAULTS_SHOWN_MAX]
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown):,} more.")
    return Part(name, facts, tuple(fault.removeprefix(f"{name}: ") for fault in shown))


class _Check:
    """One look at one store; each method named after a part gives its facts and its faults."""

    def __init__(self, directory: StoreDirectory, stack: contextlib.ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._journal: Journal | None = None
        self._columns: Columns | None = None
        self._definitions: dict[str, TableDefinition] = {}
        self._ids: dict[str, set[str]] = {}
