"""`reactive-db serve`, as a process: who gets in, which stores it has, and that nothing acknowledged is lost."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import websocket

import reactive_db as rdb
from reactive_db import limits
from reactive_db.database import Database
from reactive_db.errors import NotAStoreError, PermissionDeniedError, StoreClosedError, StoreLockedError
from reactive_db.limits import STORE_NAME_LENGTH_MAX
from reactive_db.remote.address import Address, hub_token
from reactive_db.remote.store import RemoteStore
from reactive_db.runtime import SystemRuntime
from tests.server.service import COMMAND, TOKEN, Served, running_service
from tests.servers import START_SECONDS_MAX, STOP_SECONDS_MAX, free_port, server_environment


class Note(rdb.Document, table="serve_notes"):
    n: int


@rdb.query
def numbers(ctx: rdb.QueryCtx) -> list[int]:
    return sorted(note.n for note in ctx.db.query(Note))


@rdb.mutation
def write(ctx: rdb.MutationCtx, n: int) -> None:
    ctx.db.insert(Note(n=n))


Start = Callable[..., Served]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server on a free port with these options; the end of the test ends it."""
    with ExitStack() as running:
        yield lambda *options, **settings: running.enter_context(running_service(tmp_path, *options, **settings))


@pytest.fixture
def served(start: Start) -> Served:
    return start()


Connect = Callable[..., rdb.Database]


@pytest.fixture
def connect(served: Served) -> Iterator[Connect]:
    """Connects to a store of the server; the end of the test closes the connections."""
    opened: list[rdb.Database] = []

    def connect(store: str = "course", token: str | None = TOKEN, **options: Any) -> rdb.Database:
        opened.append(rdb.connect(f"{served.url}/{store}", token=token, **options))
        return opened[-1]

    yield connect
    for database in opened:
        database.close()


# --- who gets in -----------------------------------------------------------------------------------------------------


def test_whoever_has_the_token_may_everything(connect: Connect) -> None:
    db = connect()
    db.run(write, 1)
    assert db.run(numbers) == [1]
    db.load(Note, [{"n": 2}], progress=False)
    assert db.sql("SELECT sum(n) AS n FROM serve_notes").rows() == [{"n": 3}]


@pytest.mark.parametrize("token", ["wrong", "open sesame!", "", None])
def test_nobody_else_may_anything(connect: Connect, served: Served, token: str | None) -> None:
    with pytest.raises(PermissionDeniedError, match=r"does not let this process in\. Pass `token=`"):
        connect(token=token)
    assert not served.folder.exists()


def test_a_page_from_elsewhere_gets_nowhere(served: Served) -> None:
    address = f"ws{served.url.removeprefix('http')}/sync?store=course"
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(address, origin="http://elsewhere.example", timeout=START_SECONDS_MAX)


def test_a_token_is_made_up_and_shown_if_none_is_given(start: Start) -> None:
    served = start(token=None)
    assert re.fullmatch("[0-9a-f]{48}", served.token)
    with rdb.connect(f"{served.url}/course", token=served.token) as db:
        assert db.run(numbers) == []


def test_one_that_is_given_is_shown_to_nobody(start: Start) -> None:
    served = start()
    with pytest.raises(PermissionDeniedError):
        rdb.connect(f"{served.url}/course?token=guess")
    served.stop()
    assert served.token == "…"
    assert TOKEN not in served.log
    assert "guess" not in served.log
    assert "403" in served.log


def test_the_token_of_a_hub_goes_to_the_hubs_own_stores_alone() -> None:
    environment = {"REACTIVE_DB_HUB_URL": "http://hub:8910/reactive-db", "JUPYTERHUB_API_TOKEN": "mine"}
    for url in ("http://hub:8910/reactive-db", "http://hub:8910/reactive-db/", "http://hub:8910/reactive-db/course"):
        assert hub_token(url, environment) == "mine"
    for url in ("http://hub:8910/reactive-db.evil/x", "http://evil/reactive-db/x", "https://hub:8910/reactive-db/x"):
        assert hub_token(url, environment) is None
    assert hub_token("http://hub:8910/reactive-db", {"JUPYTERHUB_API_TOKEN": "mine"}) is None


