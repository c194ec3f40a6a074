"""The users of a JupyterHub share stores; who they are and what they may is the Hub's to say."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener, urlopen

import pytest
import websocket

import reactive_db as rdb
from reactive_db.errors import OfflineError, PermissionDeniedError
from reactive_db.server.hub_identity import HubIdentity
from tests.hub.conftest import Connect
from tests.hub.hub import PASSWORD, Hub
from tests.server.callers import STORE, by_token, outcome
from tests.server.jupyter import KernelSocket
from tests.servers import START_SECONDS_MAX

PROGRAM = """
import os, threading
import reactive_db as rdb

class Note(rdb.Document, table="hub_notes"):
    text: str

@rdb.query
def texts(ctx: rdb.QueryCtx) -> list[str]:
    return sorted(note.text for note in ctx.db.query(Note))

@rdb.mutation
def write(ctx: rdb.MutationCtx, text: str) -> None:
    ctx.db.insert(Note(text=text))

def refused(call):
    try:
        return call()
    except rdb.errors.PermissionDeniedError as error:
        return error.message

def until(handle, is_so):
    changed = threading.Event()
    handle.observe(lambda change: changed.set(), ["value", "status"])
    while not is_so(handle.value):
        assert changed.wait(60), handle
        changed.clear()
    return handle.value
"""


class Note(rdb.Document, table="hub_notes"):
    text: str


class Task(
    rdb.Document,
    table="hub_tasks",
    policy=rdb.policy(read=[rdb.owner("author"), rdb.role("class-a")], write=[rdb.owner("author")]),
):
    author: str


@rdb.query
def tasks(ctx: rdb.QueryCtx) -> list[str]:
    return sorted(task.author for task in ctx.db.query(Task))


@rdb.mutation
def set_task(ctx: rdb.MutationCtx, author: str) -> None:
    ctx.db.insert(Task(author=author))


@rdb.query
def texts(ctx: rdb.QueryCtx) -> list[str]:
    return sorted(note.text for note in ctx.db.query(Note))


@rdb.mutation
def write(ctx: rdb.MutationCtx, text: str) -> None:
    ctx.db.insert(Note(text=text))


def until(handle: Any, is_so: Callable[[], bool]) -> None:
    """Return when it is so; looked at whenever the handle changes."""
    changed = threading.Event()
    handle.observe(lambda change: changed.set(), ["value", "status"])
    while not is_so():
        assert changed.wait(START_SECONDS_MAX), handle
        changed.clear()


@pytest.fixture(scope="session")
def kernels(hub: Hub) -> Iterator[dict[str, KernelSocket]]:
    """One of ada and one of bob, each of its user's own server, with the program above."""
    with ExitStack() as opened, ThreadPoolExecutor() as pool:
        users = ("ada", "bob")
        found = dict(zip(users, pool.map(lambda user: hub.server(user).connection(), users), strict=True))
        kernels = {user: opened.enter_context(connection) for user, connection in found.items()}
        list(pool.map(lambda kernel: kernel.run(PROGRAM), kernels.values()))
        yield kernels


@pytest.fixture
def ada(kernels: dict[str, KernelSocket]) -> KernelSocket:
    return kernels["ada"]


@pytest.fixture
def bob(kernels: dict[str, KernelSocket]) -> KernelSocket:
    return kernels["bob"]


def test_kernels_of_two_users_share_a_store(ada: KernelSocket, bob: KernelSocket) -> None:
    ada.run('db = rdb.connect("shared"); db.run(write, "for all")')
    assert bob.run('db = rdb.connect("shared"); shown = db.live(texts); print(shown.value)') == "['for all']"
    ada.run('db.run(write, "and live")')
    assert bob.run("print(until(shown, lambda value: len(value) == 2))") == "['and live', 'for all']"


def test_who_you_are_comes_from_the_hub(ada: KernelSocket, bob: KernelSocket, connect: Connect) -> None:
    ada.run('os.environ["JUPYTERHUB_USER"] = "dean"; db = rdb.connect("people"); db.run(write, "mine")')
    bob.run('os.environ["JUPYTERHUB_USER"] = "ada"; db = rdb.connect("people"); db.live(texts)')
    users = bob.run("print(sorted(who.user for who in until(db.presence, lambda value: len(value) == 2)))")
    assert users == "['ada', 'bob']"
    dean = connect("dean", "people")
    assert [row["user"] for row in dean.sql('SELECT "user" FROM _sessions').rows()] == ["ada"]


