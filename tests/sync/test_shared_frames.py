"""A transition is encoded once for all who are told the same, and never taken for another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactive_db import limits
from reactive_db.sync import messages as m
from reactive_db.sync.shared_frames import SharedFrames
from tests.sync.test_messages import messages

WRITTEN = m.Written(5, "a", b"document")
TRANSITION = m.Transition(7, "t:write", [WRITTEN], [], [], 0)


def test_the_same_is_encoded_once() -> None:
    frames = SharedFrames()
    again = m.Transition(7, "t:write", [m.Written(5, "a", b"document")], [], [], 0)
    assert frames.frame(again, m.MSGPACK) is frames.frame(TRANSITION, m.MSGPACK)


@pytest.mark.parametrize(
    "other",
    [
        m.Transition(8, "t:write", [WRITTEN], [], [], 0),
        m.Transition(7, "t:other", [WRITTEN], [], [], 0),
        m.Transition(7, "t:write", [m.Written(5, "a", None)], [], [], 0),
        m.Transition(7, "t:write", [WRITTEN], [5], [], 0),
        m.Transition(7, "t:write", [WRITTEN], [], [5], 0),
        m.Transition(7, "t:write", [], [], [], 0),
        m.Transition(7, "t:write", [WRITTEN], [], [], 1),
    ],
    ids=repr,
)
def test_what_differs_anywhere_is_another_frame(other: m.Transition) -> None:
    frames = SharedFrames()
    frames.frame(TRANSITION, m.MSGPACK)
    assert m.decode_server(frames.frame(other, m.MSGPACK)) == other
    assert m.decode_server(frames.frame(TRANSITION, m.MSGPACK)) == TRANSITION


def test_pages_and_kernels_get_their_own() -> None:
    frames = SharedFrames()
    assert frames.frame(TRANSITION, m.MSGPACK) != frames.frame(TRANSITION, m.JSON)


@given(st.lists(messages(m.Transition), max_size=3 * limits.SHARED_FRAMES_MAX))
def test_of_many_only_a_few_are_kept_and_all_are_right(transitions: list[m.Transition]) -> None:
    frames = SharedFrames()
    assert [m.decode_server(frames.frame(one, m.MSGPACK)) for one in transitions] == transitions
    assert len(frames._frames) <= limits.SHARED_FRAMES_MAX
