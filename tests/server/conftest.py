"""Real Jupyter servers: `jupyter`, which the tests of a worker share, and `start` for one with a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.server.callers import Bystander, by_token, prepared
from tests.server.jupyter import JupyterServer, running_server

Start = Callable[..., JupyterServer]


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """With nothing configured that is ours."""
    with running_server(tmp_path_factory.mktemp("jupyter")) as jupyter:
        yield jupyter


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """One whose users are those of `probe.MAY`, with a store that has a table: see `callers.prepared`."""
    config = (
        'c.ServerApp.identity_provider_class = "tests.server.probe.ByToken"',
        'c.ServerApp.authorizer_class = "tests.server.probe.ByName"',
    )
    with running_server(tmp_path_factory.mktemp("many"), *config) as many:
        prepared(f"{many.url}/reactive-db", by_token("writer"))
        yield many


@pytest.fixture(scope="session")
def endpoint(many: JupyterServer) -> str:
    return f"{many.url}/reactive-db"


@pytest.fixture
def bystander(endpoint: str) -> Iterator[Bystander]:
    """Who must notice nothing of what others do; for one test, because nobody answers pings between two."""
    made = Bystander(endpoint)
    yield made
    made.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with these lines of configuration; the end of the test ends it."""
    with ExitStack() as running:
        yield lambda *config: running.enter_context(running_server(tmp_path, *config))
