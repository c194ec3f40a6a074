"""Contexts: what `ctx.db` reads and writes, what else a context gives, and everything it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db.errors import DocumentError, DocumentNotFoundError, IdError, ReadOnlyError, SchemaError
from reactive_db.testing.runtime import EPOCH_MS, SeededRuntime
from tests.conftest import Open


class Note(rdb.Document, table="contexts_notes", indexes={"by_topic": ["topic"]}):
    topic: str
    text: str = ""
    stars: int | None = None


class Author(rdb.Document, table="contexts_authors"):
    name: str


class Child(rdb.Document, table="contexts_children"):
    """Its references name what is declared further down, by class and by table."""

    by_class: rdb.Id["Parent"] | None = None  # noqa: UP037  # a name, not a forward reference
    by_table: rdb.Id["contexts_parents"] | None = None  # type: ignore[name-defined]  # noqa: F821, UP037
    home: Home | None = None


class Parent(rdb.Document, table="contexts_parents"):
    name: str


class Home(rdb.Object):
    street: str
    owner: rdb.Id[Parent] | None = None


class Draft(rdb.Document):
    text: str


def write(db: rdb.Database, function: Callable[[rdb.MutationCtx], Any]) -> Any:
    return db.run(rdb.mutation(function))


def read(db: rdb.Database, function: Callable[[rdb.QueryCtx], Any]) -> Any:
    return db.run(rdb.query(function))


def everything(db: rdb.Database) -> list[Note]:
    return read(db, lambda ctx: ctx.db.query(Note).collect())  # type: ignore[no-any-return]


@pytest.fixture
def note(db: rdb.Database) -> rdb.Id[Note]:
    return write(db, lambda ctx: ctx.db.insert(Note("a", "hello")))  # type: ignore[no-any-return]


@pytest.fixture
def author(db: rdb.Database) -> rdb.Id[Author]:
    return write(db, lambda ctx: ctx.db.insert(Author("ada")))  # type: ignore[no-any-return]


# --- reading and writing ---------------------------------------------------------------------------------------------


def test_a_mutation_reads_its_own_writes(db: rdb.Database) -> None:
    def writes(ctx: rdb.MutationCtx) -> Any:
        first = ctx.db.insert(Note("a"))
        ctx.db.insert(Note("b"))
        ctx.db.patch(first, text="edited")
        seen = [(one.topic, one.text) for one in ctx.db.query(Note)]
        ctx.db.delete(first)
        return seen, ctx.db.get(first), ctx.db.query(Note).count()

    assert write(db, writes) == ([("a", "edited"), ("b", "")], None, 1)
    assert [one.topic for one in everything(db)] == ["b"]


def test_insert_gives_a_new_id_and_a_creation_time_to_each(db: rdb.Database) -> None:
    ids = write(db, lambda ctx: [ctx.db.insert(Note(str(at))) for at in range(5)])
    found = everything(db)
    assert [one.id for one in found] == ids
    assert len(set(ids)) == 5
    times = [one.creation_time for one in found]
    assert times == sorted(set(times)), "in the order of insertion, no two the same"


def test_patch_changes_some_fields(db: rdb.Database, note: rdb.Id[Note]) -> None:
    before = everything(db)[0]
    write(db, lambda ctx: ctx.db.patch(note, {"topic": "b"}, stars=3))
    after = everything(db)[0]
    assert (after.topic, after.text, after.stars) == ("b", "hello", 3)
    assert (after.id, after.creation_time) == (before.id, before.creation_time)
    write(db, lambda ctx: ctx.db.patch(note))
    assert everything(db)[0] == after


def test_patch_with_missing_takes_a_field_away(db: rdb.Database) -> None:
    Task = rdb.table("contexts_tasks", text=rdb.v.string(), due=rdb.v.optional(rdb.v.int64()))

    def writes(ctx: rdb.MutationCtx) -> Any:
        id = ctx.db.insert(Task(text="a", due=3))
        ctx.db.patch(id, due=rdb.MISSING)
        return ctx.db.get(id).due  # type: ignore[union-attr]

    assert write(db, writes) is rdb.MISSING


def test_patch_cannot_take_a_required_field_away(db: rdb.Database, note: rdb.Id[Note]) -> None:
    with pytest.raises(DocumentError, match="missing required field `topic`"):
        write(db, lambda ctx: ctx.db.patch(note, topic=rdb.MISSING))


def test_replace_writes_all_fields(db: rdb.Database, note: rdb.Id[Note]) -> None:
    before = everything(db)[0]
    write(db, lambda ctx: ctx.db.replace(note, Note("b")))
    after = everything(db)[0]
    assert (after.topic, after.text) == ("b", "")
    assert (after.id, after.creation_time) == (before.id, before.creation_time)
    write(db, lambda ctx: ctx.db.replace(note, before))
    assert everything(db)[0] == before


def test_delete_and_get(db: rdb.Database, note: rdb.Id[Note]) -> None:
    assert read(db, lambda ctx: ctx.db.get(note)).text == "hello"
    assert read(db, lambda ctx: ctx.db.get(str(note))).text == "hello"  # type: ignore[type-var]
    write(db, lambda ctx: ctx.db.delete(note))
    assert read(db, lambda ctx: ctx.db.get(note)) is None


def test_what_is_declared_later_can_be_referred_to(db: rdb.Database, author: rdb.Id[Author]) -> None:
    parent = write(db, lambda ctx: ctx.db.insert(Parent("ada")))
    child = write(db, lambda ctx: ctx.db.insert(Child(parent, parent, Home("Main St", parent))))
    assert read(db, lambda ctx: ctx.db.get(ctx.db.get(child).home.owner)).name == "ada"  # type: ignore[union-attr]
    for wrong in (Child(author), Child(None, author), Child(home=Home("Main St", author))):  # type: ignore[arg-type]
        with pytest.raises(DocumentError, match="is no id of table 'contexts_parents': it belongs to another table"):
            write(db, lambda ctx, wrong=wrong: ctx.db.insert(wrong))  # type: ignore[misc]


# --- writes that are refused leave nothing behind --------------------------------------------------------------------

Refused = tuple[Callable[[rdb.MutationCtx, Any, Any], Any], type[Exception], str]

REFUSED: dict[str, Refused] = {
    "insert a dict": (
        lambda ctx, note, author: ctx.db.insert({"topic": "a"}),
        DocumentError,
        r"insert takes a document, such as `Message\(…\)`, got `dict`",
    ),
    "insert nothing": (lambda ctx, note, author: ctx.db.insert(None), DocumentError, "got `NoneType`"),
    "insert a class": (lambda ctx, note, author: ctx.db.insert(Note), DocumentError, "got Note"),
    "insert a document of no table": (
        lambda ctx, note, author: ctx.db.insert(Draft("a")),
        SchemaError,
        "'Draft' has no table. Declare `class Draft",
    ),
    "insert twice": (
        lambda ctx, note, author: ctx.db.insert(ctx.db.get(note)),
        DocumentError,
        r"has an id already.*Use `ctx\.db\.replace",
    ),
    "insert a wrong value": (
        lambda ctx, note, author: ctx.db.insert(Note(3)),  # type: ignore[arg-type]
        DocumentError,
        r"expected `str`, got `int` at `\$\.topic` \(table 'contexts_notes'\)",
    ),
    "patch with a wrong value": (
        lambda ctx, note, author: ctx.db.patch(note, stars="3"),
        DocumentError,
        r"at `\$\.stars`",
    ),
    "patch an unknown field": (
        lambda ctx, note, author: ctx.db.patch(note, strs=3),
        DocumentError,
        "unknown field `strs`",
    ),
    "patch the id": (
        lambda ctx, note, author: ctx.db.patch(note, {"_id": author}),
        DocumentError,
        "given by the store",
    ),
    "patch with no dict": (
        lambda ctx, note, author: ctx.db.patch(note, "text"),
        DocumentError,
        "takes a dict of changed",
    ),
    "patch no id": (lambda ctx, note, author: ctx.db.patch("abc", stars=3), IdError, "'abc' is no id"),
    "patch None": (lambda ctx, note, author: ctx.db.patch(None, stars=3), IdError, "got `NoneType`"),
    "replace by a dict": (
        lambda ctx, note, author: ctx.db.replace(note, {}),
        DocumentError,
        "replace takes a document",
    ),
    "replace by another table's": (
        lambda ctx, note, author: ctx.db.replace(author, Note("a")),
        IdError,
        "is no id of table 'contexts_notes', which the new document is of",
    ),
    "replace by another document": (
        lambda ctx, note, author: ctx.db.replace(ctx.db.insert(Note("b")), ctx.db.get(note)),
        IdError,
        "is not the id of the new document",
    ),
    "replace by a wrong value": (
        lambda ctx, note, author: ctx.db.replace(note, Note("a", stars=1.5)),  # type: ignore[arg-type]
        DocumentError,
        r"at `\$\.stars`",
    ),
    "delete twice": (
        lambda ctx, note, author: [ctx.db.delete(note), ctx.db.delete(note)],
        DocumentNotFoundError,
        "tried to delete .*, but table 'contexts_notes' has no such document",
    ),
    "patch after delete": (
        lambda ctx, note, author: [ctx.db.delete(note), ctx.db.patch(note, stars=1)],
        DocumentNotFoundError,
        "tried to patch",
    ),
    "delete no id": (lambda ctx, note, author: ctx.db.delete(3), IdError, "got `int`"),
    "get no id": (lambda ctx, note, author: ctx.db.get("abc"), IdError, "'abc' is no id"),
    "get a damaged id": (
        lambda ctx, note, author: ctx.db.get(note[:-1] + ("0" if note[-1] != "0" else "1")),
        IdError,
        "its checksum does not match; a character may have changed",
    ),
    "query by name": (
        lambda ctx, note, author: ctx.db.query("notes"),
        SchemaError,
        "expected a document class, got 'notes'",
    ),
    "query a class of no table": (lambda ctx, note, author: ctx.db.query(Draft), SchemaError, "'Draft' has no table"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_write_leaves_nothing_behind(
    name: str, db: rdb.Database, note: rdb.Id[Note], author: rdb.Id[Author]
) -> None:
    function, error, says = REFUSED[name]
    before, ts = everything(db), db.ts

    def writes(ctx: rdb.MutationCtx) -> Any:
        ctx.db.insert(Note("never"))
        return function(ctx, note, author)

    with pytest.raises(error, match=says):
        write(db, writes)
    assert everything(db) == before
    assert db.ts == ts


def test_an_id_of_another_store_is_refused(db: rdb.Database, open_db: Open) -> None:
    elsewhere = open_db()
    for _ in range(3):
        rdb.table(f"contexts_filler_{_}", a=rdb.v.int64())
    write(elsewhere, lambda ctx: ctx.db.insert(Note("a")))
    foreign = write(elsewhere, lambda ctx: ctx.db.insert(Author("ada")))
    write(db, lambda ctx: ctx.db.insert(Note("a")))
    with pytest.raises(IdError, match="is no id of this store: it has no table with number"):
        read(db, lambda ctx: ctx.db.get(foreign))


# --- queries only read -----------------------------------------------------------------------------------------------

WRITES: dict[str, Callable[[Any, Any], Any]] = {
    "insert": lambda ctx, note: ctx.db.insert(Note("never")),
    "patch": lambda ctx, note: ctx.db.patch(note, stars=1),
    "replace": lambda ctx, note: ctx.db.replace(note, Note("never")),
    "delete": lambda ctx, note: ctx.db.delete(note),
}


@pytest.mark.parametrize("verb", WRITES)
def test_a_query_that_writes_is_refused(verb: str, db: rdb.Database, note: rdb.Id[Note]) -> None:
    before = everything(db)
    says = rf"uses `ctx\.db\.{verb}` in a query\. Queries only read; make it a mutation"
    with pytest.raises(ReadOnlyError, match=says):
        read(db, lambda ctx: WRITES[verb](ctx, note))
    assert everything(db) == before


@pytest.mark.parametrize("verb", WRITES)
def test_a_query_that_a_mutation_calls_cannot_write_either(verb: str, db: rdb.Database, note: rdb.Id[Note]) -> None:
    before = everything(db)
    writing = rdb.query(lambda ctx: WRITES[verb](ctx, note))
    with pytest.raises(ReadOnlyError, match="Queries only read"):
        write(db, lambda ctx: writing(ctx))
    assert everything(db) == before


def test_a_query_that_a_mutation_calls_reads_its_writes(db: rdb.Database) -> None:
    count = rdb.query(lambda ctx: ctx.db.query(Note).count())
    assert write(
        db, lambda ctx: [ctx.db.insert(Note("a")), count(ctx), ctx.db.insert(Note("b")), count(ctx)][1::2]
    ) == [1, 2]


def test_a_misspelt_read_is_an_ordinary_mistake(db: rdb.Database) -> None:
    with pytest.raises(AttributeError, match="no 'qurey'"):
        read(db, lambda ctx: ctx.db.qurey(Note))  # type: ignore[attr-defined]


# --- time, randomness, SQL -------------------------------------------------------------------------------------------


def test_time_stands_still_in_a_function(open_db: Open) -> None:
    db = open_db(runtime=SeededRuntime(1))
    now = write(db, lambda ctx: [ctx.now(), ctx.now(), ctx.db.get(ctx.db.insert(Note("a"))).creation_time])  # type: ignore[union-attr]
    assert now[0] == now[1] == now[2] > EPOCH_MS
    assert write(db, lambda ctx: ctx.now()) > now[0]


def test_randomness_comes_from_the_runtime(open_db: Open) -> None:
    def draws(ctx: rdb.QueryCtx) -> list[int]:
        return [ctx.random.randrange(10**9) for _ in range(3)]

    one, other = ([read(open_db(runtime=SeededRuntime(seed)), draws) for _ in range(1)] for seed in (1, 1))
    assert one == other
    db = open_db(runtime=SeededRuntime(1))
    assert read(db, draws) != read(db, draws), "a query that asks for randomness is not served from the cache"


def test_sql_inside_a_function_is_part_of_its_snapshot(db: rdb.Database, note: rdb.Id[Note]) -> None:
    def counts(ctx: rdb.QueryCtx) -> Any:
        return ctx.db.sql("SELECT count(*) AS n FROM contexts_notes").rows()[0]["n"]

    handle = db.live(rdb.query(counts))
    assert handle.value == 1
    write(db, lambda ctx: ctx.db.insert(Note("b")))
    assert handle.value == 2
