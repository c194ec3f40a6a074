"""Document classes: what a declaration gives, and every declaration that is refused."""

from __future__ import annotations

import types
from typing import Any, get_args

import pytest

import reactive_db as rdb
from reactive_db import limits
from reactive_db.errors import SchemaError
from reactive_db.model.codec import target_table
from reactive_db.model.documents import (
    Document,
    current_document,
    declarations,
    declared_document,
    declared_documents,
    table_of,
)


class Point(rdb.Object):
    x: float
    y: float = 0.0


class Place(rdb.Document, table="documents_places", indexes={"by_name": ["name"], "by_x": ["at.x", "name"]}):
    name: str
    at: Point = Point(0.0)
    tags: list[str] = []


def declare(table: Any = "documents_trial", indexes: Any = None, **fields: Any) -> type[Document]:
    """What a `class` statement does, with names that no class statement could have."""
    namespace = {"__annotations__": fields, "__module__": __name__}
    made: Any = type(Document)("Trial", (Document,), namespace, table=table, indexes=indexes)
    return made  # type: ignore[no-any-return]


# --- what a declaration gives ----------------------------------------------------------------------------------------


def test_a_document_has_its_fields_and_the_two_system_fields() -> None:
    place = Place("Oslo", Point(1.0))
    assert (place.name, place.at, place.tags) == ("Oslo", Point(1.0, 0.0), [])
    assert (place.id, place.creation_time) == (None, None)
    assert Place(name="Oslo", at=Point(x=1.0)) == place


def test_a_document_never_changes() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        Place("Oslo").name = "Bergen"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="immutable"):
        Point(1.0).x = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Place(), "name"),  # type: ignore[call-arg]
        (lambda: Place("Oslo", nmae="x"), "nmae"),  # type: ignore[call-arg]
        (lambda: Place("Oslo", Point(1.0), [], 3), "positional"),  # type: ignore[call-arg]
    ],
)
def test_a_constructor_knows_its_fields(make: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        make()


def test_a_declaration_knows_its_table_and_its_indexes() -> None:
    assert table_of(Place) == "documents_places"
    assert Place.__indexes__ == {"by_name": ("name",), "by_x": ("at.x", "name")}


def test_the_latest_declaration_of_a_table_counts() -> None:
    before = declarations()
    first = declare("documents_again", a=int)
    second = declare("documents_again", b=int)
    assert current_document(first) is current_document(second) is second
    assert declared_document("documents_again") is second
    assert second in declared_documents()
    assert first not in declared_documents()
    assert declarations() == before + 2


def test_a_document_class_is_found_by_its_table_or_its_name() -> None:
    assert declared_document("documents_places") is Place
    assert declared_document("Place") is Place
    assert declared_document("NoSuchPlace") is None


NEIGHBOUR = """
import reactive_db as rdb

class Street(rdb.Document, table="{module}_streets"):
    name: str

class House(rdb.Document, table="{module}_houses"):
    street: rdb.Id["Street"]
"""


def test_a_name_means_the_class_of_the_module_that_says_it() -> None:
    modules = [types.ModuleType(name) for name in ("documents_north", "documents_south")]
    for module in modules:
        source = NEIGHBOUR.format(module=module.__name__)
        exec(compile(source, module.__name__, "exec", dont_inherit=True), vars(module))
    for module in modules:
        (target,) = get_args(module.House.__annotations__["street"])
        assert target_table(target) == f"{module.__name__}_streets"
        assert declared_document("Street", module.__name__) is module.Street
    assert declared_document("Street", "elsewhere") is modules[-1].Street


def test_a_class_without_a_table_may_be_a_base_for_others() -> None:
    class Named(rdb.Document):
        label: str

    class City(Named, table="documents_cities", indexes={"by_label": ["label"]}):
        size: int = 0

    assert City("Oslo", 7).label == "Oslo"
    assert table_of(City) == "documents_cities"
    with pytest.raises(SchemaError, match="'Named' has no table"):
        table_of(Named)


@pytest.mark.parametrize("thing", ["documents_places", None, 3, int, Place("Oslo"), Point])
def test_what_is_no_document_class_has_no_table(thing: Any) -> None:
    with pytest.raises(SchemaError, match="expected a document class, got"):
        table_of(thing)


# --- what is refused -------------------------------------------------------------------------------------------------

LONG = "a" * (limits.NAME_LENGTH_MAX + 1)


@pytest.mark.parametrize("table", ["", "1a", "a b", "a-b", "_tables", "_mine", "größe", "a.b", LONG, 3, b"a"])
def test_a_table_needs_a_name(table: Any) -> None:
    with pytest.raises(SchemaError, match="names begin with a letter"):
        declare(table, a=int)


@pytest.mark.parametrize("field", ["_a", "größe", LONG])
def test_a_field_needs_a_name(field: str) -> None:
    with pytest.raises(SchemaError, match="names begin with a letter"):
        declare(**{field: int})


@pytest.mark.parametrize("field", ["id", "creation_time"])
def test_a_system_field_cannot_be_declared(field: str) -> None:
    with pytest.raises(SchemaError, match=f"declares '{field}', which every document has"):
        declare(**{field: int})


@pytest.mark.parametrize(
    ("indexes", "says"),
    [
        (["a"], "indexes are a dict"),
        ("by_a", "indexes are a dict"),
        ({"by_c": ["c"]}, "names 'c', which is no field. Fields: a, b"),
        ({"by_a": ["a", "a"]}, "names a field twice"),
        ({"by_a": ["a"], "again": ["a"]}, "has the same fields as 'by_a'"),
        ({"by_a": "a"}, "needs a list of 1 to 16 field names"),
        ({"by_a": []}, "needs a list of 1 to 16 field names"),
        ({"by_a": ["a"] * 17}, "needs a list of 1 to 16 field names"),
        ({"by_id": ["a"]}, "a name that every table has already"),
        ({"by_creation_time": ["a"]}, "a name that every table has already"),
        ({"_by_a": ["a"]}, "names begin with a letter"),
        ({"by a": ["a"]}, "names begin with a letter"),
        ({LONG: ["a"]}, "names begin with a letter"),
        ({3: ["a"]}, "names begin with a letter"),
        ({"by_a": ["creation_time"]}, "creation time and id end every index already"),
        ({"by_a": ["a", "id"]}, "creation time and id end every index already"),
        ({"by_a": ["_id"]}, "creation time and id end every index already"),
        ({f"by_{at}": ["a"] for at in range(33)}, "has 33 indexes; at most 32"),
    ],
)
def test_an_index_follows_the_rules(indexes: Any, says: str) -> None:
    before = declarations()
    with pytest.raises(SchemaError, match=says):
        declare(indexes=indexes, a=int, b=int)
    assert declarations() == before


def test_a_refused_declaration_leaves_the_earlier_one() -> None:
    kept = declare("documents_kept", a=int)
    with pytest.raises(SchemaError):
        declare("documents_kept", {"by_b": ["b"]}, a=int)
    assert declared_document("documents_kept") is kept
