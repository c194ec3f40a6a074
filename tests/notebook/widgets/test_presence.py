"""`PresenceList`: everybody who is connected, each user once, live."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import reactive_db as rdb
from reactive_db import limits
from reactive_db.notebook.widgets import PresenceList
from reactive_db.sync import messages as m
from reactive_db.sync.served import Caller, Served
from reactive_db.testing.stores import memory_store
from reactive_db.testing.wire import OWNER, Kernel, Wire
from tests.notebook.widgets.conftest import Message, Sent

GRACE = Caller("grace <hopper>", OWNER.may)


class Course:
    """A store that is served, and the kernels that are connected to it."""

    def __init__(self) -> None:
        self.served = Served("course", memory_store())
        self.wire = Wire(self.served, is_automatic=True)
        self.kernels: list[Kernel] = []

    def join(self, caller: Caller = OWNER) -> Kernel:
        """Somebody connects; everybody who is there has heard of it."""
        self.kernels.append(Kernel(self.wire, caller=caller))
        self.settle()
        return self.kernels[-1]

    def leave(self, kernel: Kernel) -> None:
        self.kernels.remove(kernel)
        kernel.database.close()
        self.settle()

    def settle(self) -> None:
        for kernel in self.kernels:
            kernel.settle()

    def close(self) -> None:
        for kernel in list(self.kernels):
            kernel.database.close()
        self.wire.close()
        self.served.close()


@pytest.fixture
def course() -> Iterator[Course]:
    made = Course()
    yield made
    made.close()


def places(whole: Message) -> dict[str, int]:
    return {person["user"]: len(person["places"]) for person in whole["people"]}


def test_who_opened_the_store_is_there(db: rdb.Database, sent: Sent) -> None:
    (me,) = db.presence.value
    whole = sent.hello(PresenceList(db))
    assert whole["people"] == [
        {"user": me.user, "places": [{"place": me.place, "since": me.since.isoformat()}]},
    ]
    assert (whole["count"], whole["more"], whole["is_stale"]) == ("1 person, 1 place", 0, False)


def test_it_follows_who_comes_and_goes(course: Course, sent: Sent) -> None:
    here = course.join()
    shown = PresenceList(here.database)
    course.settle()
    assert places(sent.hello(shown)) == {"ada": 1}
    grace = course.join(GRACE)
    assert places(sent.pushed()[-1]) == {"ada": 1, "grace <hopper>": 1}
    course.leave(grace)
    assert places(sent.pushed()[-1]) == {"ada": 1}


def test_a_user_with_several_places_is_one_person(course: Course, sent: Sent) -> None:
    here = course.join()
    course.join(GRACE)
    course.join()
    shown = PresenceList(here.database)
    course.settle()
    whole = sent.hello(shown)
    assert places(whole) == {"ada": 2, "grace <hopper>": 1}
    assert whole["count"] == "2 people, 3 places"


def test_without_a_connection_it_says_that_it_may_be_stale(course: Course, sent: Sent) -> None:
    here = course.join()
    shown = PresenceList(here.database)
    course.settle()
    sent.hello(shown)
    here.link.connection.cut()
    here.settle()
    assert sent.pushed()[-1]["is_stale"]
    here.link.connect()
    here.settle()
    assert not sent.pushed()[-1]["is_stale"]


def test_of_a_crowd_only_so_many_are_shown(course: Course, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PRESENT_SHOWN_MAX", 2)
    here = course.join()
    for _ in range(3):
        course.join(GRACE)
    shown = PresenceList(here.database)
    course.settle()
    whole = sent.hello(shown)
    assert (whole["count"], places(whole), whole["more"]) == ("2 people, 4 places", {"ada": 1, "grace <hopper>": 1}, 2)


def test_the_static_form_is_a_table_by_user_and_is_escaped(course: Course, sent: Sent) -> None:
    here = course.join()
    course.join(GRACE)
    course.join()
    shown = PresenceList(here.database)
    course.settle()
    bundle = shown.static_bundle()
    assert [line.split()[0] for line in bundle["text/plain"].splitlines()[2:]] == ["ada", "ada", "grace", "3"]
    assert "grace &lt;hopper&gt;" in bundle["text/html"]


def test_a_closed_one_is_quiet(course: Course, sent: Sent) -> None:
    here = course.join()
    shown = PresenceList(here.database)
    course.settle()
    sent.hello(shown)
    shown.close()
    course.join(GRACE)
    assert sent.pushed() == []


def test_the_server_is_asked_once(course: Course, sent: Sent) -> None:
    here = course.join()
    for _ in range(3):
        PresenceList(here.database)
    said = [m.decode_client(frame) for frame in here.link.connection.said]
    assert sum(isinstance(message, m.WatchPresence) for message in said) == 1
