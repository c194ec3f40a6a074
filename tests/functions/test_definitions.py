"""Decorators: what they make of a function, what they refuse, and what a re-run cell replaces."""

from __future__ import annotations

from typing import Any

import pytest

import reactive_db as rdb
from reactive_db.errors import FunctionError
from reactive_db.functions.definitions import Action, Mutation, Query, current


class Tally(rdb.Document, table="definitions_tallies"):
    n: int


@rdb.query
def total(ctx: rdb.QueryCtx, more: int = 0) -> int:
    """The sum of all tallies."""
    return sum(one.n for one in ctx.db.query(Tally)) + more


@rdb.mutation
def add(ctx: rdb.MutationCtx, n: int) -> int:
    ctx.db.insert(Tally(n))
    return total(ctx)


@rdb.action(internal=True)
def act(ctx: rdb.ActionCtx, n: int) -> int:
    return ctx.run_mutation(add, n)


# --- what a decorator makes ------------------------------------------------------------------------------------------


def test_a_function_keeps_its_name_and_its_docstring() -> None:
    assert total.__name__ == "total"  # type: ignore[attr-defined]
    assert total.__doc__ == "The sum of all tallies."
    assert total.name == f"{__name__}:total"
    assert repr(total) == f"<query {__name__}:total(ctx: 'rdb.QueryCtx', more: 'int' = 0) -> 'int'>"
    assert [type(one) for one in (total, add, act)] == [Query, Mutation, Action]
    assert [one.is_internal for one in (total, act)] == [False, True]


def test_functions_call_each_other_in_one_transaction(db: rdb.Database) -> None:
    @rdb.mutation
    def add_twice(ctx: rdb.MutationCtx) -> list[int]:
        return [add(ctx, 1), add(ctx, 2), total(ctx, more=10)]

    assert db.run(add_twice) == [1, 3, 13]
    assert db.ts == db.run(total) - 3 + 2, "one commit for the table, one for both calls"


def test_an_internal_function_runs_where_the_store_is(db: rdb.Database) -> None:
    assert db.run(act, 3) == 3


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decorator", [rdb.query, rdb.mutation, rdb.action])
@pytest.mark.parametrize("thing", [3, "total", Tally, object()])
def test_only_functions_can_be_decorated(decorator: Any, thing: Any) -> None:
    with pytest.raises(FunctionError, match=r"makes a .* of a function, not of"):
        decorator(thing)


@pytest.mark.parametrize("context", [None, 3, "general", object])
@pytest.mark.parametrize("function", [total, add, act])
def test_a_call_without_a_context_says_how_to_call(function: Any, context: Any) -> None:
    says = rf"was called with `\w+` as its context\. .* from a cell use `db\.run\({function.__name__}, …\)`"
    with pytest.raises(FunctionError, match=says):
        function(context, 3)


@pytest.mark.parametrize("other", [add, act])
def test_a_query_cannot_call_a_mutation_nor_an_action(db: rdb.Database, other: Any) -> None:
    with pytest.raises(FunctionError, match="was called with `QueryCtx` as its context"):
        db.run(rdb.query(lambda ctx: other(ctx, 1)))


def test_an_action_calls_through_its_context(db: rdb.Database) -> None:
    with pytest.raises(FunctionError, match="was called with `ActionCtx` as its context"):
        db.run(rdb.action(lambda ctx: add(ctx, 1)))


# --- a re-run cell ---------------------------------------------------------------------------------------------------


def cell(source: str, **names: Any) -> dict[str, Any]:
    """Run a cell in a namespace of its own module, as a notebook does."""
    namespace = {"rdb": rdb, "Tally": Tally, "__name__": "definitions_notebook", **names}
    exec(source, namespace)
    return namespace


COUNT = "@rdb.query\ndef counted(ctx, factor: int = 1) -> int:\n    return ctx.db.query(Tally).count() * {}"


def test_a_function_declared_anew_takes_the_place_of_the_old_one(db: rdb.Database) -> None:
    old = cell(COUNT.format("factor"))["counted"]
    db.run(add, 1)
    assert db.run(old, 3) == 3
    new = cell(COUNT.format("factor * 10"))["counted"]
    assert current(old) is new
    assert db.run(old, 3) == db.run(new, 3) == 30


def test_open_handles_move_to_the_new_function(db: rdb.Database) -> None:
    db.run(add, 1)
    one, other = (db.live(cell(COUNT.format("factor"))["counted"], factor) for factor in (1, 2))
    seen: list[Any] = []
    one.observe(lambda change: seen.append(change.new), "value")
    cell(COUNT.format("factor * 10"))
    assert (one.value, other.value, seen) == (10, 20, [10])
    db.run(add, 1)
    assert (one.value, other.value, seen) == (20, 40, [10, 20])


def test_a_handle_whose_arguments_no_longer_fit_says_so_and_recovers(db: rdb.Database) -> None:
    """The cell itself runs through: whoever declares a function is not to blame for old handles."""
    db.run(add, 1)
    handle = db.live(cell(COUNT.format("factor"))["counted"], 2)
    cell("@rdb.query\ndef counted(ctx, name: str) -> int: return 0")
    assert (handle.status, handle.value) == ("error", 2)
    assert "argument 'name' is missing" in str(handle.error) or "unknown argument 'factor'" in str(handle.error)
    cell(COUNT.format("factor * 5"))
    assert (handle.status, handle.error, handle.value) == ("current", None, 10)


def test_a_handle_of_a_query_that_became_a_mutation_says_so(db: rdb.Database) -> None:
    db.run(add, 1)
    handle = db.live(cell(COUNT.format("factor"))["counted"])
    cell("@rdb.mutation\ndef counted(ctx) -> None: ...")
    assert (handle.status, handle.value, type(handle.error)) == ("error", 1, FunctionError)
    cell(COUNT.format("factor"))
    assert (handle.status, handle.value) == ("current", 1)


def test_a_new_function_that_fails_keeps_the_last_good_value(db: rdb.Database) -> None:
    db.run(add, 1)
    handle = db.live(cell(COUNT.format("factor"))["counted"])
    cell(COUNT.format("(1 // 0)"))
    assert (handle.status, handle.value, type(handle.error)) == ("error", 1, ZeroDivisionError)
    cell(COUNT.format("2"))
    assert (handle.status, handle.value) == ("current", 2)


def test_functions_made_inside_a_function_do_not_replace_each_other(db: rdb.Database) -> None:
    """They share a name, but nobody ran a cell again: each keeps its own closure."""

    def times(factor: int) -> Any:
        @rdb.query
        def scaled(ctx: rdb.QueryCtx) -> int:
            return total(ctx) * factor

        return scaled

    db.run(add, 1)
    twice, thrice = times(2), times(3)
    assert (db.run(twice), db.run(thrice)) == (2, 3)
    handles = [db.live(one) for one in (twice, thrice)]
    db.run(add, 1)
    assert [handle.value for handle in handles] == [4, 6]


def test_lambdas_do_not_replace_each_other(db: rdb.Database) -> None:
    one, two = rdb.query(lambda ctx: 1), rdb.query(lambda ctx: 2)
    assert (db.run(one), db.run(two)) == (1, 2)
