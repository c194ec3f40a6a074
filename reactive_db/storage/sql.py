"""What a user's SQL statement is: whether it only reads, and which tables it reads.

Asks DuckDB's own parser, on a cursor that the caller gives. Runs no statement of the user's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import duckdb

from reactive_db.errors import SqlError

_EXPLAIN: Final = re.compile(r"\s*EXPLAIN\b\s*(?:ANALYZE\b|\((?:FORMAT|ANALYZE)[^)]*\))?", re.IGNORECASE)
# To DuckDB a PIVOT without `IN` is several statements in one, but so is a COPY of such a PIVOT.
_PIVOT: Final = re.compile(r"\s*(?:PIVOT|WITH|FROM|SELECT)\b", re.IGNORECASE)
_READ_BY_NAME: Final = ("query", "query_table")
"""Functions that read a table whose name is a value."""


def check_reads_only(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse every statement that is not a single read.

    Raises:
        SqlError: it writes, changes a setting, is several statements or none, or cannot be parsed.
    """
    statements = _statements(cursor, sql)
    if len(statements) != 1:
        raise SqlError(f"expected one statement, got {len(statements)}: {sql!r}. Send them one by one.")
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        # EXPLAIN ANALYZE runs what it explains.
        explain = _EXPLAIN.match(sql)
        check_reads_only(cursor, sql[explain.end() :] if explain else "")
    elif kind != duckdb.StatementType.SELECT and not _is_pivot(kind, sql):
        raise SqlError(
            f"{kind.name} is not allowed here: SQL only reads ({sql!r}). Write through a mutation, "
            "or describe tables with DESCRIBE and SHOW TABLES."
        )


def table_names(cursor: duckdb.DuckDBPyConnection, sql: str) -> set[str] | None:
    """The tables that a statement reads, by their names in the catalog, seen through views and subqueries.

    Where DuckDB cannot bind the statement as it is (above all when it has parameters), every name that it mentions
    as a table instead, be it of a table, a view or a CTE. None where nothing is known.
    """
    try:
        return cursor.get_table_names(sql)
    except duckdb.Error:
        cursor.execute("ROLLBACK")  # of the transaction that the failure aborted
        return _mentioned_names(cursor, sql)


def sql_error(error: duckdb.Error) -> SqlError:
    """DuckDB's words about a user's statement, as ours."""
    return SqlError(str(error).strip())


def _statements(cursor: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
    try:
        return cursor.extract_statements(sql)
    except duckdb.Error as error:
        raise sql_error(error) from error


def _is_pivot(kind: duckdb.StatementType, sql: str) -> bool:
    return kind == duckdb.StatementType.MULTI and _PIVOT.match(sql) is not None


def _mentioned_names(cursor: duckdb.DuckDBPyConnection, sql: str) -> set[str] | None:
    serialized = cursor.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0]
    tree = json.loads(serialized)
    nodes = list(_nodes(tree))
    if tree["error"] or any(node.get("function_name") in _READ_BY_NAME for node in nodes):
        return None
    return {node["table_name"] for node in nodes if node.get("type") == "BASE_TABLE"}


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for child in tree:
            yield from _nodes(child)
