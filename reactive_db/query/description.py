"""The description of one read: which index, which range of it, in which order.

Pure: it can be made, compared and turned into a key range without a store.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from reactive_db.errors import QueryError
from reactive_db.model.keys import KeyRange, prefix_range, successor
from reactive_db.model.schema import TableSchema
from reactive_db.query.bounds import Bound

Order = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True)
class Description:
    """A read of one table, before anything is known about its contents."""

    index: str = "by_creation_time"
    conditions: Mapping[str, Any] = field(default_factory=dict)
    """By field: a value to equal, or a `Bound`."""
    order: Order = "asc"

    def with_index(self, index: str, conditions: Mapping[str, Any]) -> Description:
        return replace(self, index=index, conditions=conditions)

    def key_range(self, schema: TableSchema) -> KeyRange:
        """The range of index keys that the conditions leave.

        The rules are Convex's: equalities on the first fields of the index, in any order, then at most one lower and
        one upper bound on the field after them.

        Raises:
            QueryError: an unknown index or field, fields left out or out of order, a value the field cannot have.
        """
        index = schema.index(self.index)
        fields = index.fields if self.index != "by_creation_time" else ("creation_time",)
        place = f"index {self.index!r} of table {schema.name!r}"
        for name in self.conditions:
            if name not in fields:
                raise QueryError(f"{place} has no field {name!r}. Its fields, in order: {', '.join(fields)}.")
        prefix = b""
        for at, name in enumerate(fields):
            if name not in self.conditions:
                _check_end(place, fields[:at], fields[at:], self.conditions)
                break
            condition = self.conditions[name]
            if isinstance(condition, Bound):
                _check_end(place, fields[: at + 1], fields[at + 1 :], self.conditions)
                return _bounded(schema, prefix, name, condition)
            prefix += schema.bound(name, condition)
        return prefix_range(prefix)


def fingerprint(table: int, index: str, fields: tuple[str, ...], key_range: KeyRange, order: Order) -> str:
    """What a cursor remembers of its query: another query, or an index with other fields, has another fingerprint."""
    text = repr((table, index, fields, key_range.lo, key_range.hi, order))
    return _digest(text.encode())


def encode_cursor(print_: str, key: bytes) -> str:
    """An opaque position: after `key`, in the query with that fingerprint."""
    return f"{print_}.{_digest(print_.encode() + key)}.{base64.urlsafe_b64encode(key).decode()}"


def decode_cursor(print_: str, cursor: str) -> bytes:
    """Raises QueryError for a cursor that is damaged or of another query."""
    try:
        key = base64.urlsafe_b64decode(cursor.rpartition(".")[2].encode())
        if encode_cursor(print_, key) == cursor:
            return key
    except (AttributeError, TypeError, ValueError):
        pass  # no text, or none that we wrote
    raise QueryError(
        f"cursor {cursor!r} does not belong to this query. Pass the cursor of its own last page, or None to begin."
    )


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _check_end(place: str, given: tuple[str, ...], rest: tuple[str, ...], conditions: Mapping[str, Any]) -> None:
    """Nothing may be said about a field after the first gap or bound."""
    late = [name for name in rest if name in conditions]
    if late:
        raise QueryError(
            f"{place}: {late[0]!r} can only be compared when every field before it equals a value. "
            f"Its fields, in order: {', '.join((*given, *rest))}."
        )


def _bounded(schema: TableSchema, prefix: bytes, name: str, bound: Bound) -> KeyRange:
    whole = prefix_range(prefix)
    lo, hi = whole.lo, whole.hi
    if bound.lower is not None:
        value, is_inside = bound.lower
        edge = prefix + schema.bound(name, value)
        lo = edge if is_inside else successor(edge) or edge
    if bound.upper is not None:
        value, is_inside = bound.upper
        edge = prefix + schema.bound(name, value)
        hi = successor(edge) if is_inside else edge
    if hi is not None and hi < lo:
        hi = lo
    return KeyRange(lo, hi, len(prefix))