# --- which stores ----------------------------------------------------------------------------------------------------


def test_stores_have_plain_names(connect: Connect, served: Served) -> None:
    longest = "x" * STORE_NAME_LENGTH_MAX
    for name in ("course", "Übung-3", "_", longest):
        connect(name).run(write, 1)
    assert {path.name for path in served.folder.iterdir()} == {"course.rdb", "Übung-3.rdb", "_.rdb", f"{longest}.rdb"}


@pytest.mark.parametrize(
    "name",
    ["a/b", "../other", "/etc/store", "~", ".hidden", "a.rdb", "-x", "a b", "a\nb", "x" * (STORE_NAME_LENGTH_MAX + 1)],
)
def test_paths_and_other_names_are_refused(served: Served, tmp_path: Path, name: str) -> None:
    address = f"ws{served.url.removeprefix('http')}/sync?store={quote(name, safe='')}"
    socket = websocket.create_connection(
        address, header={"Authorization": f"token {TOKEN}"}, timeout=START_SECONDS_MAX, suppress_origin=True
    )
    assert socket.recv() == "{}"
    said = socket.recv()
    socket.close()
    assert b"not-a-store" in said
    assert b"Its stores have plain names such as `course`: letters, digits, `_` and `-`, at most 60" in said
    assert not served.folder.exists()


def test_a_client_hears_why_its_name_is_refused(connect: Connect) -> None:
    with pytest.raises(NotAStoreError, match="'a/b' names no store of this server"):
        connect("a/b")


def test_a_store_that_another_process_has_is_refused_by_name(connect: Connect, served: Served) -> None:
    with rdb.connect(served.folder / "mine.rdb"), pytest.raises(StoreLockedError, match=str(os.getpid())):
        connect("mine")


def session_of(served: Served) -> rdb.Database:
    """Another session of this process, which `rdb.connect` gives only one."""
    store = RemoteStore.at(Address(served.url, "course", TOKEN), None, SystemRuntime(), limits.Limits())
    store.wait_until_open(START_SECONDS_MAX)
    return Database(store)


# --- what it is for --------------------------------------------------------------------------------------------------


def test_two_clients_share_a_store(connect: Connect, served: Served, tmp_path: Path) -> None:
    shown = connect().live(numbers)
    changed = threading.Event()
    shown.observe(lambda change: changed.set(), "value")
    other = (
        "import reactive_db as rdb\n"
        "class Note(rdb.Document, table='serve_notes'):\n    n: int\n"
        "@rdb.mutation\ndef write(ctx: rdb.MutationCtx, n: int) -> None:\n    ctx.db.insert(Note(n=n))\n"
        f"rdb.connect('{served.url}/course', token='{TOKEN}').run(write, 7)\n"
    )
    subprocess.run([sys.executable, "-c", other], env=server_environment(tmp_path), check=True)
    assert changed.wait(START_SECONDS_MAX)
    assert shown.value == [7]


def test_a_slow_mutation_finishes_beside_one_that_always_wins(connect: Connect, served: Served) -> None:
    db, quick = connect(), session_of(served)
    db.run(write, 0)
    won, is_done = threading.Event(), threading.Event()
    runs: list[None] = []

    @rdb.mutation
    def overtake(ctx: rdb.MutationCtx) -> None:
        for note in ctx.db.query(Note).collect():
            ctx.db.patch(note.id, n=note.n + 1)

    @rdb.mutation
    def slow(ctx: rdb.MutationCtx) -> int:
        note = ctx.db.query(Note).first()
        assert note is not None
        runs.append(None)
        won.clear()
        won.wait(limits.TURN_SECONDS_MAX / 2)  # in its turn, in vain
        ctx.db.patch(note.id, n=note.n + 1)
        return note.n

    def go_on_winning() -> None:
        while not is_done.is_set():
            quick.run(overtake)
            won.set()

    with ThreadPoolExecutor(1) as pool:
        winner = pool.submit(go_on_winning)
        seen = db.run(slow)
        is_done.set()
        winner.result()
    quick.close()
    assert seen > 0
    assert len(runs) <= limits.Limits().retries_max + 2


