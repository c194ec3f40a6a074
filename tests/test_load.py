"""`db.load`: many documents from any source in one commit, or none and the row that is at fault."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

import reactive_db as rdb
from reactive_db.errors import DocumentError, SchemaError
from reactive_db.storage.sources import BATCH_ROWS
from tests.conftest import Open

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


class Trip(rdb.Document, table="load_trips", indexes={"by_line": ["line"]}):
    line: str
    at: datetime
    seats: int = 0
    fare: float | None = None


class Everything(rdb.Document, table="load_everything"):
    text: str
    number: float
    whole: int
    yes: bool
    day: date
    moment: datetime
    money: Decimal
    raw: bytes
    tags: list[str]
    nothing: str | None


ROWS: list[dict[str, Any]] = [
    {"line": "M1", "at": NOON, "seats": 3, "fare": 1.5},
    {"line": "M2", "at": NOON, "seats": 2**62, "fare": None},
]


@rdb.query
def trips(ctx: rdb.QueryCtx) -> list[Trip]:
    return ctx.db.query(Trip).take(100)


@rdb.query
def count(ctx: rdb.QueryCtx) -> int:
    return ctx.db.query(Trip).count()


def plain(found: list[Trip]) -> list[dict[str, Any]]:
    return [{"line": one.line, "at": one.at, "seats": one.seats, "fare": one.fare} for one in found]


def as_csv(folder: Path) -> Path:
    path = folder / "trips.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ROWS[0])
        writer.writeheader()
        writer.writerows({**row, "at": row["at"].isoformat()} for row in ROWS)
    return path


def as_parquet(folder: Path) -> Path:
    pa.parquet.write_table(pa.Table.from_pylist(ROWS), folder / "trips.parquet")
    return folder / "trips.parquet"


def as_frame(folder: Path) -> pd.DataFrame:
    return pd.DataFrame({name: [row[name] for row in ROWS] for name in ROWS[0]}, index=[7, 9])


def as_documents(folder: Path) -> Iterator[Trip]:
    return (Trip(**row) for row in ROWS)


SOURCES: dict[str, Callable[[Path], Any]] = {
    "CSV": as_csv,
    "CSV, by its name": lambda folder: str(as_csv(folder)),
    "Parquet": as_parquet,
    "DataFrame": as_frame,
    "polars": lambda folder: pl.DataFrame(ROWS),
    "Arrow": lambda folder: pa.Table.from_pylist(ROWS),
    "an Arrow batch": lambda folder: pa.RecordBatch.from_pylist(ROWS),
    "dicts": lambda folder: ROWS,
    "a generator of dicts": lambda folder: (dict(row) for row in ROWS),
    "documents": as_documents,
    "dicts and documents": lambda folder: [ROWS[0], Trip(**ROWS[1])],
    "SQL's own result": lambda folder: rdb.connect().sql(
        "SELECT * FROM (VALUES ('M1', TIMESTAMPTZ '2024-05-01 12:00:00+00', 3, 1.5::DOUBLE), "
        "('M2', TIMESTAMPTZ '2024-05-01 12:00:00+00', 4611686018427387904, NULL)) AS t(line, \"at\", seats, fare)"
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_documents_are_loaded_from(name: str, db: rdb.Database, tmp_path: Path) -> None:
    handle = db.live(count)
    before = db.ts
    assert db.load(Trip, SOURCES[name](tmp_path), progress=False) == 2
    assert plain(db.run(trips)) == ROWS
    assert handle.value == 2
    assert db.ts - before <= 2, "one commit, besides the table's definition"
    assert all(one.at.utcoffset() == NOON.utcoffset() for one in db.run(trips))


def test_what_is_loaded_is_there_after_a_restart(open_db: Open, tmp_path: Path) -> None:
    path = tmp_path / "course.rdb"
    db = open_db(path)
    db.load(Trip, ROWS, progress=False)
    before = repr(db.run(trips))
    db.close()
    assert repr(open_db(path).run(trips)) == before


def test_every_type_of_a_column_finds_its_field(db: rdb.Database) -> None:
    row = {
        "text": "é", "number": 1.5, "whole": 3, "yes": True, "day": date(2024, 5, 1), "moment": NOON,
        "money": Decimal("1.50"), "raw": b"\0\xff", "tags": ["a", "b"], "nothing": None,
    }  # fmt: skip
    found = rdb.query(lambda ctx: [[getattr(one, name) for name in row] for one in ctx.db.query(Everything)])
    assert db.load(Everything, pa.Table.from_pylist([row]), progress=False) == 1
    assert db.load(Everything, [row], progress=False) == 1
    assert db.run(found) == [list(row.values())] * 2


def test_a_time_without_a_zone_is_in_utc_in_a_column_and_refused_in_a_document(db: rdb.Database) -> None:
    """Files and frames write instants that way; in Python it is an instant that nobody knows."""
    naive = NOON.replace(tzinfo=None)
    db.load(Trip, pd.DataFrame({"line": ["M1"], "at": [naive]}), progress=False)
    assert db.run(trips)[0].at == NOON
    with pytest.raises(DocumentError, match=r"the datetime is naive.* at `\$\[0\]\.at`"):
        db.load(Trip, [{"line": "M2", "at": naive}], progress=False)


def test_a_time_in_another_zone_is_the_same_instant(db: rdb.Database) -> None:
    frame = pd.DataFrame({"line": ["M1"], "at": [pd.Timestamp(NOON).tz_convert("America/New_York")]})
    db.load(Trip, frame, progress=False)
    db.load(Trip, frame.to_dict("records"), progress=False)
    assert [(one.at, one.at.hour) for one in db.run(trips)] == [(NOON, 12)] * 2


def test_not_a_time_and_not_a_number_of_a_frame_are_null(db: rdb.Database) -> None:
    frame = pd.DataFrame({"line": ["M1"], "at": [NOON], "fare": [np.nan]})
    db.load(Trip, frame, progress=False)
    assert db.run(trips)[0].fare is None
    with pytest.raises(DocumentError, match=r"`NaT` is no time; use None at `\$\[0\]\.at`"):
        db.load(Trip, [{"line": "M1", "at": pd.NaT}], progress=False)


def test_scalars_of_numpy_and_pandas_are_values(db: rdb.Database) -> None:
    row = {"line": np.str_("M1"), "at": pd.Timestamp(NOON), "seats": np.int32(3), "fare": np.float32(1.5)}
    assert db.load(Trip, [row], progress=False) == 1
    assert plain(db.run(trips)) == [ROWS[0]]


def test_nothing_can_be_loaded_too(db: rdb.Database) -> None:
    for source in ([], iter(()), pd.DataFrame({"line": [], "at": []}), pa.table({"line": pa.array([], pa.string())})):
        assert db.load(Trip, source, progress=False) == 0
    assert db.run(trips) == []


def test_more_documents_than_a_mutation_may_write_in_more_than_one_batch(db: rdb.Database) -> None:
    rows = ({"line": str(at), "at": NOON} for at in range(BATCH_ROWS + 1))
    assert db.load(Trip, rows, progress=False) == BATCH_ROWS + 1
    assert db.run(count) == BATCH_ROWS + 1
    assert db.sql("SELECT count(*), count(DISTINCT _id) FROM load_trips").fetchone() == (BATCH_ROWS + 1,) * 2


def test_the_progress_bar_says_how_far_it_is(db: rdb.Database, capsys: pytest.CaptureFixture[str]) -> None:
    db.load(Trip, ROWS)
    assert "Loading load_trips" in capsys.readouterr().err
    db.load(Trip, ROWS, progress=False)
    assert capsys.readouterr().err == ""


# --- all or nothing --------------------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[Any, str, str]] = {
    "a wrong type": ({"line": 3, "at": NOON}, r"expected `str`, got `int`", ".line"),
    "text for a number": ({"line": "a", "at": NOON, "seats": "3"}, r"expected `int`, got `str`", ".seats"),
    "an unknown field": ({"line": "a", "at": NOON, "seat": 3}, "unknown field `seat`", ""),
    "a missing field": ({"line": "a"}, "missing required field `at`", ""),
    "an int that does not fit": ({"line": "a", "at": NOON, "seats": 2**63}, "does not fit into int64", ".seats"),
    "a lone surrogate": ({"line": "\ud800", "at": NOON}, "lone surrogate", ".line"),
    "a naive time": ({"line": "a", "at": NOON.replace(tzinfo=None)}, "the datetime is naive", ".at"),
    "no value": ({"line": "a", "at": NOON, "fare": object()}, "is not a type of value", ".fare"),
    "no row": (3, "expected a document or a dict of its fields, got `int`", ""),
    "an id of its own": ({"line": "a", "at": NOON, "_id": "j" * 32}, "given by the store", "._id"),
    "too much": ({"line": "a" * 2**20, "at": NOON}, "the document takes 1,048,.* bytes; at most", ""),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("at", [0, 5, BATCH_ROWS + 2])
def test_one_bad_row_is_named_and_nothing_is_inserted(name: str, at: int, db: rdb.Database) -> None:
    bad, says, path = FAULTS[name]
    rows: list[Any] = [dict(ROWS[0])] * at + [bad, ROWS[0]]
    with pytest.raises(DocumentError, match=says) as caught:
        db.load(Trip, iter(rows), progress=False)
    assert caught.value.path == f"$[{at}]{path}"
    assert f"at `$[{at}]{path}`" in str(caught.value)
    assert db.run(count) == 0
    assert db.sql("SELECT count(*) FROM load_trips").fetchone() == (0,)


def test_a_bad_row_of_a_frame_is_named_too(db: rdb.Database) -> None:
    frame = pd.DataFrame({"line": ["a", None, "c"], "at": [NOON] * 3})
    with pytest.raises(DocumentError, match=r"expected `str`, got `null` at `\$\[1\]\.line`"):
        db.load(Trip, frame, progress=False)
    assert db.run(count) == 0


def test_a_source_that_fails_halfway_inserts_nothing(db: rdb.Database) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from [ROWS[0]] * (BATCH_ROWS + 1)
        raise OSError("connection lost")

    with pytest.raises(OSError, match="connection lost"):
        db.load(Trip, broken(), progress=False)
    assert db.run(count) == 0


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.Table.from_pylist])
def test_columns_that_nothing_declares_are_named_before_a_row_is_read(
    make: Callable[[Any], Any], db: rdb.Database
) -> None:
    says = (
        r"the source has columns that table 'load_trips' has no fields for: seat, weekday\. Its fields: line, at, seats"
    )
    with pytest.raises(DocumentError, match=says):
        db.load(Trip, make([{"line": "a", "seat": 1, "weekday": 2}]), progress=False)
    assert db.run(count) == 0


# --- what nothing can be loaded from ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (3, "cannot load from `int`. Pass a .parquet or .csv path"),
        (None, "cannot load from `NoneType`"),
        (object(), "cannot load from `object`"),
        ("trips.xlsx", "cannot load trips.xlsx: only .parquet, .csv, .*files are known"),
    ],
)
def test_what_is_no_source_is_refused(db: rdb.Database, source: Any, says: str) -> None:
    with pytest.raises(DocumentError, match=says):
        db.load(Trip, source, progress=False)


def test_a_file_that_is_not_there_is_an_ordinary_mistake(db: rdb.Database, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        db.load(Trip, tmp_path / "nowhere.csv", progress=False)


@pytest.mark.parametrize("name", ["trips.parquet", "trips.csv"])
def test_a_damaged_file_is_named(name: str, db: rdb.Database, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xff\xfe garbage\n\x00")
    with pytest.raises(DocumentError, match=f"cannot read rows from .*{name}: "):
        db.load(Trip, path, progress=False)
    assert db.run(count) == 0


def test_a_line_of_a_file_that_is_too_short_is_named(db: rdb.Database, tmp_path: Path) -> None:
    path = tmp_path / "trips.csv"
    path.write_text("line,at,seats\na,2024-05-01 12:00:00Z,3\nb,2024-05-01 12:00:00Z\n")
    with pytest.raises(DocumentError, match=r"trips\.csv: .*Expected 3 columns, got 2: b,"):
        db.load(Trip, path, progress=False)


def test_a_column_of_mixed_values_is_named(db: rdb.Database) -> None:
    frame = pd.DataFrame({"line": ["a", 3], "at": [NOON, NOON]})
    with pytest.raises(DocumentError, match=r"cannot read rows from that `DataFrame`: .*column line"):
        db.load(Trip, frame, progress=False)


def test_two_columns_of_one_name_are_refused(db: rdb.Database) -> None:
    table = pa.table([pa.array(["a"]), pa.array(["b"]), pa.array([NOON])], names=["line", "line", "at"])
    with pytest.raises(DocumentError, match="the source has two columns of one name: line"):
        db.load(Trip, table, progress=False)


@pytest.mark.parametrize("thing", [None, "load_trips", dict, rdb.Object])
def test_only_a_document_class_can_be_loaded(db: rdb.Database, thing: Any) -> None:
    with pytest.raises(SchemaError, match="expected a document class"):
        db.load(thing, ROWS, progress=False)
