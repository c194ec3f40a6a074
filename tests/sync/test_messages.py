"""Every message arrives as it was sent, and nothing else arrives at all."""

from __future__ import annotations

import typing
from types import UnionType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactive_db.model.ids import Id
from reactive_db.model.keys import KeyRange
from reactive_db.sync import messages as m

FROM_CLIENT = typing.get_args(m.ClientMessage)
FROM_SERVER = typing.get_args(m.ServerMessage)

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)

counts = st.integers(1, 2**62)


def of_type(type_: Any) -> st.SearchStrategy[Any]:
    """Values of a field of a message."""
    if type_ is Any:
        return plain
    if type_ == dict[str, Any]:
        return st.dictionaries(st.text(max_size=5), plain, max_size=3)
    if type_ is m.Range:
        keys = st.text(max_size=9).map(str.encode)
        return st.builds(m.Range, counts, st.text(), keys, st.none() | st.binary(), st.just(0))
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return messages(type_)
    if typing.get_origin(type_) is UnionType:
        return st.one_of(map(of_type, typing.get_args(type_)))
    if typing.get_origin(type_) in (list, tuple, dict):
        arguments = [of_type(argument) for argument in typing.get_args(type_)]
        if typing.get_origin(type_) is list:
            return st.lists(arguments[0], max_size=3)
        return st.tuples(*arguments) if typing.get_origin(type_) is tuple else st.dictionaries(*arguments, max_size=3)
    if type_ is int:
        return counts
    return st.floats(allow_nan=False) if type_ is float else st.from_type(type_)


def messages(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    return st.builds(kind, *(of_type(hints[name]) for name in kind.__struct_fields__))


@pytest.mark.parametrize("kind", FROM_CLIENT, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_what_a_client_says_arrives_as_it_was(kind: type[m.Message], data: st.DataObject) -> None:
    message = data.draw(messages(kind))
    assert m.decode_client(m.encode(message)) == message


@pytest.mark.parametrize("kind", FROM_SERVER, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_what_a_server_says_arrives_as_it_was(kind: type[m.Message], data: st.DataObject) -> None:
    message = data.draw(messages(kind))
    assert m.decode_server(m.encode(message)) == message


@pytest.mark.parametrize("kind", FROM_SERVER, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_what_only_a_server_says_is_no_message_of_a_client(kind: type[m.Message], data: st.DataObject) -> None:
    with pytest.raises(msgspec.DecodeError):
        m.decode_client(m.encode(data.draw(messages(kind))))


@given(st.binary(max_size=200))
def test_anything_else_is_refused(frame: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        m.decode_client(frame)


@pytest.mark.parametrize("hi", [None, b"z"])
def test_a_range_is_a_key_range_of_one_index(hi: bytes | None) -> None:
    key_range = KeyRange(b"a", hi, 1)
    made = m.Range.of((5, "by_topic"), key_range)
    assert (made.space, made.keys) == ((5, "by_topic"), key_range)


def test_ids_travel_as_text() -> None:
    sent = m.encode(m.Rows(1, 2, [(Id("x"), b"")], m.Range(5, "by_id", b"", None, 0)))
    assert m.decode_server(sent) == m.Rows(1, 2, [("x", b"")], m.Range(5, "by_id", b"", None, 0))
