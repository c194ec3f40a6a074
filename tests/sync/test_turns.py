"""A turn of its own for who loses too many races: it finishes, and holds nobody up for long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import reactive_db as rdb
from reactive_db import limits
from reactive_db.errors import LimitError
from reactive_db.limits import Limits
from reactive_db.model.ids import table_number
from reactive_db.sync import messages as m
from reactive_db.sync.turns import Turns
from reactive_db.testing.runtime import SeededRuntime
from reactive_db.testing.wire import Kernel, Wire
from tests.sync.ear import Client, Ear, Note, inserted, schema_of

OTHERS = ["a" * 32, "b" * 32, "c" * 32]


# --- who may commit --------------------------------------------------------------------------------------------------


class Play:
    """Sessions by name, and what has been said to them."""

    def __init__(self) -> None:
        self.runtime = SeededRuntime(0)
        self.turns = Turns(self.runtime)
        self.said: list[str] = []

    def ask(self, name: str) -> None:
        self.turns.ask(name, self._note(f"{name} has the turn"))

    def enter(self, name: str) -> bool:
        return self.turns.enter(name, self._note(f"{name} goes on"))

    def _note(self, text: str) -> Callable[[], None]:
        return lambda: self.said.append(text)


@pytest.fixture
def play() -> Play:
    return Play()


def test_while_nobody_asks_everybody_commits(play: Play) -> None:
    assert play.enter("ann")
    assert play.enter("bob")
    play.turns.leave("ann")
    play.turns.leave("bob")
    assert play.said == []


def test_a_turn_begins_when_the_commits_under_way_are_done(play: Play) -> None:
    play.enter("ann")
    play.ask("bob")
    assert not play.enter("eve")
    assert play.said == []
    play.turns.leave("ann")
    assert play.said == ["bob has the turn"]
    assert play.enter("bob")
    play.turns.leave("bob")
    assert play.said == ["bob has the turn", "eve goes on"]


def test_turns_come_in_order_and_who_was_held_comes_between_them(play: Play) -> None:
    play.ask("ann")
    play.ask("bob")
    assert not play.enter("eve")
    play.turns.end("ann")
    assert play.said == ["ann has the turn", "eve goes on"]
    assert not play.enter("dan")
    play.turns.leave("eve")
    assert play.said[2:] == ["bob has the turn"]
    play.turns.end("bob")
    assert play.said[3:] == ["dan goes on"]


def test_a_turn_ends_after_a_while(play: Play) -> None:
    play.ask("ann")
    assert not play.enter("bob")
    play.runtime.advance(limits.TURN_SECONDS_MAX * 0.99)
    assert play.said == ["ann has the turn"]
    play.runtime.advance(limits.TURN_SECONDS_MAX * 0.02)
    assert play.said == ["ann has the turn", "bob goes on"]
    assert play.enter("ann"), "late, it is one of many"


def test_the_end_of_a_turn_is_not_that_of_the_next(play: Play) -> None:
    play.ask("ann")
    play.runtime.advance(limits.TURN_SECONDS_MAX / 2)
    play.turns.end("ann")
    play.ask("ann")
    play.runtime.advance(limits.TURN_SECONDS_MAX * 0.75)
    assert not play.enter("bob")


@pytest.mark.parametrize("gone", ["ann", "bob", "eve"])
def test_whose_connection_is_gone_holds_nobody_up(play: Play, gone: str) -> None:
    play.enter("eve")
    play.ask("ann")
    play.ask("bob")
    assert not play.enter("dan")
    play.turns.forget(gone)
    for name in ("eve", "ann", "bob", "dan", "bob"):
        play.turns.leave(name)
    assert "dan goes on" in play.said
    assert f"{gone} has the turn" not in play.said
    assert play.enter("fay")
    assert play.runtime.timers == 0


def test_a_session_that_asks_does_not_hold_itself(play: Play) -> None:
    play.enter("ann")
    play.ask("bob")
    assert not play.enter("bob")
    play.turns.leave("ann")
    assert play.said == ["bob has the turn", "bob goes on"]


def test_nobody_asks_for_any_number_of_turns(play: Play) -> None:
    for _ in range(limits.SESSION_REQUESTS_MAX + 1):
        play.ask("ann")
    with pytest.raises(LimitError, match="SESSION_REQUESTS_MAX"):
        play.ask("ann")
    play.ask("bob")


# --- on a connection -------------------------------------------------------------------------------------------------


@pytest.fixture
def clients(wire: Wire) -> list[Client]:
    return [Client(wire, session) for session in OTHERS]


def test_a_silent_client_holds_nobody_up_for_longer_than_the_limit(clients: list[Client], wire: Wire) -> None:
    silent, other, _ = clients
    schema = other.define()
    silent.answer(m.Turn(silent.number()), m.TurnCame)
    assert other.ask(other.commit_of(schema, [inserted(schema, 1, topic="a")])) == []
    runtime = wire.served.store.runtime
    assert isinstance(runtime, SeededRuntime)
    runtime.advance(limits.TURN_SECONDS_MAX)
    wire.pump()
    assert isinstance(other.heard[-1], m.Committed)


def test_nor_does_one_that_goes_away(clients: list[Client], wire: Wire) -> None:
    gone, other, _ = clients
    schema = other.define()
    gone.answer(m.Turn(gone.number()), m.TurnCame)
    other.ask(other.commit_of(schema, [inserted(schema, 1, topic="a")]))
    gone.connection.cut()
    wire.pump()
    assert isinstance(other.heard[-1], m.Committed)


def test_nor_one_that_says_that_it_will_not_commit(clients: list[Client]) -> None:
    one, other, _ = clients
    schema = other.define()
    one.answer(m.Turn(one.number()), m.TurnCame)
    other.ask(other.commit_of(schema, [inserted(schema, 1, topic="a")]))
    one.ask(m.EndTurn())
    assert isinstance(other.heard[-1], m.Committed)


def test_who_goes_away_while_it_is_held_does_not_stop_the_rest(clients: list[Client], wire: Wire) -> None:
    one, gone, other = clients
    schema = other.define()
    one.answer(m.Turn(one.number()), m.TurnCame)
    gone.ask(gone.commit_of(schema, [inserted(schema, 1, topic="a")]))
    gone.connection.cut()
    one.ask(m.EndTurn())
    other.answer(m.Turn(other.number()), m.TurnCame)
    other.write(schema, inserted(schema, 2, topic="a"))


def test_a_held_commit_is_answered_before_what_was_asked_after_it(clients: list[Client]) -> None:
    one, other, _ = clients
    schema = other.define()
    one.answer(m.Turn(one.number()), m.TurnCame)
    before = len(other.heard)
    other.ask(other.commit_of(schema, [inserted(schema, 1, topic="a")]))
    assert other.ask(m.Forget(other.number())) == []
    one.write(schema, inserted(schema, 2, topic="a"))
    answers = [type(message) for message in other.heard[before:] if not isinstance(message, m.Transition)]
    assert answers == [m.Committed, m.Forgotten]


def test_a_held_commit_that_is_refused_says_so(clients: list[Client]) -> None:
    one, other, _ = clients
    schema = other.define()
    one.answer(m.Turn(one.number()), m.TurnCame)
    other.ask(other.commit_of(schema, [m.Written(schema.number, "no id", None)]))
    one.ask(m.EndTurn())
    failed = other.heard[-1]
    assert isinstance(failed, m.Failed)
    assert failed.code == "invalid-id"
    other.write(schema, inserted(schema, 1, topic="a"))


# --- a mutation ------------------------------------------------------------------------------------------------------


class Rival:
    """Overwrites a note whenever it is told to, without a look at it: it never loses."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._link = wire.link(Ear())
        self._commits = 0

    def overwrite(self, note: Note) -> None:
        """Returns when that is done, or held."""
        assert note.id is not None
        schema = schema_of(Note, table_number(note.id))
        self._commits += 1
        _, data = schema.build(note.id, note.creation_time or 0.0, {"topic": "rival", "rank": self._commits})
        written = [m.Written(schema.number, str(note.id), data)]
        self._link.connection.say(
            m.Commit(self._commits, self._commits, self._wire.served.publisher.ts, "t:rival", [], written, {})
        )
        self._wire.settle()


