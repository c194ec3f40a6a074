"""Contexts: what a function can do, handed to it as its first argument.

QueryCtx     ctx.db reads; ctx.now(), ctx.random
MutationCtx  the same, and ctx.db writes
ActionCtx    ctx.run_query, ctx.run_mutation, ctx.run_action; anything the world offers
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from reactive_db.engine.access import StoreAccess
from reactive_db.engine.transaction import Transaction
from reactive_db.errors import DocumentError, IdError, ReadOnlyError
from reactive_db.functions.table_query import TableQuery
from reactive_db.model.documents import Document
from reactive_db.model.ids import Id, table_number
from reactive_db.model.values import MISSING
from reactive_db.query.description import Description
from reactive_db.runtime import Random
from reactive_db.storage.columns import Parameters
from reactive_db.storage.sql_result import SqlResult
from reactive_db.storage.tables import Table

D = TypeVar("D", bound=Document)
P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class DatabaseReader:
    """Reads at the snapshot of one function run."""

    __slots__ = ("_store", "_transaction")

    def __init__(self, store: StoreAccess, transaction: Transaction) -> None:
        self._store = store
        self._transaction = transaction

    def get(self, id: Id[D]) -> D | None:
        """The document with that id, None if there is none.

        Raises:
            IdError: it is no id of this store.
        """
        return cast("D | None", self._transaction.get(self._store.table_of_id(self._transaction, id), id))

    def sql(self, statement: str, parameters: Parameters = None) -> SqlResult:
        """The result of a SELECT at this snapshot; every table it reads counts as read whole.

        Raises:
            SqlError: the statement is wrong or would write, or this mutation has written already.
        """
        return self._store.sql(self._transaction, statement, parameters)

    def query(self, document: type[D]) -> TableQuery[D]:
        """A read of a table, all of it in order of creation until it is refined."""
        return TableQuery(self._transaction, self._store.table(self._transaction, document), Description())

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in ("insert", "patch", "replace", "delete"):
                raise AttributeError(f"`ctx.db` has no {name!r}")
            raise ReadOnlyError(
                f"{self._transaction.source!r} uses `ctx.db.{name}` in a query. Queries only read; make it a mutation "
                "with @rdb.mutation."
            )


class DatabaseWriter(DatabaseReader):
    """Reads at the snapshot of one mutation, sees its own writes, and buffers them until it ends."""

    __slots__ = ()

    def insert(self, document: D) -> Id[D]:
        """Add a document; its id.

        Raises:
            DocumentError: a field does not fit, with its path.
        """
        _check_document("insert", document)
        if document.id is not None:
            raise DocumentError(
                f"insert of a document that has an id already, {document.id}, at `$._id` (table "
                f"{document.__table__!r}). Use `ctx.db.replace(id, document)` to write it again.",
                table=document.__table__,
                path="$._id",
            )
        table = self._store.table(self._transaction, type(document))
        return self._transaction.insert(table, cast("Mapping[str, Any]", document))

    def patch(self, id: Id[D], changes: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        """Change some fields of a document; `rdb.MISSING` takes an optional field away.

        Raises:
            DocumentNotFoundError, DocumentError, IdError.
        """
        if changes is not None and not isinstance(changes, Mapping):
            raise DocumentError(
                f"patch takes a dict of changed fields, got `{type(changes).__name__}`. Use `ctx.db.replace` to write "
                "a whole document.",
                table=self._store.table_of_id(self._transaction, id).schema.name,
            )
        wanted = {**(changes or {}), **fields}
        removed = [name for name, value in wanted.items() if value is MISSING]
        for name in removed:
            del wanted[name]
        self._transaction.patch(self._store.table_of_id(self._transaction, id), id, wanted, removed)

    def replace(self, id: Id[D], document: D) -> None:
        """Give a document new fields, all of them; its id and creation time stay."""
        table = self._own_table(id, document)
        self._transaction.replace(table, id, cast("Mapping[str, Any]", document))

    def delete(self, id: Id[Any]) -> None:
        """Delete a document; raises DocumentNotFoundError if there is none."""
        self._transaction.delete(self._store.table_of_id(self._transaction, id), id)

    def _own_table(self, id: str, document: Document) -> Table:
        _check_document("replace", document)
        table = self._store.table(self._transaction, type(document))
        if table_number(id) != table.schema.number:
            raise IdError(f"{id!r} is no id of table {table.schema.name!r}, which the new document is of.")
        if document.id not in (None, id):
            raise IdError(
                f"{id!r} is not the id of the new document, {document.id!r}. Replace that one, or give a fresh one."
            )
        return table


def _check_document(verb: str, document: Any) -> None:
    if not isinstance(document, Document):
        got = document.__name__ if isinstance(document, type) else f"`{type(document).__name__}`"
        raise DocumentError(f"{verb} takes a document, such as `Message(…)`, got {got}.", table="")


class QueryCtx:
    """What a query can do: read, at one snapshot."""

    __slots__ = ("_db", "_random", "transaction")

    def __init__(self, db: DatabaseReader, transaction: Transaction) -> None:
        self._db = db
        self.transaction: Transaction = transaction
        self._random: Random | None = None

    @property
    def db(self) -> DatabaseReader:
        """The documents."""
        return self._db

    def now(self) -> float:
        """When this run began, in milliseconds since the epoch. Queries do not run again because time passes."""
        self.transaction.is_volatile = True
        return self.transaction.now

    @property
    def random(self) -> Random:
        """A generator of this run's own."""
        self.transaction.is_volatile = True
        if self._random is None:
            self._random = self.transaction.new_random()
        return self._random


def read_only(ctx: QueryCtx) -> QueryCtx:
    """`ctx` for a query that a mutation calls: the same transaction, without the writes."""
    if type(ctx) is QueryCtx:
        return ctx
    return QueryCtx(DatabaseReader(ctx.db._store, ctx.transaction), ctx.transaction)


class MutationCtx(QueryCtx):
    """What a mutation can do: read and write, in one serializable transaction."""

    __slots__ = ()

    def __init__(self, db: DatabaseWriter, transaction: Transaction) -> None:
        super().__init__(db, transaction)

    @property
    def db(self) -> DatabaseWriter:
        """The documents, to read and to write."""
        return cast(DatabaseWriter, self._db)


class _Runnable(Protocol[P, R_co]):
    """A query, mutation or action, for the types of `ActionCtx`."""

    def __call__(self, ctx: Any, /, *args: P.args, **kwargs: P.kwargs) -> R_co | Awaitable[R_co]: ...


class Runs(Protocol):
    """Runs a function by its kind; the runner is one."""

    def run(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any: ...


class ActionCtx:
    """What an action can do: run queries and mutations, each its own transaction, and anything outside."""

    __slots__ = ("_runner",)

    def __init__(self, runner: Runs) -> None:
        self._runner = runner

    def run_query(self, function: _Runnable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value of a query now."""
        return cast(R, self._runner.run(function, args, kwargs))

    def run_mutation(self, function: _Runnable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a mutation, committed when this returns."""
        return cast(R, self._runner.run(function, args, kwargs))

    def run_action(self, function: _Runnable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run another action."""
        return cast(R, self._runner.run(function, args, kwargs))
