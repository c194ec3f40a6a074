"""What a table looks like in columns: the part of a schema that outlives the Python class.

A layout is stored with the table's definition, so a store can follow its journal into columns before any
document class has been declared in this process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
from msgspec import inspect

from reactive_db.errors import SchemaError
from reactive_db.model.codec import Exactly, OneOf
from reactive_db.model.ids import Id

Kind = Literal[
    "string",
    "int64",
    "float64",
    "boolean",
    "bytes",
    "datetime",
    "date",
    "decimal",
    "id",
    "json",
    "array",
    "record",
    "object",
]


class ColumnType(msgspec.Struct, frozen=True, omit_defaults=True):
    """The type of one column; `json` holds every value that has no single type (unions, `any`)."""

    kind: Kind
    item: ColumnType | None = None
    """Of an array's elements or a record's values."""
    fields: dict[str, ColumnType] | None = None
    """Of an object's fields."""


class TableLayout(msgspec.Struct, frozen=True):
    """A table's number, name and columns, without the system fields."""

    number: int
    name: str
    columns: dict[str, ColumnType]


def layout_of(document: type[msgspec.Struct], number: int, name: str) -> TableLayout:
    """The layout of a document class's own fields.

    Raises:
        SchemaError: a field has a type that no document can hold, or one that cannot be evaluated.
    """
    try:
        info = msgspec.inspect.type_info(document)
    except NameError as error:
        raise SchemaError(
            f"table {name!r}: {error}, so an annotation cannot be evaluated. Declare that class at the top level of "
            "the module or cell, before the table is first used."
        ) from None
    except TypeError as error:
        remedy = " Give object types a tag each, or use `rdb.v.union`, which tries one member after another."
        what = f"{str(error).rstrip('.')}.{remedy if 'union' in str(error) else ''}"
        raise SchemaError(f"table {name!r}: {what}") from None
    fields = [field for field in info.fields if not field.encode_name.startswith("_")]  # type: ignore[attr-defined]
    return TableLayout(number, name, {f.name: _column(f.type, f"{name}.{f.name}", ()) for f in fields})


def has_ids_as_keys(document: type[msgspec.Struct]) -> bool:
    """Whether some record in a document has ids as its keys."""
    found = _within(msgspec.inspect.type_info(document), ())
    return any(isinstance(info, inspect.DictType) and isinstance(info.key_type, inspect.CustomType) for info in found)


def _within(info: inspect.Type, outer: tuple[type, ...]) -> Iterator[inspect.Type]:
    """A type and all it is made of."""
    yield info
    match info:
        case inspect.UnionType(parts):
            inner: Sequence[inspect.Type] = parts
        case inspect.ListType(item) | inspect.DictType(_, item):
            inner = [item]
        case inspect.StructType(cls, fields) if cls not in outer:
            outer, inner = (*outer, cls), [field.type for field in fields]
        case _:
            inner = []
    for part in inner:
        yield from _within(part, outer)


_SCALARS: dict[type[inspect.Type], Kind] = {
    inspect.StrType: "string",
    inspect.IntType: "int64",
    inspect.FloatType: "float64",
    inspect.BoolType: "boolean",
    inspect.BytesType: "bytes",
    inspect.DateTimeType: "datetime",
    inspect.DateType: "date",
    inspect.DecimalType: "decimal",
    inspect.AnyType: "json",
    inspect.NoneType: "json",
}
_PYTHON: dict[type, Kind] = {str: "string", int: "int64", bool: "boolean", float: "float64"}


def _column(info: inspect.Type, place: str, outer: tuple[type, ...]) -> ColumnType:
    """The column type of one annotation; `outer` are the object types around it."""
    if (scalar := _SCALARS.get(type(info))) is not None:
        return ColumnType(scalar)
    match info:
        case inspect.UnionType(types):
            return _union([t for t in types if not isinstance(t, inspect.NoneType)], place, outer)
        case inspect.LiteralType(values):
            return _of_values(values)
        case inspect.EnumType(cls):
            return _of_values(tuple(member.value for member in cls))
        case inspect.CustomType(cls) if issubclass(cls, Id):
            return ColumnType("id")
        case inspect.CustomType(cls) if issubclass(cls, OneOf | Exactly):
            return ColumnType("json")
        case inspect.ListType(item):
            return ColumnType("array", item=_column(item, f"{place}[]", outer))
        case inspect.DictType(key, value) if isinstance(
            key, inspect.StrType | inspect.LiteralType | inspect.CustomType
        ):
            return ColumnType("record", item=_column(value, f"{place}.*", outer))
        case inspect.DictType():
            raise SchemaError(f"{place}: the keys of a record are strings. Annotate it as `dict[str, …]`.")
        case inspect.StructType(cls, fields) if cls not in outer and fields and info.tag is None:
            nested = {f.encode_name: _column(f.type, f"{place}.{f.name}", (*outer, cls)) for f in fields}
            return ColumnType("object", fields=nested)
        case inspect.StructType():
            return ColumnType("json")
    raise _refusal(info, place)


def _refusal(info: inspect.Type, place: str) -> SchemaError:
    kind = type(info).__name__.removesuffix("Type").lower()
    if isinstance(info, inspect.CustomType):
        kind = info.cls.__name__
    return SchemaError(
        f"{place}: a document cannot hold a {kind}. Use str, int, float, bool, bytes, datetime, date, Decimal, "
        "Enum, Literal, list, dict[str, …], rdb.Id, a subclass of rdb.Object, or a union of these."
    )


def _union(types: list[inspect.Type], place: str, outer: tuple[type, ...]) -> ColumnType:
    first, *rest = [_column(t, place, outer) for t in types]
    return first if all(member == first for member in rest) else ColumnType("json")


def _of_values(values: tuple[object, ...]) -> ColumnType:
    kinds = {_PYTHON.get(type(value), "json") for value in values if value is not None}
    return ColumnType(kinds.pop() if len(kinds) == 1 else "json")