def test_a_mutation_that_would_lose_for_ever_finishes(automatic: Wire) -> None:
    kernel, rival, seen = Kernel(automatic), Rival(automatic), list[int]()

    @rdb.mutation
    def create(ctx: rdb.MutationCtx) -> rdb.Id[Note]:
        return ctx.db.insert(Note(topic="mine"))

    @rdb.mutation
    def read_and_write(ctx: rdb.MutationCtx, id: rdb.Id[Note]) -> None:
        note = ctx.db.get(id)
        assert note is not None
        seen.append(note.rank)
        rival.overwrite(note)
        ctx.db.patch(id, topic=f"after {note.rank}")

    id = kernel.database.run(create)
    kernel.database.run(read_and_write, id)
    lost = Limits().retries_max + 1
    assert kernel.store.conflicts == lost
    assert seen == list(range(lost + 1))
    kernel.settle()
    topics = [m.Written(*one).document for one in documents(automatic, id)]
    assert topics[-1] is not None
    assert b"rival" in topics[-1], "the one that was held comes last"
    kernel.database.close()


@pytest.mark.parametrize("ends", ["raises", "writes nothing"])
def test_a_run_that_commits_nothing_in_its_turn_ends_it(automatic: Wire, ends: str) -> None:
    kernel, rival = Kernel(automatic), Rival(automatic)
    runs: list[None] = []

    @rdb.mutation
    def create(ctx: rdb.MutationCtx) -> rdb.Id[Note]:
        return ctx.db.insert(Note(topic="mine"))

    @rdb.mutation
    def give_up(ctx: rdb.MutationCtx, id: rdb.Id[Note]) -> None:
        note = ctx.db.get(id)
        assert note is not None
        runs.append(None)
        if len(runs) <= Limits().retries_max + 1:
            rival.overwrite(note)
            ctx.db.patch(id, topic="mine")
        elif ends == "raises":
            raise rdb.ApplicationError("enough")

    id = kernel.database.run(create)
    if ends == "raises":
        with pytest.raises(rdb.ApplicationError):
            kernel.database.run(give_up, id)
    else:
        kernel.database.run(give_up, id)
    automatic.settle()
    other = Kernel(automatic)
    other.database.run(create)  # nobody is held
    for one in (kernel, other):
        one.database.close()


def documents(wire: Wire, id: rdb.Id[Note]) -> list[tuple[int, str, bytes | None]]:
    """A note as the server has it."""
    table = wire.served.table(table_number(id))
    return [(table.schema.number, found, data) for found, data in table.stored() if found == id]
