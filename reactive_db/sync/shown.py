"""What a page is told of a store: plain figures and text, with names, because a page has no classes of ours.

Whoever may read sees tables. What others do, and how the store is used, is for who may deploy: see `StoreShown.use`.
"""

from __future__ import annotations

import msgspec


class ColumnShown(msgspec.Struct, frozen=True):
    """One column of documents."""

    name: str
    type: str
    is_number: bool


class TableShown(msgspec.Struct, frozen=True):
    """One table: how many documents it has, its fields with their types, and the fields of each index."""

    name: str
    documents: int
    fields: dict[str, str]
    indexes: dict[str, list[str]]


class SessionShown(msgspec.Struct, frozen=True):
    """One session that is connected.

    Attributes:
        since: in milliseconds since the epoch, as all times here.
        ranges: how many key ranges it watches.
        tables: how many tables it watches as a whole, for SQL and counts.
        requests: how many of its requests wait to be answered.
        documents: how many changed documents wait to be told, in one transition.
        frames: how many frames wait for its network.
        is_you: it is the session that asked.
    """

    user: str
    place: str
    since: float
    ranges: int
    tables: int
    requests: int
    documents: int
    frames: int
    is_you: bool


class ChangeShown(msgspec.Struct, frozen=True):
    """How many documents of one table a commit inserted, changed and deleted; all 0 where it was a table as a whole."""

    table: str
    inserted: int
    changed: int
    deleted: int


class CommitShown(msgspec.Struct, frozen=True):
    """One commit: when, the function that made it, the user if a session did, and what changed."""

    ts: int
    time: float
    source: str
    user: str
    changes: list[ChangeShown]


class RaceShown(msgspec.Struct, frozen=True):
    """One race that a function lost: where it read, and who was first."""

    source: str
    begin_ts: int
    table: str
    index: str
    winner: str
    winner_ts: int


class SourceShown(msgspec.Struct, frozen=True):
    """One function: how often it committed, how often it lost a race, and when it did either last."""

    name: str
    commits: int
    races_lost: int
    last: float


class FailureShown(msgspec.Struct, frozen=True):
    """One request that failed here: whose, what it asked for, and what it was told."""

    time: float
    user: str
    kind: str
    code: str
    message: str


class UseShown(msgspec.Struct, frozen=True):
    """Who uses a store, and for what: the latest first.

    Attributes:
        place: where it is on the disk.
        sessions_total: of which at most `SESSIONS_SHOWN_MAX` are in `sessions`.
    """

    place: str
    sessions: list[SessionShown]
    sessions_total: int
    commits: list[CommitShown]
    commits_total: int
    races: list[RaceShown]
    races_total: int
    sources: list[SourceShown]
    failures: list[FailureShown]
    failures_total: int


class StoreShown(msgspec.Struct, frozen=True):
    """One store.

    Attributes:
        ts: the newest timestamp that is durable.
        lag: by how many commits the columns, which SQL reads, are behind that.
        pending: how many commits wait for the disk.
        now: the server's clock; `since` is when it opened the store.
        use: None for who may only read or write.
    """

    name: str
    status: str
    ts: int
    lag: int
    pending: int
    now: float
    since: float
    tables: list[TableShown]
    use: UseShown | None
