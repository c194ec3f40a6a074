"""Types as text: what a document class accepts and fills in, so that a process without the class can make one like it.

`types_text` writes the text, `class_of_types` makes a class of it. The text holds no names of classes and no prose, and
is the same in the next process. It may come from anybody: reading it ends, and runs nothing that its writer chose.

Not in it, because they are code: `__post_init__`, an enum's `_missing_`, and default factories that give another value
each time. A class made of the text refuses documents that lack such a default. Nor does it try patterns: one that
somebody made up can take for ever, with the interpreter's lock held. Who declares the class tries them.
"""

from __future__ import annotations

import enum
import math
import re
import struct
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, TypeVar, Union, cast

import msgspec

from reactive_db import limits
from reactive_db.errors import SchemaError
from reactive_db.model.codec import Exactly, Fault, OneOf, exactly, target_table, to_plain
from reactive_db.model.documents import SYSTEM_FIELDS, Document, DocumentMeta, Object, ObjectMeta
from reactive_db.model.ids import Id
from reactive_db.model.values import MISSING, find_fault

# --- the text: JSON of these -----------------------------------------------------------------------------------------


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that the text says."""


class _Node(_Said, frozen=True, tag_field="is"):
    """Something that may be one of several."""


Name: TypeAlias = Literal[
    "any", "null", "boolean", "int64", "float64", "string", "bytes", "datetime", "date", "decimal", "own_id"
]
Constraint: TypeAlias = Literal["gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length", "tz"]


class Constrained(_Node, frozen=True, tag="constrained"):
    """What fits `of`, and more is asked of: `Annotated[…, msgspec.Meta(…)]`."""

    of: Type
    by: dict[Constraint, Value]


class Exact(_Node, frozen=True, tag="exactly"):
    """One float."""

    value: float | Bits


class Choice(_Node, frozen=True, tag="choice"):
    """Some values: a `Literal` or an enum."""

    of: list[bool | int | str | None]


class Flags(_Node, frozen=True, tag="flags"):
    """An `enum.Flag`: combinations are values too."""

    of: list[int]
    boundary: Literal["strict", "conform", "eject", "keep"]


class Reference(_Node, frozen=True, tag="id"):
    """An id of that table; of any without one."""

    table: str | None = None


class Array(_Node, frozen=True, tag="array"):
    of: Type


class Record(_Node, frozen=True, tag="record"):
    keys: Type
    values: Type


class AnyOf(_Node, frozen=True, tag="union"):
    of: list[Type]


class FirstOf(_Node, frozen=True, tag="one_of"):
    """A union that is tried in order: `codec.OneOf`."""

    of: list[Type]


class Part(_Node, frozen=True, tag="part"):
    """The object type of that number."""

    at: Annotated[int, msgspec.Meta(ge=0)]


Type: TypeAlias = Name | Constrained | Exact | Choice | Flags | Reference | Array | Record | AnyOf | FirstOf | Part


class Bits(_Node, frozen=True, tag="float"):
    """A float that JSON has no word for."""

    bits: str


class Binary(_Node, frozen=True, tag="bytes"):
    of: bytes


class Instant(_Node, frozen=True, tag="datetime"):
    of: datetime


class Day(_Node, frozen=True, tag="date"):
    of: date


class Number(_Node, frozen=True, tag="decimal"):
    of: Decimal


class IdText(_Node, frozen=True, tag="id"):
    of: str


class Absent(_Node, frozen=True, tag="missing"):
    """`rdb.MISSING`."""


class Items(_Node, frozen=True, tag="array"):
    of: list[Value]


class Pairs(_Node, frozen=True, tag="record"):
    of: dict[str, Value]


class Made(_Node, frozen=True, tag="part"):
    """An object of the type of that number, its values by the names of its fields."""

    at: Annotated[int, msgspec.Meta(ge=0)]
    of: dict[str, Value]


Value: TypeAlias = (
    bool | int | float | str | Bits | Binary | Instant | Day | Number | IdText | Absent | Items | Pairs | Made | None
)


class Field(_Said, frozen=True):
    name: str
    type: Type
    encoded: str | None = None
    """Its name in documents, where that is another."""
    default: Value | msgspec.UnsetType = msgspec.UNSET
    is_computed: bool = False
    """It has a default that only the class can tell."""


class ObjectType(_Said, frozen=True):
    """One object type; the first of a text is the document itself."""

    fields: Annotated[list[Field], msgspec.Meta(max_length=limits.OBJECT_FIELDS_MAX)]
    tag: str | int | None = None
    tag_field: str | None = None
    array_like: bool = False
    omit_defaults: bool = False
    forbid_unknown_fields: bool = True


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(
    Annotated[list[ObjectType], msgspec.Meta(min_length=1, max_length=limits.OBJECT_FIELDS_MAX)]
).decode

_PYTHON: Final[dict[str, Any]] = {
    "any": Any,
    "null": type(None),
    "boolean": bool,
    "int64": int,
    "float64": float,
    "string": str,
    "bytes": bytes,
    "datetime": datetime,
    "date": date,
    "decimal": Decimal,
    "own_id": Id[Self],  # type: ignore[misc]  # that of the class around it
}
_NAMES: Final[dict[Any, Name]] = {type_: cast(Name, name) for name, type_ in _PYTHON.items()} | {None: "null"}
_ARRAYS: Final = (list, Sequence, MutableSequence, Collection)
_RECORDS: Final = (dict, Mapping, MutableMapping)
_PURE: Final = (str, int, float, bool, bytes)
"""Default factories that give the same scalar each time."""

_IGNORES_CASE: Final = re.compile(r"\(\?[a-zA-Z]*i")
_CASE_COST: Final = 8
_DEPTH_MAX: Final = 4 * limits.NESTING_MAX


@dataclass(frozen=True, slots=True)
class Untried:
    """Stands in an annotation for a pattern that is known and not tried."""

    pattern: str


# --- from a class to text --------------------------------------------------------------------------------------------


def types_text(document: type[Document]) -> str:
    """What a process without the class has to know of it.

    Default factories run twice, to see whether they give one value.

    Raises:
        SchemaError: a default is no value, or the types are too many.
    """
    object_types = _Writer(document).object_types()
    _check_size(object_types)
    return _encode(object_types).decode()


class _Writer:
    """Describes a document class and the object types within, which it numbers as it meets them."""

    def __init__(self, document: type[Document]) -> None:
        self._classes: list[Any] = [document]
        self._numbers: dict[Any, int] = {document: 0}

    def object_types(self) -> list[ObjectType]:
        # The list of classes grows on the way. Defaults come last: objects among them have to have numbers.
        typed = [[(field, self._type(field.type)) for field in self._fields(cls)] for cls in self._classes]
        return [self._object_type(cls, fields) for cls, fields in zip(self._classes, typed, strict=True)]

    def _fields(self, cls: Any) -> list[msgspec.structs.FieldInfo]:
        is_document = cls is self._classes[0]
        return [f for f in msgspec.structs.fields(cls) if not (is_document and f.name in SYSTEM_FIELDS)]

    def _object_type(self, cls: Any, typed: list[tuple[msgspec.structs.FieldInfo, Type]]) -> ObjectType:
        origin = typing.get_origin(cls) or cls
        config = origin.__struct_config__
        return ObjectType(
            [self._field(field, type_, f"{origin.__name__}.{field.name}") for field, type_ in typed],
            tag=config.tag,
            tag_field=config.tag_field,
            array_like=config.array_like,
            omit_defaults=config.omit_defaults,
            forbid_unknown_fields=config.forbid_unknown_fields,
        )

    def _field(self, field: msgspec.structs.FieldInfo, type_: Type, place: str) -> Field:
        default: Any = msgspec.UNSET
        if field.default is not msgspec.NODEFAULT:
            default = self._default(field.default, place)
        elif field.default_factory is not msgspec.NODEFAULT:
            default = self._constant(field.default_factory)
        is_computed = default is msgspec.UNSET and not field.required
        encoded = None if field.encode_name == field.name else field.encode_name
        return Field(field.name, type_, encoded, default, is_computed)

    # --- types

    def _type(self, annotation: Any) -> Type:
        annotation, constraints = _unwrapped(annotation)
        type_ = self._bare(annotation)
        if not constraints:
            return type_
        return Constrained(type_, {name: self._value(value) for name, value in constraints.items()})

    def _bare(self, annotation: Any) -> Type:
        origin, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
        if origin in _NAMES:
            return _NAMES[origin]
        if origin in _ARRAYS:
            return Array(self._type(arguments[0]) if arguments else "any")
        if origin in _RECORDS:
            keys, values = arguments or (Any, Any)
            return Record(self._type(keys), self._type(values))
        if origin in (Union, types.UnionType):
            return self._union(arguments)
        if origin is Literal:
            return _choice(arguments)
        if isinstance(origin, type):
            return self._of_class(annotation, origin, arguments)
        raise SchemaError(f"a document cannot hold a {annotation!r}.")

    def _of_class(self, annotation: Any, origin: type, arguments: tuple[Any, ...]) -> Type:
        if origin is Id:
            return "own_id" if arguments == (Self,) else Reference(target_table(*arguments or (Any,)))
        if issubclass(origin, OneOf):
            return FirstOf([self._type(member) for member in origin.members])
        if issubclass(origin, Exactly):
            value = origin.value
            return Exact(value if math.isfinite(value) else _bits(value))
        if issubclass(origin, enum.Flag):
            boundary: Any = origin._boundary_.value  # type: ignore[attr-defined]
            return Flags(sorted(member.value for member in origin), boundary)
        if issubclass(origin, enum.Enum):
            return _choice([member.value for member in origin])
        if issubclass(origin, msgspec.Struct):
            if annotation not in self._numbers:
                self._numbers[annotation] = len(self._classes)
                self._classes.append(annotation)
            return Part(self._numbers[annotation])
        raise SchemaError(f"a document cannot hold a {origin.__name__}.")

    def _union(self, members: Sequence[Any]) -> Type:
        """In an order of our own: Python may hand out an equal union that was written in another."""
        found: dict[bytes, Type] = {}
        for member in sorted((m for m in members if m is not msgspec.UnsetType), key=_rank):
            type_ = self._type(member)
            for inner in type_.of if isinstance(type_, AnyOf) else [type_]:
                found[_encode(inner)] = inner
        ordered = [found[text] for text in sorted(found, key=lambda text: (text == b'"null"', text))]
        return ordered[0] if len(ordered) == 1 else AnyOf(ordered)

    # --- values

    def _default(self, value: Any, place: str) -> Value:
        if value is not MISSING:
            try:
                found = find_fault(to_plain(value))
            except Fault as fault:
                found = fault.path, fault.what
            if found is not None:
                raise SchemaError(f"the default of {place} is no value: {found[1]}.")
        return self._value(value)

    def _constant(self, factory: Callable[[], Any]) -> Value | msgspec.UnsetType:
        """The default that a factory gives, UNSET if it may be another each time.

        Lists and objects need a factory to be no one's own; a scalar has one because it differs.
        """
        if isinstance(factory, _Computed):
            return msgspec.UNSET
        try:
            one, other = factory(), factory()
            if not (isinstance(one, list | tuple | dict | set | frozenset | msgspec.Struct) or factory in _PURE):
                return msgspec.UNSET
            found = self._default(one, "a field")
            return found if _encode(found) == _encode(self._default(other, "a field")) else msgspec.UNSET
        except Exception:
            # Somebody's code, which will fail where the default is needed.
            return msgspec.UNSET

    def _value(self, value: Any) -> Value:
        if isinstance(value, msgspec.Struct) and type(value) in self._numbers:
            values = {name: self._value(getattr(value, name)) for name in value.__struct_fields__}
            return Made(self._numbers[type(value)], values)
        if isinstance(value, dict):
            return Pairs({str(key): self._value(item) for key, item in value.items()})
        if isinstance(value, set | frozenset):
            return Items(sorted(map(self._value, value), key=_encode))
        if isinstance(value, list | tuple):
            return Items([self._value(item) for item in value])
        if value is MISSING:
            return Absent()
        if isinstance(value, Id):
            return IdText(str(value))
        plain = to_plain(value)
        return self._value(plain) if isinstance(plain, dict | list) else _scalar(plain)


def _unwrapped(annotation: Any) -> tuple[Any, dict[Constraint, Any]]:
    """An annotation without what stands around it, and the constraints found there."""
    constraints: dict[Constraint, Any] = {}
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            for meta in annotation.__metadata__:
                found = {name: getattr(meta, name, None) for name in typing.get_args(Constraint)}
                is_meta = isinstance(meta, msgspec.Meta | Untried)
                constraints |= {name: value for name, value in found.items() if is_meta and value is not None}
            annotation = annotation.__origin__
        elif origin is Final:
            (annotation,) = typing.get_args(annotation)
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif isinstance(annotation, TypeVar):
            annotation = Any if annotation.__bound__ is None else annotation.__bound__
        elif hasattr(origin, "__value__"):
            annotation = origin.__value__[typing.get_args(annotation)]
        elif hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        else:
            return annotation, constraints


def _rank(annotation: Any) -> tuple[str, str]:
    """Where a member stands in a union, as long as its number is not known: objects by their tags, not their names."""
    annotation, _ = _unwrapped(annotation)
    origin = typing.get_origin(annotation) or annotation
    if isinstance(origin, type) and issubclass(origin, msgspec.Struct):
        return "~", repr(origin.__struct_config__.tag)
    return getattr(origin, "__name__", ""), ""


def _choice(values: Iterable[Any]) -> Choice:
    return Choice(sorted(values, key=lambda value: (type(value).__name__, value)))


def _scalar(value: Any) -> Value:
    """A plain scalar; JSON's own where it has a word for it."""
    match value:
        case float() if not math.isfinite(value):
            return _bits(value)
        case bytes():
            return Binary(value)
        case datetime():
            return Instant(value)
        case date():
            return Day(value)
        case Decimal():
            return Number(value)
    return cast(Value, value)


