"""Whatever a client sends, in whatever order: it gets an error or loses its connection, and nobody else notices.

Here without sockets; over a real one: `tests/server/test_fuzz.py`.
"""

from __future__ import annotations

import functools
import os
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reactive_db.model.keys import EVERYTHING
from reactive_db.sync import messages as m
from reactive_db.sync.served import Caller, Served
from reactive_db.sync.session import ServerSession, Threads
from reactive_db.testing.stores import memory_store
from reactive_db.testing.wire import OWNER, Wire
from tests.sync.ear import SESSION, Client, inserted, topic

OTHER = "f" * 32
LONG = os.environ.get("REACTIVE_DB_CAMPAIGN") == "long"
READER = Caller("bob", frozenset({"read"}))
DECODERS = {m.MSGPACK: m.decode_server, m.JSON: msgspec.json.Decoder(m.ServerMessage).decode}


class Bystander:
    """Another session, which must notice nothing."""

    def __init__(self) -> None:
        self.served = Served("course", memory_store())
        self.wire = Wire(self.served)
        self.client = Client(self.wire, OTHER)
        self.schema = self.client.define()
        self.client.read(self.schema)
        self.notes = 0

    def check(self) -> None:
        """It writes and hears of it; the store is whole."""
        self.notes += 1
        note = inserted(self.schema, 1_000 + self.notes, topic="bystander", rank=self.notes)
        self.client.ear.frames.clear()
        self.client.write(self.schema, note)
        told, answer = self.client.heard
        assert isinstance(told, m.Transition)
        assert told.writes == [note]
        assert isinstance(answer, m.Committed)
        table = self.served.table(self.schema.number)
        head = self.served.store.published_ts
        for index in ("by_creation_time", "by_topic", "by_rank"):
            found = list(table.scan(index, EVERYTHING, head, descending=False))
            assert all(table.schema.index(index).key(document) == key for key, document in found)
            assert table.count(index, EVERYTHING, head) == len(found)
        assert not self.client.connection.is_ended
        assert len(self.served.store.snapshots) == 0


class Fuzzed:
    """A connection that says anything; its network takes everything at once."""

    def __init__(self, world: Bystander, encoding: m.Encoding, caller: Caller) -> None:
        self.is_ended = False
        self._wire = world.wire
        self._frames: list[bytes] = []
        self._decode = DECODERS[encoding]
        threads = Threads(*[self._wire.submit] * 3)
        self.session = ServerSession(world.served, caller, self._frames.append, self._end, threads, encoding)

    def say(self, frame: bytes) -> list[m.Message]:
        """What comes of a frame."""
        before = len(self._frames)
        self.session.hear(frame)
        self._wire.pump()
        while self.session.load().frames:
            self.session.drained()
            self._wire.pump()
        return [self._decode(one) for one in self._frames[before:]]

    def _end(self) -> None:
        self.is_ended = True


def valid_messages(schema: Any) -> list[m.Message]:
    """One of each kind, that a client of this table might send."""
    anywhere = m.Range.of((schema.number, "by_creation_time"), EVERYTHING)
    one = m.Range.of((schema.number, "by_topic"), topic(schema, "a"))
    note = inserted(schema, 1, topic="a")
    by_id = m.Range(schema.number, "by_id", note.id.encode(), note.id.encode() + b"\0", 32)
    commit = m.Commit(4, 1, 5, "t:write", [anywhere, by_id], [note], {})
    return [
        m.Hello(m.VERSION, SESSION, "a test"),
        m.Read(1, one, False, 10),
        m.Read(2, by_id, True, 1),
        m.Count(3, one),
        commit,
        msgspec.structs.replace(commit, request=5, commit=2, reads=[]),
        m.Define(6, msgspec.to_builtins(schema.definition_fields)),
        m.Sql(7, "SELECT count(*) FROM sync_notes", [1]),
        m.LoadPart(8, 0, schema.number, [(note.id, note.document or b"")], True),
        m.Forget(1),
        m.WatchPresence(),
        m.Overview(9),
        m.Browse(10, "sync_notes"),
        m.Turn(11),
        m.EndTurn(),
    ]


@functools.cache
def world() -> Bystander:
    """One for all examples."""
    return Bystander()


@functools.cache
def valid_frames(encoding: m.Encoding) -> list[bytes]:
    return [encoding.encode(message) for message in valid_messages(world().schema)]


