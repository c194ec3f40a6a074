"""Queries, mutations and actions: what the decorators make of a function.

A decorated function stays an ordinary function: called with a context it runs in that context's transaction.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import update_wrapper
from itertools import count
from typing import Any, ClassVar, Concatenate, Generic, Literal, ParamSpec, TypeVar, cast, overload

from reactive_db.errors import FunctionError
from reactive_db.functions.contexts import ActionCtx, MutationCtx, QueryCtx, read_only
from reactive_db.functions.signature import Signature

P = ParamSpec("P")
R = TypeVar("R")

Kind = Literal["query", "mutation", "action"]


class Function(Generic[P, R]):
    """A function that a store can run.

    Attributes:
        name: what others call it: `module:function`; with a number of its own where that is no name of one function.
        is_internal: hidden from clients; only other functions may run it.
        signature: how its arguments and its result are checked.
    """

    kind: ClassVar[Kind]

    def __init__(self, function: Callable[..., Any], is_internal: bool) -> None:
        self.name = f"{function.__module__}:{function.__qualname__}"
        if "<" in function.__qualname__:
            # A function inside another one, or a lambda: many may share that name at the same time.
            self.name += f"#{next(_numbers)}"
        self.is_internal = is_internal
        self.function = function
        self.signature = Signature(function, self.kind)
        update_wrapper(cast(Any, self), function)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}{inspect.signature(self.function)}>"


class Query(Function[P, R]):
    """A read-only function; its live result is right again the moment the data changes."""

    kind: ClassVar[Kind] = "query"

    def __call__(self, ctx: QueryCtx | MutationCtx, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run as part of the transaction of `ctx`, which it can only read in."""
        return cast(R, self.function(read_only(_checked(self, ctx, QueryCtx)), *args, **kwargs))


class Mutation(Function[P, R]):
    """A function that reads and writes in one serializable transaction.

    Attributes:
        shown_by: the mutation that is run in its place to show what it will do; None if itself is.
    """

    kind: ClassVar[Kind] = "mutation"

    def __init__(self, function: Callable[..., Any], is_internal: bool) -> None:
        super().__init__(function, is_internal)
        self.shown_by: Mutation[P, Any] | None = None

    def optimistic(self, function: Callable[Concatenate[MutationCtx, P], None], /) -> Mutation[P, None]:
        """Have handles show what `function` writes until a server has answered, not what this mutation would write.

        A decorator; the function takes the same arguments. Nothing that it writes is ever committed.

        Raises:
            FunctionError: its parameters have other names.
        """
        shown_by: Mutation[P, None] = Mutation(function, is_internal=True)
        names, wanted = list(shown_by.signature.parameters), list(self.signature.parameters)
        if names != wanted:
            raise FunctionError(
                f"the optimistic function of {self.name!r} takes {', '.join(names) or 'nothing'}; it has to take the "
                f"same arguments: {', '.join(wanted) or 'nothing'}."
            )
        self.shown_by = shown_by
        return shown_by

    def __call__(self, ctx: MutationCtx, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run as part of the transaction of `ctx`; if it raises, its own writes are taken back and no others."""
        transaction = _checked(self, ctx, MutationCtx).transaction
        savepoint = transaction.savepoint()
        try:
            return cast(R, self.function(ctx, *args, **kwargs))
        except BaseException:
            transaction.rollback(savepoint)
            raise


class Action(Function[P, R]):
    """A function with side effects; it reads and writes only through queries and mutations."""

    kind: ClassVar[Kind] = "action"

    def __call__(self, ctx: ActionCtx, /, *args: P.args, **kwargs: P.kwargs) -> R | Awaitable[R]:
        """Run it; the awaitable of an `async def` action is returned as it is."""
        return cast("R | Awaitable[R]", self.function(_checked(self, ctx, ActionCtx), *args, **kwargs))


_Redefined = Callable[[Function[..., Any]], None]
_numbers = count(1)
_registry: dict[str, Function[..., Any]] = {}
on_redefined: list[_Redefined] = []
"""Called with every function that takes the name of an earlier one, as a re-run cell does."""


@overload
def query(function: Callable[Concatenate[QueryCtx, P], R], /) -> Query[P, R]: ...
@overload
def query(*, internal: bool) -> Callable[[Callable[Concatenate[QueryCtx, P], R]], Query[P, R]]: ...
def query(function: Any = None, /, *, internal: bool = False) -> Any:
    """Make a query of a function whose first parameter is a `QueryCtx`."""
    return _declare(Query, function, internal)


@overload
def mutation(function: Callable[Concatenate[MutationCtx, P], R], /) -> Mutation[P, R]: ...
@overload
def mutation(*, internal: bool) -> Callable[[Callable[Concatenate[MutationCtx, P], R]], Mutation[P, R]]: ...
def mutation(function: Any = None, /, *, internal: bool = False) -> Any:
    """Make a mutation of a function whose first parameter is a `MutationCtx`."""
    return _declare(Mutation, function, internal)


@overload
def action(function: Callable[Concatenate[ActionCtx, P], Awaitable[R]], /) -> Action[P, R]: ...
@overload
def action(function: Callable[Concatenate[ActionCtx, P], R], /) -> Action[P, R]: ...
@overload
def action(*, internal: bool) -> Callable[[Callable[Concatenate[ActionCtx, P], R]], Action[P, R]]: ...
def action(function: Any = None, /, *, internal: bool = False) -> Any:
    """Make an action of a function, or an `async def`, whose first parameter is an `ActionCtx`."""
    return _declare(Action, function, internal)


def current(function: Function[P, R]) -> Function[P, R]:
    """The latest function of that name: itself, or its successor from a re-run cell."""
    return cast("Function[P, R]", _registry.get(function.name, function))


def check_kind(function: Any, *kinds: type[Function[..., Any]]) -> None:
    """Raises FunctionError unless `function` was made by the decorator of one of `kinds`."""
    if isinstance(function, kinds):
        return
    wanted = " or ".join(f"@rdb.{kind.kind}" for kind in kinds)
    got = f"a {function.kind}" if isinstance(function, Function) else f"`{type(function).__name__}`"
    name = getattr(function, "__name__", repr(function))
    raise FunctionError(f"{name} cannot be run here: expected a function made by {wanted}, got {got}.")


def _declare(kind: type[Function[..., Any]], function: Any, internal: bool) -> Any:
    if function is None:
        return lambda later: _declare(kind, later, internal)
    if not callable(function) or isinstance(function, type) or not hasattr(function, "__qualname__"):
        raise FunctionError(f"@rdb.{kind.kind} makes a {kind.kind} of a function, not of {function!r}.")
    made = kind(function, internal)
    if "#" in made.name:
        return made
    before = _registry.get(made.name)
    _registry[made.name] = made
    if before is not None:
        for listener in on_redefined:
            listener(made)
    return made


def _checked(function: Function[..., Any], ctx: Any, wanted: type[Any]) -> Any:
    if isinstance(ctx, wanted):
        return ctx
    raise FunctionError(
        f"{function.kind} {function.name!r} was called with `{type(ctx).__name__}` as its context. Inside another "
        f"function pass that function's `ctx`; from a cell use `db.run({function.__name__}, …)`."  # type: ignore[attr-defined]
    )
