"""Where `rdb.connect("course")` finds the store: in kernels of servers, of `jupyter kernel`, of VS Code, of a Hub."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reactive_db.remote.address import HUB_VARIABLE, PROCESS_VARIABLE, SERVER_VARIABLE, own_server
from tests.server.conftest import Start
from tests.server.jupyter import JupyterServer
from tests.servers import STOP_SECONDS_MAX, server_environment

CONNECTS = """
import os
import reactive_db as rdb
try:
    said = repr(rdb.connect("course"))
except rdb.errors.ReactiveDBError as error:
    said = f"{type(error).__name__}: {error.message}"
with open(os.environ["SAID"], "w") as out:  # waits until the test reads
    out.write(said)
"""
"""What each kernel does when it starts."""

LIKE_JUPYTER_KERNEL = ["-m", "jupyter", "kernel"]
LIKE_VS_CODE = ["-m", "ipykernel_launcher", "-f", "elsewhere/kernel-v3a1b2c3.json"]
"""No JPY_PARENT_PID, and a connection file that is in no folder of Jupyter's."""


class Starting:
    """Starts kernels without a server, in a folder of their own."""

    def __init__(self, scratch: Path, running: ExitStack) -> None:
        self.scratch = scratch
        self._running = running
        startup = scratch / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "connects.py").write_text(CONNECTS, "utf-8")
        (scratch / "elsewhere").mkdir()
        os.mkfifo(scratch / "said")

    def said(self, command: list[str], **environment: str) -> str:
        """What a kernel found that was started like this."""
        inherited = {**server_environment(self.scratch), "SAID": str(self.scratch / "said"), **environment}
        process = subprocess.Popen(
            [sys.executable, *command],
            env=inherited,
            cwd=self.scratch,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._running.callback(process.wait, STOP_SECONDS_MAX)
        self._running.callback(os.killpg, process.pid, signal.SIGKILL)
        return (self.scratch / "said").read_text("utf-8")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Starting]:
    for variable in (SERVER_VARIABLE, PROCESS_VARIABLE, HUB_VARIABLE, "JPY_PARENT_PID"):
        monkeypatch.delenv(variable, raising=False)
    with ExitStack() as running:
        yield Starting(tmp_path, running)


def is_own(said: str, kernel: Starting) -> bool:
    """Whether the kernel has opened the store itself, in the stores folder."""
    return said.startswith("<Database") and str(kernel.scratch / "stores" / "course.rdb") in said


@pytest.mark.parametrize("command", [LIKE_JUPYTER_KERNEL, LIKE_VS_CODE], ids=["jupyter kernel", "VS Code"])
def test_without_a_server_it_opens_the_store_itself(kernel: Starting, command: list[str]) -> None:
    assert is_own(kernel.said(command), kernel)


@pytest.mark.parametrize("command", [LIKE_JUPYTER_KERNEL, LIKE_VS_CODE], ids=["jupyter kernel", "VS Code"])
def test_in_a_terminal_of_a_server_too(kernel: Starting, jupyter: JupyterServer, command: list[str]) -> None:
    inherited = {SERVER_VARIABLE: f"{jupyter.url}/reactive-db", PROCESS_VARIABLE: str(jupyter.process.pid)}
    assert is_own(kernel.said(command, **inherited), kernel)


@pytest.mark.parametrize("command", [LIKE_JUPYTER_KERNEL, LIKE_VS_CODE], ids=["jupyter kernel", "VS Code"])
def test_what_a_dead_server_left_behind_is_not_asked(kernel: Starting, command: list[str]) -> None:
    runtime = kernel.scratch / "runtime"
    runtime.mkdir(exist_ok=True)
    left = {"pid": 2**22 - 1, "url": "http://127.0.0.1:1/", "token": "x", "base_url": "/", "port": 1}
    (runtime / f"jpserver-{left['pid']}.json").write_text(json.dumps(left), "utf-8")
    inherited = {SERVER_VARIABLE: "http://127.0.0.1:1/reactive-db", PROCESS_VARIABLE: str(left["pid"])}
    assert is_own(kernel.said(command, **inherited), kernel)


def test_on_a_hub_without_stores_of_its_own_it_opens_the_store_itself(kernel: Starting) -> None:
    hub = {
        "JUPYTERHUB_USER": "ada",
        "JUPYTERHUB_API_TOKEN": "hers",
        "JUPYTERHUB_API_URL": "http://127.0.0.1:1/hub/api",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/ada/",
    }
    assert is_own(kernel.said(LIKE_VS_CODE, **hub), kernel)


def test_whoever_has_it_open_already_is_named(kernel: Starting) -> None:
    assert is_own(kernel.said(LIKE_VS_CODE), kernel)
    said = kernel.said(LIKE_JUPYTER_KERNEL)
    assert said.startswith("StoreLockedError: the store ")
    assert "if that is a server, connect to its address with its token" in said


def test_of_several_servers_a_kernel_asks_its_own(jupyter: JupyterServer, many: JupyterServer) -> None:
    for server in (jupyter, many, jupyter):
        with server.connection() as kernel:
            said = kernel.run('import reactive_db as rdb; print(rdb.connect("several"))')
        assert f"{server.url}/reactive-db/" in said


def test_a_server_without_the_extension_has_no_part_in_it(start: Start, jupyter: JupyterServer) -> None:
    without = start(
        "import os",
        f"os.environ[{SERVER_VARIABLE!r}] = {jupyter.url + '/reactive-db'!r}",  # it was started in its terminal
        f"os.environ[{PROCESS_VARIABLE!r}] = {str(jupyter.process.pid)!r}",
        'c.ServerApp.jpserver_extensions = {"reactive_db.server": False}',
    )
    with without.connection() as kernel:
        said = kernel.run('import reactive_db as rdb; print(rdb.connect("course"))')
    assert str(without.scratch / "stores" / "course.rdb") in said


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, None),
        ({SERVER_VARIABLE: "u", PROCESS_VARIABLE: "7", "JPY_PARENT_PID": "7"}, "u"),
        ({SERVER_VARIABLE: "u", PROCESS_VARIABLE: "7", "JPY_PARENT_PID": "8"}, None),
        ({SERVER_VARIABLE: "u", PROCESS_VARIABLE: "7"}, None),
        ({SERVER_VARIABLE: "u"}, None),
        ({SERVER_VARIABLE: "u", "JPY_PARENT_PID": "7"}, None),
        ({SERVER_VARIABLE: "", PROCESS_VARIABLE: "7", "JPY_PARENT_PID": "7"}, None),
    ],
)
def test_a_server_is_its_own_kernels_alone(variables: dict[str, str], found: str | None) -> None:
    assert own_server(variables) == found
