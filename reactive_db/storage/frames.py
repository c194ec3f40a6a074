"""What the store and a process that runs a client's SQL say to each other: frames of bytes over a pair of pipes.

Pure but for the two streams that it is given. Nothing in a frame is ever run or unpickled.
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO, Final

import msgspec
import pyarrow as pa

_HEADER: Final = struct.Struct(">BQ")
_MESSAGE_BYTES_MAX: Final = 2**31

ROWS: Final = 1
END: Final = 2


class Load(msgspec.Struct, frozen=True):
    """A table that the process shall have anew: empty, or with the rows of the frames that follow."""

    name: str
    columns: str
    has_rows: bool


class Request(msgspec.Struct, frozen=True):
    """One statement, and how the tables have to change before it runs. The rows of `loads` follow, table by table."""

    statement: str
    parameters: msgspec.Raw
    seconds: float
    result_bytes_max: int
    drops: list[str]
    loads: list[Load]


class Answer(msgspec.Struct, frozen=True):
    """How the statement ended; the rows of its result came before.

    Attributes:
        error: what went wrong, or None.
        is_over: the process cannot be used again.
    """

    error: str | None = None
    is_over: bool = False


encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder().decode
decode_request: Final = msgspec.msgpack.Decoder(Request).decode
decode_answer: Final = msgspec.msgpack.Decoder(Answer).decode


class TooLongError(Exception):
    """A frame is longer than its reader takes."""


def send(stream: BinaryIO, kind: int, data: Any = b"") -> int:
    """Write a frame, unflushed; how many bytes it holds."""
    size = memoryview(data).nbytes
    stream.write(_HEADER.pack(kind, size))
    stream.write(data)
    return size


def receive(stream: BinaryIO, bytes_max: int = _MESSAGE_BYTES_MAX) -> tuple[int, bytes]:
    """The next frame.

    Raises:
        EOFError: the other side is gone.
        TooLongError: it has more than `bytes_max` bytes, none of which were read.
    """
    kind, size = _HEADER.unpack(_read(stream, _HEADER.size))
    if size > bytes_max:
        raise TooLongError
    return kind, _read(stream, size)


def rows_to_bytes(batch: pa.RecordBatch) -> pa.Buffer:
    """Rows with their schema, as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def rows_from_bytes(data: bytes) -> pa.Table:
    """What `rows_to_bytes` wrote."""
    return pa.ipc.open_stream(data).read_all()


def _read(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
