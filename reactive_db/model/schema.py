"""Schemas: a document class as one store works with it, and the definition that the store keeps of it.

A `TableSchema` validates, encodes and decodes the documents of one table and makes the keys of its indexes. A
`TableDefinition` is a document of the system table `_tables`: what is left of the schema when the process is gone.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from functools import cached_property
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr

from reactive_db import limits
from reactive_db.errors import DocumentError, QueryError, SchemaError
from reactive_db.model.codec import Converter, Fault, decoder, encoder, to_plain
from reactive_db.model.documents import SYSTEM_FIELDS, Document, table_of
from reactive_db.model.ids import Id
from reactive_db.model.keys import document_key, encode_value
from reactive_db.model.layout import ColumnType, TableLayout, has_ids_as_keys, layout_of
from reactive_db.model.policy import Policy
from reactive_db.model.stored_types import types_text
from reactive_db.model.values import MISSING, find_fault, path_step

TABLES_NUMBER: Final = 128
"""The number of the system table `_tables`."""

_SHARED: Final = {"string", "int64", "float64", "boolean", "bytes", "datetime", "date", "decimal", "id"}
_UNCHECKED: Final = {"string", "float64", "boolean", "bytes", "id", "date"}


class TableDefinition(Document, table="_tables"):
    """What a store keeps of a table."""

    number: int
    name: str
    columns: dict[str, ColumnType]
    indexes: dict[str, list[str]]
    schema: str
    """What the document class accepts and fills in, as `stored_types` writes it: enough to make a class like it."""
    policy: Policy | None = None
    """Who may read and write which documents; None: who may read and write the store."""


decode_definition: Final[Callable[[bytes], TableDefinition]] = decoder(TableDefinition).decode
"""Of a definition as it is stored."""


class Index:
    """An ordered index of a table: the fields, the creation time, the id."""

    def __init__(self, name: str, fields: tuple[str, ...], columns: Mapping[str, ColumnType]) -> None:
        self.name = name
        self.fields = fields
        self._fields_key = _fields_key(fields, columns)

    def key(self, document: Document) -> bytes:
        """The document's place in the index."""
        return document_key(self._fields_key(document), document.creation_time, document.id)


