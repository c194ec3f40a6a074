"""Layouts: which column each annotation becomes, and which annotations no document can have."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Optional, TypedDict

import msgspec
import numpy as np
import pytest

import reactive_db as rdb
from reactive_db.errors import SchemaError
from reactive_db.model.layout import ColumnType, has_ids_as_keys, layout_of


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


class Point(rdb.Object):
    x: float
    y: float = 0.0


class Circle(rdb.Object, tag="circle"):
    r: float


class Square(rdb.Object, tag="square"):
    a: float


class Tree(rdb.Object):
    branches: list[Tree] = []


class Empty(rdb.Object):
    pass


STRING, INT64, FLOAT64, JSON = (ColumnType(kind) for kind in ("string", "int64", "float64", "json"))
POINT = ColumnType("object", fields={"x": FLOAT64, "y": FLOAT64})


def declare(annotation: Any) -> type[rdb.Document]:
    namespace = {"__annotations__": {"it": annotation}, "__module__": __name__}
    made: Any = type(rdb.Document)("Trial", (rdb.Document,), namespace, table="layout_trial")
    return made  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("annotation", "column"),
    [
        (str, STRING),
        (int, INT64),
        (float, FLOAT64),
        (bool, ColumnType("boolean")),
        (bytes, ColumnType("bytes")),
        (datetime, ColumnType("datetime")),
        (date, ColumnType("date")),
        (Decimal, ColumnType("decimal")),
        (rdb.Id["anything"], ColumnType("id")),
        (Any, JSON),
        (None, JSON),
        (int | None, INT64),
        (Optional[str], STRING),  # noqa: UP045  # the older spelling is the same
        (int | msgspec.UnsetType, INT64),
        (int | str, JSON),
        (int | float, JSON),
        (Literal["a", "b"], STRING),
        (Literal[1, 2], INT64),
        (Literal["a", 1], JSON),
        (Literal["a", None], STRING),
        (Colour, STRING),
        (Level, INT64),
        (Colour | None, STRING),
        (list[int], ColumnType("array", item=INT64)),
        (list[list[str] | None], ColumnType("array", item=ColumnType("array", item=STRING))),
        (list, ColumnType("array", item=JSON)),
        (Sequence[int], ColumnType("array", item=INT64)),
        (dict[str, float], ColumnType("record", item=FLOAT64)),
        (Mapping[str, int], ColumnType("record", item=INT64)),
        (dict[rdb.Id["a"], int], ColumnType("record", item=INT64)),  # type: ignore[type-arg,name-defined]  # noqa: F821
        (Point, POINT),
        (list[Point], ColumnType("array", item=POINT)),
        (Point | None, POINT),
        (Circle | Square, JSON),
        (Circle, JSON),
        (Empty, JSON),
        (Tree, ColumnType("object", fields={"branches": ColumnType("array", item=JSON)})),
        (Annotated[int, msgspec.Meta(ge=0)], INT64),
    ],
)
def test_an_annotation_becomes_a_column(annotation: Any, column: ColumnType) -> None:
    layout = layout_of(declare(annotation), 10_001, "layout_trial")
    assert (layout.number, layout.name) == (10_001, "layout_trial")
    assert layout.columns == {"it": column}


def test_class_variables_are_no_columns() -> None:
    assert layout_of(declare(ClassVar[int]), 1, "layout_trial").columns == {}


class Pair(NamedTuple):
    a: int


class Typed(TypedDict):
    a: int


@dataclass
class Data:
    a: int


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (complex, "complex"),
        (object, "object"),
        (set[int], "set"),
        (frozenset[int], "frozenset"),
        (tuple[int, str], "tuple"),
        (timedelta, "timedelta"),
        (time, "time"),
        (np.ndarray, "ndarray"),
        (Pair, "namedtuple"),
        (Typed, "typeddict"),
        (Data, "dataclass"),
        (bytearray, "bytearray"),
        (list[set[int]], "set"),
        (dict[str, complex], "complex"),
    ],
)
def test_what_no_document_can_hold_is_refused_with_what_it_can(annotation: Any, kind: str) -> None:
    with pytest.raises(SchemaError, match=rf"layout_trial\.it.*: a document cannot hold a {kind}\. Use str, int"):
        layout_of(declare(annotation), 1, "layout_trial")


@pytest.mark.parametrize("annotation", [dict[int, str], dict, dict[bytes, int]])
def test_the_keys_of_a_record_are_strings(annotation: Any) -> None:
    with pytest.raises(SchemaError, match=r"the keys of a record are strings\. Annotate it as `dict\[str, …\]`"):
        layout_of(declare(annotation), 1, "layout_trial")


@pytest.mark.parametrize("annotation", [str | bytes, rdb.Id["a"] | str, Point | Empty, list[int] | list[str]])
def test_a_union_that_a_class_cannot_have_names_the_way_out(annotation: Any) -> None:
    with pytest.raises(SchemaError, match=r"table 'layout_trial': .*is not supported.*rdb\.v\.union"):
        layout_of(declare(annotation), 1, "layout_trial")


def test_an_enum_has_values_of_one_kind() -> None:
    with pytest.raises(SchemaError, match="either all str or all int values"):
        layout_of(declare(Mixed), 1, "layout_trial")


def test_a_name_that_was_never_declared_is_named() -> None:
    with pytest.raises(SchemaError, match=r"name 'Nowhere' is not defined.* before the table is first used"):
        layout_of(declare("Nowhere | None"), 1, "layout_trial")


@pytest.mark.parametrize(
    ("annotation", "has_them"),
    [
        (dict[str, int], False),
        (dict[rdb.Id["a"], int], True),  # type: ignore[type-arg,name-defined]  # noqa: F821
        (list[dict[rdb.Id["a"], int] | None], True),  # type: ignore[type-arg,name-defined]  # noqa: F821
        (Tree, False),
        (rdb.Id["a"], False),
    ],
)
def test_records_with_ids_as_keys_are_known(annotation: Any, has_them: bool) -> None:
    assert has_ids_as_keys(declare(annotation)) == has_them
