"""Ids: typed references to documents, readable as 32 characters, in Convex's IDv6 form.

An id is `VInt(table number)`, 16 internal bytes (14 random, then the day, so that ids of one day cluster) and a
Fletcher-16 checksum, in lowercase Crockford base 32. With table numbers of two bytes every id has 32 characters;
index keys rely on that.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from operator import mul
from types import GenericAlias
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import numpy as np

from reactive_db.errors import IdError

D = TypeVar("D")

ID_LENGTH: Final = 32
RANDOM_BYTES: Final = 14
"""Randomness that one new id takes."""
USER_TABLES_FROM: Final = 10_001
TABLE_NUMBER_MAX: Final = 16_383

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = [a + b for a in _ALPHABET for b in _ALPHABET]
# Python's own digits that no id has must not pass for others.
_TO_PYTHON_BASE_32: Final = str.maketrans(_ALPHABET + "ilou", "0123456789abcdefghijklmnopqrstuv!!!!")
_WEIGHTS: Final = tuple(range(18, 0, -1))
_MILLISECONDS_PER_DAY: Final = 86_400_000


class Id(str, Generic[D]):
    """A reference to a document of class `D`; at run time a string of 32 characters.

    In annotations `Id[Message]`, `Id["Message"]` (a class declared later) or `Id["messages"]` (its table).
    """

    __slots__ = ()

    if not TYPE_CHECKING:
        # A name stays a name until a value has to be checked, so it may be declared later or in another cell.
        def __class_getitem__(cls, target: object) -> GenericAlias:
            # msgspec puts an annotation together again as `Id[(target,)]`.
            target = target[0] if isinstance(target, tuple) else target
            if isinstance(target, str):
                target = Named(target, sys._getframe(1).f_globals.get("__name__", ""))
            return GenericAlias(cls, (target,))


@dataclass(frozen=True, slots=True)
class Named:
    """The target of `Id["…"]`: the name of a document class or of a table, and the module it was written in."""

    name: str
    module: str


def new_id(table: int, entropy: bytes, now: float) -> Id[object]:
    """A fresh id in table number `table`, from `RANDOM_BYTES` random bytes and the time in ms since the epoch."""
    body = _table_prefix(table) + entropy + _day(now)
    number = int.from_bytes(body + _fletcher16(body), "big")
    return Id("".join([_PAIRS[number >> shift & 1023] for shift in range(150, -1, -10)]))


def new_ids(table: int, count: int, entropy: bytes, now: float) -> list[Id[object]]:
    """`count` fresh ids at once: what `new_id` gives, 15 times as fast, for bulk loads."""
    raw = np.empty((count, 20), dtype=np.uint8)
    raw[:, :2] = np.frombuffer(_table_prefix(table), dtype=np.uint8)
    raw[:, 2:16] = np.frombuffer(entropy, dtype=np.uint8).reshape(count, RANDOM_BYTES)
    raw[:, 16:18] = np.frombuffer(_day(now), dtype=np.uint8)
    body = raw[:, :18].astype(np.uint32)
    raw[:, 18] = body.sum(axis=1) % 255
    raw[:, 19] = (body * np.array(_WEIGHTS, dtype=np.uint32)).sum(axis=1) % 255
    # Five bytes are eight digits: four groups to an id.
    groups = raw.reshape(count * 4, 5).astype(np.uint64) @ (1 << np.arange(32, -1, -8, dtype=np.uint64))
    digits = groups[:, None] >> np.arange(35, -1, -5, dtype=np.uint64) & 31
    text = np.frombuffer(_ALPHABET.encode(), dtype=np.uint8)[digits].tobytes().decode()
    return [Id(text[at : at + ID_LENGTH]) for at in range(0, count * ID_LENGTH, ID_LENGTH)]


def table_number(text: str) -> int:
    """The number of the table that an id belongs to.

    Raises:
        IdError: `text` is no id: wrong length, alphabet or checksum.
    """
    if not isinstance(text, str):
        raise IdError(f"expected an id, a string of {ID_LENGTH} characters, got `{type(text).__name__}`.")
    if len(text) != ID_LENGTH:
        raise IdError(f"{text!r} is no id: an id has {ID_LENGTH} characters, this has {len(text)}.")
    try:
        raw = int(text.translate(_TO_PYTHON_BASE_32), 32).to_bytes(20, "big")
    except (ValueError, OverflowError):
        raise IdError(f"{text!r} is no id: it has characters that no id has.") from None
    if _fletcher16(raw[:18]) != raw[18:] or not raw[0] & 0x80 or not 0 < raw[1] < 0x80 or text.lower() != text:
        raise IdError(f"{text!r} is no id: its checksum does not match; a character may have changed.")
    return raw[0] & 0x7F | raw[1] << 7


def known_table_number(id: Id[object]) -> int:
    """What `table_number` gives, 20 times as fast, for an `Id` of a table seen before; its checksum is not looked at.

    The table's number lies in the first 16 bits, so four characters tell it.
    """
    prefix = id[:4]
    number = _known.get(prefix)
    if number is None:
        number = _known[prefix] = table_number(id)
    return number


_known: dict[str, int] = {}
"""By the first four characters of valid ids: at most 16 entries a table."""


def internal_number(text: str) -> int:
    """64 random bits of a valid id, signed: a row key for columns. Two ids may share it."""
    raw = int(text.translate(_TO_PYTHON_BASE_32), 32).to_bytes(20, "big")
    return int.from_bytes(raw[2:10], "big", signed=True)


def _table_prefix(table: int) -> bytes:
    return bytes((table & 0x7F | 0x80, table >> 7))


def _day(now: float) -> bytes:
    return (int(now // _MILLISECONDS_PER_DAY) & 0xFFFF).to_bytes(2, "big")


def _fletcher16(body: bytes) -> bytes:
    return bytes((sum(body) % 255, sum(map(mul, body, _WEIGHTS)) % 255))
