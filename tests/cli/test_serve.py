"""`reactive-db serve` where what it needs is not installed; what it does is in tests/server/test_serve.py."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from reactive_db.cli import main


@pytest.mark.parametrize(
    ("environment", "module", "extra"),
    [
        ({}, "reactive_db.server.service", "serve"),
        ({"JUPYTERHUB_SERVICE_PREFIX": "/"}, "reactive_db.server.hub_identity", "hub"),
    ],
)
def test_what_is_missing_is_said_with_the_remedy(
    environment: dict[str, str], module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    result = CliRunner().invoke(main, ["serve", "--port", "0"], env=environment)
    assert result.exit_code == 1
    assert f"pip install 'reactive-db[{extra}]'" in result.output
