"""The runner: one transaction a mutation, whole or not at all; queries run once; actions, sync or async, anywhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db.errors import ApplicationError, DocumentError, FunctionError, LimitError, ReturnError, StoreClosedError
from tests.conftest import Open


class Entry(rdb.Document, table="runner_entries"):
    text: str
    size: int = 0


@rdb.query
def texts(ctx: rdb.QueryCtx) -> list[str]:
    return [one.text for one in ctx.db.query(Entry)]


@rdb.mutation
def add(ctx: rdb.MutationCtx, text: str) -> rdb.Id[Entry]:
    return ctx.db.insert(Entry(text))


@rdb.mutation
def add_then_fail(ctx: rdb.MutationCtx, text: str, error: Any = None) -> None:
    ctx.db.insert(Entry(text))
    ctx.db.insert(Entry(text))
    raise ValueError(text)


# --- which functions run ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thing", [lambda ctx: 1, print, None, "runner:texts", Entry, 3])
def test_only_decorated_functions_run(db: rdb.Database, thing: Any) -> None:
    says = r"cannot be run here: expected a function made by @rdb\.query or @rdb\.mutation or @rdb\.action, got"
    with pytest.raises(FunctionError, match=says):
        db.run(thing)


@pytest.mark.parametrize("thing", [add, rdb.action(lambda ctx: 1), lambda ctx: 1, None, 3])
def test_only_queries_are_live(db: rdb.Database, thing: Any) -> None:
    with pytest.raises(FunctionError, match=r"expected a function made by @rdb\.query, got"):
        db.live(thing)


@pytest.mark.parametrize("decorator", [rdb.query, rdb.mutation])
def test_only_actions_can_be_async(db: rdb.Database, decorator: Any) -> None:
    async def later(ctx: rdb.QueryCtx) -> int:
        return 1

    with pytest.raises(FunctionError, match=r"is `async`\. Only actions can be"):
        db.run(decorator(later))


INSIDE: dict[str, Callable[[rdb.Database], Any]] = {
    "db.run of a query": lambda db: db.run(texts),
    "db.run of a mutation": lambda db: db.run(add, "never"),
    "db.live": lambda db: db.live(texts),
    "db.sql": lambda db: db.sql("SELECT 1"),
    "db.load": lambda db: db.load(Entry, [{"text": "never"}], progress=False),
}


@pytest.mark.parametrize("decorator", [rdb.query, rdb.mutation])
@pytest.mark.parametrize("name", INSIDE)
def test_inside_a_function_the_database_itself_is_refused(name: str, decorator: Any, db: rdb.Database) -> None:
    """It would read and write outside the transaction, which looks right until it conflicts or fails."""
    with pytest.raises(FunctionError, match=r"was called inside a query or mutation, .*Use that function's own `ctx`"):
        db.run(decorator(lambda ctx: INSIDE[name](db)))
    assert db.run(texts) == []


# --- whole or not at all ---------------------------------------------------------------------------------------------


def test_a_mutation_that_fails_writes_nothing(db: rdb.Database) -> None:
    db.run(add, "a")
    before = db.ts
    with pytest.raises(ValueError, match="never"):
        db.run(add_then_fail, "never")
    assert (db.run(texts), db.ts) == (["a"], before)


def test_a_nested_mutation_whose_failure_is_caught_rolls_back_alone(db: rdb.Database) -> None:
    @rdb.mutation
    def outer(ctx: rdb.MutationCtx) -> list[str]:
        kept = add(ctx, "before")
        try:
            add_then_fail(ctx, "never")
        except ValueError:
            add(ctx, "after")
        ctx.db.patch(kept, size=1)
        return texts(ctx)

    assert db.run(outer) == ["before", "after"] == db.run(texts)


def test_a_nested_mutation_takes_back_changes_to_what_was_there(db: rdb.Database) -> None:
    id = db.run(add, "a")

    @rdb.mutation
    def edit_then_fail(ctx: rdb.MutationCtx) -> None:
        ctx.db.patch(id, text="edited")
        ctx.db.delete(id)
        raise ValueError

    @rdb.mutation
    def outer(ctx: rdb.MutationCtx) -> str:
        ctx.db.patch(id, size=7)
        with pytest.raises(ValueError):
            edit_then_fail(ctx)
        found = ctx.db.get(id)
        assert found is not None
        return f"{found.text} {found.size}"

    assert db.run(outer) == "a 7"


def test_levels_of_nested_mutations_roll_back_one_by_one(db: rdb.Database) -> None:
    @rdb.mutation
    def level(ctx: rdb.MutationCtx, depth: int) -> None:
        add(ctx, f"level {depth}")
        if depth < 3:
            try:
                level(ctx, depth + 1)
            except ValueError:
                add(ctx, f"caught at {depth}")
                if depth > 0:
                    raise
        else:
            raise ValueError(depth)

    db.run(level, 0)
    assert db.run(texts) == ["level 0", "caught at 0"]


def test_a_wrong_result_of_a_nested_mutation_is_not_looked_at(db: rdb.Database) -> None:
    """A call inside a transaction is a plain call; only what leaves the transaction is checked."""

    @rdb.mutation
    def wrong(ctx: rdb.MutationCtx) -> int:
        return "text"  # type: ignore[return-value]

    assert db.run(rdb.mutation(lambda ctx: wrong(ctx))) == "text"
    with pytest.raises(ReturnError):
        db.run(wrong)


# --- application errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["too long", {"code": 7, "fields": ["text"]}, None, [1, 2]])
def test_an_application_error_carries_its_data_and_rolls_back(db: rdb.Database, data: Any) -> None:
    @rdb.mutation
    def refuse(ctx: rdb.MutationCtx) -> None:
        ctx.db.insert(Entry("never"))
        raise ApplicationError(data)

    with pytest.raises(ApplicationError) as caught:
        db.run(refuse)
    assert caught.value.data == data
    assert str(caught.value) == str(data)
    assert db.run(texts) == []


def test_an_application_error_of_a_live_query_is_on_its_handle(db: rdb.Database) -> None:
    @rdb.query
    def none_yet(ctx: rdb.QueryCtx) -> int:
        if not texts(ctx):
            raise ApplicationError({"reason": "empty"})
        return len(texts(ctx))

    handle = db.live(none_yet)
    assert isinstance(handle.error, ApplicationError)
    assert (handle.status, handle.error.data) == ("error", {"reason": "empty"})
    db.run(add, "a")
    assert (handle.status, handle.error, handle.value) == ("current", None, 1)


# --- limits ----------------------------------------------------------------------------------------------------------


def test_documents_written_have_a_limit(open_db: Open) -> None:
    db = open_db(limits=rdb.Limits(documents_written_max=10))

    @rdb.mutation
    def add_many(ctx: rdb.MutationCtx, n: int) -> None:
        for at in range(n):
            ctx.db.insert(Entry(str(at)))

    with pytest.raises(
        LimitError, match=r"wrote more than 10 documents \(documents_written_max\)\. db\.load"
    ) as caught:
        db.run(add_many, 11)
    assert caught.value.limit == "documents_written_max"
    assert db.run(texts) == []
    db.run(add_many, 10)
    assert len(db.run(texts)) == 10


def test_bytes_written_have_a_limit(open_db: Open) -> None:
    db = open_db(limits=rdb.Limits(bytes_written_max=10_000))

    @rdb.mutation
    def rewrite(ctx: rdb.MutationCtx, n: int) -> None:
        id = ctx.db.insert(Entry("a" * 1_000))
        for _ in range(n):
            ctx.db.patch(id, text="b" * 1_000)

    with pytest.raises(
        LimitError, match=r"wrote more than 10,000 bytes \(bytes_written_max\)\. Write in several"
    ) as caught:
        db.run(rewrite, 10)
    assert caught.value.limit == "bytes_written_max"
    assert db.run(texts) == []


def test_many_documents_of_one_mebibyte_are_too_many_bytes(db: rdb.Database) -> None:
    @rdb.mutation
    def add_large(ctx: rdb.MutationCtx, n: int) -> None:
        for _ in range(n):
            ctx.db.insert(Entry("a" * (2**20 - 200)))

    with pytest.raises(LimitError, match="bytes_written_max"):
        db.run(add_large, 17)
    with pytest.raises(DocumentError, match=r"the document takes 1,048,.* bytes; at most 1,048,576"):
        db.run(add, "a" * 2**20)
    assert db.run(texts) == []
    db.run(add_large, 1)
    assert len(db.run(texts)[0]) == 2**20 - 200


# --- queries run once, and share nothing -----------------------------------------------------------------------------


def test_a_query_runs_again_only_when_what_it_read_changes(db: rdb.Database) -> None:
    runs: list[str] = []

    @rdb.query
    def counted(ctx: rdb.QueryCtx, prefix: str) -> int:
        runs.append(prefix)
        return sum(text.startswith(prefix) for text in texts(ctx))

    assert [db.run(counted, "a"), db.run(counted, "a"), db.run(counted, "b")] == [0, 0, 0]
    assert runs == ["a", "b"]
    db.run(add, "ab")
    assert [db.run(counted, "a"), db.run(counted, "b")] == [1, 0]
    assert runs == ["a", "b", "a", "b"]


def test_what_a_reader_changes_in_a_result_is_its_own(db: rdb.Database) -> None:
    @rdb.query
    def nested(ctx: rdb.QueryCtx) -> Any:
        return {"texts": texts(ctx), "more": [{"a": [1]}]}

    db.run(add, "a")
    handle = db.live(nested)
    db.run(nested)["texts"].append("mine")
    handle.value["more"][0]["a"].append(2)
    assert db.run(nested) == {"texts": ["a"], "more": [{"a": [1]}]}


def test_what_a_query_changes_in_its_arguments_is_gone_with_the_run(db: rdb.Database) -> None:
    given = ["x"]

    @rdb.query
    def appends(ctx: rdb.QueryCtx, it: list[str], any: Any) -> Any:
        it.extend(texts(ctx))
        any.extend(texts(ctx))
        return len(it), len(any)

    handle = db.live(appends, given, given)
    for at in range(3):
        db.run(add, str(at))
    given.append("y")
    db.run(add, "3")
    assert handle.value == (5, 5)
    assert given == ["x", "y"]


def test_a_result_that_cannot_be_copied_is_refused_and_harms_nobody(db: rdb.Database) -> None:
    @rdb.query
    def lock(ctx: rdb.QueryCtx) -> Any:
        return [threading.Lock()] if texts(ctx) else []

    with_lock, beside = db.live(lock), db.live(texts)
    db.run(add, "a")
    assert (with_lock.status, type(with_lock.error), with_lock.value) == ("error", ReturnError, [])
    assert beside.value == ["a"]
    with pytest.raises(ReturnError, match="a query gave a `lock`, which cannot be copied for each of its readers"):
        db.run(lock)


# --- actions ---------------------------------------------------------------------------------------------------------


@rdb.action
def act(ctx: rdb.ActionCtx, text: str) -> list[str]:
    ctx.run_mutation(add, text)
    return ctx.run_query(texts)


@rdb.action
async def act_later(ctx: rdb.ActionCtx, text: str) -> list[str]:
    await asyncio.sleep(0)
    return ctx.run_action(act, text)


@pytest.mark.parametrize("action", [act, act_later])
def test_an_action_runs_queries_and_mutations(db: rdb.Database, action: Any) -> None:
    handle = db.live(texts)
    assert db.run(action, "a") == ["a"] == handle.value


@pytest.mark.parametrize("action", [act, act_later])
def test_an_action_runs_inside_a_running_event_loop(db: rdb.Database, action: Any) -> None:
    """As in a notebook, whose cells run in the kernel's own loop."""

    async def cell() -> Any:
        return db.run(action, "a")

    assert asyncio.run(cell()) == ["a"]


