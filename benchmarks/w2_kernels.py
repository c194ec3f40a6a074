"""W2 between two kernels: a mutation in one process, until the callback of a live query in another has the result.

A Jupyter server with our extension owns the store; writer and subscriber are processes of their own, connected as a
script is, by address and token. 100,000 messages in 1,000 channels; live query: the newest 20 of one channel. Beside
it, in the same minute: what one flush and one round trip of a bare websocket cost on this machine, which is the least
that any such system pays. The clock is the one that all processes of a machine share.

The checks: every value begins with the message just inserted, each insert is told once, and none is lost.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

from benchmarks import data, fresh
from benchmarks.kernels import TOKEN, environment
from benchmarks.measure import latency_figures
from benchmarks.results import Check, Column, Goal, Measurement, figure
from benchmarks.servers import LOOPBACK, Server, free_port
from benchmarks.systems import OURS, Options
from benchmarks.web_socket import WebSocket

TITLE = "W2 write to subscriber, two kernels"
ABOUT = "One process inserts, another has the new result of its live query; the store is a Jupyter server's."
SYSTEMS = (OURS,)
COLUMNS = (
    Column("flush_us", "one flush p50 us"),
    Column("round_trip_us", "bare websocket round trip p50 us"),
    Column("run_p50_us", "db.run p50 us"),
    Column("p50_us", "to callback p50 us"),
    Column("p99_us", "p99 us"),
    Column("ratio", "callback / (flush + round trip)", "{:.2f}"),
)
CASE = "channel 7"
GOALS = (Goal("at most 2 x (one flush + one bare websocket round trip)", figure(OURS, CASE, "ratio"), at_most=2),)
MESSAGES, CHANNELS, CHANNEL = 100_000, 1_000, 7
INSERTS, WARM_UP_INSERTS = 400, 50
FLUSHES, ROUND_TRIPS = 200, 400
FRAME = b"x" * 1_024


def run(system: str, options: Options) -> list[Measurement]:
    """One fresh process for the writer, which starts the others."""
    return fresh.call(measure, system, options)


def measure(system: str, options: Options) -> list[Measurement]:
    directory = options.directory / "w2-kernels"
    directory.mkdir()
    with jupyter_server(directory) as address:
        flush_us, round_trip_us = flush(directory), round_trip(address)
        runs, latencies, wrong, count = _insert(address, max(1, round(MESSAGES * options.scale)))
    figures = {
        "flush_us": flush_us,
        "round_trip_us": round_trip_us,
        "run_p50_us": median(runs) / 1e3,
        **latency_figures(latencies),
    }
    figures["ratio"] = figures["p50_us"] / (flush_us + round_trip_us)
    checks = [
        Check("every value begins with the message just inserted", not wrong, "; ".join(wrong[:2])),
        Check("nothing lost", count == 0, f"{count} messages too few"),
    ]
    return [Measurement(system, CASE, figures, checks)]


@contextmanager
def jupyter_server(directory: Path) -> Iterator[str]:
    """A Jupyter server with our extension; its host and port."""
    address = f"{LOOPBACK}:{(port := free_port())}"
    command = [
        *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--ServerApp.root_dir={directory}"),
        *(f"--ServerApp.ip={LOOPBACK}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(
            "--ServerApp.jpserver_extensions=benchmarks.echo=True",
            "--ServerApp.jpserver_extensions=reactive_db.server=True",
        ),
        f"--IdentityProvider.token={TOKEN}",
    ]
    ready = partial(_ask, f"http://{address}/api/status")
    server = Server(command, directory / "server.log", ready, stop=signal.SIGTERM, environment=environment(directory))
    try:
        yield address
    finally:
        server.stop()


def flush(directory: Path) -> float:
    """What it costs to append 1 KB to a file and have it on the disk, p50 in us."""
    times = []
    with (directory / "flush").open("wb", buffering=0) as file:
        for _ in range(FLUSHES):
            before = perf_counter_ns()
            file.write(FRAME)
            os.fdatasync(file.fileno())
            times.append(perf_counter_ns() - before)
    return median(times) / 1e3


def round_trip(address: str) -> float:
    """What it costs to send 1 KB to the same kind of server and have it back, p50 in us."""
    echo = WebSocket(f"ws://{address}/benchmarks/echo", {"Authorization": f"token {TOKEN}"})
    times = []
    for _ in range(ROUND_TRIPS):
        before = perf_counter_ns()
        echo.send(FRAME)
        _, received_ns = echo.receive()
        times.append(received_ns - before)
    echo.close()
    return median(times) / 1e3


def _insert(address: str, messages: int) -> tuple[list[int], list[int], list[str], int]:
    """Latencies of `db.run` and to the callback, in ns; what was wrong; how many messages are missing."""
    import reactive_db as rdb
    from benchmarks import reactive_store as store

    db = rdb.connect(f"http://{address}/reactive-db/messages", token=TOKEN)
    rows = [{"n": n, "channel": n % CHANNELS, "body": data.MESSAGE_BODY} for n in range(messages)]
    db.load(store.Message, rows, progress=False)
    runs, latencies, wrong = [], [], []
    with subscriber(address) as told:
        next(told)  # the first value
        for turn in range(-WARM_UP_INSERTS, INSERTS):
            number = messages + turn + WARM_UP_INSERTS
            before = perf_counter_ns()
            db.run(store.send, number, CHANNEL, data.MESSAGE_BODY)
            after = perf_counter_ns()
            at_ns, newest = next(told)
            if newest != number:
                wrong.append(f"{newest} instead of {number}")
            if turn >= 0:
                runs.append(after - before)
                latencies.append(at_ns - before)
    missing = messages + INSERTS + WARM_UP_INSERTS - db.sql("SELECT count(*) FROM messages").fetchall()[0][0]
    db.close()
    return runs, latencies, wrong, missing


@contextmanager
def subscriber(address: str) -> Iterator[Iterator[tuple[int, int]]]:
    """Another process with the live query; when it was told what, as it says on its standard output."""
    command = [sys.executable, "-m", "benchmarks.w2_kernels", address]
    process = subprocess.Popen(command, cwd=fresh.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (tuple(json.loads(line)) for line in process.stdout)
    finally:
        process.stdin.close()
        process.wait()


def subscribe(address: str) -> None:
    """The subscriber's side."""
    import reactive_db as rdb
    from benchmarks import reactive_store as store

    def tell(value: list[Any]) -> None:
        at_ns = perf_counter_ns()
        print(json.dumps([at_ns, value[0].n if value else None]), flush=True)

    db = rdb.connect(f"http://{address}/reactive-db/messages", token=TOKEN)
    handle = db.live(store.newest, CHANNEL)
    handle.observe(lambda change: tell(change["new"]), "value")
    tell(handle.value)
    sys.stdin.read()
    db.close()


def _ask(url: str) -> None:
    import urllib.request

    request = urllib.request.Request(url, headers={"Authorization": f"token {TOKEN}"})
    urllib.request.urlopen(request, timeout=5).close()


if __name__ == "__main__":
    subscribe(sys.argv[1])
