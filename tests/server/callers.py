"""Callers of real servers: what they show, what they say, and what becomes of it."""

from __future__ import annotations

import itertools
import json
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import msgspec
import websocket

from reactive_db.model.schema import decode_definition
from reactive_db.sync import messages as m
from tests.servers import START_SECONDS_MAX
from tests.sync.ear import Note, inserted, schema_of, topic

STORE = "security"
sessions = itertools.count(1)
"""What tests number sessions and documents by."""

Headers = dict[str, str]


def by_token(token: str) -> Headers:
    return {"Authorization": f"token {token}"}


def ask(url: str, headers: Headers, method: str = "GET") -> HTTPResponse:
    """The answer to a request, as it is: no redirect is followed."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=START_SECONDS_MAX)
    connection.request(method, f"{parts.path}?{parts.query}", headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def cookies_of(answer: HTTPResponse) -> Headers:
    """What a browser sends that was given these cookies."""
    given = answer.headers.get_all("Set-Cookie", [])
    return {"Cookie": "; ".join(cookie.partition(";")[0] for cookie in given)}


class Talk:
    """A connection that says what a test says, and hears what comes."""

    def __init__(self, endpoint: str, headers: Headers, origin: str | None = None) -> None:
        self._socket = websocket.create_connection(
            f"ws{endpoint.removeprefix('http')}/sync?store={STORE}",
            header=headers,
            timeout=START_SECONDS_MAX,
            origin=origin,
            suppress_origin=origin is None,
        )
        self.greeting = json.loads(self._socket.recv())

    def say(self, message: m.Message | str) -> None:
        if isinstance(message, str):
            self._socket.send(message)
        else:
            self._socket.send_binary(m.encode(message))

    def hear(self) -> Any:
        """The next message; None where the server has ended the connection."""
        frame = self._socket.recv()
        return m.decode_server(frame) if isinstance(frame, bytes) and frame else None

    def hear_answer(self) -> Any:
        """The next message that is no news."""
        while isinstance(heard := self.hear(), m.Transition):
            pass
        return heard

    def hello(self) -> Any:
        self.say(m.Hello(m.VERSION, f"{next(sessions):032x}", "a test"))
        return self.hear()

    def close(self) -> None:
        self._socket.shutdown()


def enter(endpoint: str, headers: Headers, origin: str | None = None) -> str:
    """What becomes of a caller at the door: `yes`, `no`, or `proof`, which is asked for."""
    try:
        talk = Talk(endpoint, headers, origin)
    except websocket.WebSocketBadStatusException as refused:
        return {403: "no"}[refused.status_code]
    try:
        if "nonce" in talk.greeting:
            return "proof"
        heard = talk.hello()
        if isinstance(heard, m.Failed):
            assert (heard.code, talk.hear()) == ("permission-denied", None)
            return "no"
        assert isinstance(heard, m.Welcome)
        return "yes"
    finally:
        talk.close()


def outcome(endpoint: str, route: str, headers: Headers) -> str:
    """What becomes of a caller at an address; `login`: a browser is sent there."""
    if route == "/sync":
        return enter(endpoint, headers)
    answer = ask(f"{endpoint}{route}", headers)
    assert not answer.headers["Access-Control-Allow-Origin"], "no page from elsewhere reads it"
    if answer.status == 302:
        return "login" if "/login?" in answer.headers["Location"] else "beside"
    return {200: "yes", 403: "no"}[answer.status]


def prepared(endpoint: str, headers: Headers) -> None:
    """Make the store and its table."""
    talk = Talk(endpoint, headers)
    assert isinstance(talk.hello(), m.Welcome)
    talk.say(m.Define(1, msgspec.to_builtins(schema_of(Note, 0).definition_fields)))
    while not isinstance(heard := talk.hear(), m.Defined):
        assert isinstance(heard, m.Transition)
    talk.close()


def table_of(welcome: m.Welcome) -> int:
    """The number of the table that `prepared` made."""
    definitions = [decode_definition(one.document) for one in welcome.definitions if one.document is not None]
    return next(one.number for one in definitions if one.name == "sync_notes")


def said_by(talk: Talk, message: m.Message) -> Any:
    """What comes of a message, besides news."""
    talk.say(message)
    return talk.hear_answer()


class Bystander:
    """Two well-behaved sessions on the same server: one writes, the other hears of each commit exactly once."""

    def __init__(self, endpoint: str) -> None:
        self._writing, self._hearing = Talk(endpoint, by_token("writer")), Talk(endpoint, by_token("reader"))
        self._writing.hello()
        welcome = self._hearing.hello()
        self._schema = schema_of(Note, table_of(welcome))
        self._topic, self._commits = f"bystander {next(sessions)}", 0
        watched = m.Range.of((self._schema.number, "by_topic"), topic(self._schema, self._topic))
        rows = said_by(self._hearing, m.Read(1, watched, False, 10))
        assert isinstance(rows, m.Rows)
        assert rows.documents == []

    def check(self) -> None:
        """A commit is made and told."""
        self._commits += 1
        note = inserted(self._schema, next(sessions), topic=self._topic, rank=self._commits)
        commit = m.Commit(self._commits, self._commits, 0, "bystander:write", [], [note], {})
        answer = said_by(self._writing, commit)
        assert isinstance(answer, m.Committed), answer
        told: list[m.Written] = []
        while not told:
            heard = self._hearing.hear()
            assert isinstance(heard, m.Transition), heard
            assert not heard.whole, "nothing is void"
            told += [one for one in heard.writes if one.table == self._schema.number]
        assert told == [note], "each once, and nothing else"

    def close(self) -> None:
        self._writing.close()
        self._hearing.close()
