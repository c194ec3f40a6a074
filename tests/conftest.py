"""What every test gets: Hypothesis profiles, and a stores folder of its own.

Fixtures of one area live in a conftest.py beside its tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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


@pytest.fixture(autouse=True)
def stores_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where stores that a test opens by a plain name live: never the user's own folder."""
    folder = tmp_path / "stores"
    monkeypatch.setenv("REACTIVE_DB_HOME", str(folder))
    return folder
