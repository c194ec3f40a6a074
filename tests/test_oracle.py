"""Invariant 5, the oracle of the whole system: every value a handle shows equals its query re-run from scratch.

A random program of schema changes, functions, mutations and live queries runs on a store and on a model that only
knows lists (`tests/oracle_model.py`). After every step each handle must show what a fresh transaction at its timestamp
gives, and what the model gives; SQL over the columns must equal the same computed from the model's documents.
Broken variants of the parts that find out what went stale are caught by the same programs.
"""

from __future__ import annotations

import tempfile
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import reactive_db as rdb
from reactive_db.database import Database
from reactive_db.engine.store import Store
from reactive_db.engine.transaction import Scan
from reactive_db.engine.write_log import LoggedCommit
from reactive_db.errors import ApplicationError, SchemaMismatchError
from reactive_db.limits import Limits
from reactive_db.model.codec import to_plain
from reactive_db.model.keys import KeyRange
from reactive_db.reactive.live_query import Outcome
from reactive_db.reactive.query_cache import QueryCache
from reactive_db.reactive.subscription_index import SubscriptionIndex
from reactive_db.testing.runtime import SeededRuntime
from reactive_db.testing.stores import memory_database
from tests.oracle_model import DEFAULTS, FILTERS, INDEXES, Model, Spec, answer, canonical, labels, page_end_of, totals

TOTALS = 'SELECT "group", count(*), sum(rank)::BIGINT FROM oracle_things GROUP BY "group" ORDER BY "group"'
LABELS = 'SELECT "group", label FROM oracle_tags AS t JOIN oracle_things AS x ON t.thing = x._id ORDER BY ALL'
HISTORY = 'SELECT count(*) FROM _history WHERE "table" = \'oracle_tags\''
STATEMENTS = {TOTALS: totals, LABELS: labels}
HANDLES_MAX = 8


# --- the program's schema and functions ----------------------------------------------------------------------------------


class Place(rdb.Object):
    city: str | None = None
    zip: int = 0


FIELD_TYPES: dict[str, Any] = {"note": str | None, "weight": float, "place": Place | None, "labels": list[str]}


class Names:
    """What a notebook's global names refer to: the latest classes and functions."""

    Thing: Any = None
    Tag: Any = None
    variant: Any = None


def declare_thing(fields: set[str], indexes: set[str], *, broken: bool = False) -> None:
    """What re-running the cell with `class Thing(rdb.Document, …)` does."""
    annotations = {"group": str, "rank": int, **{name: FIELD_TYPES[name] for name in DEFAULTS if name in fields}}
    namespace = {name: DEFAULTS[name] for name in fields} | {"__module__": __name__, "__annotations__": annotations}
    if broken:
        annotations["must"] = int
    options = {"table": "oracle_things", "indexes": {name: INDEXES[name] for name in sorted(indexes)}}
    Names.Thing = types.new_class("Thing", (rdb.Document,), options, lambda body: body.update(namespace))


def declare_tag() -> None:
    class Tag(rdb.Document, table="oracle_tags", indexes={"by_thing": ["thing"]}):
        thing: rdb.Id["oracle_things"]  # noqa: F821  # a table's name
        label: str

    Names.Tag = Tag


def declare_variant(version: int) -> None:
    """What re-running the cell with a function does; each version gives something else."""

    @rdb.query
    def variant(ctx: rdb.QueryCtx, group: str) -> Any:
        ranks = [thing.rank for thing in ctx.db.query(Names.Thing).with_index("by_group", group=group)]
        return [rank * version for rank in ranks] if version % 2 else {"sum": sum(ranks), "version": version}

    Names.variant = variant


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
    raise AssertionError(verb)


def _typed(fields: dict[str, Any]) -> dict[str, Any]:
    place = fields.get("place")
    return fields | ({"place": Place(**place)} if place is not None else {})


