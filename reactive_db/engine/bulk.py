"""Bulk loads: the rows of a file, a data frame or an iterable as new documents of one table."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from reactive_db.engine.access import Report
from reactive_db.engine.collector import collector_paused
from reactive_db.errors import DocumentError
from reactive_db.model.ids import RANDOM_BYTES, new_ids
from reactive_db.runtime import Runtime
from reactive_db.storage.sources import open_source
from reactive_db.storage.tables import Table, Write

SOURCE: Final = "load"


def build(table: Table, source: Any, runtime: Runtime, now: float, report: Report) -> list[Write]:
    """Validate every row of `source` as a new document of `table`; what inserts them.

    `report` is called with the number of rows read so far and the total, None if unknown.

    Raises:
        DocumentError: a row does not fit; its number is in the path.
    """
    rows = open_source(source)
    _check_columns(table, rows.columns)
    writes: list[Write] = []
    with collector_paused():
        for batch in rows.batches:
            entropy = runtime.random_bytes(RANDOM_BYTES * len(batch))
            ids = new_ids(table.schema.number, len(batch), entropy, now)
            built = table.schema.build_many(ids, now, batch, first_row=len(writes), safe=rows.safe)
            writes += [Write(id, None, new, data) for id, (new, data) in zip(ids, built, strict=True)]
            report(len(writes), rows.total)
    return writes


def _check_columns(table: Table, columns: list[str] | None) -> None:
    twice = [name for name, times in Counter(columns or ()).items() if times > 1]
    if twice:
        raise DocumentError(
            f"the source has two columns of one name: {', '.join(twice)}. Rename or drop one of them.",
            table=table.schema.name,
        )
    unknown = [name for name in columns or () if name not in table.schema.layout.columns]
    if unknown:
        raise DocumentError(
            f"the source has columns that table {table.schema.name!r} has no fields for: {', '.join(unknown)}. "
            f"Its fields: {', '.join(table.schema.layout.columns)}. Select or rename columns, or declare fields.",
            table=table.schema.name,
        )
