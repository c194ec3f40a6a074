"""Invariant 5, the oracle of the whole system: every value a handle shows equals its query re-run from scratch.

A random program of schema changes, functions, mutations and live queries runs on a store and on a model that only
knows lists (`tests/oracle_model.py`). After every step each handle must show what a fresh transaction at its timestamp
gives, and what the model gives; SQL over the columns must equal the same computed from the model's documents.
Broken variants of the parts that find out what went stale are caught by the same programs.
"""

from __future__ import annotations

import os
import tempfile
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import reactive_db as rdb
from reactive_db.database import Database
from reactive_db.engine.read_set import ReadSet
from reactive_db.engine.store import Store
from reactive_db.engine.transaction import Scan
from reactive_db.engine.write_log import LoggedCommit
from reactive_db.errors import ApplicationError, DocumentNotFoundError, SchemaMismatchError
from reactive_db.limits import Limits
from reactive_db.model.codec import to_plain
from reactive_db.model.keys import KeyRange
from reactive_db.reactive.live_query import Outcome
from reactive_db.reactive.subscription_index import SubscriptionIndex
from reactive_db.runtime import SystemRuntime
from reactive_db.testing.runtime import SeededRuntime
from reactive_db.testing.stores import memory_database
from reactive_db.testing.threads import run_in_threads, switching_often
from tests.oracle_model import DEFAULTS, FILTERS, INDEXES, Model, Spec, answer, canonical, labels, page_end_of, totals

TOTALS = 'SELECT "group", count(*), sum(rank)::BIGINT FROM oracle_things GROUP BY "group" ORDER BY "group"'
LABELS = 'SELECT "group", label FROM oracle_tags AS t JOIN oracle_things AS x ON t.thing = x._id ORDER BY ALL'
HISTORY = "SELECT count(*) FROM _history WHERE \"table\" = 'oracle_tags'"
STATEMENTS = {TOTALS: totals, LABELS: labels, HISTORY: lambda model: [(len(model.tags),)]}
HANDLES_MAX = 8


# --- the program's schema and functions ------------------------------------------------------------------------------


class Place(rdb.Object):
    city: str | None = None
    zip: int = 0


ThingId = rdb.Id["oracle_things"]

FIELD_TYPES: dict[str, Any] = {"note": str | None, "weight": float, "place": Place | None, "labels": list[str]}


class Names:
    """What a notebook's global names refer to: the latest classes and functions."""

    Thing: Any = None
    Tag: Any = None
    variant: Any = None


def declare_thing(fields: set[str], indexes: set[str], *, broken: bool = False) -> None:
    """What re-running the cell with `class Thing(rdb.Document, …)` does."""
    annotations: dict[str, Any] = {"must": int} if broken else {}
    annotations |= {"group": str, "rank": int} | {name: FIELD_TYPES[name] for name in DEFAULTS if name in fields}
    namespace = {name: DEFAULTS[name] for name in fields} | {"__module__": __name__, "__annotations__": annotations}
    options = {"table": "oracle_things", "indexes": {name: INDEXES[name] for name in sorted(indexes)}}
    Names.Thing = types.new_class("Thing", (rdb.Document,), options, lambda body: body.update(namespace))


def declare_tag() -> None:
    class Tag(rdb.Document, table="oracle_tags", indexes={"by_thing": ["thing"]}):
        thing: ThingId
        label: str

    Names.Tag = Tag


def declare_variant(version: int) -> None:
    """What re-running the cell with a function does; each version gives something else."""

    def variant(ctx: rdb.QueryCtx, group: str) -> Any:
        ranks = [thing.rank for thing in ctx.db.query(Names.Thing).with_index("by_group", group=group)]
        return [rank * version for rank in ranks] if version % 2 else {"sum": sum(ranks), "version": version}

    variant.__qualname__ = "variant"
    Names.variant = rdb.query(variant)


BOUNDS: dict[str, Callable[..., rdb.Bound]] = {
    "gt": rdb.gt,
    "gte": rdb.gte,
    "lt": rdb.lt,
    "lte": rdb.lte,
    "between": rdb.between,
    "inside": lambda low, high: rdb.gt(low) & rdb.lt(high),
}


