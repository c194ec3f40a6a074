"""Row policies on a real Jupyter server: two students, a teacher and the server's owner, each with what is theirs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jupyter_server.auth import User
from jupyterhub.singleuser.extension import JupyterHubUser

import reactive_db as rdb
from reactive_db.errors import DocumentNotFoundError, PermissionDeniedError
from reactive_db.server.jupyter_socket import _roles
from tests.server.conftest import Start
from tests.servers import START_SECONDS_MAX, TOKEN

CONFIG = (
    'c.ServerApp.identity_provider_class = "tests.server.probe.Members"',
    'c.ServerApp.authorizer_class = "tests.server.probe.MembersWrite"',
)


class Sheet(
    rdb.Document,
    table="policy_server",
    policy=rdb.policy(read=[rdb.owner("student"), rdb.role("teacher")], write=[rdb.owner("student")]),
):
    student: str
    text: str


@rdb.query
def sheets(ctx: rdb.QueryCtx) -> list[str]:
    return sorted(sheet.text for sheet in ctx.db.query(Sheet))


@rdb.mutation
def hand_in(ctx: rdb.MutationCtx, student: str, text: str) -> rdb.Id[Sheet]:
    return ctx.db.insert(Sheet(student=student, text=text))


@rdb.mutation
def correct(ctx: rdb.MutationCtx, id: rdb.Id[Sheet], text: str) -> None:
    ctx.db.patch(id, text=text)


@pytest.fixture
def people(start: Start) -> Iterator[dict[str, rdb.Database]]:
    """Connections of bob and cleo, who are students, of tess and of the server's owner."""
    jupyter = start(*CONFIG)
    tokens = {name: f"of-{name}" for name in ("bob", "cleo", "tess")} | {"owner": TOKEN}
    opened = {name: rdb.connect(f"{jupyter.url}/reactive-db/course", token=token) for name, token in tokens.items()}
    yield opened
    for database in opened.values():
        database.close()


def until(handle: Any, is_so: Callable[[], bool]) -> None:
    """Return when it is so; looked at whenever the handle changes."""
    changed = threading.Event()
    handle.observe(lambda change: changed.set(), ["value", "status"])
    while not is_so():
        assert changed.wait(START_SECONDS_MAX), handle
        changed.clear()


def test_each_sees_and_writes_what_is_theirs(people: dict[str, rdb.Database]) -> None:
    shown = {name: database.live(sheets) for name, database in people.items()}
    ids = {name: people[name].run(hand_in, people[name].user, f"of {name}") for name in ("bob", "cleo")}
    for name in ("tess", "owner"):
        until(shown[name], lambda handle=shown[name]: len(handle.value) == 2)  # type: ignore[misc]
    assert shown["bob"].value == ["of bob"]
    assert shown["cleo"].value == ["of cleo"]
    statement = "SELECT text FROM policy_server ORDER BY text"
    assert {name: database.sql(statement).fetchall() for name, database in people.items()} == {
        "bob": [("of bob",)],
        "cleo": [("of cleo",)],
        "tess": [("of bob",), ("of cleo",)],
        "owner": [("of bob",), ("of cleo",)],
    }
    with pytest.raises(DocumentNotFoundError):
        people["bob"].run(correct, ids["cleo"], "no")
    with pytest.raises(PermissionDeniedError, match="'bob' may not write document"):
        people["bob"].run(hand_in, "cleo", "in her name")
    with pytest.raises(PermissionDeniedError, match="'tess' may not write document"):
        people["tess"].run(correct, ids["bob"], "no")
    people["owner"].run(correct, ids["bob"], "corrected")
    until(shown["bob"], lambda: shown["bob"].value == ["corrected"])


def test_groups_are_those_of_the_hub_whose_server_it_is() -> None:
    assert _roles(JupyterHubUser({"name": "bob", "groups": ["class-a"]})) == {"class-a"}
    assert _roles(User("bob")) == frozenset()
