"""Index keys: values as bytes that sort like the values, and ranges of such keys.

Comparing two keys with `<` is comparing the encoded values in the total order

    missing < None < int64 < float64 < false < true < string < bytes < array < object < date < datetime < Decimal

which is Convex's up to objects. An int is never equal to a float; floats follow IEEE 754 totalOrder (-NaN < -inf <
-0 < +0 < inf < NaN), strings their code points; arrays and objects compare element by element, the shorter prefix
first, an object as its sorted pairs of name and value; datetimes compare by instant, Decimals by number.

No encoding is a prefix of another, so the keys whose first fields have given values are exactly those that begin
with the encoding of these values. An index key is the index's fields, the creation time, and the id's 32 characters.

Nothing here checks a value (`values.find_fault` does) or knows what an index is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from operator import itemgetter
from typing import Any, Final, NamedTuple

from reactive_db.model.ids import ID_LENGTH, Id
from reactive_db.model.values import MISSING, decimal_units, find_fault

# The first byte of each encoding, in the total order. Zero is none of them: it ends arrays and objects.
_MISSING: Final = b"\x01"
_NULL: Final = b"\x03"
_INT_BELOW_ZERO: Final = 0x04
_INT: Final = 0x05
_FLOAT_BELOW_ZERO: Final = 0x0C
_FLOAT: Final = 0x0D
_FALSE: Final = b"\x0e"
_TRUE: Final = b"\x0f"
_STRING: Final = b"\x10"
_BYTES: Final = b"\x11"
_ARRAY: Final = b"\x12"
_OBJECT: Final = b"\x15"
_DATE: Final = 0x18
_DATETIME_BELOW_ZERO: Final = 0x19
_DATETIME: Final = 0x1A
_DECIMAL: Final = b"\x1b"

# Strings and bytes end with 00 01, and a 00 within is written 00 FF.
_TEXT_END: Final = b"\x00\x01"
_END: Final = b"\x00"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DECIMAL_BYTES: Final = 16
_DECIMAL_BIAS: Final = 2 ** (8 * _DECIMAL_BYTES - 1)

_pack_int = struct.Struct(">Bq").pack
_pack_float = struct.Struct(">Bd").pack
_pack_bits = struct.Struct(">BQ").pack
_unpack_bits = struct.Struct(">xQ").unpack
_ALL_BITS: Final = 2**64 - 1


def encode_value(value: Any) -> bytes:
    """Encode one value, or MISSING, so that byte order is the total order.

    Limits of size and names are not checked, and `value` must not be cyclic; `values.find_fault` does both.

    Raises:
        ValueError: `value` has no place in the order, being of no type of value or beyond its type's bounds.
    """
    kind = type(value)
    if kind is str:
        if "\0" in value:
            return _encode_text(_STRING, value.encode())
        return f"\x10{value}\0\1".encode()
    if kind is int:
        try:
            return _pack_int(_INT_BELOW_ZERO if value < 0 else _INT, value)
        except struct.error:
            raise _refusal(value) from None
    if kind is float and value > 0.0:
        return _pack_float(_FLOAT, value)
    encode = _ENCODERS.get(kind)
    return _encode_other(value) if encode is None else encode(value)


def encode_values(values: Iterable[Any]) -> bytes:
    """Encode the values of several fields, one after the other."""
    return b"".join(map(encode_value, values))


def encode_number(number: float) -> bytes:
    """Encode a float, such as a creation time."""
    if number > 0.0:
        return _pack_float(_FLOAT, number)
    positive = _pack_float(_FLOAT, number)
    (bits,) = _unpack_bits(positive)
    # With the sign bit set, the other bits count downwards.
    return positive if bits < 2**63 else _pack_bits(_FLOAT_BELOW_ZERO, bits ^ _ALL_BITS)


def _encode_int(value: int) -> bytes:
    return encode_value(int(value))


def _encode_string(value: str) -> bytes:
    return _encode_text(_STRING, str.encode(value))


def _encode_bytes(value: bytes) -> bytes:
    return _encode_text(_BYTES, value)


def _encode_text(tag: bytes, text: bytes) -> bytes:
    return tag + text.replace(b"\0", b"\0\xff") + _TEXT_END


def _encode_array(value: Iterable[Any]) -> bytes:
    return b"".join([_ARRAY, *map(encode_value, value), _END])


def _encode_object(value: dict[str, Any]) -> bytes:
    parts = [_OBJECT]
    for name in sorted(value):
        parts.append(encode_value(name))
        parts.append(encode_value(value[name]))
    parts.append(_END)
    return b"".join(parts)


def _encode_date(value: date) -> bytes:
    return _pack_int(_DATE, value.toordinal())


def _encode_datetime(value: datetime) -> bytes:
    if value.utcoffset() is None:
        raise _refusal(value)
    microseconds = (value - _EPOCH) // _MICROSECOND
    return _pack_int(_DATETIME_BELOW_ZERO if microseconds < 0 else _DATETIME, microseconds)


def _encode_decimal(value: Decimal) -> bytes:
    try:
        units = decimal_units(value)
    except (ArithmeticError, ValueError):
        raise _refusal(value) from None
    return _DECIMAL + (units + _DECIMAL_BIAS).to_bytes(_DECIMAL_BYTES, "big")


_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    str: _encode_string,
    Id: _encode_string,
    int: _encode_int,
    float: encode_number,
    bytes: _encode_bytes,
    list: _encode_array,
    tuple: _encode_array,
    dict: _encode_object,
    datetime: _encode_datetime,  # before its base, for `_encode_other`
    date: _encode_date,
    Decimal: _encode_decimal,
    bool: lambda value: _TRUE if value else _FALSE,
    type(None): lambda value: _NULL,
    type(MISSING): lambda value: _MISSING,
}


def _encode_other(value: object) -> bytes:
    """Encode an enum member as its value, an instance of a subclass as its base."""
    if isinstance(value, Enum):
        return encode_value(value.value)
    for base, encode in _ENCODERS.items():
        if isinstance(value, base):
            return encode(value)
    raise _refusal(value)


def _refusal(value: object) -> ValueError:
    fault = find_fault(value)
    assert fault is not None, f"{value!r} is a value and must be encoded"
    return ValueError(fault[1])


def document_key(fields: bytes, creation_time: float, id: str) -> bytes:
    """Return the index key of a document from its encoded fields; it is unique because the id is."""
    return fields + encode_number(creation_time) + id.encode()


def key_id(key: bytes) -> str:
    """Return the id of the document that an index key belongs to."""
    return key[-ID_LENGTH:].decode()


class KeyRange(NamedTuple):
    """The keys from `lo` up to, not including, `hi`; with `hi` None all from `lo` on. Empty when `hi <= lo`."""

    lo: bytes
    hi: bytes | None
    prefix: int = 0
    """How many leading bytes of every key inside are fixed by equality: they are `lo[:prefix]`."""

    def contains(self, key: bytes) -> bool:
        """Whether `key` lies inside."""
        return self.lo <= key and (self.hi is None or key < self.hi)

    def overlaps(self, other: KeyRange) -> bool:
        """Whether some possible key lies inside both."""
        lo, hi, _ = self
        other_lo, other_hi, _ = other
        return (hi is None or (lo < hi and other_lo < hi)) and (
            other_hi is None or (lo < other_hi and other_lo < other_hi)
        )


EVERYTHING: Final = KeyRange(b"", None, 0)
"""The range of all keys."""


def prefix_range(prefix: bytes) -> KeyRange:
    """Return the range of all keys that begin with `prefix`."""
    return KeyRange(prefix, successor(prefix), len(prefix))


def successor(prefix: bytes) -> bytes | None:
    """Return the least key greater than all that begin with `prefix`, or None where there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else None


def point(key: bytes) -> KeyRange:
    """Return the range that holds `key` alone."""
    return KeyRange(key, key + b"\0", len(key))


def merge(ranges: Iterable[KeyRange]) -> list[KeyRange]:
    """Return ranges with the same keys, sorted and apart; empty ones vanish.

    Ranges that overlap become one. Ranges that only touch do so when they share their prefix, as the pages of one
    index range do; else the result would fix less by equality than they did.
    """
    merged: list[KeyRange] = []
    for item in sorted(ranges, key=itemgetter(0)):
        if item.hi is not None and item.hi <= item.lo:
            continue
        last = merged[-1] if merged else None
        if last is not None and _are_one(last, item):
            hi = None if last.hi is None or item.hi is None else max(last.hi, item.hi)
            merged[-1] = KeyRange(last.lo, hi, min(last.prefix, item.prefix))
        else:
            merged.append(item)
    return merged


def _are_one(first: KeyRange, second: KeyRange) -> bool:
    """Whether two ranges, the one with the lesser `lo` first, become one in `merge`."""
    if first.hi is None or second.lo < first.hi:
        return True
    fixed = first.prefix
    return second.lo == first.hi and fixed == second.prefix and first.lo[:fixed] == second.lo[:fixed]
