"""The page about a server's stores: who gets it, and what it is told."""

from __future__ import annotations

import json

import pytest

from tests.server.conftest import Start
from tests.server.jupyter import JupyterServer
from tests.server.pages import PROGRAM, Page, get, page


@pytest.mark.parametrize("path", ["", "dashboard.js", "dashboard.css", "stores"])
def test_whoever_is_not_logged_in_is_sent_to_the_login(jupyter: JupyterServer, path: str) -> None:
    answer, body = get(jupyter, f"reactive-db/{path}", headers={})
    assert answer.status == 302
    assert "/login?next=" in answer.headers["Location"]
    assert body == ""


@pytest.mark.parametrize(
    ("name", "kind"), [("", "text/html"), ("dashboard.js", "text/javascript"), ("dashboard.css", "text/css")]
)
def test_the_page_has_no_code_in_itself_and_loads_nothing_from_elsewhere(
    jupyter: JupyterServer, name: str, kind: str
) -> None:
    answer, body = get(jupyter, f"reactive-db/{name}")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(kind)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "https://" not in body
    assert "//cdn" not in body


def test_without_the_slash_it_is_found_too(jupyter: JupyterServer) -> None:
    answer, _ = get(jupyter, "reactive-db?token=lab")
    assert (answer.status, answer.headers["Location"]) == (302, "/of/a/hub/reactive-db/?token=lab")


def test_nothing_else_of_the_folder_can_be_had(jupyter: JupyterServer) -> None:
    for name in ("../dashboard.py", "%2e%2e/dashboard.py", "dashboard.html", "x"):
        assert get(jupyter, f"reactive-db/{name}")[0].status == 404


def test_the_owner_sees_everything(jupyter: JupyterServer) -> None:
    with jupyter.connection() as kernel:
        kernel.run(PROGRAM.format(store="whole"))
    with page(jupyter, "whole") as opened:
        store = opened.overview()
        opened.say("browse", 77, "messages")
        request, ts, columns, rows = opened.hear("browsed")
    assert (store["name"], store["status"], store["pending"]) == ("whole", "synced", 0)
    (table,) = store["tables"]
    assert (table["name"], table["documents"]) == ("messages", 1)
    assert table["fields"] == {"channel": "str", "text": "str", "likes": "int"}
    assert table["indexes"] == {"by_channel": ["channel"]}
    use = store["use"]
    assert use["place"].endswith("whole.rdb")
    assert [one["place"] for one in use["sessions"] if one["is_you"]] == ["a page of a test"]
    latest = use["commits"][0]
    assert latest["source"].endswith("send")
    assert latest["user"]
    assert latest["changes"] == [{"table": "messages", "inserted": 1, "changed": 0, "deleted": 0}]
    assert next(one for one in use["sources"] if one["name"].endswith("send"))["commits"] == 1
    assert (request, ts) == (77, store["ts"])
    assert [column["name"] for column in columns] == ["id", "channel", "text", "likes"]
    assert [column["is_number"] for column in columns] == [False, False, False, True]
    assert [row[1:] for row in rows] == [["general", "hello", "0"]]


def test_who_may_not_deploy_sees_tables_and_documents_only(start: Start) -> None:
    jupyter = start('c.ServerApp.authorizer_class = "tests.server.probe.OnlyReads"')
    with jupyter.connection() as kernel:
        kernel.run(PROGRAM.format(store="shared"))
    with page(jupyter, "shared") as opened:
        store = opened.overview()
        opened.say("browse", 9, "messages")
        rows = opened.hear("browsed")[3]
        opened.say("browse", 10, "_sessions")
        with pytest.raises(AssertionError, match="this store has no table '_sessions'"):
            opened.hear("browsed")
    assert store["use"] is None
    assert [table["documents"] for table in store["tables"]] == [1]
    assert [row[1:] for row in rows] == [["general", "hello", "0"]]
    (listed,) = json.loads(get(jupyter, "reactive-db/stores")[1])
    assert listed == {"target": "shared", "name": "shared", "status": "synced", "place": None, "bytes": None}


def test_it_is_told_once_when_something_is_different(jupyter: JupyterServer) -> None:
    with jupyter.connection() as kernel:
        kernel.run(PROGRAM.format(store="moving"))
        with page(jupyter, "moving") as opened:
            before = opened.overview()
            kernel.run("db.run(send, 'general', 'again')")
            opened.hear("moved")
            after = opened.overview()
    assert after["ts"] == before["ts"] + 1
    assert after["tables"][0]["documents"] == 2


def test_a_request_that_failed_is_remembered(jupyter: JupyterServer) -> None:
    with jupyter.connection() as kernel:
        kernel.run(PROGRAM.format(store="failing"))
    with page(jupyter, "failing") as opened:
        opened.say("browse", 9, "no such table")
        with pytest.raises(AssertionError, match="no such table"):
            opened.hear("browsed")
        (failure,) = opened.overview()["use"]["failures"]
    assert (failure["user"], failure["kind"], failure["code"]) == ("grace", "browse", "invalid-id")
    assert failure["message"] == "this store has no table 'no such table'."


def test_looking_makes_no_store(jupyter: JupyterServer) -> None:
    opened = Page(jupyter, "nobody-made-it")
    with pytest.raises(AssertionError, match="there is no store 'nobody-made-it'"):
        opened.hear("welcome")
    opened.close()
    assert "nobody-made-it" not in get(jupyter, "reactive-db/stores")[1]


def test_the_list_says_how_large_a_store_is(jupyter: JupyterServer) -> None:
    with jupyter.connection() as kernel:
        kernel.run(PROGRAM.format(store="sized"))
    listed = {one["target"]: one for one in json.loads(get(jupyter, "reactive-db/stores")[1])}
    assert listed["sized"]["bytes"] > 10_000
    assert listed["sized"]["place"].endswith("sized.rdb")
