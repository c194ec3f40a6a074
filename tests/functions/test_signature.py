# No `from __future__ import annotations` here: some annotations below are objects on purpose.
"""Signatures: arguments and results against the annotations, strictly, with the path of the fault."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pandas as pd
import pytest

import reactive_db as rdb
from reactive_db.errors import ArgumentError, FunctionError, ReturnError
from reactive_db.functions.signature import Signature
from reactive_db.model.codec import Converter
from reactive_db.model.ids import RANDOM_BYTES, Id, new_id

NUMBERS = {"signature_notes": 10_001, "signature_authors": 10_002}
CONVERTER = Converter(NUMBERS.get)
NOTE, AUTHOR = (new_id(number, bytes(RANDOM_BYTES), 0.0) for number in NUMBERS.values())
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


class SignedNote(rdb.Document, table="signature_notes"):
    text: str


class Author(rdb.Document, table="signature_authors"):
    name: str


class Point(rdb.Object):
    x: float
    y: float = 0.0


class Colour(Enum):
    RED = "red"


def accepts(annotation: Any) -> Signature:
    def function(ctx: Any, it: Any) -> None: ...

    function.__annotations__["it"] = annotation
    return Signature(function, "query")


def returns(annotation: Any) -> Signature:
    def function(ctx: Any) -> Any: ...

    function.__annotations__["return"] = annotation
    return Signature(function, "query")


def bound(annotation: Any, value: Any) -> Any:
    return accepts(annotation).bind((value,), {}, CONVERTER).it  # type: ignore[attr-defined]


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "value", "made"),
    [
        (str, "a", "a"),
        (int, 3, 3),
        (float, 3, 3.0),
        (int | None, None, None),
        (datetime, NOON, NOON),
        (date, date(2024, 5, 1), date(2024, 5, 1)),
        (Decimal, Decimal("1.5"), Decimal("1.5")),
        (Literal["a", "b"], "b", "b"),
        (Colour, Colour.RED, Colour.RED),
        (Colour, "red", Colour.RED),
        (list[int], (1, 2), [1, 2]),
        (dict[str, list[int]], {"a": [1]}, {"a": [1]}),
        (Point, Point(1.0), Point(1.0)),
        (Point, {"x": 1}, Point(1.0)),
        (Id[SignedNote], NOTE, NOTE),
        (Id[SignedNote], str(NOTE), NOTE),
        (Id["SignedNote"], NOTE, NOTE),
        (Id["signature_notes"], NOTE, NOTE),
        (Id[SignedNote] | Id[Author], AUTHOR, AUTHOR),
        (list[int] | list[str], ["a"], ["a"]),
        (str | bytes, b"a", b"a"),
        (Any, {"a": [1, None]}, {"a": [1, None]}),
        (int, np.int64(3), 3),
        (float, np.float32(1.5), 1.5),
        (list[float], np.array([1.5]), [1.5]),
        (datetime, pd.Timestamp("2024-05-01T12:00", tz="UTC"), NOON),
    ],
)
def test_an_argument_fits_its_annotation(annotation: Any, value: Any, made: Any) -> None:
    found = bound(annotation, value)
    assert (found, type(found)) == (made, type(made))


@pytest.mark.parametrize(
    ("annotation", "value", "says"),
    [
        (str, 3, r"expected `str`, got `int` at `\$\.it`"),
        (int, "3", r"expected `int`, got `str` at `\$\.it`"),
        (int, True, r"expected `int`, got `bool` at `\$\.it`"),
        (list[dict[str, int]], [{"a": 1}, {"b c": "1"}], r'expected `int`, got `str` at `\$\.it\[1\]\["b c"\]`'),
        (Point, {"x": 1.0, "z": 1.0}, r"unknown field `z` at `\$\.it`"),
        (Colour, "blue", r"invalid enum value 'blue' at `\$\.it`"),
        (
            Id[SignedNote],
            AUTHOR,
            r"is no id of table 'signature_notes': it belongs to another table or store at `\$\.it`",
        ),
        (Id["SignedNote"], AUTHOR, "is no id of table 'signature_notes'"),
        (Id[SignedNote], "abc", r"'abc' is no id: an id has 32 characters, this has 3 at `\$\.it`"),
        (Id[SignedNote] | Id[Author], "abc", "no member of the union fits"),
        (list[int] | list[str], [1, "a"], "no member of the union fits"),
        (int, object(), r"`object` is not a type of value; .* at `\$\.it`"),
        (datetime, "2024-05-01T12:00Z", r"expected `datetime`, got `str` at `\$\.it`"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused_with_its_path(annotation: Any, value: Any, says: str) -> None:
    with pytest.raises(ArgumentError, match=rf"query '.*function': .*{says}"):
        bound(annotation, value)


def greet(ctx: rdb.QueryCtx, name: str, times: int = 1, *, loud: bool = False) -> str:
    return name


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ((), {}, r"argument 'name' is missing\. Its parameters: name, times, loud"),
        (("a", 1, True), {}, r"takes 2 positional arguments, got 3\. Its parameters: name, times, loud"),
        (("a",), {"name": "b"}, "got 'name' twice"),
        (("a",), {"nmae": "b"}, r"unknown argument 'nmae'\. Its parameters: name, times, loud"),
        (("a",), {"ctx": "b"}, "unknown argument 'ctx'"),
    ],
)
def test_the_names_of_arguments_are_checked(args: Any, kwargs: Any, says: str) -> None:
    with pytest.raises(ArgumentError, match=f"query 'greet'.*{says}"):
        Signature(greet, "query").bind(args, kwargs, CONVERTER)


def test_defaults_are_filled_in() -> None:
    made: Any = Signature(greet, "query").bind(("a",), {"loud": True}, CONVERTER)
    assert (made.name, made.times, made.loud) == ("a", 1, True)


def test_what_is_not_annotated_is_not_checked() -> None:
    def function(ctx, it): ...  # type: ignore[no-untyped-def]

    made: Any = Signature(function, "query").bind((object,), {}, CONVERTER)
    assert made.it is object


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda: None, r"takes no parameter\. Its first one is the context"),
        (lambda ctx, *args: None, "parameter 'args' has no name that callers can use"),
        (lambda ctx, **more: None, "parameter 'more' has no name that callers can use"),
        (lambda ctx, it, /: None, "parameter 'it' has no name that callers can use"),
    ],
)
def test_every_parameter_needs_a_name(function: Callable[..., Any], says: str) -> None:
    with pytest.raises(FunctionError, match=says):
        Signature(function, "query")


@pytest.mark.parametrize("annotation", ["Nowhere", "list[Nowhere]", Annotated[int, msgspec.Meta(min_length=1)]])
def test_an_annotation_that_nothing_can_be_checked_against_is_named(annotation: Any) -> None:
    signature = accepts(annotation)
    with pytest.raises(FunctionError, match="an annotation cannot be used: "):
        signature.bind((1,), {}, CONVERTER)


# --- keys ------------------------------------------------------------------------------------------------------------


def key(value: Any) -> bytes:
    signature = accepts(Any)
    return signature.key(signature.bind((value,), {}, CONVERTER))


def test_equal_arguments_have_equal_keys() -> None:
    assert key([1, {"a": NOON}]) == key([1, {"a": NOON}])
    assert len({key(value) for value in (1, 1.0, True, "1", None, [1], {"1": 1})}) == 7


def test_a_key_gives_the_arguments_again() -> None:
    signature = accepts(list[Point])
    arguments = signature.bind(([Point(1.0)],), {}, CONVERTER)
    assert signature.unkey(signature.key(arguments), CONVERTER) == arguments


CYCLIC: list[Any] = []
CYCLIC.append(CYCLIC)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), r"`object` is not a type of value; .* at `\$\.it`"),
        (2**70, r"an int of 71 bits does not fit into int64.* at `\$\.it`"),
        ([{"a": "\ud800"}], r"lone surrogate.* at `\$\.it\[0\]\.a`"),
        (CYCLIC, "nested too deep"),
    ],
)
def test_arguments_of_queries_are_values(value: Any, says: str) -> None:
    with pytest.raises(ArgumentError, match=rf"{says}.*\. Arguments of queries are values"):
        key(value)


# --- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "value", "made"),
    [
        (None, None, None),
        (int, 3, 3),
        (list[SignedNote], [SignedNote("a")], [SignedNote("a")]),
        (Sequence[SignedNote], [SignedNote("a")], [SignedNote("a")]),
        (SignedNote | None, None, None),
        (SignedNote | Author | None, Author("ada"), Author("ada")),
        (list[SignedNote | Author], [Author("ada"), SignedNote("a")], [Author("ada"), SignedNote("a")]),
        (list[SignedNote] | list[Author], [Author("ada")], [Author("ada")]),
        (dict[str, SignedNote], {"a": SignedNote("a")}, {"a": SignedNote("a")}),
        (tuple[SignedNote, int], (SignedNote("a"), 3), (SignedNote("a"), 3)),
        (rdb.Page[SignedNote], rdb.Page([SignedNote("a")], "", True), rdb.Page([SignedNote("a")], "", True)),
        (Id[SignedNote], NOTE, NOTE),
        (float, np.float64(1.5), 1.5),
        (list[int], [np.int64(1)], [1]),
        (Any, ..., ...),
    ],
)
def test_a_result_fits_its_annotation(annotation: Any, value: Any, made: Any) -> None:
    found = returns(annotation).check_return(value, CONVERTER)
    assert (found, type(found)) == (made, type(made))


def test_a_data_frame_or_an_array_may_be_a_result() -> None:
    frame = pd.DataFrame({"a": [1]})
    assert returns(pd.DataFrame).check_return(frame, CONVERTER) is frame
    array = np.array([1])
    assert returns(np.ndarray).check_return(array, CONVERTER) is array


@pytest.mark.parametrize(
    ("annotation", "value", "says"),
    [
        (None, 3, r"expected `null`, got `int` at `\$`"),
        (int, "3", r"expected `int`, got `str` at `\$`"),
        (list[SignedNote], [SignedNote("a"), 3], r"expected `object`, got `int` at `\$\[1\]`"),
        (list[SignedNote], None, r"expected `array`, got `null` at `\$`"),
        (SignedNote, Author("ada"), r"expected `object`, got `Author` at `\$`"),
        (Id[SignedNote], AUTHOR, r"is no id of table 'signature_notes'.* at `\$`"),
        (dict[str, int], {"a b": "1"}, r'expected `int`, got `str` at `\$\["a b"\]`'),
        (pd.DataFrame, [1], r"expected `DataFrame`, got `list` at `\$`"),
    ],
)
def test_a_result_that_does_not_fit_is_refused_with_its_path(annotation: Any, value: Any, says: str) -> None:
    with pytest.raises(ReturnError, match=rf"query '.*function' returned a wrong value: .*{says}"):
        returns(annotation).check_return(value, CONVERTER)


def generated() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("annotation", [Any, Iterator[int], list[int]])
def test_a_result_that_would_read_later_is_refused(annotation: Any) -> None:
    with pytest.raises(ReturnError, match="returned a `generator`, which would read only after the function has ended"):
        returns(annotation).check_return(generated(), CONVERTER)


def test_a_query_that_forgets_to_collect_is_told_so(db: rdb.Database) -> None:
    with pytest.raises(ReturnError, match=r"returned a `TableQuery`.*`\.collect\(\)`"):
        db.run(rdb.query(lambda ctx: ctx.db.query(SignedNote)))


def test_a_mutation_that_returns_a_wrong_type_writes_nothing(db: rdb.Database) -> None:
    @rdb.mutation
    def add(ctx: rdb.MutationCtx) -> Id[SignedNote]:
        ctx.db.insert(SignedNote("a"))
        return "abc"  # type: ignore[return-value]

    with pytest.raises(ReturnError, match="'abc' is no id"):
        db.run(add)
    assert db.run(rdb.query(lambda ctx: ctx.db.query(SignedNote).count())) == 0


# --- classes in local scope, and classes that are declared anew ------------------------------------------------------


def test_classes_in_local_scope_are_known(db: rdb.Database) -> None:
    class Local(rdb.Document, table="signature_local"):
        name: str
        parent: Id["Local"] | None = None

    @rdb.mutation
    def add(ctx: rdb.MutationCtx, parent: Id[Local] | None = None) -> Id[Local]:
        return ctx.db.insert(Local("a", parent))

    @rdb.query
    def everything(ctx: rdb.QueryCtx) -> list[Local]:
        return ctx.db.query(Local).collect()

    first = db.run(add)
    second = db.run(add, first)
    assert [(one.id, one.parent) for one in db.run(everything)] == [(first, None), (second, first)]
    with pytest.raises(ArgumentError, match="is no id"):
        db.run(add, "abc")  # type: ignore[arg-type]


def test_a_document_of_a_class_that_was_declared_anew_is_taken(db: rdb.Database) -> None:
    def declare() -> Any:
        class Again(rdb.Document, table="signature_again"):
            name: str

        return Again

    first = declare()

    @rdb.mutation
    def add(ctx: rdb.MutationCtx, document: first) -> Any:  # type: ignore[valid-type]
        return ctx.db.get(ctx.db.insert(document))

    assert type(db.run(add, first(name="a"))) is first
    second = declare()
    assert type(db.run(add, first(name="a"))) is second
    assert type(db.run(add, second(name="a"))) is second


def test_a_function_is_checked_by_the_classes_of_now(db: rdb.Database) -> None:
    """Only the class's cell runs again; the function's own annotations still name the old class."""
    namespace: dict[str, Any] = {"rdb": rdb, "__name__": __name__}
    declare = "class Redone(rdb.Document, table='signature_redone'):\n    name: str"
    exec(declare, namespace)
    exec("def redone(ctx) -> list[Redone]: return ctx.db.query(Redone).collect()", namespace)
    exec("def redo(ctx, it: Redone) -> Redone: return ctx.db.get(ctx.db.insert(it))", namespace)
    redone, redo = rdb.query(namespace["redone"]), rdb.mutation(namespace["redo"])
    db.run(redo, namespace["Redone"]("a"))
    assert len(db.run(redone)) == 1
    old = namespace["Redone"]
    exec(declare + "\n    more: int = 7", namespace)
    assert [one.more for one in db.run(redone)] == [7]
    assert db.run(redo, namespace["Redone"]("b", 8)).more == 8
    assert db.run(redo, old("c")).more == 7
