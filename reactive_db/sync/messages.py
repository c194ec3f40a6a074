"""The messages between a kernel and the server of its store: frozen, versioned, one frame each.

Theory of operation. The client keeps the documents of the key ranges that it has read; the server keeps them fresh.
A *read* asks for a part of a range and watches it from then on; its answer is right at the timestamp of the
*transition* before it. A transition moves everything the client has to a newer timestamp at once: the documents that
changed in watched ranges, each once, however many commits lie between. A *commit* carries what a function read and
wrote; the server validates it like any other. Transitions and answers come in one order, so whoever has an answer has
everything that it rests on.

Requests are numbered by the client; what answers one has its number. Commits have a second number besides, `commit`,
in the order of the session: the server stores the last one in the same transaction, so a commit that is sent again
after a disconnect is applied once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias, cast

import msgspec

from reactive_db.engine.read_set import BY_ID, Space
from reactive_db.model.keys import KeyRange
from reactive_db.sync.shown import ColumnShown, StoreShown

VERSION: Final = 1
"""Of this protocol. A server speaks one; a client of another version is told so, and what to do."""


Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""What is counted up; also where JSON would let it be longer."""


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One frame."""


class Range(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Keys of one index of one table, from `lo` up to `hi`, which is outside; None is the end of the index.

    The index `by_id` has the ids as keys.
    """

    table: int
    index: str
    lo: bytes
    hi: bytes | None
    prefix: Number

    def __post_init__(self) -> None:
        # It comes from anybody, and the index of subscriptions has a place for each length that there is.
        if self.prefix > len(self.lo):
            raise ValueError("a prefix that is longer than the keys of the range")
        if self.index == BY_ID:
            self.lo.decode()  # raises one, too

    @classmethod
    def of(cls, space: Space, key_range: KeyRange) -> Range:
        return cls(space[0], space[1], key_range.lo, key_range.hi, key_range.prefix)

    @property
    def space(self) -> Space:
        return self.table, self.index

    @property
    def keys(self) -> KeyRange:
        return KeyRange(self.lo, self.hi, self.prefix)


