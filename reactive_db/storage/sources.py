"""Sources of a bulk load: Parquet and CSV files, data frames, Arrow, or any iterable, as batches of plain rows."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sized
from datetime import UTC
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from reactive_db.errors import DocumentError

BATCH_ROWS: Final = 16_384
_CSV_BLOCK_BYTES_MAX: Final = 2**31 - 1

Rows = list[dict[str, Any]]


class Source:
    """Rows to come.

    Attributes:
        total: how many, None if only the end will tell.
        columns: their names, None if every row may have its own.
        safe: those of the columns whose type leaves no value that a document could not hold.
    """

    def __init__(
        self,
        batches: Iterable[Rows],
        total: int | None,
        columns: list[str] | None = None,
        safe: frozenset[str] = frozenset(),
    ) -> None:
        self.safe = safe
        self.batches = batches
        self.total = total
        self.columns = columns


def open_source(source: Any) -> Source:
    """What `db.load` accepts, opened.

    Raises:
        DocumentError: it is nothing that rows can be read from, or damaged.
    """
    try:
        return _opened(source)
    except (pa.ArrowException, UnicodeError, zipfile.BadZipFile) as error:
        what = str(source) if isinstance(source, str | PathLike) else f"that `{type(source).__name__}`"
        raise DocumentError(f"cannot read rows from {what}: {str(error).strip().rstrip('.')}.", table="") from error


def _opened(source: Any) -> Source:
    if isinstance(source, str | PathLike):
        return _of_arrow(_read_file(Path(fspath(source))))
    if isinstance(source, pa.RecordBatch):
        return _of_arrow(pa.Table.from_batches([source]))
    if isinstance(source, pa.Table):
        return _of_arrow(source)
    if type(source).__module__.split(".")[0] == "pandas":
        return _of_arrow(pa.Table.from_pandas(source, preserve_index=False))
    if hasattr(source, "__arrow_c_stream__"):
        return _of_arrow(pa.table(source))
    if isinstance(source, Iterable):
        total = len(source) if isinstance(source, Sized) else None
        return Source(_batched(source), total)
    raise DocumentError(
        f"cannot load from `{type(source).__name__}`. Pass a .parquet or .csv path, a data frame, an Arrow table, or "
        "an iterable of documents or dicts.",
        table="",
    )


def _read_file(path: Path) -> pa.Table:
    suffixes = path.name.lower()
    if suffixes.endswith(".parquet"):
        return pyarrow.parquet.read_table(path)
    if suffixes.endswith((".csv", ".csv.gz", ".csv.zip")):
        return _read_csv(_text_of(path))
    raise DocumentError(f"cannot load {path}: only .parquet, .csv, .csv.gz and .csv.zip files are known.", table="")


def _read_csv(text: bytes) -> pa.Table:
    # One block: the type of a column is found from all of its values. The first megabyte may hold nothing but gaps.
    whole = pyarrow.csv.ReadOptions(block_size=min(max(len(text), 1), _CSV_BLOCK_BYTES_MAX))
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    return pyarrow.csv.read_csv(pa.BufferReader(text), read_options=whole, convert_options=options)


def _text_of(path: Path) -> bytes:
    """The content of a file that may be packed."""
    if path.suffix.lower() != ".zip":
        with pa.input_stream(path, compression="detect") as stream:
            return cast(bytes, stream.read())
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise DocumentError(f"cannot load {path}: it holds {len(names)} files; one is wanted. Unpack it.", table="")
        return archive.read(names[0])


def _batched(source: Iterable[Any]) -> Iterator[Rows]:
    rows = iter(source)
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch


def _of_arrow(table: pa.Table) -> Source:
    names = list(table.column_names)

    def batches() -> Iterator[Rows]:
        for batch in table.to_batches(max_chunksize=BATCH_ROWS):
            columns = [_values(column) for column in batch.columns]
            yield [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    # A 64-bit column holds 64 bits, and `_values` puts a zone on every timestamp; no row needs to be asked again.
    safe = frozenset(field.name for field in table.schema if _is_safe(field.type))
    return Source(batches(), table.num_rows, names, safe)


def _is_safe(type_: pa.DataType) -> bool:
    is_integer = pa.types.is_signed_integer(type_) or type_ in (pa.uint8(), pa.uint16(), pa.uint32())
    return bool(is_integer or pa.types.is_timestamp(type_))


def _values(column: pa.Array) -> list[Any]:
    """The Python values of a column; a timestamp without a zone is in UTC."""
    if pa.types.is_timestamp(column.type):
        # Documents hold microseconds; a nanosecond would not survive, and pandas writes them even where none is used.
        column = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
        return _times(column)
    # numpy boxes numbers ten times as fast as Arrow does, but has no null.
    if column.null_count == 0 and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        values: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
        return values
    plain: list[Any] = column.to_pylist()
    return plain


def _times(column: pa.Array) -> list[Any]:
    """Datetimes in UTC, of a column in microseconds: numpy makes them three times as fast as Arrow does."""
    naive = column.cast(pa.timestamp("us"))  # Arrow keeps UTC, with or without a zone
    times = naive.to_numpy(zero_copy_only=False).tolist()
    if any(type(at) is int for at in times):
        return cast("list[Any]", pc.assume_timezone(naive, "UTC").to_pylist())  # says which year is out of range
    return [None if at is None else at.replace(tzinfo=UTC) for at in times]
