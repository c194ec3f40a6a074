"""How values become columns: for each `ColumnType` its SQL type, its Arrow type and the way between the two.

A value reaches DuckDB as Arrow. Where Arrow and SQL have no type in common (dates and decimals travel as the
strings they are stored as, `json` as text) the insert casts. A value that does not fit its column, left
behind by an older schema, becomes NULL there; the stored document still has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa

from reactive_db.model.layout import ColumnType, Kind

Convert = Callable[[Any], Any]

JSON: Final = ColumnType("json")
ID_COLUMN: Final = "_id VARCHAR USING COMPRESSION uncompressed"
WHOLE_DOCUMENT: Final = "USING COMPRESSION zstd"
"""Of a column of whole documents. Left to choose, DuckDB takes half as long again for a third more bytes; ids
are random, and it takes as long to find out that it can hardly compress them."""

_SCALARS: Final[dict[Kind, tuple[str, pa.DataType]]] = {
    "string": ("VARCHAR", pa.string()),
    "id": ("VARCHAR", pa.string()),
    "int64": ("BIGINT", pa.int64()),
    "float64": ("DOUBLE", pa.float64()),
    "boolean": ("BOOLEAN", pa.bool_()),
    "bytes": ("BLOB", pa.binary()),
    "datetime": ("TIMESTAMPTZ", pa.timestamp("us", tz="UTC")),
    "date": ("DATE", pa.string()),
    "decimal": ("DECIMAL(38, 9)", pa.string()),
    "json": ("JSON", pa.string()),
}
_CAST: Final[frozenset[Kind]] = frozenset({"date", "decimal", "json"})

_encode_json: Final = msgspec.json.Encoder().encode


def column_form(column: ColumnType) -> ColumnType:
    """`column` as SQL can hold it: what has no SQL type of its own becomes `json`.

    That is an object without fields, or with two that differ only by case, which SQL would take for one.
    """
    if column.kind in ("array", "record"):
        return JSON if column.item is None else ColumnType(column.kind, item=column_form(column.item))
    if column.kind == "object":
        fields = column.fields or {}
        if not fields or len({name.casefold() for name in fields}) < len(fields):
            return JSON
        return ColumnType("object", fields={name: column_form(field) for name, field in fields.items()})
    return column


def sql_type(column: ColumnType) -> str:
    """The SQL type of a column; like all functions here, of a `column_form`."""
    if column.item is not None:
        item = sql_type(column.item)
        return f"{item}[]" if column.kind == "array" else f"MAP(VARCHAR, {item})"
    if column.fields is not None:
        return f"STRUCT({', '.join(f'{quoted(name)} {sql_type(f)}' for name, f in column.fields.items())})"
    return _SCALARS[column.kind][0]


def arrow_type(column: ColumnType) -> pa.DataType:
    """The type in which its values travel."""
    if column.item is not None:
        item = arrow_type(column.item)
        return pa.list_(item) if column.kind == "array" else pa.map_(pa.string(), item)
    if column.fields is not None:
        return pa.struct([(name, arrow_type(field)) for name, field in column.fields.items()])
    return _SCALARS[column.kind][1]


def needs_cast(column: ColumnType) -> bool:
    """Whether its values travel in another type than they are stored in."""
    parts = [column.item] if column.item is not None else list((column.fields or {}).values())
    return column.kind in _CAST or any(needs_cast(part) for part in parts)


def converter(column: ColumnType) -> Convert | None:
    """What turns a decoded value into one that Arrow takes as `arrow_type`; None if it already is one."""
    if column.kind == "json":
        return _encode_json
    if column.fields is not None:
        return _object_converter(column.fields)
    if column.item is None:
        return None
    convert = converter(column.item)
    if column.kind == "record":
        return lambda value: [(key, _unless_null(convert, item)) for key, item in value.items()]
    return None if convert is None else lambda value: [_unless_null(convert, item) for item in value]


def arrow_array(values: list[Any], type_: pa.DataType, convert: Convert | None) -> pa.Array:
    """One column of decoded values; `UNSET` and None are NULL, and so is what does not fit."""
    try:
        return pa.array(values if convert is None else _converted(values, convert), type_)
    except (pa.ArrowException, AttributeError, TypeError, ValueError, OverflowError):
        return _careful_array(values, type_, convert)


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _object_converter(fields: dict[str, ColumnType]) -> Convert | None:
    converters = {name: convert for name, field in fields.items() if (convert := converter(field)) is not None}
    if not converters:
        return None

    def convert_object(value: dict[str, Any]) -> dict[str, Any]:
        changed = {name: _unless_null(convert, value.get(name)) for name, convert in converters.items()}
        return {**value, **changed}

    return convert_object


def _unless_null(convert: Convert | None, value: Any) -> Any:
    return value if value is None or convert is None else convert(value)


def _converted(values: Sequence[Any], convert: Convert) -> list[Any]:
    return [None if value is None or value is msgspec.UNSET else convert(value) for value in values]


def _careful_array(values: list[Any], type_: pa.DataType, convert: Convert | None) -> pa.Array:
    """A column where something is absent or does not fit: first without what is absent, then one by one."""
    present = [None if value is msgspec.UNSET else value for value in values]
    if convert is None:
        try:
            return pa.array(present, type_)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            pass
    parts = [_array_of_one(value, type_, convert) for value in present]
    return pa.chunked_array(parts, type_).combine_chunks()


def _array_of_one(value: Any, type_: pa.DataType, convert: Convert | None) -> pa.Array:
    try:
        return pa.array([_unless_null(convert, value)], type_)
    except (pa.ArrowException, AttributeError, TypeError, ValueError, OverflowError):
        return pa.array([None], type_)
