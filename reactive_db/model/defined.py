"""Document classes of tables whose class is not here: made of what the store keeps of a table.

A server has no Python classes; they live in the kernels that write to it. It validates, decodes and indexes the
documents of every table all the same, by a class that says what the declared one said.
"""

from __future__ import annotations

from functools import lru_cache

from reactive_db import limits
from reactive_db.errors import SchemaError
from reactive_db.model.codec import Converter, encoder
from reactive_db.model.documents import Document, _checked_indexes
from reactive_db.model.policy import check_policy
from reactive_db.model.schema import TableDefinition, TableSchema, decode_definition
from reactive_db.model.stored_types import class_of_types

_CONVERTER = Converter(lambda table: None)


def defined_document(definition: TableDefinition) -> type[Document]:
    """A document class that accepts, refuses and fills in what the class did that `definition` was written of.

    It is no declaration: `declared_document` and its like do not find it, and nobody is told of it. Its schema is the
    one that `definition` defines, whatever number the table has. Where the declared class has an enum, this one has
    the values, and it does not try patterns. A new class each time; the caller keeps it.

    The definition may come from anybody: this ends, and runs nothing of the definition's.

    Raises:
        SchemaError: no class has this definition: it was written by another version, or is damaged, or made up.
    """
    try:
        document = class_of_types(definition.schema, definition.name)
        document.__table__ = definition.name
        document.__indexes__ = _checked_indexes(document, definition.name, definition.indexes)
        document.__policy__ = definition.policy
        if definition.policy is not None:
            check_policy(definition.policy, document, definition.name)
        is_whole = TableSchema(document, definition.number, _CONVERTER).is_defined_by(definition)
    except Exception as error:
        # Of any kind: what garbage trips over depends on the garbage.
        what = error.message if isinstance(error, SchemaError) else str(error)
        raise _unreadable(definition, what) from None
    if not is_whole:
        raise _unreadable(definition, "its columns or its types are not those that a class would have")
    return document


def reading_class(definition: TableDefinition) -> type[Document]:
    """A `defined_document` to read with, the same for the same definition: making one takes 4 ms.

    Not for a store to take as a table's own: a schema leaves its mark on the class.
    """
    return _reading_class(encoder.encode(definition))


@lru_cache(limits.TABLES_MAX)
def _reading_class(definition: bytes) -> type[Document]:
    return defined_document(decode_definition(definition))


def _unreadable(definition: TableDefinition, what: str) -> SchemaError:
    return SchemaError(
        f"the definition of table {definition.name[:80]!r} cannot be read: {what[:400].rstrip('.')}. It was written by "
        "another version of reactive_db, or is damaged. Declare the table's class again and use it once."
    )
