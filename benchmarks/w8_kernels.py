"""W8 between kernels: a commit in one notebook's kernel, until the page of another notebook shows it.

A real JupyterLab with our extension, in a real Chromium; both kernels share a store of the server. The other page has a
live cell, a `Value` and a `Table`, and takes the time whenever its document changes: not when the pixels do, which is
the browser's own pace. Once as it is shipped, and once with Nagle's algorithm, which jupyter_server leaves on and our
extension turns off: whatever follows a first small frame waits about 40 ms for the client's delayed acknowledgement.

The page's clock counts from its own beginning. How far that is from ours is found by asking for the time often; the
fastest answer is the best, and half of what it took is the most that all figures may be wrong by.

The checks: what is shown comes in the order of the commits, and the last is shown. On a busy machine two changes
may come within the pace of widgets, and the first of them be skipped; how many is in the table.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from benchmarks import fresh
from benchmarks.measure import latency_figures
from benchmarks.results import Check, Column, Goal, Measurement, figure
from benchmarks.systems import OURS, Options

TITLE = "W8 notebook, two kernels, Chromium"
ABOUT = "From the call in one kernel until the document of another notebook's page has changed."
SYSTEMS = (OURS,)
COLUMNS = (
    Column("p50_ms", "p50 ms", "{:.1f}"),
    Column("p99_ms", "p99 ms", "{:.1f}"),
    Column("run_p50_ms", "db.run p50 ms", "{:.1f}"),
    Column("skipped", "skipped"),
    Column("clock_ms", "clock ± ms", "{:.2f}"),
)
PLACES = ("live cell", "Value", "Table")
DELAY = "with Nagle's delay"


def _case(place: str, is_prompt: bool) -> str:
    return place if is_prompt else f"{place}, {DELAY}"


GOALS = (
    *(
        Goal(f"{place} under 10 ms", figure(OURS, _case(place, True), "p50_ms"), at_most=10, format="{:.1f} ms")
        for place in PLACES
    ),
    *(
        Goal(f"(no goal) {_case(place, False)}", figure(OURS, _case(place, False), "p50_ms"), format="{:.1f} ms")
        for place in PLACES
    ),
)
CHANGES, WARM_UP_CHANGES = 200, 20
FIRST = 1_000_000  # nothing else in the page looks like it
CLOCK_QUESTIONS = 200
LAB = "tests.browser.lab"  # by name: it is typed as the tests are

PROGRAM = """
%load_ext reactive_db
import json, random, time
import reactive_db as rdb
from reactive_db.notebook.widgets import Table, Value

class Counter(rdb.Document, table="counters", indexes={"by_n": ["n"]}):
    n: int

@rdb.query
def counters(ctx: rdb.QueryCtx) -> list[Counter]:
    return ctx.db.query(Counter).collect()

@rdb.mutation
def put(ctx: rdb.MutationCtx, n: int) -> None:
    found = ctx.db.query(Counter).first()
    if found is None:
        ctx.db.insert(Counter(n=n))
    else:
        ctx.db.patch(found.id, n=n)

db = rdb.connect("benchmark")
shown = db.live(counters)
"""
SHOWING = ("%%live\nprint(shown.value[0].n)", "Value(shown, lambda found: str(found[0].n))", "Table(shown)")
# The pauses are longer than the pace of live cells and widgets, and keep no time with anything.
WRITING = """
times = []
for n in range({first}, {first} + {changes}):
    before = time.perf_counter_ns()
    db.run(put, n)
    times.append((before, time.perf_counter_ns()))
    time.sleep(random.uniform(0.1, 0.15))
