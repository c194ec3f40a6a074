"""What a client may see: for each table the SQL that reads just those rows, and by what to know them again.

Reads the catalog with a cursor that the caller gives, and no rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import duckdb

from reactive_db.model.schema import TABLES_NUMBER
from reactive_db.storage import history
from reactive_db.storage.column_catalog import ColumnCatalog
from reactive_db.storage.column_types import quoted

_COLUMNS: Final = """
SELECT table_name, column_name, data_type FROM duckdb_columns()
WHERE schema_name = 'main' AND database_name = current_database() AND NOT internal ORDER BY table_name, column_index
"""
_WORD: Final = re.compile(r"\w+")

Version = tuple[str | None, int] | None
"""The condition, and the timestamp of the last change; None where nobody can say, equal to nothing."""


@dataclass(frozen=True, slots=True)
class ClientTable:
    """One table as a client sees it.

    Attributes:
        name: by which the client's SQL calls it.
        columns: their names and types, as in CREATE TABLE.
        rows_sql: reads the rows that the client may see.
        version: the same for the same rows.
    """

    name: str
    columns: str
    rows_sql: str
    version: Version


def client_tables(
    cursor: duckdb.DuckDBPyConnection,
    catalog: ColumnCatalog,
    hidden: Mapping[str, str],
    changed_ts: Mapping[int, int],
    ts: int,
) -> list[ClientTable]:
    """The tables as of the cursor's transaction, whose timestamp is `ts`.

    `hidden` and `changed_ts` (by number) are those of `Columns`. A view that `catalog` does not know is left out:
    nobody could say which condition is its own.
    """
    columns: dict[str, list[str]] = {}
    for view, column, type_ in cursor.execute(_COLUMNS).fetchall():
        columns.setdefault(view, []).append(f"{quoted(column)} {type_}")
    # As SQL has it, names that differ by case are one: whoever has no condition of its own has that of its double.
    conditions = {name.casefold(): condition for name, condition in hidden.items()}
    tables = []
    for number, table in catalog.tables.items():
        name, view = table.layout.name, catalog.views[number]
        if name.startswith("_") or view not in columns:
            continue
        condition = hidden.get(name, conditions.get(name.casefold()))
        # Of a new definition, and of what a condition may look up elsewhere, nobody knows what it changes.
        changed = ts if condition is not None else max(changed_ts.get(number, 0), changed_ts.get(TABLES_NUMBER, 0))
        tables.append(_client_table(view, columns[view], condition, changed, ts))
    if history.VIEW in columns:
        columns_seen, seen = columns[history.VIEW], _history_condition(conditions)
        tables.append(_client_table(history.VIEW, columns_seen, seen, ts, ts))
    return tables


def words(sql: str) -> set[str]:
    """Every word of a statement, in small letters: what may be the name of a table that it reads, and more.

    Names of tables are words, and SQL has no other way to write one than to write it; `sql.check_for_client` refuses
    the functions that take a name as a value. So no parser need see the statement before it is locked away.
    """
    return {word.casefold() for word in _WORD.findall(sql)}


def _client_table(view: str, columns: list[str], condition: str | None, changed: int, ts: int) -> ClientTable:
    # The line breaks end a comment at the end of a condition.
    where = f" WHERE (\n{condition}\n)" if condition is not None else ""
    version = (condition, changed) if changed <= ts else None
    return ClientTable(view, ", ".join(columns), f"SELECT * FROM main.{quoted(view)}{where}", version)


def _history_condition(conditions: Mapping[str, str]) -> str:
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in ["", *sorted(conditions)])
    own = conditions.get(history.VIEW)
    seen = f"""NOT starts_with("table", '_') AND lower("table") NOT IN ({names})"""
    return f"{seen} AND (\n{own}\n)" if own is not None else seen