# --- what a program may do -----------------------------------------------------------------------------------------------


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
    """A handle, and how to find out what it has to show."""

    def __init__(self, handle: rdb.QueryHandle[Any], rerun: Callable[[int, str | None], Outcome], expected: Any) -> None:
        self.handle = handle
        self.rerun = rerun
        self.expected: Callable[[Model], tuple[str, Any]] = expected
        self.good = "None"
        self.stamps: list[int] = []
        handle.observe(lambda change: self.stamps.append(change.new), "ts")


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
        self.echoes = 0
        declare_tag()
        declare_variant(1)
        self.redeclare()
        self.db = self.open()
        self.settle()

    def open(self) -> Database:
        if not self.is_durable:
            return memory_database(self.runtime)
        return Database(Store.open(Path(self.folder.name) / "oracle.rdb", self.runtime, Limits()))

    def redeclare(self) -> None:
        declare_thing(self.model.fields, self.model.indexes)

    def settle(self) -> None:
        """Use every class, so that what was declared anew has been taken over."""
        self.db.run(work, [["read", everything()]], fails=False)
        self.db.run(tagged, "a")

    # --- schema and functions

    @rule(name=st.sampled_from(sorted(DEFAULTS)))
    def add_a_field(self, name: str) -> None:
        if name not in self.model.fields:
            self.model.add_field(name)
        self.redeclare()
        self.settle()

    @rule(name=st.sampled_from(sorted(INDEXES)))
    def add_or_drop_an_index(self, name: str) -> None:
        field = INDEXES[name][0].partition(".")[0]
        if name != "by_group" and (field in self.model.fields or field not in DEFAULTS):
            self.model.indexes ^= {name}
        self.redeclare()
        self.settle()

    @precondition(lambda self: self.model.things)
    @rule()
    def declare_what_does_not_fit(self) -> None:
        declare_thing(self.model.fields, self.model.indexes, broken=True)
        with pytest.raises(SchemaMismatchError):
            self.db.run(work, [["read", everything()]], fails=False)
        self.redeclare()
        self.settle()

    @rule(version=st.integers(1, 4))
    def declare_a_function_anew(self, version: int) -> None:
        declare_variant(version)
        for one in self.watched:
            if one.handle.title.startswith("tests.test_oracle:declare_variant"):
                one.expected = variant_expected(one.expected.group, version)  # type: ignore[attr-defined]
        self.version = version

    version = 1

    # --- mutations

    @rule(data=st.data(), fails=st.sampled_from([False, False, True]))
    def mutate(self, data: st.DataObject, fails: bool) -> None:
        after = self.model.copy()
        operations: list[Any] = []
        expected: list[Any] = []
        for _ in range(data.draw(st.integers(1, 4))):
            operation = data.draw(self.operations(after))
            operations.append(operation)
            expected.append(apply(after, operation))
        if fails:
            with pytest.raises(ApplicationError):
                self.db.run(work, operations, fails=True)
            return
        results = self.db.run(work, operations, fails=False)
        for result, wanted, operation in zip(results, expected, operations, strict=True):
            if operation[0] == "read":
                assert canonical(result) == canonical(without_new_ids(wanted, result, results))
        created = iter([r for r, operation in zip(results, operations, strict=True) if operation[0] in ("insert", "tag")])
        self.model = after
        give_ids(self.model, created)

    def operations(self, model: Model) -> st.SearchStrategy[Any]:
        """Something that can be done to `model`; documents made in the same mutation have no id yet."""
        fields = st.fixed_dictionaries(
            {name: FIELDS[name] for name in ("group", "rank")},
            optional={name: FIELDS[name] for name in sorted(model.fields)},
        )
        choices = [st.tuples(st.just("insert"), fields)]
        old = [id for id in model.things if not id.startswith("new ")]
        if old:
            ids = st.sampled_from(old)
            changes = st.dictionaries(st.sampled_from(sorted({"group", "rank"} | model.fields)), st.none(), max_size=2)
            removed = st.sets(st.sampled_from(sorted(model.fields)), max_size=1) if model.fields else st.just(set())
            patches = changes.flatmap(lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names}))
            choices += [
                st.tuples(st.just("tag"), ids, st.sampled_from(["t", "u"])),
                st.tuples(st.just("patch"), ids, patches, removed.map(sorted)),
                st.tuples(st.just("replace"), ids, fields),
                st.tuples(st.just("delete"), ids),
            ]
        if not any(id.startswith("new ") for id in model.things):
            # A read of what the same mutation wrote is compared where the order of new ids does not matter.
            choices.append(st.tuples(st.just("read"), specs(model.indexes).filter(lambda spec: spec["take"] != "page")))
        return st.one_of(choices).map(list)

    @rule(data=st.data(), count=st.integers(1, 40))
    def load(self, data: st.DataObject, count: int) -> None:
        row = data.draw(st.fixed_dictionaries({name: FIELDS[name] for name in ("group", "rank")}))
        rows = [row | {"rank": row["rank"] + number % 3} for number in range(count)]
        assert self.db.load(Names.Thing, rows, progress=False) == count
        found = self.db.run(work, [["read", everything()]], fails=False)[0]
        new = [thing for thing in found if thing["_id"] not in self.model.things]
        wanted = sorted(canonical(self.model.whole(row, "", 0.0)) for row in rows)
        assert sorted(canonical(thing | {"_id": "", "_creationTime": 0.0}) for thing in new) == wanted
        self.model.things.update({thing["_id"]: thing for thing in new})

    # --- handles

    @precondition(lambda self: len(self.watched) < HANDLES_MAX)
    @rule(data=st.data(), pace=st.sampled_from([{}, {}, {"throttle": 1.0}, {"debounce": 1.0}]))
    def watch_a_read(self, data: st.DataObject, pace: dict[str, float]) -> None:
        spec = data.draw(specs(self.model.indexes))
        name = canonical(spec)
        if spec["take"] == "page":
            self.pages.setdefault(name, page_end_of(self.model, spec))
        self.watch(read, [spec], lambda model: answer(model, spec, self.pages.get(name)), **pace)

    @precondition(lambda self: len(self.watched) < HANDLES_MAX and self.model.things)
    @rule(data=st.data())
    def watch_a_document(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.model.things)))
        self.watch(get, [id], lambda model: ("value", model.things.get(id)))

    @precondition(lambda self: len(self.watched) < HANDLES_MAX)
    @rule(group=FIELDS["group"], kind=st.sampled_from(["join", "variant", "error", "sql"]))
    def watch_something_else(self, group: str, kind: str) -> None:
        match kind:
            case "join":
                self.watch(tagged, [group], lambda model: ("value", tags_of(model, group)))
            case "variant":
                self.watch(Names.variant, [group], variant_expected(group, self.version))
            case "error":
                self.watch(odd_fails, [], odd_fails_expected)
            case "sql":
                self.watch(asks_sql, [], lambda model: ("value", [list(row) for row in totals(model)]))

    @precondition(lambda self: len(self.watched) < HANDLES_MAX)
    @rule(statement=st.sampled_from(sorted(STATEMENTS)))
    def watch_sql(self, statement: str) -> None:
        handle = self.db.live(statement)
        _, rerun = self.db._sql_key(statement)
        self.watched.append(Watched(handle, rerun, lambda model: ("value", STATEMENTS[statement](model))))

    @precondition(lambda self: len(self.watched) < HANDLES_MAX and self.echoes < 3)
    @rule(group=FIELDS["group"])
    def watch_with_an_observer_that_writes(self, group: str) -> None:
        self.echoes += 1
        spec = {**everything(), "take": "count"}
        one = self.watch(read, [spec], lambda model: answer(model, spec))
        budget = [2]

        def echo(change: Any) -> None:
            if budget[0]:
                budget[0] -= 1
                (made,) = self.db.run(work, [["insert", {"group": group, "rank": 0}]], fails=False)
                self.echoed.append(made)
                assert one.handle.value >= change.new + 1

        one.handle.observe(echo, "value")

    def watch(self, function: Any, arguments: list[Any], expected: Any, **pace: float) -> Watched:
        handle = self.db.live(function, *arguments, **pace)
        _, rerun = self.db._runner.live_key(function, tuple(arguments), {})
        self.watched.append(Watched(handle, rerun, expected))
        return self.watched[-1]

    @precondition(lambda self: self.watched)
    @rule(data=st.data(), closes=st.booleans())
    def let_go_of_a_handle(self, data: st.DataObject, closes: bool) -> None:
        gone = self.watched.pop(data.draw(st.integers(0, len(self.watched) - 1)))
        if closes:
            gone.handle.close()
        del gone
        self.forget_pages()

    def forget_pages(self) -> None:
        """A page that nobody watches any more has no place to keep."""
        self.db._scheduler._sweep()
        kept = {canonical(self.spec_of(key)) for key in self.db._scheduler.cache.watched if key[0].endswith(":read")}
        self.pages = {name: end for name, end in self.pages.items() if name in kept}

    def spec_of(self, key: tuple[str, bytes]) -> Any:
        return read.signature.unkey(key[1], self.db._store.catalog.converter).spec  # type: ignore[attr-defined]

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
        self.settle()

    # --- what always holds

    echoed: ClassVar[list[Any]] = []

    @invariant()
    def everything_is_right(self) -> None:
        for made in self.echoed:
            self.model.things[made["_id"]] = made
        self.echoed.clear()
        self.past[self.db.ts] = self.model.copy()
        for one in self.watched:
            self.check(one)
        cache = self.db._scheduler.cache
        assert len(cache.watched) <= len(self.watched)
        assert len(self.db._store.snapshots) == 0

    def check(self, one: Watched) -> None:
        handle = one.handle
        ts = handle.ts
        assert one.stamps == sorted(one.stamps)
        assert handle.status == "stale" or ts == self.db.ts, f"{handle.title} is behind"
        kind, wanted = one.expected(self.past[max(then for then in self.past if then <= ts)])
        told = f"{handle.title} at ts {ts}"
        if handle.status != "stale":
            outcome = self.from_scratch(one)
            if outcome.error is None:
                assert canonical(plain(handle.value)) == canonical(plain(outcome.value)), told
            assert type(handle.error) is type(outcome.error), told
        if kind == "error":
            assert type(handle.error).__name__ == wanted, told
            assert canonical(plain(handle.value)) == one.good, told
        else:
            assert canonical(plain(handle.value)) == canonical(wanted), told
            assert handle.error is None, told
            one.good = canonical(wanted)

    def from_scratch(self, one: Watched) -> Outcome:
        """What a fresh transaction gives at the handle's timestamp, which is the newest there is."""
        query = one.handle._query
        assert query is not None
        assert query.shown is not None
        with self.db._scheduler._snapshot(with_columns=query.reads_columns) as ts:
            assert ts == one.handle.ts
            return one.rerun(ts, query.shown.page_end)

    @precondition(lambda self: self.is_durable)
    @rule()
    def ask_sql(self) -> None:
        for statement, expected in STATEMENTS.items():
            assert canonical(self.db.sql(statement).fetchall()) == canonical(expected(self.model))
        columns = ["_id", "_creation_time", "group", "rank", *sorted(self.model.fields)]
        rows = self.db.sql(f"SELECT {', '.join(f'{name!r}' for name in columns)} FROM oracle_things".replace("'", '"')).rows()
        found = {row["_id"]: row for row in rows}
        assert found.keys() == self.model.things.keys()
        for id, thing in self.model.things.items():
            wanted = {name: thing["_creationTime" if name == "_creation_time" else name] for name in columns}
            assert canonical(found[id]) == canonical(wanted)

    def teardown(self) -> None:
        self.watched.clear()
        self.db._scheduler._sweep()
        cache = self.db._scheduler.cache
        assert len(cache.watched) == 0
        self.db.close()
        self.folder.cleanup()


