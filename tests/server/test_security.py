"""Every address and every message, for every kind of caller, on real servers: who gets in, and who does not.

The tables are the documentation: a row for each address or message, a column for each caller. A test asks that they
have every address that a server registers and every message that a client can send. JupyterHub's: `tests/hub/`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import threading
import typing
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from tornado.web import create_signed_value
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websocket

import reactive_db as rdb
from reactive_db import database, limits
from reactive_db.errors import PermissionDeniedError
from reactive_db.limits import Limits
from reactive_db.model.keys import EVERYTHING
from reactive_db.remote.kernel import Kernel, proof
from reactive_db.runtime import SystemRuntime
from reactive_db.server.extension import ReactiveDB
from reactive_db.server.service import Service, TokenIdentity
from reactive_db.server.stores import Stores
from reactive_db.sync import messages as m
from reactive_db.testing.runtime import SeededRuntime
from reactive_db.testing.threads import PATIENCE_SECONDS
from tests.server.callers import (
    Headers,
    Talk,
    ask,
    by_token,
    cookies_of,
    enter,
    outcome,
    said_by,
    sessions,
    table_of,
)
from tests.server.jupyter import JupyterServer
from tests.server.service import TOKEN, Served, running_service
from tests.servers import free_port
from tests.sync.ear import Note, inserted, schema_of

ELSEWHERE = "http://elsewhere.example"


# --- a Jupyter server ------------------------------------------------------------------------------------------------

JUPYTER_CALLERS = ("nobody", "forged", "eve", "reader", "writer", "lab")
"""`eve` is logged in and may nothing with stores; `lab` has the server's token and may everything."""

JUPYTER: dict[str, tuple[str, ...]] = {
    # address        nobody   forged   eve   reader writer lab
    "": ("login", "login", "no", "beside", "beside", "beside"),
    "/": ("login", "login", "no", "yes", "yes", "yes"),
    "/dashboard.js": ("login", "login", "no", "yes", "yes", "yes"),
    "/dashboard.css": ("login", "login", "no", "yes", "yes", "yes"),
    "/stores": ("login", "login", "no", "yes", "yes", "yes"),
    "/metrics": ("no", "no", "yes", "yes", "yes", "yes"),  # for whom Jupyter's own are
    "/sync": ("proof", "proof", "no", "yes", "yes", "yes"),
}


@pytest.fixture(scope="module")
def in_jupyter(endpoint: str) -> Callable[[str, str], Headers]:
    """What a caller shows, by their name and whether it is a token or a browser's cookie."""

    def shown(caller: str, way: str) -> Headers:
        if caller == "nobody":
            return {}
        if way == "token":
            return by_token("of-nobody" if caller == "forged" else caller)
        if caller == "forged":
            return {"Cookie": re.sub("=.*", "=2|1:0|forged", cookies_of(ask(f"{endpoint}/?token=lab", {}))["Cookie"])}
        return cookies_of(ask(f"{endpoint}/?token={caller}", {}))

    return shown


@pytest.mark.parametrize("way", ["token", "cookie"])
@pytest.mark.parametrize("caller", JUPYTER_CALLERS)
@pytest.mark.parametrize("route", JUPYTER)
def test_jupyter_addresses(
    endpoint: str, in_jupyter: Callable[[str, str], Headers], route: str, caller: str, way: str
) -> None:
    expected = JUPYTER[route][JUPYTER_CALLERS.index(caller)]
    assert outcome(endpoint, route, in_jupyter(caller, way)) == expected


def test_the_table_has_every_address_of_the_extension() -> None:
    extension = ReactiveDB()
    extension.initialize_handlers()
    assert extension._stores is not None
    extension._stores.close()
    assert_all_known([handler[0] for handler in extension.handlers], "/reactive-db", JUPYTER)


def assert_all_known(patterns: list[str], base: str, table: dict[str, tuple[str, ...]]) -> None:
    """Each address of the table is one that is registered, and each that is registered is in the table."""
    matched = [[route for route in table if re.fullmatch(pattern, f"{base}{route}")] for pattern in patterns]
    assert all(matched), patterns
    assert sorted(itertools.chain(*matched)) == sorted(table)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("route", JUPYTER)
