"""Convex's validators, under Convex's names, and `table`, which declares a table with them instead of a class.

    tasks = rdb.table("tasks", text=rdb.v.string(), done=rdb.v.boolean(), due=rdb.v.optional(rdb.v.date()))

A validator is a thin name for an annotation: what `text: str` means in a class, `text=v.string()` means here.
"""

from __future__ import annotations

import builtins
import datetime as _datetime
import decimal as _decimal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union

import msgspec

from reactive_db.errors import SchemaError
from reactive_db.model.codec import exactly, one_of
from reactive_db.model.documents import Document, DocumentMeta, Object, ObjectMeta
from reactive_db.model.ids import Id
from reactive_db.model.policy import Policy


@dataclass(frozen=True, slots=True)
class Validator:
    """What a field may hold.

    Attributes:
        annotation: the same as a type annotation.
        is_optional: the field may be absent, which is not the same as null.
    """

    annotation: Any
    is_optional: bool = False


def string() -> Validator:
    """Text: any valid Unicode."""
    return Validator(str)


def number() -> Validator:
    """A 64-bit float, NaN and the infinities included; an int is taken as one."""
    return Validator(float)


float64 = number


def int64() -> Validator:
    """A whole number from -2**63 to 2**63 - 1."""
    return Validator(int)


bigint = int64


def boolean() -> Validator:
    """True or False."""
    return Validator(bool)


def bytes() -> Validator:
    """Binary data."""
    return Validator(builtins.bytes)


def null() -> Validator:
    """None."""
    return Validator(None)


def any() -> Validator:
    """Every value."""
    return Validator(Any)


def date() -> Validator:
    """A calendar day."""
    return Validator(_datetime.date)


def datetime() -> Validator:
    """An instant: a datetime with a time zone."""
    return Validator(_datetime.datetime)


def decimal() -> Validator:
    """A Decimal of at most 29 digits before the point and 9 after."""
    return Validator(_decimal.Decimal)


def id(table: str) -> Validator:
    """A reference to a document of `table`; whether that exists is not checked."""
    if not isinstance(table, str) or not table:
        raise SchemaError(f"v.id() takes the name of a table, got {table!r}.")
    return Validator(Id[table])  # type: ignore[valid-type]


def literal(value: str | int | float | bool) -> Validator:
    """Exactly `value`, of the same type."""
    if isinstance(value, float):
        return Validator(exactly(value))
    if not isinstance(value, str | int):
        raise SchemaError(f"v.literal() takes a string, a number or a boolean, got {value!r}.")
    return Validator(Literal[value])


def union(*members: Validator) -> Validator:
    """Whatever one of `members` accepts; the first that does decides."""
    annotations = tuple(_required(member, "a union") for member in members)
    if not annotations:
        raise SchemaError("a union needs at least one member.")
    return Validator(one_of(annotations))


def nullable(member: Validator) -> Validator:
    """Null, or whatever `member` accepts."""
    return union(member, null())


def optional(member: Validator) -> Validator:
    """The field may be absent."""
    return Validator(_checked(member).annotation, is_optional=True)


def array(element: Validator) -> Validator:
    """A list."""
    return Validator(list[_required(element, "an array")])  # type: ignore[misc]


def record(keys: Validator, values: Validator) -> Validator:
    """A mapping from strings to values."""
    key = _required(keys, "a record")
    if key is not str and getattr(key, "__origin__", None) is not Id:
        raise SchemaError("the keys of a record are v.string() or v.id(…).")
    return Validator(dict[key, _required(values, "a record")])  # type: ignore[misc, valid-type]


def object(fields: Mapping[str, Validator]) -> Validator:
    """An object with exactly these fields."""
    if not isinstance(fields, Mapping):
        raise SchemaError(f"v.object() takes a dict from names to validators, got {fields!r}.")
    return Validator(ObjectMeta("Object", (Object,), _namespace(fields), kw_only=True))


def table(
    name: str,
    /,
    indexes: Mapping[str, Sequence[str]] | None = None,
    policy: Policy | None = None,
    **fields: Validator,
) -> Any:
    """Declare a table: the document class it returns is like one declared with `class`.

    Raises:
        SchemaError: a field is no validator, or a name cannot be one.
    """
    class_name = "".join(part.capitalize() for part in name.split("_"))
    options: dict[str, Any] = {"table": name, "indexes": indexes, "policy": policy}
    return DocumentMeta(class_name, (Document,), _namespace(fields), **options, kw_only=True)


def _namespace(fields: Mapping[str, Validator]) -> dict[str, Any]:
    """The body of a class with these fields."""
    annotations: dict[str, Any] = {}
    namespace: dict[str, Any] = {"__annotations__": annotations, "__module__": __name__}
    for name, validator in fields.items():
        if not isinstance(name, str) or not name.isidentifier() or not name.isascii() or name.startswith("_"):
            raise SchemaError(
                f"field name {name!r}: names begin with a letter, then letters, digits and underscores. Use v.record() "
                "for keys of any other kind."
            )
        if not isinstance(validator, Validator):
            raise SchemaError(f"field {name!r}: expected a validator such as v.string(), got {validator!r}.")
        annotations[name] = validator.annotation
        if validator.is_optional:
            annotations[name] = Union[validator.annotation, msgspec.UnsetType]  # noqa: UP007  # `Id[…] |` may be text
            namespace[name] = msgspec.UNSET
    return namespace


def _checked(validator: Validator) -> Validator:
    if not isinstance(validator, Validator):
        raise SchemaError(f"expected a validator such as v.string(), got {validator!r}.")
    return validator


def _required(validator: Validator, place: str) -> Any:
    if _checked(validator).is_optional:
        raise SchemaError(f"v.optional() makes a field optional; it cannot stand in {place}. Use v.nullable().")
    return validator.annotation
