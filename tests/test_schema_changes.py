"""Changing a schema on a store with data: what fits applies at once, what does not is refused and changes nothing."""

# No `from __future__ import annotations`: the classes below live in the functions that declare them.
import enum
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

import reactive_db as rdb
from reactive_db import v
from reactive_db.errors import DocumentError, QueryError, SchemaError, SchemaMismatchError
from tests.conftest import Open

TABLE = "schema_changes"


def declare(indexes: Any = None, **fields: Any) -> Any:
    return rdb.table(TABLE, indexes, **fields)


def put(db: rdb.Database, cls: Any, *rows: dict[str, Any]) -> list[Any]:
    return db.run(rdb.mutation(lambda ctx: [ctx.db.insert(cls(**row)) for row in rows]))  # type: ignore[no-any-return]


def found(db: rdb.Database, cls: Any) -> list[dict[str, Any]]:
    def reads(ctx: rdb.QueryCtx) -> list[dict[str, Any]]:
        names = [name for name in cls.__struct_fields__ if name not in ("id", "creation_time")]
        return [{name: getattr(one, name) for name in names} for one in ctx.db.query(cls)]

    return db.run(rdb.query(reads))  # type: ignore[no-any-return]


BEFORE = {"name": v.string(), "size": v.int64()}
ROWS = [{"name": "a", "size": 1}, {"name": "b", "size": 2}]


@pytest.fixture(params=["in memory", "after a restart"])
def filled(request: pytest.FixtureRequest, open_db: Open, tmp_path: Path) -> rdb.Database:
    """A store with two documents: just written, or read again by a process that never saw the old class."""
    if request.param == "in memory":
        db = open_db()
        put(db, declare(**BEFORE), *ROWS)
        return db
    db = open_db(tmp_path / "course.rdb")
    put(db, declare(**BEFORE), *ROWS)
    db.close()
    return open_db(tmp_path / "course.rdb")


# --- what applies at once --------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "a"
    BLUE = "b"


def same() -> Any:
    return declare(**BEFORE)


def a_new_optional_field() -> Any:
    return declare(**BEFORE, note=v.optional(v.string()))


def a_new_default() -> Any:
    class Changed(rdb.Document, table=TABLE):
        name: str
        size: int
        note: str = "none yet"
        tags: list[str] = []

    return Changed


def a_default_for_a_field_that_was_required() -> Any:
    class Changed(rdb.Document, table=TABLE):
        name: str = "nobody"
        size: int = 0

    return Changed


def a_wider_type() -> Any:
    return declare(name=v.union(v.string(), v.null()), size=v.union(v.int64(), v.string()))


def an_int_that_becomes_a_float() -> Any:
    return declare(name=v.string(), size=v.number())


def a_literal_that_all_documents_have() -> Any:
    class Changed(rdb.Document, table=TABLE):
        name: Literal["a", "b", "c"]
        size: Literal[1, 2]

    return Changed


def an_enum_that_all_documents_have() -> Any:
    class Changed(rdb.Document, table=TABLE):
        name: Colour
        size: int

    return Changed


def another_order_of_fields() -> Any:
    return declare(size=v.int64(), name=v.string())


FITS: dict[Callable[[], Any], list[dict[str, Any]]] = {
    same: ROWS,
    a_new_optional_field: [{**row, "note": rdb.MISSING} for row in ROWS],
    a_new_default: [{**row, "note": "none yet", "tags": []} for row in ROWS],
    a_default_for_a_field_that_was_required: ROWS,
    a_wider_type: ROWS,
    an_int_that_becomes_a_float: [{"name": "a", "size": 1.0}, {"name": "b", "size": 2.0}],
    a_literal_that_all_documents_have: ROWS,
    an_enum_that_all_documents_have: [{"name": Colour.RED, "size": 1}, {"name": Colour.BLUE, "size": 2}],
    another_order_of_fields: ROWS,
}


@pytest.mark.parametrize("change", FITS, ids=lambda change: change.__name__)
def test_a_change_that_fits_applies_at_once(change: Callable[[], Any], filled: rdb.Database) -> None:
    changed = change()
    made = found(filled, changed)
    assert made == FITS[change]
    assert [type(row["size"]) for row in made] == [type(row["size"]) for row in FITS[change]]
    names = {row["name"] for row in filled.sql(f"SELECT * FROM {TABLE}").rows()}
    assert names == {"a", "b"}


