"""What the page about a server's stores says and hears, without a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import quote, urlsplit

import websocket

from reactive_db.sync.messages import VERSION
from tests.server.jupyter import JupyterServer
from tests.servers import START_SECONDS_MAX

PROGRAM = """
import reactive_db as rdb

class Message(rdb.Document, table="messages", indexes={{"by_channel": ["channel"]}}):
    channel: str
    text: str
    likes: int = 0

@rdb.mutation
def send(ctx: rdb.MutationCtx, channel: str, text: str) -> None:
    ctx.db.insert(Message(channel=channel, text=text))

db = rdb.connect("{store}")
db.run(send, "general", "hello")
"""
"""A kernel's first cell: one table with one document in a store of that name."""


def get(jupyter: JupyterServer, path: str, headers: dict[str, str] | None = None) -> tuple[HTTPResponse, str]:
    """The answer to a request, as it is: no redirect is followed."""
    parts = urlsplit(jupyter.url)
    connection = HTTPConnection(parts.netloc, timeout=START_SECONDS_MAX)
    connection.request("GET", f"{parts.path}/{path}", headers=jupyter.authorization if headers is None else headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


class Page:
    """A session that speaks JSON."""

    def __init__(self, jupyter: JupyterServer, store: str) -> None:
        address = f"ws{jupyter.url.removeprefix('http')}/reactive-db/sync?format=json&store={quote(store, safe='')}"
        self._socket = websocket.create_connection(address, timeout=START_SECONDS_MAX, header=jupyter.authorization)
        self._requests = 0
        assert json.loads(self._socket.recv()) == {}

    def say(self, *message: Any) -> None:
        self._socket.send(json.dumps(message))

    def hear(self, tag: str) -> list[Any]:
        """The next message of a kind; others before it are left out."""
        while True:
            frame = self._socket.recv()
            assert isinstance(frame, str), "pages are told text"
            heard: list[Any] = json.loads(frame)
            if heard[0] == tag:
                return heard[1:]
            assert heard[0] != "failed", heard

    def overview(self) -> dict[str, Any]:
        self._requests += 1
        self.say("overview", self._requests)
        request, store = self.hear("overviewis")
        assert request == self._requests
        shown: dict[str, Any] = store
        return shown

    def close(self) -> None:
        self._socket.close()


@contextmanager
def page(jupyter: JupyterServer, store: str) -> Iterator[Page]:
    """A page that has said hello."""
    opened = Page(jupyter, store)
    opened.say("hello", VERSION, "ab" * 16, "a page of a test")
    opened.hear("welcome")
    yield opened
    opened.close()
