"""What a store's page is told, what is counted, and how often it hears that something is different."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest

import reactive_db as rdb
from reactive_db import limits
from reactive_db.engine.snapshots import SnapshotPassed
from reactive_db.errors import ConflictError, LimitError
from reactive_db.sync import messages as m
from reactive_db.sync.activity import LATENCIES, OTHERS, Activity
from reactive_db.sync.served import Caller, Served
from reactive_db.sync.session import ServerSession, Threads
from reactive_db.sync.shown import StoreShown
from reactive_db.testing.wire import OWNER, Kernel

READER = Caller("eve", frozenset({"read"}))
SERVER = msgspec.json.Decoder(m.ServerMessage)


class OverviewNote(rdb.Document, table="overview_notes"):
    text: str
    number: int = 0


@rdb.mutation
def note(ctx: rdb.MutationCtx, text: str) -> None:
    ctx.db.insert(OverviewNote(text=text))


@rdb.mutation
def erase(ctx: rdb.MutationCtx) -> None:
    for one in ctx.db.query(OverviewNote).collect():
        ctx.db.delete(one.id)


class Page:
    """A session that speaks JSON, with everything done at once."""

    def __init__(self, served: Served, caller: Caller) -> None:
        self.heard: list[m.Message] = []
        self.session = ServerSession(served, caller, self._hear, lambda: None, Threads(*[self._work] * 3), m.JSON)
        self.ask(m.Hello(m.VERSION, "cd" * 16, "a page"))

    def ask(self, message: m.Message) -> None:
        self.session.hear(m.JSON.encode(message))

    def overview(self) -> StoreShown:
        self.ask(m.Overview(5))
        answer = self.heard[-1]
        assert isinstance(answer, m.OverviewIs), answer
        assert answer.request == 5
        return answer.store

    def moves(self) -> int:
        return sum(isinstance(one, m.Moved) for one in self.heard)

    def _hear(self, frame: bytes) -> None:
        self.heard.append(SERVER.decode(frame))

    def _work(self, work: Callable[[], None]) -> None:
        work()
        while self.session.load().frames:  # its network takes everything
            self.session.drained()


@pytest.fixture
def page(served: Served) -> Iterator[Page]:
    opened = Page(served, OWNER)
    yield opened
    opened.session.closed()


def test_a_commit_is_told_with_its_function_its_user_and_what_it_changed(page: Page, kernels: list[Kernel]) -> None:
    kernels[0].database.run(note, "one")
    kernels[0].database.run(note, "two")
    kernels[0].database.run(erase)
    store = page.overview()
    assert store.use is not None
    erased, second, *_ = store.use.commits
    assert (erased.source, erased.user, erased.ts) == (erase.name, OWNER.name, store.ts)
    assert [(c.table, c.inserted, c.changed, c.deleted) for c in erased.changes] == [("overview_notes", 0, 0, 2)]
    assert [(c.table, c.inserted, c.changed, c.deleted) for c in second.changes] == [("overview_notes", 1, 0, 0)]
    counted = {one.name: one.commits for one in store.use.sources}
    assert (counted[note.name], counted[erase.name]) == (2, 1)
    assert [(one.name, one.documents) for one in store.tables] == [("overview_notes", 0)]


def test_who_may_not_deploy_is_told_of_tables_alone(served: Served, kernels: list[Kernel]) -> None:
    kernels[0].database.run(note, "one")
    page = Page(served, READER)
    store = page.overview()
    assert store.use is None
    assert [(one.name, one.documents, one.fields) for one in store.tables] == [
        ("overview_notes", 1, {"text": "str", "number": "int"})
    ]
    page.ask(m.Browse(6, "overview_notes"))
    browsed = page.heard[-1]
    assert isinstance(browsed, m.Browsed)
    assert [row[1:] for row in browsed.rows] == [["one", "0"]]
    page.session.closed()


def test_it_hears_once_that_something_moved_however_much_does(page: Page, kernels: list[Kernel]) -> None:
    page.overview()
    for _ in range(5):
        kernels[0].database.run(note, "x")
    assert page.moves() == 1
    page.overview()
    assert page.moves() == 1, "it hears of its own looking"
    kernels[0].database.run(note, "x")
    assert page.moves() == 2


def test_who_never_looked_hears_of_nothing(page: Page, kernels: list[Kernel]) -> None:
    kernels[0].database.run(note, "x")
    assert page.moves() == 0


def test_a_lost_race_is_counted_and_is_no_failure(served: Served, page: Page, kernels: list[Kernel]) -> None:
    kernels[0].database.run(note, "x")
    (table,) = [one for one in served.store.definitions() if one.name == "overview_notes"]
    whole = m.Range(table.number, "by_creation_time", b"", None, 0)
    stale = m.Commit(9, 1, 0, "slow", [whole], [], {})
    with pytest.raises(ConflictError):
        served.commit("ef" * 16, OWNER, stale)
    page.ask(stale)
    use = page.overview().use
    assert use is not None
    assert {one.name: one.races_lost for one in use.sources}["slow"] == 2
    assert use.races_total == 2
    assert use.races[0].source == "slow"
    assert use.failures == []
    assert served.activity.failed["commit", "conflict"] == 2


def test_browsing_tells_the_newest_of_many(page: Page, kernels: list[Kernel]) -> None:
    more = limits.INSPECTED_DOCUMENTS_MAX + 5
    kernels[0].database.load(OverviewNote, [{"text": str(n)} for n in range(more)], progress=False)
    page.ask(m.Browse(6, "overview_notes"))
    browsed = page.heard[-1]
    assert isinstance(browsed, m.Browsed)
    assert len(browsed.rows) == limits.INSPECTED_DOCUMENTS_MAX


def test_a_definition_that_never_stands_still_ends_in_an_error(
    served: Served, page: Page, kernels: list[Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels[0].database.run(note, "x")

    def passed(*_: object) -> None:
        raise SnapshotPassed("browse")

    monkeypatch.setattr(served.store, "newest", passed)
    page.ask(m.Browse(6, "overview_notes"))
    answer = page.heard[-1]
    assert isinstance(answer, m.Failed)
    assert (answer.request, answer.code) == (6, LimitError.code)
    assert "BROWSE_TRIES_MAX" in answer.message


def test_what_is_remembered_is_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SOURCES_COUNTED_MAX", 3)
    activity = Activity(served.store, 0)
    for n in range(limits.FAILURES_KEPT_MAX + 7):
        activity.refused("ada", "sql", ValueError("x" * 10_000))
        activity.lost(f"function {n}", "conflict")
    assert len(activity.failures) == limits.FAILURES_KEPT_MAX
    assert activity.failures_total == limits.FAILURES_KEPT_MAX + 7
    assert len(activity.failures[0].message) == limits.FAILURE_CHARACTERS_MAX
    assert activity.failures[0].message.startswith("ValueError: xxx")
    assert len(activity.sources()) == 4
    assert OTHERS in {one.name for one in activity.sources()}
    activity.close()


def test_latencies_fall_into_their_buckets(served: Served) -> None:
    activity = Activity(served.store, 0)
    for seconds in (0.0, LATENCIES[0], LATENCIES[0] * 1.01, LATENCIES[-1] + 1):
        activity.answered("read", seconds)
    assert activity.requests["read"].counts == [2, 1, *[0] * (len(LATENCIES) - 2), 1]
    activity.close()


def test_a_store_that_is_closed_hears_of_nothing(served: Served) -> None:
    store = served.store
    before = len(store.committer.listeners), len(store.committer.on_settled)
    Activity(store, 0).close()
    assert (len(store.committer.listeners), len(store.committer.on_settled)) == before


def test_json_says_the_same_as_msgpack() -> None:
    message = m.Commit(1, 2, 3, "é", [m.Range(1, "by_id", b"a", None, 0)], [m.Written(1, "x", b"\x81")], {7: "d"})
    assert m.JSON.decode_client(m.JSON.encode(message)) == m.MSGPACK.decode_client(m.MSGPACK.encode(message)) == message
