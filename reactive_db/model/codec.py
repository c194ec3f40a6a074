"""Between Python objects, plain values and stored bytes; the one place that knows how msgspec is used.

Plain values are what a document is made of without its classes: None, bool, int, float, str, bytes, datetime, date,
Decimal, list, dict. `Converter` turns plain values into typed ones and checks them on the way, strictly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Final, Self, Union, cast
from uuid import UUID

import msgspec

from reactive_db.errors import IdError
from reactive_db.limits import NESTING_MAX
from reactive_db.model.documents import Document, declared_document, table_of
from reactive_db.model.ids import Id, Named, known_table_number, table_number
from reactive_db.model.values import find_fault, path_step

# Those in the second line are no values; naming them here keeps them from turning into strings unseen.
_PLAIN: Final = (
    *(bytes, datetime, date, Decimal),
    *(bytearray, memoryview, time, timedelta, UUID),
)
_FAULT: Final = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`(?P<path>[^`]*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_CYCLIC: Final = "it contains itself, or is nested deeper than any document may be"

TableNumbers = Callable[[str], int | None]
"""From a table's name to its number in a store, None if the store has no such table."""


class Fault(ValueError):
    """A value that does not fit: what is wrong with it, and where, as `$.field[2].name`."""

    def __init__(self, what: str, path: str = "$") -> None:
        super().__init__(f"{what} - at `{path}`" if path != "$" else what)
        self.what = what
        self.path = path


class _Checked(type):
    """Of annotations that stand for values of other types: msgspec asks for an instance after our hook has checked."""

    def __instancecheck__(cls, value: object) -> bool:
        return True


class OneOf(metaclass=_Checked):
    """A union that msgspec has no word for: the first of `members` that a value fits. Subclassed per union."""

    members: ClassVar[tuple[Any, ...]] = ()


def one_of(members: tuple[Any, ...]) -> Any:
    """The annotation of a union, a `OneOf` where msgspec has no word for it."""
    annotation: Any = Union[members]  # noqa: UP007  # from a tuple
    try:
        msgspec.msgpack.Decoder(annotation)
    except TypeError:
        # Two kinds of object, or of array: msgspec tells those apart by tags only, Convex by trying.
        return _Checked("OneOf", (OneOf,), {"members": members})
    return annotation


class Exactly(metaclass=_Checked):
    """One float, which `Literal` has no room for. Subclassed per value."""

    value: ClassVar[float] = 0.0


def exactly(value: float) -> Any:
    """The annotation of one float."""
    return _Checked(f"Exactly {value!r}", (Exactly,), {"value": value})


def to_plain(value: Any) -> Any:
    """`value` without classes and without anything shared with it.

    Raises:
        Fault: something in it is no value.
    """
    try:
        return msgspec.to_builtins(value, builtin_types=_PLAIN, enc_hook=_plain_or_fault)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _first_fault(value) or Fault(str(error)) from None


def _id_text(value: Any) -> str:
    if isinstance(value, Id):
        return str(value)
    raise TypeError(_no_value(value))


encoder: Final = msgspec.msgpack.Encoder(enc_hook=_id_text)
"""Of documents to bytes; ids, the one type of ours in a document, are strings there."""


def decoder(type_: Any) -> msgspec.msgpack.Decoder[Any]:
    """Of bytes that `encoder` wrote: nothing is checked beyond the types."""
    return msgspec.msgpack.Decoder(type_, dec_hook=_TRUSTING.custom)


class Converter:
    """Turns plain values into typed ones for one store, whose tables decide which ids are right."""

    _as_they_are: ClassVar[tuple[type, ...]] = _PLAIN
    """Types that are taken as they are, and never made of text."""

    def __init__(self, table_numbers: TableNumbers) -> None:
        self._table_numbers = table_numbers

    def convert(self, value: Any, type_: Any) -> Any:
        """`value` as a `type_`, strictly: nothing is parsed or guessed, but an int or a Decimal may be a float.

        Raises:
            Fault: it does not fit.
        """
        try:
            return msgspec.convert(value, type_, strict=True, builtin_types=self._as_they_are, dec_hook=self.custom)
        except msgspec.ValidationError as error:
            raise self._with_keys(fault_of(error), value, type_) from None
        except RecursionError:
            raise _first_fault(value) or Fault(_CYCLIC) from None
        except UnicodeEncodeError as error:  # msgspec's own, for a lone surrogate where no text belongs
            raise _first_fault(value) or Fault(str(error)) from None

    def check_stored(self, data: bytes, type_: Any) -> None:
        """Look once more at what `encoder` wrote, also at ids that are keys, which `convert` does not see.

        Raises:
            Fault: it does not fit, or an id is of another table.
        """
        try:
            msgspec.msgpack.Decoder(type_, dec_hook=_Stored(self._table_numbers).custom).decode(data)
        except msgspec.ValidationError as error:
            raise fault_of(error) from None

    def _with_keys(self, fault: Fault, value: Any, type_: Any) -> Fault:
        """`fault` with the keys of records in its path, which msgspec leaves out: found by trying one by one."""
        steps = [name or at for name, at in _STEP.findall(fault.path)]
        path = fault.path
        for depth, step in enumerate(steps):
            if step == "...":
                record = _at(value, steps[:depth])
                alone = ((key, _with(value, steps[:depth], {key: record[key]})) for key in record)
                found = next((one for one in alone if self._fails_alike(one[1], type_, fault)), None)
                if found is None:
                    return fault
                key, value = found
                path = path.replace("[...]", path_step(key), 1)
        return Fault(fault.what, path)

    def _fails_alike(self, value: Any, type_: Any, fault: Fault) -> bool:
        try:
            msgspec.convert(value, type_, strict=True, builtin_types=_PLAIN, dec_hook=self.custom)
        except msgspec.ValidationError as error:
            found = fault_of(error)
            return (found.what, found.path) == (fault.what, fault.path)
        return False

    def custom(self, type_: Any, value: Any) -> Any:
        """Converts to a type of ours; msgspec's `dec_hook`."""
        origin = getattr(type_, "__origin__", type_)
        if origin is Id:
            return self._id(value, *getattr(type_, "__args__", ()))
        if isinstance(origin, type) and issubclass(origin, OneOf):
            return self._first_fit(value, origin.members)
        if isinstance(origin, type) and issubclass(origin, Exactly):
            if type(value) is float and repr(value) == repr(origin.value):  # tells zeros apart, and NaN is NaN
                return value
            raise ValueError(f"expected {origin.value!r}, got {value!r}")
        if isinstance(origin, type) and isinstance(value, origin):
            return value
        raise TypeError(f"Expected `{getattr(origin, '__name__', origin)}`, got `{type(value).__name__}`")

    def _id(self, value: Any, target: Any = Any) -> Id[object]:
        if target is Self and type(value) is Id:
            return value  # a document's own id, given by us
        if not isinstance(value, str):
            raise TypeError(f"Expected `Id`, got `{type(value).__name__}`")
        number = known_table_number(value) if type(value) is Id else table_number(value)
        table = target_table(target)
        if table is not None and number != self._table_numbers(table):
            raise IdError(f"{value!r} is no id of table {table!r}: it belongs to another table or store.")
        return value if type(value) is Id else Id[object](value)

    def _first_fit(self, value: Any, members: tuple[Any, ...]) -> Any:
        faults = []
        for member in members:
            try:
                return self.convert(value, member)
            except Fault as fault:
                faults.append(fault)
        if len(faults) == 1:
            raise faults[0]
        each = [fault.what if fault.path == "$" else f"{fault.what} at `{fault.path}`" for fault in faults]
        raise ValueError(f"no member of the union fits: {'; '.join(each)}")