def test_it_answers_below_the_path_that_a_proxy_leaves(served: Served) -> None:
    server = served.url.removesuffix("/reactive-db")
    for path in ("reactive-db/health", "services/rdb/reactive-db/health"):
        with urlopen(f"{server}/{path}", timeout=START_SECONDS_MAX) as answer:
            assert json.load(answer) == {"status": "ok", "version": version("reactive-db")}
    with pytest.raises(HTTPError, match="404") as refused:
        urlopen(f"{server}/api/contents", timeout=START_SECONDS_MAX)
    refused.value.close()


# --- how it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_and_what_it_acknowledged_is_there(start: Start, number: int) -> None:
    served = start()
    acknowledged: list[int] = []
    started = threading.Event()

    def work() -> None:
        db = rdb.connect(f"{served.url}/course", token=TOKEN)
        with suppress(StoreClosedError):
            for n in itertools.count():
                db.run(write, n)
                acknowledged.append(n)
                if n > 50:
                    started.set()

    with ThreadPoolExecutor() as pool:
        done = pool.submit(work)
        assert started.wait(START_SECONDS_MAX)
        assert served.stop(number) == 0
        rdb.connect(f"{served.url}/course", token=TOKEN).close()
        done.result(STOP_SECONDS_MAX)
    with rdb.connect(served.folder / "course.rdb") as db:
        found = db.run(numbers)
    assert found[: len(acknowledged)] == acknowledged
    assert len(found) <= len(acknowledged) + 1  # one more was under way
    assert "Traceback" not in served.log


def test_clients_go_on_with_the_server_that_comes_after(start: Start) -> None:
    port = free_port()
    first = start(port=port)
    with rdb.connect(f"{first.url}/course", token=TOKEN) as db:
        shown = db.live(numbers)
        db.run(write, 1)
        assert first.stop() == 0
        with ThreadPoolExecutor() as pool:
            done = pool.submit(db.run, write, 2)  # waits
            start(port=port)
            done.result(START_SECONDS_MAX)
        assert shown.value == [1, 2]


def test_what_is_submitted_between_two_servers_is_shown_at_once_and_applied_once(start: Start) -> None:
    port = free_port()
    first = start(port=port)
    with rdb.connect(f"{first.url}/course", token=TOKEN) as db:
        shown, lost = db.live(numbers), threading.Event()
        db.run(write, 1)
        shown.observe(lambda change: lost.set(), "status")
        assert first.stop() == 0
        assert lost.wait(START_SECONDS_MAX)
        futures = [db.submit(write, n) for n in (2, 3)]
        assert (shown.value, shown.status) == ([1, 2, 3], "stale")
        assert (db.status, db.pending) == ("offline", 2)
        start(port=port)
        for future in futures:
            future.result(START_SECONDS_MAX)
        assert shown.value == [1, 2, 3]
        assert db.pending == 0
        assert db.sql("SELECT count(*) FROM serve_notes").fetchall() == [(3,)]


def test_a_port_that_is_taken_is_named(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run([*COMMAND, f"--port={port}"], capture_output=True, text=True, timeout=START_SECONDS_MAX)
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use. Pass another --port" in ended.stderr


def test_it_needs_no_jupyter() -> None:
    program = (
        "import sys, reactive_db.cli.serve, reactive_db.server.service, reactive_db.server.hub_identity\n"
        "sys.exit(', '.join({'jupyter_server', 'jupyter_client', 'ipykernel', 'IPython'} & set(sys.modules)) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_other_commands_do_not_wait_for_a_server_to_load() -> None:
    program = "import sys, reactive_db.cli; sys.exit('tornado' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
