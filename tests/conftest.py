"""What every test gets: Hypothesis profiles, and a stores folder of its own.

Fixtures of one area live in a conftest.py beside its tests.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from reactive_db import Database, Limits
from reactive_db.engine.store import Store
from reactive_db.runtime import Runtime, SystemRuntime

# `ci` looks at a few new examples in every run; its failures print a blob that repeats them anywhere
# (`@reproduce_failure`). No deadlines: two busy cores would fail tests that are right.
settings.register_profile("ci", max_examples=40, stateful_step_count=30, deadline=None, print_blob=True)
settings.register_profile(
    "long",
    settings.get_profile("ci"),
    max_examples=5_000,
    stateful_step_count=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("long" if os.environ.get("REACTIVE_DB_CAMPAIGN") == "long" else "ci")

# A shell script starts what it puts into the background with Ctrl-C ignored, and every child inherits that: the tests
# that press it must pass there too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


TOGETHER = ("tests/browser/", "tests/hub/")


class FoldersTogether(LoadScopeScheduling):  # type: ignore[misc]
    """Gives all browser tests to one worker, where one server and one Chromium serve them, and all of the JupyterHub to
    one, where there is one Hub; other tests one by one.

    xdist has marks for that (`xdist_group`), which pytest 9.2 does not let it read.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FoldersTogether:
    return FoldersTogether(config, log)


@pytest.fixture(autouse=True)
def stores_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where stores that a test opens by a plain name live: never the user's own folder."""
    folder = tmp_path / "stores"
    monkeypatch.setenv("REACTIVE_DB_HOME", str(folder))
    return folder


class Open(Protocol):
    """Opens a store of its own for a test: in memory, or in a directory."""

    def __call__(
        self, path: Path | None = None, *, limits: Limits | None = None, runtime: Runtime | None = None
    ) -> Database: ...


@pytest.fixture
def open_db() -> Iterator[Open]:
    """Makes databases that the end of the test closes; unlike `rdb.connect`, never the same one twice."""
    opened: list[Database] = []

    def open_db(path: Path | None = None, *, limits: Limits | None = None, runtime: Runtime | None = None) -> Database:
        runtime, limits = runtime or SystemRuntime(), limits or Limits()
        store = Store.in_memory(runtime, limits) if path is None else Store.open(path, runtime, limits)
        opened.append(Database(store))
        return opened[-1]

    yield open_db
    for database in reversed(opened):
        database.close()


@pytest.fixture
def db(open_db: Open) -> Database:
    """A fresh store in memory."""
    return open_db()
