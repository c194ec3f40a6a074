"""The server's half of a connection: takes frames, answers them in order, and says what has changed.

Theory of operation. Frames are queued and worked off one by one, on a worker thread and never on the event loop: a
commit waits for the disk, a first read of a table for DuckDB. What goes out has one order. A read watches its range
and fixes its timestamp in one step; until its answer is out, transitions wait, so none can overtake it.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, cast

import msgspec

from reactive_db import limits
from reactive_db.engine.read_set import BY_ID
from reactive_db.errors import ConflictError, LimitError, ProtocolError
from reactive_db.model.documents import Document
from reactive_db.model.keys import KeyRange
from reactive_db.storage.sql_result import to_ipc
from reactive_db.storage.tables import Table
from reactive_db.sync import messages as m
from reactive_db.sync.due import Soon
from reactive_db.sync.failures import failure
from reactive_db.sync.overview import browse, overview
from reactive_db.sync.publisher import Publisher
from reactive_db.sync.served import Caller, Load, Served

_SESSION: Final = re.compile("[0-9a-f]{32}")
_DESCRIPTION_CHARACTERS: Final = 200

Send = Callable[[bytes], None]
Step = Callable[[], None]
Submit = Callable[[Callable[[], None]], None]

_NEEDS: Final[dict[type[m.Message], str]] = {
    m.Hello: "read",
    m.Read: "read",
    m.Count: "read",
    m.Forget: "read",
    m.Sql: "read",
    m.WatchPresence: "read",
    m.Overview: "read",  # of what others do, it tells less to who may not deploy
    m.Browse: "read",
    m.Define: "write",
    m.Commit: "write",
    m.Turn: "write",
    m.EndTurn: "write",
    m.LoadPart: "write",
}


class ServerSession:
    """One connection to a store.

    Responsibilities: the order of answers, permissions, limits of one connection. Not: sockets, or who the caller is.
    """

    def __init__(
        self,
        served: Served,
        caller: Caller,
        send: Send,
        submit: Submit,
        soon: Soon,
        close: Callable[[], None],
        encoding: m.Encoding = m.MSGPACK,
    ) -> None:
        """`send` may be called on any thread and does not wait; `submit` calls a function soon on a worker thread,
        `soon` on the thread that sends.
        """
        self.caller = caller
        self.description = ""
        self._served = served
        self._send = send
        self._submit = submit
        self._soon = soon
        self._close = close
        self._encoding = encoding
        self._activity = served.activity
        self._clock = served.store.runtime.monotonic
        self.session = ""
        self._news = served.publisher.join(self)
        self._frames: deque[bytes | Step] = deque()
        self._is_working = False
        self._is_held = False
        self._is_answering = False
        self._is_open = True
        self._is_due = False
        self._hears_presence = False
        self._is_presence_due = False
        self._is_move_due = False
        self._unsent = 0
        self._loading: list[tuple[str, bytes]] = []
        self._loaded_parts = 0
        self._lock = threading.Lock()

    # --- what the connection tells us ---------------------------------------------------------------------------------

    def hear(self, frame: bytes) -> None:
        """Take a frame; never waits."""
        with self._lock:
            if len(self._frames) >= limits.SESSION_REQUESTS_MAX:
                raise LimitError(
                    f"more than {limits.SESSION_REQUESTS_MAX} requests wait (SESSION_REQUESTS_MAX).",
                    limit="SESSION_REQUESTS_MAX",
                )
            self._frames.append(frame)
            if self._is_working:
                return
            self._is_working = True
        self._submit(self._work)

    def drained(self) -> None:
        """The connection has taken one more frame to the network."""
        with self._lock:
            self._unsent -= 1
        if self._is_due:
            self.flush()

    def closed(self) -> None:
        """The connection is gone."""
        self._is_open = False
        self._activity.look_away(self)
        self._served.publisher.leave(self._news, self.session)
        self._served.turns.forget(self)
        self._served.leave(self)

    def end(self) -> None:
        """End the connection: another one has taken its place."""
        self._close()

    def presence_changed(self) -> None:
        """Somebody came or went."""
        if self._hears_presence:
            self._is_presence_due = True
            self.wake()

    def moved(self) -> None:
        """The store is not any more as the last overview said; see `Looker`."""
        self._is_move_due = True
        self.wake()

    def load(self) -> Load:
        """What it watches and what waits for it, just now."""
        news = self._news
        with self._lock:
            requests, frames = len(self._frames), self._unsent
        return Load(len(news.watched), len(news.asked), requests, len(news.documents), frames)

    def wake(self) -> None:
        """There is news; see `Wakeable`."""
        if not self._is_due:
            self._is_due = True
            self._served.due.add(self, self._soon)

    # --- the rest -----------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Say what has changed, if it may be said now; else whoever is in the way calls again."""
        with self._lock:
            self._is_due = True
            is_begun = self._is_open and bool(self.session)
            if not is_begun or self._is_answering or self._unsent >= limits.SESSION_UNSENT_MAX:
                return
            self._is_due = False
            publisher = self._served.publisher
            with publisher.lock:
                transition = self._news.take(publisher.ts)
            if transition is not None:
                self._out(transition)
            if self._is_presence_due:
                self._is_presence_due = False
                self._out(m.Presence(self._served.present()))
            if self._is_move_due:
                self._is_move_due = False
                self._out(m.Moved(publisher.ts))

    def _out(self, *messages: Any) -> None:
        """Send; the caller has the lock, so that what is sent has one order."""
        frames = self._served.publisher.frames
        for message in messages:
            self._unsent += 1
            is_transition = isinstance(message, m.Transition)
            frame = frames.frame(message, self._encoding) if is_transition else self._encoding.encode(message)
            self._activity.sent(len(frame), is_transition)
            self._send(frame)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._frames or not self._is_open or self._is_held:
                    self._is_working = False
                    return
                frame = self._frames.popleft()
            if callable(frame):
                frame()
            else:
                self._answer(frame)

    def _do_next(self, step: Step) -> None:
        """Have a worker do `step` before any other frame is answered."""
        with self._lock:
            self._is_held = False
            self._frames.appendleft(step)
            if self._is_working:
                return
            self._is_working = True
        self._submit(self._work)

    def _answer(self, frame: bytes) -> None:
        try:
            message = decoded(frame, self._encoding)
        except ProtocolError as error:
            self._refuse(0, "unknown", error)
        else:
            self._do(message, _ANSWERS[type(message)])

    def _do(self, message: m.ClientMessage, answer: Callable[[ServerSession, Any], None]) -> None:
        request, kind, started = getattr(message, "request", 0), KINDS[type(message)], self._clock()
        try:
            if (type(message) is m.Hello) == bool(self.session):
                raise ProtocolError("a connection begins with `hello`, once.")
            self._served.check(self.caller, _NEEDS[type(message)])
            answer(self, message)
        except Exception as error:
            self._refuse(request, kind, error)
        self._activity.answered(kind, self._clock() - started)
        if kind not in _LOOKS:  # else a page would hear of its own looking, and look again, for ever
            self._activity.stir()

    def _refuse(self, request: int, kind: str, error: Exception) -> None:
        if not isinstance(error, ConflictError):
            self._activity.refused(self.caller.name, kind, error)
        self._fail(request, error)

    def _fail(self, request: int, error: Exception) -> None:
        """Answer with an error; who lost a race has heard of the winner before, and can run on what that wrote."""
        if request == 0 or not self.session:
            with self._lock:
                self._out(failure(0, error))
            self._close()
        else:
            with self._answering() as answer:
                answer.messages = [failure(request, error)]

    @contextmanager
    def _answering(self, watch: Callable[[Publisher], object] = lambda publisher: None) -> Iterator[_Answer]:
        """Within, an answer is made that is right at one timestamp, from which on more is watched.

        The transition to that timestamp goes out before the answer, and others wait until it is out.
        """
        publisher, answer = self._served.publisher, _Answer()
        snapshots = self._served.store.snapshots
        with self._lock, publisher.lock:
            watch(publisher)
            self._is_answering = True
            answer.ts = publisher.ts
            transition = self._news.take(answer.ts)
            snapshots.begin_at(answer.ts)  # while nothing newer can be published: what it sees is all there
        try:
            yield answer
        finally:
            snapshots.end(answer.ts)
            with self._lock:
                self._is_answering = False
                before = [] if transition is None or answer.is_first else [transition]
                self._out(*before, *answer.messages)
            if self._is_due:
                self.flush()

    def _on_hello(self, message: m.Hello) -> None:
        if message.version != m.VERSION:
            raise ProtocolError(
                f"the client speaks version {message.version} of the protocol, this server version {m.VERSION}. "
                "Install the same version of reactive-db on both sides."
            )
        if not _SESSION.fullmatch(message.session):
            raise ProtocolError("a session is named by 32 hex digits.")
        served = self._served
        with self._answering() as answer:
            answer.is_first = True
            self.session, self.description = message.session, message.description[:_DESCRIPTION_CHARACTERS]
            served.enter(self)
            served.publisher.name(self._news, self.session)
            answer.messages = [
                m.Welcome(
                    version=m.VERSION,
                    name=served.name,
                    user=self.caller.name,
                    may=sorted(self.caller.may),
                    ts=answer.ts,
                    definitions=[m.Written(*one) for one in served.publisher.definitions()],
                    commit=served.last_commit(message.session),
                )
            ]

    def _on_read(self, message: m.Read) -> None:
        asked, space, key_range = message.range, message.range.space, message.range.keys
        table = self._served.table(asked.table)
        if asked.index != BY_ID:
            table.schema.index(asked.index)  # raises if there is none
        most = min(message.most, limits.READ_DOCUMENTS_MAX)
        with self._answering(lambda publisher: publisher.watch(self._news, (space, key_range))) as answer:
            found, covered = _part(table, asked.index, key_range, answer.ts, message.descending, most)
            publisher = self._served.publisher
            with publisher.lock:
                publisher.unwatch(self._news, (space, key_range))
                publisher.watch(self._news, (space, covered))
            encode = table.schema.encode
            documents = [(str(document.id), encode(document)) for document in found]
            answer.messages = [m.Rows(message.request, answer.ts, documents, m.Range.of(space, covered))]

    def _on_count(self, message: m.Count) -> None:
        # The client has not the documents, so it cannot tell which of their old keys were in the range.
        asked = message.range
        table = self._served.table(asked.table)
        with self._answering(lambda publisher: self._news.asked.add(asked.table)) as answer:
            count = table.count(asked.index, asked.keys, answer.ts)
            answer.messages = [m.Counted(message.request, answer.ts, asked, count)]

    def _on_forget(self, message: m.Forget) -> None:
        with self._answering(lambda publisher: publisher.forget(self._news)) as answer:
            answer.messages = [m.Forgotten(message.request, answer.ts)]

    def _on_define(self, message: m.Define) -> None:
        self._served.define(message.definition)
        with self._answering() as answer:
            answer.messages = [m.Defined(message.request, answer.ts)]

    def _on_commit(self, message: m.Commit) -> None:
        """Commit, or go on to nothing else until others' turns let it."""
        self._is_held = True  # first: it may be let go on at once
        if self._served.turns.enter(self, lambda: self._go_on(message)):
            self._is_held = False
            self._commit(message)

    def _go_on(self, message: m.Commit) -> None:
        self._do_next(lambda: self._do(message, ServerSession._commit))
        if not self._is_open:
            self._served.turns.leave(self)  # nobody does it any more

    def _commit(self, message: m.Commit) -> None:
        try:
            ts = self._served.commit(self.session, self.caller.name, message)
        finally:
            self._served.turns.leave(self)
        with self._answering() as answer:
            answer.messages = [m.Committed(message.request, ts)]

    def _on_turn(self, message: m.Turn) -> None:
        self._served.turns.ask(self, lambda: self._do_next(lambda: self._tell_turn(message)))

    def _tell_turn(self, message: m.Turn) -> None:
        with self._answering() as answer:
            answer.messages = [m.TurnCame(message.request, answer.ts)]

    def _on_end_turn(self, message: m.EndTurn) -> None:
        self._served.turns.end(self)

    def _on_load(self, message: m.LoadPart) -> None:
        if message.number not in (0, self._loaded_parts):
            raise ProtocolError(f"part {message.number} of a load came after {self._loaded_parts} parts.")
        if message.number == 0:
            self._loading = []  # of one that was given up
        self._loading += message.documents
        self._loaded_parts = message.number + 1
        if len(self._loading) > limits.LOAD_DOCUMENTS_MAX:
            self._loading = []
            raise LimitError(
                f"more than {limits.LOAD_DOCUMENTS_MAX:,} documents in one load (LOAD_DOCUMENTS_MAX). Load in parts.",
                limit="LOAD_DOCUMENTS_MAX",
            )
        if message.is_last:
            documents, self._loading, self._loaded_parts = self._loading, [], 0
            self._served.load(message.table, documents)
        with self._answering() as answer:
            answer.messages = [m.Loaded(message.request, answer.ts)]

    def _on_watch_presence(self, message: m.WatchPresence) -> None:
        self._hears_presence = True
        self.presence_changed()

    def _on_overview(self, message: m.Overview) -> None:
        self._activity.look(self)  # first: what changes meanwhile is told
        shown = overview(self._served, self)
        with self._lock:
            self._out(m.OverviewIs(message.request, shown))

    def _on_browse(self, message: m.Browse) -> None:
        browsed = browse(self._served, message.request, message.table)
        with self._lock:
            self._out(browsed)

    def _on_sql(self, message: m.Sql) -> None:
        served, publisher = self._served, self._served.publisher
        tables = served.tables_named_in(message.statement)
        with publisher.lock:
            self._news.asked.update(tables)  # first: also who gets an error wants to hear when to ask again
        for _ in range(limits.SQL_TRIES_MAX):
            result = served.sql(self.caller, message.statement, message.parameters)
            with self._answering() as answer:
                with publisher.lock:
                    is_right = publisher.last_write(tables) <= result.ts
                if is_right:
                    answer.messages = _sql_parts(message.request, answer.ts, tables, to_ipc(result))
                    return
        raise LimitError(
            f"the tables of this statement changed while it ran, {limits.SQL_TRIES_MAX} times (SQL_TRIES_MAX). Ask "
            "again, or read less.",
            limit="SQL_TRIES_MAX",
        )