def test_a_reader_may_not_write(ada: KernelSocket, bob: KernelSocket) -> None:
    ada.run('db = rdb.connect("read"); db.run(write, "first")')
    bob.run('db = rdb.connect("read"); shown = db.live(texts)')
    assert bob.run('print(refused(lambda: db.run(write, "no")))') == "'bob' may not write in store 'read'."
    assert bob.run("print(shown.value)") == "['first']"
    assert ada.run("print(db.run(texts), db.ts == db.ts)") == "['first'] True"


def test_a_reader_makes_no_store(bob: KernelSocket, hub: Hub) -> None:
    said = bob.run('print(refused(lambda: rdb.connect("new")))')
    assert "there is no store 'new' on this server yet." in said
    assert not (hub.stores / "new.rdb").exists()


def test_who_has_no_role_is_refused(ada: KernelSocket, connect: Connect) -> None:
    ada.run('rdb.connect("closed")')
    with pytest.raises(PermissionDeniedError, match="'eve' may not read the stores of this server"):
        connect("eve", "closed")


def test_a_stranger_is_refused(hub: Hub) -> None:
    with pytest.raises(PermissionDeniedError, match="does not let this process in"):
        rdb.connect(f"{hub.service}/course", token="of nobody")


def test_the_hubs_proxy_leads_there_too(ada: KernelSocket, hub: Hub) -> None:
    ada.run('rdb.connect("outside").run(write, "seen")')
    with rdb.connect(f"{hub.url}/services/rdb/reactive-db/outside", token=hub.token("bob")) as outside:
        assert outside.run(texts) == ["seen"]


def test_groups_become_roles(hub: Hub) -> None:
    async def callers() -> list[Any]:
        identity = HubIdentity(
            api_url=hub.api, api_token=hub.token("bob"), access_scopes={"access:services!service=rdb"}
        )
        return [await identity.caller(hub.token(user)) for user in ("bob", "ada", "dean", "eve")]

    bob, ada, dean, eve = asyncio.run(callers())
    assert (bob.name, bob.roles, bob.may) == ("bob", {"class-a"}, {"read"})
    assert (ada.name, ada.roles, ada.may) == ("ada", set(), {"read", "write"})
    assert (dean.name, dean.roles, dean.may) == ("dean", set(), {"read", "write", "deploy"})
    assert (eve.name, eve.roles, eve.may) == ("eve", set(), set())


def test_row_policies_go_by_the_hubs_names_and_groups(connect: Connect) -> None:
    ada, bob, dean = (connect(user, "policies") for user in ("ada", "bob", "dean"))
    for database in (ada, dean):
        database.run(set_task, database.user)
    with pytest.raises(PermissionDeniedError, match="'ada' may not write document"):
        ada.run(set_task, "dean")
    assert [database.run(tasks) for database in (ada, bob, dean)] == [["ada"], ["ada", "dean"], ["ada", "dean"]]
    count = "SELECT count(*) FROM hub_tasks"
    assert [database.sql(count).fetchone() for database in (ada, bob, dean)] == [(1,), (2,), (2,)]


def test_a_kernel_cannot_pass_for_another_users(ada: KernelSocket, bob: KernelSocket, hub: Hub) -> None:
    mine = f"{hub.server('ada').url}/reactive-db/hers"
    own = 'os.environ["REACTIVE_DB_URL"] + "/hers"'
    assert ada.run(f"print(rdb.connect({own}))").startswith("<Database")  # proves itself to its own server
    for token in ("None", 'os.environ["JUPYTERHUB_API_TOKEN"]'):
        said = bob.run(f"print(refused(lambda: rdb.connect({mine!r}, token={token})))")
        assert "Pass" in said
        assert "token" in said


def test_what_has_no_plain_name_stays_with_the_users_own_server(ada: KernelSocket, hub: Hub) -> None:
    for target in ("", '"./notes.rdb"', 'os.path.abspath("deep/notes.rdb")'):
        place = ada.run(f"print(rdb.connect({target}))")
        assert "/user/ada/reactive-db/" in place
    assert f"{hub.service}/notes," in ada.run('print(rdb.connect("notes"))')
    assert "memory" in ada.run('print(rdb.connect(":memory:"))')


def test_rights_that_are_taken_away_end_connections(ada: KernelSocket, hub: Hub, connect: Connect) -> None:
    ada.run('db = rdb.connect("revoked"); db.run(write, "one")')
    database = connect("cleo", "revoked")
    shown = database.live(texts)
    assert shown.value == ["one"]
    hub.ask("DELETE", "groups/class-a/users", {"users": ["cleo"]})
    until(shown, lambda: shown.status == "stale")
    ada.run('db.run(write, "two")')
    assert shown.value == ["one"]
    with pytest.raises(OfflineError):
        database.sql("SELECT 1")
    hub.ask("POST", "groups/class-a/users", {"users": ["cleo"]})
    until(shown, lambda: shown.value == ["one", "two"])