def perform(db: rdb.DatabaseReader, spec: Spec) -> Any:
    """The read that `answer` gives the model's answer to."""
    query = db.query(Names.Thing)
    if spec["index"] != "by_creation_time":
        conditions: dict[str, Any] = dict(zip(INDEXES[spec["index"]], spec["equal"], strict=False))
        if spec["bound"] is not None:
            kind, *ends = spec["bound"]
            conditions[INDEXES[spec["index"]][len(spec["equal"])]] = BOUNDS[kind](*ends)
        query = query.with_index(spec["index"], conditions)
    query = query.order(spec["order"])
    if spec["filter"] is not None:
        query = query.filter(lambda thing: FILTERS[spec["filter"]](thing.rank))
    match spec["take"]:
        case "all":
            return query.collect()
        case "first":
            return query.first()
        case "unique":
            return query.unique()
        case "count":
            return query.count()
        case "page":
            page = query.paginate(None, spec["n"])
            return {"items": page.items, "is_done": page.is_done}
        case n:
            return query.take(n)


@rdb.query
def read(ctx: rdb.QueryCtx, spec: Any) -> Any:
    return perform(ctx.db, spec)


@rdb.query
def get(ctx: rdb.QueryCtx, id: str) -> Any:
    return ctx.db.get(rdb.Id[Any](id))


@rdb.query
def tagged(ctx: rdb.QueryCtx, group: str) -> Any:
    """A join: things of a group with their tags."""
    things = ctx.db.query(Names.Thing).with_index("by_group", group=group).order("desc")
    tags = {thing.id: ctx.db.query(Names.Tag).with_index("by_thing", thing=thing.id).collect() for thing in things}
    return {id: [tag.label for tag in found] for id, found in tags.items()}


@rdb.query
def odd_fails(ctx: rdb.QueryCtx) -> Any:
    count = ctx.db.query(Names.Thing).count()
    if count % 2:
        raise ApplicationError(count)
    return count


@rdb.query
def asks_sql(ctx: rdb.QueryCtx) -> Any:
    return [list(row) for row in ctx.db.sql(TOTALS).fetchall()]


@rdb.mutation
def work(ctx: rdb.MutationCtx, operations: list[Any], fails: bool) -> Any:
    """Do all operations; what each gave."""
    results = [_operate(ctx.db, *operation) for operation in operations]
    if fails:
        raise ApplicationError("on purpose")
    return results


def _operate(db: rdb.DatabaseWriter, verb: str, *arguments: Any) -> Any:
    match verb, arguments:
        case "insert", (fields,):
            return to_plain(db.get(db.insert(Names.Thing(**_typed(fields)))))
        case "tag", (thing, label):
            return to_plain(db.get(db.insert(Names.Tag(thing=thing, label=label))))
        case "patch", (id, fields, removed):
            return db.patch(rdb.Id[Any](id), {**fields, **dict.fromkeys(removed, rdb.MISSING)})
        case "replace", (id, fields):
            return db.replace(rdb.Id[Any](id), Names.Thing(**_typed(fields)))
        case "delete", (id,):
            return db.delete(rdb.Id[Any](id))
        case "read", (spec,):
            return to_plain(perform(db, spec))
        case "settle", ():
            return [db.query(Names.Thing).count(), db.query(Names.Tag).count()]
    raise AssertionError(verb)


def _typed(fields: dict[str, Any]) -> dict[str, Any]:
    place = fields.get("place")
    return fields | ({"place": Place(**place)} if place is not None else {})


# --- what a program may do -------------------------------------------------------------------------------------------


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "group": st.sampled_from(["", "a", "ab", "b"]),
    "rank": st.integers(-1, 3),
    "note": st.sampled_from([None, "", "n", "z"]),
    "weight": st.sampled_from([-2.0, -0.0, 0.0, 1.5, float("inf")]),
    "place": st.none() | st.fixed_dictionaries({"city": st.sampled_from([None, "Bonn", "Oslo"]), "zip": st.just(1)}),
    "labels": st.lists(st.sampled_from(["l", "m"]), max_size=2),
}
BOUND_VALUES = FIELDS | {"place.city": st.sampled_from([None, "Bonn", "Oslo"])}


