"""Pages: what the labextension is told, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm

from reactive_db.notebook.live.pages import Pages, Shown


class Wire(BaseComm):
    """A comm that keeps what it is given, and says what a page would."""

    def __init__(self, **options: Any) -> None:
        self.frames: list[dict[str, Any]] = []
        super().__init__(**options)

    def publish_msg(self, msg_type: str, data: Any = None, **_: Any) -> None:
        if msg_type == "comm_msg":
            self.frames.append(data)

    def hear(self, data: dict[str, Any]) -> None:
        self.handle_msg({"content": {"data": data}})

    def hello(self) -> None:
        self.hear({"type": "hello"})


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    monkeypatch.setattr(comm, "create_comm", lambda **_: wire)
    return wire


@pytest.fixture
def pages(wire: Wire) -> Iterator[Pages]:
    pages = Pages(lambda widgets: {name: {"text/plain": name} for name in widgets})
    yield pages
    pages.close()


def shown(text: str) -> Shown:
    return Shown("cell", [{"output_type": "stream", "name": "stdout", "text": text}], True, "live")


def texts(frame: dict[str, Any]) -> dict[str, str]:
    return {name: live["outputs"][0]["text"] for name, live in frame["live"].items()}


def test_nobody_is_told_before_a_page_says_hello(pages: Pages, wire: Wire) -> None:
    pages.show("a", shown("1"))
    pages.flush()
    assert wire.frames == []
    assert not pages.reaches("cell")


def test_a_page_that_says_hello_gets_everything(pages: Pages, wire: Wire) -> None:
    pages.show("a", shown("1"))
    pages.show("b", shown("2"))
    wire.hello()
    (frame,) = wire.frames
    assert frame["is_whole"]
    assert texts(frame) == {"a": "1", "b": "2"}
    assert pages.reaches("cell")
    assert not pages.reaches(None)


def test_a_round_is_one_frame_with_the_next_number_and_only_what_has_changed(pages: Pages, wire: Wire) -> None:
    pages.show("a", shown("1"))
    pages.show("b", shown("2"))
    wire.hello()
    pages.show("b", shown("3"))
    pages.show("b", shown("4"))
    pages.show("c", shown("5"))
    pages.flush()
    pages.flush()
    first, frame = wire.frames
    assert frame["number"] == first["number"] + 1
    assert texts(frame) == {"b": "4", "c": "5"}


def test_what_ended_is_sent_once_more_and_named(pages: Pages, wire: Wire) -> None:
    pages.show("a", shown("1"))
    wire.hello()
    pages.show("a", shown("the end"))
    pages.drop("a")
    pages.flush()
    assert texts(wire.frames[-1]) == {"a": "the end"}
    assert wire.frames[-1]["gone"] == ["a"]
    wire.hello()
    assert wire.frames[-1]["live"] == {}


def test_the_number_alone_says_which_frame_was_the_last(pages: Pages, wire: Wire) -> None:
    wire.hello()
    pages.tell_number()
    assert wire.frames[-1] == {"number": wire.frames[0]["number"]}


@pytest.mark.parametrize("say", [Wire.hello, lambda wire: wire.hear({"type": "statics", "widgets": ["w"]})])
def test_a_page_may_speak_at_any_time(pages: Pages, wire: Wire, say: Callable[[Wire], None]) -> None:
    say(wire)
    say(wire)
    assert len(wire.frames) == 2


def test_static_forms_are_given_on_request(pages: Pages, wire: Wire) -> None:
    wire.hear({"type": "statics", "widgets": ["w"]})
    assert wire.frames == [{"statics": {"w": {"text/plain": "w"}}}]
    assert not pages.reaches("cell")
