"""Redis, started here on loopback: `appendonly yes`, `appendfsync always`, no snapshots.

The mutation is one Lua script called by EVALSHA: read, check and write without a second round trip. Redis holds each
reply until the append-only file is flushed, once per turn of its event loop, so concurrent writers share a flush.
The client is redis-py, one connection per thread: a pool would add a lock that the measurement is not about.
"""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import data
from benchmarks.ears import CHANNEL, RedisEar
from benchmarks.servers import LOOPBACK, Server, free_port

if TYPE_CHECKING:
    import redis

PROMISE = "flushed before the acknowledgement (appendfsync always); serializable by one thread; over loopback"
BATCH = 1_000
CONFIRM_SECONDS = 10.0

INCREMENT = """
local v = tonumber(redis.call('HGET', KEYS[1], 'v'))
if v < 0 then return redis.error_reply('negative') end
return redis.call('HSET', KEYS[1], 'v', v + 1)
"""


def missing() -> str | None:
    if not shutil.which("redis-server"):
        return "redis-server is not installed: apt-get install redis-server"
    if not importlib.util.find_spec("redis"):
        return "the Python package redis is not installed: pip install redis"
    return None


def version() -> str:
    import redis

    words = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout.split()
    number = next(word.removeprefix("v=") for word in words if word.startswith("v="))
    return f"Redis {number} (redis-py {redis.__version__})"


class _Redis:
    """A server of our own, and connections to it."""

    def __init__(self, directory: Path) -> None:
        self._port = free_port()
        self._server = Server(
            ["redis-server", "--bind", LOOPBACK, "--port", str(self._port), "--dir", str(directory)]
            + ["--appendonly", "yes", "--appendfsync", "always", "--save", ""],
            directory / "redis.log",
            lambda: self.connect().ping(),
            stop=signal.SIGTERM,
        )

    def connect(self) -> redis.Redis:
        import redis

        return redis.Redis(host=LOOPBACK, port=self._port, single_connection_client=True, decode_responses=True)

    def close(self) -> None:
        self._server.stop()


class Counters(_Redis):
    """W1; see `systems.Counters`."""

    def __init__(self, directory: Path, documents: int) -> None:
        super().__init__(directory)
        client = self.connect()
        self._script: str = client.script_load(INCREMENT)
        pipeline = client.pipeline(transaction=False)
        for row in data.counters(documents):
            pipeline.hset(row.pop("id"), items=[each for field in row.items() for each in field])
        pipeline.execute()
        self._documents = documents

    def writer(self) -> Callable[[int], object]:
        call, script = self.connect().evalsha, self._script
        return lambda number: call(script, 1, f"d{number}")

    def retries(self) -> int:
        return 0

    def total(self) -> int:
        pipeline = self.connect().pipeline(transaction=False)
        for number in range(self._documents):
            pipeline.hget(f"d{number}", "v")
        return sum(map(int, pipeline.execute()))


class Messages(_Redis):
    """W2 and W3: a list per channel; the commit also publishes, a listening thread fetches the newest 20 again.

    SUBSCRIBE carries an event only, so the re-query is part of the latency, and both cross the loopback.
    """

    def __init__(self, directory: Path, messages: int, channels: int) -> None:
        super().__init__(directory)
        self._client, self._reader = self.connect(), self.connect()
        pipeline = self._client.pipeline(transaction=False)
        for row in data.messages(messages, channels):
            pipeline.lpush(f"c{row['channel']}", f"{row['n']}|{row['body']}")
        pipeline.execute()
        self._watchers: dict[str, Callable[[Any], None]] = {}
        self._events = self.connect().pubsub()  # type: ignore[no-untyped-call]
        self._runs = 0

    def insert(self, channel: int, number: int) -> None:
        pipeline = self._client.pipeline(transaction=True)
        pipeline.lpush(f"c{channel}", f"{number}|{data.MESSAGE_BODY}")
        pipeline.publish(f"c{channel}", number)
        pipeline.execute()

    def watch(self, channel: int, callback: Callable[[Any], None]) -> None:
        self._watchers[f"c{channel}"] = callback
        self._events.subscribe(f"c{channel}")

    def start(self) -> None:
        for _ in self._watchers:
            self._events.get_message(timeout=CONFIRM_SECONDS)  # one confirmation for each SUBSCRIBE
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        import redis

        try:
            for event in self._events.listen():
                if event["type"] == "message":
                    self._runs += 1
                    self._watchers[event["channel"]](self._reader.lrange(event["channel"], 0, 19))
        except (redis.ConnectionError, ValueError):
            pass  # the server was stopped

    def query(self, channel: int) -> Any:
        return self._client.lrange(f"c{channel}", 0, 19)

    def numbers(self, value: Any) -> list[int]:
        return [int(each.partition("|")[0]) for each in value]

    def runs(self) -> int:
        return self._runs

    def count(self) -> int:
        keys = list(self._client.scan_iter("c*", count=BATCH))
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.llen(key)
        return sum(pipeline.execute())


class Channel(_Redis):
    """W4_sockets: the commit sets a key and publishes its value, so that nobody has to fetch it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._client = self.connect()
        self.ear = RedisEar(self._port)

    def put(self, number: int) -> None:
        value = f"{number} {data.COUNTER_BODY}"
        pipeline = self._client.pipeline(transaction=True)
        pipeline.set(CHANNEL, value)
        pipeline.publish(CHANNEL, value)
        pipeline.execute()
