"""One connection: answers in order, permissions, limits; and whatever a client sends harms nobody but itself."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reactive_db import limits
from reactive_db.errors import LimitError
from reactive_db.model.keys import EVERYTHING, KeyRange
from reactive_db.sync import messages as m
from reactive_db.sync.served import Caller, Served
from reactive_db.testing.stores import memory_store
from reactive_db.testing.wire import Wire
from tests.sync.ear import SESSION, Client, changed, inserted, topic

OTHER = "f" * 32
LONG = os.environ.get("REACTIVE_DB_CAMPAIGN") == "long"


def kinds(messages: list[m.Message]) -> list[type[m.Message]]:
    return [type(message) for message in messages]


# --- hello -----------------------------------------------------------------------------------------------------------


def test_a_connection_begins_with_a_welcome(wire: Wire) -> None:
    client = Client(wire)
    (welcome,) = client.heard
    assert isinstance(welcome, m.Welcome)
    assert (welcome.name, welcome.user, welcome.may) == ("course", "ada", ["deploy", "read", "write"])
    assert (welcome.commit, welcome.ts) == (0, wire.served.publisher.ts)


def test_nothing_is_said_before_the_welcome(wire: Wire) -> None:
    late, writing = Client(wire, None), Client(wire, OTHER)
    schema = writing.define()
    writing.write(schema, inserted(schema, 1, topic="a"))
    assert late.heard == []
    assert kinds(late.ask(m.Hello(m.VERSION, "e" * 32, ""))) == [m.Welcome]


def test_a_welcome_knows_every_table_and_the_sessions_last_commit(wire: Wire) -> None:
    before = Client(wire)
    schema = before.define()
    before.write(schema, inserted(schema, 1, topic="a"))
    before.write(schema, inserted(schema, 2, topic="a"))
    welcome = Client(wire).heard[0]
    assert isinstance(welcome, m.Welcome)
    assert welcome.commit == 2
    assert any(b"sync_notes" in (written.document or b"") for written in welcome.definitions)


@pytest.mark.parametrize(
    "message",
    [
        m.Hello(m.VERSION + 1, SESSION, ""),
        m.Hello(m.VERSION, "not hex", ""),
        m.Hello(m.VERSION, SESSION.upper(), ""),
        m.Forget(1),
        m.Sql(1, "SELECT 1", None),
        b"",
        b"\xc1",
        b"\x92\xa5hello\x01",
        m.encode(m.Hello(m.VERSION, SESSION, ""))[:-1],
        m.encode(m.Committed(1, 1)),
    ],
    ids=repr,
)
def test_what_does_not_begin_with_hello_is_told_so_and_ended(wire: Wire, message: m.Message | bytes) -> None:
    client = Client(wire, None)
    (failed,) = client.ask(message)
    assert isinstance(failed, m.Failed)
    assert (failed.request, failed.code) == (0, "protocol")
    assert client.connection.is_ended


def test_another_version_is_told_what_to_do(wire: Wire) -> None:
    client = Client(wire, None)
    (failed,) = client.ask(m.Hello(m.VERSION + 1, SESSION, ""))
    assert isinstance(failed, m.Failed)
    assert f"version {m.VERSION + 1}" in failed.message
    assert "same version of reactive-db on both sides" in failed.message


def test_hello_comes_once(wire: Wire) -> None:
    client = Client(wire)
    (failed,) = client.ask(m.Hello(m.VERSION, SESSION, ""))
    assert isinstance(failed, m.Failed)
    assert client.connection.is_ended


# --- order -----------------------------------------------------------------------------------------------------------


def test_answers_come_in_the_order_of_the_requests(wire: Wire) -> None:
    client = Client(wire)
    schema = client.define()
    before = len(client.heard)
    asked = m.Range.of((schema.number, "by_creation_time"), EVERYTHING)
    for request in (11, 12, 13):
        client.connection.say(m.Read(request, asked, False, 10))
    wire.pump()
    assert [getattr(message, "request", None) for message in client.heard[before:]] == [11, 12, 13]


def test_the_transition_to_an_answers_timestamp_comes_before_it(wire: Wire) -> None:
    client, writing = Client(wire), Client(wire, OTHER)
    schema = client.define()
    writing.write(schema, inserted(schema, 1, topic="a"))
    before = len(client.heard)
    rows = client.read(schema)
    moved = client.heard[before:][0]
    assert kinds(client.heard[before:]) == [m.Transition, m.Rows]
    assert isinstance(moved, m.Transition)
    assert moved.ts == rows.ts


def test_no_transition_overtakes_an_answer_that_is_being_made(served: Served, wire: Wire) -> None:
    client, writing = Client(wire), Client(wire, OTHER)
    schema = client.define()
    client.read(schema)
    session, before = client.connection.session, len(client.heard)
    with session._answering() as answer:
        ts = writing.write(schema, inserted(schema, 1, topic="a")).ts
        assert answer.ts == ts - 1
        assert client.heard[before:] == [], "others wait until it is out"
        answer.messages = [m.Defined(1, answer.ts)]
    wire.pump()
    assert kinds(client.heard[before:]) == [m.Defined, m.Transition]


def test_what_an_answer_reads_is_not_forgotten_while_it_is_made(wire: Wire) -> None:
    client, writing = Client(wire), Client(wire, OTHER)
    schema = client.define()
    note = inserted(schema, 1, topic="a", rank=0)
    writing.write(schema, note)
    with client.connection.session._answering() as answer:
        for rank in range(1, 5):
            writing.write(schema, changed(schema, note, rank=rank))
        found = wire.served.table(schema.number).get(note.id, answer.ts)
        assert getattr(found, "rank", None) == 0
    assert len(wire.served.store.snapshots) == 0


def test_who_lost_a_race_has_heard_of_the_winner_before(wire: Wire) -> None:
    losing, winning = Client(wire), Client(wire, OTHER)
    schema = losing.define()
    note = inserted(schema, 1, topic="a")
    begin_ts = wire.served.publisher.ts
    ts = winning.write(schema, note).ts
    reads = [m.Range.of((schema.number, "by_topic"), topic(schema, "a"))]
    commit = losing.commit_of(schema, [inserted(schema, 2, topic="a")], reads, begin_ts)
    moved, failed = losing.ask(commit)
    assert isinstance(failed, m.Failed)
    assert failed.code == "conflict"
    assert isinstance(moved, m.Transition)
    assert moved.ts == ts


def test_whoever_writes_blindly_loses_to_nobody(wire: Wire) -> None:
    client, writing = Client(wire), Client(wire, OTHER)
    schema = client.define()
    for seed in range(5):
        writing.write(schema, inserted(schema, seed, topic="a"))
        client.answer(
            client.commit_of(schema, [inserted(schema, seed + 10, topic="a")], None, wire.served.publisher.ts),
            m.Committed,
        )


# --- once ------------------------------------------------------------------------------------------------------------


def test_a_commit_that_arrives_again_is_applied_once_though_it_reads_what_it_wrote(wire: Wire) -> None:
    client = Client(wire)
    schema = client.define()
    client.read(schema)
    commit = client.commit_of(
        schema, [inserted(schema, 1, topic="a")], [m.Range.of((schema.number, "by_creation_time"), EVERYTHING)]
    )
    ts = client.answer(commit, m.Committed).ts
    assert kinds(client.ask(commit)) == [m.Committed]
    assert wire.served.publisher.ts == ts


def test_a_commit_on_the_old_and_the_new_connection_at_once_is_applied_once(wire: Wire) -> None:
    old = Client(wire)
    schema = old.define()
    note = inserted(schema, 1, topic="a", rank=0)
    old.write(schema, note)
    commit = old.commit_of(
        schema, [changed(schema, note, rank=1)], [m.Range.of((schema.number, "by_creation_time"), EVERYTHING)]
    )
    old.connection.say(commit)
    old.connection.lose()  # the frame is on its way
    new = Client(wire)
    assert kinds(new.ask(commit)) == [m.Committed]
    old.connection.arrive()
    wire.pump()
    new.read(schema)
    assert wire.served.last_commit(SESSION) == 2


def test_a_commit_that_is_done_is_done_though_its_table_was_declared_anew_meanwhile(wire: Wire) -> None:
    client = Client(wire)
    schema = client.define()
    commit = client.commit_of(schema, [inserted(schema, 1, topic="a")])
    client.answer(commit, m.Committed)
    stale = msgspec.structs.replace(commit, definitions={schema.number: "of another class"})
    assert kinds(client.ask(stale)) == [m.Committed]


def test_an_older_commit_that_arrives_late_changes_nothing(wire: Wire) -> None:
    client = Client(wire)
    schema = client.define()
    note = inserted(schema, 1, topic="a", rank=0)
    first = client.commit_of(schema, [note])
    client.answer(first, m.Committed)
    ts = client.write(schema, changed(schema, note, rank=9)).ts
    assert kinds(client.ask(first)) == [m.Committed]
    assert wire.served.publisher.ts == ts


# --- loads -----------------------------------------------------------------------------------------------------------


def part(client: Client, number: int, table: int, seeds: range, is_last: bool, schema: Any) -> m.LoadPart:
    documents = [(one.id, one.document or b"") for one in (inserted(schema, seed, topic="a") for seed in seeds)]
    return m.LoadPart(client.number(), number, table, documents, is_last)


def test_a_load_in_parts_happens_at_once(wire: Wire) -> None:
    client = Client(wire)
    schema = client.define()
    for number in range(2):
        client.answer(part(client, number, schema.number, range(number * 3, number * 3 + 3), False, schema), m.Loaded)
    assert client.read(schema).documents == []
    client.answer(part(client, 2, schema.number, range(6, 9), True, schema), m.Loaded)
    assert len(client.read(schema).documents) == 9


def test_the_parts_of_a_load_that_was_given_up_are_not_in_the_next_one(wire: Wire) -> None:
    client = Client(wire)
    schema = client.define()
    client.answer(part(client, 0, schema.number, range(3), False, schema), m.Loaded)
    client.answer(part(client, 0, schema.number, range(10, 12), True, schema), m.Loaded)
    assert len(client.read(schema).documents) == 2


def test_a_part_out_of_order_is_refused(wire: Wire) -> None:
    client = Client(wire)
    schema = client.define()
    client.answer(part(client, 0, schema.number, range(3), False, schema), m.Loaded)
    assert client.answer(part(client, 2, schema.number, range(3, 6), True, schema), m.Failed).code == "protocol"


@pytest.mark.parametrize("seeds", [(1, 1), (7, 8)], ids=["twice in one load", "there already"])
def test_a_load_of_an_id_that_is_not_new_changes_nothing(wire: Wire, seeds: tuple[int, int]) -> None:
    client = Client(wire)
    schema = client.define()
    client.write(schema, inserted(schema, 7, topic="a"))
    documents = [(one.id, one.document or b"") for one in (inserted(schema, seed, topic="b") for seed in seeds)]
    ts = wire.served.publisher.ts
    assert client.answer(m.LoadPart(client.number(), 0, schema.number, documents, True), m.Failed).code == (
        "invalid-document"
    )
    assert wire.served.publisher.ts == ts


# --- permissions and limits ------------------------------------------------------------------------------------------

NEEDS_WRITE: dict[str, Callable[[Client, Any], m.Message]] = {
    "define": lambda client, schema: m.Define(client.number(), msgspec.to_builtins(schema.definition_fields)),
    "commit": lambda client, schema: client.commit_of(schema, [inserted(schema, 5, topic="a")]),
    "load": lambda client, schema: part(client, 0, schema.number, range(2), True, schema),
}


@pytest.mark.parametrize("request_", NEEDS_WRITE)
def test_who_may_only_read_writes_nothing(wire: Wire, request_: str) -> None:
    schema = Client(wire).define()
    reader = Client(wire, OTHER, Caller("bob", frozenset({"read"})))
    ts = wire.served.publisher.ts
    failed = reader.answer(NEEDS_WRITE[request_](reader, schema), m.Failed)
    assert failed.code == "permission-denied"
    assert "'bob' may not write in store 'course'" in failed.message
    assert wire.served.publisher.ts == ts
    assert reader.read(schema).documents == []


def test_who_may_nothing_is_not_welcome(wire: Wire) -> None:
    nobody = Client(wire, OTHER, Caller("eve", frozenset()))
    assert kinds(nobody.heard) == [m.Failed]
    assert nobody.connection.is_ended


@pytest.mark.parametrize("table", ["_sessions", "_tables", "_anything"])
def test_the_stores_own_tables_are_nobodys_to_define(wire: Wire, table: str) -> None:
    client = Client(wire)
    fields = msgspec.to_builtins(client.define().definition_fields) | {"name": table}
    assert client.answer(m.Define(client.number(), fields), m.Failed).code == "invalid-schema"
    client.write(client.define(), inserted(client.define(), 1, topic="a"))


def test_too_many_requests_at_once_are_refused(wire: Wire) -> None:
    client = Client(wire)
    for _ in range(limits.SESSION_REQUESTS_MAX):
        client.connection.session.hear(m.encode(m.Sql(1, "SELECT 1", None)))
    with pytest.raises(LimitError, match="SESSION_REQUESTS_MAX"):
        client.connection.session.hear(m.encode(m.Sql(1, "SELECT 1", None)))


def test_sql_comes_in_parts_of_one_stream(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MESSAGE_BYTES", 64)
    client = Client(wire)
    parts = client.ask(m.Sql(1, "SELECT 42 AS answer", None))
    assert set(kinds(parts)) == {m.SqlRows}
    assert [part.is_last for part in parts if isinstance(part, m.SqlRows)] == [False] * (len(parts) - 1) + [True]


# --- whatever a client sends -----------------------------------------------------------------------------------------


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
        before = len(self.client.heard)
        self.client.write(self.schema, note)
        told, answer = self.client.heard[before:]
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
        m.Turn(9),
        m.EndTurn(),
    ]


@functools.cache
def world() -> Bystander:
    """One for all examples."""
    return Bystander()


@functools.cache
def valid_frames() -> list[bytes]:
    return [m.encode(message) for message in valid_messages(world().schema)]


@pytest.fixture(scope="module", autouse=True)
def end_of_the_world() -> Iterator[None]:
    yield
    world().served.close()


JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    2**63 - 1,
    2**64 - 1,
    1.5,
    "",
    "x" * 300,
    "by_id",
    b"",
    b"\xff" * 40,
    [],
    [[]],
    {},
]
junk = st.sampled_from(JUNK)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid frame in which something is different: a byte, a value, its length."""
    frame = draw(st.sampled_from(valid_frames()))
    match draw(st.sampled_from(["as it is", "byte", "cut", "doubled", "value", "value", "value"])):
        case "byte":
            at = draw(st.integers(0, len(frame) - 1))
            return frame[:at] + bytes([draw(st.integers(0, 255))]) + frame[at + 1 :]
        case "cut":
            return frame[: draw(st.integers(0, len(frame) - 1))]
        case "doubled":
            return frame + frame
        case "value":
            return msgspec.msgpack.encode(_elsewhere(draw, msgspec.msgpack.decode(frame)))
    return frame


