"""Bad input, end to end: each has one clear error, with the place and the remedy, and leaves nothing behind.

The tests beside each module look at their part in depth; this table is what a user can do wrong from a cell.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db import errors


class City(rdb.Object):
    name: str
    zips: list[str]


class Person(rdb.Document, table="bad_input_people", indexes={"by_score": ["score"]}):
    name: str
    score: float = 0.0
    age: int = 0
    city: City | None = None
    tags: list[str] = []
    extra: Any = None


class Pet(rdb.Document, table="bad_input_pets"):
    owner: rdb.Id[Person]


@rdb.mutation
def add(ctx: rdb.MutationCtx, fields: dict[str, Any]) -> rdb.Id[Person]:
    ctx.db.insert(Person("written before the fault"))
    return ctx.db.insert(Person(**fields))


@rdb.mutation
def add_pet(ctx: rdb.MutationCtx, owner: Any) -> None:
    ctx.db.insert(Pet(owner))


@rdb.query
def people(ctx: rdb.QueryCtx) -> list[Person]:
    return ctx.db.query(Person).collect()


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


FAULTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("wrong type", {"name": 1}, "$.name", "expected `str`, got `int`"),
    ("wrong type, nested", {"name": "a", "city": {"name": 1, "zips": []}}, "$.city.name", "expected `str`, got `int`"),
    ("wrong type, deep", {"name": "a", "city": {"name": "b", "zips": ["1", 2]}}, "$.city.zips[1]", "got `int`"),
    ("missing, nested", {"name": "a", "city": {"name": "b"}}, "$.city", "zips"),
    ("unknown, nested", {"name": "a", "city": {"name": "b", "zips": [], "x": 1}}, "$.city", "`x`"),
    ("int outside 64 bits", {"name": "a", "age": 2**63}, "$.age", "64"),
    ("lone surrogate", {"name": "\ud800"}, "$.name", "surrogate"),
    ("cyclic", {"name": "a", "extra": cyclic()}, "$", "nested"),
    ("nested too deep", {"name": "a", "extra": nested(40)}, "$.extra", "16"),
    ("more than 1 MiB", {"name": "x" * 2**20}, "$", "1,048,576"),
    ("no value at all", {"name": "a", "extra": object()}, "$", "object"),
]


@pytest.mark.parametrize(("fields", "path", "words"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_a_document_that_does_not_fit_is_refused_with_its_path_and_leaves_nothing(
    db: rdb.Database, fields: dict[str, Any], path: str, words: str
) -> None:
    db.run(people)
    before = db.ts

    with pytest.raises((errors.DocumentError, errors.ArgumentError)) as raised:
        db.run(add, fields)

    assert words in raised.value.message
    assert path in raised.value.message
    assert db.ts == before
    assert db.run(people) == []
    assert len(db.sql("SELECT * FROM bad_input_people")) == 0


def test_an_unknown_field_is_refused(db: rdb.Database) -> None:
    with pytest.raises(errors.DocumentError, match="unknown field `nmae`"):
        db.load(Person, [{"nmae": "ada"}], progress=False)


def test_an_unknown_table_is_named_beside_those_there_are(db: rdb.Database) -> None:
    db.run(people)

    with pytest.raises(errors.SqlError, match="peeple"):
        db.sql("SELECT * FROM peeple")


def test_an_id_of_another_table_is_refused(db: rdb.Database) -> None:
    person = db.run(add, {"name": "ada"})
    db.run(add_pet, person)
    pet = db.sql("SELECT _id FROM bad_input_pets").fetchall()[0][0]

    with pytest.raises(errors.DocumentError, match=r"bad_input_people.*`\$\.owner`"):
        db.run(add_pet, pet)


def test_a_query_that_reads_100_000_documents_meets_its_limit(db: rdb.Database) -> None:
    db.load(Person, ({"name": str(n)} for n in range(100_000)), progress=False)

    with pytest.raises(errors.LimitError, match=r"32,000 documents \(documents_read_max\)") as raised:
        db.run(people)

    assert raised.value.limit == "documents_read_max"
    assert db.sql("SELECT count(*) FROM bad_input_people").fetchall() == [(100_000,)]


def test_nan_and_minus_zero_are_index_keys_with_a_place_in_the_order(db: rdb.Database) -> None:
    scores = [math.nan, 0.0, -0.0, -1.0, math.inf, -math.inf]
    db.load(Person, [{"name": repr(score), "score": score} for score in scores], progress=False)

    @rdb.query
    def in_order(ctx: rdb.QueryCtx) -> list[str]:
        return [person.name for person in ctx.db.query(Person).with_index("by_score")]

    @rdb.query
    def equal_to(ctx: rdb.QueryCtx, score: float) -> list[str]:
        return [person.name for person in ctx.db.query(Person).with_index("by_score", score=score)]

    assert db.run(in_order) == ["-inf", "-1.0", "-0.0", "0.0", "inf", "nan"]
    assert [db.run(equal_to, score) for score in (math.nan, -0.0, 0.0)] == [["nan"], ["-0.0"], ["0.0"]]


def test_a_query_that_writes_is_refused(db: rdb.Database) -> None:
    @rdb.query
    def sneaky(ctx: rdb.QueryCtx) -> None:
        rdb.DatabaseWriter(ctx.db._store, ctx.transaction).insert(Person("ada"))

    with pytest.raises(errors.ReadOnlyError, match="make it a mutation"):
        db.run(sneaky)

    assert db.run(people) == []


@pytest.mark.parametrize("kind", [rdb.query, rdb.mutation])
def test_a_function_that_never_ends_is_stopped(open_db: Any, kind: Callable[..., Any]) -> None:
    db = open_db(limits=rdb.Limits(function_seconds=0.2))

    def endless(ctx: rdb.QueryCtx) -> None:
        while True:
            pass

    with pytest.raises(errors.FunctionTimeoutError, match=r"0\.2 s"):
        db.run(kind(endless))

    assert db.run(people) == []


def test_an_observer_that_raises_harms_nobody(db: rdb.Database, caplog: pytest.LogCaptureFixture) -> None:
    handle, other, seen = db.live(people), db.live(people), []
    handle.observe(lambda change: 1 / 0, "value")
    handle.observe(lambda change: seen.append("same handle"), "value")
    other.observe(lambda change: seen.append("other handle"), "value")

    with caplog.at_level(logging.ERROR):
        db.run(add, {"name": "ada"})

    assert sorted(seen) == ["other handle", "same handle"]
    assert len(handle.value) == 2
    assert "ZeroDivisionError" in caplog.text


def test_a_store_of_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    rdb.connect(tmp_path / "new.rdb").close()
    (tmp_path / "new.rdb" / "format.json").write_text(json.dumps({"format": 99}))
    before = contents(tmp_path)

    with pytest.raises(errors.StoreFormatError, match="99"):
        rdb.connect(tmp_path / "new.rdb")

    assert contents(tmp_path) == before


def test_a_directory_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "shopping.txt").write_text("milk")
    before = contents(tmp_path)

    with pytest.raises(errors.NotAStoreError, match="notes"):
        rdb.connect(tmp_path / "notes")

    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
