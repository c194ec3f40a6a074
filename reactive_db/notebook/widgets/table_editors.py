"""The editors of a table's cells: which one fits a type, and how what people enter becomes a value of that type."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import partial
from types import NoneType, UnionType
from typing import Any, Final, Literal

from reactive_db.errors import ArgumentError, FunctionError
from reactive_db.functions.definitions import Mutation, check_kind
from reactive_db.handles import Connection
from reactive_db.presentation import cell_text

Kind = Literal["text", "number", "check", "choice", "date", "datetime"]
AnyMutation = Mutation[..., Any]
Run = Callable[[Any, Any], Future[Any]]
"""Runs a mutation on the document of an id, with a new value for one of its fields."""

_ID: Final = "id"


@dataclass(frozen=True, slots=True)
class Editor:
    """How the cells of a column are edited.

    Attributes:
        parse: makes a value of what was entered; raises ValueError, or what is caused by anything but text.
        wanted: what that has to be.
        choices: the values to choose from.
        takes_none: whether a cell can be made empty.
    """

    kind: Kind
    parse: Callable[[Any], Any]
    wanted: str
    choices: Sequence[Any] = ()
    takes_none: bool = False

    def value(self, entered: Any) -> Any:
        """What was entered, as a value of the column's type.

        Raises:
            ArgumentError: it is none.
        """
        if self.takes_none and (entered is None or (entered == "" and self.kind != "text")):
            return None
        try:
            return self.parse(entered)
        except (ValueError, TypeError, ArithmeticError, LookupError):
            raise ArgumentError(f"expected {self.wanted}, got {entered!r}.") from None

    def described(self) -> dict[str, Any]:
        """What the page has to know of it."""
        return {
            "kind": self.kind,
            "choices": [cell_text(choice) for choice in self.choices],
            "takes_none": self.takes_none,
        }


class Editors:
    """The editors of a table, by column.

    Args:
        edit: a mutation with the parameters `id` and, by name, the columns it can change; or for each column a
            mutation that takes an id and a value.

    Raises:
        FunctionError: a mutation cannot be run for one cell.
    """

    def __init__(self, db: Connection, edit: AnyMutation | Mapping[str, AnyMutation]) -> None:
        self._db = db
        self._runs: dict[str, Run] = {}
        self.by_column: dict[str, Editor] = {}
        if isinstance(edit, Mapping):
            for name, mutation in edit.items():
                self._add_one(name, mutation)
        else:
            self._add_all(edit)

    def edit(self, column: str, id: Any, entered: Any) -> Future[Any]:
        """Submit the mutation of a column.

        Raises:
            ArgumentError: what was entered is not of the column's type. What the mutation raises is in the future.
        """
        if column not in self.by_column:
            raise ArgumentError(f"column {column!r} cannot be edited.")
        return self._runs[column](id, self.by_column[column].value(entered))

    def _add_all(self, edit: AnyMutation) -> None:
        """One mutation for all columns."""
        check_kind(edit, Mutation)
        parameters = {name: one for name, one in edit.signature.parameters.items() if name != _ID}
        if len(parameters) == len(edit.signature.parameters):
            raise FunctionError(
                f"mutation {edit.name!r} has no parameter 'id'. A table passes `id` and the field that was edited: "
                "`def edit(ctx, id: rdb.Id[Task], done: bool | None = None)`."
            )
        hints = _hints(edit)
        for name, parameter in parameters.items():
            if parameter.default is parameter.empty:
                raise FunctionError(
                    f"parameter {name!r} of mutation {edit.name!r} has no default. A table passes `id` and the one "
                    f"field that was edited: give the others a default, as in `{name}=None`."
                )
            hint = hints.get(name, Any)
            # None says here that another field was edited, so no field can be made None.
            editor = editor_of(_without_none(hint) if parameter.default is None else hint)
            if editor is not None:
                self.by_column[name] = editor
                self._runs[name] = partial(self._run_named, edit, name)

    def _add_one(self, column: str, mutation: AnyMutation) -> None:
        """A mutation of its own for one column."""
        check_kind(mutation, Mutation)
        names = list(mutation.signature.parameters)
        if len(names) < 2:
            raise FunctionError(
                f"mutation {mutation.name!r} of column {column!r} takes {len(names)} arguments; a table passes two: "
                "the id of the document and the new value."
            )
        hint = _hints(mutation).get(names[1], Any)
        editor = editor_of(hint)
        if editor is None:
            raise FunctionError(
                f"parameter {names[1]!r} of mutation {mutation.name!r} has the type `{hint}`, which cannot be edited "
                "in a cell. Text, numbers, bool, dates, Literal and Enum can."
            )
        self.by_column[column] = editor
        self._runs[column] = partial(self._db.submit, mutation)

    def _run_named(self, mutation: AnyMutation, name: str, id: Any, value: Any) -> Future[Any]:
        return self._db.submit(mutation, id=id, **{name: value})


def editor_of(type_: Any) -> Editor | None:
    """The editor that fits a type; None if there is none."""
    inner = _without_none(type_)
    takes_none = inner is not type_
    if typing.get_origin(inner) is Literal:
        return _choice(typing.get_args(inner), takes_none)
    if isinstance(inner, type) and issubclass(inner, Enum):
        return _choice(tuple(inner), takes_none)
    found = _BY_TYPE.get(inner) if isinstance(inner, type) else None
    return None if found is None else Editor(*found, takes_none=takes_none)


def _choice(choices: Sequence[Any], takes_none: bool) -> Editor:
    return Editor("choice", lambda at: choices[int(at)], "one of the choices", choices, takes_none)


def _hints(mutation: AnyMutation) -> dict[str, Any]:
    try:
        return typing.get_type_hints(mutation.function)
    except NameError as error:
        raise FunctionError(f"mutation {mutation.name!r}: an annotation cannot be used: {error}.") from None


def _without_none(type_: Any) -> Any:
    """A type without `None` as one of its members; itself if it has none, or several others."""
    if typing.get_origin(type_) not in (UnionType, typing.Union):
        return type_
    members = [member for member in typing.get_args(type_) if member is not NoneType]
    return members[0] if len(members) == 1 else type_


def _text(entered: Any) -> str:
    if not isinstance(entered, str):
        raise TypeError(entered)
    return entered


def _check(entered: Any) -> bool:
    if not isinstance(entered, bool):
        raise TypeError(entered)
    return entered


def _finite(entered: Any) -> float:
    number = float(_text(entered))
    if not math.isfinite(number):
        raise ValueError(entered)
    return number


def _aware(entered: Any) -> datetime:
    moment = datetime.fromisoformat(entered)
    if moment.tzinfo is None:
        raise ValueError(entered)
    return moment


_BY_TYPE: Final[dict[type, tuple[Kind, Callable[[Any], Any], str]]] = {
    str: ("text", _text, "text"),
    int: ("number", lambda entered: int(_text(entered)), "a whole number"),
    float: ("number", _finite, "a number"),
    Decimal: ("number", lambda entered: Decimal(_text(entered)), "a number"),
    bool: ("check", _check, "true or false"),
    date: ("date", date.fromisoformat, "a date such as 2026-03-01"),
    datetime: ("datetime", _aware, "a time such as 2026-03-01T10:00:00Z"),
}
