"""The columns of a table: what they hold, how wide they are, how a value looks in them, and what they can be
filtered by. Pure.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Literal

import msgspec

from reactive_db import limits
from reactive_db.errors import ArgumentError
from reactive_db.notebook.widgets.table_rows import Rows, Test
from reactive_db.presentation import cell_text

Kind = Literal["text", "number", "check"]
Cell = str | bool | tuple[str, str | None] | None
"""A value for the page: its text; or that and its exact text, None where it is too long to be shown or edited."""

_WIDTH_MIN: Final = 6
_WIDTH_MAX: Final = 32
_HEAD_EXTRA: Final = 3
"""Room beside a column's name for the mark that says how it is sorted."""

_NUMBER: Final = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_COMPARED: Final = re.compile(rf"(>=|<=|>|<|=)?\s*({_NUMBER})", re.IGNORECASE)
_BETWEEN: Final = re.compile(rf"({_NUMBER})?\s*\.\.\s*({_NUMBER})?", re.IGNORECASE)
_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "": operator.eq,
    "=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_WORDS: Final = {True: ("true", "yes", "1"), False: ("false", "no", "0")}


@dataclass(frozen=True, slots=True)
class Column:
    """One column; its width is in digits."""

    name: str
    kind: Kind
    width: int
    is_known: bool
    """Whether any row has told what it holds."""


def columns_of(rows: Rows, names: Sequence[str]) -> list[Column]:
    """The columns of these names, as a sample of the rows shows them."""
    # The first rows, because they are seen first, and as many from all over.
    size, step = min(len(rows), limits.TABLE_SAMPLE_ROWS), max(1, len(rows) // limits.TABLE_SAMPLE_ROWS)
    sample = [*range(size), *range(size, len(rows), step)]
    return [_column(name, [value for value in rows.values(name, sample) if _is_something(value)]) for name in names]


def _column(name: str, values: list[Any]) -> Column:
    kinds = set(map(type, values))
    kind: Kind = "text"
    if kinds == {bool}:
        kind = "check"
    elif kinds and all(issubclass(one, int | float | Decimal) and one is not bool for one in kinds):
        kind = "number"
    longest = max((len(shown_text(value)) for value in values), default=0)
    width = min(max(longest, len(name) + _HEAD_EXTRA, _WIDTH_MIN), _WIDTH_MAX)
    return Column(name, kind, width, bool(values))


# --- cells -----------------------------------------------------------------------------------------------------------


def cell(value: Any) -> Cell:
    """A value for the page."""
    if value is None or value is msgspec.UNSET:
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return cell(value.value)
    shown, exact = shown_text(value), repr(value) if isinstance(value, float) else _long_text(value)
    if len(exact) > limits.TABLE_CELL_CHARACTERS_MAX:
        return exact[: limits.TABLE_CELL_CHARACTERS_MAX] + "…", None
    return shown if shown == exact else (shown, exact)


def shown_text(value: Any) -> str:
    """A value in a cell: what `cell_text` makes of it, but as long as it is."""
    return cell_text(value) if isinstance(value, float) else _long_text(value)


def _long_text(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    return str(value) if isinstance(value, str | int | Decimal | list | dict | msgspec.Struct) else cell_text(value)


def _is_something(value: Any) -> bool:
    return value is not None and value is not msgspec.UNSET


# --- filters ---------------------------------------------------------------------------------------------------------


def filter_of(kind: Kind, text: str) -> Test:
    """The test that a value has to pass.

    Raises:
        ArgumentError: the text is no filter for such a column; says what is.
    """
    text = text.strip()
    if kind == "number":
        return _number_test(text)
    if kind == "check":
        return _check_test(text)
    needle = text.casefold()
    return lambda value: _is_something(value) and needle in shown_text(value).casefold()


def _number_test(text: str) -> Test:
    if (found := _COMPARED.fullmatch(text)) is not None:
        compare, number = _OPERATORS[found[1] or ""], _number(found[2])
        return lambda value: _is_number(value) and bool(compare(value, number))
    if text != ".." and (found := _BETWEEN.fullmatch(text)) is not None:
        low = _number(found[1]) if found[1] else -math.inf
        high = _number(found[2]) if found[2] else math.inf
        return lambda value: _is_number(value) and bool(low <= value <= high)
    raise ArgumentError("Numbers: 5, > 5, <= 3 or 1..9.")


def _check_test(text: str) -> Test:
    for wanted, words in _WORDS.items():
        if any(word.startswith(text.casefold()) for word in words):
            return lambda value: value is wanted
    raise ArgumentError("true or false.")


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool) and value == value
