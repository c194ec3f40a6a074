"""Row policies under random programs: at every transition, what a session knows is what the rules let through.

A program is made of commits by five users, other policies, and connections that are slow. The model has lists, and
judges rules by itself. Broken variants of each part that enforces policies are caught by the same programs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import reactive_db as rdb
from reactive_db.model.codec import encoder
from reactive_db.model.defined import defined_document
from reactive_db.model.keys import EVERYTHING
from reactive_db.model.policy import Policy, Rule
from reactive_db.model.schema import TableSchema, decode_definition
from reactive_db.sync import messages as m
from reactive_db.sync import served as served_module
from reactive_db.sync import session as session_module
from reactive_db.sync.publisher import News, Publisher
from reactive_db.sync.served import Caller, Served
from reactive_db.testing.stores import memory_store
from reactive_db.testing.wire import Wire
from tests.sync.ear import Client, deleted, inserted, schema_of

WRITER = frozenset({"read", "write"})
CALLERS = {
    "ada": Caller("ada", WRITER | {"deploy"}),
    "bob": Caller("bob", WRITER),
    "cleo": Caller("cleo", WRITER, frozenset({"helpers"})),
    "dan": Caller("dan", WRITER, frozenset({"helpers", "staff"})),
    "eve": Caller("eve", WRITER, frozenset({"bob"})),
}
INDEXES = ("by_creation_time", "by_owner", "by_rank")
DOCUMENTS_MAX = 6
COMMITS_MIN = 2

Thing = dict[str, Any]
Change = tuple[Thing | None, Thing | None]


class Sample(rdb.Document, table="policy_sample", indexes={"by_owner": ["owner"], "by_rank": ["rank"]}):
    owner: str
    helper: str
    rank: int


def of_policy(policy: Policy | None) -> type[rdb.Document]:
    """The class of the table with that policy; nobody in this process has declared it."""
    said = schema_of(Sample, 1).definition_fields | {"name": "policy_things", "policy": policy}
    return defined_document(decode_definition(encoder.encode(said)))


def lets_through(rules: list[Rule] | None, caller: Caller, thing: Thing | None) -> bool:
    """Whether one of the rules holds; without any policy there are none to hold."""
    if thing is None:
        return False
    if rules is None or "deploy" in caller.may:
        return True
    held = {
        "anyone": lambda name: True,
        "role": caller.roles.__contains__,
        "owner": lambda name: thing[name] == caller.name,
    }
    return any(held[one.kind](one.name) for one in rules)


# --- the model -------------------------------------------------------------------------------------------------------


@dataclass
class State:
    """What there is at a timestamp, and what the commit there changed: None, a table as a whole."""

    things: dict[str, Thing] = field(default_factory=dict)
    policy: Policy | None = None
    changes: list[Change] | None = None

    @property
    def read(self) -> list[Rule] | None:
        return None if self.policy is None else self.policy.read

    @property
    def write(self) -> list[Rule] | None:
        return None if self.policy is None else self.policy.write

    def seen(self, caller: Caller) -> dict[str, Thing]:
        return {id: thing for id, thing in self.things.items() if lets_through(self.read, caller, thing)}

    def concerns(self, caller: Caller, read: list[Rule] | None) -> bool:
        """Whether the commit changed anything that `caller` may read by these rules."""
        if self.changes is None:
            return True
        return any(lets_through(read, caller, thing) for change in self.changes for thing in change)


class Seer:
    """A client, and what it knows by what it was told."""

    def __init__(self, program: Program, caller: Caller, number: int) -> None:
        self.program = program
        self.caller = caller
        self.client = Client(program.wire, f"{number:032x}", caller)
        self.known: dict[str, Thing] | None = None
        self.ts = 0
        self.frames = 0

    def listen(self) -> None:
        """Take what was said since."""
        frames = self.client.ear.frames
        while self.frames < len(frames):
            message = m.decode_server(frames[self.frames])
            self.frames += 1
            if isinstance(message, m.Transition):
                self.take(message)
            elif isinstance(message, m.Rows):
                found = self.program.things_of(message.documents)
                assert found == self.program.past[message.ts].seen(self.caller), message.covered.index
                self.known = found if message.covered.index == "by_creation_time" else self.known
            elif isinstance(message, m.Counted):
                assert message.count == len(self.program.past[message.ts].seen(self.caller))

    def take(self, moved: m.Transition) -> None:
        number, between = self.program.schema.number, self.program.between(self.ts, moved.ts)
        if number in moved.whole:
            assert any(state.changes is None for state in between)
            self.known = None
        for written in moved.writes:
            if written.table == number:
                self.take_write(written, between)
        if number in moved.touched:
            assert any(state.concerns(self.caller, state.read) for state in between), "it is told of what is hidden"
        self.ts = moved.ts
        self.check()

    def take_write(self, written: m.Written, between: list[State]) -> None:
        was_seen = any(written.id in state.seen(self.caller) for state in between)
        assert was_seen or written.id in (self.known or ()) or self.known is None, "it is told of an id that is hidden"
        if self.known is None:
            return
        self.known.pop(written.id, None)
        if written.document is not None:
            self.known |= self.program.things_of([(written.id, written.document)])

    def check(self) -> None:
        if self.known is not None:
            assert self.known == self.program.past[self.ts].seen(self.caller), (self.caller, self.ts)


# --- programs --------------------------------------------------------------------------------------------------------

names = st.sampled_from(["bob", "cleo", "dan", "zoe"])
fields = st.fixed_dictionaries({"owner": names, "helper": names, "rank": st.integers(0, 2)})
RULES = [
    rdb.owner("owner"),
    rdb.owner("owner"),
    rdb.owner("helper"),
    rdb.role("helpers"),
    rdb.role("staff"),
    rdb.anyone,
]
sides = st.lists(st.sampled_from(RULES), max_size=2, unique_by=repr) | st.just([rdb.owner("owner")])
given = st.builds(lambda read, write: rdb.policy(read=read, write=write), sides, sides)
policies = st.none() | given | given
changes = st.tuples(st.integers(0, DOCUMENTS_MAX - 1), st.none() | fields)
Chosen = list[tuple[int, Thing | None]]
chosen_changes = st.lists(changes, min_size=1, max_size=3, unique_by=lambda one: one[0])
callers = st.sampled_from(sorted(CALLERS))


class Program(RuleBasedStateMachine):
    """One store that is served, and a session of each user."""

    @initialize(policy=policies)
    def open(self, policy: Policy | None) -> None:
        self.served = Served("oracle", memory_store())
        self.wire = Wire(self.served)
        self.past: dict[int, State] = {}
        self.declared_at = 0
        self.now = State()
        self.schema: TableSchema = schema_of(of_policy(policy), 0)
        self.seers = {name: Seer(self, caller, at) for at, (name, caller) in enumerate(CALLERS.items())}
        self.schema = self.seers["ada"].client.define(of_policy(policy))
        self.note(State(policy=policy))
        for seer in self.seers.values():
            seer.ts = self.ts
            seer.frames = len(seer.client.ear.frames)
        self.everybody_reads()

    @property
    def ts(self) -> int:
        return self.served.publisher.ts

    def note(self, state: State) -> None:
        """The store is so at the newest timestamp."""
        self.now = self.past[self.ts] = state

    def between(self, after: int, ts: int) -> list[State]:
        return [state for at, state in self.past.items() if after < at <= ts]

    def things_of(self, documents: list[tuple[str, bytes]]) -> dict[str, Thing]:
        return {id: self.schema.plain(self.schema.decode(data)) for id, data in documents}

    @rule(name=callers, chosen=chosen_changes)
    def commit(self, name: str, chosen: Chosen) -> None:
        """Give documents other fields, or delete them."""
        self.change(name, chosen, self.ts)

    @rule(name=callers, chosen=chosen_changes, data=st.data())
    def commit_late(self, name: str, chosen: Chosen, data: st.DataObject) -> None:
        """The same by somebody who read everything a while ago."""
        self.change(name, chosen, data.draw(st.sampled_from(sorted(self.past)[-4:])))

    def change(self, name: str, chosen: Chosen, begin_ts: int) -> None:
        writes, wanted = [], {}
        for seed, new in chosen:
            made = inserted(self.schema, seed, **(new or {"owner": "", "helper": "", "rank": 0}))
            writes.append(made if new is not None else deleted(made))
            wanted[made.id] = new
        outcome, after = self.expected(CALLERS[name], begin_ts, wanted)
        reads = [m.Range.of((self.schema.number, INDEXES[len(chosen) - 1]), EVERYTHING)]
        client, before = self.awake(name), self.ts
        client.connection.say(client.commit_of(self.schema, writes, reads, begin_ts))
        self.serve(client)
        assert (self.ts > before) is (outcome is None), (outcome, name, chosen)
        if outcome is None:
            self.note(after)
        self.wire.pump()
        assert getattr(client.heard[-1], "code", None) == outcome, client.heard[-1]

    def serve(self, client: Client) -> None:
        """Have the server answer, so that one can note what there is before anybody hears of it."""
        client.connection.arrive()
        self.wire.work()

    def expected(self, caller: Caller, begin_ts: int, chosen: dict[str, Thing | None]) -> tuple[str | None, State]:
        """The code of the error that a commit ends with, and what there is after it if with none."""
        later = self.between(begin_ts, self.ts)
        if any(state.concerns(caller, self.now.read) for state in later):
            return "conflict", self.now
        after = State(copy.deepcopy(self.now.things), self.now.policy, [])
        for id, new in chosen.items():
            old = self.now.things.get(id)
            if not all(lets_through(self.now.write, caller, one) for one in (old, new) if one is not None):
                if new is not None or lets_through(self.now.read, caller, old):
                    return "permission-denied", self.now
                continue  # to delete what is hidden does nothing
            if old is not None or new is not None:
                assert after.changes is not None
                after.changes.append((old, new))
            after.things.pop(id, None)
            if new is not None:
                after.things[id] = new
        return None, after

    @precondition(lambda self: len(self.past) - self.declared_at > COMMITS_MIN)
    @rule(policy=policies)
    def declare(self, policy: Policy | None) -> None:
        client, document = self.awake("ada"), of_policy(policy)
        client.connection.say(m.Define(client.number(), msgspec.to_builtins(schema_of(document, 0).definition_fields)))
        self.serve(client)
        self.schema = schema_of(document, self.schema.number)
        if policy != self.now.policy:
            self.note(State(copy.deepcopy(self.now.things), policy))
        self.declared_at = len(self.past)
        self.wire.pump()

    @rule(name=callers, index=st.sampled_from(INDEXES))
    def read(self, name: str, index: str) -> None:
        self.awake(name).read(self.schema, index=index)

    @rule()
    def everybody_reads(self) -> None:
        """As kernels do that know nothing any more."""
        for name, seer in self.seers.items():
            if not seer.client.connection.is_held:
                self.read(name, INDEXES[0])

    @rule(name=callers)
    def count(self, name: str) -> None:
        client = self.awake(name)
        asked = m.Range.of((self.schema.number, "by_rank"), EVERYTHING)
        client.answer(m.Count(client.number(), asked), m.Counted)

    @rule(name=callers)
    def slow_down(self, name: str) -> None:
        self.seers[name].client.connection.is_held = True

    @rule(name=callers)
    def catch_up(self, name: str) -> None:
        self.awake(name)

    def awake(self, name: str) -> Client:
        """The client of a user, which hears everything again."""
        client = self.seers[name].client
        client.connection.is_held = False
        self.wire.pump()
        return client

    @invariant()
    def everybody_knows_what_they_may(self) -> None:
        for name, seer in self.seers.items():
            seer.listen()
            if seer.known is not None and not seer.client.connection.is_held:
                assert seer.known == self.now.seen(CALLERS[name]), name

    @rule()
    def sql_says_the_same(self) -> None:
        for caller in CALLERS.values():
            counts = self.served.store.counts(self.served.publisher.policies.hidden(caller))
            assert counts[self.schema.number] == len(self.now.seen(caller)), caller.name

    def teardown(self) -> None:
        self.wire.close()
        self.served.close()


TestPrograms = Program.TestCase
TestPrograms.settings = settings(settings.default, max_examples=max(settings.default.max_examples, 20))


# --- broken variants -------------------------------------------------------------------------------------------------


def leaves_what_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher that looks only at what a document becomes."""
    sees = News.sees
    monkeypatch.setattr(News, "sees", lambda self, policy, table, *states: sees(self, policy, table, states[-1]))


