"""Figures for Prometheus: what they count, and who gets them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.conftest import Start
from tests.server.jupyter import JupyterServer
from tests.server.pages import PROGRAM, get, page


def figures(jupyter: JupyterServer, store: str) -> dict[tuple[str, ...], float]:
    """By name and other labels, the figures of one store."""
    answer, body = get(jupyter, "reactive-db/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name.removeprefix("reactive_db_"), *(v for k, v in sorted(sample.labels.items()) if k != "store")): (
            sample.value
        )
        for family in text_string_to_metric_families(body)
        for sample in family.samples
        if sample.labels["store"] == store
    }


def test_what_is_counted(jupyter: JupyterServer) -> None:
    with jupyter.connection() as kernel:
        kernel.run(PROGRAM.format(store="counted"))
        before = figures(jupyter, "counted")
        kernel.run("for n in range(5): db.run(send, 'general', str(n))")
        kernel.run("db.sql('SELECT count(*) FROM messages').fetchall()")
    with page(jupyter, "counted") as opened:
        opened.say("browse", 1, "none")
        with pytest.raises(AssertionError, match="no table 'none'"):
            opened.hear("browsed")
        after = figures(jupyter, "counted")
    assert after["commits_total",] - before["commits_total",] == 5
    assert after["published_ts",] - before["published_ts",] == 5
    assert after["conflicts_total",] == 0
    assert after["pending_commits",] == 0
    assert after["applied_lag",] >= 0
    assert after["sessions",] == 2
    assert after["watched_ranges",] >= 0
    assert after["sent_bytes_total",] > before["sent_bytes_total",] > 0
    assert after["request_seconds_count", "commit"] - before["request_seconds_count", "commit"] == 5
    assert after["request_seconds_bucket", "commit", "+Inf"] == after["request_seconds_count", "commit"]
    assert after["request_seconds_sum", "commit"] > 0
    assert after["request_errors_total", "invalid-id", "browse"] == 1


def test_it_is_for_whom_jupyters_own_is(jupyter: JupyterServer, start: Start) -> None:
    assert get(jupyter, "reactive-db/metrics", headers={})[0].status == 403
    assert get(jupyter, "metrics", headers={})[0].status == 403
    everybodys = start("c.ServerApp.authenticate_prometheus = False")
    assert get(everybodys, "reactive-db/metrics", headers={})[0].status == 200
    assert get(everybodys, "metrics", headers={})[0].status == 200


def test_no_name_clashes_with_the_servers_own(jupyter: JupyterServer) -> None:
    own = {family.name for family in text_string_to_metric_families(get(jupyter, "metrics")[1])}
    ours = {family.name for family in text_string_to_metric_families(get(jupyter, "reactive-db/metrics")[1])}
    assert ours
    assert not own & ours
