"""The store directory: where its files are, which format they have, and which one process may open them.

    course.rdb/
        format.json       {"format": 1}; makes the directory a store
        journal.sqlite    the journal, see `journal.py`
        columns.duckdb    the columns, see `columns.py`
        lock              locked by the operating system while a process has the store open
        holder.json       which process that is; only ever read to name it

Nothing here opens the journal or the columns. A directory that is not a store, or not one of ours to open, is
left exactly as it was.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import filelock
import msgspec

from reactive_db.errors import NotAStoreError, StoreError, StoreFormatError, StoreFullError, StoreLockedError
from reactive_db.runtime import SystemRuntime

FORMAT: Final = 1
"""The format this version writes, and the newest it reads."""

_FORMAT_FILE: Final = "format.json"
_HOLDER_FILE: Final = "holder.json"
_LOCK_FILE: Final = "lock"


class _Format(msgspec.Struct):
    format: int


class Holder(msgspec.Struct, frozen=True, omit_defaults=True):
    """The process that has a store open."""

    pid: int
    host: str
    program: str
    since: datetime
    notebook: str | None = None

    def __str__(self) -> str:
        program = self.program if self.notebook is None else f"{self.program}, notebook {self.notebook!r}"
        return f"process {self.pid} on {self.host} ({program}) since {self.since:%Y-%m-%d %H:%M:%S} UTC"


class StoreDirectory:
    """A store directory that belongs to this process until `release`."""

    def __init__(self, path: Path, lock: filelock.BaseFileLock) -> None:
        """Use `open`."""
        self.path = path
        self.journal = path / "journal.sqlite"
        self.columns = path / "columns.duckdb"
        self._lock = lock

    @classmethod
    def open(cls, path: Path, *, must_be_new: bool = False) -> Self:
        """Take the store directory `path`, making it when there is nothing.

        One that must be new is no store, and nobody takes it for one, until `declare` says that it is complete.

        Raises:
            StoreLockedError: another process has it; the message names the process.
            NotAStoreError: there is a file, or a directory with something else in it.
            StoreFormatError: a newer version wrote it.
            StoreFullError: no room on the disk.
            StoreError: it must be new and is not, or the disk refuses.
        """
        try:
            _check(path, must_be_new)
            path.mkdir(parents=True, exist_ok=True)
            lock = _locked(path)
            try:
                # Somebody else may have been faster between the check and the lock.
                _check(path, must_be_new)
                directory = cls(path, lock)
                if not must_be_new and not (path / _FORMAT_FILE).exists():
                    directory.declare()
                _write_durably(path / _HOLDER_FILE, msgspec.json.encode(_this_process()))
            except BaseException:
                lock.release()
                raise
        except StoreError:
            raise
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise StoreFullError(f"no room on the disk for {path}. Make room and connect again.") from error
            raise StoreError(f"cannot open the store {path}: {error}.") from error
        return directory

    def declare(self) -> None:
        """Make the directory a store, durably."""
        _write_durably(self.path / _FORMAT_FILE, msgspec.json.encode(_Format(FORMAT)))

    def release(self) -> None:
        """Let other processes open the store; safe to call again."""
        if self._lock.is_locked:
            (self.path / _HOLDER_FILE).unlink(missing_ok=True)
            self._lock.release()


def is_store(path: Path) -> bool:
    """Whether there is a store, of whatever format, at `path`."""
    return (path / _FORMAT_FILE).is_file()


def _check(path: Path, must_be_new: bool) -> None:
    """Raises what `StoreDirectory.open` says, without changing anything."""
    if not path.exists():
        return
    if not path.is_dir():
        raise NotAStoreError(f"{path} is a file, not a store. Choose another path.")
    names = {entry.name for entry in path.iterdir()}
    # What a process leaves that dies while it makes the directory.
    if names <= {_LOCK_FILE, _HOLDER_FILE, f"{_FORMAT_FILE}.new", f"{_HOLDER_FILE}.new"}:
        return
    if must_be_new:
        raise StoreError(f"{path} exists already. Choose a path where there is nothing yet.")
    if _FORMAT_FILE not in names:
        raise NotAStoreError(f"{path} is a directory with something else in it, not a store. Choose another path.")
    _check_format(path / _FORMAT_FILE)


def _check_format(path: Path) -> None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Format).format
    except msgspec.MsgspecError as error:
        raise NotAStoreError(f"{path} is not the format file of a store: {error}.") from error
    if found > FORMAT:
        message = f"the store {path.parent} has format {found}; this version reads up to {FORMAT}."
        raise StoreFormatError(f"{message} Upgrade reactive_db.")


def _locked(path: Path) -> filelock.BaseFileLock:
    # Not per thread: a store may be closed by another thread than the one that opened it.
    lock = filelock.FileLock(path / _LOCK_FILE, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        holder = _holder(path)
        who = "another process" if holder is None else str(holder)
        if holder is not None and (holder.pid, holder.host) == (os.getpid(), socket.gethostname()):
            who = f"this very process ({holder.program})"
        message = f"the store {path} is open in {who}."
        raise StoreLockedError(
            f"{message} Close it there (`db.close()`, or restart that kernel) and retry; if that is a server, connect "
            "to its address with its token."
        ) from None
    return lock


def _holder(path: Path) -> Holder | None:
    try:
        return msgspec.json.decode((path / _HOLDER_FILE).read_bytes(), type=Holder)
    except (OSError, msgspec.MsgspecError):
        return None


def _this_process() -> Holder:
    since = datetime.fromtimestamp(SystemRuntime().now() / 1000, UTC)
    notebook = os.environ.get("JPY_SESSION_NAME")
    return Holder(os.getpid(), socket.gethostname(), Path(sys.argv[0] or sys.executable).name, since, notebook)


def _write_durably(path: Path, content: bytes) -> None:
    """Write `path` whole or not at all, also when the power goes."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names of the files in the directory `path` durable, where that is not done by itself."""
    if os.name == "posix":
        directory = os.open(path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
