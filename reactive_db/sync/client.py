"""The client's half of a connection: numbers requests, matches answers, and outlives the connection.

Theory of operation. A request waits for its answer in the thread that made it. When the connection is lost, reads
fail at once, and their functions run again later; commits wait: the server may have applied them. After a reconnect
the server says which commit of this session was its last, so each is either done or sent once more, as it was.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from reactive_db.engine.access import Status
from reactive_db.engine.snapshots import Unreachable
from reactive_db.errors import OfflineError, ReactiveDBError, StoreClosedError
from reactive_db.interrupts import Uninterrupted
from reactive_db.sync import messages as m
from reactive_db.sync.failures import error_of

Send = Callable[[bytes], None]

_log = logging.getLogger(__name__)


class Hearer(Protocol):
    """Takes what the server says; called by the receiving thread, in the order it was said."""

    def welcomed(self, welcome: m.Welcome) -> None:
        """A connection begins: whatever was told before it is void."""

    def begun(self) -> None:
        """After `welcomed`: requests are answered again."""

    def told(self, message: m.Message) -> None:
        """A transition, or an answer, before whoever asked goes on."""

    def cut_off(self) -> None:
        """The connection is lost; what is known here is not kept fresh any more."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request without an answer."""

    message: m.Message
    wake: Any = field(default_factory=threading.Lock)
    answer: list[m.Message] = field(default_factory=list)
    """Its parts."""
    error: BaseException | None = None