@st.composite
def specs(draw: st.DrawFn, indexes: set[str]) -> Spec:
    index = draw(st.sampled_from(["by_creation_time", *sorted(indexes)]))
    fields = INDEXES.get(index, ())
    equal = [draw(BOUND_VALUES[name]) for name in fields[: draw(st.integers(0, len(fields)))]]
    bound = None
    if len(equal) < len(fields) and draw(st.booleans()):
        kind = draw(st.sampled_from(sorted(BOUNDS)))
        ends = BOUND_VALUES[fields[len(equal)]]
        bound = [kind, draw(ends), draw(ends)] if kind in ("between", "inside") else [kind, draw(ends)]
    return {
        "index": index,
        "equal": equal,
        "bound": bound,
        "order": draw(st.sampled_from(["asc", "desc"])),
        "filter": draw(st.sampled_from([None, None, *FILTERS])),
        "take": draw(st.sampled_from(["all", "first", "unique", "count", "page", "page", 0, 1, 2, 5])),
        "n": draw(st.integers(1, 3)),
    }


class Watched:
    """A handle, and how the model finds out what it has to show."""

    def __init__(self, handle: rdb.QueryHandle[Any], expected: Callable[[Model], tuple[str, Any]]) -> None:
        self.handle = handle
        self.expected = expected
        self.since = handle.ts
        self.stamps = [handle.ts]
        handle.observe(partial(_note, self.stamps), "ts")


def _note(stamps: list[int], change: Any) -> None:
    stamps.append(change.new)


