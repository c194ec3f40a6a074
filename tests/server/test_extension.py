"""The extension is enabled by installing, tells kernels where the server is, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reactive_db.server import _jupyter_server_extension_points
from reactive_db.server.extension import ADDRESS_VARIABLES, ReactiveDB
from tests.server.conftest import Start
from tests.server.jupyter import JupyterServer
from tests.servers import STOP_SECONDS_MAX, TOKEN, server_environment

NOISE = re.compile(
    "received signal 15, stopping"  # critical, to the server
    "|websocket_ping_timeout"  # of its own settings
    "|Kernel is running over TCP without encryption"  # ipykernel, on any machine
)


def test_it_is_enabled_by_installing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jupyter", "server", "extension", "list"]
    listed = subprocess.run(command, env=server_environment(tmp_path), capture_output=True, text=True, check=True)
    said = re.sub(r"\x1b\[\d+m", "", listed.stdout + listed.stderr)
    assert re.search(r"reactive_db\.server enabled", said), said
    assert re.search(r"reactive_db\.server .*OK", said), said


def test_the_package_does_not_load_the_server() -> None:
    program = "import sys, reactive_db; sys.exit('jupyter_server' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_kernels_know_the_address_but_no_token(jupyter: JupyterServer) -> None:
    with jupyter.connection() as kernel:
        environment = json.loads(kernel.run("import json, os; print(json.dumps(dict(os.environ)))"))
    assert {environment[variable] for variable in ADDRESS_VARIABLES} == {f"{jupyter.url}/reactive-db"}
    assert [name for name, value in environment.items() if value == TOKEN or f"token={TOKEN}" in value] == []


def test_a_server_that_stops_takes_its_own_address_out(monkeypatch: pytest.MonkeyPatch) -> None:
    own, others = ADDRESS_VARIABLES
    for variable in ADDRESS_VARIABLES:
        monkeypatch.setenv(variable, "of the server that started this one")
    extension = ReactiveDB()
    served: Any = SimpleNamespace(connection_url="http://127.0.0.1:1/")

    async def live() -> None:
        await extension._start_jupyter_server_extension(served)
        os.environ[others] = "of a third one"
        await extension.stop_extension()

    asyncio.run(live())
    assert own not in os.environ
    assert os.environ[others] == "of a third one"


def test_its_settings_are_in_the_help() -> None:
    (point,) = _jupyter_server_extension_points()
    told = point["app"].class_get_help()
    for setting in ("prompt_kernels", "stamps_users"):
        assert f"--ReactiveDB.{setting}=<Bool>" in told
        assert len(ReactiveDB.class_traits()[setting].help) > len(setting)


def test_a_server_stops_without_a_word_of_trouble(start: Start) -> None:
    jupyter = start()
    with jupyter.connection() as kernel:
        kernel.run("")
    jupyter.process.terminate()
    assert jupyter.process.wait(STOP_SECONDS_MAX) == 0
    assert "reactive_db.server | extension was successfully loaded" in jupyter.log
    trouble = re.compile(r"^\[[WEC] |warning|traceback", re.IGNORECASE)
    assert [line for line in jupyter.log.splitlines() if trouble.search(line) and not NOISE.search(line)] == []
