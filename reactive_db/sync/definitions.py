"""Definitions of tables, as both sides know them: whether they mean the same, and which a statement may read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from reactive_db import limits
from reactive_db.model.codec import encoder
from reactive_db.model.schema import TableDefinition, TableSchema, decode_definition
from reactive_db.storage.client_tables import words
from reactive_db.storage.history import VIEW as HISTORY


@lru_cache(limits.TABLES_MAX)
def digest_of(schema: TableSchema) -> str:
    """What `digest` gives for the definition that `schema` makes. Kept: each commit asks."""
    return _digest(msgspec.to_builtins(schema.definition_fields))


def digest(definition: TableDefinition) -> str:
    """The same for definitions that say the same, whatever the table's number."""
    return _digest_of_text(encoder.encode(definition))


@lru_cache(limits.TABLES_MAX)
def _digest_of_text(definition: bytes) -> str:
    return _digest(TableSchema.plain_definition(decode_definition(definition)))


def tables_named_in(statement: str, definitions: Iterable[TableDefinition]) -> list[int]:
    """The numbers of the tables whose names are among the words of a statement; the history is of all.

    More than it reads, perhaps, and never less: whoever is told too often looks in vain.
    """
    mentioned = words(statement)
    everything = HISTORY in mentioned or TableDefinition.__table__ in mentioned
    return [one.number for one in definitions if everything or one.name.casefold() in mentioned]


def _digest(plain: dict[str, object]) -> str:
    told = {name: value for name, value in plain.items() if name != "number"}
    return hashlib.blake2b(msgspec.json.encode(told, order="sorted"), digest_size=12).hexdigest()