class Program(RuleBasedStateMachine):
    """One store, its model, and its handles."""

    is_durable: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runtime = SeededRuntime(0)
        self.model = Model(indexes={"by_group"})
        self.past: dict[int, Model] = {}
        self.watched: list[Watched] = []
        self.pages: dict[str, Any] = {}
        self.echoed: list[tuple[int, Any]] = []
        self.faults: list[str] = []
        declare_tag()
        declare_variant(self.model.version)
        self.db = self.open()
        self.redeclare()

    def open(self) -> Database:
        if not self.is_durable:
            return memory_database(self.runtime)
        return Database(Store.open(Path(self.folder.name) / "oracle.rdb", self.runtime, Limits()))

    def redeclare(self) -> None:
        """Run the cell again, and use what it declares."""
        declare_thing(self.model.fields, self.model.indexes)
        self.db.run(work, [["settle"]], fails=False)

    # --- schema and functions

    @rule(name=st.sampled_from(sorted(DEFAULTS)))
    def add_a_field(self, name: str) -> None:
        if name not in self.model.fields:
            self.model.add_field(name)
        self.redeclare()

    @rule(name=st.sampled_from(sorted(INDEXES)))
    def add_or_drop_an_index(self, name: str) -> None:
        field = INDEXES[name][0].partition(".")[0]
        if name != "by_group" and (field in self.model.fields or field not in DEFAULTS):
            self.model.indexes ^= {name}
        self.redeclare()

    @precondition(lambda self: self.model.things)
    @rule()
    def declare_what_does_not_fit(self) -> None:
        declare_thing(self.model.fields, self.model.indexes, broken=True)
        with pytest.raises(SchemaMismatchError):
            self.db.run(work, [["settle"]], fails=False)
        self.redeclare()

    @rule(version=st.integers(1, 4))
    def declare_a_function_anew(self, version: int) -> None:
        self.model.version = version
        declare_variant(version)

    # --- mutations

    @rule(data=st.data(), fails=st.sampled_from([False, False, True]))
    def mutate(self, data: st.DataObject, fails: bool) -> None:
        alive = set(self.model.things)
        operations: list[Any] = []
        for _ in range(data.draw(st.integers(1, 4))):
            operations.append(data.draw(operation(self.model, alive)))
            if operations[-1][0] == "delete":
                alive.remove(operations[-1][1])
        if fails:
            with pytest.raises(ApplicationError):
                self.db.run(work, operations, fails=True)
            return
        results = self.db.run(work, operations, fails=False)
        for done, result in zip(operations, results, strict=True):
            assert canonical(result) == canonical(apply(self.model, done, result)), done

    @rule(row=st.fixed_dictionaries({name: FIELDS[name] for name in ("group", "rank")}), count=st.integers(1, 40))
    def load(self, row: dict[str, Any], count: int) -> None:
        rows = [row | {"rank": row["rank"] + number % 3} for number in range(count)]
        assert self.db.load(Names.Thing, rows, progress=False) == count
        (found,) = self.db.run(work, [["read", everything()]], fails=False)
        known = {*self.model.things, *(made["_id"] for _, made in self.echoed)}
        new = [thing for thing in found if thing["_id"] not in known]
        wanted = [canonical(self.model.whole(row, "", 0.0)) for row in rows]
        assert sorted(canonical(thing | {"_id": "", "_creationTime": 0.0}) for thing in new) == sorted(wanted)
        self.model.things.update({thing["_id"]: thing for thing in new})

    # --- handles

    @precondition(lambda self: len(self.watched) < HANDLES_MAX)
    @rule(data=st.data(), pace=st.sampled_from([{}, {}, {"throttle": 1.0}, {"debounce": 1.0}]))
    def watch_a_read(self, data: st.DataObject, pace: dict[str, float]) -> None:
        spec = data.draw(specs(self.model.indexes))
        end = self.pages.setdefault(canonical(spec), page_end_of(self.model, spec)) if spec["take"] == "page" else None
        self.watch(self.db.live(read, spec, **pace), lambda model: answer(model, spec, end))

    @precondition(lambda self: len(self.watched) < HANDLES_MAX and self.model.things)
    @rule(data=st.data())
    def watch_a_document(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.model.things)))
        self.watch(self.db.live(get, id), lambda model: ("value", model.things.get(id)))

    @precondition(lambda self: len(self.watched) < HANDLES_MAX)
    @rule(group=FIELDS["group"], kind=st.sampled_from(["join", "variant", "error", "sql"]))
    def watch_a_function(self, group: str, kind: str) -> None:
        match kind:
            case "join":
                self.watch(self.db.live(tagged, group), lambda model: ("value", tags_of(model, group)))
            case "variant":
                self.watch(self.db.live(Names.variant, group), lambda model: ("value", variant_of(model, group)))
            case "error":
                self.watch(self.db.live(odd_fails), odd_fails_of)
            case "sql":
                self.watch(self.db.live(asks_sql), lambda model: ("value", totals(model)))

    @precondition(lambda self: len(self.watched) < HANDLES_MAX)
    @rule(statement=st.sampled_from(sorted(STATEMENTS)))
    def watch_sql(self, statement: str) -> None:
        self.watch(self.db.live(statement), lambda model: ("value", STATEMENTS[statement](model)))

    @precondition(lambda self: len(self.watched) < HANDLES_MAX)
    @rule(group=FIELDS["group"])
    def watch_with_an_observer_that_writes(self, group: str) -> None:
        spec = {**everything(), "take": "count"}
        one = self.watch(self.db.live(read, spec), lambda model: answer(model, spec))
        handle, budget = weakref.ref(one.handle), [2]

        def echo(change: Any) -> None:
            observed = handle()
            if budget[0] and observed is not None:
                budget[0] -= 1
                before = observed.value
                (made,) = self.db.run(work, [["insert", {"group": group, "rank": 0}]], fails=False)
                self.echoed.append((self.db.ts, made))
                if not (observed.status == "error" or observed.value > before):
                    self.faults.append(f"{observed.value} right after an insert, {before} before")

        one.handle.observe(echo, "value")

    def watch(self, handle: rdb.QueryHandle[Any], expected: Callable[[Model], tuple[str, Any]]) -> Watched:
        self.watched.append(Watched(handle, expected))
        return self.watched[-1]

    @precondition(lambda self: self.watched)
    @rule(data=st.data(), closes=st.booleans())
    def let_go_of_a_handle(self, data: st.DataObject, closes: bool) -> None:
        gone = self.watched.pop(data.draw(st.integers(0, len(self.watched) - 1)))
        if closes:
            gone.handle.close()
        del gone
        self.db.run(work, [], fails=False)
        watched = {one.handle._query.key for one in self.watched if one.handle._query is not None}
        assert self.db._scheduler.cache.watched.keys() == watched
        # A page that nobody watches any more has no place to keep.
        kept = {canonical(msgspec.msgpack.decode(arguments)["spec"]) for name, arguments in watched if "read" in name}
        self.pages = {name: end for name, end in self.pages.items() if name in kept}

    # --- time and files

    @rule(seconds=st.sampled_from([0.4, 1.1]))
    def time_passes(self, seconds: float) -> None:
        self.runtime.advance(seconds)

    @precondition(lambda self: self.is_durable)
    @rule()
    def reopen(self) -> None:
        shown = [(one.handle, canonical(plain(one.handle.value)), one.handle.ts) for one in self.watched]
        self.db.close()
        for handle, value, ts in shown:
            assert (canonical(plain(handle.value)), handle.ts) == (value, ts)
        self.watched.clear()
        self.pages.clear()
        self.past.clear()
        self.db = self.open()

    @precondition(lambda self: self.is_durable)
    @rule()
    def ask_sql(self) -> None:
        for statement, expected in STATEMENTS.items():
            assert canonical(self.db.sql(statement).fetchall()) == canonical(expected(self.model)), statement
        names = ["group", "rank", *sorted(self.model.fields)]
        columns = ", ".join(f'"{name}"' for name in names)
        rows = self.db.sql(f"SELECT _id, _creation_time AS _creationTime, {columns} FROM oracle_things").rows()
        assert canonical({row["_id"]: row for row in rows}) == canonical(self.model.things)

    # --- what always holds

    @invariant()
    def everything_is_right(self) -> None:
        assert not self.faults
        # What observers wrote came after what the step itself did, one commit each.
        for ts, made in self.echoed:
            self.past[ts - 1] = self.model.copy()
            self.model.things[made["_id"]] = made
        self.echoed.clear()
        self.past[self.db.ts] = self.model.copy()
        for one in self.watched:
            self.check(one)
        assert len(self.db._store.snapshots) == 0

    def check(self, one: Watched) -> None:
        handle, ts = one.handle, one.handle.ts
        told = f"{handle.title} at ts {ts}"
        assert one.stamps == sorted(one.stamps), told
        assert one.stamps[-1] <= ts, told
        if handle.status != "stale":
            assert ts == self.db.ts, told
            rerun = self.from_scratch(one)
            assert type(handle.error) is type(rerun.error), told
            if rerun.error is None:
                assert canonical(plain(handle.value)) == canonical(plain(rerun.value)), told
        answers = [one.expected(self.past[then]) for then in sorted(self.past) if one.since <= then <= ts]
        kind, wanted = answers[-1]
        assert type(handle.error).__name__ == (wanted if kind == "error" else "NoneType"), told
        good = [canonical(value) for kind, value in answers if kind == "value"] or ["None"]
        # After an error the last good value stays; a slow handle may not have shown the very last one.
        is_slow = kind == "error" and handle.throttle + handle.debounce > 0
        assert canonical(plain(handle.value)) in ({"None", *good} if is_slow else good[-1:]), told

    def from_scratch(self, one: Watched) -> Outcome:
        """What a fresh transaction gives at the handle's timestamp, which is the newest there is."""
        query = one.handle._query
        assert query is not None
        assert query.shown is not None
        with self.db._store.snapshot(with_columns=query.reads_columns) as snapshot:
            assert snapshot.ts == one.handle.ts
            outcome = query.run(snapshot, query.shown.page_end)
        outcome.forget_frames()  # or they keep the handle alive
        return outcome

    def teardown(self) -> None:
        for one in self.watched:
            one.handle.close()
        self.db.close()
        self.folder.cleanup()


