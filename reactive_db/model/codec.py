"""Between Python objects, plain values and stored bytes; the one place that knows how msgspec is used.

Plain values are what a document is made of without its classes: None, bool, int, float, str, bytes, datetime, date,
Decimal, list, dict. `Converter` turns plain values into typed ones and checks them on the way, strictly.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Final, Self, cast
from uuid import UUID

import msgspec

from reactive_db.errors import IdError
from reactive_db.model.documents import Document, declared_document, table_of
from reactive_db.model.ids import Id, Named, known_table_number, table_number

# UUID is no value of ours; naming it here keeps it from turning into a string unseen.
_PLAIN: Final = (bytes, datetime, date, Decimal, UUID)
_FAULT: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)

TableNumbers = Callable[[str], int | None]
"""From a table's name to its number in a store, None if the store has no such table."""


class Fault(ValueError):
    """A value that does not fit: what is wrong with it, and where, as `$.field[2].name`."""

    def __init__(self, what: str, path: str = "$") -> None:
        super().__init__(f"{what} - at `{path}`" if path != "$" else what)
        self.what = what
        self.path = path


class OneOf:
    """A union that msgspec has no word for: the first of `members` that a value fits. Subclassed per union."""

    members: ClassVar[tuple[Any, ...]] = ()


class Exactly:
    """One float, which `Literal` has no room for. Subclassed per value."""

    value: ClassVar[float] = 0.0


def to_plain(value: Any) -> Any:
    """`value` without classes and without anything shared with it.

    Raises:
        Fault: something in it is no value.
    """
    try:
        return msgspec.to_builtins(value, builtin_types=_PLAIN, enc_hook=_plain_or_fault)
    except RecursionError:
        raise Fault("it contains itself, or is nested deeper than any document may be") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise Fault(str(error)) from None


def _id_text(value: Any) -> str:
    if isinstance(value, Id):
        return str(value)
    raise TypeError(f"a `{type(value).__name__}` is no value that can be stored")


encoder: Final = msgspec.msgpack.Encoder(enc_hook=_id_text)
"""Of documents to bytes; ids, the one type of ours in a document, are strings there."""


def decoder(type_: Any) -> msgspec.msgpack.Decoder[Any]:
    """Of bytes that `encoder` wrote: nothing is checked beyond the types."""
    return msgspec.msgpack.Decoder(type_, dec_hook=_trusted)


class Converter:
    """Turns plain values into typed ones for one store, whose tables decide which ids are right."""

    def __init__(self, table_numbers: TableNumbers) -> None:
        self._table_numbers = table_numbers

    def convert(self, value: Any, type_: Any) -> Any:
        """`value` as a `type_`, strictly: nothing is parsed or guessed, an int may be a float.

        Raises:
            Fault: it does not fit.
        """
        try:
            return msgspec.convert(value, type_, strict=True, builtin_types=_PLAIN, dec_hook=self._custom)
        except msgspec.ValidationError as error:
            raise fault_of(error) from None
        except RecursionError:
            raise Fault("it contains itself, or is nested deeper than any document may be") from None

    def _custom(self, type_: Any, value: Any) -> Any:
        origin = getattr(type_, "__origin__", type_)
        if origin is Id:
            return self._id(value, *getattr(type_, "__args__", ()))
        if isinstance(origin, type) and issubclass(origin, OneOf):
            return self._first_fit(value, origin.members)
        if isinstance(origin, type) and issubclass(origin, Exactly):
            if type(value) is float and value == origin.value:
                return value
            raise ValueError(f"expected {origin.value!r}, got {value!r}")
        if isinstance(origin, type) and isinstance(value, origin):
            return value
        raise TypeError(f"Expected `{getattr(origin, '__name__', origin)}`, got `{type(value).__name__}`")

    def _id(self, value: Any, target: Any = Any) -> Id[object]:
        if target is Self and (value is None or type(value) is Id):
            return cast("Id[object]", value)  # a document's own id, given by us, or not given yet
        if not isinstance(value, str):
            raise TypeError(f"Expected `Id`, got `{type(value).__name__}`")
        number = known_table_number(value) if type(value) is Id else table_number(value)
        table = _target_table(target)
        if table is not None and number != self._table_numbers(table):
            raise IdError(f"{value!r} is no id of table {table!r}: it belongs to another table or store.")
        return value if type(value) is Id else Id[object](value)

    def _first_fit(self, value: Any, members: tuple[Any, ...]) -> Any:
        faults = []
        for member in members:
            try:
                return self.convert(value, member)
            except Fault as fault:
                faults.append(str(fault))
        raise ValueError(faults[0] if len(faults) == 1 else "no member of the union fits: " + "; ".join(faults))


def fault_of(error: Exception) -> Fault:
    """msgspec's words about a value as a `Fault`, its path joined where one error wraps another."""
    match = cast("re.Match[str]", _FAULT.match(str(error)))
    what, path = match["what"].removesuffix("."), match["path"] or "$"
    inner = _FAULT.match(what)
    if inner is not None and inner["path"]:
        what, path = inner["what"], path + inner["path"].removeprefix("$")
    what = what.replace(" docs/errors/invalid-id.md", "").removesuffix(".")
    return Fault(what[:1].lower() + what[1:], path)


def _target_table(target: Any) -> str | None:
    """The table that `Id[target]` refers to; None where any table will do."""
    if isinstance(target, Named):
        document = declared_document(target.name)
        return target.name if document is None else table_of(document)
    if target is not Self and isinstance(target, type) and issubclass(target, Document) and target is not Document:
        return table_of(target)
    return None


def _plain_or_fault(value: Any) -> Any:
    """What pandas and numpy hand out, as plain values: people write documents from both."""
    if isinstance(value, Id):
        return str(value)
    if hasattr(value, "to_pydatetime") and value == value:  # a Timestamp, but not NaT
        return value.to_pydatetime()
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a `{type(value).__name__}` is no value that a document can hold")


def _trusted(type_: Any, value: Any) -> Any:
    origin = getattr(type_, "__origin__", type_)
    return Id(value) if origin is Id else Converter(lambda _: None)._custom(type_, value)
