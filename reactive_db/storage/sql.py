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

_READS: Final = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
_EXPLAIN: Final = re.compile(r"\s*EXPLAIN\s+(?:ANALYZE\b|\([^)]*\))?", re.IGNORECASE)
# DuckDB rewrites a PIVOT without `IN` into several statements of one type, and so COPY of one.
_PIVOT: Final = re.compile(r"\s*(?:PIVOT|WITH|FROM|SELECT)\b", re.IGNORECASE)


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
    """The base tables that a statement reads, seen through views, CTEs and subqueries.

    With parameters, the names that it mentions: of tables, views and CTEs. None where DuckDB cannot say.

    Raises:
        SqlError: it cannot be parsed, or refers to columns that do not exist.
    """
    try:
        return cursor.get_table_names(sql)
    except duckdb.InvalidInputException:
        return None
    except duckdb.BinderException as error:
        if "parameter" not in str(error):
            raise sql_error(error) from error
        return _mentioned_names(cursor, sql)
    except duckdb.Error as error:
        raise sql_error(error) from error


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
    return None if tree["error"] else set(_base_tables(tree))


def _base_tables(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            yield node["table_name"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _base_tables(child)
