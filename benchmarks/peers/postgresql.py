"""PostgreSQL, started here on loopback: a new cluster with its default settings, so `fsync` and
`synchronous_commit` are on.

The mutation is one plpgsql function called in one round trip, SERIALIZABLE, and run again by the client on a
serialization failure. Statements are prepared and connections autocommit, so nothing but the call crosses the wire.
`initdb` refuses to run as root; then the cluster belongs to the user `postgres` that Debian's package creates.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import data
from benchmarks.ears import CHANNEL, PostgresqlEar
from benchmarks.servers import LOOPBACK, Server, free_port

if TYPE_CHECKING:
    import psycopg

PROMISE = "flushed before the acknowledgement; SERIALIZABLE, retried by the client; over loopback"
OWNER = "postgres"
LISTEN_SECONDS = 0.2

COUNTERS = """
CREATE TABLE counters (id text PRIMARY KEY, v bigint, owner text, body text);
CREATE FUNCTION increment(key text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE was bigint;
BEGIN
    SELECT v INTO STRICT was FROM counters WHERE id = key;
    IF was < 0 THEN RAISE 'negative'; END IF;
    UPDATE counters SET v = was + 1 WHERE id = key;
END $$;
"""

MESSAGES = """
CREATE TABLE messages (n bigint PRIMARY KEY, channel integer, body text);
CREATE FUNCTION send(n bigint, channel integer, body text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messages VALUES (n, channel, body);
    PERFORM pg_notify('c' || channel, '');
END $$;
"""

VALUE = f"""
CREATE TABLE value (body text);
INSERT INTO value VALUES ('');
CREATE FUNCTION put(changed text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE value SET body = changed;
    PERFORM pg_notify('{CHANNEL}', changed);
END $$;
"""


def programs() -> Path | None:
    """The newest installed server's programs; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def missing() -> str | None:
    if programs() is None:
        return "PostgreSQL is not installed: apt-get install postgresql"
    if not importlib.util.find_spec("psycopg"):
        return "the Python package psycopg is not installed: pip install 'psycopg[binary]'"
    return None


def version() -> str:
    import psycopg

    command = [f"{programs()}/postgres", "--version"]
    number = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[2]
    return f"PostgreSQL {number} (psycopg {psycopg.__version__}, {psycopg.pq.__impl__})"


class _Postgresql:
    """A server of our own, and connections to it."""

    CONNECTIONS = 100  # its own default

    def __init__(self, directory: Path) -> None:
        self._port = free_port()
        cluster = directory / "postgresql"
        cluster.mkdir()
        user = OWNER if os.geteuid() == 0 else None
        if user:
            shutil.chown(directory, user, user)
            shutil.chown(cluster, user, user)
        command = [f"{programs()}/initdb", "--pgdata", str(cluster), "--username", OWNER, "--auth", "trust"]
        command += ["--encoding", "UTF8", "--locale", "C"]
        groups: list[int] | None = [] if user else None
        subprocess.run(
            command, check=True, capture_output=True, user=user, group=user, extra_groups=groups, cwd=cluster
        )
        self._server = Server(
            [f"{programs()}/postgres", "-D", str(cluster), "-h", LOOPBACK, "-p", str(self._port), "-k", str(cluster)]
            + ["-N", str(self.CONNECTIONS)],
            directory / "postgresql.log",
            lambda: self.connect().close(),
            stop=signal.SIGINT,  # "fast shutdown"; SIGTERM would wait for our connections
            user=user,
        )

    def connect(self) -> psycopg.Connection[Any]:
        import psycopg

        return psycopg.connect(
            host=LOOPBACK,
            port=self._port,
            user=OWNER,
            dbname=OWNER,
            autocommit=True,
            options="-c default_transaction_isolation=serializable",
        )

    def close(self) -> None:
        self._server.stop()


class Counters(_Postgresql):
    """W1; see `systems.Counters`."""

    def __init__(self, directory: Path, documents: int) -> None:
        super().__init__(directory)
        self._retried: list[int] = []  # appended to from every thread: atomic, unlike `+= 1`
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(COUNTERS)
            with cursor.copy("COPY counters FROM STDIN") as copy:
                for row in data.counters(documents):
                    copy.write_row(tuple(row.values()))
            cursor.execute("ANALYZE counters")

    def writer(self) -> Callable[[int], object]:
        import psycopg

        cursor = self.connect().cursor()

        def increment(number: int) -> None:
            while True:
                try:
                    cursor.execute("SELECT increment(%s)", (f"d{number}",), prepare=True)
                    return
                except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                    self._retried.append(number)

        return increment

    def retries(self) -> int:
        return len(self._retried)

    def total(self) -> int:
        with self.connect() as connection:
            found = connection.execute("SELECT sum(v)::bigint FROM counters").fetchone()
            return int(found[0]) if found else 0


class Channel(_Postgresql):
    """W4_sockets: the commit updates a row and notifies with its value, so that nobody has to fetch it."""

    CONNECTIONS = 1_100

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._connection = self.connect()
        self._connection.execute(VALUE)
        self.ear = PostgresqlEar(self._port, OWNER)

    def put(self, number: int) -> None:
        self._connection.execute("SELECT put(%s)", (f"{number} {data.COUNTER_BODY}",), prepare=True)

    def close(self) -> None:
        self._connection.close()
        super().close()


class Messages(_Postgresql):
    """W2 and W3: the commit also notifies, a listening thread fetches the newest 20 again.

    NOTIFY carries an event only, so the re-query is part of the latency, and both cross the loopback.
    """

    def __init__(self, directory: Path, messages: int, channels: int) -> None:
        super().__init__(directory)
        self._connection, self._reader, self._events = self.connect(), self.connect(), self.connect()
        with self._connection.cursor() as cursor:
            cursor.execute(MESSAGES)
            with cursor.copy("COPY messages (n, channel, body) FROM STDIN") as copy:
                for row in data.messages(messages, channels):
                    copy.write_row(tuple(row.values()))
            cursor.execute("CREATE INDEX by_channel ON messages (channel, n)")
            cursor.execute("ANALYZE messages")
        self._watchers: dict[str, Callable[[Any], None]] = {}
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._is_open = True
        self._runs = 0

    def insert(self, channel: int, number: int) -> None:
        arguments = (number, channel, data.MESSAGE_BODY)
        self._connection.execute("SELECT send(%s, %s, %s)", arguments, prepare=True)

    def watch(self, channel: int, callback: Callable[[Any], None]) -> None:
        self._watchers[f"c{channel}"] = callback
        self._events.execute(f"LISTEN c{channel}".encode())

    def start(self) -> None:
        self._listener.start()  # takes the connection `_events` over, so no watching after this

    def _listen(self) -> None:
        while self._is_open:
            for event in self._events.notifies(timeout=LISTEN_SECONDS):
                self._runs += 1
                self._watchers[event.channel](self._newest(self._reader, int(event.channel[1:])))

    @staticmethod
    def _newest(connection: psycopg.Connection[Any], channel: int) -> Any:
        statement = "SELECT n, channel, body FROM messages WHERE channel = %s ORDER BY n DESC LIMIT 20"
        return connection.execute(statement, (channel,), prepare=True).fetchall()

    def query(self, channel: int) -> Any:
        return self._newest(self._connection, channel)

    def numbers(self, value: Any) -> list[int]:
        return [row[0] for row in value]

    def runs(self) -> int:
        return self._runs

    def count(self) -> int:
        found = self._connection.execute("SELECT count(*) FROM messages").fetchone()
        return int(found[0]) if found else 0

    def close(self) -> None:
        self._is_open = False
        if self._listener.is_alive():
            self._listener.join()
        super().close()
