"""Each session is told what changed where it watches, all of that, once, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactive_db import limits
from reactive_db.model.keys import EVERYTHING, KeyRange
from reactive_db.sync import messages as m
from reactive_db.sync import publisher
from reactive_db.sync.served import Served
from reactive_db.testing.stores import memory_store
from reactive_db.testing.wire import Wire
from tests.sync.ear import SESSION, Client, Note, changed, deleted, inserted, topic

OTHER = "f" * 32


def transitions(messages: list[m.Message]) -> list[m.Transition]:
    return [message for message in messages if isinstance(message, m.Transition)]


def pair(wire: Wire) -> tuple[Client, Client]:
    return Client(wire), Client(wire, OTHER)


def told(client: Client, before: int) -> list[m.Written]:
    """What the client has been told of since it had heard so many frames."""
    return [written for one in transitions(client.heard[before:]) for written in one.writes]


def test_who_watches_a_range_is_told_the_document_as_it_is_stored(wire: Wire) -> None:
    watching, writing = pair(wire)
    schema = watching.define()
    watching.read(schema, topic(schema, "a"), "by_topic")
    before, note = len(watching.heard), inserted(schema, 1, topic="a", rank=7)
    ts = writing.write(schema, note).ts
    assert watching.heard[before:] == [m.Transition(ts, "t:write", [note], [], [], 0)]


def test_who_watches_another_range_is_told_nothing(wire: Wire) -> None:
    watching, writing = pair(wire)
    schema = watching.define()
    watching.read(schema, topic(schema, "a"), "by_topic")
    before = len(watching.heard)
    writing.write(schema, inserted(schema, 1, topic="b"))
    assert watching.heard[before:] == []


@pytest.mark.parametrize(("watched", "is_told"), [("old", True), ("new", True), ("neither", False)])
def test_a_move_is_told_where_the_document_was_and_where_it_goes(wire: Wire, watched: str, is_told: bool) -> None:
    watching, writing = pair(wire)
    schema = watching.define()
    note = inserted(schema, 1, topic="old")
    writing.write(schema, note)
    watching.read(schema, topic(schema, watched), "by_topic")
    before, moved = len(watching.heard), changed(schema, note, topic="new")
    writing.write(schema, moved)
    assert told(watching, before) == ([moved] if is_told else [])


def test_a_deletion_is_told_where_the_document_was(wire: Wire) -> None:
    watching, writing = pair(wire)
    schema = watching.define()
    note = inserted(schema, 1, topic="a")
    writing.write(schema, note)
    watching.read(schema, topic(schema, "a"), "by_topic")
    before = len(watching.heard)
    writing.write(schema, deleted(note))
    assert told(watching, before) == [deleted(note)]


def test_who_watches_a_document_by_its_id_is_told_when_it_comes(wire: Wire) -> None:
    watching, writing = pair(wire)
    schema = watching.define()
    note = inserted(schema, 1, topic="a")
    assert watching.read_document(schema, note.id).documents == []
    before = len(watching.heard)
    writing.write(schema, note, inserted(schema, 2, topic="a"))
    assert told(watching, before) == [note]


def test_a_read_of_the_first_documents_watches_no_further_than_these(wire: Wire) -> None:
    watching, writing = pair(wire)
    schema = watching.define()
    notes = [inserted(schema, rank, topic="a", rank=rank) for rank in range(4)]
    writing.write(schema, *notes)
    asked = m.Range.of((schema.number, "by_rank"), EVERYTHING)
    rows = watching.answer(m.Read(watching.number(), asked, False, 2), m.Rows)
    assert [id for id, _ in rows.documents] == [note.id for note in notes[:2]]
    before = len(watching.heard)
    last = changed(schema, notes[3], topic="b")
    writing.write(schema, last)
    first = changed(schema, notes[1], topic="b")
    writing.write(schema, first)
    assert told(watching, before) == [first]


def test_every_session_is_told_and_the_writer_before_its_answer(wire: Wire) -> None:
    watching, writing = pair(wire)
    third = Client(wire, "e" * 32)
    schema = writing.define()
    for client in (watching, writing, third):
        client.read(schema)
    note = inserted(schema, 1, topic="a")
    before = [len(client.heard) for client in (watching, writing, third)]
    writing.write(schema, note)
    found = [client.heard[at:] for client, at in zip((watching, writing, third), before, strict=True)]
    assert [[type(message) for message in one] for one in found] == [
        [m.Transition],
        [m.Transition, m.Committed],
        [m.Transition],
    ]
    assert [transitions(one)[0].writes for one in found] == [[note]] * 3


def test_a_slow_session_is_told_the_latest_of_each_document_in_one_step(wire: Wire) -> None:
    watching, writing = pair(wire)
    schema = watching.define()
    watching.read(schema)
    note, other = inserted(schema, 1, topic="a"), inserted(schema, 2, topic="b")
    before = len(watching.heard)
    watching.connection.is_held = True
    for rank in range(limits.SESSION_UNSENT_MAX):
        writing.write(schema, changed(schema, note, rank=rank))
    assert len(watching.connection.down) == limits.SESSION_UNSENT_MAX
    writing.write(schema, other)
    writing.write(schema, changed(schema, note, rank=50))
    ts = writing.write(schema, deleted(other)).ts
    assert len(watching.connection.down) == limits.SESSION_UNSENT_MAX, "nothing is piled up for it"
    watching.connection.is_held = False
    wire.pump()
    last = transitions(watching.heard[before:])[-1]
    assert len(watching.heard) - before == limits.SESSION_UNSENT_MAX + 1
    assert last.ts == ts
    assert sorted(last.writes, key=lambda one: one.id) == sorted(
        [changed(schema, note, rank=50), deleted(other)], key=lambda one: one.id
    )


def test_so_much_news_that_it_is_given_up_says_that_the_whole_table_changed(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TRANSITION_DOCUMENTS_MAX", 10)
    watching, writing = pair(wire)
    schema = watching.define()
    watching.read(schema)
    before = len(watching.heard)
    ts = writing.write(schema, *(inserted(schema, seed, topic="a") for seed in range(11))).ts
    assert watching.heard[before:] == [m.Transition(ts, "t:write", [], [schema.number], [], 0)]


def test_definitions_are_not_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sleeper:
        def wake(self) -> None: ...
        def flush(self) -> None: ...

    monkeypatch.setattr(limits, "TRANSITION_DOCUMENTS_MAX", 3)
    wire = Wire(served)
    writing = Client(wire)
    schema = writing.define()
    slow = served.publisher.join(Sleeper())
    with served.publisher.lock:
        served.publisher.watch(slow, ((schema.number, "by_creation_time"), EVERYTHING))
    second = type("Second", (Note,), {"__module__": __name__, "__annotations__": {}}, table="sync_second")
    writing.define(second)
    writing.write(schema, *(inserted(schema, seed, topic="a") for seed in range(4)))
    transition = slow.take(served.publisher.ts)
    assert transition is not None
    assert transition.whole == [schema.number]
    assert any(b"sync_second" in (written.document or b"") for written in transition.writes)


def test_a_bulk_load_says_that_the_whole_table_changed(wire: Wire) -> None:
    watching, writing = pair(wire)
    schema = watching.define()
    watching.read(schema, topic(schema, "a"), "by_topic")
    before = len(watching.heard)
    notes = [(one.id, one.document or b"") for one in (inserted(schema, seed, topic="b") for seed in range(3))]
    writing.answer(m.LoadPart(writing.number(), 0, schema.number, notes, True), m.Loaded)
    assert [one.whole for one in transitions(watching.heard[before:])] == [[schema.number]]


def test_who_counted_or_asked_sql_is_told_that_the_table_was_touched(wire: Wire) -> None:
    counting, writing = pair(wire)
    asking = Client(wire, "e" * 32)
    schema = counting.define()
    asked = m.Range.of((schema.number, "by_topic"), topic(schema, "a"))
    assert counting.answer(m.Count(counting.number(), asked), m.Counted).count == 0
    asking.answer(m.Sql(asking.number(), "SELECT count(*) FROM sync_notes", None), m.SqlRows)
    before = len(counting.heard), len(asking.heard)
    ts = writing.write(schema, inserted(schema, 1, topic="b")).ts
    for client, at in zip((counting, asking), before, strict=True):
        assert client.heard[at:] == [m.Transition(ts, "t:write", [], [], [schema.number], 0)]


def test_a_session_that_is_over_watches_nothing(served: Served, wire: Wire) -> None:
    client = Client(wire)
    schema = client.define()
    client.read(schema)
    client.connection.cut()
    assert len(served.publisher._index) == 0
    assert not served.publisher._news


def test_a_read_that_is_answered_after_the_connection_is_gone_watches_nothing(served: Served, wire: Wire) -> None:
    client = Client(wire)
    schema = client.define()
    asked = m.Range.of((schema.number, "by_creation_time"), EVERYTHING)
    client.connection.say(m.Read(client.number(), asked, False, 10))
    client.connection.arrive()
    session = client.connection.session
    frame = session._frames.popleft()
    client.connection.cut()
    session._answer(frame)  # a worker had taken it already
    assert len(served.publisher._index) == 0


def test_too_many_ranges_are_refused_and_the_session_goes_on(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SESSION_RANGES_MAX", 3)
    client, writing = pair(wire)
    schema = client.define()
    for name in "abc":
        client.read(schema, topic(schema, name), "by_topic")
    asked = m.Range.of((schema.number, "by_topic"), topic(schema, "d"))
    failed = client.answer(m.Read(client.number(), asked, False, 10), m.Failed)
    assert failed.details == {"limit": "SESSION_RANGES_MAX"}
    before, note = len(client.heard), inserted(schema, 1, topic="c")
    writing.write(schema, note)
    assert told(client, before) == [note], "what it watches it still hears of"


def test_a_session_that_cannot_be_told_harms_no_commit(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    watching, writing = pair(wire)
    schema = watching.define()
    watching.read(schema)

    def broken(frame: bytes) -> None:
        raise OSError("no network")

    watching.connection.session._send = broken
    writing.write(schema, inserted(schema, 1, topic="a"))
    assert "no network" in caplog.text


# --- any program of writes, any ranges -------------------------------------------------------------------------------

TOPICS = ["a", "ab", "b"]
step = st.tuples(st.integers(0, 5), st.sampled_from([*TOPICS, None]), st.integers(0, 2))


def watched(schema: Any, name: str) -> KeyRange:
    return EVERYTHING if name == "everything" else topic(schema, name)


@given(st.lists(st.sampled_from([*TOPICS, "everything"]), unique=True), st.lists(step, max_size=12), st.integers(1, 4))
def test_what_is_told_is_what_changed_in_the_ranges(names: list[str], steps: list[Any], pause: int) -> None:
    check_program(names, steps, pause)


def check_program(names: list[str], steps: list[Any], pause: int) -> None:
    """A session that watches some topics ends with all their documents as they are, and with no other's news."""
    served = Served("course", memory_store())
    wire = Wire(served)
    watching, writing = Client(wire, SESSION), Client(wire, OTHER)
    schema = watching.define()
    for name in names:
        watching.read(schema, watched(schema, name), "by_topic")
    before = len(watching.heard)
    now: dict[str, m.Written] = {}
    wanted: dict[str, m.Written] = {}
    for at, (seed, name, rank) in enumerate(steps):
        watching.connection.is_held = at % pause != 0
        note = inserted(schema, seed, topic=name or "a", rank=rank)
        before_it = now.get(note.id, deleted(note))
        if name is None:
            note = deleted(note)
        topics = {schema.decode(one.document).topic for one in (before_it, note) if one.document is not None}
        if topics:
            now[note.id] = note
            if "everything" in names or topics & set(names):
                wanted[note.id] = note  # what left every range is told as it left; what becomes of it then is not
            writing.write(schema, note)
    watching.connection.is_held = False
    wire.pump()
    assert {written.id: written for written in told(watching, before)} == wanted
    served.close()


def forgets_old_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = publisher._keys
    monkeypatch.setattr(
        publisher,
        "_keys",
        lambda schema, index, write: keys(schema, index, type(write)(write.id, None, write.new, b"")),
    )


def forgets_deletions(monkeypatch: pytest.MonkeyPatch) -> None:
    tell = publisher.Publisher._tell_writes

    def some(self: publisher.Publisher, number: int, schema: Any, writes: Any) -> set[publisher.News]:
        return tell(self, number, schema, writes[:-1] if writes and writes[-1].new is None else writes)

    monkeypatch.setattr(publisher.Publisher, "_tell_writes", some)


@pytest.mark.parametrize("breaks", [forgets_old_keys, forgets_deletions])
def test_a_broken_publisher_is_caught(breaks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch)
    with pytest.raises(AssertionError):
        check_program(["a"], [(0, "a", 0), (0, "b", 0), (1, "a", 0), (1, None, 0)], 1)