class Written(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The new state of a document."""

    table: int
    id: str
    document: bytes | None
    """As it is stored, a msgpack map; None: there is none any more."""


# --- from the client -------------------------------------------------------------------------------------------------


class Hello(Message, frozen=True, tag="hello"):
    """The first message of a connection."""

    version: int
    session: str
    """32 hex digits that the client made up; the same after a reconnect."""
    description: str
    """Who is there, for people: a notebook's path, a program."""


class Read(Message, frozen=True, tag="read"):
    """Watch the first part of a range, or the last one, and send its documents."""

    request: Number
    range: Range
    descending: bool
    most: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class Count(Message, frozen=True, tag="count"):
    """Watch a range, and send how many documents it has."""

    request: Number
    range: Range


class Forget(Message, frozen=True, tag="forget"):
    """Watch nothing any more: the client begins anew when it has the answer."""

    request: Number


class Define(Message, frozen=True, tag="define"):
    """Create a table, or move it to a new definition."""

    request: Number
    definition: dict[str, Any]
    """The fields of a `TableDefinition`."""


class Commit(Message, frozen=True, tag="commit"):
    """Make writes durable and visible at one new timestamp, if nobody wrote in `reads` since `begin_ts`."""

    request: Number
    commit: Number
    begin_ts: Number
    source: str
    reads: list[Range]
    writes: list[Written]
    definitions: dict[int, str]
    """By number of each written table, the digest of the definition that the documents were built for."""


class Turn(Message, frozen=True, tag="turn"):
    """Let nobody else's commit in between the answer and this session's next commit, for a short time at most.

    Asked by who has lost too many races; answered when the commits and turns before it are done.
    """

    request: Number


class EndTurn(Message, frozen=True, tag="endturn"):
    """There will be no commit in the turn: the function raised, or wrote nothing this time. Not answered."""


class Sql(Message, frozen=True, tag="sql"):
    """Run a SELECT, and watch the tables it reads."""

    request: Number
    statement: str
    parameters: Any


class WatchPresence(Message, frozen=True, tag="watchpresence"):
    """Say who is connected, now and whenever that changes. Not answered."""


class LoadPart(Message, frozen=True, tag="load"):
    """Some documents of a bulk load; all are inserted, at one timestamp, when `is_last` comes."""

    request: Number
    number: Number
    """Which part of its load, from 0; a load that was given up has no last part."""
    table: int
    documents: list[tuple[str, bytes]]
    is_last: bool


class Overview(Message, frozen=True, tag="overview"):
    """Say how the store is, as a page shows it; and once, when something is different after that."""

    request: Number


class Browse(Message, frozen=True, tag="browse"):
    """Send the newest documents of a table, as text."""

    request: Number
    table: str


ClientMessage = (
    Hello
    | Read
    | Count
    | Forget
    | Define
    | Commit
    | Turn
    | EndTurn
    | Sql
    | WatchPresence
    | LoadPart
    | Overview
    | Browse
)


# --- from the server -------------------------------------------------------------------------------------------------


class Welcome(Message, frozen=True, tag="welcome"):
    """The answer to `Hello`."""

    version: int
    name: str
    """What people call the store."""
    user: str
    may: list[str]
    """Of `read`, `write`, `deploy`."""
    ts: int
    definitions: list[Written]
    """The documents of the table of tables, which every session watches."""
    commit: int
    """The number of this session's last commit; 0 if it made none."""


class Transition(Message, frozen=True, tag="transition"):
    """Everything the client has moves to `ts`."""

    ts: int
    source: str
    """The function that wrote last."""
    writes: list[Written]
    whole: list[int]
    """Tables of which more changed than is told: what the client has of them is void."""
    touched: list[int]
    """Tables that SQL has asked about, and that changed."""
    commit: int
    """The number of the last commit of the client's own on this connection that is in it; 0 before the first."""


class Rows(Message, frozen=True, tag="rows"):
    """The answer to `Read`: right at `ts`, which a transition has reached before."""

    request: int
    ts: int
    documents: list[tuple[str, bytes]]
    covered: Range
    """The part of the range that this is all of."""


class Counted(Message, frozen=True, tag="counted"):
    """The answer to `Count`: right from `ts` on, until a transition touches the table."""

    request: int
    ts: int
    range: Range
    count: int


class Defined(Message, frozen=True, tag="defined"):
    request: int
    ts: int


class Forgotten(Message, frozen=True, tag="forgotten"):
    """What was told before is not kept fresh; what is told from now on is."""

    request: int
    ts: int


class Committed(Message, frozen=True, tag="committed"):
    """A transition has reached `ts` before, if the client watches anything that was written."""

    request: int
    ts: int


class TurnCame(Message, frozen=True, tag="turncame"):
    """The answer to `Turn`: a transition has reached `ts` before, after which only this session commits."""

    request: int
    ts: int


class SqlRows(Message, frozen=True, tag="sqlrows"):
    """A part of the answer to `Sql`; the parts together are one Arrow stream."""

    request: int
    ts: int
    tables: list[int]
    """What the statement reads."""
    part: bytes
    is_last: bool


class Loaded(Message, frozen=True, tag="loaded"):
    request: int
    ts: int


class Present(msgspec.Struct, frozen=True, array_like=True):
    """Somebody who is connected."""

    user: str
    description: str
    """Where from: a notebook's path, a program."""
    since: float
    """In milliseconds since the epoch."""


class Presence(Message, frozen=True, tag="presence"):
    """Everybody who is connected to the store, the longest first."""

    present: list[Present]


class Failed(Message, frozen=True, tag="failed"):
    """Instead of an answer; with request 0 it is about the connection, which ends."""

    request: int
    code: str
    message: str
    details: dict[str, Any]


class OverviewIs(Message, frozen=True, tag="overviewis"):
    """The answer to `Overview`."""

    request: int
    store: StoreShown


class Browsed(Message, frozen=True, tag="browsed"):
    """The answer to `Browse`: right at `ts`, the newest first."""

    request: int
    ts: int
    columns: list[ColumnShown]
    rows: list[list[str]]


class Moved(Message, frozen=True, tag="moved"):
    """Something is different since the last answer to `Overview`; said once for each."""

    ts: int


ServerMessage = (
    Welcome
    | Transition
    | Rows
    | Counted
    | Defined
    | Forgotten
    | Committed
    | TurnCame
    | SqlRows
    | Loaded
    | Presence
    | Failed
    | OverviewIs
    | Browsed
    | Moved
)

encode: Final = msgspec.msgpack.Encoder(enc_hook=str).encode  # ids are a subclass of str
_client: Final = msgspec.msgpack.Decoder(ClientMessage)
_server: Final = msgspec.msgpack.Decoder(ServerMessage)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the messages of a connection look: the same ones in the same order, whichever it is.

    Attributes:
        encode: a message of the server as a frame.
        decode_client: a frame as a message of a client; raises msgspec.DecodeError.
        is_text: frames are text.
    """

    encode: Callable[[Message], bytes]
    decode_client: Callable[[bytes], Any]
    is_text: bool


MSGPACK: Final = Encoding(encode, _client.decode, is_text=False)
"""What kernels speak."""

JSON: Final = Encoding(
    msgspec.json.Encoder(enc_hook=str).encode, msgspec.json.Decoder(ClientMessage).decode, is_text=True
)
"""What pages speak: arrays that begin with the tag of the message. Bytes are base64."""

ENCODINGS: Final = {"msgpack": MSGPACK, "json": JSON}
"""By what a connection asks for."""


def decode_client(frame: bytes) -> ClientMessage:
    """Raises msgspec.DecodeError: it is no message of a client."""
    return cast("ClientMessage", _client.decode(frame))


def decode_server(frame: bytes) -> ServerMessage:
    """Raises msgspec.DecodeError: it is no message of a server."""
    return cast("ServerMessage", _server.decode(frame))
