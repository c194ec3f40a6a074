"""A real JupyterLab and a real Chromium, and the few verbs with which tests drive them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from playwright.sync_api import Browser, Error, Locator, Page, Playwright, ViewportSize, expect

from tools.bootstrap import ROOT, find_chromium

TOKEN = "lab"
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 20
ACTION_MS_MAX = 30_000
START_MS_MAX = 60_000
RUN_MS_MAX = 120_000
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

db = rdb.connect()
handle = db.live(items)
""".strip()
"""The first cell of a test's notebook: a store in memory with items in it."""

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


# The same trouble before a notebook has loaded the extension, which mends it.
LISTEN = """
from reactive_db.notebook.shell_channel import keep_listening
keep_listening(get_ipython().kernel)
del keep_listening
"""


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

    def _on_error(self, error: Error) -> None:
        if error.message not in NOISE:
            self.faults.append(error.stack or error.message)


class NotebookPage(Tab):
    """One notebook, open in one tab of JupyterLab or Notebook 7."""

    def __init__(self, lab: Lab, page: Page, name: str, front_end: str) -> None:
        super().__init__(page)
        self._lab = lab
        self._name = name
        self._front_end = front_end

    def load(self) -> None:
        """Open the notebook, in JupyterLab in a workspace of its own, and wait until its kernel is there."""
        place = FRONT_ENDS[self._front_end].format(number=next(self._lab.numbers), name=self._name)
        self.page.goto(f"{self._lab.url}/{place}?token={TOKEN}")
        self._wait_ready()

    def reload(self) -> None:
        """Load the page again; the kernel goes on."""
        self.page.reload()
        self._wait_ready()

    def second_tab(self) -> NotebookPage:
        """The same notebook in another tab, with the same kernel, as it was saved last."""
        return self._lab.tab(self._name, self._front_end)

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
        """The notebook as it is on the disk."""
        notebook: dict[str, Any] = json.loads((self._lab.folder / self._name).read_text("utf-8"))
        return notebook

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
        """Open a notebook in a new tab."""
        tab = NotebookPage(self, self._context.new_page(), name, front_end)
        self.tabs.append(tab)
        tab.load()
        return tab

    def close_tabs(self) -> None:
        """Close what the test has opened, and end the kernels."""
        for kernel in json.loads(self._ask("GET", "/api/kernels")):
            self._ask("DELETE", f"/api/kernels/{kernel['id']}")
        for tab in self.tabs:
            tab.page.close()
        self.tabs.clear()

    def _ask(self, method: str, path: str) -> bytes:
        request = Request(self.url + path, method=method, headers={"Authorization": f"token {TOKEN}"})
        with urlopen(request, timeout=START_SECONDS_MAX) as answer:
            body: bytes = answer.read()
        return body


@contextmanager
def running_lab(scratch: Path, playwright: Playwright) -> Iterator[Lab]:
    """Start JupyterLab, in folders of its own, and Chromium; both end with the block."""
    folder = scratch / "notebooks"
    folder.mkdir()
    startup = scratch / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "listen.py").write_text(LISTEN, "utf-8")
    # As pip installs it, not as a checkout links to it: Voila serves no links.
    shutil.copytree(ROOT / "reactive_db/notebook/labextension", scratch / "data/labextensions/reactive-db")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"),
        *("--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
        *("--LabApp.extension_manager=readonly", "--LabApp.expose_app_in_browser=True"),
        "--JupyterNotebookApp.expose_app_in_browser=True",
    ]
    log = scratch / "server.log"
    with log.open("w") as out, server(command, server_environment(scratch), out, url):
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)
        try:
            yield Lab(url, folder, log, chromium)
        finally:
            chromium.close()


@contextmanager
def server(command: Sequence[str], environment: dict[str, str], log: Any, url: str) -> Iterator[None]:
    """Run a Jupyter server until the end of the block; begins when it answers."""
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_until_answers(url, process)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:  # it waits for a kernel that was starting when its test failed
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def server_environment(scratch: Path) -> dict[str, str]:
    """Nothing of the user's: settings, kernels' files, stores."""
    return {
        **os.environ,
        "HOME": str(scratch),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "JUPYTER_CONFIG_DIR": str(scratch / "config"),
        "JUPYTER_DATA_DIR": str(scratch / "data"),
        "JUPYTER_PREFER_ENV_PATH": "0",  # what is in there comes before what is in the environment
        "IPYTHONDIR": str(scratch / "ipython"),
        "REACTIVE_DB_HOME": str(scratch / "stores"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }


def wait_until_answers(url: str, process: subprocess.Popen[Any]) -> None:
    """Return when `url` answers; fails if the process ends before that."""
    for _ in range(START_SECONDS_MAX * 10):
        try:
            urlopen(f"{url}/api?token={TOKEN}", timeout=10).close()
            return
        except (URLError, ConnectionError, TimeoutError):
            # There is no event to wait for: a server says nothing until it listens.
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            raise RuntimeError(f"the server ended with status {process.returncode}; see its log") from None
    raise RuntimeError(f"the server did not answer within {START_SECONDS_MAX} s")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def copy_gallery(lab: Lab, name: str) -> str:
    """Put a notebook of the gallery into the server's folder, without its outputs; its name."""
    shutil.copy(ROOT / "notebooks" / name, lab.folder)
    notebook = json.loads((lab.folder / name).read_text("utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    (lab.folder / name).write_text(json.dumps(notebook), "utf-8")
    return name
