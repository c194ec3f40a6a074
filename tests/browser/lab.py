"""A real JupyterLab and a real Chromium, and the few verbs with which tests drive them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import Browser, Error, Locator, Page, Playwright, ViewportSize, expect

from tests.servers import (
    START_SECONDS_MAX,
    TOKEN,
    free_port,
    have_kernels_listen,
    server,
    server_environment,
    server_options,
)
from tools.bootstrap import ROOT, find_chromium

ACTION_MS_MAX = 30_000
START_MS_MAX = 60_000
RUN_MS_MAX = 120_000
FRAMES_MAX = 300
VIEWPORT: ViewportSize = {"width": 1200, "height": 2400}  # tall: a notebook draws only the cells that are in view

expect.set_options(timeout=ACTION_MS_MAX)  # its own is 5 s, whatever a page's is: too short on a busy machine

FRONT_ENDS = {"JupyterLab": "lab/workspaces/w{number}/tree/{name}", "Notebook 7": "notebooks/{name}"}

NOISE = {
    # Notebook 7.6 reads a setting that it has yet to load, and restores a file browser that only JupyterLab has.
    "Cannot read properties of undefined (reading 'schema')",
    "Command 'filebrowser:open-path' not registered.",
}
"""Uncaught errors that are not ours."""

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing may come from elsewhere
]

PROGRAM = """
%load_ext reactive_db
import reactive_db as rdb
from reactive_db.notebook.widgets import *

class Item(rdb.Document, table="items"):
    name: str
    n: int = 0

@rdb.query
def items(ctx: rdb.QueryCtx) -> list[Item]:
    return ctx.db.query(Item).collect()

@rdb.mutation
def add(ctx: rdb.MutationCtx, name: str, n: int = 0) -> rdb.Id[Item]:
    return ctx.db.insert(Item(name=name, n=n))

@rdb.mutation
def clear(ctx: rdb.MutationCtx) -> None:
    for item in ctx.db.query(Item).collect():
        ctx.db.delete(item.id)

import os
db = rdb.connect(f"kernel-{os.getpid()}")
handle = db.live(items)
""".strip()
"""The first cell of a test's notebook: a store of its kernel's own, which the server has, for items."""

# ipykernel 7.3 can leave a request that arrives while it replies to another one lying until the next one comes.
NUDGE = """
    const panel = window.jupyterapp?.shell.currentWidget;
    const kernel = panel?.sessionContext?.session?.kernel;
    if (kernel && Date.now() > (window.nudgedAt ?? 0) + 2000) {
        window.nudgedAt = Date.now();
        kernel.requestKernelInfo().catch(() => {});
    }
"""
IS_READY = f"() => {{ {NUDGE} return kernel?.status === 'idle'; }}"
HAS_RUN = f"""index => {{ {NUDGE}
    const model = panel.content.widgets[index].model;
    return model.executionState === 'idle' && model.executionCount !== null; }}"""


class Tab:
    """One tab of the browser.

    Attributes:
        page: Playwright's page, for everything that has no verb here.
        faults: what the page reported as an uncaught error.
        console: what it wrote to its console.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        self.console: list[str] = []
        page.set_default_timeout(ACTION_MS_MAX)
        page.on("pageerror", self._on_error)
        page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))

    def leave(self) -> bool:
        """Close what is open in the page; False if it is of no use to another test."""
        return False

    def _on_error(self, error: Error) -> None:
        if error.message not in NOISE:
            self.faults.append(error.stack or error.message)