class TableSchema:
    """One table of one store.

    Attributes:
        layout: its number, name and columns.
        document: the class of its documents.
        indexes: by name, without `by_id`, which is no ordered index but the table itself.
        policy: who may read and write which documents, where the store is shared.
        is_shareable: no field can be changed in place, so one object may serve every reader.
    """

    def __init__(self, document: type[Document], number: int, converter: Converter) -> None:
        self.name = table_of(document)
        self.number = number
        self.document = document
        self.layout = layout_of(document, number, self.name)
        self.policy = document.__policy__
        self.indexes = {"by_creation_time": Index("by_creation_time", (), {})}
        for name, fields in document.__indexes__.items():
            _check_paths(f"index {name!r} of table {self.name!r}", fields, self.layout.columns)
            self.indexes[name] = Index(name, fields, self.layout.columns)
        self.is_shareable = all(column.kind in _SHARED for column in self.layout.columns.values())
        document.__is_shareable__ = self.is_shareable
        self.decode: Final[Callable[[bytes], Document]] = decoder(document).decode
        self._converter = converter
        self._checked = [name for name, column in self.layout.columns.items() if column.kind not in _UNCHECKED]
        self._unsettled = [name for name, column in self.layout.columns.items() if _has(column, "datetime", "json")]
        self._loose = [name for name, column in self.layout.columns.items() if _has(column, "json")]
        self._checks_keys = has_ids_as_keys(document)

    def build(self, id: Id[Any], creation_time: float, fields: Mapping[str, Any]) -> tuple[Document, bytes]:
        """A document of this table and its stored form, from field values; validates everything.

        Raises:
            DocumentError: with the path of the fault.
        """
        try:
            plain = to_plain(fields)
            if not isinstance(plain, dict):
                raise Fault(f"expected a document or a dict of its fields, got `{type(fields).__name__}`")
            plain = _without_system(plain, id, creation_time)
            document: Document = self._converter.convert(plain, self.document)
            self._check(plain, self._checked)
            data = self._finish(document, id, creation_time)
            return self._settled(document, plain, data), data
        except Fault as fault:
            raise self._error(fault) from None

    def build_many(
        self, ids: list[Id[Any]], creation_time: float, rows: list[Any], first_row: int, safe: frozenset[str]
    ) -> list[tuple[Document, bytes]]:
        """What `build` gives for each of `rows`, faster; their creation times rise in the order of the rows.

        Fields in `safe` are known to hold no value that their type allows and documents do not.

        Raises:
            DocumentError: the path begins with the row's number, counted from `first_row`.
        """
        checked = [name for name in self._checked if name not in safe]
        tick = math.ulp(creation_time)
        times = [creation_time + tick * number for number in range(first_row, first_row + len(rows))]
        try:
            if not all(type(row) is dict and "_id" not in row and "_creationTime" not in row for row in rows):
                raise Fault("only plain rows go the fast way")
            # One call for all: the loop over rows runs in C, 2.5 us a row of 19 fields.
            documents: list[Document] = self._converter.convert(rows, list[self.document])  # type: ignore[name-defined]
            for row in rows if checked else ():
                self._check(row, checked)
            made = zip(documents, ids, times, strict=True)
            built = [(one, self._finish(one, id, created)) for one, id, created in made]
            if safe.issuperset(self._unsettled) and not self._checks_keys:
                return built
            return [(self._settled(one, row, data), data) for row, (one, data) in zip(rows, built, strict=True)]
        except Fault:
            # Row by row, to find the one at fault.
            numbered = enumerate(zip(ids, rows, times, strict=True), first_row)
            return [self._build_row(id, row, created, at) for at, (id, row, created) in numbered]

    def _build_row(self, id: Id[Any], row: Any, creation_time: float, at: int) -> tuple[Document, bytes]:
        try:
            return self.build(id, creation_time, row)
        except DocumentError as error:
            path = f"$[{at}]{error.path.removeprefix('$')}"
            message = error.message.replace(f"`{error.path}`", f"`{path}`")
            raise DocumentError(message, table=self.name, path=path) from None

    def plain(self, document: Document) -> dict[str, Any]:
        """The field values of `document`, without the system fields."""
        try:
            plain: dict[str, Any] = to_plain(document)
        except Fault as fault:
            raise self._error(fault) from None
        plain.pop("_id", None)
        plain.pop("_creationTime", None)
        return plain

    def encode(self, document: Document) -> bytes:
        """The stored form of a document that this schema built or decoded."""
        return encoder.encode(document)

    def check_stored(self, data: bytes) -> None:
        """Raises Fault if a stored document, perhaps written by an earlier schema, does not fit this one."""
        self._converter.check_stored(data, self.document)

    def index(self, name: str) -> Index:
        """Raises QueryError if the table has no such index."""
        found = self.indexes.get(name)
        if found is None:
            remedy = "Use `ctx.db.get(id)`" if name == "by_id" else f"It has: {', '.join(self.indexes)}"
            raise QueryError(f"table {self.name!r} has no index {name!r} to read a range of. {remedy}.")
        return found

    def bound(self, field: str, value: Any) -> bytes:
        """A value to compare with `field`, as part of an index key; an int bound of a float field is a float.

        Raises:
            QueryError: the field can never have that value.
        """
        try:
            typed = value if value is MISSING else self._converter.convert(to_plain(value), self._field_type(field))
            return encode_value(_key_value(typed))
        except (ValueError, ArithmeticError) as error:
            found = find_fault(value) if isinstance(error, UnicodeError) else None
            what = str(error) if found is None else found[1]
            raise QueryError(f"index range on {self.name}.{field}: {what}.") from None

    @cached_property
    def definition_fields(self) -> dict[str, Any]:
        """The fields of this table's `TableDefinition`."""
        return {
            "number": self.number,
            "name": self.name,
            "columns": self.layout.columns,
            "indexes": {name: list(fields) for name, fields in self.document.__indexes__.items()},
            "schema": types_text(self.document),
            "policy": self.policy,
        }

    def is_defined_by(self, definition: TableDefinition) -> bool:
        """Whether `definition` says the same as this schema."""
        return bool(to_plain(self.definition_fields) == self.plain_definition(definition))

    @staticmethod
    def plain_definition(definition: TableDefinition) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(definition)
        return {key: value for key, value in plain.items() if not key.startswith("_")}

    def _check(self, plain: Mapping[str, Any], names: Iterable[str]) -> None:
        """Look for what the types allow and documents do not: ints outside 64 bits, naive datetimes, depth."""
        for name in names:
            value = plain.get(name)
            # Most values are small ints; the general check costs a call each.
            if value is None or (type(value) is int and -(2**31) < value < 2**31):
                continue
            if (found := find_fault(value, depth=limits.NESTING_MAX - 1)) is not None:
                path, what = found
                raise Fault(what, f"$.{name}{path[1:]}")

    def _settled(self, document: Document, plain: Mapping[str, Any], data: bytes) -> Document:
        """`document` as everybody will read it: times are in UTC, a tuple is a list; where it could differ at all."""
        if self._checks_keys:
            self._converter.check_stored(data, self.document)
        if self._unsettled:
            document = self.decode(data)
        for name in self._loose:
            kept = to_plain(getattr(document, name)) if name in plain else None
            if (fault := _lost(plain.get(name), kept, f"$.{name}")) is not None:
                raise fault
        return document

    def _finish(self, document: Document, id: Id[Any], creation_time: float) -> bytes:
        """Give a fresh document, which nobody else has seen, its system fields; its stored form."""
        force_setattr(document, "id", id)
        force_setattr(document, "creation_time", creation_time)
        try:
            data = encoder.encode(document)
        except (UnicodeEncodeError, OverflowError, TypeError) as error:
            path, what = find_fault(self.plain(document)) or ("$", str(error))
            raise Fault(what, path) from None
        if len(data) > limits.DOCUMENT_BYTES_MAX:
            raise Fault(
                f"the document takes {len(data):,} bytes; at most {limits.DOCUMENT_BYTES_MAX:,}. "
                "Split it, or keep the large part in a file"
            )
        return data

    def _error(self, fault: Fault) -> DocumentError:
        what = fault.what.replace("`_creationTime`", "`creation_time`")
        return DocumentError(f"{what} at `{fault.path}` (table {self.name!r}).", table=self.name, path=fault.path)

    def _field_type(self, field: str) -> Any:
        first, *rest = field.split(".")
        type_ = self._types[first]
        for part in rest:
            type_ = _nested_type(type_, part)
        return type_

    @cached_property
    def _types(self) -> dict[str, Any]:
        return typing.get_type_hints(self.document, include_extras=True)