print(json.dumps(times))
"""
# The first time at which each cell showed each number.
OBSERVING = """() => {
    const seen = window.seen = [{}, {}, {}];
    const look = () => {
        const at = performance.now();
        seen.forEach((times, index) => {
            const area = document.querySelector(`.jp-Cell[data-windowed-list-index="${index + 1}"] .jp-OutputArea`);
            const found = area?.textContent.replaceAll(",", "").match(/1\\d{6}/);
            if (found) times[found[0]] ??= at;
        });
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
    look();
}"""


def missing() -> str | None:
    """Why it cannot run here and what would change that, or None."""
    try:
        lab = importlib.import_module(LAB)
    except ImportError as error:
        return f"{error}: pip install 'reactive-db[test]'"
    return None if lab.find_chromium() else "Chromium is not installed: apt-get install chromium"


def run(system: str, options: Options) -> list[Measurement]:
    """A server and a browser in a fresh process, as shipped and then with the delay."""
    return [each for is_prompt in (True, False) for each in fresh.call(measure, system, is_prompt, options)]


def measure(system: str, is_prompt: bool, options: Options) -> list[Measurement]:
    from playwright.sync_api import sync_playwright

    running_lab = importlib.import_module(LAB).running_lab
    directory = options.directory / f"w8-kernels-{is_prompt}"
    directory.mkdir()
    changes = WARM_UP_CHANGES + max(1, round(CHANGES * options.scale))
    setting = f"--ReactiveDB.prompt_kernels={is_prompt}"
    with sync_playwright() as playwright, running_lab(directory, playwright, setting) as lab:
        writing = lab.open(PROGRAM, f"db.run(put, {FIRST - 1})", WRITING.format(first=FIRST, changes=changes))
        writing.run(0, 1)
        showing = lab.open(PROGRAM, *SHOWING)
        showing.run(0, 1, 2, 3)
        showing.page.bring_to_front()
        showing.page.evaluate(OBSERVING)
        offset_ns, error_ns = _clock(showing.page.evaluate)
        writing.start(2)
        showing.page.bring_to_front()  # a page behind another one is slowed down
        writing.wait_until_run(2)
        times = json.loads("".join(writing.outputs()[2][0]["text"]))
        last = FIRST + changes - 1
        showing.page.wait_for_function(f"() => window.seen.every((one) => {last} in one)")
        seen = showing.page.evaluate("() => window.seen")
    return [
        _measurement(system, _case(place, is_prompt), times, seen[at], offset_ns, error_ns)
        for at, place in enumerate(PLACES)
    ]


def _clock(evaluate: Callable[[str], Any]) -> tuple[float, float]:
    """What has to be added to the page's time to have ours, in ns, and by how much that may be wrong."""
    answers = []
    for _ in range(CLOCK_QUESTIONS):
        before = perf_counter_ns()
        page_ns = evaluate("() => performance.now()") * 1e6
        after = perf_counter_ns()
        answers.append(((after - before) / 2, (before + after) / 2 - page_ns))
    error_ns, offset_ns = min(answers)
    return offset_ns, error_ns


def _measurement(
    system: str, case: str, times: list[list[int]], seen: dict[str, float], offset_ns: float, error_ns: float
) -> Measurement:
    """`times`: when each commit was called and had returned; `seen`: when the page showed each number, in its ms."""
    arrived = {int(number) - FIRST: at_ms * 1e6 + offset_ns for number, at_ms in seen.items()}
    latencies = [round(arrived[n] - before) for n, (before, _) in enumerate(times) if n in arrived]
    runs = [after - before for before, after in times]
    found, ran = latency_figures(latencies[WARM_UP_CHANGES:]), latency_figures(runs[WARM_UP_CHANGES:])
    in_order = sorted(arrived, key=lambda n: arrived[n]) == sorted(arrived)
    figures = {
        "p50_ms": found["p50_us"] / 1e3,
        "p99_ms": found["p99_us"] / 1e3,
        "run_p50_ms": ran["p50_us"] / 1e3,
        "clock_ms": error_ns / 1e6,
        "skipped": len(times) - len(latencies),
    }
    checks = [
        Check("the last is shown", len(times) - 1 in arrived, f"{max(arrived)} of {len(times)}"),
        Check("in order", in_order, f"{sorted(arrived, key=lambda n: arrived[n])[:20]}"),
    ]
    return Measurement(system, case, figures, checks)