# --- the model's side ----------------------------------------------------------------------------------------------------


def everything() -> dict[str, Any]:
    return {
        "index": "by_creation_time", "equal": [], "bound": None, "order": "asc", "filter": None, "take": "all", "n": 1,
    }  # fmt: skip


def plain(value: Any) -> Any:
    return value.fetchall() if isinstance(value, rdb.SqlResult) else to_plain(value)


def apply(model: Model, operation: list[Any]) -> Any:
    """Do an operation to the model; what it gives, where that is known."""
    match operation:
        case ["insert", fields]:
            id = f"new {len(model.things) + len(model.tags)}"
            model.things[id] = model.whole(fields, id, 0.0)
        case ["tag", thing, label]:
            id = f"new {len(model.things) + len(model.tags)}"
            model.tags[id] = {"_id": id, "_creationTime": 0.0, "thing": thing, "label": label}
        case ["patch", id, fields, removed]:
            kept = {name: value for name, value in model.things[id].items() if name not in removed}
            model.things[id] = model.whole(kept | {n: v for n, v in fields.items() if n not in removed}, id, kept["_creationTime"])
        case ["replace", id, fields]:
            model.things[id] = model.whole(fields, id, model.things[id]["_creationTime"])
        case ["delete", id]:
            del model.things[id]
        case ["read", spec]:
            return answer(model, spec)
    return None


def tags_of(model: Model, group: str) -> dict[str, list[str]]:
    things = [thing["_id"] for thing in model.things.values() if thing["group"] == group]
    in_order = sorted(model.tags.values(), key=lambda tag: (tag["_creationTime"], tag["_id"]))
    return {id: [tag["label"] for tag in in_order if tag["thing"] == id] for id in things}
