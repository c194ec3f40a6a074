"""A real JupyterHub, one for all these tests; each test takes a store of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import reactive_db as rdb
from tests.hub.hub import Hub, running_hub
from tools.bootstrap import HUB_PROXY, HUB_PROXY_SCRIPT

Connect = Callable[[str, str], rdb.Database]


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    if not HUB_PROXY_SCRIPT.exists():
        pytest.skip(f"{HUB_PROXY} is not installed: run `./test tests/hub`, which sees to that")
    with running_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def connect(hub: Hub) -> Iterator[Connect]:
    """Connects this process to a store of the service as a user; the end of the test closes the connections."""
    opened: list[rdb.Database] = []

    def connect(user: str, store: str) -> rdb.Database:
        opened.append(rdb.connect(f"{hub.service}/{store}", token=hub.token(user)))
        return opened[-1]

    yield connect
    for database in opened:
        database.close()