def _elsewhere(draw: st.DrawFn, value: Any) -> Any:
    """`value` with junk at some place in it."""
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], _elsewhere(draw, value[at]), *value[at + 1 :]]
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value, key=str)))
        return {**value, key: _elsewhere(draw, value[key])}
    return draw(junk)


@settings(max_examples=20_000 if LONG else 250)
@given(st.lists(mutated() | st.binary(max_size=60), min_size=1, max_size=5), st.booleans())
@example([m.encode(m.Sql(1, "x", None))] * 3, False)
def test_whatever_a_client_sends_other_sessions_and_the_store_notice_nothing(frames: list[bytes], says: bool) -> None:
    session = (world().notes + 1).to_bytes(16, "big").hex()
    client = Client(world().wire, session if says else None)
    for frame in frames:
        if client.connection.is_ended:
            break
        before = len(client.heard)
        client.connection.say(frame)
        world().wire.pump()
        answered = client.heard[before:]
        assert answered or client.connection.is_ended or _needs_no_answer(frame), "an error, or the end"
    client.connection.cut()
    world().check()


def _needs_no_answer(frame: bytes) -> bool:
    return isinstance(m.decode_client(frame), m.WatchPresence | m.EndTurn)


def test_a_key_range_that_cannot_be_harms_nobody(wire: Wire) -> None:
    client = Client(wire)
    schema = client.define()
    for key_range in (KeyRange(b"z", b"a", 9), KeyRange(b"", b"", -3), KeyRange(b"\xff" * 9, None, 99)):
        client.ask(m.Read(client.number(), m.Range.of((schema.number, "by_topic"), key_range), True, -5))
    client.write(schema, inserted(schema, 1, topic="a"))
