"""Builds commits for the storage tests: definitions of tables, documents, deletions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import msgspec

from reactive_db.model.ids import RANDOM_BYTES, new_id
from reactive_db.model.layout import ColumnType
from reactive_db.model.schema import TABLES_NUMBER
from reactive_db.storage.commit import Commit, DocumentWrite

NOW_MS = 1_700_000_000_000.0
TASKS = 10_001

_numbers = itertools.count(1)
_encode = msgspec.msgpack.Encoder(decimal_format="string").encode


def make_id(table: int = TASKS) -> str:
    """An id that no other call gives."""
    return str(new_id(table, next(_numbers).to_bytes(RANDOM_BYTES, "big"), NOW_MS))


def put(id: str, table: int = TASKS, **fields: Any) -> DocumentWrite:
    """Insert or replace one document."""
    return DocumentWrite(table, id, _encode({"_id": id, "_creationTime": NOW_MS, **fields}))


def delete(id: str, table: int = TASKS) -> DocumentWrite:
    """Delete one document."""
    return DocumentWrite(table, id, None)


def define(name: str, /, number: int = TASKS, id: str | None = None, **columns: ColumnType | str) -> DocumentWrite:
    """Define or redefine a table; a column given as a string is of that kind."""
    types = {field: ColumnType(kind) if isinstance(kind, str) else kind for field, kind in columns.items()}  # type: ignore[arg-type]
    return define_typed(name, types, number, id)


def define_typed(
    name: str, columns: Mapping[str, ColumnType], number: int = TASKS, id: str | None = None
) -> DocumentWrite:
    """Define a table whose columns may have any name."""
    fields = {"number": number, "name": name, "columns": columns, "indexes": {}, "schema": {}}
    return put(id or make_id(TABLES_NUMBER), TABLES_NUMBER, **fields)


def commit(ts: int, *writes: DocumentWrite) -> Commit:
    """What one transaction wrote."""
    return Commit(ts, NOW_MS + ts, "tests:write", writes)