# --- the model's side ------------------------------------------------------------------------------------------------


def everything() -> dict[str, Any]:
    """The read of all things."""
    nothing_else: dict[str, Any] = {"equal": [], "bound": None, "order": "asc", "filter": None, "take": "all", "n": 1}
    return {"index": "by_creation_time", **nothing_else}


def plain(value: Any) -> Any:
    return value.fetchall() if isinstance(value, rdb.SqlResult) else to_plain(value)


@st.composite
def operation(draw: st.DrawFn, model: Model, alive: set[str]) -> list[Any]:
    """Something that a mutation can do to the documents that are still there."""
    rows = st.fixed_dictionaries(
        {name: FIELDS[name] for name in ("group", "rank")},
        optional={name: FIELDS[name] for name in sorted(model.fields)},
    )
    verb = draw(st.sampled_from(["insert", "read", *(["tag", "patch", "patch", "replace", "delete"] if alive else [])]))
    if verb == "insert":
        return [verb, draw(rows)]
    if verb == "read":
        return [verb, draw(specs(model.indexes).filter(lambda spec: spec["take"] not in ("page", "unique")))]
    id = draw(st.sampled_from(sorted(alive)))
    match verb:
        case "tag":
            return [verb, id, draw(st.sampled_from(["t", "u"]))]
        case "patch":
            names = draw(st.sets(st.sampled_from(sorted({"group", "rank"} | model.fields)), max_size=2))
            removed = draw(st.sets(st.sampled_from(sorted(model.fields)), max_size=1)) if model.fields else set()
            return [verb, id, {name: draw(FIELDS[name]) for name in sorted(names)}, sorted(removed)]
        case "replace":
            return [verb, id, draw(rows)]
    return [verb, id]


