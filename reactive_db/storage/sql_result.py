"""The result of an SQL statement: an Arrow table at a timestamp, in whatever form its reader likes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb
import pyarrow as pa

from reactive_db.presentation import Grid, as_html, as_text

if TYPE_CHECKING:
    import pandas
    import polars


class SqlResult:
    """Rows that do not change any more.

    Attributes:
        ts: the timestamp that the statement saw.
    """

    def __init__(self, table: pa.Table, ts: int) -> None:
        self._table = table
        self.ts = ts

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._table.column_names)

    def rows(self) -> list[dict[str, Any]]:
        """Every row, by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.fetchall()]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Every row as a tuple, as DuckDB's own method does."""
        return list(zip(*(column.to_pylist() for column in self._table.columns), strict=True))

    def fetchone(self) -> tuple[Any, ...] | None:
        """The first row, None if there is none."""
        return next(iter(SqlResult(self._table.slice(0, 1), self.ts).fetchall()), None)

    def df(self) -> pandas.DataFrame:
        """As a pandas DataFrame."""
        frame: pandas.DataFrame = self._table.to_pandas()
        return frame

    def pl(self) -> polars.DataFrame:
        """As a polars DataFrame."""
        import polars

        return polars.DataFrame(self._table)

    def arrow(self) -> pa.Table:
        """As an Arrow table, without a copy."""
        return self._table

    def relation(self) -> duckdb.DuckDBPyRelation:
        """As a DuckDB relation, for further SQL over just these rows."""
        return duckdb.from_arrow(self._table)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.fetchall())

    def __eq__(self, other: object) -> bool:
        """Whether the rows are the same, at whatever timestamps."""
        return isinstance(other, SqlResult) and bool(self._table.equals(other._table))

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def _grid_(self, rows_max: int) -> Grid:
        head = SqlResult(self._table.slice(0, rows_max), self.ts)
        return Grid(self.columns, [list(row) for row in head.fetchall()], len(self))

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> SqlResult:
        return self  # nothing in it can be changed


def to_ipc(result: SqlResult) -> bytes:
    """The rows as an Arrow stream, to be sent elsewhere."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, result.arrow().schema) as stream:
        stream.write_table(result.arrow())
    data: bytes = sink.getvalue().to_pybytes()
    return data


def of_ipc(data: bytes, ts: int) -> SqlResult:
    """The result that `to_ipc` made a stream of."""
    with pa.ipc.open_stream(data) as stream:
        return SqlResult(stream.read_all(), ts)