def test_each_step_of_an_action_is_a_transaction_of_its_own(db: rdb.Database) -> None:
    @rdb.action
    def half(ctx: rdb.ActionCtx) -> None:
        ctx.run_mutation(add, "kept")
        ctx.run_mutation(add_then_fail, "never")

    with pytest.raises(ValueError, match="never"):
        db.run(half)
    assert db.run(texts) == ["kept"]


@pytest.mark.parametrize("is_in_loop", [False, True])
def test_an_exception_of_an_async_action_reaches_its_caller(db: rdb.Database, is_in_loop: bool) -> None:
    @rdb.action
    async def fail(ctx: rdb.ActionCtx) -> None:
        raise ApplicationError("no")

    async def cell() -> None:
        db.run(fail)

    with pytest.raises(ApplicationError, match="no"):
        asyncio.run(cell()) if is_in_loop else db.run(fail)


def test_the_result_of_an_async_action_is_checked(db: rdb.Database) -> None:
    @rdb.action
    async def wrong(ctx: rdb.ActionCtx) -> int:
        return "text"  # type: ignore[return-value]

    with pytest.raises(ReturnError, match=r"action .* expected `int`, got `str`"):
        db.run(wrong)


def test_an_action_has_no_database_of_its_own(db: rdb.Database) -> None:
    with pytest.raises(AttributeError, match="'db'"):
        db.run(rdb.action(lambda ctx: ctx.db))  # type: ignore[attr-defined]


# --- after the end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [texts, rdb.mutation(lambda ctx: None), rdb.action(lambda ctx: 1)])
def test_nothing_runs_on_a_closed_store(db: rdb.Database, function: Any) -> None:
    db.close()
    with pytest.raises(StoreClosedError, match=r"it was closed\. Connect again"):
        db.run(function)