class ClientSession:
    """One session with a server, through any number of connections.

    Responsibilities: requests and answers, reconnecting without losing or repeating a commit. Not: sockets, or what
    the answers mean.
    """

    def __init__(self, session: str, description: str, hearer: Hearer) -> None:
        self.welcome: m.Welcome | None = None
        """Of the present connection; None while there is none."""
        self._session = session
        self._description = description
        self._hearer = hearer
        self._send: Send | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._numbers = 0
        self._commits = 0
        self._closed: ReactiveDBError | None = None
        self._refusal: ReactiveDBError | None = None
        self._has_begun = threading.Event()
        self._in_reach = threading.Event()
        """Set while requests are answered, and for good when they never will be."""
        self._turn = threading.Lock()
        self._lock = threading.Lock()

    # --- for whoever asks ---------------------------------------------------------------------------------------------

    def wait_until_open(self, seconds: float) -> m.Welcome:
        """The first welcome.

        Raises:
            ReactiveDBError: what the server refused the connection for.
            OfflineError: it did not answer within `seconds`.
        """
        self._has_begun.wait(seconds)
        if self._refusal is not None:
            raise self._refusal
        if self.welcome is None:
            raise OfflineError(
                f"the server did not answer within {seconds:g} s. Is it running, and is the address right? Try again, "
                "or give it more time with `seconds=`."
            )
        return self.welcome

    def wait_in_reach(self) -> None:
        """Return when requests are answered; raises StoreClosedError, or what the server refused, if they never are."""
        self._in_reach.wait()
        self.check_open()

    def say(self, message: m.Message) -> None:
        """Send what is not answered; nothing without a connection."""
        with self._lock:
            send = self._send if self.welcome is not None else None
        if send is not None:
            send(m.encode(message))

    def ask(self, make: Callable[[int], m.Message]) -> m.Message:
        """Send a request and return its answer, which the hearer has taken.

        Raises:
            Unreachable: there is no connection, or it was lost meanwhile.
            ReactiveDBError: what the server answered.
        """
        return self.ask_all(make)[-1]

    def ask_all(self, make: Callable[[int], m.Message]) -> list[m.Message]:
        """The same, for an answer that may come in parts."""
        return self._wait(self._begin(make, must_be_open=True))

    def commit(
        self, make: Callable[[int, int], m.Commit], on_sent: Callable[[int | None], None] | None = None
    ) -> m.Message:
        """Send a commit and return its answer, however long that takes; one at a time.

        `on_sent` is told its number before it is sent, and None before another one is if it was refused.
        If an interrupt ends the waiting, the commit is still under way, and is not repeated by anybody.

        Raises:
            ConflictError, ReactiveDBError: what the server answered; nothing was written.
        """
        with Uninterrupted() as interrupts:
            interrupts.acquire(self._turn)
            try:
                number = self._commits = self._commits + 1
                if on_sent is not None:
                    on_sent(number)
                waiting = self._begin(lambda request: make(request, number), must_be_open=False)
                return interrupts.call(lambda: self._wait(waiting))[-1]
            except ReactiveDBError:
                if on_sent is not None:
                    on_sent(None)
                raise
            finally:
                self._turn.release()

    @property
    def pending(self) -> int:
        """How many commits wait for their answer."""
        with self._lock:
            return sum(isinstance(one.message, m.Commit) for one in self._waiting.values())

    @property
    def status(self) -> Status:
        """`syncing` while commits are under way, `offline` without a connection."""
        if self.welcome is None:
            return "offline"
        return "syncing" if self.pending else "synced"

    def check_open(self) -> None:
        """Raises StoreClosedError after `close`."""
        if self._closed is not None:
            raise self._closed

    def close(self) -> None:
        """Whoever waits, or asks later, gets StoreClosedError."""
        self._end(StoreClosedError("the connection was closed. Connect again."))

    # --- for the connection, called by the receiving thread -----------------------------------------------------------

    def opened(self, send: Send) -> None:
        """There is a connection; `send` may be called on any thread, and does nothing once it is lost."""
        with self._lock:
            self._send = send
        send(m.encode(m.Hello(m.VERSION, self._session, self._description)))

    def refused(self, error: ReactiveDBError) -> None:
        """The server does not want us; there will be no other connection."""
        self._refusal = error
        self._end(error)

    def hear(self, frame: bytes) -> None:
        """Take a frame.

        Raises:
            msgspec.DecodeError: it is no message; the connection is of no use any more.
        """
        message = m.decode_server(frame)
        if isinstance(message, m.Welcome):
            self._begin_anew(message)
        elif isinstance(message, m.Transition | m.Presence):
            if self.welcome is not None:
                self._hearer.told(message)
        elif isinstance(message, m.Failed) and message.request == 0:
            self._refusal = error_of(message)
            self._has_begun.set()
            _log.warning("the server ends the connection: %s", self._refusal)
        else:
            self._answer(message)

    def lost(self) -> None:
        """The connection is gone; another one may come."""
        with self._lock:
            self._send, self.welcome = None, None
            if self._closed is None:
                self._in_reach.clear()
            lost = [number for number, one in self._waiting.items() if not isinstance(one.message, m.Commit)]
            failed = [self._waiting.pop(number) for number in lost]
        for one in failed:
            one.error = Unreachable()
            one.wake.release()
        self._hearer.cut_off()

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _begin(self, make: Callable[[int], m.Message], must_be_open: bool) -> _Waiting:
        with self._lock:
            if self._closed is not None:
                raise self._closed
            if must_be_open and self.welcome is None:
                raise Unreachable
            self._numbers += 1
            waiting = self._waiting[self._numbers] = _Waiting(make(self._numbers))
            waiting.wake.acquire()
            send = self._send if self.welcome is not None else None
        if send is not None:
            send(m.encode(waiting.message))
        return waiting

    def _wait(self, waiting: _Waiting) -> list[m.Message]:
        waiting.wake.acquire()
        if waiting.error is not None:
            raise waiting.error
        return waiting.answer

    def _begin_anew(self, welcome: m.Welcome) -> None:
        self._hearer.welcomed(welcome)
        with self._lock:
            self.welcome, send = welcome, self._send
            waiting = list(self._waiting.items())
        assert send is not None
        for number, one in waiting:
            if isinstance(one.message, m.Commit) and one.message.commit <= welcome.commit:
                self._answer(m.Committed(number, welcome.ts))
            else:
                send(m.encode(one.message))
        self._has_begun.set()
        self._in_reach.set()
        self._hearer.begun()

    def _answer(self, message: Any) -> None:
        with self._lock:
            waiting = self._waiting.get(message.request)
        if waiting is None:
            return  # whoever asked was interrupted
        if isinstance(message, m.Failed):
            waiting.error = error_of(message)
        else:
            try:
                self._hearer.told(message)
            except Exception as error:  # theirs who asked, and nobody else's
                waiting.error = error
            waiting.answer.append(message)
        if not isinstance(message, m.SqlRows) or message.is_last:
            with self._lock:
                self._waiting.pop(message.request, None)
            waiting.wake.release()

    def _end(self, error: ReactiveDBError) -> None:
        with self._lock:
            self._closed, self._send, self.welcome = self._closed or error, None, None
            waiting, self._waiting = list(self._waiting.values()), {}
        self._has_begun.set()
        self._in_reach.set()
        for one in waiting:
            one.error = error
            one.wake.release()
