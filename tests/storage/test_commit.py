"""Commits as bytes: everything comes back, and what is too large for one part is split between documents."""

from __future__ import annotations

import msgspec
import pytest

from reactive_db.model.ids import Id
from reactive_db.storage.commit import (
    COMMIT_PART_BYTES,
    Commit,
    DocumentWrite,
    decode_commit,
    encode_commit,
    join_parts,
)


def write(number: int, size: int = 10) -> DocumentWrite:
    return DocumentWrite(10_001, f"{number:032}", bytes(size))


def test_a_commit_comes_back_as_it_was() -> None:
    commit = Commit(7, 1_700_000_000_000.5, "chat:send", (write(1), DocumentWrite(10_002, "b" * 32, None)))
    ((ts, part),) = encode_commit(commit)
    assert ts == 7
    assert decode_commit(part) == commit
    assert list(join_parts([(ts, part)])) == [commit]


def test_ids_of_their_own_class_are_strings() -> None:
    commit = Commit(1, 0.0, "chat:send", (DocumentWrite(10_001, Id("a" * 32), b""),))
    assert list(join_parts(encode_commit(commit))) == [commit]


def test_a_commit_without_writes_is_one_part() -> None:
    commit = Commit(1, 0.0, "tests:nothing", ())
    assert list(join_parts(encode_commit(commit))) == [commit]


def test_a_large_commit_is_split_into_parts_that_can_be_read_alone() -> None:
    commit = Commit(3, 5.0, "load", tuple(write(number, 2**20) for number in range(20)))
    parts = encode_commit(commit)
    assert len(parts) == 3
    assert all(ts == 3 and len(part) <= COMMIT_PART_BYTES for ts, part in parts)
    assert [len(decode_commit(part).writes) for _, part in parts] == [7, 7, 6]
    assert list(join_parts(parts)) == [commit]


def test_a_document_larger_than_a_part_gets_a_part_of_its_own() -> None:
    writes = (write(1), write(2, COMMIT_PART_BYTES + 1), write(3))
    parts = encode_commit(Commit(1, 0.0, "load", writes))
    assert [decode_commit(part).writes for _, part in parts] == [writes[:1], writes[1:2], writes[2:]]


def test_many_small_writes_are_split_too() -> None:
    commit = Commit(1, 0.0, "load", tuple(DocumentWrite(10_001, "a" * 32, None) for _ in range(300_000)))
    parts = encode_commit(commit)
    assert all(len(part) <= COMMIT_PART_BYTES for _, part in parts)
    assert list(join_parts(parts)) == [commit]


def test_parts_of_several_commits_are_joined_by_timestamp() -> None:
    commits = [
        Commit(1, 1.0, "a", (write(1),)),
        Commit(2, 2.0, "load", tuple(write(number, 2**20) for number in range(9))),
        Commit(3, 3.0, "c", ()),
    ]
    assert list(join_parts(part for commit in commits for part in encode_commit(commit))) == commits


def test_bytes_that_are_no_commit_are_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_commit(b"\xc1")
    with pytest.raises(msgspec.DecodeError):
        decode_commit(msgspec.msgpack.encode([1, 2.0, "x"]))
