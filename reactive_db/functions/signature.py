"""Signatures: how a function's arguments and result are checked against its annotations."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Any, Final, NamedTuple, cast

import msgspec

from reactive_db.errors import ArgumentError, FunctionError, ReturnError
from reactive_db.functions.table_query import TableQuery
from reactive_db.model.codec import Converter, Fault, encoder, one_of, to_plain
from reactive_db.model.documents import Document, current_document, declarations
from reactive_db.model.values import find_fault

_LATER: Final = (TableQuery, Iterator)
"""What reads only when somebody looks at it."""
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
        self._known: _Types | None = None
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
            what = self._misnamed(named) or f"{fault.what} at `{fault.path}`"
            raise ArgumentError(f"{self._place}: {what}.") from None

    def key(self, arguments: msgspec.Struct) -> bytes:
        """Equal for equal arguments; raises ArgumentError where they are no values."""
        try:
            return encoder.encode(arguments)
        except (TypeError, UnicodeEncodeError, OverflowError, RecursionError) as error:
            fields = msgspec.structs.asdict(arguments)
            path, what = find_fault(fields) or ("$", str(error))
            raise ArgumentError(f"{self._place}: {what} at `{path}`. Arguments of queries are values.") from None

    def unkey(self, key: bytes, converter: Converter) -> msgspec.Struct:
        """The arguments that `key` was made of; raises ArgumentError if they do not fit this signature."""
        return self.bind((), msgspec.msgpack.decode(key), converter)

    def check_return(self, value: Any, converter: Converter) -> Any:
        """`value`, checked against the return annotation, if there is one."""
        if type(value) is not list and isinstance(value, _LATER):
            raise ReturnError(
                f"{self._place} returned a `{type(value).__name__}`, which would read only after the function has "
                "ended. Return what it gives: `.collect()`, `.take(n)` or `list(…)`."
            )
        type_ = self._types().returned
        if type_ is Any:
            return value
        try:
            return converter.convert(value, type_)
        except Fault as fault:
            try:
                return converter.convert(to_plain(value), type_)  # numpy numbers and the like
            except Fault:
                raise ReturnError(f"{self._place} returned a wrong value: {fault.what} at `{fault.path}`.") from None

    def row_type(self) -> type[msgspec.Struct] | None:
        """The class of each row, where the result is annotated as a list of one class of documents or objects."""
        arguments = typing.get_args(self._types().returned)
        is_row = len(arguments) == 1 and isinstance(arguments[0], type) and issubclass(arguments[0], msgspec.Struct)
        return arguments[0] if is_row and typing.get_origin(self._types().returned) is list else None

    def _converted(self, named: dict[str, Any], converter: Converter) -> msgspec.Struct:
        types = self._types()
        try:
            bound: msgspec.Struct = converter.convert(named, types.arguments)
        except Fault:
            # numpy numbers, timestamps and objects of a class that was declared anew become plain, then typed.
            bound = converter.convert(to_plain(named), types.arguments)
        return bound

    def _misnamed(self, named: Mapping[str, Any]) -> str | None:
        """What is wrong with the names of the arguments alone."""
        names = ", ".join(self._names) or "none"
        for name in named:
            if name not in self.parameters:
                return f"unknown argument {name!r}. Its parameters: {names}"
        for name, parameter in self.parameters.items():
            if name not in named and parameter.default is inspect.Parameter.empty:
                return f"argument {name!r} is missing. Its parameters: {names}"
        return None

    def _types(self) -> _Types:
        """The types of the arguments and of the result, by the classes that are declared now."""
        if self._known is None or self._known.declarations != declarations():
            self._known = self._evaluated()
        return self._known

    def _evaluated(self) -> _Types:
        count = declarations()
        try:
            found = typing.get_type_hints(self._function, include_extras=True)
            hints = {name: _current(type_) for name, type_ in found.items()}
            if self._known is not None and self._known.hints == hints:
                return self._known._replace(declarations=count)
            return _Types(count, hints, self._arguments(hints), hints.get("return", Any))
        except (NameError, TypeError) as error:
            raise FunctionError(f"{self._place}: an annotation cannot be used: {str(error).rstrip('.')}.") from None

    def _arguments(self, hints: Mapping[str, Any]) -> type[msgspec.Struct]:
        fields: list[Any] = []
        for name, parameter in self.parameters.items():
            type_ = hints.get(name, Any)
            has_default = parameter.default is not inspect.Parameter.empty
            fields.append((name, type_, parameter.default) if has_default else (name, type_))
        made = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True, frozen=True)
        msgspec.msgpack.Decoder(made)  # raises TypeError for an annotation that nothing can be checked against
        return made


class _Types(NamedTuple):
    """The annotations of a function, evaluated."""

    declarations: int
    hints: dict[str, Any]
    arguments: type[msgspec.Struct]
    returned: Any


def _current(type_: Any) -> Any:
    """An annotation with document classes replaced by their latest declarations, and unions as they can be checked."""
    if isinstance(type_, type) and issubclass(type_, Document) and hasattr(type_, "__table__"):
        return current_document(type_)
    arguments = typing.get_args(type_)
    origin = typing.get_origin(type_)
    if not arguments or origin is typing.Literal:
        return type_
    renewed = tuple(_current(argument) for argument in arguments)
    if origin in (UnionType, typing.Union):
        return one_of(renewed)
    return type_ if renewed == arguments else cast(Any, origin)[renewed]
