"""The types of fields as one would write them."""

from __future__ import annotations

import typing
from types import NoneType, UnionType
from typing import Any, Final

import msgspec

from reactive_db.model.codec import Exactly, OneOf
from reactive_db.model.documents import declared_document
from reactive_db.model.ids import Named

_NAMES: Final[dict[Any, str]] = {NoneType: "None", msgspec.UnsetType: "MISSING"}


def type_text(type_: Any) -> str:
    """An annotation as one would write it."""
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if origin in (UnionType, typing.Union):
        return " | ".join(map(type_text, arguments))
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin is not None:
        return f"{type_text(origin)}[{', '.join(map(type_text, arguments))}]"
    if isinstance(type_, Named):
        found = declared_document(type_.name, type_.module)
        return type_.name if found is None else found.__name__
    if isinstance(type_, type) and issubclass(type_, OneOf):
        return " | ".join(map(type_text, type_.members))
    if isinstance(type_, type) and issubclass(type_, Exactly):
        return f"Literal[{type_.value!r}]"
    return _NAMES.get(type_, getattr(type_, "__name__", str(type_)))
