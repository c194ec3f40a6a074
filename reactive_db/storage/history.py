"""The history: every write of every table in DuckDB, newest kept, as a table of its own.

Knows DuckDB's SQL but holds no connection; `columns.py` runs the statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from reactive_db.storage.column_types import ID_COLUMN, WHOLE_DOCUMENT

TABLE: Final = "history"
VIEW: Final = "_history"
CREATE_SQL: Final = f"""
CREATE TABLE store.history
(ts BIGINT, time TIMESTAMPTZ, "table" VARCHAR, {ID_COLUMN}, document JSON {WHOLE_DOCUMENT})
"""
CREATE_VIEW_SQL: Final = f"CREATE VIEW main.{VIEW} AS SELECT * FROM store.history"
COUNT_SQL: Final = "SELECT count(*) FROM store.history"

INSERT_SQL: Final = """
INSERT INTO store.history
SELECT ts, make_timestamptz(microseconds), "table", _id, CAST(document AS JSON) FROM batch
"""
"""Takes the rows of `rows` from an Arrow table called `batch`."""

TRIM_SQL: Final = """
DELETE FROM store.history WHERE ts <= (SELECT ts FROM store.history ORDER BY ts DESC LIMIT 1 OFFSET ?)
"""
"""Forget the oldest commits, whole ones, so that at most as many rows as the parameter says are left."""


def rows(
    *,
    ts: Sequence[int],
    times: Sequence[float],
    tables: Sequence[str],
    ids: Sequence[str],
    documents: Sequence[bytes | None],
) -> pa.Table:
    """Rows for `INSERT_SQL`, one per write: times in ms since the epoch, documents as JSON or None."""
    return pa.table(
        {
            "ts": pa.array(ts, pa.int64()),
            "microseconds": pa.array([round(time * 1000) for time in times], pa.int64()),
            "table": pa.array(tables, pa.string()),
            "_id": pa.array(ids, pa.string()),
            "document": pa.array(documents, pa.string()),
        }
    )
