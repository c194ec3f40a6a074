"""What a process does while it waits to be killed: transactions whose whole effect can be told from their numbers.

Every writer numbers its transactions 1, 2, 3, … and each of them writes into four tables. So the content of a store
is a function of the last number of each writer and of the bulk loads that happened, and `content_faults` can say of
any store whether it is the content after some whole transactions, and after which. No process is started here.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from reactive_db.database import Database, connect
from reactive_db.errors import ApplicationError
from reactive_db.functions.contexts import MutationCtx, QueryCtx
from reactive_db.functions.definitions import mutation, query
from reactive_db.limits import Limits
from reactive_db.model.documents import Document

WRITERS: Final = 2
ACCOUNTS: Final = 6
CRATES: Final = 1_000
CRATE_BYTES: Final = 9_000
"""Of each document of a bulk load: together more than fits into one part of a commit."""

_NOTES_KEPT: Final = 8
_LARGE_EVERY: Final = 40
_LARGE_BYTES: Final = 50_000
_DAWN: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LIMITS: Final = Limits(function_seconds=120.0, documents_read_max=100_000_000)


class Tally(Document, table="crash_tallies", indexes={"by_writer": ["writer"]}):
    """The number of a writer's last transaction."""

    writer: int
    number: int


class Entry(Document, table="crash_entries", indexes={"by_writer": ["writer", "number"]}):
    """Inserted by a transaction, some at a time, and kept."""

    writer: int
    number: int
    part: int
    at: datetime
    payload: bytes


class Note(Document, table="crash_notes", indexes={"by_writer": ["writer", "number"]}):
    """Inserted by a transaction and deleted by a later one."""

    writer: int
    number: int
    tags: list[str]
    comment: str | None = None


class Account(Document, table="crash_accounts", indexes={"by_owner": ["owner"]}):
    """Changed in place by every writer, so that they lose races."""

    owner: int
    balance: int


class Crate(Document, table="crash_crates", indexes={"by_load": ["load", "part"]}):
    """Loaded in bulk."""

    load: int
    part: int
    weight: float
    label: str


Row = tuple[Any, ...]
State = dict[str, list[Row]]
"""By table name, the documents' own fields in the order of their declaration, sorted."""

TABLES: Final[tuple[type[Document], ...]] = (Tally, Entry, Note, Account, Crate)


@dataclass(frozen=True, slots=True)
class Progress:
    """Which transactions and loads there are, by writer and by number; the content of a store follows from it."""

    numbers: tuple[int, ...] = (0,) * WRITERS
    loads: frozenset[int] = frozenset()
    has_begun: bool = False

    @property
    def transactions(self) -> int:
        return sum(self.numbers) + len(self.loads)


def open_store(path: str | os.PathLike[str]) -> Database:
    """Connect with limits that let one query read everything."""
    return connect(path, limits=_LIMITS)


# --- the transactions ------------------------------------------------------------------------------------------------


@mutation
def begin(ctx: MutationCtx) -> None:
    """Give a new store its tallies and accounts; does nothing the second time."""
    if ctx.db.query(Tally).first() is not None:
        return
    for writer in range(WRITERS):
        ctx.db.insert(Tally(writer=writer, number=0))
    for owner in range(ACCOUNTS):
        ctx.db.insert(Account(owner=owner, balance=0))


@mutation
def step(ctx: MutationCtx, writer: int, number: int) -> int:
    """Transaction `number` of `writer`, in several tables."""
    tally = ctx.db.query(Tally).with_index("by_writer", writer=writer).unique()
    if tally is None or tally.number != number - 1:
        raise ApplicationError(f"writer {writer} is not at {number - 1} but at {tally}")
    ctx.db.patch(tally.id, number=number)
    for row in _entries(writer, number):
        ctx.db.insert(Entry(*row))
    ctx.db.insert(Note(*_note(writer, number)))
    for old in ctx.db.query(Note).with_index("by_writer", writer=writer, number=number - _NOTES_KEPT).collect():
        ctx.db.delete(old.id)
    for owner, amount in _transfers(writer, number):
        account = ctx.db.query(Account).with_index("by_owner", owner=owner).first()
        assert account is not None
        ctx.db.patch(account.id, balance=account.balance + amount)
    return number


def load(db: Database, number: int) -> None:
    """Bulk load `number`."""
    fields = ("load", "part", "weight", "label")
    db.load(Crate, [dict(zip(fields, row, strict=True)) for row in _crates(number)], progress=False)


def _entries(writer: int, number: int) -> Iterator[Row]:
    for part in range(1 + (writer * 7 + number * 13) % 4):
        size = _LARGE_BYTES if number % _LARGE_EVERY == 0 else (number * 37 + part) % 300
        yield writer, number, part, _DAWN + timedelta(seconds=number, microseconds=part), bytes([number % 256]) * size


def _note(writer: int, number: int) -> Row:
    comment = f"{writer}·{number}" if number % 3 else None
    return writer, number, [f"tag{at}" for at in range(number % 4)], comment


