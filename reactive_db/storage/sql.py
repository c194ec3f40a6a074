"""What a user's SQL statement is: whether it only reads, and which tables it reads.

Asks DuckDB's own parser, on a cursor that the caller gives. Runs no statement of the user's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, Final

import duckdb

from reactive_db.errors import SqlError

_EXPLAIN: Final = re.compile(r"\s*EXPLAIN\b\s*(?:ANALYZE\b|\((?:FORMAT|ANALYZE)[^)]*\))?", re.IGNORECASE)
# To DuckDB a PIVOT without `IN` is several statements in one, but so is a COPY of such a PIVOT.
_PIVOT: Final = re.compile(r"\s*(?:PIVOT|WITH|FROM|SELECT)\b", re.IGNORECASE)
_READ_BY_NAME: Final = ("query", "query_table")
"""Functions that read a table whose name is a value."""

_CLIENT_TABLE_FUNCTIONS: Final = frozenset(
    ("generate_series", "json_each", "json_tree", "range", "regexp_split_to_table", "repeat", "summary", "unnest")
)
_FUNCTIONS_NOT_FOR_CLIENTS: Final = re.compile(
    r"(?:duckdb|pragma|parquet|python|inet|read|which|seq|arrow|pandas|pg_(?:get|is|has|my|conf|postmaster))_.*"
    r"|query(?:_table)?|current_(?:setting|query|query_id|connection_id|transaction_id)|txid_current|get_?env"
    r"|getvariable|nextval|currval|setval|setseed|sleep_ms|pg_sleep|stats|write_log|parse_duckdb_log_message"
    r"|json_(?:de)?serialize_\w+|json_execute_\w+|glob|sniff_csv|checkpoint|force_checkpoint|has_\w+_privilege"
    r"|(?:enable|disable)_(?:logging|profiling)|\w+_external_resource(?:_type)?|\w+_grammar_extension",
    re.IGNORECASE,
)
_CATALOG: Final = re.compile(r"(?:duckdb|pragma|pg)_.*|sqlite_(?:temp_)?(?:master|schema)", re.IGNORECASE)
_CLIENT_SCHEMAS: Final = frozenset(("", "main", "information_schema"))
_CALL: Final = re.compile(r"(\w+)\"?\s*\(")
_WORD: Final = re.compile(r"\w+")


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


def check_for_client(cursor: duckdb.DuckDBPyConnection, sql: str, tables: Collection[str]) -> None:
    """Refuse what a client has no business with, though it only reads: files, settings, the catalog's insides.

    The second of two locks: the statement runs where there are neither files nor anybody else's rows. This one gives
    the clear words, and holds should DuckDB's own lock have a hole. `tables` are the client's own, in small letters.

    Raises:
        SqlError: it is no single read, or names such a function or table.
    """
    check_reads_only(cursor, sql)
    while explain := _EXPLAIN.match(sql):
        sql = sql[explain.end() :]
    tree = _tree(cursor, sql)
    if not tree["error"]:
        for node in _nodes(tree):
            _check_node(node, tables)
    elif re.search(r"\bPIVOT(?:_WIDER)?\b", sql, re.IGNORECASE):
        # Without `IN`, DuckDB does not take it apart for us. Then no such word may stand anywhere.
        for name in _CALL.findall(sql):
            _check_function(name)
        for name in _WORD.findall(sql):
            _check_table(name, tables)
    else:
        raise SqlError(f"{tree.get('error_message', 'the statement cannot be taken apart')}: {sql!r}.")


def _check_node(node: dict[str, Any], tables: Collection[str]) -> None:
    kind = node.get("type")
    if kind == "TABLE_FUNCTION":
        name = node["function"].get("function_name", "")
        if name.casefold() not in _CLIENT_TABLE_FUNCTIONS:
            raise SqlError(f"the table function {name!r} is not allowed here: clients read their tables.")
    elif kind == "BASE_TABLE":
        if node["schema_name"].casefold() not in _CLIENT_SCHEMAS or node.get("at_clause"):
            raise SqlError(f"{node['schema_name']}.{node['table_name']} cannot be read here; name the table alone.")
        _check_table(node["table_name"], tables)
    if isinstance(name := node.get("function_name"), str):
        _check_function(name)


def _check_function(name: str) -> None:
    if _FUNCTIONS_NOT_FOR_CLIENTS.fullmatch(name):
        raise SqlError(f"the function {name!r} is not allowed here: clients read their tables.")


def _check_table(name: str, tables: Collection[str]) -> None:
    if _CATALOG.fullmatch(name) and name.casefold() not in tables:
        raise SqlError(f"{name!r} cannot be read here; SHOW TABLES, DESCRIBE and information_schema can.")


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
    tree = _tree(cursor, sql)
    nodes = list(_nodes(tree))
    if tree["error"] or any(node.get("function_name") in _READ_BY_NAME for node in nodes):
        return None
    return {node["table_name"] for node in nodes if node.get("type") == "BASE_TABLE"}


def _tree(cursor: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    """The statement as DuckDB's parser sees it; `error` in it says that it is not one SELECT."""
    serialized = cursor.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0]
    tree: dict[str, Any] = json.loads(serialized)
    return tree


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for child in tree:
            yield from _nodes(child)
