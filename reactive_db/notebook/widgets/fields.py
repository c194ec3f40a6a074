"""The fields of a form: from a function's signature to what a page draws, and from what it sends back to arguments.

Theory of operation. Every type has an `Entry`: it describes itself to the page, makes a plain value of what was entered
there, and shows a default there. What does not fit is gathered by place, all of it at once. Whether the plain values
are right arguments is left to the function's own signature; `place_of` finds the field that it complains about.

What a page sends, by kind: text for all that is typed, base64 text for a file, a bool, the number of a choice, a list,
an object by field name, a record as a list of `[key, value]`, a union as `{"member": number, "value": …}`; for what may
be left empty and is, null or "".
"""

from __future__ import annotations

import base64
import json
import math
import re
import typing
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from inspect import Parameter, cleandoc
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NewType

import msgspec

from reactive_db import limits
from reactive_db.errors import ArgumentError, FunctionError
from reactive_db.functions.definitions import Function
from reactive_db.model.codec import Exactly, OneOf, target_table
from reactive_db.model.documents import SYSTEM_FIELDS
from reactive_db.model.ids import Id
from reactive_db.model.values import MISSING, find_fault
from reactive_db.presentation import cell_text

Message = dict[str, Any]
Place = tuple[str | int, ...]
"""Where something stands on the page: names of fields and numbers of rows."""
Faults = dict[Place, str]

_UNFIT: Final = (ValueError, TypeError, AttributeError, ArithmeticError, LookupError, RecursionError)
"""What is raised by making a value of something that is none."""
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\"(.*?)\"\]")
_SECTION: Final = re.compile(r"^(?:Args|Attributes):$\n((?:^[ ].*$\n?|^$\n)+)", re.MULTILINE)
_NAMED: Final = re.compile(r"(\w+(?:, *\w+)*)(?: *\([^)]*\))?: +(.+)")
_YES_NO: Final = ("yes", "no")


class Entry:
    """How values of one type are entered."""

    @property
    def words(self) -> str:
        """What it takes, for people."""
        raise NotImplementedError

    def described(self) -> Message:
        """What the page has to know of it."""
        raise NotImplementedError

    def value(self, entered: Any, at: Place, faults: Faults) -> Any:
        """What was entered, as a plain value; `MISSING` where it was left out, and where there is a fault."""
        raise NotImplementedError

    def shown(self, value: Any) -> Any:
        """What the page would send of a value; raises one of `_UNFIT` if it never would."""
        raise NotImplementedError

    def place(self, entered: Any, path: list[str]) -> Place:
        """As much of the path to a value within this one as the page has a place of its own for."""
        return ()


@dataclass(frozen=True)
class Simple(Entry):
    """What is entered in one control.

    Attributes:
        parse: makes a value of what was entered, or raises.
        show: the inverse.
        choices: where the page finds the ids to choose from.
    """

    kind: str
    wanted: str
    parse: Callable[[Any], Any]
    show: Callable[[Any], Any]
    choices: str | None = None

    @property
    def words(self) -> str:
        return self.wanted

    def described(self) -> Message:
        return {"kind": self.kind} if self.choices is None else {"kind": self.kind, "choices": self.choices}

    def value(self, entered: Any, at: Place, faults: Faults) -> Any:
        try:
            value = self.parse(entered)
        except _Misfit as misfit:
            faults[at] = str(misfit)
            return MISSING
        except _UNFIT:
            faults[at] = f"expected {self.wanted}"
            return MISSING
        fault = find_fault(value)
        if fault is not None:
            path, what = fault
            faults[at] = what if path == "$" else f"{what} at `{path}`"
            return MISSING
        return value

    def shown(self, value: Any) -> Any:
        shown = self.show(value)
        if self.parse(shown) != value:
            raise ValueError(value)
        return shown


@dataclass(frozen=True)
class Choice(Entry):
    """One of a few plain values."""

    values: tuple[Any, ...]
    labels: tuple[str, ...]

    @property
    def words(self) -> str:
        return " or ".join([", ".join(self.labels[:-1]), self.labels[-1]] if len(self.labels) > 1 else self.labels)

    def described(self) -> Message:
        return {"kind": "choice", "labels": list(self.labels)}

    def value(self, entered: Any, at: Place, faults: Faults) -> Any:
        number = _number_of(entered, len(self.values))
        if number is None:
            faults[at] = "choose one"
            return MISSING
        return self.values[number]

    def shown(self, value: Any) -> Any:
        plain = value.value if isinstance(value, Enum) else value
        # By type too: 1 is no True.
        return [(type(one), one) for one in self.values].index((type(plain), plain))