def _transfers(writer: int, number: int) -> list[tuple[int, int]]:
    source = (number * 5 + writer) % ACCOUNTS
    amount = number * 31 % 97
    return [(source, -amount), ((source + 1 + number % (ACCOUNTS - 1)) % ACCOUNTS, amount)]


def _crates(number: int) -> Iterator[Row]:
    for part in range(CRATES):
        yield number, part, part / 7, f"{number}/{part} ".ljust(CRATE_BYTES, "·" if part % 2 else "-")


# --- what the store holds, and what it should ------------------------------------------------------------------------


@query
def everything(ctx: QueryCtx, table: str) -> list[Any]:
    """All documents of a table."""
    return ctx.db.query(next(one for one in TABLES if one.__table__ == table)).collect()


def state_of_documents(db: Database) -> State:
    """What a store holds, through a query function."""
    return {document.__table__: rows_of(db.run(everything, document.__table__)) for document in TABLES}


def rows_of(documents: list[Document]) -> list[Row]:
    """Documents of one table as `State` has them."""
    return sorted(_plain(getattr(one, name) for name in _own_fields(type(one))) for one in documents)


def state_of_columns(db: Database) -> State:
    """The same through SQL."""
    state = {}
    for document in TABLES:
        names = ", ".join(f'"{name}"' for name in _own_fields(document))
        rows = db.sql(f"SELECT {names} FROM {document.__table__}").fetchall()
        state[document.__table__] = sorted(_plain(row) for row in rows)
    return state


def expected_state(progress: Progress) -> State:
    """The content of a store after exactly these transactions."""
    balances: Counter[int] = Counter()
    entries: list[Row] = []
    notes: list[Row] = []
    for writer, last in enumerate(progress.numbers):
        for number in range(1, last + 1):
            entries += _entries(writer, number)
            for owner, amount in _transfers(writer, number):
                balances[owner] += amount
        notes += [_note(writer, number) for number in range(max(1, last - _NOTES_KEPT + 1), last + 1)]
    rows: dict[type[Document], Iterable[Row]] = {
        Tally: enumerate(progress.numbers),
        Entry: entries,
        Note: notes,
        Account: ((owner, balances[owner]) for owner in range(ACCOUNTS)),
        Crate: (crate for number in progress.loads for crate in _crates(number)),
    }
    return {document.__table__: sorted(_plain(row) for row in rows[document]) for document in TABLES}


def progress_of(state: State) -> Progress:
    """The transactions that `state` says it has."""
    tallies = state[Tally.__table__]
    if not tallies:
        return Progress()
    numbers = tuple(number for _, number in tallies)
    return Progress(numbers, frozenset(row[0] for row in state[Crate.__table__]), has_begun=True)


def content_faults(state: State, least: Progress, most: Progress) -> list[str]:
    """What is wrong with a store that has acknowledged `least` and was asked for no more than `most`."""
    progress = progress_of(state)
    if not progress.has_begun:
        lost = ["lost: everything, though it was acknowledged"] if least.has_begun else []
        return lost + [f"torn: {name} has documents before there are tallies" for name, rows in state.items() if rows]
    faults = list(_out_of_bounds(progress, least, most))
    for name, expected in expected_state(progress).items():
        faults += _differences(name, state[name], expected)
    return faults


def _out_of_bounds(progress: Progress, least: Progress, most: Progress) -> Iterator[str]:
    if len(progress.numbers) != WRITERS:
        yield f"torn: {len(progress.numbers)} of {WRITERS} tallies are there"
        return
    for writer, (low, found, high) in enumerate(zip(least.numbers, progress.numbers, most.numbers, strict=True)):
        if found < low:
            yield f"lost: writer {writer} was acknowledged transaction {low}, the store ends with {found}"
        if found > high:
            yield f"invented: writer {writer} asked for transactions up to {high}, the store has {found}"
    for number in sorted(least.loads - progress.loads):
        yield f"lost: bulk load {number} was acknowledged"
    for number in sorted(progress.loads - most.loads):
        yield f"invented: bulk load {number} was never asked for"


def _differences(table: str, found: Sequence[Row], expected: Sequence[Row]) -> Iterator[str]:
    if found == expected:
        return
    # Rows have lists in them, so they are compared by their text.
    have, want = Counter(map(repr, found)), Counter(map(repr, expected))
    missing, surplus = want - have, have - want
    for what, rows in (("misses", missing), ("has besides", surplus)):
        if rows:
            yield f"torn: {table} {what} {rows.total()} documents, first {min(rows)[:120]}"


def _own_fields(document: type[Document]) -> list[str]:
    return [name for name in document.__struct_fields__ if name not in ("id", "creation_time")]


def _plain(values: Iterable[Any]) -> Row:
    """Values that sort and compare the same whether they come from a document, from SQL or from here."""
    plain = msgspec.to_builtins(list(values), builtin_types=(datetime, bytes))
    return tuple("" if value is None else value for value in plain)
