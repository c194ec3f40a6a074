"""Kernels of one Jupyter server share its stores: no configuration, no port, no token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.server.jupyter import JupyterServer, KernelSocket

PROGRAM = """
import json, threading
import reactive_db as rdb

class Note(rdb.Document, table="notes"):
    text: str

class Counter(rdb.Document, table="counters"):
    n: int = 0

@rdb.query
def notes(ctx: rdb.QueryCtx) -> list[str]:
    return sorted(note.text for note in ctx.db.query(Note))

@rdb.query
def total(ctx: rdb.QueryCtx) -> int:
    return sum(counter.n for counter in ctx.db.query(Counter))

@rdb.mutation
def write(ctx: rdb.MutationCtx, text: str) -> None:
    ctx.db.insert(Note(text=text))

@rdb.mutation
def count(ctx: rdb.MutationCtx) -> None:
    counter = ctx.db.query(Counter).first()
    if counter is None:
        ctx.db.insert(Counter(n=1))
    else:
        ctx.db.patch(counter.id, n=counter.n + 1)

def until(handle, is_so):
    changed = threading.Event()
    handle.observe(lambda change: changed.set(), ["value", "status"])
    while not is_so(handle):
        assert changed.wait(60), handle
        changed.clear()
    return handle.value
"""


@pytest.fixture
def kernels(jupyter: JupyterServer, request: pytest.FixtureRequest) -> Iterator[list[KernelSocket]]:
    """As many kernels as the test asks for, with the program above and a store of the test's own as `db`."""
    store = request.node.name.replace("[", "-").rstrip("]")
    names = [jupyter.new_kernel() for _ in range(request.param)]

    def prepared(name: str) -> KernelSocket:
        # Read at once: the server gives up a socket that does not answer its pings for 30 s.
        socket = KernelSocket(jupyter, name)
        socket.run(PROGRAM + f"\ndb = rdb.connect({store!r}); shown = db.live(notes)")
        return socket

    with ThreadPoolExecutor(len(names)) as pool:
        found = list(pool.map(prepared, names))
    yield found
    for socket, name in zip(found, names, strict=True):
        socket.close()
        jupyter.end_kernel(name)


def everywhere(kernels: list[KernelSocket], code: str) -> list[str]:
    """Run the same cell in all of them at once; what each printed."""
    with ThreadPoolExecutor(len(kernels)) as pool:
        return list(pool.map(lambda kernel: kernel.run(code), kernels))


@pytest.mark.parametrize("kernels", [2], indirect=True)
def test_what_one_writes_the_other_shows(kernels: list[KernelSocket]) -> None:
    one, other = kernels
    one.run("db.run(write, 'hello')")
    assert other.run("print(until(shown, lambda handle: handle.value))") == "['hello']"
    assert one.run("print(shown.value)") == "['hello']"  # without waiting: its own


@pytest.mark.parametrize("kernels", [2], indirect=True)
def test_sql_sees_what_the_other_wrote(kernels: list[KernelSocket]) -> None:
    one, other = kernels
    other.run("lengths = db.live('SELECT count(*) AS n FROM notes')")
    one.run("db.run(write, 'x')")
    assert other.run("print(until(lengths, lambda handle: handle.value.fetchone()[0]).fetchone())") == "(1,)"


@pytest.mark.parametrize("kernels", [2], indirect=True)
def test_each_sees_who_is_there(kernels: list[KernelSocket]) -> None:
    one, _ = kernels
    assert one.run("who = db.presence\nprint(len(until(who, lambda handle: len(handle.value) == 2)))") == "2"


@pytest.mark.parametrize("kernels", [2], indirect=True)
def test_a_bulk_load_reaches_the_other(kernels: list[KernelSocket]) -> None:
    one, other = kernels
    one.run("db.load(Note, [{'text': f'{n:05}'} for n in range(5000)], progress=False)")
    assert other.run("print(until(shown, lambda handle: len(handle.value) == 5000)[-1])") == "04999"


@pytest.mark.parametrize("kernels", [20], indirect=True)
def test_twenty_kernels_lose_no_update(kernels: list[KernelSocket]) -> None:
    everywhere(kernels, "for _ in range(5): db.run(count)")
    everywhere(kernels, "db.run(write, 'done')")
    sums = everywhere(kernels, "everybody = until(shown, lambda handle: len(handle.value) == 20)\nprint(db.run(total))")
    assert sums == ["100"] * 20


def test_a_store_on_the_servers_machine_by_its_path(jupyter: JupyterServer, tmp_path: Any) -> None:
    with jupyter.connection() as kernel:
        place = kernel.run(PROGRAM + f"db = rdb.connect({str(tmp_path / 'own.rdb')!r}); db.run(write, 'x'); print(db)")
    assert "own.rdb" in place
    assert json.loads((tmp_path / "own.rdb" / "format.json").read_text("utf-8"))
