"""Several kernels over connections that break, on servers that end: serializable, exactly once, and they converge.

The campaign is shipped, `reactive_db.testing.wire_consistency`; here one life of it runs with a new seed every time,
which is part of any fault. More: `REACTIVE_DB_CAMPAIGN=long ./test tests/sync/test_wire_consistency.py --timeout 0`,
or without pytest `python -m reactive_db.testing.wire_consistency --lives 50`.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from random import Random

import pytest

from reactive_db.testing.wire_consistency import Plan, run_lives
from reactive_db.testing.wire_server import Recipe, serve
from tests.servers import TOKEN, server_environment, server_options

ROOT = Path(__file__).parent.parent.parent
IS_LONG = os.environ.get("REACTIVE_DB_CAMPAIGN") == "long"
SHORT = Plan(kernels=3, transactions=20, faults=5, restarts=2)
WITHOUT_RESTARTS = Plan(kernels=3, transactions=20, faults=8, restarts=0)
LIVES_MAX = 8
"""By when a broken server must have been noticed; it mostly takes one life."""


@pytest.mark.timeout(0 if IS_LONG else 300)
def test_kernels_agree_whatever_breaks(tmp_path: Path) -> None:
    for life in range(LIVES_MAX):
        directory = tmp_path / str(life)
        directory.mkdir()
        figures = run_lives(50 if IS_LONG else 1, Random().randrange(2**32), directory, SHORT, Recipe())
        assert figures.faults == []
        if figures.acknowledged > 10 and min(figures.cuts, figures.repeated, figures.restarts) > 0:
            return
    pytest.fail(f"the work was over before anything broke, or nothing worked, {LIVES_MAX} times")


@pytest.mark.timeout(0 if IS_LONG else 300)
def test_so_they_do_on_a_jupyter_server(tmp_path: Path) -> None:
    recipe = Recipe(
        lambda port, stores: [sys.executable, "-m", "jupyter_server", *server_options(port, tmp_path)],
        TOKEN,
        server_environment(tmp_path),
    )
    plan = Plan(kernels=2, transactions=12, faults=4, restarts=1)
    figures = run_lives(20 if IS_LONG else 1, Random().randrange(2**32), tmp_path, plan, recipe)
    assert figures.faults == []
    assert figures.acknowledged > 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("sabotage", "symptom"),
    [
        ("forgets-commits", r"duplicate|were applied|is there 2 times"),
        ("drops-a-key", r"does not converge|G-single|G2|stuck|lost-append|incompatible-order"),
        ("validates-nothing", r"G-single|G2|lost-append|incompatible-order|were applied"),
        ("acknowledges-first", r"were applied|is there 0 times|lost-append|aborted-read"),
    ],
)
def test_a_broken_server_is_noticed(sabotage: str, symptom: str, tmp_path: Path) -> None:
    script = str(ROOT / "tests" / "sync" / "sabotaged_server.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    recipe = Recipe(serve([sys.executable, script, sabotage]), environment=environment)
    figures = run_lives(LIVES_MAX, Random().randrange(2**32), tmp_path, WITHOUT_RESTARTS, recipe)
    assert any(re.search(symptom, fault) for fault in figures.faults), figures