def test_a_new_field_is_in_sql_before_it_is_used(filled: rdb.Database) -> None:
    a_new_default()
    assert filled.sql(f"SELECT name, note FROM {TABLE} ORDER BY name").fetchall() == [
        ("a", "none yet"),
        ("b", "none yet"),
    ]


def test_a_change_outlives_the_process(open_db: Open, tmp_path: Path) -> None:
    path = tmp_path / "course.rdb"
    db = open_db(path)
    put(db, declare(**BEFORE), *ROWS)
    changed = a_new_default()
    put(db, changed, {"name": "c", "size": 3, "note": "new"})
    ts = db.ts
    db.close()
    db = open_db(path)
    assert [row["note"] for row in found(db, a_new_default())] == ["none yet", "none yet", "new"]
    assert db.ts == ts, "the same class again is no change"


def test_open_handles_move_to_the_new_class(filled: rdb.Database) -> None:
    namespace: dict[str, Any] = {"rdb": rdb, "__name__": "schema_changes_notebook"}
    cell = f"class Thing(rdb.Document, table='{TABLE}'):\n    name: str\n    size: int"
    exec(cell, namespace)
    exec("@rdb.query\ndef things(ctx) -> list[Thing]: return ctx.db.query(Thing).collect()", namespace)
    handle = filled.live(namespace["things"])
    old = namespace["Thing"]
    assert {type(one) for one in handle.value} == {old}
    exec(f"{cell}\n    note: str = 'none yet'", namespace)
    put(filled, namespace["Thing"], {"name": "c", "size": 3, "note": "new"})
    assert [one.note for one in handle.value] == ["none yet", "none yet", "new"]
    assert {type(one) for one in handle.value} == {namespace["Thing"]}
    put(filled, old, {"name": "d", "size": 4})
    assert handle.value[-1].note == "none yet", "an object of the old class is a document of the new one"


# --- indexes ---------------------------------------------------------------------------------------------------------


def by_size(db: rdb.Database, cls: Any) -> list[int]:
    return db.run(rdb.query(lambda ctx: [one.size for one in ctx.db.query(cls).with_index("by_size").order("desc")]))  # type: ignore[no-any-return]


def test_an_index_can_be_added_to_data(filled: rdb.Database) -> None:
    changed = declare({"by_size": ["size"]}, **BEFORE)
    assert by_size(filled, changed) == [2, 1]
    put(filled, changed, {"name": "c", "size": 7})
    assert by_size(filled, changed) == [7, 2, 1]


def test_an_index_can_be_changed_and_taken_away(filled: rdb.Database) -> None:
    assert by_size(filled, declare({"by_size": ["size"]}, **BEFORE)) == [2, 1]
    assert by_size(filled, declare({"by_size": ["name", "size"]}, **BEFORE)) == [2, 1]
    with pytest.raises(QueryError, match="has no index 'by_size'"):
        by_size(filled, declare(**BEFORE))


def test_an_added_index_orders_nan_and_negative_zero(open_db: Open) -> None:
    db = open_db()
    values = [0.0, float("nan"), -0.0, -math.inf, 1.5]
    put(db, declare(size=v.number()), *({"size": value} for value in values))
    assert repr(by_size(db, declare({"by_size": ["size"]}, size=v.number()))) == "[nan, 1.5, 0.0, -0.0, -inf]"


# --- what is refused -------------------------------------------------------------------------------------------------


def a_new_required_field() -> Any:
    return declare(**BEFORE, note=v.string())


def a_field_less() -> Any:
    return declare(name=v.string())


def another_name() -> Any:
    return declare(title=v.string(), size=v.int64())


def another_type() -> Any:
    return declare(name=v.string(), size=v.string())


def a_literal_that_not_all_have() -> Any:
    return declare(name=v.literal("a"), size=v.int64())