def _bits(value: float) -> Bits:
    return Bits(struct.pack(">d", value).hex())


# --- how large a text may be -----------------------------------------------------------------------------------------


def _check_size(object_types: list[ObjectType]) -> None:
    """Raises SchemaError where whoever follows every type into the types within would not come to an end soon.

    An object type counts wherever it stands, but not inside itself.
    """
    count = sum(_count(field.default) for object_type in object_types for field in object_type.fields)
    waiting: list[tuple[Type, frozenset[int], int]] = [(Part(0), frozenset(), 0)]
    while waiting:
        type_, outer, depth = waiting.pop()
        count += 1 + (len(type_.of) if isinstance(type_, Choice | Flags) else 0)
        if count > limits.DEFINITION_PARTS_MAX:
            raise SchemaError(f"its types have more than {limits.DEFINITION_PARTS_MAX:,} parts, with all within.")
        if depth > _DEPTH_MAX:
            raise SchemaError(f"its types are nested more than {_DEPTH_MAX} levels deep.")
        if isinstance(type_, Part):
            if type_.at >= len(object_types) or type_.at in outer:
                continue
            outer |= {type_.at}
        waiting.extend((inner, outer, depth + 1) for inner in _inner(type_, object_types))
    # Python looks at every character of a range when it compiles a pattern, and longer where case is ignored.
    patterns = _patterns(object_types)
    size = sum(len(one.encode()) * (_CASE_COST if _IGNORES_CASE.search(one) else 1) for one in patterns)
    if size > limits.DEFINITION_PATTERN_BYTES_MAX:
        raise SchemaError(
            f"its patterns have {size:,} bytes, those that ignore case counted {_CASE_COST} times; "
            f"at most {limits.DEFINITION_PATTERN_BYTES_MAX:,}."
        )


