"""What a live cell puts out is captured; what anybody else does meanwhile is not."""
# ruff: noqa: T201  # what is printed is what is captured

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from reactive_db import limits
from reactive_db.errors import LimitError
from reactive_db.notebook.live.capture import capturing, is_capturing
from reactive_db.notebook.live.outputs import Display, Stream

Hook = Callable[[dict[str, Any]], dict[str, Any] | None]


class FakePublisher:
    """A display publisher whose hooks see what it would send."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.hooks: list[Hook] = []

    def register_hook(self, hook: Hook) -> None:
        self.hooks.append(hook)

    def unregister_hook(self, hook: Hook) -> None:
        self.hooks.remove(hook)

    def publish(self, text: str, display_id: str | None = None, kind: str = "display_data") -> None:
        content = {"data": {"text/plain": text}, "metadata": {}, "transient": {"display_id": display_id}}
        message: dict[str, Any] | None = {"header": {"msg_type": kind}, "content": content}
        for hook in self.hooks:
            message = hook(message) if message is not None else None
        if message is not None:
            self.sent.append(message)


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


def test_prints_and_displays_are_kept_in_order(publisher: FakePublisher) -> None:
    with capturing(publisher) as capture:
        print("one")
        print("two")
        publisher.publish("three")
        print("four", file=sys.stderr)
        print("five")
    assert capture.parts == [
        Stream("stdout", "one\ntwo\n"),
        Display({"text/plain": "three"}),
        Stream("stderr", "four\n"),
        Stream("stdout", "five\n"),
    ]
    assert publisher.sent == []


def test_afterwards_everything_is_as_before(publisher: FakePublisher, capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    captured = []

    def fail_while_captured() -> None:
        with capturing(publisher) as capture:
            captured.append((capture, sys.stdout, is_capturing()))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_captured()
    ((capture, kept, was_capturing),) = captured
    assert was_capturing
    assert (sys.stdout, sys.stderr) == before
    assert not is_capturing()
    assert publisher.hooks == []
    kept.write("a logger kept the stream\n")
    assert capture.parts == []
    assert capsys.readouterr().out == "a logger kept the stream\n"


def test_other_threads_are_not_captured(publisher: FakePublisher, capsys: pytest.CaptureFixture[str]) -> None:
    def other() -> None:
        print("from another thread")
        publisher.publish("from another thread")

    with capturing(publisher) as capture:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert capture.parts == []
    assert capsys.readouterr().out == "from another thread\n"
    assert len(publisher.sent) == 1


def test_a_cell_may_replace_its_own_displays(publisher: FakePublisher) -> None:
    with capturing(publisher) as capture:
        publisher.publish("0 %", display_id="bar")
        publisher.publish("100 %", display_id="bar", kind="update_display_data")
        publisher.publish("elsewhere", display_id="other", kind="update_display_data")
    assert capture.parts == [Display({"text/plain": "100 %"}, {}, "bar")]
    assert len(publisher.sent) == 1


def test_clear_output_clears(publisher: FakePublisher) -> None:
    with capturing(publisher) as capture:
        print("gone")
        publisher.publish("", kind="clear_output")
        print("stays")
    assert capture.parts == [Stream("stdout", "stays\n")]


def test_too_much_text_is_dropped_with_a_note(publisher: FakePublisher) -> None:
    with capturing(publisher) as capture:
        for _ in range(3):
            print("x" * (limits.LIVE_TEXT_CHARACTERS_MAX // 2), end="")
    (stream,) = capture.parts
    assert isinstance(stream, Stream)
    assert stream.text.count("x") == limits.LIVE_TEXT_CHARACTERS_MAX
    assert "LIVE_TEXT_CHARACTERS_MAX" in stream.text


def test_too_many_displays_are_an_error(publisher: FakePublisher) -> None:
    with capturing(publisher), pytest.raises(LimitError, match="LIVE_PARTS_MAX"):
        any(publisher.publish("more") for _ in range(limits.LIVE_PARTS_MAX + 1))


def test_a_captured_stream_is_a_stream(publisher: FakePublisher) -> None:
    with capturing(publisher) as capture:
        sys.stdout.writelines(["a", "b"])
        sys.stdout.flush()
        assert sys.stdout.encoding
    assert capture.parts == [Stream("stdout", "ab")]