def tells_what_was_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher that goes on to tell of a document that somebody could see once."""
    sees = News.sees
    monkeypatch.setattr(News, "sees", lambda *arguments: len(arguments) == 4 or sees(*arguments))


def keeps_an_old_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher that does not hear of another policy."""

    def tell(self: Publisher) -> set[News]:
        before = self.policies
        woken = told(self)
        self.policies = before
        return woken

    told = Publisher._tell_definitions
    monkeypatch.setattr(Publisher, "_tell_definitions", tell)


def reads_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that hides nothing in ranges."""
    pairs = session_module._pairs
    monkeypatch.setattr(session_module, "_pairs", lambda *arguments: pairs(*arguments[:-1], None))


def looks_at_the_new_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that lets people write what was not theirs."""
    may = served_module._may_write
    monkeypatch.setattr(served_module, "_may_write", lambda caller, table, *states: may(caller, table, states[-1]))


def looks_at_the_old_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that lets people write in others' names."""
    may = served_module._may_write
    monkeypatch.setattr(served_module, "_may_write", lambda caller, table, *states: may(caller, table, states[0]))


def takes_hidden_writes_for_conflicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose conflicts tell where hidden documents are."""
    monkeypatch.setattr(served_module._Arrived, "seen", lambda self, commit: commit)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "breaks",
    [
        leaves_what_is_gone,
        tells_what_was_theirs,
        keeps_an_old_policy,
        reads_everything,
        looks_at_the_new_state,
        looks_at_the_old_state,
        takes_hidden_writes_for_conflicts,
    ],
)
def test_a_broken_variant_is_caught(
    breaks: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch)
    quick = settings(
        max_examples=2_000,
        stateful_step_count=30,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        derandomize=True,  # some are found after ten examples, some after a thousand
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Program, settings=quick)
