"""Documents: immutable, typed objects, declared as Python classes.

A class is only a declaration; `schema.py` turns it into what a store works with. Nothing here validates or stores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast, dataclass_transform

import msgspec

from reactive_db import limits
from reactive_db.errors import SchemaError
from reactive_db.model.ids import Id
from reactive_db.model.policy import Policy, check_policy

SYSTEM_FIELDS: Final = ("id", "creation_time")
SYSTEM_INDEXES: Final = ("by_id", "by_creation_time")

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SYSTEM_NAME: Final = re.compile(r"_?[A-Za-z][A-Za-z0-9_]*")

_declared: dict[str, type[Document]] = {}
_declarations: list[str] = []
"""The tables of all declarations so far, in order."""
on_declared: list[Callable[[type[Document]], None]] = []
"""Called with every class that takes the table of an earlier one, as a re-run cell does."""


class ObjectMeta(msgspec.StructMeta):
    """Makes every subclass of `Object` frozen and strict about its fields."""

    def __new__(
        mcls: type[ObjectMeta], name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> ObjectMeta:
        # A class made by `defstruct` already has slots, which a Struct must not declare (msgspec#974).
        namespace.pop("__slots__", None)
        options = {"frozen": True, "forbid_unknown_fields": True, "gc": False} | options
        return super().__new__(mcls, name, bases, namespace, **options)


class DocumentMeta(ObjectMeta):
    """Reads `table=`, `indexes=` and `policy=` of a document class and declares it."""

    def __new__(
        mcls: type[DocumentMeta],
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        table: str | None = None,
        indexes: Mapping[str, Sequence[str]] | None = None,
        policy: Policy | None = None,
        **options: Any,
    ) -> DocumentMeta:
        shadowed = [field for field in SYSTEM_FIELDS if bases and field in namespace.get("__annotations__", {})]
        if shadowed and name != "Document":
            raise SchemaError(f"document class {name!r} declares {shadowed[0]!r}, which every document has. Rename it.")
        cls = super().__new__(mcls, name, bases, namespace, **options)
        if table is None and policy is not None:
            raise SchemaError(f"document class {name!r} has a policy and no table. Pass `table=` too.")
        if table is not None:
            document = cast("type[Document]", cls)
            document.__table__ = table
            document.__indexes__ = _checked_indexes(document, table, indexes or {})
            document.__policy__ = policy
            if policy is not None:
                check_policy(policy, document, table)
            is_new = table not in _declared
            _declared[table] = document
            _declarations.append(table)
            for listener in [] if is_new else list(on_declared):
                listener(document)
        return cast("DocumentMeta", cls)


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Object(msgspec.Struct, metaclass=ObjectMeta, frozen=True):
    """A typed object nested in a document. Subclass it and annotate the fields.

    Several object types in one union need a tag each: `class Circle(rdb.Object, tag="circle")`.
    """

    if TYPE_CHECKING:

        def __init_subclass__(cls, *, tag: str | bool | None = None, tag_field: str | None = None) -> None: ...


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Document(msgspec.Struct, metaclass=DocumentMeta, frozen=True, kw_only=True):
    """A document of a table. Subclass it with `table=` and annotate the fields:

        class Message(rdb.Document, table="messages", indexes={"by_channel": ["channel"]}):
            channel: str
            body: str

    `id` and `creation_time` (milliseconds since the epoch) are given by the store on insert.
    Documents never change; `ctx.db.patch` and `ctx.db.replace` write a new state under the same id.
    With `policy=rdb.policy(…)`, a server shows each user only some documents, and lets them write only some.
    """

    __table__: ClassVar[str]
    __indexes__: ClassVar[dict[str, tuple[str, ...]]]
    __policy__: ClassVar[Policy | None]
    __is_shareable__: ClassVar[bool] = False
    # No field can be changed in place; known once a store has looked at the class.

    if not TYPE_CHECKING:
        # Until the store has given them they are None, which no type checker needs to know.
        id: Id[Self] | None = msgspec.field(name="_id", default=None)
        creation_time: float | None = msgspec.field(name="_creationTime", default=None)
    else:
        id: Id[Self] = msgspec.field(name="_id", default=cast(Any, None))
        creation_time: float = msgspec.field(name="_creationTime", default=cast(Any, None))

        def __init_subclass__(
            cls,
            *,
            table: str | None = None,
            indexes: Mapping[str, Sequence[str]] | None = None,
            policy: Policy | None = None,
        ) -> None: ...


def declared_document(name: str, module: str = "") -> type[Document] | None:
    """The latest document class of that table name or, failing that, of that class name, best of that module."""
    if name in _declared:
        return _declared[name]
    named = [cls for cls in reversed(_declared.values()) if cls.__name__ == name]
    return next((cls for cls in named if cls.__module__ == module), next(iter(named), None))


def declared_documents() -> list[type[Document]]:
    """Every table's latest document class in this process."""
    return list(_declared.values())


