"""W7, cold start and memory: one million documents `{id, g, x, owner, body 100 B}` in a file.

The file is built in one process and opened in fresh ones: one opens it and gets one document, another opens it and
runs the first SQL (`group by` over everything). Time runs from before opening to the answer; importing the library is
not in it. Memory is the growth of the process's resident set from before opening until after the first `get`, per
document; for SQLite and DuckDB that is their page cache, since they keep no documents in memory.

The page cache is warm: the file has just been written. Emptying it needs root and would measure the disk.
The checks: the document's `x`, and every group's count and sum, are what the generator says.
"""

from __future__ import annotations

import gc
from pathlib import Path
from time import perf_counter

from benchmarks import data, fresh, systems
from benchmarks.machine import resident_bytes
from benchmarks.results import Check, Column, Goal, Measurement, figure
from benchmarks.systems import OURS, Items, Options

TITLE = "W7 cold start and memory"
ABOUT = "1,000,000 documents of about 170 B, times --scale; each figure from a fresh process, page cache warm."
SYSTEMS = (OURS, "sqlite", "duckdb")
COLUMNS = (
    Column("open_get_s", "open + first get s", "{:.3f}"),
    Column("open_sql_s", "open + first SQL s", "{:.3f}"),
    Column("second_get_us", "second get us"),
    Column("document_bytes", "RSS B / document"),
    Column("disk_bytes", "disk B / document"),
    Column("build_rate", "build docs/s"),
)
CASE = "cold"
FIRST_GET, FIRST_SQL = figure(OURS, CASE, "open_get_s"), figure(OURS, CASE, "open_sql_s")
MEMORY = figure(OURS, CASE, "document_bytes")
GOALS = (
    Goal("first get under 3 s", FIRST_GET, at_most=3, format="{:.2f} s", full_size=True),
    Goal("first SQL under 0.5 s", FIRST_SQL, at_most=0.5, format="{:.2f} s", full_size=True),
    Goal("at most 1 KB per document", MEMORY, at_most=1024, format="{:,.0f} B", full_size=True),
)
DOCUMENTS = 1_000_000


def run(system: str, options: Options) -> list[Measurement]:
    """Build in one process, open in two others."""
    documents = int(DOCUMENTS * options.scale)
    directory = options.directory / f"w7-{system}"
    directory.mkdir()
    path = directory / f"items.{'rdb' if system == OURS else system}"
    key, seconds = fresh.call(build, system, path, documents)
    got, figures = fresh.call(open_and_get, system, path, key, documents)
    groups, open_sql_s = fresh.call(open_and_group, system, path)
    figures["open_sql_s"] = open_sql_s
    figures["build_rate"] = documents / seconds
    figures["disk_bytes"] = _disk_bytes(directory) / documents
    x, expected = data.item_x(documents // 2), data.item_groups(documents)
    checks = [
        Check("the document is right", got == x, f"x = {got}, expected {x}"),
        Check("every group is right", groups == expected, f"{len(groups)} of {len(expected)} groups"),
    ]
    return [Measurement(system, CASE, figures, checks)]


def build(system: str, path: Path, documents: int) -> tuple[str, float]:
    """The key to get, and how long building took."""
    before = perf_counter()
    key: str = systems.role(system, "Items").build(path, documents)
    return key, perf_counter() - before


def open_and_get(system: str, path: Path, key: str, documents: int) -> tuple[int, dict[str, float]]:
    opener = _opener(system)
    gc.collect()
    memory, before = resident_bytes(), perf_counter()
    items: Items = opener(path)
    got = items.get(key)
    opened = perf_counter()
    items.get(key)
    again = perf_counter()
    figures = {
        "open_get_s": opened - before,
        "second_get_us": (again - opened) * 1e6,
        "document_bytes": (resident_bytes() - memory) / documents,
    }
    items.close()
    return got, figures


def open_and_group(system: str, path: Path) -> tuple[dict[int, tuple[int, int]], float]:
    opener = _opener(system)
    before = perf_counter()
    items: Items = opener(path)
    groups = items.groups()
    seconds = perf_counter() - before
    items.close()
    return groups, seconds


def _opener(system: str) -> type[Items]:
    """The class that opens the file, with its library imported by asking for the version."""
    systems.system(system).version()
    opener: type[Items] = systems.role(system, "Items")
    return opener


def _disk_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