def test_nothing_is_changed_by_a_request(
    endpoint: str, in_jupyter: Callable[[str, str], Headers], route: str, method: str
) -> None:
    assert ask(f"{endpoint}{route}", in_jupyter("lab", "cookie"), method).status == 403  # no XSRF token
    assert ask(f"{endpoint}{route}", in_jupyter("lab", "token"), method).status == 405


@pytest.mark.parametrize(
    ("caller", "way", "origin", "expected"),
    [
        ("lab", "cookie", ELSEWHERE, "no"),
        ("lab", "cookie", "null", "no"),
        ("lab", "cookie", None, "yes"),
        ("nobody", "cookie", ELSEWHERE, "no"),
        ("eve", "cookie", ELSEWHERE, "no"),
        ("lab", "token", ELSEWHERE, "yes"),  # as everywhere in Jupyter: no browser shows a token by itself
    ],
)
def test_jupyter_pages_from_elsewhere(
    endpoint: str, in_jupyter: Callable[[str, str], Headers], caller: str, way: str, origin: str | None, expected: str
) -> None:
    parts = urlsplit(endpoint)
    assert enter(endpoint, in_jupyter(caller, way), origin or f"{parts.scheme}://{parts.netloc}") == expected


# --- a kernel's proof ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(many: JupyterServer) -> dict[str, Kernel]:
    """A kernel that lives, one that has ended, and one that never was."""

    def kernel(id: str) -> Kernel:
        file = many.scratch / "runtime" / f"kernel-{id}.json"
        return Kernel(id, json.loads(file.read_text("utf-8"))["key"].encode())

    living, dead = kernel(many.new_kernel()), kernel(many.new_kernel())
    many.end_kernel(dead.id)
    return {"living": living, "dead": dead, "none": Kernel("0" * 8, living.key)}


Answer = Callable[[dict[str, Kernel], str, str], Any]
"""Of these kernels, to this nonce; the last is the nonce of another connection."""

PROOFS: dict[str, tuple[Answer, str]] = {
    "of a kernel": (lambda k, nonce, old: answered(k["living"], nonce), "yes"),
    "of a dead kernel": (lambda k, nonce, old: answered(k["dead"], nonce), "no"),
    "of no kernel": (lambda k, nonce, old: answered(k["none"], nonce), "no"),
    "replayed": (lambda k, nonce, old: answered(k["living"], old), "no"),
    "with another kernel's key": (lambda k, nonce, old: answered(Kernel(k["living"].id, k["dead"].key), nonce), "no"),
    "without a key": (lambda k, nonce, old: answered(Kernel(k["living"].id, b""), nonce), "no"),
    "for another kernel": (lambda k, nonce, old: {**answered(k["dead"], nonce), "kernel": k["living"].id}, "no"),
    "cut": (lambda k, nonce, old: {**answered(k["living"], nonce), "proof": k["living"].proof(nonce)[:-1]}, "no"),
    "not ASCII": (lambda k, nonce, old: {"kernel": k["living"].id, "proof": "é" * 64}, "no"),
    "half": (lambda k, nonce, old: {"kernel": k["living"].id}, "no"),
    "a list": (lambda k, nonce, old: [k["living"].id, k["living"].proof(nonce)], "no"),
    "nothing": (lambda k, nonce, old: None, "no"),
    "a path": (lambda k, nonce, old: {"kernel": "../../x", "proof": "x"}, "no"),
    "too long": (lambda k, nonce, old: {**answered(k["living"], nonce), "more": "x" * limits.PROOF_BYTES_MAX}, "no"),
    "too deep": (lambda k, nonce, old: "[" * 100_000, "no"),
    "no JSON": (lambda k, nonce, old: "{", "no"),
    "of a client that does not ask": (lambda k, nonce, old: m.Hello(m.VERSION, "a" * 32, ""), "protocol"),
}


