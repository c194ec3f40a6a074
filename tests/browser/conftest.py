"""Browser tests: real JupyterLab, real Chromium.

    def test_x(lab: Lab) -> None:
        notebook = lab.open(PROGRAM, "%%live\\nlen(handle.value)", "db.run(add, 'x')")   # three cells of code
        notebook.run(0, 1)
        expect(notebook.output(1)).to_have_text("0")
        notebook.run(2)
        expect(notebook.output(1)).to_have_text("1")

One server and one browser serve all these tests; each `lab.open` is a workspace of its own, with
`theme="JupyterLab Dark"` in the dark and with `front_end="Notebook 7"` in that. `PROGRAM` and the verbs are in
`lab.py`: `reload`, `second_tab`, `restart_kernel`, `save` and more. Wait with `expect(…)`, never with a pause.

A test fails too if its page reported an uncaught error. What a failing test showed is kept in
`tests/browser/failures/`: a picture of every tab, the errors, what its console said, and the end of the server's log.
Nothing outside this machine can be reached.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Error, sync_playwright

from tests.browser.lab import Lab, running_lab

FAILURES = Path(__file__).parent / "failures"
LOG_LINES_KEPT = 40


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.failed and "lab" in getattr(item, "funcargs", {}):  # type: ignore[attr-defined]
        keep_failure(item.name, item.funcargs["lab"])  # type: ignore[attr-defined]
    return report


def keep_failure(test: str, lab: Lab) -> None:
    """Keep a picture and the console of every tab, and what the server said."""
    FAILURES.mkdir(exist_ok=True)
    log = lab.log.read_text("utf-8").splitlines()[-LOG_LINES_KEPT:]
    for number, tab in enumerate(lab.tabs):
        name = re.sub(r"[^\w-]+", "-", f"{test}-{number}")
        (FAILURES / f"{name}.txt").write_text("\n".join([*tab.faults, *tab.console, *log]), "utf-8")
        with suppress(Error):  # a tab that has crashed has no picture
            tab.page.screenshot(path=FAILURES / f"{name}.png")


@pytest.fixture(scope="package")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Not for the session: Playwright keeps an event loop running in this thread, and later tests have their own."""
    with sync_playwright() as playwright, running_lab(tmp_path_factory.mktemp("lab"), playwright) as lab:
        yield lab


@pytest.fixture
def lab(lab_server: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """JupyterLab, with no notebook open."""
    yield lab_server
    faults = [fault for tab in lab_server.tabs for fault in tab.faults]
    if faults:
        keep_failure(request.node.name, lab_server)
    lab_server.close_tabs()
    assert faults == []
