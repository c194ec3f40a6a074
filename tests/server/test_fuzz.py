"""Whatever somebody sends over a real socket: the server lives, and two sessions beside it notice nothing.

Many more, without sockets: `tests/sync/test_fuzz.py`.
"""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import websocket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reactive_db import limits
from reactive_db.sync import messages as m
from tests.server.callers import STORE, Bystander, Headers, by_token, sessions
from tests.server.jupyter import JupyterServer
from tests.servers import START_SECONDS_MAX

TEXT, BINARY = websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY

frames = st.tuples(
    st.sampled_from([TEXT, BINARY]),
    st.binary(max_size=40)
    | st.sampled_from([m.encode(m.Forget(1)), m.encode(m.Sql(1, "SELECT 1", None)), b'["forget",1]', b"[" * 50_000])
    | st.builds(
        lambda tag, rest: json.dumps([tag, *rest]).encode(),
        st.sampled_from(["read", "commit", "browse", "hello", "load"]),
        st.lists(st.none() | st.integers() | st.text(max_size=5), max_size=8),
    ),
)


def opened(endpoint: str, headers: Headers, query: str = "") -> websocket.WebSocket:
    address = f"ws{endpoint.removeprefix('http')}/sync?store={STORE}{query}"
    return websocket.create_connection(address, header=headers, timeout=START_SECONDS_MAX, suppress_origin=True)


def until_the_end(socket: websocket.WebSocket) -> None:
    """Hear everything, until the server has ended the connection."""
    while socket.recv_data()[0] != websocket.ABNF.OPCODE_CLOSE:
        pass


@pytest.mark.parametrize("caller", ["writer", "nobody"])
@pytest.mark.parametrize("encoding", ["msgpack", "json"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(frames, max_size=4), says_hello=st.booleans())
def test_whatever_is_sent(
    endpoint: str, bystander: Bystander, encoding: str, caller: str, said: list[tuple[int, bytes]], says_hello: bool
) -> None:
    socket = opened(endpoint, {} if caller == "nobody" else by_token(caller), f"&format={encoding}")
    hello = m.ENCODINGS[encoding].encode(m.Hello(m.VERSION, f"{next(sessions):032x}", "a test"))
    opcode = TEXT if encoding == "json" else BINARY
    nonsense = (opcode, hello), (opcode, hello)  # hello comes once: the second one ends it, whatever is between
    for kind, frame in [*(nonsense[:1] if says_hello else ()), *said, *nonsense]:
        try:
            socket.send(frame, kind)
        except (BrokenPipeError, ConnectionError, websocket.WebSocketConnectionClosedException):
            break
    with suppress(ConnectionError, websocket.WebSocketConnectionClosedException):
        until_the_end(socket)
    socket.shutdown()
    bystander.check()


@pytest.mark.parametrize("size", [limits.FRAME_BYTES_MAX + 1, 2**62])
def test_a_frame_that_is_too_long_ends_the_connection(endpoint: str, bystander: Bystander, size: int) -> None:
    socket = opened(endpoint, by_token("writer"))
    socket.sock.sendall(b"\x82\xff" + size.to_bytes(8, "big") + bytes(4))  # a header; no byte of it need follow
    until_the_end(socket)
    socket.shutdown()
    bystander.check()


@pytest.mark.parametrize("query", ["&format=%ff", "&store=%ff"])
def test_an_address_that_cannot_be_read_is_refused(endpoint: str, bystander: Bystander, query: str) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException, match="400"):
        opened(endpoint, by_token("reader"), query)
    bystander.check()


@pytest.mark.parametrize("store", ["../../x", "/etc/hosts", "%00", "x" * 9_000, "a%20b", "~root/x.rdb", ""])
@pytest.mark.parametrize("caller", ["reader", "writer"])
def test_a_path_is_for_who_may_deploy(many: JupyterServer, bystander: Bystander, store: str, caller: str) -> None:
    socket = opened(f"{many.url}/reactive-db", by_token(caller), f"&store={store}")
    assert socket.recv() == "{}"
    failed = m.decode_server(socket.recv())
    assert isinstance(failed, m.Failed)
    assert failed.code == "not-a-store"
    socket.shutdown()
    bystander.check()


def test_requests_without_end_are_refused(endpoint: str, bystander: Bystander) -> None:
    socket = opened(endpoint, by_token("reader"))
    socket.send_binary(m.encode(m.Hello(m.VERSION, f"{next(sessions):032x}", "a test")))
    with suppress(ConnectionError, websocket.WebSocketConnectionClosedException):
        for number in range(20 * limits.SESSION_REQUESTS_MAX):
            socket.send_binary(m.encode(m.Sql(number, "SELECT count(*) FROM range(10000000)", None)))
        until_the_end(socket)
    socket.shutdown()
    bystander.check()


def test_the_server_has_met_no_error_of_its_own(many: JupyterServer, bystander: Bystander) -> None:
    opened(f"{many.url}/reactive-db", by_token("writer")).shutdown()
    bystander.check()
    assert "Uncaught exception" not in many.log
    assert "a request failed" not in many.log