class _Answer:
    """What goes out at one timestamp."""

    def __init__(self) -> None:
        self.ts = 0
        self.messages: Sequence[m.Message] = ()
        self.is_first = False
        """Nothing was said before it, and it moves the client to `ts` by itself."""


_ANSWERS: Final[dict[type[m.Message], Callable[[ServerSession, Any], None]]] = {
    m.Hello: ServerSession._on_hello,
    m.Read: ServerSession._on_read,
    m.Count: ServerSession._on_count,
    m.Forget: ServerSession._on_forget,
    m.Define: ServerSession._on_define,
    m.Commit: ServerSession._on_commit,
    m.Turn: ServerSession._on_turn,
    m.EndTurn: ServerSession._on_end_turn,
    m.LoadPart: ServerSession._on_load,
    m.Sql: ServerSession._on_sql,
    m.WatchPresence: ServerSession._on_watch_presence,
    m.Overview: ServerSession._on_overview,
    m.Browse: ServerSession._on_browse,
}

KINDS: Final = {kind: str(kind.__struct_config__.tag) for kind in _ANSWERS}
"""What each request is called in figures."""

_LOOKS: Final = {KINDS[m.Overview], KINDS[m.Browse]}


def decoded(frame: bytes, encoding: m.Encoding = m.MSGPACK) -> m.ClientMessage:
    """What a client said.

    Raises:
        ProtocolError: it is no message.
    """
    try:
        return cast("m.ClientMessage", encoding.decode_client(frame))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"this is no message of the protocol: {error}.") from None


def _part(
    table: Table, index: str, key_range: KeyRange, ts: int, descending: bool, most: int
) -> tuple[list[Document], KeyRange]:
    """The first documents of a range, or the last ones, and the part of it that these are all of."""
    if index == BY_ID:
        found = table.get(key_range.lo.decode(), ts) if key_range.hi == key_range.lo + b"\0" else None
        return [found] if found is not None else [], key_range
    pairs = list(islice(table.scan(index, key_range, ts, descending), most))
    if len(pairs) < most:
        return [document for _, document in pairs], key_range
    lo, hi, prefix = key_range
    last = pairs[-1][0]
    covered = KeyRange(last, hi, prefix) if descending else KeyRange(lo, last + b"\0", prefix)
    return [document for _, document in pairs], covered


def _sql_parts(request: int, ts: int, tables: list[int], data: bytes) -> list[m.SqlRows]:
    size = limits.MESSAGE_BYTES
    cuts = range(0, max(len(data), 1), size)
    return [m.SqlRows(request, ts, tables, data[at : at + size], at + size >= len(data)) for at in cuts]
