"""What is shown as rows: documents, other structs, mappings and results of SQL, each row as a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from reactive_db.storage.sql_result import SqlResult


def records(value: Any) -> list[Mapping[str, Any]] | None:
    """The rows of a value by the names of their fields; None if it has no rows."""
    if isinstance(value, SqlResult):
        return list(value.rows())
    if not isinstance(value, list | tuple):
        return None
    rows = [msgspec.structs.asdict(row) if isinstance(row, msgspec.Struct) else row for row in value]
    return rows if all(isinstance(row, Mapping) for row in rows) else None


def fields_of(rows: list[Mapping[str, Any]]) -> list[str]:
    """Every name in any of the rows, in the order in which they appear."""
    return list(dict.fromkeys(str(name) for row in rows for name in row))
