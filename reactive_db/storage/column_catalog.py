"""Which tables the columns have and how SQL calls each: what follows from the documents of `_tables`.

Pure: a catalog never changes; `after` gives the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from reactive_db.model.layout import ColumnType, TableLayout
from reactive_db.model.schema import TABLES_NUMBER
from reactive_db.storage import history
from reactive_db.storage.column_table import ColumnTable
from reactive_db.storage.commit import DocumentWrite

_TABLES: Final = TableLayout(
    TABLES_NUMBER,
    "_tables",
    {
        "number": ColumnType("int64"),
        "name": ColumnType("string"),
        "columns": ColumnType("json"),
        "indexes": ColumnType("json"),
        "schema": ColumnType("json"),
    },
)

_decode_layout: Final = msgspec.msgpack.Decoder(TableLayout).decode


class ColumnCatalog:
    """The tables as of one timestamp, `_tables` among them.

    Attributes:
        tables: by number.
        views: the SQL name of each table by number: its own name, but where SQL would take two names for one.
        known: `tables` and those that were dropped since the catalog before.
    """

    def __init__(
        self, tables: Mapping[int, ColumnTable], known: Mapping[int, ColumnTable], owners: Mapping[str, int]
    ) -> None:
        self.tables = tables
        self.known = known
        self.views = _views(tables)
        # The number of the table that each document of `_tables` defines, to know what its deletion drops.
        self._owners = owners

    @classmethod
    def empty(cls) -> ColumnCatalog:
        """The catalog of a new store."""
        tables = {TABLES_NUMBER: ColumnTable(_TABLES)}
        return cls(tables, tables, {})

    def after(self, writes: Iterable[DocumentWrite]) -> ColumnCatalog:
        """The catalog once `writes` happened; writes to other tables than `_tables` do not matter."""
        tables, known, owners = dict(self.tables), dict(self.tables), dict(self._owners)
        for write in writes:
            if write.table != TABLES_NUMBER:
                continue
            if write.document is None:
                tables.pop(owners.pop(write.id, 0), None)
                continue
            layout = _decode_layout(write.document)
            owners[write.id] = layout.number
            before = tables.get(layout.number)
            if before is None or before.layout != layout:
                tables[layout.number] = known[layout.number] = ColumnTable(layout)
        if tables == self.tables and known == self.known:
            return self
        return ColumnCatalog(tables, known, owners)

    def documents_read(self, names: Iterable[str]) -> set[str]:
        """The document tables, and the history, among what SQL calls `names`, be it tables or views."""
        asked = {name.casefold() for name in names}
        found = {history.VIEW} if asked & {history.TABLE, history.VIEW} else set()
        for number, table in self.tables.items():
            if asked & {f"t{number}", self.views[number].casefold()}:
                found.add(table.layout.name)
        return found


def _views(tables: Mapping[int, ColumnTable]) -> dict[int, str]:
    views: dict[int, str] = {}
    taken = {history.VIEW}
    for number, table in sorted(tables.items()):
        name = table.layout.name
        views[number] = name if name.casefold() not in taken else f"{name}_{number}"
        taken.add(views[number].casefold())
    return views
