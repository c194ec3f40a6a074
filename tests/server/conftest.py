"""Real Jupyter servers: `jupyter`, which the tests of a worker share, and `start` for one with a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.server.jupyter import JupyterServer, running_server

Start = Callable[..., JupyterServer]


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """With nothing configured that is ours."""
    with running_server(tmp_path_factory.mktemp("jupyter")) as jupyter:
        yield jupyter


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with these lines of configuration; the end of the test ends it."""
    with ExitStack() as running:
        yield lambda *config: running.enter_context(running_server(tmp_path, *config))
