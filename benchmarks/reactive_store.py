"""reactive_db itself, through nothing but its public API: what a user would write for each workload."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import pyarrow as pa

import reactive_db as rdb
from benchmarks import data
from benchmarks.ears import ReactiveEar
from benchmarks.store_server import StoreServer

PROMISE = "flushed before the acknowledgement; serializable; documents validated"
INSERT_BATCH = 500
MESSAGES_SHOWN = 20


def missing() -> str | None:
    return None


def version() -> str:
    try:
        return f"reactive_db {installed_version('reactive_db')}"
    except PackageNotFoundError:
        return "reactive_db (source tree)"


class Counter(rdb.Document, table="counters"):
    v: int
    owner: str
    body: str


class Message(rdb.Document, table="messages", indexes={"by_channel": ["channel"]}):
    n: int
    channel: int
    body: str


class Item(rdb.Document, table="items"):
    g: int
    x: int
    owner: str
    body: str


class Flight(rdb.Document, table="flights", indexes={"by_tail": ["tailnum"]}):
    year: int
    month: int
    day: int
    dep_time: int | None
    sched_dep_time: int
    dep_delay: float | None
    arr_time: int | None
    sched_arr_time: int
    arr_delay: float | None
    carrier: str
    flight: int
    tailnum: str | None
    origin: str
    dest: str
    air_time: float | None
    distance: int
    hour: int
    minute: int
    time_hour: datetime


# How often the body of a function began, which no public figure tells. `list.append` is atomic between threads.
increments_begun: list[None] = []
newest_begun: list[None] = []


@rdb.mutation
def add_counters(ctx: rdb.MutationCtx, documents: int) -> list[rdb.Id[Counter]]:
    rows = data.counters(documents)
    return [ctx.db.insert(Counter(v=row["v"], owner=row["owner"], body=row["body"])) for row in rows]


@rdb.mutation
def increment(ctx: rdb.MutationCtx, id: rdb.Id[Counter]) -> None:
    increments_begun.append(None)
    counter = ctx.db.get(id)
    if counter is None or counter.v < 0:
        raise rdb.ApplicationError("missing or negative")
    ctx.db.patch(id, v=counter.v + 1)


@rdb.query
def counter(ctx: rdb.QueryCtx, id: rdb.Id[Counter]) -> Counter | None:
    return ctx.db.get(id)


@rdb.query
def sum_counters(ctx: rdb.QueryCtx) -> int:
    return sum(each.v for each in ctx.db.query(Counter).collect())


@rdb.mutation
def send(ctx: rdb.MutationCtx, n: int, channel: int, body: str) -> None:
    ctx.db.insert(Message(n=n, channel=channel, body=body))


def read_newest(ctx: rdb.QueryCtx, channel: int) -> list[Message]:
    return ctx.db.query(Message).with_index("by_channel", channel=channel).order("desc").take(MESSAGES_SHOWN)


@rdb.query
def newest(ctx: rdb.QueryCtx, channel: int) -> list[Message]:
    newest_begun.append(None)
    return read_newest(ctx, channel)


@rdb.query
def newest_again(ctx: rdb.QueryCtx, channel: int) -> list[Message]:
    """The same under another name, so that a check neither counts as a live run nor gets the live query's result."""
    return read_newest(ctx, channel)


@rdb.query
def item(ctx: rdb.QueryCtx, id: rdb.Id[Item]) -> Item | None:
    return ctx.db.get(id)


class Counters:
    """W1 and W4; see `systems.Counters`."""

    def __init__(self, directory: Path, documents: int) -> None:
        self._path = directory / "counters.rdb"
        self.db = rdb.connect(str(self._path))
        self.ids: list[rdb.Id[Counter]] = []
        while len(self.ids) < documents:
            added = self.db.run(add_counters, min(INSERT_BATCH, documents - len(self.ids)))
            self.ids.extend(added)
        catch_up(self.db, "counters")
        self._begun_before = len(increments_begun)
        self._finished: list[None] = []

    def writer(self) -> Callable[[int], object]:
        run, ids, finished = self.db.run, self.ids, self._finished.append

        def call(number: int) -> None:
            run(increment, ids[number])
            finished(None)

        return call

    def retries(self) -> int:
        return len(increments_begun) - self._begun_before - len(self._finished)

    def total(self) -> int:
        """The sum by documents in a reopened store; wrong on purpose if SQL does not agree."""
        self.db.close()
        self.db = rdb.connect(str(self._path))
        by_sql = rows(self.db.sql("SELECT sum(v)::BIGINT FROM counters"))[0][0]
        total = self.db.run(sum_counters)
        return total if total == by_sql else -1

    def close(self) -> None:
        self.db.close()