def answered(kernel: Kernel, nonce: str) -> dict[str, str]:
    return {"kernel": kernel.id, "proof": proof(kernel.key, kernel.id, nonce)}


@pytest.mark.parametrize("name", PROOFS)
def test_proofs(endpoint: str, keys: dict[str, Kernel], name: str) -> None:
    make, expected = PROOFS[name]
    other, talk = Talk(endpoint, {}), Talk(endpoint, {})
    answer = make(keys, talk.greeting["nonce"], other.greeting["nonce"])
    talk.say(answer if isinstance(answer, str | m.Message) else json.dumps(answer))
    heard = talk.hello() if expected == "yes" else talk.hear()
    if expected == "yes":
        assert isinstance(heard, m.Welcome)
        assert heard.may == ["deploy", "read", "write"]
    else:
        assert heard.code == {"no": "permission-denied", "protocol": "protocol"}[expected]
        assert talk.hear() is None
    for one in (other, talk):
        one.close()


def test_a_kernel_proves_itself_to_its_own_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one would show the proof there, in the kernel's place."""
    heard: list[Any] = []

    def asks(connection: ServerConnection) -> None:
        connection.send(json.dumps({"nonce": "of the kernel's own server"}))
        heard.extend(connection)

    monkeypatch.setattr(database, "this_kernel", lambda: Kernel("k1", b"a secret"))
    monkeypatch.setenv("REACTIVE_DB_URL", "http://127.0.0.1:1/reactive-db")
    with serve_websocket(asks, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with pytest.raises(PermissionDeniedError, match="Pass `token=`"):
            rdb.connect(f"http://127.0.0.1:{server.socket.getsockname()[1]}/reactive-db/course")
        server.shutdown()
        thread.join(PATIENCE_SECONDS)
    assert heard == []


# --- every message ---------------------------------------------------------------------------------------------------


def example(kind: type[m.Message], table: int) -> m.Message:
    """A message of that kind that is right in every way."""
    anywhere = m.Range.of((table, "by_creation_time"), EVERYTHING)
    note = inserted(schema_of(Note, table), next(sessions), topic="a")
    examples = {
        m.Hello: m.Hello(m.VERSION, f"{next(sessions):032x}", ""),
        m.Read: m.Read(9, anywhere, False, 10),
        m.Count: m.Count(9, anywhere),
        m.Forget: m.Forget(9),
        m.Sql: m.Sql(9, "SELECT count(*) AS n FROM sync_notes", None),
        m.WatchPresence: m.WatchPresence(),
        m.Overview: m.Overview(9),
        m.Browse: m.Browse(9, "sync_notes"),
        m.Define: m.Define(9, msgspec.to_builtins(schema_of(Note, 0).definition_fields)),
        m.Commit: m.Commit(9, 1, 0, "t:write", [], [note], {}),
        m.Turn: m.Turn(9),
        m.EndTurn: m.EndTurn(),
        m.LoadPart: m.LoadPart(9, 0, table, [(note.id, note.document or b"")], True),
    }
    return examples[kind]


MESSAGES: dict[type[m.Message], tuple[type[m.Message], tuple[str, ...]]] = {
    # message        its answer        nobody forged eve   reader writer lab
    m.Hello: (m.Welcome, ("no", "no", "no", "yes", "yes", "yes")),
    m.Read: (m.Rows, ("no", "no", "no", "yes", "yes", "yes")),
    m.Count: (m.Counted, ("no", "no", "no", "yes", "yes", "yes")),
    m.Forget: (m.Forgotten, ("no", "no", "no", "yes", "yes", "yes")),
    m.Sql: (m.SqlRows, ("no", "no", "no", "yes", "yes", "yes")),
    m.WatchPresence: (m.Presence, ("no", "no", "no", "yes", "yes", "yes")),
    m.Overview: (m.OverviewIs, ("no", "no", "no", "yes", "yes", "yes")),
    m.Browse: (m.Browsed, ("no", "no", "no", "yes", "yes", "yes")),
    m.Define: (m.Defined, ("no", "no", "no", "no", "yes", "yes")),
    m.Commit: (m.Committed, ("no", "no", "no", "no", "yes", "yes")),
    m.Turn: (m.TurnCame, ("no", "no", "no", "no", "yes", "yes")),
    m.EndTurn: (m.Forgotten, ("no", "no", "no", "no", "yes", "yes")),  # of what is said after it: it has none
    m.LoadPart: (m.Loaded, ("no", "no", "no", "no", "yes", "yes")),
}


def test_the_table_has_every_message() -> None:
    assert set(MESSAGES) == set(typing.get_args(m.ClientMessage))


@pytest.mark.parametrize("caller", JUPYTER_CALLERS)
@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_messages(endpoint: str, in_jupyter: Callable[[str, str], Headers], kind: type[m.Message], caller: str) -> None:
    answer, expected = MESSAGES[kind][0], MESSAGES[kind][1][JUPYTER_CALLERS.index(caller)]
    talk = Talk(endpoint, in_jupyter(caller, "token"))
    heard = talk.hello() if "nonce" not in talk.greeting else None
    # Whoever is not welcome may say it all the same.
    message = example(kind, table_of(heard) if isinstance(heard, m.Welcome) else 10_002)
    if kind is m.EndTurn:
        talk.say(message)
        message = m.Forget(10)
    if kind is not m.Hello or not isinstance(heard, m.Welcome):
        heard = said_by(talk, message)
    talk.close()
    if expected == "yes":
        assert isinstance(heard, answer), heard
    else:
        assert heard is None or heard.code in ("permission-denied", "protocol"), heard


def test_what_others_do_is_told_to_who_may_deploy_alone(
    endpoint: str, in_jupyter: Callable[[str, str], Headers]
) -> None:
    for caller, is_told in (("reader", False), ("writer", False), ("lab", True)):
        talk = Talk(endpoint, in_jupyter(caller, "token"))
        talk.hello()
        heard = said_by(talk, m.Overview(1))
        talk.close()
        assert (heard.store.use is not None) == is_told


# --- reactive-db serve -----------------------------------------------------------------------------------------------

SERVICE_CALLERS = ("nobody", "forged", "forged login", "old token", "old login", "login", "token")
"""The old ones are of the server that was at this port before, with another token."""

SERVICE: dict[str, tuple[str, ...]] = {
    # address       nobody forged forged-login old-token old-login login  token
    "": ("no", "no", "no", "no", "no", "beside", "beside"),
    "/": ("no", "no", "no", "no", "no", "yes", "yes"),
    "/dashboard.js": ("no", "no", "no", "no", "no", "yes", "yes"),
    "/dashboard.css": ("no", "no", "no", "no", "no", "yes", "yes"),
    "/stores": ("no", "no", "no", "no", "no", "yes", "yes"),
    "/metrics": ("no", "no", "no", "no", "no", "yes", "yes"),
    "/sync": ("no", "no", "no", "no", "no", "yes", "yes"),
    "/health": ("yes", "yes", "yes", "yes", "yes", "yes", "yes"),
}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, Headers]]]:
    """One that came after another at the same port, and what each caller shows."""
    scratch, port = tmp_path_factory.mktemp("service"), free_port()
    shown = {"nobody": {}, "forged": by_token("guess"), "old token": by_token("old"), "token": by_token(TOKEN)}
    with running_service(scratch, token="old", port=port) as before:
        shown["old login"] = cookies_of(ask(f"{before.url}/?token=old", {}))
        assert outcome(before.url, "/stores", shown["old login"]) == "yes"
        before.stop()
    with running_service(scratch, port=port) as served:
        shown["login"] = cookies_of(ask(f"{served.url}/?token={TOKEN.replace(' ', '%20')}", {}))
        name = shown["login"]["Cookie"].partition("=")[0]
        forged = create_signed_value(b"a guess", "login", "").decode()
        shown["forged login"] = {"Cookie": f"{name}={forged}"}
        yield served, shown