REFUSED: dict[Callable[[], Any], tuple[int, str]] = {
    a_new_required_field: (2, "object missing required field `note`"),
    a_field_less: (2, "object contains unknown field `size`"),
    another_name: (2, "object (contains unknown field `name`|missing required field `title`)"),
    another_type: (2, r"expected `str`, got `int` - at `\$\.size`"),
    a_literal_that_not_all_have: (1, r"invalid enum value 'b' - at `\$\.name`"),
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_a_change_that_does_not_fit_is_refused_and_changes_nothing(
    change: Callable[[], Any], filled: rdb.Database
) -> None:
    before = declare(**BEFORE)
    ids = filled.run(rdb.query(lambda ctx: [one.id for one in ctx.db.query(before)]))
    rows, ts = filled.sql(f"SELECT * FROM {TABLE} ORDER BY name").rows(), filled.ts
    changed = change()
    count, fault = REFUSED[change]
    for _ in range(2):
        says = (
            f"{count} of 2 documents of table '{TABLE}' do not fit its new definition, which was refused: .*{ids[-1]}: "
        )
        with pytest.raises(
            SchemaMismatchError, match=rf"{says}{fault}.*Give new fields a default, or change"
        ) as caught:
            found(filled, changed)
        assert caught.value.table == TABLE
        assert {id for id, _ in caught.value.offenders} <= set(ids)
        assert len(caught.value.offenders) == count
    assert filled.ts == ts
    assert filled.sql(f"SELECT * FROM {TABLE} ORDER BY name").rows() == rows
    assert found(filled, declare(**BEFORE)) == ROWS


def test_what_runs_by_the_old_class_goes_on(filled: rdb.Database) -> None:
    before = declare(**BEFORE)
    names = rdb.query(lambda ctx: [one.name for one in ctx.db.query(before)])
    handle = filled.live(names)
    refused = a_new_required_field()
    with pytest.raises(SchemaMismatchError):
        found(filled, refused)
    put(filled, before, {"name": "c", "size": 3})
    assert (handle.status, handle.value) == ("current", ["a", "b", "c"])


def test_only_the_first_offenders_are_named(open_db: Open) -> None:
    db = open_db()
    put(db, declare(size=v.int64()), *({"size": at} for at in range(8)))
    with pytest.raises(SchemaMismatchError, match="8 of 8 documents") as caught:
        found(db, declare(size=v.string()))
    assert len(caught.value.offenders) == 5


def test_after_the_documents_are_changed_the_class_fits(filled: rdb.Database) -> None:
    changed = a_literal_that_not_all_have()
    with pytest.raises(SchemaMismatchError):
        found(filled, changed)
    before = declare(**BEFORE)

    def mend(ctx: rdb.MutationCtx) -> None:
        for one in ctx.db.query(before).filter(lambda one: one.name == "b"):
            ctx.db.delete(one.id)

    filled.run(rdb.mutation(mend))
    assert found(filled, a_literal_that_not_all_have()) == ROWS[:1]


def test_ids_that_are_to_be_of_another_table_are_refused(open_db: Open) -> None:
    db = open_db()
    people, pets = (
        rdb.table("schema_changes_people", name=v.string()),
        rdb.table("schema_changes_pets", name=v.string()),
    )
    (person,), _ = put(db, people, {"name": "ada"}), put(db, pets, {"name": "rex"})
    put(db, declare(owner=v.id("schema_changes_people")), {"owner": person})
    with pytest.raises(SchemaMismatchError, match="is no id of table 'schema_changes_pets'"):
        found(db, declare(owner=v.id("schema_changes_pets")))
    assert found(db, declare(owner=v.nullable(v.id("schema_changes_people")))) == [{"owner": person}]


def test_the_new_rules_hold_from_then_on(filled: rdb.Database) -> None:
    changed = a_literal_that_all_documents_have()
    found(filled, changed)
    with pytest.raises(DocumentError, match="invalid enum value 'z'"):
        put(filled, changed, {"name": "z", "size": 1})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: declare({"by_nothing": ["nothing"]}, **BEFORE), "names 'nothing', which is no field"),
        (lambda: declare(**BEFORE, more=3), "expected a validator"),
    ],
)
def test_a_class_that_cannot_be_leaves_the_old_one_in_force(
    change: Callable[[], Any], says: str, filled: rdb.Database
) -> None:
    before = declare(**BEFORE)
    with pytest.raises(SchemaError, match=says):
        change()
    put(filled, before, {"name": "c", "size": 3})
    assert len(found(filled, before)) == 3


def test_a_table_whose_class_is_not_declared_here_is_named(open_db: Open, tmp_path: Path) -> None:
    path = tmp_path / "course.rdb"
    db = open_db(path)
    (id,) = put(db, rdb.table("schema_changes_gone", a=v.int64()), {"a": 1})
    db.close()
    db = open_db(path)
    rdb.model.documents._declared.pop("schema_changes_gone")  # as in another process
    with pytest.raises(
        SchemaError, match=r"no document class for table 'schema_changes_gone' is declared here\. Run the cell"
    ):
        db.run(rdb.query(lambda ctx: ctx.db.get(id)))
    assert db.sql("SELECT a FROM schema_changes_gone").fetchall() == [(1,)]
