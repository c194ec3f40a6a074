"""Real servers for tests: where they keep their files, how they start and how they end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tools.bootstrap import ROOT

TOKEN = "lab"
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 20

# ipykernel 7.3 can leave a request that arrives while it replies to another one lying until the next one comes; our
# extension for notebooks mends that, but only once it is loaded.
LISTEN = """
from reactive_db.notebook.shell_channel import keep_listening
keep_listening(get_ipython().kernel)
del keep_listening
"""


@contextmanager
def server(
    command: Sequence[str], environment: dict[str, str], log: Any, url: str, *, cwd: Path | None = None
) -> Iterator[subprocess.Popen[Any]]:
    """Run a server until the end of the block, or until a test has ended it; begins when it answers."""
    process = subprocess.Popen(
        command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=cwd
    )
    try:
        wait_until_answers(url, process)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:  # it waits for a kernel that was starting when its test failed
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def server_options(port: int, folder: Path) -> list[str]:
    """Of a server on loopback, at this port and no other, with the notebooks in `folder`."""
    return [
        *("--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"),
    ]


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


def have_kernels_listen(scratch: Path) -> None:
    """Have each kernel of `server_environment` answer every request, from its start."""
    startup = scratch / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "listen.py").write_text(LISTEN, "utf-8")


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