def patterns_in(text: str) -> set[str]:
    """The patterns that strings of a document have to match, in a text that `types_text` gave."""
    return _patterns(_decode(text))


def _patterns(object_types: list[ObjectType]) -> set[str]:
    waiting: list[Type] = [field.type for object_type in object_types for field in object_type.fields]
    found: set[str] = set()
    while waiting:
        type_ = waiting.pop()
        if isinstance(type_, Constrained):
            found |= {pattern for pattern in type_.by.values() if isinstance(pattern, str)}
        if not isinstance(type_, Part):  # its fields are there anyway
            waiting.extend(_inner(type_, object_types))
    return found


def _count(value: Value | msgspec.UnsetType) -> int:
    """How many values a value has, itself included."""
    match value:
        case Items(items):
            return 1 + sum(map(_count, items))
        case Pairs(of) | Made(_, of):
            return 1 + sum(map(_count, of.values()))
    return 1


def _inner(type_: Type, object_types: list[ObjectType]) -> Iterable[Type]:
    """The types that a type is made of."""
    match type_:
        case Part(at):
            fields = object_types[at].fields
            if len(fields) > limits.OBJECT_FIELDS_MAX:
                raise SchemaError(f"an object type has {len(fields):,} fields; at most {limits.OBJECT_FIELDS_MAX:,}.")
            return [field.type for field in fields]
        case Constrained(of) | Array(of):
            return [of]
        case Record(keys, values):
            return [keys, values]
        case AnyOf(members) | FirstOf(members):
            return members
    return []


