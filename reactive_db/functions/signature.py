"""Signatures: how a function's arguments and result are checked against its annotations."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import cached_property
from types import UnionType
from typing import Any, Final

import msgspec

from reactive_db.errors import ArgumentError, FunctionError, ReturnError
from reactive_db.model.codec import Converter, Fault, encoder, to_plain
from reactive_db.model.documents import Document, current_document

_NAMED: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Signature:
    """The parameters of a function after its context, and its result.

    Annotations are evaluated when the function first runs, so they may name what is declared later.
    """

    def __init__(self, function: Callable[..., Any], kind: str) -> None:
        self._function = function
        self._place = f"{kind} {function.__qualname__!r}"
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters:
            raise FunctionError(f"{self._place} takes no parameter. Its first one is the context: `def …(ctx, …)`.")
        self.parameters = {parameter.name: parameter for parameter in parameters[1:]}
        for parameter in self.parameters.values():
            if parameter.kind not in _NAMED:
                raise FunctionError(
                    f"{self._place}: parameter {parameter.name!r} has no name that callers can use. "
                    "Name every parameter; `*args` and positional-only ones cannot be checked."
                )
        self._names = list(self.parameters)
        self._positional = [p.name for p in self.parameters.values() if p.kind is _NAMED[0]]

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], converter: Converter) -> msgspec.Struct:
        """The arguments by name, checked, defaults filled in.

        Raises:
            ArgumentError: too many, missing, unknown, or not of the annotated type, with the path of the fault.
        """
        if len(args) > len(self._positional):
            raise ArgumentError(
                f"{self._place} takes {len(self._positional)} positional arguments, got {len(args)}. "
                f"Its parameters: {', '.join(self._names) or 'none'}."
            )
        named = dict(zip(self._positional, args, strict=False))
        if kwargs:
            twice = named.keys() & kwargs.keys()
            if twice:
                raise ArgumentError(f"{self._place} got {min(twice)!r} twice.")
            named.update(kwargs)
        try:
            return self._converted(named, converter)
        except Fault as fault:
            raise ArgumentError(f"{self._place}: {fault.what} at `{fault.path}`.") from None

    def key(self, arguments: msgspec.Struct) -> bytes:
        """Equal for equal arguments; raises ArgumentError where they are no values."""
        try:
            return encoder.encode(arguments)
        except (TypeError, UnicodeEncodeError, OverflowError) as error:
            raise ArgumentError(f"{self._place}: {error}. Arguments of queries are values.") from None

    def unkey(self, key: bytes, converter: Converter) -> msgspec.Struct:
        """The arguments that `key` was made of; raises ArgumentError if they do not fit this signature."""
        return self.bind((), msgspec.msgpack.decode(key), converter)

    def check_return(self, value: Any, converter: Converter) -> Any:
        """`value`, checked against the return annotation, if there is one."""
        type_ = self._types.get("return", Any)
        if type_ is Any:
            return value
        try:
            return converter.convert(value, type_)
        except Fault as fault:
            raise ReturnError(f"{self._place} returned a wrong value: {fault.what} at `{fault.path}`.") from None

    def _converted(self, named: dict[str, Any], converter: Converter) -> msgspec.Struct:
        try:
            bound: msgspec.Struct = converter.convert(named, self._arguments)
        except Fault:
            # numpy numbers, timestamps and objects of a class that was declared anew become plain, then typed.
            bound = converter.convert(to_plain(named), self._arguments)
        return bound

    @cached_property
    def _arguments(self) -> type[msgspec.Struct]:
        fields: list[Any] = []
        for name, parameter in self.parameters.items():
            type_ = self._types.get(name, Any)
            has_default = parameter.default is not inspect.Parameter.empty
            fields.append((name, type_, parameter.default) if has_default else (name, type_))
        return msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True, frozen=True)

    @cached_property
    def _types(self) -> dict[str, Any]:
        try:
            hints = typing.get_type_hints(self._function, include_extras=True)
        except NameError as error:
            raise FunctionError(f"{self._place}: an annotation cannot be evaluated: {error}.") from None
        return {name: _current(type_) for name, type_ in hints.items()}


def _current(type_: Any) -> Any:
    """An annotation with document classes replaced by their latest declarations."""
    if isinstance(type_, type) and issubclass(type_, Document) and hasattr(type_, "__table__"):
        return current_document(type_)
    arguments = typing.get_args(type_)
    origin = typing.get_origin(type_)
    if not arguments or origin is typing.Literal:
        return type_
    renewed = tuple(_current(argument) for argument in arguments)
    if renewed == arguments:
        return type_
    if origin in (UnionType, typing.Union):
        return typing.Union[renewed]  # noqa: UP007  # from a tuple
    return origin[renewed]
