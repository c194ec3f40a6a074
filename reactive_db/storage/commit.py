"""One commit as the journal keeps it: what was written, when and by which function, and its bytes.

Pure: no disk, no database, no clock. A document travels as opaque msgpack bytes; nothing here looks inside.

A commit larger than `COMMIT_PART_BYTES` is kept in several parts. Each part is a commit of its own with the
same `ts`, `time` and `source` and a slice of the writes, so a part can be decoded without its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

COMMIT_PART_BYTES: Final = 8 * 2**20
"""Where a commit is split: far below SQLite's limit for one value, large enough that few commits ever are."""


class DocumentWrite(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The new state of one document."""

    table: int
    id: str
    document: bytes | None
    """A msgpack map of the fields, `_id` and `_creationTime` among them; `None`: the document was deleted."""


class Commit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Everything one transaction wrote, in the order it was written."""

    ts: int
    time: float
    """When it was committed, in milliseconds since the epoch."""
    source: str
    """The function that wrote it, or `load`."""
    writes: tuple[DocumentWrite, ...]


_encode = msgspec.msgpack.Encoder(enc_hook=str).encode  # ids are a subclass of str
_decode = msgspec.msgpack.Decoder(Commit).decode


def encode_commit(commit: Commit) -> list[tuple[int, bytes]]:
    """What `Journal.append` takes: `(ts, part)` of each part, nearly always one."""
    encoded = _encode(commit)
    if len(encoded) <= COMMIT_PART_BYTES:
        return [(commit.ts, encoded)]
    return [(commit.ts, _encode(part)) for part in _split(commit)]


def decode_commit(part: bytes) -> Commit:
    """The commit, or the part of one, that `encode_commit` made.

    Raises:
        msgspec.DecodeError: the bytes are no commit.
    """
    return _decode(part)


def join_parts(parts: Iterable[tuple[int, bytes]]) -> Iterator[Commit]:
    """The commits that `Journal.parts` holds; parts of one commit must follow each other."""
    pending: list[Commit] = []
    for ts, part in parts:
        if pending and pending[0].ts != ts:
            yield _join(pending)
            pending = []
        pending.append(_decode(part))
    if pending:
        yield _join(pending)


def _join(parts: Sequence[Commit]) -> Commit:
    first = parts[0]
    if len(parts) == 1:
        return first
    writes = tuple(write for part in parts for write in part.writes)
    return Commit(first.ts, first.time, first.source, writes)


def _split(commit: Commit) -> Iterator[Commit]:
    begin = size = 0
    for end, write in enumerate(commit.writes):
        # At most 16 bytes of msgpack headers stand around the id and the document.
        added = len(write.id) + len(write.document or b"") + 16
        if size > 0 and size + added > COMMIT_PART_BYTES:
            yield Commit(commit.ts, commit.time, commit.source, commit.writes[begin:end])
            begin, size = end, 0
        size += added
    yield Commit(commit.ts, commit.time, commit.source, commit.writes[begin:])