@pytest.fixture(scope="module", autouse=True)
def end_of_the_world() -> Iterator[None]:
    yield
    world().served.close()


def test_every_kind_of_message_is_tried() -> None:
    assert {type(one) for one in valid_messages(world().schema)} == set(typing.get_args(m.ClientMessage))


JUNK: list[Any] = [
    *(None, True, -1, 0, 1, 2**31, 2**63 - 1, -(2**63), 2**64 - 1, 1.5, float("inf"), float("-inf"), float("nan")),
    *("", "x" * 300, "by_id", "by_topic", "_sessions", "_tables", "sync_notes", "\ud7ff", "SELECT 1; SELECT 2"),
    *(b"", b"\xff" * 40, [], [[]], {}, [None] * 5_000, {"a": {"b": []}}),
]
ENCODED: dict[m.Encoding, list[bytes]] = {
    m.MSGPACK: [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x91" * 50_000, b"\xc6\xff\xff\xff\xff", b"\x81\xa5hello\x01"],
    m.JSON: [
        *(b"", b"[", b"[" * 50_000, b'["overview",NaN]', b'["overview",1e999]', b'["overview",' + b"9" * 5_000 + b"]"),
        *(
            b'["overview",1180591620717411303424]',
            b'["hello",1,"\\ud800",""]',
            b'"hello"',
            b"\xff\xfe",
            b'{"0":"hello"}',
        ),
    ],
}
"""What no message is, by how it looks."""


@st.composite
def mutated(draw: st.DrawFn, encoding: m.Encoding) -> bytes:
    """A valid frame in which something is different: a byte, a value, its length."""
    frame = draw(st.sampled_from(valid_frames(encoding)))
    match draw(st.sampled_from(["as it is", "byte", "cut", "doubled", "value", "value", "value"])):
        case "byte":
            at = draw(st.integers(0, len(frame) - 1))
            return frame[:at] + bytes([draw(st.integers(0, 255))]) + frame[at + 1 :]
        case "cut":
            return frame[: draw(st.integers(0, len(frame) - 1))]
        case "doubled":
            return frame + frame
        case "value":
            codec = msgspec.json if encoding.is_text else msgspec.msgpack
            return codec.encode(_elsewhere(draw, codec.decode(frame)))
    return frame


def _elsewhere(draw: st.DrawFn, value: Any) -> Any:
    """`value` with junk at some place in it."""
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], _elsewhere(draw, value[at]), *value[at + 1 :]]
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value, key=str)))
        return {**value, key: _elsewhere(draw, value[key])}
    return draw(st.sampled_from(JUNK))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[m.Encoding, list[bytes]]:
    """Some frames in some order, often after a hello."""
    encoding = draw(st.sampled_from([m.MSGPACK, m.JSON]))
    strange = mutated(encoding) | st.binary(max_size=60) | st.sampled_from(ENCODED[encoding])
    frames = draw(st.lists(strange, min_size=1, max_size=5))
    session = draw(st.binary(min_size=16, max_size=16)).hex()
    hello = [encoding.encode(m.Hello(m.VERSION, session, "a test"))] if draw(st.integers(0, 4)) else []
    return encoding, hello + frames


@settings(max_examples=20_000 if LONG else 300)
@given(conversations(), st.sampled_from([OWNER, READER]))
@example((m.MSGPACK, [m.encode(m.Sql(1, "x", None))] * 3), OWNER)
@example((m.JSON, [m.JSON.encode(m.Hello(1, SESSION, "")), b'["overview",1180591620717411303424]']), OWNER)
def test_whatever_a_client_sends_it_is_answered_and_nobody_else_notices(
    said: tuple[m.Encoding, list[bytes]], caller: Caller
) -> None:
    encoding, frames = said
    fuzzed = Fuzzed(world(), encoding, caller)
    for frame in frames:
        if fuzzed.is_ended:
            break
        answered = fuzzed.say(frame)
        assert answered or fuzzed.is_ended or _needs_no_answer(encoding, frame), "an error, or the end"
        faults = [one for one in answered if isinstance(one, m.Failed) and one.code == "server-error"]
        assert not faults, "an error that says what is wrong"
    fuzzed.session.closed()
    world().check()


def _needs_no_answer(encoding: m.Encoding, frame: bytes) -> bool:
    return isinstance(encoding.decode_client(frame), m.WatchPresence | m.EndTurn)
