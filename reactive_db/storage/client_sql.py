"""Processes that run clients' SQL, from the store's side: who has a turn, what each process knows, when it is killed.

Nothing of a client's is parsed or run in this process: DuckDB counts only part of the memory that a statement takes
and cannot always be interrupted, and a row that never left this process cannot leak. `client_sql_worker.py` is the
other side.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

import duckdb
import msgspec
import pyarrow as pa

from reactive_db import limits
from reactive_db.errors import SqlError, StoreClosedError, StoreError
from reactive_db.runtime import SystemRuntime, Timer
from reactive_db.storage.client_sql_worker import result_too_big
from reactive_db.storage.client_tables import ClientTable, Version
from reactive_db.storage.frames import (
    END,
    ROWS,
    Load,
    Request,
    TooLongError,
    decode_answer,
    encode,
    receive,
    rows_from_bytes,
    rows_to_bytes,
    send,
)

_MAIN: Final = "import sys; sys.path[:] = {path}; from reactive_db.storage.client_sql_worker import main; main()"
# What finding shared libraries may need; whatever else the server's environment holds is nobody's business.
_ENVIRONMENT: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
# Each arena of glibc's reserves 64 MB of addresses, which are what the system's limit counts.
_ARENAS: Final = {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"}
_LOAD_ROWS: Final = 8_192
_FRAME_SLACK_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class ClientSqlLimits:
    """What one statement of a client may use, and how many run at once."""

    seconds: float = limits.CLIENT_SQL_SECONDS_MAX
    memory_bytes_max: int = limits.CLIENT_SQL_MEMORY_BYTES_MAX
    read_bytes_max: int = limits.CLIENT_SQL_READ_BYTES_MAX
    result_bytes_max: int = limits.CLIENT_SQL_RESULT_BYTES_MAX
    characters_max: int = limits.CLIENT_SQL_CHARACTERS_MAX
    at_once_max: int = limits.CLIENT_SQL_AT_ONCE_MAX


class ClientSql:
    """Gives turns, each with a process of its own; keeps idle processes for the next.

    Responsibilities: at most so many at once, first come first served; a process that is not known to be idle is
    killed. Not: which rows go to a process.
    """

    def __init__(self, limits: ClientSqlLimits) -> None:
        self._limits = limits
        self._changed = threading.Condition()
        self._waiting: list[object] = []
        self._running: set[_Turn] = set()
        self._idle: list[_Process] = []
        self._is_closed = False

    @contextlib.contextmanager
    def turn(self) -> Iterator[_Turn]:
        """Wait for a turn and have it inside the block. Its time begins when the process is there.

        Raises:
            SqlError: the time was up, or the process failed.
            StoreClosedError: closed before or meanwhile.
        """
        turn = self._begin()
        try:
            turn.start()
            yield turn
        except (EOFError, OSError, SqlError) as error:
            if turn.is_killed or isinstance(error, EOFError | BrokenPipeError):
                raise self._end_of(turn) from error
            raise
        finally:
            self._finish(turn)

    def close(self) -> None:
        """Kill every process and refuse further turns; safe to call again."""
        with self._changed:
            self._is_closed = True
            for turn in self._running:
                turn.kill()
            for process in self._idle:
                process.end()
            self._idle.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._running)

    def _begin(self) -> _Turn:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._is_closed or self._is_next(ticket))
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            if self._is_closed:
                raise _closed()
            turn = _Turn(self._limits, self._idle.pop() if self._idle else None)
            self._running.add(turn)
            return turn

    def _is_next(self, ticket: object) -> bool:
        return self._waiting[0] is ticket and len(self._running) < self._limits.at_once_max

    def _finish(self, turn: _Turn) -> None:
        process = turn.finish()
        with self._changed:
            self._running.remove(turn)
            if process is not None:
                if self._is_closed:
                    process.end()
                else:
                    self._idle.append(process)
            self._changed.notify_all()

    def _end_of(self, turn: _Turn) -> SqlError | StoreClosedError:
        if self._is_closed:
            return _closed()
        if turn.is_expired:
            return SqlError(
                f"the statement ran longer than the {self._limits.seconds:g} seconds a client's may "
                "(CLIENT_SQL_SECONDS_MAX). Read fewer rows, or bound what it generates."
            )
        return SqlError(
            "the process that ran the statement died; most likely the statement took more memory than the "
            f"{self._limits.memory_bytes_max} bytes a client's may (CLIENT_SQL_MEMORY_BYTES_MAX)."
        )


class _Turn:
    """One statement in one process. `send` and `result` are called once each, in this order."""

    def __init__(self, limits: ClientSqlLimits, process: _Process | None) -> None:
        self._limits = limits
        self._process = process
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._lock = threading.Lock()
        self._timer: Timer | None = None
        self._is_clean = True
        self.is_killed = self.is_expired = False

    def start(self) -> None:
        """Have a process and let the time begin."""
        runtime = SystemRuntime()
        if self._process is None:
            process = _Process(self._limits.memory_bytes_max)
            with self._lock:
                self._process = process
                if self.is_killed:
                    process.kill()
            starting = runtime.call_later(limits.CLIENT_SQL_START_SECONDS_MAX, self.kill)
            try:
                process.wait_until_ready()
            finally:
                starting.cancel()
        self._timer = runtime.call_later(self._limits.seconds, self._expire)

    def send(
        self,
        sql: str,
        parameters: Any,
        tables: Sequence[ClientTable],
        mentioned: Collection[str],
        cursor: duckdb.DuckDBPyConnection,
    ) -> None:
        """Send the statement, and with `cursor` the rows of those tables it may read that the process lacks."""
        if len(sql) > self._limits.characters_max:
            raise SqlError(
                f"the statement has {len(sql)} characters, at most {self._limits.characters_max} "
                "(CLIENT_SQL_CHARACTERS_MAX); pass values as parameters."
            )
        raw = _parameters(parameters)
        process = self._its_process()
        self._is_clean = False
        read = [table for table in tables if table.name.casefold() in mentioned]
        drops, loads = process.changes(tables, read)
        request = Request(
            sql,
            raw,
            self._limits.seconds,
            self._limits.result_bytes_max,
            drops,
            [Load(table.name, table.columns, has_rows=table in read) for table in loads],
        )
        with self._lock:
            self._cursor = cursor
        try:
            send(process.requests, END, encode(request))
            self._send_rows(process, [table for table in loads if table in read], cursor)
        finally:
            with self._lock:
                self._cursor = None

    def result(self) -> pa.Table:
        """Wait for the statement's end; its rows."""
        process, parts, left = self._its_process(), [], self._limits.result_bytes_max + _FRAME_SLACK_BYTES
        while True:
            try:
                kind, data = receive(process.answers, left)
            except TooLongError as error:
                raise SqlError(result_too_big(self._limits.result_bytes_max)) from error
            if kind != ROWS:
                break
            left -= len(data)
            parts.append(rows_from_bytes(data))
        answer = decode_answer(data)
        self._is_clean = not answer.is_over
        if answer.error is not None:
            raise SqlError(answer.error)
        return pa.concat_tables(parts)

    def finish(self) -> _Process | None:
        """The process if it can serve again; else it is killed."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            process, is_usable = self._process, self._is_clean and not self.is_killed
            if process is not None and not is_usable:
                process.end()
            # The timer that came too late must not kill the next statement.
            self._process = None
            return process if is_usable else None

    def kill(self) -> None:
        """End it, whatever it does."""
        with self._lock:
            self.is_killed = True
            if self._process is not None:
                self._process.kill()
            if self._cursor is not None:
                self._cursor.interrupt()

    def _expire(self) -> None:
        self.is_expired = True
        self.kill()

    def _its_process(self) -> _Process:
        if self._process is None:
            raise EOFError
        return self._process

    def _send_rows(self, process: _Process, tables: list[ClientTable], cursor: duckdb.DuckDBPyConnection) -> None:
        left = self._limits.read_bytes_max
        for table in tables:
            for data in _rows(table, cursor):
                left -= data.size
                if left < 0:
                    raise SqlError(
                        f"the tables that the statement mentions have more than {self._limits.read_bytes_max} bytes "
                        f"(CLIENT_SQL_READ_BYTES_MAX); {table.name!r} is one of them."
                    )
                send(process.requests, ROWS, data)
            send(process.requests, END)
        process.requests.flush()


class _Process:
    """A running `client_sql_worker`, and which tables it has in which version."""

    def __init__(self, memory_bytes_max: int) -> None:
        path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _MAIN.format(path=path), str(memory_bytes_max)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**environment, **_ARENAS},
                start_new_session=True,  # Ctrl-C in a terminal is not for it
            )
        except OSError as error:
            raise StoreError(f"no process for clients' SQL can be started: {error}.") from error
        self.requests = cast(BinaryIO, self._process.stdin)
        self.answers = cast(BinaryIO, self._process.stdout)
        self._tables: dict[str, tuple[str, Version, bool]] = {}

    def wait_until_ready(self) -> None:
        """Wait until it can be asked.

        Raises:
            StoreError: it does not start.
        """
        try:
            receive(self.answers)
        except EOFError as error:
            raise StoreError("the process that runs clients' SQL does not start.") from error

    def changes(
        self, tables: Sequence[ClientTable], read: Sequence[ClientTable]
    ) -> tuple[list[str], list[ClientTable]]:
        """The tables that it has to drop and to make, so that those in `read` have their rows and the others none
        that are not this client's; from here on it counts as having them.
        """
        wanted = {table.name: table for table in tables}
        drops, loads = [], []
        for name, (columns, version, is_loaded) in list(self._tables.items()):
            table = wanted.get(name)
            is_same = table is not None and table.columns == columns and (not is_loaded or _is_same(table, version))
            if not is_same or (table in read and not is_loaded):
                drops.append(name)
                del self._tables[name]
        for table in tables:
            if table.name not in self._tables:
                loads.append(table)
                self._tables[table.name] = table.columns, table.version, table in read
        return drops, loads

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def end(self) -> None:
        """End it and let go of it."""
        self._process.kill()
        self._process.wait()
        for stream in (self.requests, self.answers):
            with contextlib.suppress(OSError):
                stream.close()


def _is_same(table: ClientTable, version: Version) -> bool:
    return version is not None and table.version == version


def _rows(table: ClientTable, cursor: duckdb.DuckDBPyConnection) -> Iterator[pa.Buffer]:
    try:
        for batch in cursor.sql(table.rows_sql).to_arrow_reader(_LOAD_ROWS):
            yield rows_to_bytes(batch)
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        # DuckDB's words may quote a value that this viewer may not see; they are the cause, for the server's log.
        raise SqlError(f"which rows of {table.name!r} this viewer may see cannot be told.") from error


def _parameters(parameters: Any) -> msgspec.Raw:
    try:
        return msgspec.Raw(encode(parameters))
    except (TypeError, ValueError, OverflowError) as error:
        raise SqlError(f"a parameter is no plain value: {error}.") from error


def _closed() -> StoreClosedError:
    return StoreClosedError("the store is closed; connect again.")