CALLERS = ("nobody", "forged", "revoked", "eve", "bob", "ada", "dean")
"""`eve` has no role, `bob` reads, `ada` writes, `dean` is an admin; the revoked token was ada's."""

ADDRESSES: dict[str, tuple[str, ...]] = {
    # address       nobody forged revoked eve   bob    ada    dean
    "/": ("no", "no", "no", "no", "yes", "yes", "yes"),
    "/stores": ("no", "no", "no", "no", "yes", "yes", "yes"),
    "/metrics": ("no", "no", "no", "no", "no", "no", "yes"),
    "/sync": ("no", "no", "no", "no", "yes", "yes", "yes"),
    "/health": ("yes", "yes", "yes", "yes", "yes", "yes", "yes"),
}


@pytest.fixture(scope="session")
def shown(hub: Hub, connect_once: None) -> dict[str, dict[str, str]]:
    """What each caller shows."""
    revoked = json.loads(hub.ask("POST", "users/ada/tokens", {}))
    hub.ask("DELETE", f"users/ada/tokens/{revoked['id']}")
    users = {user: by_token(hub.token(user)) for user in ("eve", "bob", "ada", "dean")}
    return {"nobody": {}, "forged": by_token("of nobody"), "revoked": by_token(revoked["token"]), **users}


@pytest.fixture(scope="session")
def connect_once(hub: Hub) -> None:
    """The store that everybody asks for."""
    rdb.connect(f"{hub.service}/{STORE}", token=hub.token("ada")).close()


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("route", ADDRESSES)
def test_addresses(hub: Hub, shown: dict[str, dict[str, str]], route: str, caller: str) -> None:
    assert outcome(hub.service, route, shown[caller]) == ADDRESSES[route][CALLERS.index(caller)]


# --- browsers --------------------------------------------------------------------------------------------------------


def logged_in(hub: Hub, user: str) -> tuple[OpenerDirector, CookieJar]:
    """A browser in which `user` has logged in at the Hub."""
    cookies = CookieJar()
    browser = build_opener(HTTPCookieProcessor(cookies))
    page = browser.open(f"{hub.url}/hub/login", timeout=START_SECONDS_MAX).read().decode()
    (xsrf,) = re.findall(r'name="_xsrf" value="([^"]+)"', page)
    form = urlencode({"username": user, "password": PASSWORD, "_xsrf": xsrf}).encode()
    browser.open(f"{hub.url}/hub/login?next=/hub/token", form, timeout=START_SECONDS_MAX).close()
    return browser, cookies


def service_cookies(cookies: CookieJar) -> str:
    return "; ".join(f"{one.name}={one.value}" for one in cookies if one.path.startswith("/services/rdb"))


def open_socket(hub: Hub, cookie: str, origin: str) -> websocket.WebSocket:
    address = f"ws{hub.url.removeprefix('http')}/services/rdb/reactive-db/sync?store=browser"
    return websocket.create_connection(address, cookie=cookie, origin=origin, timeout=START_SECONDS_MAX)


def test_a_browser_logs_in_by_the_hub(hub: Hub) -> None:
    browser, cookies = logged_in(hub, "ada")
    page = browser.open(f"{hub.url}/services/rdb/", timeout=START_SECONDS_MAX).read().decode()
    assert "You are <b>ada</b>. You may: read, write." in page
    (link,) = re.findall('href="(.*?)"', page)
    browser.open(f"{hub.url}/services/rdb/{link}", timeout=START_SECONDS_MAX).close()
    socket = open_socket(hub, service_cookies(cookies), hub.url)
    assert json.loads(socket.recv()) == {}
    socket.close()
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        open_socket(hub, service_cookies(cookies), "http://elsewhere.example")
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        open_socket(hub, "", hub.url)


def test_the_hub_sends_away_a_browser_of_somebody_without_a_role(hub: Hub) -> None:
    browser, cookies = logged_in(hub, "eve")
    with pytest.raises(HTTPError) as refused:
        browser.open(f"{hub.url}/services/rdb/", timeout=START_SECONDS_MAX)
    refused.value.close()
    assert refused.value.code == 403
    assert service_cookies(cookies).count("service-rdb=") == 0


def test_the_service_says_that_it_is_well(hub: Hub) -> None:
    for base in (hub.service, f"{hub.url}/services/rdb/reactive-db"):
        with urlopen(f"{base}/health", timeout=START_SECONDS_MAX) as answer:
            assert json.load(answer)["status"] == "ok"
