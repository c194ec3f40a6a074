"""The client's half: reads fail with the connection, commits outlive it, and each is applied exactly once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from reactive_db.engine.snapshots import Unreachable
from reactive_db.errors import ConflictError, OfflineError, ProtocolError, StoreClosedError
from reactive_db.model.keys import EVERYTHING
from reactive_db.sync import messages as m
from reactive_db.sync.client import ClientSession
from reactive_db.sync.served import Served
from reactive_db.testing.threads import PATIENCE_SECONDS
from reactive_db.testing.wire import Wire
from tests.sync.ear import SESSION, Client, inserted

OTHER = "f" * 32


class Hearing:
    """Takes note of what a session hears."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.fails = False

    def welcomed(self, welcome: m.Welcome) -> None:
        self.notes.append("welcomed")

    def begun(self) -> None:
        self.notes.append("begun")

    def told(self, message: m.Message) -> None:
        self.notes.append(message)
        if self.fails:
            raise KeyError("nothing of the kind")

    def cut_off(self) -> None:
        self.notes.append("cut off")


class Asking:
    """A request in a thread of its own."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._ask = ask
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._ask()
        except BaseException as error:
            self.error = error

    def end(self) -> Asking:
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "nobody answers"
        return self


class Talk:
    """A `ClientSession` on a wire that the test delivers, and the table it writes to."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.schema = Client(wire, OTHER).define()
        self.hearing = Hearing()
        self.session = ClientSession(SESSION, "a test", self.hearing)
        self.link = wire.link(self.session)
        self.begun: list[Asking] = []
        wire.pump()

    @property
    def committed(self) -> int:
        return self.wire.served.last_commit(SESSION)

    def commit(self, seed: int) -> Asking:
        """A commit that reads everything and writes a note; returns when it is on its way, or waits for one."""
        note = inserted(self.schema, seed, topic="a")
        reads = [m.Range.of((self.schema.number, "by_creation_time"), EVERYTHING)]
        begin_ts, pending = self.wire.served.publisher.ts, self.session.pending
        made = Asking(
            lambda: self.session.commit(
                lambda request, number: m.Commit(request, number, begin_ts, "t", reads, [note], {})
            )
        )
        until(lambda: self.session.pending > pending)
        return made

    def read(self) -> Asking:
        asked = m.Range.of((self.schema.number, "by_creation_time"), EVERYTHING)
        waiting = len(self.session._waiting)
        made = Asking(lambda: self.session.ask(lambda request: m.Read(request, asked, False, 10)))
        until(lambda: len(self.session._waiting) > waiting)
        return made

    def notes(self) -> int:
        """How many there are on the server."""
        served = self.wire.served
        return served.table(self.schema.number).count("by_creation_time", EVERYTHING, served.store.published_ts)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for another thread's next step."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_SECONDS * 1_000)):
        if is_so():
            return
        pause.wait(0.001)
    raise AssertionError("it does not come")


@pytest.fixture
def talk(wire: Wire) -> Iterator[Talk]:
    made = Talk(wire)
    yield made
    made.session.close()


def test_an_answer_wakes_who_asked_after_the_hearer_has_it(talk: Talk) -> None:
    asking = talk.read()
    talk.wire.pump()
    assert asking.end().result is talk.hearing.notes[-1]


def test_requests_are_answered_again_only_when_the_hearer_was_welcomed(talk: Talk) -> None:
    assert talk.hearing.notes == ["welcomed", "begun"]


def test_a_lost_connection_fails_reads(talk: Talk) -> None:
    asking = talk.read()
    talk.link.connection.cut()
    assert isinstance(asking.end().error, Unreachable)
    assert talk.hearing.notes[-1] == "cut off"
    with pytest.raises(Unreachable):
        talk.session.ask(lambda request: m.Sql(request, "SELECT 1", None))
    assert talk.session.status == "offline"


def test_a_commit_without_a_connection_is_sent_when_there_is_one(talk: Talk) -> None:
    talk.link.connection.cut()
    commit = talk.commit(1)
    assert (talk.session.status, talk.session.pending) == ("offline", 1)
    talk.link.connect()
    talk.wire.pump()
    assert isinstance(commit.end().result, m.Committed)
    assert (talk.session.status, talk.notes()) == ("synced", 1)


@pytest.mark.parametrize("arrives", [True, False], ids=["had arrived", "had not arrived"])
def test_a_commit_whose_answer_was_lost_is_applied_exactly_once(talk: Talk, arrives: bool) -> None:
    commit = talk.commit(1)
    if arrives:
        talk.link.connection.arrive()
        talk.wire.work()
        assert talk.notes() == 1
    talk.link.connection.cut()
    talk.link.connect()
    talk.wire.pump()
    assert isinstance(commit.end().result, m.Committed)
    assert (talk.committed, talk.notes()) == (1, 1)