def _without_system(plain: dict[str, Any], id: Id[Any], creation_time: float) -> dict[str, Any]:
    """Field values without the system fields, which may only be there if they say the same as the store."""
    for name, own in (("_id", id), ("_creationTime", creation_time)):
        given = plain.pop(name, None)
        if given is not None and given != own:
            raise Fault("this field is given by the store, once and for all", f"$.{name}")
    return plain


def _check_paths(place: str, fields: tuple[str, ...], columns: Mapping[str, ColumnType]) -> None:
    """Raises SchemaError for a dotted path that leads into something without fields."""
    for path in fields:
        first, *rest = path.split(".")
        column = columns[first]
        for part in rest:
            below = column.item if column.kind == "record" else (column.fields or {}).get(part)
            if column.kind != "json" and below is None:
                raise SchemaError(f"{place} names {path!r}, but there is no field {part!r} in that `{column.kind}`.")
            column = below or column


def _has(column: ColumnType, *kinds: str) -> bool:
    """Whether a column is of one of `kinds`, or has one within."""
    parts = [column.item] if column.item is not None else (column.fields or {}).values()
    return column.kind in kinds or any(_has(part, *kinds) for part in parts)


def _lost(given: Any, kept: Any, path: str) -> Fault | None:
    """The first date or Decimal that would be read as text, because only a declared type tells it from one."""
    if isinstance(given, date | Decimal) and isinstance(kept, str):
        kind = type(given).__name__
        return Fault(f"a `{kind}` would come back as text here; declare the field as `{kind}`, or store text", path)
    inner: Iterable[tuple[str, Any, Any]] = ()
    if isinstance(given, dict) and isinstance(kept, dict):
        inner = [(path_step(key), item, kept.get(key)) for key, item in given.items()]
    elif isinstance(given, list | tuple) and isinstance(kept, list):
        inner = [(f"[{at}]", *pair) for at, pair in enumerate(zip(given, kept, strict=False))]
    for step, item, found in inner:
        if (fault := _lost(item, found, path + step)) is not None:
            return fault
    return None


def decode_fault(schema: TableSchema, data: bytes) -> str | None:
    """Why stored bytes do not fit `schema`; None if they do."""
    try:
        schema.check_stored(data)
    except Fault as fault:
        return str(fault)
    return None


def _fields_key(fields: tuple[str, ...], columns: Mapping[str, ColumnType]) -> Callable[[Document], bytes]:
    """A function from a document to the part of its key that the fields make."""
    if not fields:
        return lambda document: b""
    if all("." not in field and columns[field].kind in _SHARED for field in fields):
        get = attrgetter(*fields)
        if len(fields) == 1:
            return lambda document: encode_value(get(document))
        return lambda document: b"".join(map(encode_value, get(document)))
    getters = [_getter(field) for field in fields]
    return lambda document: b"".join([encode_value(_key_value(get(document))) for get in getters])


def _getter(path: str) -> Callable[[Any], Any]:
    """Of a dotted path; a path that leads nowhere gives MISSING."""
    parts = path.split(".")

    def get(value: Any) -> Any:
        for part in parts:
            value = value.get(part, MISSING) if isinstance(value, dict) else getattr(value, part, MISSING)
        return value

    return get


def _key_value(value: Any) -> Any:
    """A value as keys know it: absent fields are MISSING, objects are dicts."""
    if value is msgspec.UNSET:
        return MISSING
    return to_plain(value) if isinstance(value, msgspec.Struct | list | dict) else value


def _nested_type(type_: Any, field: str) -> Any:
    """The annotation of `field` in an object type, looked up through a union; Any where it cannot be known."""
    for member in typing.get_args(type_) or (type_,):
        if isinstance(member, type) and issubclass(member, msgspec.Struct):
            return typing.get_type_hints(member, include_extras=True).get(field, Any)
    return Any


__all__ = [
    "SYSTEM_FIELDS",
    "TABLES_NUMBER",
    "Index",
    "TableDefinition",
    "TableLayout",
    "TableSchema",
    "decode_definition",
    "decode_fault",
]
