"""A client that only listens: sends what a test says, and keeps what the server answers. And the documents of tests."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

import reactive_db as rdb
from reactive_db.engine.read_set import BY_ID
from reactive_db.errors import ReactiveDBError
from reactive_db.model.codec import Converter
from reactive_db.model.documents import Document
from reactive_db.model.ids import RANDOM_BYTES, new_id
from reactive_db.model.keys import EVERYTHING, KeyRange, point
from reactive_db.model.schema import TableSchema
from reactive_db.sync import messages as m
from reactive_db.sync.client import Send
from reactive_db.sync.definitions import digest_of
from reactive_db.sync.served import Caller
from reactive_db.testing.wire import OWNER, Connection, Wire

M = TypeVar("M", bound=m.Message)

SESSION = "0123456789abcdef" * 2


class Note(rdb.Document, table="sync_notes", indexes={"by_topic": ["topic"], "by_rank": ["rank"]}):
    topic: str
    rank: int = 0


class Ear:
    """A client's end that answers nothing by itself, not even with hello, unless it is given a session."""

    def __init__(self, session: str | None = SESSION) -> None:
        self.session = session
        self.frames: list[bytes] = []
        self.losses = 0

    def opened(self, send: Send) -> None:
        if self.session is not None:
            send(m.encode(m.Hello(m.VERSION, self.session, "a test")))

    def hear(self, frame: bytes) -> None:
        self.frames.append(frame)

    def lost(self) -> None:
        self.losses += 1

    def refused(self, error: ReactiveDBError) -> None:
        raise AssertionError(error)

    @property
    def heard(self) -> list[m.Message]:
        return [m.decode_server(frame) for frame in self.frames]


class Client:
    """An `Ear` with a connection, and the requests that tests make."""

    def __init__(self, wire: Wire, session: str | None = SESSION, caller: Caller = OWNER) -> None:
        self.wire = wire
        self.ear = Ear(session)
        self.link = wire.link(self.ear, caller)
        self.requests = 0
        self.commits = 0
        wire.pump()

    @property
    def connection(self) -> Connection:
        return self.link.connection

    @property
    def heard(self) -> list[m.Message]:
        return self.ear.heard

    def number(self) -> int:
        self.requests += 1
        return self.requests

    def ask(self, message: m.Message | bytes) -> list[m.Message]:
        """Say something, deliver everything, and return what came of it."""
        before = len(self.ear.frames)
        self.connection.say(message)
        self.wire.pump()
        return self.heard[before:]

    def answer(self, message: m.Message, kind: type[M]) -> M:
        """The last message that came of it, which is of that kind."""
        found = self.ask(message)[-1]
        assert isinstance(found, kind), found
        return found

    def define(self, document: type[Document] = Note) -> TableSchema:
        """Have the server create the table of a class; its schema with the number that it got."""
        fields = msgspec.to_builtins(schema_of(document, 0).definition_fields)
        self.answer(m.Define(self.number(), fields), m.Defined)
        for message in reversed(self.heard):
            for written in [*getattr(message, "writes", ()), *getattr(message, "definitions", ())]:
                definition = msgspec.msgpack.decode(written.document)
                if definition["name"] == document.__table__:
                    return schema_of(document, definition["number"])
        raise AssertionError("nobody told what number the table has")

    def commit_of(
        self,
        schema: TableSchema,
        writes: list[m.Written],
        reads: list[m.Range] | None = None,
        begin_ts: int | None = None,
    ) -> m.Commit:
        """The next commit of this client; it read nothing, and began just now, unless it says so."""
        self.commits += 1
        begin_ts = self.wire.served.publisher.ts if begin_ts is None else begin_ts
        definitions = {schema.number: digest_of(schema)}
        return m.Commit(self.number(), self.commits, begin_ts, "t:write", reads or [], writes, definitions)

    def write(self, schema: TableSchema, *writes: m.Written) -> m.Committed:
        return self.answer(self.commit_of(schema, list(writes)), m.Committed)

    def read(self, schema: TableSchema, key_range: KeyRange = EVERYTHING, index: str = "by_creation_time") -> m.Rows:
        asked = m.Range.of((schema.number, index), key_range)
        return self.answer(m.Read(self.number(), asked, False, 100), m.Rows)

    def read_document(self, schema: TableSchema, id: str) -> m.Rows:
        return self.read(schema, point(id.encode()), BY_ID)


def schema_of(document: type[Document], number: int) -> TableSchema:
    return TableSchema(document, number, Converter(lambda name: number))


def inserted(schema: TableSchema, seed: int, **fields: Any) -> m.Written:
    """A new document, whose id and creation time are those of `seed`."""
    id = new_id(schema.number, seed.to_bytes(RANDOM_BYTES, "big"), 1_000.0)
    _, data = schema.build(id, 1_000.0 + seed, fields)
    return m.Written(schema.number, str(id), data)


def changed(schema: TableSchema, written: m.Written, **fields: Any) -> m.Written:
    """The same document with other fields."""
    assert written.document is not None
    before = schema.decode(written.document)
    assert before.id is not None
    assert before.creation_time is not None
    _, data = schema.build(before.id, before.creation_time, schema.plain(before) | fields)
    return m.Written(written.table, written.id, data)


def deleted(written: m.Written) -> m.Written:
    return m.Written(written.table, written.id, None)


def topic(schema: TableSchema, value: str) -> KeyRange:
    """The range of the index `by_topic` that has one topic."""
    lo = schema.bound("topic", value)
    return KeyRange(lo, lo[:-1] + bytes([lo[-1] + 1]), len(lo))
