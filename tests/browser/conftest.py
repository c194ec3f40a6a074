"""Browser tests: real JupyterLab, real Chromium.

    def test_x(lab: Lab) -> None:
        notebook = lab.open(PROGRAM, "%%live\\nlen(handle.value)", "db.run(add, 'x')")   # three cells of code
        notebook.run(0, 1)
        expect(notebook.output(1)).to_have_text("0")
        notebook.run(2)
        expect(notebook.output(1)).to_have_text("1")

One server and one browser serve all tests, which run on one worker; each `lab.open` is a workspace of its own.
`PROGRAM` and the verbs are in `lab.py`. Wait with `expect(…)`, never with a pause. A test fails too if its page
reported an uncaught error. What a failing test showed is kept in `tests/browser/failures/`: a picture of every tab,
and what its console said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.lab import ACTION_MS_MAX, Lab, running_lab

expect.set_options(timeout=ACTION_MS_MAX)

FAILURES = Path(__file__).parent / "failures"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.failed and "lab" in getattr(item, "funcargs", {}):  # type: ignore[attr-defined]
        keep_failure(item.name, item.funcargs["lab"])  # type: ignore[attr-defined]
    return report


def keep_failure(test: str, lab: Lab) -> None:
    """Keep a picture and the console of every tab."""
    FAILURES.mkdir(exist_ok=True)
    for number, tab in enumerate(lab.tabs):
        name = re.sub(r"[^\w-]+", "-", f"{test}-{number}")
        (FAILURES / f"{name}.txt").write_text("\n".join([*tab.faults, *tab.console]), "utf-8")
        if not tab.page.is_closed():
            tab.page.screenshot(path=FAILURES / f"{name}.png")


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with sync_playwright() as playwright, running_lab(tmp_path_factory.mktemp("lab"), playwright) as lab:
        yield lab


@pytest.fixture
def lab(lab_server: Lab) -> Iterator[Lab]:
    """JupyterLab, with no notebook open."""
    yield lab_server
    faults = [fault for tab in lab_server.tabs for fault in tab.faults]
    lab_server.close_tabs()
    assert faults == []
