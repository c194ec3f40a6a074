"""A model of a store for `tests/test_oracle.py`: lists of dicts, read by sorting and filtering all of them.

Knows nothing of key encodings, indexes, snapshots or subscriptions; that is its whole use.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Plain = dict[str, Any]
Spec = Mapping[str, Any]
"""One read: `index`, `equal` (values of its first fields), `bound`, `order`, `filter`, `take` (see `answer`)."""

INDEXES: Final[dict[str, tuple[str, ...]]] = {
    "by_group": ("group",),
    "by_group_rank": ("group", "rank"),
    "by_note": ("note",),
    "by_weight": ("weight", "rank"),
    "by_city": ("place.city", "group"),
}
DEFAULTS: Final[Plain] = {"note": None, "weight": 1.5, "place": None, "labels": []}
"""Of the fields that the class gets over time."""

FILTERS: Final[dict[str, Callable[[Any], bool]]] = {
    "even rank": lambda rank: rank % 2 == 0,
    "any rank": lambda rank: True,
}

_ABSENT: Final = object()


@dataclass
class Model:
    """What a store holds."""

    things: dict[str, Plain] = field(default_factory=dict)
    tags: dict[str, Plain] = field(default_factory=dict)
    fields: set[str] = field(default_factory=set)
    """Of `DEFAULTS`, those that the class has."""
    indexes: set[str] = field(default_factory=set)
    version: int = 1
    """Of the function that is declared anew."""

    def copy(self) -> Model:
        return copy.deepcopy(self)

    def add_field(self, name: str) -> None:
        self.fields.add(name)
        for thing in self.things.values():
            thing[name] = copy.deepcopy(DEFAULTS[name])

    def whole(self, fields: Plain, id: str, creation_time: float) -> Plain:
        """A document with its defaults and its system fields."""
        defaults = {name: copy.deepcopy(DEFAULTS[name]) for name in self.fields}
        return {**defaults, **copy.deepcopy(fields), "_id": id, "_creationTime": creation_time}


def answer(model: Model, spec: Spec, page_end: Any = None) -> tuple[str, Any]:
    """What the read gives: `("value", …)`, or `("error", its class)`. `page_end` is what `page_end_of` once gave."""
    if spec["index"] not in model.indexes | {"by_creation_time"}:
        return "error", "QueryError"
    found = in_order(model, spec)
    if spec["take"] == "page":
        return "value", _page(found, spec, page_end)
    kept = [thing for thing in found if _passes(spec, thing)]
    match spec["take"]:
        case "all":
            return "value", kept
        case "first":
            return "value", kept[0] if kept else None
        case "unique":
            return ("error", "NotUniqueError") if len(kept) > 1 else ("value", kept[0] if kept else None)
        case "count":
            return "value", len(kept)
        case int(n):
            return "value", kept[:n]
    raise AssertionError(spec)


def in_order(model: Model, spec: Spec) -> list[Plain]:
    """Everything in the range of the index, along it."""
    fields = INDEXES.get(spec["index"], ())
    equal: list[Any] = spec["equal"]

    def is_inside(thing: Plain) -> bool:
        values = [order_of(value_at(thing, name)) for name in fields]
        if values[: len(equal)] != [order_of(value) for value in equal]:
            return False
        return spec["bound"] is None or _is_within(spec["bound"], values[len(equal)])

    found = [thing for thing in model.things.values() if is_inside(thing)]
    return sorted(found, key=lambda thing: key_of(thing, spec), reverse=spec["order"] == "desc")


def page_end_of(model: Model, spec: Spec) -> Any:
    """Where a page ends that is opened now: at a key, or nowhere."""
    kept = [thing for thing in in_order(model, spec) if _passes(spec, thing)]
    n = spec["n"]
    return key_of(kept[n - 1], spec) if len(kept) >= n else "open"


def key_of(thing: Plain, spec: Spec) -> tuple[Any, ...]:
    fields = INDEXES.get(spec["index"], ())
    return (*[order_of(value_at(thing, name)) for name in fields], thing["_creationTime"], thing["_id"])


def order_of(value: Any) -> tuple[int, Any]:
    """A place in Convex's order: first by type, then by value; a number and a float are of different types."""
    if value is _ABSENT:
        return 0, 0
    if value is None:
        return 1, 0
    if isinstance(value, float):
        # −0 comes before 0, though Python finds them equal.
        return 3, (value, str(value) != "-0.0")
    return (2 if isinstance(value, int) else 4), value


def value_at(thing: Plain, path: str) -> Any:
    value: Any = thing
    for part in path.split("."):
        value = value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value


def totals(model: Model) -> list[tuple[Any, ...]]:
    """`SELECT "group", count(*), sum(rank) … GROUP BY "group"`."""
    groups: dict[str, list[int]] = {}
    for thing in model.things.values():
        groups.setdefault(thing["group"], []).append(thing["rank"])
    return [(group, len(ranks), sum(ranks)) for group, ranks in sorted(groups.items())]


def labels(model: Model) -> list[tuple[Any, ...]]:
    """`SELECT "group", label … FROM tags JOIN things … ORDER BY ALL`."""
    pairs = [
        (model.things[tag["thing"]]["group"], tag["label"])
        for tag in model.tags.values()
        if tag["thing"] in model.things
    ]
    return sorted(pairs)


def canonical(value: Any) -> str:
    """Equal for values that nobody can tell apart, and only for these."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(canonical, value)) + "]"
    return repr(str(value)) if isinstance(value, str) else repr(value)


def _passes(spec: Spec, thing: Plain) -> bool:
    return spec["filter"] is None or FILTERS[spec["filter"]](thing["rank"])


def _page(found: list[Plain], spec: Spec, end: Any) -> Plain:
    if end is not None and end != "open":
        is_down = spec["order"] == "desc"
        found = [thing for thing in found if (key_of(thing, spec) >= end if is_down else key_of(thing, spec) <= end)]
    return {"items": [thing for thing in found if _passes(spec, thing)], "is_done": end == "open"}


def _is_within(bound: list[Any], value: tuple[int, Any]) -> bool:
    kind, *ends = bound
    low, high = order_of(ends[0]), order_of(ends[-1])
    match kind:
        case "gt":
            return value > low
        case "gte":
            return value >= low
        case "lt":
            return value < high
        case "lte":
            return value <= high
        case "between":
            return low <= value <= high
        case "inside":
            return low < value < high
    raise AssertionError(kind)