class NotebookPage(Tab):
    """One notebook, open in one tab of JupyterLab or Notebook 7.

    Attributes:
        name: of its file, in the server's folder.
    """

    def __init__(self, lab: Lab, page: Page, name: str, front_end: str) -> None:
        super().__init__(page)
        self._lab = lab
        self.name = name
        self._front_end = front_end

    def open_beside(self) -> None:
        """Open the notebook in a JupyterLab that is loaded already, which takes 3 s where loading takes 12."""
        # Not waiting for the command: it takes its time after the notebook is there.
        self.page.evaluate("path => { jupyterapp.commands.execute('docmanager:open', { path }); }", self.name)
        self._wait_ready()

    def load(self) -> None:
        """Open the notebook, in JupyterLab in a workspace of its own, and wait until its kernel is there."""
        place = FRONT_ENDS[self._front_end].format(number=next(self._lab.numbers), name=self.name)
        self.page.goto(f"{self._lab.url}/{place}?token={TOKEN}")
        self._wait_ready()

    def reload(self) -> None:
        """Load the page again; the kernel goes on."""
        if self._front_end == "JupyterLab":
            self.load()  # in a new workspace: in its own, a notebook of an earlier test may come back
        else:
            self.page.reload()
            self._wait_ready()

    def leave(self) -> bool:
        if self.faults or self._front_end != "JupyterLab" or self.page.is_closed():
            return False
        self.page.remove_listener("pageerror", self._on_error)
        self.page.evaluate("() => { for (const panel of [...jupyterapp.shell.widgets('main')]) panel.dispose(); }")
        return True

    def second_tab(self) -> NotebookPage:
        """The same notebook in another tab, with the same kernel, as it was saved last."""
        return self._lab.tab(self.name, self._front_end)

    def cell(self, index: int) -> Locator:
        """A cell; counted from 0, and there once it has been in view."""
        return self.page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{index}"]')

    def output(self, index: int) -> Locator:
        """Everything that a cell shows."""
        return self.cell(index).locator(".jp-OutputArea").first

    def run(self, *indices: int) -> None:
        """Run cells, each to its end, by their keyboard shortcut."""
        for index in indices:
            self.cell(index).locator(".jp-InputArea-editor").first.click()
            self.page.keyboard.press("Control+Enter")
            self.wait_until_run(index)

    def start(self, index: int) -> None:
        """Begin to run a cell."""
        self.cell(index).locator(".jp-InputArea-editor").first.click()
        self.page.keyboard.press("Control+Enter")

    def wait_until_run(self, index: int) -> None:
        """Wait for the end of a cell, which has begun."""
        self.page.wait_for_function(HAS_RUN, arg=index, timeout=RUN_MS_MAX)

    def run_all(self) -> None:
        """Run every cell from top to bottom."""
        for index in range(len(self.outputs())):
            self.run(index)

    def restart_kernel(self) -> None:
        """Restart the kernel, without the question whether that is meant."""
        self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
        self._wait_ready()

    def save(self) -> dict[str, Any]:
        """Save by the keyboard; the notebook as it is on the disk when all is done."""
        self.page.keyboard.press("Control+s")
        self.page.wait_for_function("() => !jupyterapp.shell.currentWidget.model.dirty")
        return self.saved()

    def saved(self) -> dict[str, Any]:
        """The notebook as it is on the disk; while the server writes it, that is nothing, or a part of it."""
        for _ in range(FRAMES_MAX):
            try:
                notebook: dict[str, Any] = json.loads((self._lab.folder / self.name).read_text("utf-8"))
                return notebook
            except ValueError:
                self.page.evaluate("() => new Promise(requestAnimationFrame)")
        raise AssertionError(f"{self.name} is no notebook, and stays none")

    def outputs(self) -> list[list[dict[str, Any]]]:
        """The outputs of every cell, as the page has them."""
        found: list[list[dict[str, Any]]] = self.page.evaluate(
            "() => jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.outputs?.toJSON() ?? [])"
        )
        return found

    def set_theme(self, name: str) -> None:
        """Change to `JupyterLab Light` or `JupyterLab Dark`."""
        self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
        self.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)

    def _wait_ready(self) -> None:
        expect(self.page.locator(".jp-Notebook .jp-Cell").first).to_be_visible()
        self.page.wait_for_function(IS_READY, timeout=START_MS_MAX)