@pytest.mark.parametrize("caller", SERVICE_CALLERS)
@pytest.mark.parametrize("route", SERVICE)
def test_service_addresses(services: tuple[Served, dict[str, Headers]], route: str, caller: str) -> None:
    served, shown = services
    assert outcome(served.url, route, shown[caller]) == SERVICE[route][SERVICE_CALLERS.index(caller)]


def test_the_table_has_every_address_of_the_service() -> None:
    runtime = SeededRuntime(0)
    stores = Stores(runtime, Limits())
    service = Service(TokenIdentity(TOKEN, b"a secret"), stores, runtime, 1.0)
    rules: list[Any] = service._application().wildcard_router.rules
    stores.close()
    assert_all_known([rule.matcher.regex.pattern for rule in rules], "/reactive-db", SERVICE)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("route", SERVICE)
def test_nothing_of_the_service_is_changed_by_a_request(
    services: tuple[Served, dict[str, Headers]], route: str, method: str
) -> None:
    served, shown = services
    assert ask(f"{served.url}{route}", shown["login"], method).status == 403  # no XSRF token
    assert ask(f"{served.url}{route}", shown["token"], method).status in (403, 405)


@pytest.mark.parametrize(
    ("caller", "origin", "expected"),
    [
        ("login", ELSEWHERE, "no"),
        ("login", "null", "no"),
        ("login", None, "yes"),
        ("token", ELSEWHERE, "no"),
        ("nobody", ELSEWHERE, "no"),
        ("nobody", None, "no"),
    ],
)
def test_service_pages_from_elsewhere(
    services: tuple[Served, dict[str, Headers]], caller: str, origin: str | None, expected: str
) -> None:
    served, shown = services
    parts = urlsplit(served.url)
    assert enter(served.url, shown[caller], origin or f"{parts.scheme}://{parts.netloc}") == expected


