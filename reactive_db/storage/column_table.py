"""One document table as DuckDB has it: its columns, row keys and statements, and its documents as rows.

Knows DuckDB's SQL but holds no connection; `columns.py` runs the statements.

A row's key is the sixteen inner bytes of its document's id, as two integers: exactly one row per id, and
cheap to find. (Comparing `_id` would make a delete read the strings of the whole table, five times the cost.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from reactive_db.model.ids import ID_LENGTH
from reactive_db.model.layout import TableLayout
from reactive_db.storage.column_types import (
    ID_COLUMN,
    WHOLE_DOCUMENT,
    arrow_array,
    arrow_type,
    column_form,
    converter,
    needs_cast,
    quoted,
    sql_type,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIGITS: Final = np.zeros(256, dtype=np.uint64)
_DIGITS[np.frombuffer(b"0123456789abcdefghjkmnpqrstvwxyz", dtype=np.uint8)] = np.arange(32)

_encode_json: Final = msgspec.json.Encoder().encode


class ColumnTable:
    """The columns of one `TableLayout`."""

    def __init__(self, layout: TableLayout) -> None:
        self.layout = layout
        self.name = f'store."t{layout.number}"'
        self._columns = {field: column_form(column) for field, column in layout.columns.items()}
        self._arrays = [(arrow_type(column), converter(column)) for column in self._columns.values()]
        self._getters = [attrgetter(f"f{at}") for at in range(len(self._columns))]

    @cached_property
    def column_names(self) -> list[str]:
        """The SQL name of each field: its own, but where two differ only by case, which SQL ignores."""
        taken = {"_id", "_creation_time", "_rid", "_rid_low", "_doc"}
        names = []
        for field in self._columns:
            name, attempt = field, 1
            while name.casefold() in taken:
                attempt += 1
                name = f"{field}_{attempt}"
            taken.add(name.casefold())
            names.append(name)
        return names

    @cached_property
    def create_sql(self) -> str:
        columns = zip(self.column_names, self._columns.values(), strict=True)
        typed = "".join(f"{quoted(name)} {sql_type(column)}, " for name, column in columns)
        head = f"_rid BIGINT, _rid_low BIGINT, {ID_COLUMN}, _creation_time DOUBLE"
        return f"CREATE TABLE {self.name} ({head}, {typed}_doc BLOB {WHOLE_DOCUMENT})"

    @cached_property
    def drop_sql(self) -> str:
        return f"DROP TABLE {self.name}"

    def create_view_sql(self, view: str) -> str:
        return f"CREATE VIEW main.{quoted(view)} AS SELECT * EXCLUDE (_rid, _rid_low, _doc) FROM {self.name}"

    @cached_property
    def insert_sql(self) -> str:
        """Takes the rows of `rows` from an Arrow table called `batch`."""
        values = "".join(
            f"TRY_CAST(c{at} AS {sql_type(column)}), " if needs_cast(column) else f"c{at}, "
            for at, column in enumerate(self._columns.values())
        )
        return f"INSERT INTO {self.name} SELECT _rid, _rid_low, _id, _creation_time, {values}_doc FROM batch"

    @cached_property
    def delete_sql(self) -> str:
        """Takes the keys of `row_keys` from an Arrow table called `batch`."""
        where = "t._rid = batch._rid AND t._rid_low = batch._rid_low"
        return f"DELETE FROM {self.name} AS t USING batch WHERE {where}"

    @cached_property
    def load_sql(self) -> str:
        return f"SELECT _id, _doc FROM {self.name}"

    def condition(self, fields: Sequence[str], value: str) -> str:
        """SQL that is true of the rows which have `value` in one of `fields`."""
        names = dict(zip(self.layout.columns, self.column_names, strict=True))
        literal = "'" + value.replace("'", "''") + "'"
        return " OR ".join(f"{quoted(names[field])} = {literal}" for field in fields) or "false"

    def decode(self, documents: Sequence[bytes]) -> list[Any]:
        """The documents as objects that `rows` and `json` read; nothing else can."""
        decode = self._decode
        return [decode(document) for document in documents]

    def rows(self, ids: Sequence[str], documents: Sequence[bytes], decoded: Sequence[Any]) -> pa.Table:
        """Rows for `insert_sql`; the three sequences belong together."""
        arrays = [
            arrow_array([get(document) for document in decoded], type_, convert)
            for get, (type_, convert) in zip(self._getters, self._arrays, strict=True)
        ]
        names = ["_creation_time", *(f"c{at}" for at in range(len(arrays))), "_doc", "_id"]
        creation_times = pa.array([document.creation_time for document in decoded], pa.float64())
        columns = [creation_times, *arrays, pa.array(documents, pa.binary()), pa.array(ids, pa.string())]
        keys = row_keys(ids)
        return pa.table([*keys.columns, *columns], names=[*keys.column_names, *names])

    @staticmethod
    def json(decoded: Sequence[Any]) -> list[bytes]:
        """The documents as JSON. It has no NaN or infinity (they are null there) and bytes are base64."""
        return [_encode_json(document) for document in decoded]

    @cached_property
    def _decode(self) -> Any:
        # A struct without garbage collection: a dict per document makes the collector run again and again.
        fields: list[tuple[str, Any, Any]] = [
            ("id", Any, msgspec.field(name="_id")),
            ("creation_time", Any, msgspec.field(name="_creationTime")),
        ]
        for at, field in enumerate(self._columns):
            fields.append((f"f{at}", Any, msgspec.field(name=field, default=msgspec.UNSET)))
        row = msgspec.defstruct("Row", fields, gc=False)
        return msgspec.msgpack.Decoder(row).decode


def row_keys(ids: Sequence[str]) -> pa.Table:
    """The keys of the rows of valid `ids`, for `delete_sql`."""
    text = np.frombuffer("".join(ids).encode("ascii"), dtype=np.uint8).reshape(len(ids), ID_LENGTH)
    # Eight digits are five bytes; the inner sixteen bytes begin after two and end before the last two.
    high = (_number(text[:, 0:8]) & np.uint64(0xFFFFFF)) << np.uint64(40) | _number(text[:, 8:16])
    low = _number(text[:, 16:24]) << np.uint64(24) | _number(text[:, 24:32]) >> np.uint64(16)
    return pa.table({"_rid": high.view(np.int64), "_rid_low": low.view(np.int64)})


def _number(digits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    number = np.zeros(len(digits), dtype=np.uint64)
    for at in range(digits.shape[1]):
        number = number << np.uint64(5) | _DIGITS[digits[:, at]]
    return number
