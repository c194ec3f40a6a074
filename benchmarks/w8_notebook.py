"""W8, the notebook: how soon a page has what a mutation has changed, and that it misses nothing.

- One live cell in a kernel over bare ZMQ, beside a bare widget of ipywidgets that is set in the same kernel, in turns.
- Graphs of dependent cells behind a Jupyter server, beside marimo. As a page without our labextension is told, one
  message per cell, and as JupyterLab is, one per round. The latter once more with Nagle's algorithm, which
  jupyter_server leaves on and our extension of it turns off: whatever follows its first small frame waits about 40 ms
  for the client's delayed acknowledgement.
- 8,000 rapid changes through the server, which drops what comes faster than 1,000 messages a second.
- One row in a table widget of 100,000: how many bytes a page is sent.

The checks: every change arrives, in order, and each cell shows the number that follows from the source's.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from time import perf_counter_ns

from benchmarks import fresh, reactive_notebook, systems
from benchmarks.graphs import CHAIN, FAN_OUT, Graph
from benchmarks.kernels import Message, ServedKernel, ZmqKernel
from benchmarks.measure import latency_figures
from benchmarks.notebook_page import Page
from benchmarks.results import Check, Column, Figures, Goal, Measurement, figure, ratio
from benchmarks.systems import OURS, Cells, Options

TITLE = "W8 notebook"
ABOUT = "From a change until the page has the last new output. Messages and bytes: of one change, or of all 8,000."
MARIMO = "marimo"
SYSTEMS = (OURS, MARIMO)
COLUMNS = (
    Column("p50_ms", "p50 ms", "{:.2f}"),
    Column("p99_ms", "p99 ms", "{:.2f}"),
    Column("bare_ms", "bare ipywidget p50 ms", "{:.2f}"),
    Column("messages", "messages"),
    Column("bytes", "bytes"),
)
IN_MEMORY, DURABLE, BY_THREAD = "one cell, in memory", "one cell, durable", "one cell, by a thread"
PLAIN, LAB, DELAYED = "any page", "JupyterLab", "JupyterLab, with Nagle's delay"
TABLE = "1 row of 100,000"
GRAPHS = (FAN_OUT, CHAIN)


def _beside_ipywidgets(case: str) -> Callable[[Figures], float]:
    return ratio((OURS, case, "p50_ms"), (OURS, case, "bare_ms"))


def _beside_marimo(graph: Graph, page: str) -> Callable[[Figures], float]:
    return ratio((MARIMO, graph.name, "p50_ms"), (OURS, _graph_case(graph, page), "p50_ms"))


def _graph_case(graph: Graph, page: str) -> str:
    return f"{graph.name}, {page}"


GOALS = (
    Goal("one cell, in memory, within 3 x of a bare ipywidget", _beside_ipywidgets(IN_MEMORY), at_most=3),
    *(Goal(f"(no goal) {case}, the same", _beside_ipywidgets(case)) for case in (DURABLE, BY_THREAD)),
    *(Goal(f"{graph.name} in JupyterLab, 5 x marimo", _beside_marimo(graph, LAB), at_least=5) for graph in GRAPHS),
    *(
        Goal(f"(no goal) {_graph_case(graph, page)}, the same", _beside_marimo(graph, page))
        for graph in GRAPHS
        for page in (PLAIN, DELAYED)
    ),
    Goal(
        "a change of 1 row of 100,000 below 2 KB",
        figure(OURS, TABLE, "bytes"),
        at_most=2048,
        format="{:,.0f} B",
        full_size=True,
    ),
)
CHANGES, THREAD_CHANGES, GRAPH_CHANGES, ROW_CHANGES = 300, 100, 100, 20
WARM_UP_CHANGES = 10
RAPID_CHANGES = 8_000
ROWS, WINDOW_ROWS = 100_000, 45
CELL = "cell"


def run(system: str, options: Options) -> list[Measurement]:
    """Each kernel and each server in a fresh process, which ends them."""
    if system != OURS:
        return [fresh.call(measure_marimo, graph, options) for graph in GRAPHS]
    return [
        *(fresh.call(measure_one_cell, case, options) for case in (IN_MEMORY, DURABLE, BY_THREAD)),
        *(each for graph in GRAPHS for each in fresh.call(measure_graph, graph, options)),
        *(fresh.call(measure_with_delay, graph, options) for graph in GRAPHS),
        *fresh.call(measure_rapid, options),
        fresh.call(measure_table, options),
    ]


def _scaled(changes: int, options: Options) -> int:
    return max(1, int(changes * options.scale))


def _directory(options: Options, name: str) -> Path:
    directory = options.directory / name.replace(" ", "-").replace(",", "")
    directory.mkdir()
    return directory


def _latencies(nanoseconds: list[int]) -> dict[str, float]:
    found = latency_figures(nanoseconds)
    return {"p50_ms": found["p50_us"] / 1e3, "p99_ms": found["p99_us"] / 1e3}


# --- one cell, beside a widget of ipywidgets -------------------------------------------------------------------------

CHANGE_OURS = "db.run(put, id, {}, time.perf_counter_ns())"
CHANGE_BARE = "label.value = f'{} {{time.perf_counter_ns()}}'"
# The distance is more than the one that live cells keep between rounds, so that none waits for its turn.
THREAD = """
def change_both():
    for n in range({changes}):
        time.sleep(0.06)
        db.run(put, id, n, time.perf_counter_ns())
        time.sleep(0.06)
        label.value = f"{{n}} {{time.perf_counter_ns()}}"