# --- from text to a class --------------------------------------------------------------------------------------------


def class_of_types(text: str, name: str) -> type[Document]:
    """A document class of that name, without a table; declares nothing.

    Raises:
        Exception: of any kind, if nobody's `types_text` gave that text.
    """
    if len(text) > limits.DOCUMENT_BYTES_MAX:
        raise SchemaError(f"it has {len(text):,} characters; at most {limits.DOCUMENT_BYTES_MAX:,}.")
    object_types = _decode(text)
    _check_size(object_types)
    return _Maker(object_types, name).document


class _Maker:
    """Makes the classes of a text; what they are annotated with comes last, because types may hold each other."""

    def __init__(self, object_types: list[ObjectType], name: str) -> None:
        self._targets: dict[str, type[Document]] = {}
        self._classes: list[Any] = []
        first, *others = object_types
        self._classes += [self._document(first, name), *map(self._object, others)]
        for cls, object_type in zip(self._classes, object_types, strict=True):
            cls.__annotations__ = {field.name: self._field_annotation(field) for field in object_type.fields}

    @property
    def document(self) -> type[Document]:
        return cast("type[Document]", self._classes[0])

    def _document(self, it: ObjectType, name: str) -> DocumentMeta:
        return DocumentMeta(name, (Document,), self._namespace(it.fields), **_options(it))

    def _object(self, it: ObjectType) -> ObjectMeta:
        return ObjectMeta("Object", (Object,), self._namespace(it.fields), **_options(it))

    def _namespace(self, fields: list[Field]) -> dict[str, Any]:
        """The body of a class with these fields, of which nothing is known yet but names and defaults."""
        for field in fields:
            # Others mean something to Python, and no class has them as fields.
            if not field.name.isidentifier() or field.name.startswith("__"):
                raise SchemaError(f"{field.name!r} is no name of a field.")
        namespace: dict[str, Any] = {field.name: self._specified(field) for field in fields}
        annotations = dict.fromkeys(namespace, Any)
        # Whatever is in `reactive_db.…` may have a system table.
        return namespace | {"__annotations__": annotations, "__module__": "reactive_db"}

    def _specified(self, field: Field) -> Any:
        default: dict[str, Any] = {}
        if field.is_computed:
            default = {"default_factory": _Computed(field.name)}
        elif isinstance(field.default, Items | Pairs | Made) and field.default.of:
            default = {"default_factory": _Default(field.default, self._classes)}
        elif field.default is not msgspec.UNSET:
            default = {"default": _read_value(field.default, self._classes)}
        return msgspec.field(name=field.encoded, **default)

    def _field_annotation(self, field: Field) -> Any:
        annotation = self._annotation(field.type)
        # For people; it makes no difference to documents.
        is_optional = isinstance(field.default, Absent)
        return Union[annotation, msgspec.UnsetType] if is_optional else annotation  # noqa: UP007  # may be Any

    def _annotation(self, type_: Type) -> Any:
        match type_:
            case str():
                return _PYTHON[type_]
            case Constrained():
                return self._constrained(type_)
            case Exact(value):
                return exactly(cast(float, _read_value(value, [])))
            case Choice(values):
                return Literal[tuple(values)]
            case Reference(table):
                return Id[Any] if table is None else Id[self._target(table)]  # type: ignore[misc]
            case Part(at):
                return self._classes[at]
        return self._made_of(type_)

    def _constrained(self, type_: Constrained) -> Any:
        constraints: Any = {name: _read_value(value, []) for name, value in type_.by.items()}
        meta, annotation = msgspec.Meta(**constraints), self._annotation(type_.of)
        pattern = constraints.pop("pattern", None)
        if pattern is None:
            return Annotated[annotation, meta]
        members = type_.of.of if isinstance(type_.of, AnyOf) else [type_.of]
        if "string" not in members:
            raise SchemaError("only strings have a pattern.")
        rest = [msgspec.Meta(**constraints)] if constraints else []
        return Annotated[annotation, Untried(pattern), *rest]

    def _made_of(self, type_: Type) -> Any:
        match type_:
            case Flags(values, boundary):
                flags = {f"F{value}": value for value in values}
                return enum.Flag("Flags", flags, boundary=enum.FlagBoundary(boundary))
            case Array(of):
                return list[self._annotation(of)]  # type: ignore[misc]
            case Record(keys, values):
                return dict[self._annotation(keys), self._annotation(values)]  # type: ignore[misc]
            case AnyOf(of):
                return Union[tuple(map(self._annotation, of))]  # noqa: UP007  # from a tuple
            case FirstOf(of):
                members = tuple(map(self._annotation, of))
                return types.new_class("OneOf", (OneOf,), {}, lambda body: body.update(members=members))
        raise AssertionError(f"{type_!r} is a type")

    def _target(self, table: str) -> type[Document]:
        """A class that stands for another table where ids are of it; whoever declares that table is not asked."""
        if table not in self._targets:
            if len(self._targets) >= limits.TABLES_MAX:
                raise SchemaError(f"its ids are of more than {limits.TABLES_MAX:,} tables.")
            made = cast("type[Document]", DocumentMeta(table, (Document,), {"__module__": "reactive_db"}))
            made.__table__ = table
            self._targets[table] = made
        return self._targets[table]


