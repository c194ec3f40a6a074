"""What functions and live queries need of a store, wherever its documents are.

`Store` has it in this process; `sync.RemoteStore` asks a server. Nothing above this layer tells the two apart.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from reactive_db.engine.lost_race import LostRace
from reactive_db.engine.optimistic import OptimisticUpdate
from reactive_db.engine.snapshots import Snapshot
from reactive_db.engine.transaction import Transaction
from reactive_db.engine.write_log import LoggedCommit
from reactive_db.limits import Limits
from reactive_db.model.codec import Converter
from reactive_db.model.documents import Document, Object
from reactive_db.model.schema import TableDefinition
from reactive_db.runtime import Runtime
from reactive_db.storage.columns import Parameters
from reactive_db.storage.sql_result import SqlResult
from reactive_db.storage.tables import Table

Listener = Callable[[LoggedCommit], None]
Status = Literal["synced", "syncing", "offline"]
Report = Callable[[int, int | None], None]
"""Called with how much of something is done, and of how much, None if that is not known."""


class Presence(Object, frozen=True):
    """Somebody who is connected to a store.

    Attributes:
        user: as the server knows them.
        place: where from: a notebook's path, a program.
        since: when they came.
    """

    user: str
    place: str
    since: datetime

    @classmethod
    def of(cls, user: str, place: str, since: float) -> Presence:
        """`since` in milliseconds since the epoch."""
        return cls(user=user, place=place, since=datetime.fromtimestamp(since / 1000, UTC))


class StoreAccess(Protocol):
    """A store as functions see it.

    Attributes:
        place: where it is, for people.
        has_failed: it can only be closed and opened again.
        user: who this is, as the store knows them.
        converter: turns plain values into typed ones; it knows which ids are of which table.
        on_commit: called with every commit, in order, before anybody may see it.
        on_presence: called on any thread when somebody comes or goes, once `present` was asked.
        on_settled: called on any thread when `published_ts`, `status` or `pending` may be different.
    """

    @property
    def place(self) -> str: ...

    @property
    def has_failed(self) -> bool: ...

    @property
    def user(self) -> str: ...

    runtime: Runtime
    limits: Limits
    converter: Converter
    on_commit: list[Listener]
    on_presence: list[Callable[[], None]]
    on_settled: list[Callable[[], None]]

    @property
    def published_ts(self) -> int:
        """The newest timestamp that may be shown."""

    @property
    def status(self) -> Status:
        """`syncing` while commits are on their way, `offline` when none can be."""

    @property
    def pending(self) -> int:
        """How many commits are on their way."""

    def check_open(self) -> None:
        """Raises StoreError unless it can be used."""

    def close(self) -> None:
        """Let go of everything; safe to call again."""

    # --- transactions -------------------------------------------------------------------------------------------------

    def begin(self, source: str, runtime: Runtime | None = None) -> Transaction:
        """A transaction that may write, with time and randomness of the store's runtime or of another one.

        End it with `commit` or `abandon`.
        """

    def commit(self, transaction: Transaction, again: Callable[[], Transaction]) -> int:
        """Make every write of `transaction` durable and visible at one new timestamp; see `Committer.commit`."""

    def abandon(self, transaction: Transaction) -> None:
        """Let go of a transaction that is not committed."""

    def read_at(self, snapshot: Snapshot, source: str) -> Transaction:
        """A transaction that only reads, at a snapshot the caller holds open."""

    def snapshot(self, *, with_columns: bool) -> AbstractContextManager[Snapshot]:
        """Hold the newest published snapshot open, with the columns at exactly its timestamp if they will be read."""

    def columns_held(self) -> AbstractContextManager[Any]:
        """Within, SQL sees exactly what a transaction that begins sees, wherever that can be had."""

    # --- reads within a transaction -----------------------------------------------------------------------------------

    def table(self, transaction: Transaction, document: type[Document]) -> Table:
        """The table of a document class, for `transaction` to read or write."""

    def table_of_id(self, transaction: Transaction, id: str) -> Table:
        """The table that an id belongs to."""

    def sql(self, transaction: Transaction, statement: str, parameters: Parameters) -> SqlResult:
        """The result of a SELECT at the snapshot of `transaction`, which is taken to read whole tables."""

    # --- SQL by itself ------------------------------------------------------------------------------------------------

    def query(self, statement: str, parameters: Parameters) -> SqlResult:
        """The result of a SELECT over everything committed so far."""

    def query_at(self, snapshot: Snapshot, statement: str, parameters: Parameters) -> SqlResult:
        """The same at a `snapshot` with columns that the caller holds open."""

    def tables_read(self, statement: str) -> list[int]:
        """The numbers of the tables that a SELECT reads, those that are declared here but new to the store too."""

    # --- to look at it ------------------------------------------------------------------------------------------------

    def definitions(self) -> list[TableDefinition]:
        """Every table that people made, whether or not its class is declared here."""

    def counts(self) -> dict[int, int]:
        """How many documents each table has, by its number, all at one timestamp."""

    def newest(
        self, transaction: Transaction, definition: TableDefinition, most: int, unloaded: type[Document]
    ) -> list[Document]:
        """The newest documents of a table, at most so many, made of the class `unloaded` if nobody uses another."""

    def lost_races(self) -> list[LostRace]:
        """The latest conflicts, newest first."""

    @property
    def conflicts(self) -> int:
        """How many races were lost here."""

    def present(self) -> list[Presence]:
        """Who is connected; `on_presence` is called when that changes."""

    # --- the rest -----------------------------------------------------------------------------------------------------

    def outdate(self, table: str) -> int | None:
        """The class of a table was declared anew: who uses the table next moves it. Returns the table's number."""

    def load(self, document: type[Document], source: Any, report: Report) -> int:
        """Insert the rows of `source`, all at one timestamp; how many there were."""


class RemoteAccess(StoreAccess, Protocol):
    """A store whose commits travel, so that what they write is shown before they have arrived."""

    def show(self, update: OptimisticUpdate, ran: Transaction | None = None) -> None:
        """Have snapshots show what a mutation writes, and handles follow soon; `ran` has just been run for it.

        Runs no user code: without `ran`, or if that is not right any more, the next `rebase` does.
        """

    def rebase(self) -> None:
        """Run everything again that has to be, so that snapshots show it."""

    def drop(self, update: OptimisticUpdate) -> None:
        """Do not show it any more; nothing if its commit has arrived, and it is gone already."""

    def wait_in_reach(self) -> None:
        """Return when the server can be asked; raises StoreClosedError when it never will be."""
