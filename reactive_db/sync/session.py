"""The server's half of a connection: takes frames, answers them in order, and says what has changed.

Theory of operation. Frames are queued and worked off one by one, on a worker thread and never on the event loop: a
commit waits for the disk, a first read of a table for DuckDB. Clients' SQL, which may take its time, has workers of
its own, so that nobody's reads and commits wait for it. What goes out has one order. A read watches its range
and fixes its timestamp in one step; until its answer is out, transitions wait, so none can overtake it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final, cast

import msgspec

from reactive_db import limits
from reactive_db.engine.read_set import BY_ID
from reactive_db.errors import ConflictError, LimitError, ProtocolError
from reactive_db.model.documents import Document
from reactive_db.model.keys import KeyRange
from reactive_db.model.policy import Scope
from reactive_db.storage.sql_result import to_ipc
from reactive_db.storage.tables import Table
from reactive_db.sync import messages as m
from reactive_db.sync.due import Soon
from reactive_db.sync.failures import failure
from reactive_db.sync.overview import browse, overview
from reactive_db.sync.policies import Policies
from reactive_db.sync.publisher import Publisher
from reactive_db.sync.served import Caller, Load, Served

_SESSION: Final = re.compile("[0-9a-f]{32}")
_DESCRIPTION_CHARACTERS: Final = 200

_log = logging.getLogger(__name__)

Send = Callable[[bytes], None]
Step = Callable[[], None]
Answer = Callable[["ServerSession", Any], None]


@dataclass(frozen=True, slots=True)
class Threads:
    """Where the work of sessions is done.

    Attributes:
        on_worker: answers, one of a session after the other.
        on_patient_worker: clients' SQL, which may keep it waiting.
        on_sender: says what is new; the one thread that sends.
    """

    on_worker: Soon
    on_patient_worker: Soon
    on_sender: Soon


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
        close: Callable[[], None],
        threads: Threads,
        encoding: m.Encoding = m.MSGPACK,
    ) -> None:
        """`send` may be called on any thread and does not wait."""
        self.caller = caller
        self.description = ""
        self._served = served
        self._send = send
        self._close = close
        self._threads = threads
        self._encoding = encoding
        self._activity = served.activity
        self._clock = served.store.runtime.monotonic
        self.session = ""
        self._news = served.publisher.join(self, caller)
        self._frames: deque[bytes | Step] = deque()
        self._frames_bytes = 0
        self._is_working = False
        self._is_held = False
        self._is_answering = False
        self._is_open = True
        self._is_due = False
        self._hears_presence = False
        self._is_presence_due = False
        self._is_move_due = False
        self._unsent: deque[int] = deque()
        """The sizes of the frames that wait for the network."""
        self._unsent_bytes = 0
        self._loading: list[tuple[str, bytes]] = []
        self._loading_bytes = 0
        self._loaded_parts = 0
        self._lock = threading.Lock()

    # --- what the connection tells us ---------------------------------------------------------------------------------

    def hear(self, frame: bytes) -> None:
        """Take a frame; never waits.

        Raises:
            LimitError: too much waits already.
        """
        with self._lock:
            self._check_room(frame)
            self._frames.append(frame)
            self._frames_bytes += len(frame)
        self._go_on()

    def drained(self) -> None:
        """The connection has taken one more frame to the network."""
        with self._lock:
            if self._unsent:
                self._unsent_bytes -= self._unsent.popleft()
        self._go_on()
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
            requests, frames = len(self._frames), len(self._unsent)
        return Load(len(news.watched), len(news.asked), requests, len(news.documents), frames)

    def wake(self) -> None:
        """There is news; see `Wakeable`."""
        if not self._is_due:
            self._is_due = True
            self._served.due.add(self, self._threads.on_sender)

    # --- the rest -----------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Say what has changed, if it may be said now; else whoever is in the way calls again."""
        with self._lock:
            self._is_due = True
            is_begun = self._is_open and bool(self.session)
            if not is_begun or self._is_answering or len(self._unsent) >= limits.SESSION_UNSENT_MAX:
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
            is_transition = isinstance(message, m.Transition)
            frame = frames.frame(message, self._encoding) if is_transition else self._encoding.encode(message)
            self._unsent.append(len(frame))
            self._unsent_bytes += len(frame)
            self._activity.sent(len(frame), is_transition)
            self._send(frame)

    def _check_room(self, frame: bytes) -> None:
        if len(self._frames) >= limits.SESSION_REQUESTS_MAX:
            raise LimitError(
                f"more than {limits.SESSION_REQUESTS_MAX} requests wait (SESSION_REQUESTS_MAX).",
                limit="SESSION_REQUESTS_MAX",
            )
        if self._frames_bytes + len(frame) > limits.SESSION_REQUESTS_BYTES_MAX:
            raise LimitError(
                f"requests of more than {limits.SESSION_REQUESTS_BYTES_MAX:,} bytes wait (SESSION_REQUESTS_BYTES_MAX).",
                limit="SESSION_REQUESTS_BYTES_MAX",
            )

    @property
    def _may_answer(self) -> bool:
        """Whether there is something to answer, for somebody who takes answers. The caller has the lock."""
        is_free = self._is_open and not self._is_held
        return bool(self._frames) and is_free and self._unsent_bytes <= limits.SESSION_UNSENT_BYTES_MAX

    def _go_on(self) -> None:
        """Have what waits worked off, unless somebody is about it."""
        with self._lock:
            if self._is_working or not self._may_answer:
                return
            self._is_working = True
        self._threads.on_worker(self._work)

    def _do_next(self, step: Step) -> None:
        """Have a worker do `step` before any other frame is answered."""
        with self._lock:
            self._is_held = False
            self._frames.appendleft(step)
        self._go_on()

    def _next_frame(self) -> bytes | Step | None:
        with self._lock:
            if not self._may_answer:
                self._is_working = False
                return None
            frame = self._frames.popleft()
            self._frames_bytes -= len(frame) if isinstance(frame, bytes) else 0
            return frame

    def _work(self) -> None:
        while (frame := self._next_frame()) is not None:
            message: m.ClientMessage | ProtocolError
            if callable(frame):
                frame()
                continue
            try:
                message = decoded(frame, self._encoding)
            except ProtocolError as error:
                message = error
            if isinstance(message, m.Sql) and not self.caller.is_owner:
                self._threads.on_patient_worker(partial(self._work_apart, message))
                return
            self._answer_safely(message)

    def _work_apart(self, message: m.Sql) -> None:
        """Answer where waiting keeps nobody, if somebody still wants to know; the rest comes after it."""
        if self._is_open:
            self._answer_safely(message)
        self._threads.on_worker(self._work)

    def _answer_safely(self, message: m.ClientMessage | ProtocolError, answer: Answer | None = None) -> None:
        try:
            self._answer(message, answer)
        except Exception:
            _log.exception("an answer could not be given; the connection ends")
            self._close()

    def _answer(self, message: m.ClientMessage | ProtocolError, answer: Answer | None = None) -> None:
        request, kind, started = 0, "unknown", self._clock()
        try:
            if isinstance(message, ProtocolError):
                raise message
            request, kind = getattr(message, "request", 0), KINDS[type(message)]
            if (type(message) is m.Hello) == bool(self.session):
                raise ProtocolError("a connection begins with `hello`, once.")
            self._served.check(self.caller, _NEEDS[type(message)])
            (answer or _ANSWERS[type(message)])(self, message)
        except Exception as error:
            if not isinstance(error, ConflictError):
                self._activity.refused(self.caller.name, kind, error)
            self._fail(request, error)
        self._activity.answered(kind, self._clock() - started)
        if kind not in _LOOKS:  # else a page would hear of its own looking, and look again, for ever
            self._activity.stir()

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
            answer.ts, answer.policies = publisher.ts, publisher.policies
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
            table, scope = self._seen(table, answer)
            found, covered = _part(table, asked.index, key_range, answer.ts, message.descending, most, scope)
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
            table, scope = self._seen(table, answer)
            if scope is None:
                count = table.count(asked.index, asked.keys, answer.ts)
            else:
                count = sum(1 for _ in _pairs(table, asked.index, asked.keys, answer.ts, False, scope))
            answer.messages = [m.Counted(message.request, answer.ts, asked, count)]

    def _seen(self, table: Table, answer: _Answer) -> tuple[Table, Scope | None]:
        """A table as its policy at the answer's timestamp knows it, and which of its documents the caller may read."""
        number = table.schema.number
        if table.schema.policy != answer.policies.of(number):
            table = self._served.table(number)  # it was declared anew since somebody looked
        return table, answer.policies.readable(number, self.caller)

    def _on_forget(self, message: m.Forget) -> None:
        with self._answering(lambda publisher: publisher.forget(self._news)) as answer:
            answer.messages = [m.Forgotten(message.request, answer.ts)]

    def _on_define(self, message: m.Define) -> None:
        self._served.define(self.caller, message.definition)
        with self._answering() as answer:
            answer.messages = [m.Defined(message.request, answer.ts)]

    def _on_commit(self, message: m.Commit) -> None:
        """Commit, or go on to nothing else until others' turns let it."""
        self._is_held = True  # first: it may be let go on at once
        if self._served.turns.enter(self, lambda: self._commit_next(message)):
            self._is_held = False
            self._commit(message)

    def _commit_next(self, message: m.Commit) -> None:
        self._do_next(partial(self._answer_safely, message, ServerSession._commit))
        if not self._is_open:
            self._served.turns.leave(self)  # nobody does it any more

    def _commit(self, message: m.Commit) -> None:
        try:
            ts = self._served.commit(self.session, self.caller, message)
        finally:
            self._served.turns.leave(self)
        with self._answering() as answer:
            answer.messages = [m.Committed(message.request, ts)]

    def _on_turn(self, message: m.Turn) -> None:
        tell = partial(self._answer_safely, message, ServerSession._tell_turn)
        self._served.turns.ask(self, partial(self._do_next, tell))

    def _tell_turn(self, message: m.Turn) -> None:
        with self._answering() as answer:
            answer.messages = [m.TurnCame(message.request, answer.ts)]

    def _on_end_turn(self, message: m.EndTurn) -> None:
        self._served.turns.end(self)

    def _on_load(self, message: m.LoadPart) -> None:
        if message.number not in (0, self._loaded_parts):
            raise ProtocolError(f"part {message.number} of a load came after {self._loaded_parts} parts.")
        if message.number == 0:
            self._take_load()  # of one that was given up
        self._loading += message.documents
        self._loading_bytes += sum(len(data) for _, data in message.documents)
        self._loaded_parts = message.number + 1
        self._check_load()
        if message.is_last:
            self._served.load(self.caller, message.table, self._take_load())
        with self._answering() as answer:
            answer.messages = [m.Loaded(message.request, answer.ts)]

    def _check_load(self) -> None:
        for limit, size, what in (
            ("LOAD_DOCUMENTS_MAX", len(self._loading), "documents"),
            ("LOAD_BYTES_MAX", self._loading_bytes, "bytes"),
        ):
            most: int = getattr(limits, limit)
            if size > most:
                self._take_load()
                raise LimitError(f"more than {most:,} {what} in one load ({limit}). Load in parts.", limit=limit)

    def _take_load(self) -> list[tuple[str, bytes]]:
        """What was loaded so far; the next load begins with nothing."""
        documents, self._loading, self._loading_bytes, self._loaded_parts = self._loading, [], 0, 0
        return documents

    def _on_watch_presence(self, message: m.WatchPresence) -> None:
        self._hears_presence = True
        self.presence_changed()

    def _on_overview(self, message: m.Overview) -> None:
        self._activity.look(self)  # first: what changes meanwhile is told
        shown = overview(self._served, self)
        with self._lock:
            self._out(m.OverviewIs(message.request, shown))

    def _on_browse(self, message: m.Browse) -> None:
        browsed = browse(self._served, self, message.request, message.table)
        with self._lock:
            self._out(browsed)

    def _on_sql(self, message: m.Sql) -> None:
        served, publisher = self._served, self._served.publisher
        tables = served.tables_named_in(message.statement)
        with publisher.lock:
            self._news.asked.update(tables)  # first: also who gets an error wants to hear when to ask again
        for _ in range(limits.SQL_TRIES_MAX):
            hidden = publisher.policies.hidden(self.caller)
            result = served.sql(self.caller, message.statement, message.parameters, hidden)
            with self._answering() as answer:
                with publisher.lock:
                    is_right = publisher.last_write(tables) <= result.ts
                if is_right and answer.policies.hidden(self.caller) == hidden:
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
        self.policies = Policies(())
        """Those in force at `ts`."""
        self.messages: Sequence[m.Message] = ()
        self.is_first = False
        """Nothing was said before it, and it moves the client to `ts` by itself."""


