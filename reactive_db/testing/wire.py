"""A wire without sockets: kernels and the server of their store, in one process, each frame under a test's control.

Theory of operation. Frames lie in queues, one for each direction of each connection, and a session's work in another.
A test delivers them step by step (`arrive`, `work`, `answer`), drops a connection with whatever was under way (`cut`),
lets the client lose it while the server still knows nothing of that (`lose`), or says again what was said once
(`said`). In an automatic wire a thread of its own delivers everything, as it comes, but for connections that are held.

    client end ── Connection.up ──► ServerSession ── Wire.tasks ── Connection.down ──► client end
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from reactive_db.database import Database
from reactive_db.limits import Limits
from reactive_db.remote.link import End
from reactive_db.remote.store import RemoteStore
from reactive_db.runtime import Runtime
from reactive_db.sync import messages as m
from reactive_db.sync.served import Caller, Served
from reactive_db.sync.session import ServerSession, Threads
from reactive_db.testing.runtime import SeededRuntime

OWNER: Final = Caller("ada", frozenset({"read", "write", "deploy"}))
"""Who may do everything."""

PATIENCE_SECONDS: Final = 20.0
"""A wire that is busy for longer never comes to rest."""


class Connection:
    """One connection between a client's end and a session.

    Attributes:
        up: frames on their way to the server.
        down: frames on their way to the client.
        said: everything the client has said, for a test to say again.
        heard: everything that has reached the client.
        is_held: an automatic wire leaves what comes down where it is.
        is_ended: the server wants to hear no more.
    """

    def __init__(self, wire: Wire, end: End, caller: Caller) -> None:
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.said: list[bytes] = []
        self.heard: list[bytes] = []
        self.is_held = False
        self.is_ended = False
        self._wire = wire
        self._end: End | None = end
        self.session = ServerSession(wire.served, caller, self._send_down, self._end_it, Threads(*[wire.submit] * 3))

    @property
    def is_open(self) -> bool:
        """Whether the client still has it."""
        return self._end is not None

    def open(self) -> None:
        """Tell the client that there is a connection; it says hello."""
        assert self._end is not None
        self._end.opened(self._send_up)

    def arrive(self, most: int | None = None) -> int:
        """Have the server hear what is on its way, at most so many frames; how many there were."""
        count = 0
        while self.up and (most is None or count < most):
            self.session.hear(self.up.popleft())
            count += 1
        return count

    def answer(self, most: int | None = None) -> int:
        """Have the client hear what is on its way, at most so many frames; how many there were."""
        count = 0
        while self.down and (most is None or count < most):
            frame = self.down.popleft()
            with self._wire.receiving:
                if self._end is None:
                    break
                self.heard.append(frame)
                self._end.hear(frame)
            self.session.drained()
            count += 1
        return count

    def say(self, message: m.Message | bytes) -> None:
        """Put a frame on its way to the server, as if the client had said it."""
        self._send_up(message if isinstance(message, bytes) else m.encode(message))

    def lose(self) -> None:
        """The client loses the connection; the server does not know, and still gets what is on its way."""
        with self._wire.receiving:
            end, self._end = self._end, None
            self.down.clear()
            if end is not None:
                end.lost()

    def cut(self) -> None:
        """Both sides lose the connection, and what is on its way."""
        self.up.clear()
        self.lose()
        self.session.closed()

    def _send_up(self, frame: bytes) -> None:
        if self._end is not None:
            self.said.append(frame)
            self.up.append(frame)
            self._wire.stir()

    def _send_down(self, frame: bytes) -> None:
        if self._end is not None:
            self.down.append(frame)
            self._wire.stir()

    def _end_it(self) -> None:
        self.is_ended = True


class WireLink:
    """What a client has in place of a `Link`: connects again whenever a test says so."""

    def __init__(self, wire: Wire, end: End, caller: Caller) -> None:
        self._wire = wire
        self._client = end
        self._caller = caller
        self.connections: list[Connection] = []

    @property
    def connection(self) -> Connection:
        """The latest."""
        return self.connections[-1]

    def connect(self) -> Connection:
        """Make a new connection."""
        with self._wire.receiving:
            made = Connection(self._wire, self._client, self._caller)
            self.connections.append(made)
            self._wire.connections.append(made)
            made.open()
        return made

    def close(self) -> None:
        """The client lets go of it."""
        for one in self.connections:
            one.cut()


class Wire:
    """One server, and every connection to it.

    Responsibilities: carrying frames and doing sessions' work when it is told to. Not: what is said.

    Attributes:
        tasks: what sessions have to do; on a server, worker threads would.
        connections: all there ever were.
        links: one a client.
        receiving: held while a client's end is called, which happens on one thread at a time.
    """

    def __init__(self, served: Served, *, is_automatic: bool = False) -> None:
        self.served = served
        self.tasks: deque[Callable[[], None]] = deque()
        self.connections: list[Connection] = []
        self.links: list[WireLink] = []
        self.receiving = threading.RLock()
        self._stirred = threading.Condition()
        self._is_stirred = False
        self._is_busy = False
        self._is_closed = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="reactive_db-wire", daemon=True)
        if is_automatic:
            self._thread.start()

    def link(self, end: End, caller: Caller = OWNER) -> WireLink:
        """A client, which has a connection at once; what a `RemoteStore` wants as `connect`."""
        made = WireLink(self, end, caller)
        self.links.append(made)
        made.connect()
        return made

    def submit(self, task: Callable[[], None]) -> None:
        """Have something done soon."""
        self.tasks.append(task)
        self.stir()

    def work(self, most: int | None = None) -> int:
        """Do what sessions have to do, at most so many tasks; how many there were."""
        count = 0
        while self.tasks and (most is None or count < most):
            self.tasks.popleft()()
            count += 1
        return count

    def pump(self) -> None:
        """Deliver everything that is not held, until nothing moves any more."""
        while any([*(one.arrive() for one in list(self.connections)), self.work(), *self._answers()]):
            pass

    def settle(self) -> None:
        """Wait until an automatic wire has delivered everything.

        Raises:
            BaseException: what a client's end or a session raised, if it did.
        """
        with self._stirred:
            is_still = self._stirred.wait_for(lambda: not (self._is_stirred or self._is_busy), PATIENCE_SECONDS)
        if self._failure is not None:
            raise self._failure
        assert is_still, "the wire does not come to rest"

    def stir(self) -> None:
        """There is something to deliver."""
        with self._stirred:
            self._is_stirred = True
            self._stirred.notify_all()

    def close(self) -> None:
        """Deliver nothing any more."""
        self._is_closed = True
        self.stir()
        if self._thread.is_alive():
            self._thread.join()

    def _answers(self) -> list[int]:
        return [one.answer() for one in list(self.connections) if not one.is_held]

    def _run(self) -> None:
        while True:
            with self._stirred:
                self._is_busy = False
                self._stirred.notify_all()
                self._stirred.wait_for(lambda: self._is_stirred)
                self._is_stirred, self._is_busy = False, True
            if self._is_closed:
                return
            try:
                self.pump()
            except BaseException as failure:
                self._failure = self._failure or failure


class Kernel:
    """A client of an automatic wire, as a kernel has it: a database whose store is on the server."""

    def __init__(self, wire: Wire, runtime: Runtime | None = None, caller: Caller = OWNER) -> None:
        links: list[WireLink] = []

        def connect(end: End) -> WireLink:
            links.append(wire.link(end, caller))
            return links[0]

        self.wire = wire
        self.store = RemoteStore("a wire", connect, runtime or SeededRuntime(len(wire.links)), Limits())
        self.link = links[0]
        self.store.wait_until_open(PATIENCE_SECONDS)
        self.database = Database(self.store)

    def settle(self) -> None:
        """Return when everything that was said has been heard, and every handle shows it."""
        self._come_to_rest()
        self.database._scheduler.advance()
        self._come_to_rest()

    def _come_to_rest(self) -> None:
        """The mover may be in the middle of what the connection has set off, or wait for an answer that is held."""
        self.wire.settle()
        pause = threading.Event()
        for _ in range(int(PATIENCE_SECONDS * 1_000)):
            if self.store.is_at_rest or self.link.connection.is_held:
                return
            pause.wait(0.001)
        raise AssertionError("the mover does not come to rest")
