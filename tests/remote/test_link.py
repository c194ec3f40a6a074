"""A link opens a socket, proves who is there, opens it again when it is lost, and ends when it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websocket

from reactive_db.errors import PermissionDeniedError, ReactiveDBError
from reactive_db.remote.address import ENDPOINT, Address
from reactive_db.remote.kernel import Kernel, proof
from reactive_db.remote.link import Link
from reactive_db.sync.client import Send
from reactive_db.testing.runtime import SeededRuntime
from reactive_db.testing.threads import PATIENCE_SECONDS

Handler = Callable[[ServerConnection], None]
KERNEL = Kernel("k1", b"a secret")


class End:
    """Notes what a link tells it, and lets a test wait for that."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.send: Send | None = None
        self._changed = threading.Condition()

    def opened(self, send: Send) -> None:
        self.send = send
        self._note("opened")

    def hear(self, frame: bytes) -> None:
        self._note(frame)

    def lost(self) -> None:
        self._note("lost")

    def refused(self, error: ReactiveDBError) -> None:
        self._note(error)

    def wait_for(self, is_so: Callable[[list[Any]], bool]) -> list[Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: is_so(self.notes), PATIENCE_SECONDS), self.notes
            return list(self.notes)

    def _note(self, note: Any) -> None:
        with self._changed:
            self.notes.append(note)
            self._changed.notify_all()


@contextmanager
def server(handler: Handler) -> Iterator[Address]:
    with serve_websocket(handler, "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield Address(f"http://127.0.0.1:{running.socket.getsockname()[1]}/{ENDPOINT}", "course", "a token")
        running.shutdown()
        thread.join(PATIENCE_SECONDS)


@pytest.fixture
def connect() -> Iterator[Callable[..., tuple[Link, End]]]:
    """Makes a link to a server that does what a function says; the end of the test closes both."""
    with ExitStack() as stack:

        def connect(handler: Handler, kernel: Kernel | None = None) -> tuple[Link, End]:
            end = End()
            link = Link(stack.enter_context(server(handler)), kernel, end, SeededRuntime(0))
            stack.callback(link.close)
            return link, end

        yield connect


def greeted(connection: ServerConnection) -> None:
    """Knows already who is there; answers each frame by the same."""
    connection.send("{}")
    for frame in connection:
        connection.send(frame)


def test_frames_go_there_and_back(connect: Callable[..., tuple[Link, End]]) -> None:
    _, end = connect(greeted)
    end.wait_for(lambda notes: "opened" in notes)
    assert end.send is not None
    end.send(b"frame")
    end.wait_for(lambda notes: b"frame" in notes)


def test_a_lost_connection_is_opened_again(connect: Callable[..., tuple[Link, End]]) -> None:
    times, may_end = iter(range(10)), threading.Event()

    def ends_the_first(connection: ServerConnection) -> None:
        connection.send("{}")
        if next(times):
            list(connection)
        else:
            may_end.wait(PATIENCE_SECONDS)

    _, end = connect(ends_the_first)
    end.wait_for(lambda notes: notes == ["opened"])
    may_end.set()
    notes = end.wait_for(lambda notes: notes.count("opened") >= 2)
    assert notes[:3] == ["opened", "lost", "opened"]


def test_what_cannot_be_taken_is_reported_and_the_connection_begun_anew(
    connect: Callable[..., tuple[Link, End]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hear, times = End.hear, iter(range(10))

    def fails_once(end: End, frame: bytes) -> None:
        if next(times) == 0:
            raise KeyError("a fault of this side")
        hear(end, frame)

    monkeypatch.setattr(End, "hear", fails_once)

    def says(connection: ServerConnection) -> None:
        connection.send("{}")
        connection.send(b"frame")
        with suppress(ConnectionClosedError):
            list(connection)

    _, end = connect(says)
    assert end.wait_for(lambda notes: b"frame" in notes) == ["opened", "lost", "opened", b"frame"]
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "what the server said could not be taken; connecting anew" in record.getMessage()
    assert record.exc_text is not None
    assert "a fault of this side" in record.exc_text


def test_a_kernel_proves_itself_by_the_servers_nonce(connect: Callable[..., tuple[Link, End]]) -> None:
    answers: list[Any] = []

    def asks(connection: ServerConnection) -> None:
        connection.send(json.dumps({"nonce": "n0nce"}))
        answers.append(json.loads(connection.recv()))
        list(connection)

    _, end = connect(asks, KERNEL)
    end.wait_for(lambda notes: "opened" in notes)
    connection_closed = threading.Event()
    while not answers:
        connection_closed.wait(0.001)
    assert answers == [{"kernel": "k1", "proof": proof(b"a secret", "k1", "n0nce")}]


def test_who_is_no_kernel_is_told_at_once_to_pass_a_token(connect: Callable[..., tuple[Link, End]]) -> None:
    _, end = connect(lambda connection: connection.send(json.dumps({"nonce": "n0nce"})))
    (refusal,) = end.wait_for(bool)
    assert isinstance(refusal, PermissionDeniedError)
    assert "token=" in str(refusal)


def test_a_link_that_is_closed_while_it_opens_ends() -> None:
    """The server lets nobody in until the link is being closed, and then keeps the connection."""
    is_asked, may_go_on = threading.Event(), threading.Event()

    def hold(connection: ServerConnection, request: Any) -> None:
        is_asked.set()
        may_go_on.wait(PATIENCE_SECONDS)

    with serve_websocket(greeted, "127.0.0.1", 0, process_request=hold) as running:
        serving = threading.Thread(target=running.serve_forever, daemon=True)
        serving.start()
        address = Address(f"http://127.0.0.1:{running.socket.getsockname()[1]}/{ENDPOINT}", "course", "a token")
        link = Link(address, None, End(), SeededRuntime(0))
        assert is_asked.wait(PATIENCE_SECONDS)
        closing = threading.Thread(target=link.close, daemon=True)
        closing.start()
        assert link._is_closed.wait(PATIENCE_SECONDS)
        may_go_on.set()
        closing.join(PATIENCE_SECONDS)
        assert not closing.is_alive()
        running.shutdown()
        serving.join(PATIENCE_SECONDS)
