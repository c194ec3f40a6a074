"""Ids: their form, what damages them, and what `Id["…"]` means before its class is declared."""

from __future__ import annotations

import pickle
from typing import get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactive_db.errors import IdError
from reactive_db.model.ids import (
    ID_LENGTH,
    RANDOM_BYTES,
    TABLE_NUMBER_MAX,
    USER_TABLES_FROM,
    Id,
    Named,
    internal_number,
    known_table_number,
    new_id,
    new_ids,
    table_number,
)

NOW_MS = 1_700_000_000_000.0
DAY_MS = 86_400_000.0
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"

TABLES = st.integers(128, TABLE_NUMBER_MAX)
ENTROPY = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)
TIMES = st.floats(0, 4e12)


def an_id(table: int = USER_TABLES_FROM) -> Id[object]:
    return new_id(table, bytes(range(RANDOM_BYTES)), NOW_MS)


# --- what an id is ---------------------------------------------------------------------------------------------------


@given(TABLES, ENTROPY, TIMES)
def test_an_id_is_32_characters_and_knows_its_table(table: int, entropy: bytes, now: float) -> None:
    id = new_id(table, entropy, now)
    assert len(id) == ID_LENGTH
    assert set(id) <= set(ALPHABET)
    assert table_number(id) == table


@given(TABLES, st.integers(1, 40), TIMES, st.data())
def test_many_ids_at_once_are_what_one_by_one_gives(table: int, count: int, now: float, data: st.DataObject) -> None:
    entropy = data.draw(st.binary(min_size=RANDOM_BYTES * count, max_size=RANDOM_BYTES * count))
    parts = [entropy[at : at + RANDOM_BYTES] for at in range(0, len(entropy), RANDOM_BYTES)]
    made = new_ids(table, count, entropy, now)
    assert made == [new_id(table, part, now) for part in parts]
    assert {type(id) for id in made} == {Id}


def test_an_id_is_a_string_that_convex_reads() -> None:
    """Version 6: VInt table number, 14 random bytes, the day as two bytes, Fletcher-16; checked by hand."""
    id = new_id(USER_TABLES_FROM, bytes(14), NOW_MS)
    raw = int(id.translate(str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv")), 32).to_bytes(20, "big")
    day = int(NOW_MS // DAY_MS)
    assert raw[:2] == bytes((USER_TABLES_FROM & 0x7F | 0x80, USER_TABLES_FROM >> 7))
    assert raw[2:16] == bytes(14)
    assert raw[16:18] == day.to_bytes(2, "big")
    first = second = 0
    for byte in raw[:18]:
        first = (first + byte) % 255
        second = (second + first) % 255
    assert raw[18:] == bytes((first, second))


@given(ENTROPY)
def test_the_internal_number_is_64_bits_of_the_random_part(entropy: bytes) -> None:
    id = new_id(USER_TABLES_FROM, entropy, NOW_MS)
    assert internal_number(id) == int.from_bytes(entropy[:8], "big", signed=True)


def test_the_known_number_of_an_id_is_its_number() -> None:
    assert known_table_number(an_id(10_005)) == known_table_number(an_id(10_005)) == 10_005


def test_an_id_stays_an_id_through_pickle() -> None:
    copy = pickle.loads(pickle.dumps(an_id()))
    assert (copy, type(copy)) == (an_id(), Id)


# --- damage ----------------------------------------------------------------------------------------------------------


@given(ENTROPY, st.integers(0, ID_LENGTH - 1), st.sampled_from(f"{ALPHABET}ilou"))
def test_one_changed_character_is_found_out(entropy: bytes, at: int, character: str) -> None:
    id = new_id(USER_TABLES_FROM, entropy, NOW_MS)
    damaged = id[:at] + character + id[at + 1 :]
    if damaged != id:
        with pytest.raises(IdError):
            table_number(damaged)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda id: "", "has 32 characters, this has 0"),
        (lambda id: "abc", "has 32 characters, this has 3"),
        (lambda id: id[:-1], "has 32 characters, this has 31"),
        (lambda id: id + "0", "has 32 characters, this has 33"),
        (lambda id: id[:-1] + "!", "characters that no id has"),
        (lambda id: id[:-1] + "u", "characters that no id has"),
        (lambda id: id.upper(), "is no id"),
        (lambda id: "é" * ID_LENGTH, "characters that no id has"),
        (lambda id: "0" * ID_LENGTH, "checksum"),
        (lambda id: id[1:] + id[0], "checksum"),
        (lambda id: " " + id[1:], "is no id"),
        (lambda id: "_" + id[1:], "is no id"),
        (lambda id: 3, "expected an id, a string of 32 characters, got `int`"),
        (lambda id: None, "expected an id, a string of 32 characters, got `NoneType`"),
        (lambda id: id.encode(), "expected an id, a string of 32 characters, got `bytes`"),
    ],
)
def test_what_is_no_id_is_refused_with_the_reason(damage, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(IdError, match=says) as caught:
        table_number(damage(an_id()))
    assert caught.value.code == "invalid-id"
    assert str(caught.value).endswith("docs/errors/invalid-id.md")


# --- in annotations --------------------------------------------------------------------------------------------------


def test_a_name_in_an_annotation_stays_a_name() -> None:
    assert get_origin(Id["messages"]) is Id  # type: ignore[type-arg]
    assert get_args(Id["messages"]) == (Named("messages", __name__),)  # type: ignore[type-arg]


def test_an_annotation_put_together_again_is_the_same() -> None:
    """msgspec takes generic annotations apart and subscripts them with a tuple."""
    assert Id[("messages",)] == Id["messages"]  # type: ignore[misc,type-arg]
    assert Id[(int,)] == Id[int]  # type: ignore[misc]