class Lab:
    """A JupyterLab server with a folder of notebooks.

    Attributes:
        url: where it listens.
        folder: its root.
        log: what it wrote.
        tabs: the notebooks that the present test has opened.
    """

    def __init__(self, url: str, folder: Path, log: Path, browser: Browser) -> None:
        self.url = url
        self.folder = folder
        self.log = log
        self.numbers = count()
        self.tabs: list[Tab] = []
        self._loaded: Page | None = None
        """A page with JupyterLab and no notebook, left by an earlier test."""
        # One for all tests: each new one would load JupyterLab's 20 MB of code anew.
        self._context = browser.new_context(viewport=VIEWPORT)

    def open(self, *cells: str, theme: str = "JupyterLab Light", front_end: str = "JupyterLab") -> NotebookPage:
        """Open a new notebook with these cells of code."""
        return self.open_file(self.write(cells), theme=theme, front_end=front_end)

    def open_file(self, name: str, *, theme: str = "JupyterLab Light", front_end: str = "JupyterLab") -> NotebookPage:
        """Open a notebook that is in the folder."""
        tab = self.tab(name, front_end)
        tab.set_theme(theme)
        return tab

    def open_in_voila(self, *cells: str) -> Tab:
        """Open a new notebook with these cells of code as Voila shows it: run, without its code."""
        return self.open_address(f"{self.url}/voila/render/{self.write(cells)}?token={TOKEN}")

    def open_address(self, address: str) -> Tab:
        """Open any page."""
        tab = Tab(self._context.new_page())
        self.tabs.append(tab)
        tab.page.goto(address, timeout=RUN_MS_MAX)
        return tab

    def write(self, cells: Sequence[str]) -> str:
        """Write a notebook with these cells of code; its name."""
        name = f"notebook{next(self.numbers)}.ipynb"
        made = [
            {
                "id": f"cell-{index}",
                "cell_type": "code",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": source,
            }
            for index, source in enumerate(cells)
        ]
        spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": spec}, "cells": made}
        (self.folder / name).write_text(json.dumps(notebook), "utf-8")
        return name

    def tab(self, name: str, front_end: str) -> NotebookPage:
        """Open a notebook in a new tab, or in one that an earlier test has left."""
        loaded, self._loaded = (self._loaded, None) if front_end == "JupyterLab" else (None, self._loaded)
        tab = NotebookPage(self, loaded or self._context.new_page(), name, front_end)
        self.tabs.append(tab)
        if loaded is None:
            tab.load()
        else:
            tab.open_beside()
        return tab

    def close_tabs(self) -> None:
        """Close what the test has opened, and end the kernels."""
        for kernel in json.loads(self._ask("GET", "/api/kernels")):
            self._ask("DELETE", f"/api/kernels/{kernel['id']}")
        for tab in self.tabs:
            if self._loaded is None and tab.leave():
                self._loaded = tab.page
            else:
                tab.page.close()
        self.tabs.clear()

    def _ask(self, method: str, path: str) -> bytes:
        request = Request(self.url + path, method=method, headers={"Authorization": f"token {TOKEN}"})
        with urlopen(request, timeout=START_SECONDS_MAX) as answer:
            body: bytes = answer.read()
        return body


@contextmanager
def running_lab(scratch: Path, playwright: Playwright, *options: str) -> Iterator[Lab]:
    """Start JupyterLab with these options, in folders of its own, and Chromium; both end with the block."""
    folder = scratch / "notebooks"
    folder.mkdir()
    have_kernels_listen(scratch)
    # As pip installs it, not as a checkout links to it: Voila serves no links.
    shutil.copytree(ROOT / "reactive_db/notebook/labextension", scratch / "data/labextensions/reactive-db")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "jupyterlab", *server_options(port, folder)),
        *("--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
        *("--LabApp.extension_manager=readonly", "--LabApp.expose_app_in_browser=True"),
        *("--JupyterNotebookApp.expose_app_in_browser=True", *options),
    ]
    log = scratch / "server.log"
    with log.open("w") as out, server(command, server_environment(scratch), out, url):
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)
        try:
            yield Lab(url, folder, log, chromium)
        finally:
            chromium.close()


def copy_gallery(lab: Lab, name: str) -> str:
    """Put a notebook of the gallery into the server's folder, without its outputs; its name."""
    shutil.copy(ROOT / "notebooks" / name, lab.folder)
    notebook = json.loads((lab.folder / name).read_text("utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    (lab.folder / name).write_text(json.dumps(notebook), "utf-8")
    return name