threading.Thread(target=change_both).start()
"""


class Arrivals:
    """How long each change took to arrive, by its number: of the live cell, and of the bare widget."""

    def __init__(self, page: Page) -> None:
        self.ours: dict[int, int] = {}
        self.bare: dict[int, int] = {}
        self._page = page
        page.listener = self._take

    def _take(self, message: Message) -> None:
        if message.kind == "update_display_data":
            _note(self.ours, self._page.shown[CELL], message)
        elif message.kind == "comm_msg" and "value" in message.content["data"].get("state", {}):
            _note(self.bare, message.content["data"]["state"]["value"], message)


def _note(arrivals: dict[int, int], text: str, message: Message) -> None:
    number, began_ns = map(int, text.split())
    # What was shown between cells is sent once more at the end of the next one.
    arrivals.setdefault(number, message.received_ns - began_ns)


def measure_one_cell(case: str, options: Options) -> Measurement:
    store = reactive_notebook.IN_MEMORY if case == IN_MEMORY else reactive_notebook.DURABLE
    changes = WARM_UP_CHANGES + _scaled(THREAD_CHANGES if case == BY_THREAD else CHANGES, options)
    kernel = ZmqKernel(_directory(options, case))
    try:
        page = reactive_notebook.page_of(kernel, store)
        page.run("import ipywidgets\nlabel = ipywidgets.Label()")
        page.run("%%live\nprint(counter.value.n, counter.value.changed_ns)", CELL)
        arrivals = Arrivals(page)
        gc.collect()
        if case == BY_THREAD:
            _change_by_thread(page, arrivals, changes)
        else:
            _change_in_cells(page, changes)
    finally:
        kernel.close()
    ours, bare = list(arrivals.ours), list(arrivals.bare)
    # Between cells, changes that come while the kernel's loop is held up are one output; the order stays.
    is_right = ours == sorted(ours) and ours[-1] == changes - 1 if case == BY_THREAD else ours == list(range(changes))
    checks = [
        Check("the changes arrive, in order", is_right, f"{len(ours)} of {changes}, the last {ours[-1:]}"),
        Check("the widget's, too", bare == list(range(changes)), f"{len(bare)} of {changes}"),
    ]
    figures = _latencies(list(arrivals.ours.values())[WARM_UP_CHANGES:])
    figures["bare_ms"] = _latencies(list(arrivals.bare.values())[WARM_UP_CHANGES:])["p50_ms"]
    return Measurement(OURS, case, figures, checks)


def _change_in_cells(page: Page, changes: int) -> None:
    for number in range(changes):
        # Which comes first alternates, as in W4.
        pair = (CHANGE_OURS, CHANGE_BARE) if number % 2 else (CHANGE_BARE, CHANGE_OURS)
        for code in pair:
            page.run(code.format(number))


def _change_by_thread(page: Page, arrivals: Arrivals, changes: int) -> None:
    page.run(THREAD.format(changes=changes))
    while changes - 1 not in arrivals.bare or changes - 1 not in arrivals.ours:
        page.take()


# --- graphs of dependent cells, beside marimo ------------------------------------------------------------------------


def measure_marimo(graph: Graph, options: Options) -> Measurement:
    cells = systems.role(MARIMO, "Cells")(_directory(options, graph.name), graph)
    try:
        return _change(MARIMO, graph.name, graph, cells, count(1), options)
    finally:
        cells.close()


def measure_graph(graph: Graph, options: Options) -> list[Measurement]:
    """In both ways in which pages are told, in one kernel."""
    cells = reactive_notebook.Cells(_directory(options, graph.name), graph)
    numbers = count(1)
    try:
        plain = _change(OURS, _graph_case(graph, PLAIN), graph, cells, numbers, options)
        cells.become_lab()
        return [plain, _change(OURS, _graph_case(graph, LAB), graph, cells, numbers, options)]
    finally:
        cells.close()


def measure_with_delay(graph: Graph, options: Options) -> Measurement:
    case = _graph_case(graph, DELAYED)
    cells = reactive_notebook.Cells(_directory(options, case), graph, is_prompt=False)
    try:
        cells.become_lab()
        return _change(OURS, case, graph, cells, count(1), options)
    finally:
        cells.close()


def _change(
    system: str, case: str, graph: Graph, cells: Cells, numbers: Iterator[int], options: Options
) -> Measurement:
    """`numbers` are new ones: a cell must not show already what it is waited for."""
    changes = _scaled(GRAPH_CHANGES, options)
    gc.collect()
    for _ in range(WARM_UP_CHANGES):
        cells.change(next(numbers))
    before, wrong = cells.messages(), 0
    latencies: list[int] = []
    for number in islice(numbers, changes):
        latencies.append(cells.change(number))
        wrong += cells.shown() != graph.expected(number)
    figures = _latencies(latencies) | {"messages": (cells.messages() - before) / changes}
    return Measurement(
        system, case, figures, [Check("each cell is right, to the end", not wrong, f"{wrong} times not")]
    )


# --- 8,000 rapid changes ---------------------------------------------------------------------------------------------

IN_CELL = "for _ in range({changes}):\n    db.run(bump, id)"
RAPID_THREAD = "threading.Thread(target=lambda: [db.run(bump, id) for _ in range({changes})]).start()"


def measure_rapid(options: Options) -> list[Measurement]:
    changes = _scaled(RAPID_CHANGES, options)
    kernel = ServedKernel(_directory(options, "rapid"))
    measurements: list[Measurement] = []
    try:
        page = reactive_notebook.page_of(kernel, reactive_notebook.DURABLE)
        page.run("%%live\nprint(counter.value.n)", CELL)
        for told in (PLAIN, LAB):
            if told == LAB:
                page.hello()
            for kind, code in (("in a cell", IN_CELL), ("by a thread", RAPID_THREAD)):
                total = changes * (len(measurements) + 1)
                messages, checks = _change_rapidly(page, code.format(changes=changes), str(total))
                measurements.append(Measurement(OURS, f"8,000 {kind}, {told}", {"messages": messages}, checks))
    finally:
        kernel.close()
    return measurements


def _change_rapidly(page: Page, code: str, last: str) -> tuple[int, list[Check]]:
    before = page.updates
    page.run(code)
    with suppress(TimeoutError):
        while page.shown[CELL] != last:
            page.take()
    page.run("")  # its end comes after everything that was under way
    checks = [
        Check("the last one is shown", page.shown[CELL] == last, f"{page.shown[CELL]} instead of {last}"),
        Check("the server dropped nothing", not page.is_limited, "it says that it did"),
    ]
    return page.updates - before, checks


# --- one row of a large table ----------------------------------------------------------------------------------------


class TableTraffic:
    """What a page is sent for its table: sizes, and whether the value that is waited for was among it."""

    def __init__(self, page: Page) -> None:
        self.comm = ""
        self.sizes: list[int] = []
        self.wanted = ""
        self.arrived_ns = 0
        page.listener = self._take

    def _take(self, message: Message) -> None:
        content = message.content
        if message.kind == "comm_open" and "_whole" in content["data"].get("state", {}):
            self.comm = content["comm_id"]
        if message.kind == "comm_msg" and content["comm_id"] == self.comm:
            self.sizes.append(message.size)
            if self.wanted in json.dumps(content["data"]):
                self.arrived_ns = self.arrived_ns or message.received_ns

    def expect(self, wanted: str) -> None:
        self.sizes, self.wanted, self.arrived_ns = [], wanted, 0


def measure_table(options: Options) -> Measurement:
    kernel = ServedKernel(_directory(options, TABLE))
    try:
        page = Page(kernel)
        traffic = TableTraffic(page)
        page.run(reactive_notebook.TABLE_PROGRAM.format(rows=_scaled(ROWS, options)))
        # What page/widget.js and page/table.js say of a table that is scrolled to its beginning.
        window = {"type": "window", "view": "v", "start": 0, "size": WINDOW_ROWS, "top": 0}
        for said in ({"type": "hello", "have": -1}, window):
            page.send_to(traffic.comm, {"method": "custom", "content": said})
        latencies, sizes, missing = _change_rows(page, traffic)
    finally:
        kernel.close()
    figures = _latencies(latencies) | {"bytes": max(sizes)}
    return Measurement(OURS, TABLE, figures, [Check("every change arrives", not missing, f"{missing} do not")])


def _change_rows(page: Page, traffic: TableTraffic) -> tuple[list[int], list[int], int]:
    """Latencies, bytes of each change, and how many changes the page was not sent."""
    latencies: list[int] = []
    sizes: list[int] = []
    page.run("")  # the answers to what the page said are here
    for change in range(ROW_CHANGES):
        value = 1_000_000_000 + change  # no row has it, and it is in no id
        traffic.expect(str(value))
        before = perf_counter_ns()
        page.run(f"db.run(set_n, handle.value[{change}].id, {value})")
        sizes.append(sum(traffic.sizes))
        if traffic.arrived_ns:
            latencies.append(traffic.arrived_ns - before)
    return latencies, sizes, ROW_CHANGES - len(latencies)