def apply(model: Model, operation: list[Any], result: Any) -> Any:
    """Do an operation to the model; what it gives. Only ids and creation times are taken from the store's `result`."""
    match operation:
        case ["insert", fields]:
            made = model.whole(fields, result["_id"], result["_creationTime"])
            model.things[made["_id"]] = made
            return made
        case ["tag", thing, label]:
            made = {"_id": result["_id"], "_creationTime": result["_creationTime"], "thing": thing, "label": label}
            model.tags[made["_id"]] = made
            return made
        case ["patch", id, fields, removed]:
            before = model.things[id]
            kept = {name: value for name, value in {**before, **fields}.items() if name not in removed}
            model.things[id] = model.whole(kept, id, before["_creationTime"])
        case ["replace", id, fields]:
            model.things[id] = model.whole(fields, id, model.things[id]["_creationTime"])
        case ["delete", id]:
            del model.things[id]
        case ["read", spec]:
            return answer(model, spec)[1]
    return None


def tags_of(model: Model, group: str) -> dict[str, list[str]]:
    things = [thing["_id"] for thing in model.things.values() if thing["group"] == group]
    in_order = sorted(model.tags.values(), key=lambda tag: (tag["_creationTime"], tag["_id"]))
    return {id: [tag["label"] for tag in in_order if tag["thing"] == id] for id in things}


def variant_of(model: Model, group: str) -> Any:
    things = sorted(model.things.values(), key=lambda thing: (thing["_creationTime"], thing["_id"]))
    ranks = [thing["rank"] for thing in things if thing["group"] == group]
    version = model.version
    return [rank * version for rank in ranks] if version % 2 else {"sum": sum(ranks), "version": version}


def odd_fails_of(model: Model) -> tuple[str, Any]:
    count = len(model.things)
    return ("error", "ApplicationError") if count % 2 else ("value", count)