def fault_of(error: Exception) -> Fault:
    """msgspec's words about a value as a `Fault`, its path joined where one error wraps another."""
    match = cast("re.Match[str]", _FAULT.match(str(error).replace(" docs/errors/invalid-id.md", "")))
    what, path = match["what"].removesuffix("."), match["path"] or "$"
    if match["key"]:
        return Fault(f"a key: {what[:1].lower()}{what[1:]}", path)
    inner = _FAULT.match(what)
    if inner is not None and inner["path"]:
        what, path = inner["what"], path + inner["path"].removeprefix("$")
    what = what.removesuffix(".")
    return Fault(what[:1].lower() + what[1:], path)


def target_table(target: Any) -> str | None:
    """The table that `Id[target]` refers to; None where any table will do."""
    if isinstance(target, Named):
        document = declared_document(target.name, target.module)
        return target.name if document is None else table_of(document)
    if target is not Self and isinstance(target, type) and issubclass(target, Document) and target is not Document:
        return table_of(target)
    return None


def _plain_or_fault(value: Any) -> Any:
    """What pandas and numpy hand out, as plain values: people write documents from both."""
    if isinstance(value, Id):
        return str(value)
    if hasattr(value, "to_pydatetime") and value == value:  # a Timestamp, but not NaT
        return value.to_pydatetime(warn=False)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        # Documents hold microseconds; of nanoseconds numpy would make an int.
        return (value.astype("datetime64[us]") if value.dtype.kind == "M" else value).tolist()
    raise TypeError(_no_value(value))


def _no_value(value: Any) -> str:
    _, what = find_fault(value) or ("$", f"`{type(value).__name__}` is not a type of value")
    return what


def _first_fault(value: Any, path: str = "$", depth: int = 0) -> Fault | None:
    """What keeps `value` from being made plain, and where; None if it can be."""
    if depth > 2 * NESTING_MAX:
        return Fault(_CYCLIC, path)
    for step, item in _items(value):
        if (fault := _first_fault(item, path + step, depth + 1)) is not None:
            is_cyclic = depth == 0 and fault.what == _CYCLIC
            return Fault(_CYCLIC, path + step) if is_cyclic else fault
    try:
        msgspec.to_builtins(value, builtin_types=_PLAIN, enc_hook=_plain_or_fault)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return Fault(str(error), path)
    return None


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """What `value` consists of, each with its step in a path."""
    if isinstance(value, msgspec.Struct):
        value = {name: getattr(value, name) for name in value.__struct_fields__}
    if isinstance(value, dict):
        yield from ((path_step(str(key)), item) for key, item in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{at}]", item) for at, item in enumerate(value))


def _at(value: Any, steps: list[str]) -> Any:
    """What a path leads to; "..." stands for the only key of a record."""
    for step in steps:
        if step == "...":
            (value,) = value.values()
        else:
            value = value[int(step)] if step.isdigit() else value[step]
    return value


def _with(value: Any, steps: list[str], new: Any) -> Any:
    """`value` with `new` where a path leads to; nothing in `value` itself is changed."""
    if not steps:
        return new
    step, *rest = steps
    if step.isdigit():
        return [_with(item, rest, new) if at == int(step) else item for at, item in enumerate(value)]
    key = next(iter(value)) if step == "..." else step
    return {**value, key: _with(value[key], rest, new)}


class _Stored(Converter):
    """Reads what is stored, where dates and Decimals are text."""

    _as_they_are = (bytes, datetime)


class _Trusting(_Stored):
    """The same; ids were checked when they were written."""

    def _id(self, value: Any, target: Any = Any) -> Id[object]:
        if not isinstance(value, str):
            raise TypeError(f"Expected `Id`, got `{type(value).__name__}`")
        return Id(value)


_TRUSTING: Final = _Trusting(lambda table: None)