class _Default:
    """A default factory: a list or an object, a new one each time."""

    def __init__(self, value: Value, classes: list[Any]) -> None:
        self._value = value
        self._classes = classes

    def __call__(self) -> Any:
        return _read_value(self._value, self._classes)


class _Computed:
    """Stands for a default factory that is code: whoever needs its value is refused."""

    def __init__(self, field: str) -> None:
        self._field = field

    def __call__(self) -> Any:
        raise msgspec.ValidationError(
            f"Object missing field `{self._field}`, whose default only the program knows that declares its class"
        )


def _options(it: ObjectType) -> dict[str, Any]:
    """The arguments of a class statement."""
    needed = [field.default is msgspec.UNSET and not field.is_computed for field in it.fields]
    return {
        # Like most classes, if the order allows it: then the bytes of documents are the same, too.
        "kw_only": needed != sorted(needed, reverse=True),
        "tag": it.tag,
        "tag_field": it.tag_field,
        "array_like": it.array_like,
        "omit_defaults": it.omit_defaults,
        "forbid_unknown_fields": it.forbid_unknown_fields,
    }


def _made(cls: Any, values: dict[str, Any]) -> Any:
    # Of all its fields: defaults that fill in defaults could go on for ever.
    if len(values) != len(cls.__struct_fields__):
        raise SchemaError(f"an object of {len(values)} fields has to have {len(cls.__struct_fields__)}.")
    return cls(**values)


def _read_value(value: Value, classes: list[Any]) -> Any:
    """The value that a text says; `classes` are those of the objects in it."""
    match value:
        case Bits(bits):
            return struct.unpack(">d", bytes.fromhex(bits))[0]
        case Absent():
            return MISSING
        case IdText(text):
            return Id[Any](text)
        case Items(items):
            return [_read_value(item, classes) for item in items]
        case Pairs(pairs):
            return {key: _read_value(item, classes) for key, item in pairs.items()}
        case Made(at, values):
            return _made(classes[at], {name: _read_value(item, classes) for name, item in values.items()})
        case Binary(of) | Instant(of) | Day(of) | Number(of):
            return of
    return value