TestProgram = Program.TestCase
TestProgram.settings = settings(settings.default, max_examples=settings.default.max_examples // 3)
TestProgram.pytestmark = pytest.mark.timeout(1_200)  # a failure is made smaller for five minutes


# --- broken variants, each caught by the same programs ---------------------------------------------------------------


class ReadsAndWrites(Program):
    """Mutations and document queries alone: what these break shows in fewer and shorter programs."""

    is_durable = False
    add_a_field = add_or_drop_an_index = declare_what_does_not_fit = declare_a_function_anew = None
    load = watch_sql = watch_a_function = watch_with_an_observer_that_writes = None
    let_go_of_a_handle = time_passes = reopen = ask_sql = None


def misses_whole_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The subscription index does not find ranges that fix no field."""
    stab = SubscriptionIndex.stab

    def stab_prefixes(self: SubscriptionIndex[Any], space: Any, key: bytes, out: set[Any]) -> None:
        lengths = self._spaces.get(space, {})
        hidden = lengths.pop(0, None)
        stab(self, space, key, out)
        if hidden is not None:
            lengths[0] = hidden

    monkeypatch.setattr(SubscriptionIndex, "stab", stab_prefixes)


def forgets_old_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit tells where documents went, and not where they came from."""
    make = LoggedCommit._make_keys

    def only_new(self: LoggedCommit, space: Any) -> Iterator[bytes]:
        table, name = space
        if table in self.writes and name in self.writes[table][0].indexes:
            schema, writes = self.writes[table]
            yield from (schema.index(name).key(write.new) for write in writes if write.new is not None)
            return
        yield from make(self, space)

    monkeypatch.setattr(LoggedCommit, "_make_keys", only_new)


def forgets_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that ended early counts only its last document, and not what would have come before it."""
    covered = Scan.covered

    def last_only(self: Scan) -> KeyRange | None:
        found = covered(self)
        return None if found is None or self.last_key is None else KeyRange(self.last_key, self.last_key + b"\0", 0)

    monkeypatch.setattr(Scan, "covered", last_only)


def calls_everything_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lists of one length are taken for equal."""
    same = Outcome.shows_same_as

    def lengths(self: Outcome, other: Outcome) -> bool:
        both = (self.value, other.value)
        return len(both[0]) == len(both[1]) if all(isinstance(value, list) for value in both) else same(self, other)

    monkeypatch.setattr(Outcome, "shows_same_as", lengths)


def forgets_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """To read a document by its id does not count as reading."""
    monkeypatch.setattr(ReadSet, "add_document", lambda self, table, id: None)


@pytest.mark.parametrize(
    "breaks",
    [misses_whole_tables, forgets_old_keys, forgets_the_gap, calls_everything_the_same, forgets_documents],
)
def test_a_broken_variant_is_caught(
    breaks: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch)
    # Any failure will do, so none is made smaller.
    quick = settings(max_examples=2_000, stateful_step_count=40, database=None, deadline=None, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(ReadsAndWrites, settings=quick)


# --- the same from many threads: not after every step, but when all is quiet ------------------------------------------


@pytest.mark.parametrize("seed", range(200 if os.environ.get("REACTIVE_DB_CAMPAIGN") == "long" else 3))
def test_handles_are_right_when_threads_have_come_to_rest(seed: int) -> None:
    declare_tag()
    declare_thing({"note"}, {"by_group", "by_group_rank", "by_note"})
    random = Random(seed)
    takes = ["all", "first", "count", "page", 2]
    specs_ = [
        {**everything(), "index": index, "equal": equal, "order": random.choice(["asc", "desc"]), "take": take}
        for index, equal in (("by_group", ["a"]), ("by_group_rank", ["b"]), ("by_note", []), ("by_creation_time", []))
        for take in random.sample(takes, 3)
    ]
    with memory_database(SystemRuntime()) as db:
        ids = [made["_id"] for made in db.run(work, [["insert", row_of(random)] for _ in range(20)], fails=False)]
        handles = [db.live(read, spec) for spec in specs_] + [db.live(TOTALS), db.live(asks_sql)]
        news: list[tuple[list[int], list[Any]]] = [([handle.ts], [handle.value]) for handle in handles]
        for handle, (stamps, values) in zip(handles, news, strict=True):
            handle.observe(partial(_note, stamps), "ts")
            handle.observe(partial(_note, values), "value")
        with switching_often():
            run_in_threads([partial(busy, db, ids, Random(f"{seed}/{number}")) for number in range(5)])
        db.run(work, [], fails=False)
        for handle, (stamps, values) in zip(handles, news, strict=True):
            query = handle._query
            assert query is not None
            assert query.shown is not None
            with db._store.snapshot(with_columns=True) as snapshot:
                outcome = query.run(snapshot, query.shown.page_end)
            assert canonical(plain(handle.value)) == canonical(plain(outcome.value)), f"seed {seed}, {handle.title}"
            assert canonical(plain(values[-1])) == canonical(plain(handle.value)), "what was told last is what is shown"
            assert stamps == sorted(stamps)
            assert handle.ts == db.ts


def busy(db: Database, ids: list[str], random: Random) -> None:
    """Change things, and look at them, in ways that get in each other's way."""
    for _ in range(25):
        id = random.choice(ids)
        match random.randrange(6):
            case 0:
                made = db.run(work, [["insert", row_of(random)], ["read", everything()]], fails=False)
                ids.append(made[0]["_id"])
            case 1:
                with suppress(DocumentNotFoundError):
                    db.run(work, [["delete", id]], fails=False)
            case 2:
                db.run(read, {**everything(), "take": "count"})
            case 3:
                with suppress(ApplicationError):
                    db.run(work, [["insert", row_of(random)]], fails=True)
            case _:
                with suppress(DocumentNotFoundError):
                    db.run(work, [["patch", id, row_of(random), []]], fails=False)


def row_of(random: Random) -> dict[str, Any]:
    return {"group": random.choice(["a", "b"]), "rank": random.randrange(4), "note": random.choice([None, "n"])}
