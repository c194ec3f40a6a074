"""reactive_db in a notebook: what a user would write in its cells, run in a real kernel."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns

from benchmarks.graphs import Graph
from benchmarks.kernels import Kernel, ServedKernel
from benchmarks.notebook_page import Page

PROGRAM = """
%load_ext reactive_db
import threading, time
import reactive_db as rdb

class Counter(rdb.Document, table="counters"):
    n: int = 0
    changed_ns: int = 0

@rdb.query
def read(ctx: rdb.QueryCtx, id: rdb.Id[Counter]) -> Counter:
    return ctx.db.get(id)

@rdb.mutation
def add(ctx: rdb.MutationCtx) -> rdb.Id[Counter]:
    return ctx.db.insert(Counter())

@rdb.mutation
def put(ctx: rdb.MutationCtx, id: rdb.Id[Counter], n: int, changed_ns: int = 0) -> None:
    ctx.db.patch(id, n=n, changed_ns=changed_ns)

@rdb.mutation
def bump(ctx: rdb.MutationCtx, id: rdb.Id[Counter]) -> None:
    ctx.db.patch(id, n=ctx.db.get(id).n + 1)
"""
IN_MEMORY, DURABLE = "rdb.connect(':memory:')", "rdb.connect('benchmark')"

TABLE_PROGRAM = """
%load_ext reactive_db
import pyarrow
import reactive_db as rdb
from reactive_db.notebook.widgets import Table

class Item(rdb.Document, table="items"):
    name: str
    n: int
    x: float
    is_done: bool

@rdb.query
def items(ctx: rdb.QueryCtx) -> list[Item]:
    return ctx.db.query(Item).collect()

@rdb.mutation
def set_n(ctx: rdb.MutationCtx, id: rdb.Id[Item], n: int) -> None:
    ctx.db.patch(id, n=n)

db = rdb.connect("benchmark", limits=rdb.Limits(documents_read_max=1_000_000))
numbers = range({rows})
names, halves, flags = ([f"item {{n}}" for n in numbers], [n / 2 for n in numbers], [n % 3 == 0 for n in numbers])
db.load(Item, pyarrow.table({{"name": names, "n": numbers, "x": halves, "is_done": flags}}))
handle = db.live(items)
table = Table(handle)
"""


def page_of(kernel: Kernel, store: str) -> Page:
    """A page on a kernel that has the program above and follows one counter in `store`."""
    page = Page(kernel)
    page.run(f"{PROGRAM}\ndb = {store}\nid = db.run(add)\ncounter = db.live(read, id)")
    return page


class Cells:
    """W8; see `systems.Cells`. A durable store in a kernel behind a Jupyter server."""

    def __init__(self, directory: Path, graph: Graph, *, is_prompt: bool = True) -> None:
        self._graph = graph
        self._kernel = ServedKernel(directory, is_prompt=is_prompt)
        self._page = page_of(self._kernel, DURABLE)
        self._cells = [f"cell{position}" for position in range(graph.size)]
        for position, cell in enumerate(self._cells):
            self._page.run(f"%%live\n{graph.code(position, 'counter.value.n')}", cell)

    def become_lab(self) -> None:
        """From now on, be a page that has our labextension, as JupyterLab's has."""
        self._page.hello()

    def change(self, number: int) -> int:
        page = self._page
        waiting = dict(zip(self._cells, self._graph.expected(number), strict=True))
        before = received_ns = perf_counter_ns()
        request = page.start(f"db.run(put, id, {number})")
        while waiting:
            received_ns = page.take().received_ns
            for cell in [cell for cell, text in waiting.items() if page.shown[cell] == text]:
                del waiting[cell]
        page.finish(request)
        return received_ns - before

    def shown(self) -> list[str]:
        return [self._page.shown[cell] for cell in self._cells]

    def messages(self) -> int:
        return self._page.updates

    def close(self) -> None:
        self._kernel.close()