def declarations() -> int:
    """How many declarations of tables there were; what was found out from classes holds while this stays the same."""
    return len(_declarations)


def current_document(cls: type[Document]) -> type[Document]:
    """The class that now declares the table of `cls`: itself, or its successor from a re-run cell."""
    return _declared.get(cls.__table__, cls)


def table_of(cls: type[Document]) -> str:
    """The name of a document class's table.

    Raises:
        SchemaError: the class has none.
    """
    if not (isinstance(cls, type) and issubclass(cls, Document)):
        raise SchemaError(f"expected a document class, got {cls!r}. Pass the class itself, `class …(rdb.Document, …)`.")
    table = getattr(cls, "__table__", None)
    if table is None:
        raise SchemaError(f'{cls.__name__!r} has no table. Declare `class {cls.__name__}(rdb.Document, table="…")`.')
    return cast(str, table)


def _checked_indexes(
    cls: type[Document], table: str, indexes: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """The indexes of a class as tuples of field names, checked against Convex's rules."""
    if not isinstance(indexes, Mapping):
        raise SchemaError(f"table {table!r}: indexes are a dict from names to lists of fields, got {indexes!r}.")
    pattern = _SYSTEM_NAME if cls.__module__.startswith("reactive_db.") else _NAME
    _check_name(pattern, "table", table)
    for field in cls.__struct_fields__:
        _check_name(_NAME, f"table {table!r}: field", field)
    if len(indexes) > limits.INDEXES_PER_TABLE_MAX:
        raise SchemaError(f"table {table!r} has {len(indexes)} indexes; at most {limits.INDEXES_PER_TABLE_MAX}.")
    checked: dict[str, tuple[str, ...]] = {}
    for name, fields in indexes.items():
        _check_name(_NAME, f"table {table!r}: index", name)
        checked[name] = _checked_index(cls, f"index {name!r} of table {table!r}", name, fields)
        twin = next((other for other, same in checked.items() if other != name and same == checked[name]), None)
        if twin is not None:
            raise SchemaError(f"index {name!r} of table {table!r} has the same fields as {twin!r}. Keep one.")
    return checked


def _checked_index(cls: type[Document], place: str, name: str, fields: Sequence[str]) -> tuple[str, ...]:
    if name in SYSTEM_INDEXES:
        raise SchemaError(f"{place} has a name that every table has already. Rename it.")
    if isinstance(fields, str) or not 1 <= len(fields) <= limits.INDEX_FIELDS_MAX:
        raise SchemaError(f"{place} needs a list of 1 to {limits.INDEX_FIELDS_MAX} field names, got {fields!r}.")
    if len(set(fields)) < len(fields):
        raise SchemaError(f"{place} names a field twice: {list(fields)}.")
    for field in fields:
        if field in SYSTEM_FIELDS or field.startswith("_"):
            raise SchemaError(f"{place} names {field!r}; creation time and id end every index already. Remove it.")
        if field.split(".")[0] not in cls.__struct_fields__:
            raise SchemaError(f"{place} names {field!r}, which is no field. Fields: {', '.join(_own_fields(cls))}.")
    return tuple(fields)


def _own_fields(cls: type[Document]) -> list[str]:
    return [field for field in cls.__struct_fields__ if field not in SYSTEM_FIELDS]


def _check_name(pattern: re.Pattern[str], place: str, name: str) -> None:
    if not isinstance(name, str) or not pattern.fullmatch(name) or len(name) > limits.NAME_LENGTH_MAX:
        raise SchemaError(
            f"{place} name {name!r}: names begin with a letter, then letters, digits and underscores, "
            f"at most {limits.NAME_LENGTH_MAX}."
        )
