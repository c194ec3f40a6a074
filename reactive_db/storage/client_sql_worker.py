"""The process in which clients' SQL runs: `python -c "…; main()"`, started by `client_sql.py`.

It has only the rows that it was given, and neither files, network, environment nor a way to change its settings.
That bounds what a statement sees; the limits of the operating system bound its memory, also where DuckDB does not
count (measured: `repeat` over 1,000 rows took 6 GB under a limit of 200 MB, and no interrupt for 55 s); and whoever
started the process kills it when the time is up.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import duckdb
import pyarrow as pa

from reactive_db.errors import SqlError
from reactive_db.runtime import SystemRuntime
from reactive_db.storage.column_types import quoted
from reactive_db.storage.frames import (
    END,
    ROWS,
    Answer,
    Load,
    Request,
    decode,
    decode_request,
    encode,
    receive,
    rows_from_bytes,
    rows_to_bytes,
    send,
)
from reactive_db.storage.sql import check_for_client

_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "threads": "1",
    "temp_directory": "",
    "max_temp_directory_size": "0B",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
}
_SETTINGS: Final = (
    "SET TimeZone = 'UTC'",
    "SET enable_progress_bar = false",
    "SET arrow_large_buffer_size = true",  # so that results have the types that `Columns.query` gives
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)
_BATCH_ROWS: Final = 2_048
_GRACE_SECONDS: Final = 5.0
_MEMORY_ERRORS: Final = (duckdb.OutOfMemoryException, duckdb.FatalException, MemoryError, pa.ArrowMemoryError)


class Worker:
    """One locked DuckDB in memory, and the tables it was given so far."""

    def __init__(self, memory_bytes_max: int) -> None:
        self._memory_bytes_max = memory_bytes_max
        self._tables: set[str] = set()
        config = {**_CONFIG, "memory_limit": f"{memory_bytes_max}B"}
        self._connection = duckdb.connect(":memory:", config=config)
        for setting in _SETTINGS:
            self._connection.execute(setting)

    def run(self, requests: BinaryIO, answers: BinaryIO) -> Answer:
        """Serve one request; its rows go out on the way.

        Raises:
            EOFError: nobody asks any more.
        """
        request = decode_request(receive(requests)[1])
        # Should the one who asked be gone, nobody else would end an endless statement.
        timer = SystemRuntime().call_later(request.seconds + _GRACE_SECONDS, lambda: os._exit(1))
        try:
            self._load(request, requests)
            self._answer(request, answers)
        except _MEMORY_ERRORS:
            return Answer(self._too_big(), is_over=True)
        except (SqlError, duckdb.Error, pa.ArrowException) as error:
            return Answer(_message(error))
        except RuntimeError as error:  # of DuckDB's binding, for parameters that it does not understand
            return Answer(str(error))
        finally:
            timer.cancel()
        return Answer()

    def _load(self, request: Request, requests: BinaryIO) -> None:
        for name in request.drops:
            self._connection.execute(f"DROP TABLE {quoted(name)}")
            self._tables.remove(name.casefold())
        for load in request.loads:
            self._connection.execute(f"CREATE TABLE {quoted(load.name)} ({load.columns})")
            self._tables.add(load.name.casefold())
            if load.has_rows:
                self._insert(load, requests)

    def _insert(self, load: Load, requests: BinaryIO) -> None:
        for rows in _rows(requests):
            self._connection.register("incoming rows", rows)
            self._connection.execute(f'INSERT INTO {quoted(load.name)} SELECT * FROM "incoming rows"').fetchall()
            self._connection.unregister("incoming rows")

    def _answer(self, request: Request, answers: BinaryIO) -> None:
        with contextlib.closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            check_for_client(cursor, request.statement, self._tables)
            relation = cursor.sql(request.statement, params=decode(request.parameters))
            reader = relation.to_arrow_reader(_BATCH_ROWS)
            none = pa.RecordBatch.from_pylist([], schema=reader.schema)
            left = request.result_bytes_max - send(answers, ROWS, rows_to_bytes(none))
            for batch in reader:
                data = rows_to_bytes(batch)
                left -= data.size
                if left < 0:
                    raise SqlError(result_too_big(request.result_bytes_max))
                send(answers, ROWS, data)

    def _too_big(self) -> str:
        return (
            f"the statement takes more memory than the {self._memory_bytes_max} bytes a client's may "
            "(CLIENT_SQL_MEMORY_BYTES_MAX). Filter or aggregate earlier."
        )


def main() -> None:
    """Serve requests from standard input, with at most so much memory as the first argument says, until it ends."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Whatever a library may print would be no frame.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    memory_bytes_max = int(sys.argv[1])
    worker = Worker(memory_bytes_max)
    limit_process(memory_bytes_max)
    answer = Answer()
    while not answer.is_over:
        send(answers, END, encode(answer))
        answers.flush()
        try:
            answer = worker.run(requests, answers)
        except EOFError:
            return
    send(answers, END, encode(answer))
    answers.flush()
    os._exit(0)  # with no memory left, an orderly end may fail


def limit_process(memory_bytes_max: int) -> None:
    """Let the system refuse files, and memory beyond twice as much as DuckDB may count; nothing where it cannot."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 2 * memory_bytes_max
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def result_too_big(bytes_max: int) -> str:
    """The words for a result that is too big."""
    return (
        f"the result has more than {bytes_max} bytes (CLIENT_SQL_RESULT_BYTES_MAX). "
        "Ask for fewer rows or columns, or for one page at a time with LIMIT and OFFSET."
    )


def _rows(requests: BinaryIO) -> Iterator[pa.Table]:
    while True:
        kind, data = receive(requests)
        if kind != ROWS:
            return
        yield rows_from_bytes(data)


def _message(error: Exception) -> str:
    return error.message if isinstance(error, SqlError) else str(error).strip()
