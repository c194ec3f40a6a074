"""What a value is: the sentinel for a missing one, and the search for the first fault in a plain one.

Here live the rules that hold for a value wherever it stands. How values are ordered is in `keys.py`; what a table
allows beyond these rules is its schema's business; nothing here encodes, stores or knows of tables.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import Enum
from typing import Any, Final, TypeAlias

import msgspec

from reactive_db.limits import ARRAY_LENGTH_MAX, NESTING_MAX, OBJECT_FIELDS_MAX, RECORD_KEY_LENGTH_MAX

MISSING: Final = msgspec.UNSET
"""Stands for a field that a document does not have; less than every value. False, and never inside a value.

It is msgspec's own sentinel, so a field that holds it is left out when its document is encoded.
"""

Fault: TypeAlias = tuple[str, str]
"""Where a value is wrong, as `$.field[2].name` with `$` for the value as a whole, and what is wrong with it."""

DECIMAL_DIGITS_MAX: Final = 38
DECIMAL_PLACES_MAX: Final = 9

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
_DECIMAL_UNIT: Final = Decimal(1).scaleb(-DECIMAL_PLACES_MAX)
# Independent of the context that the caller's thread computes in.
_EXACT: Final = Context(prec=DECIMAL_DIGITS_MAX, traps=[Inexact, InvalidOperation])
_ALWAYS_FINE: Final = frozenset({type(None), bool, float, bytes, date})


def find_fault(value: object, *, depth: int = NESTING_MAX) -> Fault | None:
    """Return where and why `value` is no value, or None if it is one; of several faults, the first met.

    A value is None, bool, an int of 64 bits, float, str of valid Unicode, bytes, an aware datetime, date, a Decimal
    that fits DECIMAL(38, 9), an Enum member with such a value, a list or tuple of values, or a dict of them by record
    keys. `depth` says how many levels of lists and dicts `value` may have; a cyclic value has too many.
    """
    fault = _find(value, depth)
    return None if fault is None else (f"${fault[0]}", fault[1])


def decimal_units(value: Decimal) -> int:
    """Return `value` counted in its smallest storable unit, 1e-9.

    Raises:
        decimal.InvalidOperation, ValueError: it does not fit DECIMAL(38, 9) exactly; the latter if it is no number.
    """
    try:
        units = _EXACT.scaleb(_EXACT.quantize(value, _DECIMAL_UNIT), DECIMAL_PLACES_MAX)
    except Inexact as error:
        raise InvalidOperation(str(error)) from None
    return int(units)


def path_step(key: str) -> str:
    """Return how a path goes on into the field `key` of an object."""
    return f".{key}" if key.isidentifier() else f'["{key}"]'


def _find(value: Any, depth: int) -> Fault | None:
    """Do the work of `find_fault`, with the path still without its leading `$`."""
    kind = type(value)
    if kind in _ALWAYS_FINE:
        return None
    if kind is str:
        return None if value.isascii() else _find_in_text(value, depth)
    if kind is int and _INT64_MIN <= value <= _INT64_MAX:
        return None
    find = _FINDERS.get(kind)
    return _find_in_other(value, depth) if find is None else find(value, depth)


def _find_in_int(value: int, depth: int) -> Fault | None:
    if _INT64_MIN <= value <= _INT64_MAX:
        return None
    # Named by its width, because writing out a huge int is slow and can itself fail.
    return "", f"an int of {value.bit_length()} bits does not fit into int64; use a float or a string"


def _find_in_text(value: str, depth: int) -> Fault | None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        surrogate = ord(error.object[error.start])
        return (
            "",
            f"the string has a lone surrogate U+{surrogate:04X} at {error.start}; it must be valid Unicode",
        )
    return None


def _find_in_datetime(value: datetime, depth: int) -> Fault | None:
    if value != value:
        return "", "`NaT` is no time; use None"
    if value.utcoffset() is not None:
        return None
    return "", "the datetime is naive; add a time zone, e.g. `datetime.now(timezone.utc)`"


def _find_in_decimal(value: Decimal, depth: int) -> Fault | None:
    if not value.is_finite():
        return "", f"`{value}` is not a finite Decimal; use a float"
    try:
        decimal_units(value)
    except InvalidOperation:
        whole = DECIMAL_DIGITS_MAX - DECIMAL_PLACES_MAX
        return (
            "",
            f"a Decimal has at most {whole} digits before the point and {DECIMAL_PLACES_MAX} after it; round it",
        )
    return None


def _find_in_array(value: list[Any] | tuple[Any, ...], depth: int) -> Fault | None:
    if depth < 1:
        return "", _too_deep()
    if len(value) > ARRAY_LENGTH_MAX:
        return "", f"an array of {len(value)} elements; at most {ARRAY_LENGTH_MAX} are allowed"
    for position, item in enumerate(value):
        if type(item) not in _ALWAYS_FINE:
            fault = _find(item, depth - 1)
            if fault is not None:
                return f"[{position}]{fault[0]}", fault[1]
    return None


def _find_in_object(value: dict[Any, Any], depth: int) -> Fault | None:
    if depth < 1:
        return "", _too_deep()
    if len(value) > OBJECT_FIELDS_MAX:
        return "", f"an object of {len(value)} fields; at most {OBJECT_FIELDS_MAX} are allowed"
    for key, item in value.items():
        message = _key_fault(key)
        if message is not None:
            return "", message
        if type(item) not in _ALWAYS_FINE:
            fault = _find(item, depth - 1)
            if fault is not None:
                return f"{path_step(key)}{fault[0]}", fault[1]
    return None


def _key_fault(key: object) -> str | None:
    if not isinstance(key, str):
        return f"the key {_shortened(key)} is a `{type(key).__qualname__}`; keys of objects are strings"
    if not key:
        return "an empty key; keys of objects have at least one character"
    if len(key) > RECORD_KEY_LENGTH_MAX:
        return f"a key of {len(key)} characters; at most {RECORD_KEY_LENGTH_MAX} are allowed"
    if not (key.isascii() and key.isprintable()):
        return f"the key {_shortened(key)} has characters other than printable ASCII; use an array of pairs"
    if key[0] in "$_":
        return f"the key {_shortened(key)} begins with `{key[0]}`, which is kept for the system"
    return None


def _find_in_other(value: object, depth: int) -> Fault | None:
    """Judge an enum member by its value, an instance of a subclass by its base, and refuse the rest."""
    if isinstance(value, Enum):
        return _find(value.value, depth)
    for base in _BASES:
        if isinstance(value, base):
            return _FINDERS[base](value, depth)
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return "", f"`{name}` is not a type of value; {_remedy(value)}"


def _remedy(value: object) -> str:
    if value is MISSING:
        return "leave the field out, or use None"
    if isinstance(value, (set, frozenset)):
        return "use a list"
    if isinstance(value, (bytearray, memoryview)):
        return "use bytes"
    if hasattr(value, "tolist"):
        return "use `.tolist()` to make it a plain one"
    return "use None, bool, int, float, str, bytes, datetime, date, Decimal, list or dict"


def _too_deep() -> str:
    return f"nested too deep; at most {NESTING_MAX} levels of arrays and objects are allowed, and no cycles"


def _shortened(key: object) -> str:
    # Only strings are written out: another object's repr is user code and may be endless.
    if not isinstance(key, str):
        return f"of type `{type(key).__qualname__}`"
    return ascii(key if len(key) <= 40 else f"{key[:40]}…")


def _find_nothing(value: object, depth: int) -> Fault | None:
    return None


_FINDERS: Final[dict[type, Callable[[Any, int], Fault | None]]] = {
    int: _find_in_int,
    str: _find_in_text,
    datetime: _find_in_datetime,
    Decimal: _find_in_decimal,
    list: _find_in_array,
    tuple: _find_in_array,
    dict: _find_in_object,
    float: _find_nothing,
    bytes: _find_nothing,
    date: _find_nothing,
}

# In this order an instance of a subclass looks for its base: a datetime is a date too.
_BASES: Final[tuple[type, ...]] = tuple(_FINDERS)