def test_a_welcome_that_says_it_was_applied_completes_it_without_sending_it_again(talk: Talk) -> None:
    commit = talk.commit(1)
    talk.link.connection.arrive()
    talk.wire.work()
    talk.link.connection.cut()
    again = talk.link.connect()
    talk.wire.pump()
    assert isinstance(commit.end().result, m.Committed)
    assert [type(m.decode_client(frame)) for frame in again.said] == [m.Hello]


@pytest.mark.parametrize("first", ["old", "new"])
def test_a_commit_that_arrives_on_the_old_connection_too_is_applied_exactly_once(talk: Talk, first: str) -> None:
    commit = talk.commit(1)
    old = talk.link.connection
    old.lose()
    new = talk.link.connect()
    new.arrive()
    talk.wire.work()
    new.answer()  # welcome: nothing was applied; so the commit goes out once more
    for one in (old, new) if first == "old" else (new, old):
        one.arrive()
        talk.wire.work()
    talk.wire.pump()
    assert isinstance(commit.end().result, m.Committed)
    assert (talk.committed, talk.notes()) == (1, 1)


def test_replayed_frames_of_a_whole_session_change_nothing(talk: Talk) -> None:
    for seed in range(3):
        commit = talk.commit(seed)
        talk.wire.pump()
        commit.end()
    for frame in list(talk.link.connection.said)[1:]:
        talk.link.connection.say(frame)
    talk.wire.pump()
    assert (talk.committed, talk.notes()) == (3, 3)


def test_a_refused_commit_is_refused_again_after_a_reconnect(talk: Talk) -> None:
    commit = talk.commit(1)
    other = Client(talk.wire, "e" * 32)  # delivers the commit first
    talk.wire.pump()
    commit.end()
    late = talk.commit(2)
    talk.link.connection.up.clear()
    other.write(talk.schema, inserted(talk.schema, 3, topic="a"))
    talk.link.connection.cut()
    talk.link.connect()
    talk.wire.pump()
    assert isinstance(late.end().error, ConflictError)
    assert talk.notes() == 2


def test_one_commit_at_a_time(talk: Talk) -> None:
    first = talk.commit(1)
    second = Asking(lambda: talk.session.commit(lambda *numbers: pytest.fail("its turn has not come")))
    talk.session.close()
    assert isinstance(first.end().error, StoreClosedError)
    assert isinstance(second.end().error, StoreClosedError)


def test_whoever_waits_when_it_is_closed_is_told_so(talk: Talk) -> None:
    reading, committing = talk.read(), talk.commit(1)
    talk.session.close()
    assert isinstance(reading.end().error, StoreClosedError)
    assert isinstance(committing.end().error, StoreClosedError)
    with pytest.raises(StoreClosedError):
        talk.session.check_open()


def test_a_transition_before_the_welcome_is_not_taken(talk: Talk) -> None:
    talk.link.connection.cut()
    talk.link.connect()
    before = len(talk.hearing.notes)
    talk.session.hear(m.encode(m.Transition(99, "", [], [], [], 0)))
    assert len(talk.hearing.notes) == before


def test_an_answer_that_the_hearer_cannot_take_fails_who_asked_and_nobody_else(talk: Talk) -> None:
    asking = talk.read()
    talk.hearing.fails = True
    talk.wire.pump()
    assert isinstance(asking.end().error, KeyError)
    talk.hearing.fails = False
    again = talk.read()
    talk.wire.pump()
    assert isinstance(again.end().result, m.Rows)


def test_an_answer_to_nobody_is_ignored(talk: Talk) -> None:
    before = len(talk.hearing.notes)
    talk.session.hear(m.encode(m.Committed(77, 1)))
    assert len(talk.hearing.notes) == before


def test_a_frame_that_is_no_message_is_refused(talk: Talk) -> None:
    with pytest.raises(msgspec.DecodeError):
        talk.session.hear(b"\xc1")


def test_a_refusal_is_raised_where_one_waits_for_the_connection(served: Served) -> None:
    wire = Wire(served)
    session = ClientSession("no session", "a test", Hearing())
    wire.link(session)
    wire.pump()
    with pytest.raises(ProtocolError, match="32 hex digits"):
        session.wait_until_open(0)


def test_a_server_that_does_not_answer_is_offline(served: Served) -> None:
    session = ClientSession(SESSION, "a test", Hearing())
    Wire(served).link(session)
    with pytest.raises(OfflineError, match="did not answer"):
        session.wait_until_open(0)