_ANSWERS: Final[dict[type[m.Message], Answer]] = {
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
    table: Table, index: str, key_range: KeyRange, ts: int, descending: bool, most: int, scope: Scope | None
) -> tuple[list[Document], KeyRange]:
    """The first documents of a range, or the last ones, that `scope` has, and the part that these are all of."""
    if index == BY_ID:
        found = table.get(key_range.lo.decode(), ts) if key_range.hi == key_range.lo + b"\0" else None
        return [found] if found is not None and (scope is None or scope.has(found)) else [], key_range
    pairs = list(islice(_pairs(table, index, key_range, ts, descending, scope), most))
    if len(pairs) < most:
        return [document for _, document in pairs], key_range
    lo, hi, prefix = key_range
    last = pairs[-1][0]
    covered = KeyRange(last, hi, prefix) if descending else KeyRange(lo, last + b"\0", prefix)
    return [document for _, document in pairs], covered


def _pairs(
    table: Table, index: str, key_range: KeyRange, ts: int, descending: bool, scope: Scope | None
) -> Iterator[tuple[bytes, Document]]:
    """Keys and documents of a range, in order, without those that `scope` has not."""
    pairs = table.scan(index, key_range, ts, descending)
    return pairs if scope is None else (pair for pair in pairs if scope.has(pair[1]))


def _sql_parts(request: int, ts: int, tables: list[int], data: bytes) -> list[m.SqlRows]:
    size = limits.MESSAGE_BYTES
    cuts = range(0, max(len(data), 1), size)
    return [m.SqlRows(request, ts, tables, data[at : at + size], at + size >= len(data)) for at in cuts]