class Messages:
    """W2 and W3; see `systems.Messages`."""

    def __init__(self, directory: Path, messages: int, channels: int) -> None:
        self._db = rdb.connect(str(directory / "messages.rdb"))
        if messages:
            self._db.load(Message, data.table(data.messages(messages, channels)))
            catch_up(self._db, "messages")
        self._handles: list[Any] = []  # handles are held weakly by the connection

    def insert(self, channel: int, number: int) -> None:
        self._db.run(send, number, channel, data.MESSAGE_BODY)

    def watch(self, channel: int, callback: Callable[[Any], None]) -> None:
        handle = self._db.live(newest, channel)
        handle.observe(lambda change: callback(change["new"]), "value")
        self._handles.append(handle)

    def start(self) -> None:
        pass

    def query(self, channel: int) -> Any:
        return self._db.run(newest_again, channel)

    def numbers(self, value: Any) -> list[int]:
        return [message.n for message in value]

    def runs(self) -> int:
        return len(newest_begun)

    def count(self) -> int:
        count: int = rows(self._db.sql("SELECT count(*) FROM messages"))[0][0]
        return count

    def close(self) -> None:
        self._db.close()


class Channel:
    """W4_sockets: `reactive-db serve`, and a writer that is a client of it."""

    def __init__(self, directory: Path) -> None:
        self._server = StoreServer(directory)
        self._db = rdb.connect(self._server.url, token=self._server.token)
        (self._id,) = self._db.run(add_counters, 1)
        self.ear = ReactiveEar(self._server.port, self._server.path, self._server.token, self._id)

    def put(self, number: int) -> None:
        self._db.run(increment, self._id)

    def close(self) -> None:
        self._db.close()
        self._server.stop()


class Items:
    """W7; see `systems.Items`."""

    @staticmethod
    def build(path: Path, documents: int) -> str:
        with rdb.connect(str(path)) as db:
            db.load(Item, data.items(documents).drop_columns(["id"]))
            wanted = data.item_x(documents // 2)
            key: str = rows(db.sql(f"SELECT _id FROM items WHERE x = {wanted}"))[0][0]
            return key

    def __init__(self, path: Path) -> None:
        self._db = rdb.connect(str(path))

    def get(self, key: str) -> int:
        found = self._db.run(item, rdb.Id(key))
        return found.x if found else -1

    def groups(self) -> dict[int, tuple[int, int]]:
        found = rows(self._db.sql("SELECT g, count(*), sum(x)::BIGINT FROM items GROUP BY g"))
        return {g: (count, total) for g, count, total in found}

    def close(self) -> None:
        self._db.close()


class Flights:
    """load_flights: the flights as documents, in one bulk load."""

    def __init__(self, path: Path) -> None:
        self._db = rdb.connect(str(path))

    def load(self, flights: pa.Table) -> None:
        self._db.load(Flight, flights)

    def sums(self) -> tuple[int, int, int]:
        """How many flights, their distances, and their known departure times summed."""
        statement = "SELECT count(*), sum(distance)::BIGINT, sum(dep_time)::BIGINT FROM flights"
        count, distance, dep_time = rows(self._db.sql(statement))[0]
        return count, distance, dep_time

    def close(self) -> None:
        self._db.close()


def catch_up(db: rdb.Database, table: str) -> None:
    """Let the columns follow what was prepared, so that it is not flushed to them while the clock runs."""
    rows(db.sql(f"SELECT count(*) FROM {table}"))


def rows(result: Any) -> list[tuple[Any, ...]]:
    """A SQL result as tuples."""
    fetched: list[tuple[Any, ...]] = result.fetchall()
    return fetched
