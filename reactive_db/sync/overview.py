"""How a store is, for a page: everybody who may read sees its tables, who may deploy also who uses it, and for what."""

from __future__ import annotations

import typing
from typing import Final

from reactive_db import limits
from reactive_db.engine.snapshots import SnapshotPassed
from reactive_db.errors import IdError, LimitError
from reactive_db.model.defined import reading_class
from reactive_db.model.schema import TableDefinition
from reactive_db.model.type_text import type_text
from reactive_db.presentation import cell_text
from reactive_db.sync.messages import Browsed
from reactive_db.sync.served import Connected, Served
from reactive_db.sync.shown import ColumnShown, RaceShown, SessionShown, StoreShown, TableShown, UseShown

_BROWSE: Final = "browse"
_NUMBERS: Final = {"int", "float", "Decimal", "int | None", "float | None", "Decimal | None"}


def overview(served: Served, asker: Connected) -> StoreShown:
    """How the store is now, as far as the asker may know. Counts documents: call it on a worker."""
    store = served.store
    ts, lag, pending = store.published_ts, store.published_ts - store.columns.applied_ts, store.pending
    return StoreShown(
        name=served.name,
        status=store.status,
        ts=ts,
        lag=max(lag, 0),
        pending=pending,
        now=store.runtime.now(),
        since=served.activity.since,
        tables=_tables(served),
        use=_use(served, asker) if asker.caller.is_owner else None,
    )


def browse(served: Served, request: int, name: str) -> Browsed:
    """The newest documents of a table; loads no table.

    Raises:
        IdError: the store has no such table, or it is the store's own.
        LimitError: the table's definition changed again and again meanwhile.
    """
    store = served.store
    definition = next((one for one in store.definitions() if one.name == name), None)
    if definition is None:
        raise IdError(f"this store has no table {name!r}.")
    document = reading_class(definition)
    for _ in range(limits.BROWSE_TRIES_MAX):
        with store.snapshot(with_columns=False) as snapshot:
            try:
                transaction = store.read_at(snapshot, _BROWSE)
                found = store.newest(transaction, definition, limits.INSPECTED_DOCUMENTS_MAX, document)
            except SnapshotPassed:
                continue
        names = ["id", *definition.columns]
        rows = [[cell_text(getattr(one, name, None)) for name in names] for one in found]
        return Browsed(request, snapshot.ts, [ColumnShown("id", "Id", False), *_columns(definition)], rows)
    raise LimitError(
        f"the definition of table {name!r} changed {limits.BROWSE_TRIES_MAX} times meanwhile (BROWSE_TRIES_MAX). Ask "
        "again.",
        limit="BROWSE_TRIES_MAX",
    )


def _tables(served: Served) -> list[TableShown]:
    definitions = sorted(served.store.definitions(), key=lambda one: one.name)
    counts = served.store.counts()
    return [
        TableShown(
            name=one.name,
            documents=counts.get(one.number, 0),
            fields={column.name: column.type for column in _columns(one)},
            indexes={name: list(fields) for name, fields in one.indexes.items()},
        )
        for one in definitions
    ]


def _use(served: Served, asker: Connected) -> UseShown:
    store, activity = served.store, served.activity
    sessions = served.connected()
    races = store.lost_races()
    return UseShown(
        place=store.place,
        sessions=[_session(one, since, one is asker) for one, since in sessions[::-1][: limits.SESSIONS_SHOWN_MAX]],
        sessions_total=len(sessions),
        commits=list(reversed(activity.commits.copy())),
        commits_total=activity.commits_total,
        races=[RaceShown(one.source, one.begin_ts, one.table, one.index, one.winner, one.winner_ts) for one in races],
        races_total=store.conflicts,
        sources=activity.sources(),
        failures=list(reversed(activity.failures.copy())),
        failures_total=activity.failures_total,
    )


def _session(one: Connected, since: float, is_you: bool) -> SessionShown:
    load = one.load()
    return SessionShown(
        user=one.caller.name,
        place=one.description,
        since=since,
        ranges=load.ranges,
        tables=load.tables,
        requests=load.requests,
        documents=load.documents,
        frames=load.frames,
        is_you=is_you,
    )


def _columns(definition: TableDefinition) -> list[ColumnShown]:
    hints = typing.get_type_hints(reading_class(definition), include_extras=True)
    types = {name: type_text(hints[name]) for name in definition.columns}
    return [ColumnShown(name, type_, type_ in _NUMBERS) for name, type_ in types.items()]