@dataclass(frozen=True)
class Optional(Entry):
    """What may be left empty, which stands for `empty`: None, or `MISSING` for the default."""

    inner: Entry
    empty: Any

    @property
    def words(self) -> str:
        return f"{self.inner.words}, or nothing"

    def described(self) -> Message:
        return {**self.inner.described(), "is_optional": True}

    def value(self, entered: Any, at: Place, faults: Faults) -> Any:
        return self.empty if entered in (None, "") else self.inner.value(entered, at, faults)

    def shown(self, value: Any) -> Any:
        return None if value is None or value is MISSING else self.inner.shown(value)

    def place(self, entered: Any, path: list[str]) -> Place:
        return () if entered in (None, "") else self.inner.place(entered, path)


@dataclass(frozen=True)
class Many(Entry):
    """A list, a row for each item."""

    item: Entry

    @property
    def words(self) -> str:
        return f"list of {self.item.words}"

    def described(self) -> Message:
        return {"kind": "list", "item": self.item.described()}

    def value(self, entered: Any, at: Place, faults: Faults) -> Any:
        if not isinstance(entered, list):
            faults[at] = "expected a list"
            return MISSING
        return [self.item.value(item, (*at, row), faults) for row, item in enumerate(entered)]

    def shown(self, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise TypeError(value)
        return [self.item.shown(item) for item in value]

    def place(self, entered: Any, path: list[str]) -> Place:
        row = int(path[0]) if path and path[0].isdigit() else len(entered)
        return (row, *self.item.place(entered[row], path[1:])) if row < len(entered) else ()


@dataclass(frozen=True)
class Record(Entry):
    """A mapping, a row for each key; in the place of a row, "key" is its key and "value" the other half."""

    key: Entry
    item: Entry

    @property
    def words(self) -> str:
        return f"{self.item.words} by {self.key.words}"

    def described(self) -> Message:
        return {"kind": "record", "key": self.key.described(), "item": self.item.described()}

    def value(self, entered: Any, at: Place, faults: Faults) -> Any:
        if not isinstance(entered, list) or not all(isinstance(row, list) and len(row) == 2 for row in entered):
            faults[at] = "expected keys and values"
            return MISSING
        found: dict[str, Any] = {}
        for row, (entered_key, entered_item) in enumerate(entered):
            here = (*at, row, "key")
            key = self.key.value(entered_key, here, faults)
            item = self.item.value(entered_item, (*at, row, "value"), faults)
            if here in faults:
                continue
            if (fault := find_fault({key: None})) is not None:
                faults[here] = fault[1]
            elif key in found:
                faults[here] = "this key is there already"
            found[key] = item
        return found

    def shown(self, value: Any) -> Any:
        return [[self.key.shown(key), self.item.shown(item)] for key, item in value.items()]

    def place(self, entered: Any, path: list[str]) -> Place:
        keys = [key for key, _ in entered]
        if not path or path[0] not in keys:
            return ()
        row = keys.index(path[0])
        return (row, "value", *self.item.place(entered[row][1], path[1:]))


@dataclass(frozen=True)
class Field:
    """A named part of a form or of an object.

    Attributes:
        name: what it is called in values and on the page.
        default: what the page shows at first, as it would send it; `MISSING` for nothing.
    """

    name: str
    label: str
    hint: str
    entry: Entry
    default: Any = MISSING

    def described(self) -> Message:
        """What the page has to know of it."""
        described = {"name": self.name, "label": self.label, **self.entry.described()}
        if self.hint:
            described["hint"] = self.hint
        if self.default is not MISSING:
            described["default"] = self.default
        return described


@dataclass(frozen=True)
class Fields(Entry):
    """An object, a field for each of its parts.

    Attributes:
        of: the class of a default; None for the arguments of a function.
        tag: the field that says of which class an object is, and how it says so.
    """

    label: str
    fields: tuple[Field, ...]
    of: Any = None
    tag: tuple[str, Any] | None = None

    @property
    def words(self) -> str:
        return f"{self.label}: {', '.join(field.label for field in self.fields)}"

    def described(self) -> Message:
        return {"kind": "object", "fields": [field.described() for field in self.fields]}

    def value(self, entered: Any, at: Place, faults: Faults) -> Any:
        if not isinstance(entered, dict):
            faults[at] = "expected fields"
            return MISSING
        found = {} if self.tag is None else dict([self.tag])
        for field in self.fields:
            value = field.entry.value(entered.get(field.name), (*at, field.name), faults)
            if value is not MISSING:
                found[field.name] = value
        return found

    def shown(self, value: Any) -> Any:
        if not isinstance(value, self.of):
            raise TypeError(value)
        names = {info.encode_name: info.name for info in msgspec.structs.fields(self.of)}
        return {field.name: field.entry.shown(getattr(value, names[field.name])) for field in self.fields}

    def place(self, entered: Any, path: list[str]) -> Place:
        field = next((field for field in self.fields if path and field.name == path[0]), None)
        return () if field is None else (field.name, *field.entry.place(entered.get(field.name), path[1:]))


@dataclass(frozen=True)
class OneKind(Entry):
    """A union: its members to choose from, then the one that was chosen."""

    members: tuple[Entry, ...]

    @property
    def words(self) -> str:
        return " or ".join(member.words for member in self.members)

    def described(self) -> Message:
        members = [{"label": _member_label(member), **member.described()} for member in self.members]
        return {"kind": "union", "members": members}

    def value(self, entered: Any, at: Place, faults: Faults) -> Any:
        number = _number_of(entered.get("member"), len(self.members)) if isinstance(entered, dict) else None
        if number is None:
            faults[at] = "choose one"
            return MISSING
        return self.members[number].value(entered.get("value"), at, faults)

    def shown(self, value: Any) -> Any:
        for number, member in enumerate(self.members):
            try:
                return {"member": number, "value": member.shown(value)}
            except _UNFIT:
                continue
        raise ValueError(value)

    def place(self, entered: Any, path: list[str]) -> Place:
        return self.members[int(entered["member"])].place(entered["value"], path)


# --- from a signature ------------------------------------------------------------------------------------------------


def fields_of(
    function: Function[..., Any],
    *,
    fixed: Collection[str] = (),
    choices: Collection[str] = (),
    multiline: Collection[str] = (),
) -> Fields:
    """The fields for the arguments of a function.

    Args:
        fixed: parameters that are not asked for.
        choices: ids that are chosen from documents; named, as in `multiline`, by `parameter` or `parameter.field`.
        multiline: texts of several lines.

    Raises:
        ArgumentError: one of these names is none of the function's.
        FunctionError: an annotation cannot be used, or there are too many fields.
    """
    parameters = function.signature.parameters
    place = f"{function.kind} {function.name!r}"
    for name in fixed:
        if name not in parameters:
            raise ArgumentError(f"{place} has no parameter {name!r}. It has {', '.join(parameters) or 'none'}.")
    try:
        types = typing.get_type_hints(function.function, include_extras=True)
    except (NameError, TypeError) as error:
        raise FunctionError(f"{place}: an annotation cannot be used: {str(error).rstrip('.')}.") from None
    builder = _Builder(place, choices, multiline)
    hints = _hints_in(function.__doc__)
    asked = [
        builder.field(name, name, types.get(name, Any), parameter.default, hints.get(name, ""), "")
        for name, parameter in parameters.items()
        if name not in fixed
    ]
    builder.check_names()
    return Fields(label_of(function.name.rpartition(":")[2].rpartition(".")[2].partition("#")[0]), tuple(asked))


def label_of(name: str) -> str:
    """A name of Python as people write it: "due_date" as "Due date"."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def summary_of(function: Function[..., Any]) -> str:
    """What a function does, by the first line of its docstring."""
    return cleandoc(function.__doc__ or "").partition("\n")[0]


class _Builder:
    """Makes entries of types; keeps count of them, and of the names that turned up."""

    def __init__(self, place: str, choices: Collection[str], multiline: Collection[str]) -> None:
        self._place = place
        self._choices = choices
        self._multiline = multiline
        self._unused = {*choices, *multiline}
        self._count = 0
        self._within: list[type] = []

    def field(self, name: str, python_name: str, type_: Any, default: Any, hint: str, within: str) -> Field:
        """The field of a parameter, or of a part of an object, whose name is `python_name`."""
        self._count += 1
        if self._count > limits.FORM_FIELDS_MAX:
            raise FunctionError(
                f"a form for {self._place} would have more than {limits.FORM_FIELDS_MAX} fields (FORM_FIELDS_MAX). "
                "Give some of its arguments to the form, as in `Form(db, mutation, name=value)`."
            )
        entry = self.entry(type_, f"{within}.{python_name}" if within else python_name)
        if default is Parameter.empty:
            return Field(name, label_of(python_name), hint, entry)
        try:
            shown = None if default is None else entry.shown(default)
        except _UNFIT:
            shown = None
        if shown is None:
            return Field(name, label_of(python_name), hint, _optional(entry, MISSING))
        return Field(name, label_of(python_name), hint, entry, shown)

    def entry(self, type_: Any, at: str) -> Entry:
        """How a type is entered; what nothing else fits is entered as JSON."""
        type_ = _bare(type_)
        origin, arguments = typing.get_origin(type_) or type_, typing.get_args(type_)
        if origin in (UnionType, typing.Union):
            return self._union(arguments, at)
        if origin is Literal:
            return _choice(arguments)
        if origin is Id:
            return self._id(arguments, at)
        if origin is list and arguments:
            return Many(self.entry(arguments[0], at))
        if origin is dict and arguments:
            return Record(self.entry(arguments[0], f"{at}.key"), self.entry(arguments[1], at))
        if type_ is str and at in self._multiline:
            self._unused.discard(at)
            return _LINES
        if type_ is Any:
            return Optional(_JSON, None)
        if isinstance(type_, type):
            return self._class(type_, at)
        return _JSON

    def check_names(self) -> None:
        """Raises ArgumentError if a name that was given is none that turned up."""
        for name in sorted(self._unused):
            given, wanted = ("choices", "Id") if name in self._choices else ("multiline", "str")
            raise ArgumentError(
                f"{given}= names {name!r}, and {self._place} takes no `{wanted}` there. Name a parameter, or a field "
                "of one as in 'member.user'."
            )

    def _class(self, type_: type, at: str) -> Entry:
        if issubclass(type_, Enum):
            return _choice([member.value for member in type_])
        if issubclass(type_, OneOf):
            return self._union(type_.members, at)
        if issubclass(type_, Exactly):
            return _choice([type_.value])
        if type_ is NoneType:
            return Optional(_choice([None]), None)
        if issubclass(type_, msgspec.Struct) and not type_.__struct_config__.array_like and type_ not in self._within:
            return self._object(type_, at)
        return _SIMPLE.get(type_, _JSON)

    def _object(self, class_: type[msgspec.Struct], at: str) -> Fields:
        hints = _hints_in(class_.__doc__)
        config = class_.__struct_config__
        self._within.append(class_)  # an object that holds its own kind goes on as JSON
        fields = [
            self.field(info.encode_name, info.name, info.type, _struct_default(info), hints.get(info.name, ""), at)
            for info in msgspec.structs.fields(class_)
            if not (hasattr(class_, "__table__") and info.name in SYSTEM_FIELDS)
        ]
        self._within.pop()
        tag = None if config.tag is None else (config.tag_field or "type", config.tag)
        return Fields(label_of(class_.__name__), tuple(fields), class_, tag)

    def _id(self, arguments: tuple[Any, ...], at: str) -> Simple:
        table = target_table(*arguments) if arguments else None
        wanted = "an id" if table is None else f"an id of {table!r}"
        if at not in self._choices:
            return Simple("id", wanted, _id, _same)
        self._unused.discard(at)
        return Simple("document", wanted, _id, _same, at)

    def _union(self, members: Iterable[Any], at: str) -> Entry:
        found = [self.entry(member, at) for member in members if member not in (None, NoneType, msgspec.UnsetType)]
        entry = found[0] if len(found) == 1 else OneKind(tuple(found))
        if msgspec.UnsetType in members:
            return _optional(entry, MISSING)
        return _optional(entry, None) if NoneType in members or None in members else entry


def _bare(type_: Any) -> Any:
    """A type without what has been said about it, or what it has been called."""
    while True:
        if typing.get_origin(type_) is Annotated:
            type_ = typing.get_args(type_)[0]
        elif isinstance(type_, NewType):
            type_ = type_.__supertype__
        elif type(type_).__name__ == "TypeAliasType":  # Python 3.12's `type X = …`
            type_ = type_.__value__
        else:
            return type_


def _optional(entry: Entry, empty: Any) -> Optional:
    if isinstance(entry, Optional):
        return Optional(entry.inner, empty)
    # A box to tick has no third state.
    return Optional(Choice((True, False), _YES_NO) if entry is _CHECK else entry, empty)


def _choice(values: Iterable[Any]) -> Entry:
    plain = tuple(value.value if isinstance(value, Enum) else value for value in values)
    some = tuple(value for value in plain if value is not None)
    entry = Choice(some, tuple(cell_text(value) for value in some))
    return entry if len(some) == len(plain) else Optional(entry, None)


def _struct_default(info: msgspec.structs.FieldInfo) -> Any:
    """The default of a part of an object; `Parameter.empty` if it has none, None if it is made anew each time."""
    if info.default is not msgspec.NODEFAULT:
        return info.default
    if info.default_factory is msgspec.NODEFAULT:
        return Parameter.empty
    return info.default_factory() if info.default_factory in (list, dict) else None


def _hints_in(doc: str | None) -> dict[str, str]:
    """What a docstring says of each argument or attribute, in Google's style."""
    section = _SECTION.search(cleandoc(doc or "") + "\n")
    if section is None:
        return {}
    found: dict[str, str] = {}
    names: list[str] = []
    for line in cleandoc(section[1]).splitlines():
        named = _NAMED.fullmatch(line)
        if named is not None:
            names = [name.strip() for name in named[1].split(",")]
            found |= dict.fromkeys(names, named[2].strip())
        elif line.startswith(" "):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def _member_label(member: Entry) -> str:
    return member.label if isinstance(member, Fields) else label_of(member.words)


# --- what the page sends back ----------------------------------------------------------------------------------------


def arguments_in(fields: Fields, entered: Any) -> tuple[dict[str, Any], Faults]:
    """The arguments that were entered, and what is wrong with them by place; with faults they are not whole."""
    faults: Faults = {}
    found = fields.value(entered, (), faults)
    return ({} if found is MISSING else found), faults


def place_of(fields: Fields, entered: Any, path: str) -> Place:
    """Where on the page the value stands that a signature calls `$.members[2].email`; () for nowhere."""
    return fields.place(entered, [name or number or key for name, number, key in _STEP.findall(path)])


class _Misfit(ValueError):
    """What is wrong, where that is more than the type."""


def _number_of(entered: Any, count: int) -> int | None:
    """What was chosen of `count`."""
    return entered if type(entered) is int and 0 <= entered < count else None


def _text(entered: Any) -> str:
    if not isinstance(entered, str):
        raise TypeError(entered)
    return entered


def _same(value: Any) -> str:
    return str(_text(value))


def _id(entered: Any) -> str:
    id = _text(entered).strip()
    if not id:
        raise ValueError(entered)
    return id


def _check(entered: Any) -> bool:
    if not isinstance(entered, bool):
        raise TypeError(entered)
    return entered


def _finite(entered: Any) -> float:
    number = float(_text(entered))
    if not math.isfinite(number):
        raise ValueError(entered)
    return number


def _decimal(entered: Any) -> Decimal:
    number = Decimal(_text(entered))
    if not number.is_finite():
        raise ValueError(entered)
    return number


def _aware(entered: Any) -> datetime:
    moment = datetime.fromisoformat(entered)
    if moment.tzinfo is None:
        raise ValueError(entered)
    return moment


def _bytes(entered: Any) -> bytes:
    data = base64.b64decode(_text(entered), validate=True)
    if len(data) > limits.FORM_FILE_BYTES_MAX:
        raise _Misfit(f"a file of {len(data):,} bytes; at most {limits.FORM_FILE_BYTES_MAX:,} (FORM_FILE_BYTES_MAX)")
    return data


def _no_file(value: Any) -> Any:
    """A page cannot choose a file by itself."""
    raise TypeError(value)


_LINES: Final = Simple("lines", "text", _text, _same)
_CHECK: Final = Simple("check", "yes or no", _check, _check)
_JSON: Final = Simple("json", "JSON", lambda entered: json.loads(_text(entered)), json.dumps)
_SIMPLE: Final[dict[type, Simple]] = {
    str: Simple("text", "text", _text, _same),
    int: Simple("integer", "a whole number", lambda entered: int(_text(entered)), str),
    float: Simple("number", "a number", _finite, lambda value: repr(float(value))),
    Decimal: Simple("number", "a decimal number", _decimal, str),
    bool: _CHECK,
    date: Simple("date", "a date", date.fromisoformat, lambda value: value.isoformat()),
    datetime: Simple("datetime", "a date and time", _aware, lambda value: value.isoformat()),
    bytes: Simple("file", "a file", _bytes, _no_file),
}