# --- a browser's login -----------------------------------------------------------------------------------------------


def test_a_login_is_kept_as_a_secret_and_is_not_the_token(services: tuple[Served, dict[str, Headers]]) -> None:
    served, _ = services
    address = f"{served.url}/?token={TOKEN.replace(' ', '+')}"
    (plain,) = ask(address, {}).headers.get_all("Set-Cookie", [])
    (behind_tls,) = ask(address, {"X-Forwarded-Proto": "https"}).headers.get_all("Set-Cookie", [])
    name, _, attributes = plain.partition("=")
    assert re.fullmatch(r"reactive-db-127-0-0-1-\d+", name)
    assert {"HttpOnly", "SameSite=Strict"} <= set(attributes.split("; "))
    assert "expires" not in attributes.lower(), "it ends with the browser's session"
    assert ("Secure" in attributes.split("; "), "Secure" in behind_tls.split("; ")) == (False, True)
    assert TOKEN not in plain
    assert TOKEN.encode().hex() not in plain


@pytest.mark.parametrize(("days", "is_known"), [(0.0, True), (0.99, True), (1.01, False), (400.0, False)])
def test_a_login_ends(days: float, is_known: bool) -> None:
    began = SystemRuntime().now() / 1_000 - days * 86_400
    login = create_signed_value(b"a secret", "login", "", clock=lambda: began).decode()
    caller = asyncio.run(TokenIdentity(TOKEN, b"a secret").caller(login))
    assert (caller is not None) == is_known


def test_no_log_has_a_token(services: tuple[Served, dict[str, Headers]]) -> None:
    served, _ = services
    for path in ("/sync?store=%ff&token=", "/sync?format=%ff&token=", "/nothing?token=", "/sync?token="):
        assert ask(f"{served.url}{path}{TOKEN.replace(' ', '%20')}", {}).status in (400, 404)
    assert "Invalid unicode" in served.log
    for spelled in (TOKEN, TOKEN.replace(" ", "%20"), TOKEN.replace(" ", "+")):
        assert spelled not in served.log


def test_what_is_shown_of_an_address_or_a_kernel_has_no_secret() -> None:
    address = database.address_of("http://127.0.0.1:1/reactive-db/course?token=hidden", None)
    assert address.token == "hidden"
    assert "hidden" not in f"{address!r} {address} {Kernel('k1', b'hidden')!r}"
