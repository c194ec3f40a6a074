"""Files as sources of a load: packed or not, with gaps, and types found from all of their values."""

from __future__ import annotations

import gzip
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reactive_db.errors import DocumentError
from reactive_db.storage.sources import open_source

CSV = "name,n,when\nx,1,2013-01-01T10:00:00Z\nNA,NA,2013-01-01T11:00:00Z\n"
ROWS = [
    {"name": "x", "n": 1, "when": datetime(2013, 1, 1, 10, tzinfo=UTC)},
    {"name": None, "n": None, "when": datetime(2013, 1, 1, 11, tzinfo=UTC)},
]


def rows(path: Path) -> list[object]:
    return [row for batch in open_source(path).batches for row in batch]


def test_csv_files_may_be_packed(tmp_path: Path) -> None:
    plain, packed, zipped = (tmp_path / f"data.csv{suffix}" for suffix in ("", ".gz", ".zip"))
    plain.write_text(CSV)
    packed.write_bytes(gzip.compress(CSV.encode()))
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("data.csv", CSV)
    assert rows(plain) == rows(packed) == rows(zipped) == ROWS


def test_a_column_may_begin_with_gaps_for_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text("name,gust\n" + f"{'x' * 1_000},NA\n" * 1_500 + "last,20.5\n")
    found = rows(path)
    assert found[0] == {"name": "x" * 1_000, "gust": None}
    assert found[-1] == {"name": "last", "gust": 20.5}


def test_an_archive_of_several_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", CSV)
        archive.writestr("b.csv", CSV)
    with pytest.raises(DocumentError, match="it holds 2 files"):
        open_source(path)


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"only \.parquet, \.csv"):
        open_source(tmp_path / "data.xlsx")
