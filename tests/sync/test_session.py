"""One connection: answers in order, permissions, limits. Whatever a client sends: `test_fuzz.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from reactive_db import limits
from reactive_db.errors import LimitError
from reactive_db.model.ids import RANDOM_BYTES, new_id
from reactive_db.model.keys import EVERYTHING, KeyRange
from reactive_db.sync import messages as m
from reactive_db.sync.served import Caller, Served
from reactive_db.sync.session import ServerSession, Threads
from reactive_db.testing.wire import Wire
from tests.sync.ear import SESSION, Client, Note, changed, inserted, schema_of, topic

OTHER = "f" * 32


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


def define_with_pattern(client: Client, pattern: str) -> int:
    """A table whose class nobody declares here, as on a server: its texts match a pattern. Its number."""
    fields = msgspec.to_builtins(schema_of(Note, 0).definition_fields) | {"name": "sync_patterned"}
    constrained = {"is": "constrained", "of": "string", "by": {"pattern": pattern}}
    fields["schema"] = fields["schema"].replace('"string"', msgspec.json.encode(constrained).decode())
    client.answer(m.Define(client.number(), fields), m.Defined)
    return next(one.number for one in client.wire.served.store.definitions() if one.name == "sync_patterned")


def write_to_patterned(client: Client, table: int, topic: str | None) -> None:
    id = str(new_id(table, bytes(RANDOM_BYTES), 1_000.0))
    fields = {"topic": topic, "rank": 0, "_id": id, "_creationTime": 1_000.0}
    client.commits += 1
    written = m.Written(table, id, None if topic is None else msgspec.msgpack.encode(fields))
    ts = client.wire.served.publisher.ts
    client.answer(m.Commit(client.number(), client.commits, ts, "t:write", [], [written], {}), m.Committed)


def test_no_pattern_of_a_client_is_tried(wire: Wire) -> None:
    client = Client(wire)
    table = define_with_pattern(client, "^(a+)+$")
    write_to_patterned(client, table, "a" * 64 + "!")  # on which it takes centuries
    (browsed,) = client.ask(m.Browse(client.number(), "sync_patterned"))
    assert isinstance(browsed, m.Browsed)
    assert len(browsed.rows) == 1
    anywhere = m.Range.of((table, "by_creation_time"), EVERYTHING)
    assert len(client.answer(m.Read(client.number(), anywhere, False, 10), m.Rows).documents) == 1


def test_a_table_with_documents_gets_no_new_pattern(wire: Wire) -> None:
    client = Client(wire)
    table = define_with_pattern(client, "^a")
    write_to_patterned(client, table, "a")
    with pytest.raises(AssertionError, match="whether the 1 documents of table 'sync_patterned' match '\\^b'"):
        define_with_pattern(client, "^b")
    write_to_patterned(client, table, None)
    assert define_with_pattern(client, "^b") == table


def test_requests_that_wait_are_bounded_in_bytes(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SESSION_REQUESTS_BYTES_MAX", 1_000)
    session = Client(wire).connection.session
    session.hear(b"x" * 900)
    with pytest.raises(LimitError, match="SESSION_REQUESTS_BYTES_MAX"):
        session.hear(b"x" * 101)


def test_who_takes_no_answers_gets_no_more_of_them(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(wire)
    monkeypatch.setattr(limits, "SESSION_UNSENT_BYTES_MAX", 1_000)
    client.connection.is_held = True
    for _ in range(50):
        client.connection.say(m.Sql(client.number(), "SELECT repeat('x', 300) AS text", None))
    wire.pump()
    unsent = len(client.connection.down)
    assert 1 <= unsent < 5
    client.connection.is_held = False
    wire.pump()
    assert sum(isinstance(one, m.SqlRows) for one in client.heard) == 50


@pytest.mark.parametrize(("limit", "most"), [("LOAD_DOCUMENTS_MAX", 5), ("LOAD_BYTES_MAX", 500)])
def test_a_load_is_bounded(wire: Wire, monkeypatch: pytest.MonkeyPatch, limit: str, most: int) -> None:
    monkeypatch.setattr(limits, limit, most)
    client = Client(wire)
    schema = client.define()
    client.answer(part(client, 0, schema.number, range(3), False, schema), m.Loaded)
    failed = client.answer(part(client, 1, schema.number, range(3, 9), True, schema), m.Failed)
    assert (failed.code, failed.details["limit"]) == ("limit-exceeded", limit)
    client.answer(part(client, 0, schema.number, range(3), True, schema), m.Loaded)
    assert len(client.read(schema).documents) == 3


def test_a_commit_of_what_has_not_happened_yet_is_refused(wire: Wire) -> None:
    client = Client(wire)
    schema = client.define()
    ts = wire.served.publisher.ts
    early = client.commit_of(schema, [inserted(schema, 1, topic="a")], begin_ts=ts + 1)
    assert client.answer(early, m.Failed).code == "protocol"
    assert wire.served.publisher.ts == ts
    client.write(schema, inserted(schema, 2, topic="a"))


def unsayable(message: m.Message) -> bytes:
    raise OverflowError(type(message).__name__)


def test_an_answer_that_cannot_be_said_ends_the_connection(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    client, other = Client(wire), Client(wire, OTHER)
    monkeypatch.setattr(
        client.connection.session, "_encoding", m.Encoding(unsayable, m.MSGPACK.decode_client, is_text=False)
    )
    client.ask(m.Overview(client.number()))
    assert client.connection.is_ended
    assert isinstance(other.ask(m.Overview(1))[-1], m.OverviewIs)


def test_sql_of_clients_keeps_no_worker_waiting(served: Served) -> None:
    """What a client's statement waits for, the worker that took it does not."""
    frames: list[bytes] = []
    apart: list[Callable[[], None]] = []
    reader = Caller("bob", frozenset({"read"}))
    threads = Threads(lambda work: work(), apart.append, lambda work: work())
    session = ServerSession(served, reader, frames.append, lambda: None, threads)
    session.hear(m.encode(m.Hello(m.VERSION, SESSION, "")))
    session.hear(m.encode(m.Sql(1, "SELECT 1 AS one", None)))
    session.hear(m.encode(m.Overview(2)))
    assert len(apart) == 1
    assert [type(m.decode_server(frame)) for frame in frames] == [m.Welcome], "answers keep their order"
    apart.pop()()
    assert [type(m.decode_server(frame)) for frame in frames] == [m.Welcome, m.SqlRows, m.OverviewIs]
    session.closed()


def test_sql_comes_in_parts_of_one_stream(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MESSAGE_BYTES", 64)
    client = Client(wire)
    parts = client.ask(m.Sql(1, "SELECT 42 AS answer", None))
    assert set(kinds(parts)) == {m.SqlRows}
    assert [part.is_last for part in parts if isinstance(part, m.SqlRows)] == [False] * (len(parts) - 1) + [True]


def test_a_key_range_that_cannot_be_harms_nobody(wire: Wire) -> None:
    client = Client(wire)
    schema = client.define()
    for key_range in (KeyRange(b"z", b"a", 0), KeyRange(b"", b"", 0), KeyRange(b"\xff" * 9, None, 9)):
        client.answer(m.Read(client.number(), m.Range.of((schema.number, "by_topic"), key_range), True, 5), m.Rows)
    client.write(schema, inserted(schema, 1, topic="a"))
