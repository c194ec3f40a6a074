"""The catalog: which tables a store has, and how this process's document classes fit them.

Definitions are documents of the system table `_tables`, so a schema change is a commit like any other. A class is
matched with its table on first use; what the store already says about the table is kept, extended or refused.
"""

from __future__ import annotations

import re
from typing import Any, Final

from reactive_db import limits
from reactive_db.engine.collector import collector_paused
from reactive_db.engine.committer import Committer
from reactive_db.engine.snapshots import Snapshots
from reactive_db.errors import IdError, SchemaError, SchemaMismatchError
from reactive_db.interrupts import Shielded
from reactive_db.model.codec import Converter
from reactive_db.model.documents import Document, current_document, declared_document, declared_documents, table_of
from reactive_db.model.ids import RANDOM_BYTES, USER_TABLES_FROM, Id, known_table_number, new_id, table_number
from reactive_db.model.schema import TABLES_NUMBER, TableDefinition, TableSchema, decode_fault
from reactive_db.runtime import Runtime
from reactive_db.storage.columns import Columns
from reactive_db.storage.tables import Table, Write

_WORD: Final = re.compile(r"\w+")


class Catalog:
    """The tables of one store.

    Responsibilities: table numbers, loading a table on first use, compatible schema changes. Not: reading or writing
    the documents of user tables for anybody else.
    """

    def __init__(self, columns: Columns, committer: Committer, snapshots: Snapshots, runtime: Runtime) -> None:
        self.converter = Converter(self.number)
        self._columns = columns
        self._committer = committer
        self._snapshots = snapshots
        self._runtime = runtime
        self._by_class: dict[type[Document], Table] = {}
        self._by_number: dict[int, Table] = {}
        self._definitions: dict[str, TableDefinition] = {}
        self._outdated: set[int] = set()
        """Tables whose class was declared anew since they were entered."""
        self._load_definitions()

    def number(self, name: str) -> int | None:
        """The number of the table of that name, None if the store has none."""
        definition = self._definitions.get(name)
        if definition is None:
            return TABLES_NUMBER if name == TableDefinition.__table__ else None
        return definition.number

    def definitions(self) -> list[TableDefinition]:
        """Every table of the store, whether or not its class is declared here."""
        return list(self._definitions.values())

    def loaded_table(self, number: int) -> Table | None:
        """The table of that number, None if no function has touched it yet."""
        return self._by_number.get(number)

    def table(self, document: type[Document]) -> Table:
        """The table of a document class, defined or redefined if need be.

        Raises:
            SchemaError: the class cannot be a table.
            SchemaMismatchError: documents in the store do not fit it.
        """
        found = self._by_class.get(document)
        if found is None:
            return self._define(document)
        return found if not self._outdated else self._current(found)

    def outdate(self, name: str) -> int | None:
        """The class of a table was declared anew: who uses the table next moves it. Returns the table's number."""
        with self._committer.turn:
            number = self.number(name)
            if number in self._by_number:
                self._outdated.add(number)
            return number

    def table_of_id(self, id: str) -> Table:
        """The table that an id belongs to.

        Raises:
            IdError: it is no id, or of a table that this store does not have.
            SchemaError: the table's class is not declared in this process.
        """
        number = known_table_number(id) if type(id) is Id else table_number(id)
        found = self._by_number.get(number)
        if found is not None:
            return found if not self._outdated else self._current(found)
        name = next((d.name for d in self._definitions.values() if d.number == number), None)
        if name is None:
            raise IdError(f"{id!r} is no id of this store: it has no table with number {number}.")
        return self.table_named(name)

    def table_named(self, name: str) -> Table:
        """Raises SchemaError if no document class of that table is declared in this process."""
        document = declared_document(name)
        if document is None or table_of(document) != name:
            known = ", ".join(sorted(self._definitions)) or "none yet"
            raise SchemaError(
                f"no document class for table {name!r} is declared here. Run the cell or import the module that "
                f'declares `class …(rdb.Document, table="{name}")`. Tables of this store: {known}.'
            )
        return self.table(document)

    def define_mentioned(self, statement: str) -> bool:
        """Define the tables that an SQL statement seems to name, declared here but new to the store; whether any.

        A class that the store refuses changes nothing: its table stays what it was, and SQL can read that.
        """
        words = set(_WORD.findall(statement.lower()))
        mentioned = [cls for cls in declared_documents() if table_of(cls).lower() in words]
        has_defined = False
        for document in mentioned:
            try:
                if self._is_new(document):
                    self.table(document)
                    has_defined = True
            except SchemaError:
                if table_of(document) not in self._definitions:
                    raise
        return has_defined

    def _is_new(self, document: type[Document]) -> bool:
        """Whether `document` says anything that the store does not know yet; loads nothing to find out."""
        if document in self._by_class:
            return False
        definition = self._definitions.get(table_of(document))
        if definition is None:
            return True
        return not TableSchema(document, definition.number, self.converter).is_defined_by(definition)

    def _load_definitions(self) -> None:
        schema = TableSchema(TableDefinition, TABLES_NUMBER, self.converter)
        table = Table(schema)
        for ids, documents in self._columns.load(TABLES_NUMBER):
            table.fill(zip(ids, documents, strict=True))
        for id, _ in table.stored():
            definition = table.get(id, self._snapshots.head)
            assert isinstance(definition, TableDefinition)
            self._definitions[definition.name] = definition
        self._enter(TableDefinition, table)

    def _current(self, found: Table) -> Table:
        """The table in place of `found`, whose class may have been declared anew."""
        number = found.schema.number
        if number in self._outdated:
            try:
                return self._define(found.schema.document)
            except SchemaError:
                # Refused: the old definition stays in force for everybody but users of the new class.
                self._outdated.discard(number)
        return found

    def _enter(self, document: type[Document], table: Table) -> None:
        self._by_class[document] = self._by_number[table.schema.number] = table

    def _define(self, document: type[Document]) -> Table:
        """Match a class with the store: its table is created, loaded, or moved to the new definition."""
        table_of(document)
        with Shielded(), self._committer.turn:
            current = current_document(document)
            if current in self._by_class:
                self._by_class[document] = self._by_class[current]
                return self._by_class[current]
            name = table_of(current)
            definition = self._definitions.get(name)
            number = self._next_number() if definition is None else definition.number
            schema = TableSchema(current, number, self.converter)
            loaded = self._by_number.get(number)
            table = self._filled(schema, loaded)
            if loaded is not None:
                # It holds the newest versions only, so older snapshots must not read it; those to come are newer.
                table.since = self._snapshots.head
                self._committer.wait_published(table.since)
            if definition is None or not schema.is_defined_by(definition):
                self._adopt(table, definition)
            if loaded is not None:
                loaded.is_retired = True
                self._by_class = {cls: t for cls, t in self._by_class.items() if t is not loaded}
            self._enter(current, table)
            self._by_class[document] = table
            self._outdated.discard(number)
            return table

    def _next_number(self) -> int:
        numbers = [definition.number for definition in self._definitions.values()]
        if len(numbers) >= limits.TABLES_MAX:
            raise SchemaError(f"the store has {len(numbers)} tables; at most {limits.TABLES_MAX}.")
        return max(numbers, default=USER_TABLES_FROM - 1) + 1

    def _filled(self, schema: TableSchema, loaded: Table | None) -> Table:
        table = Table(schema)
        with collector_paused():
            if loaded is not None:
                # Every version of the old table, published or not: commits may still be on their way to the disk.
                table.fill(loaded.stored())
            else:
                for ids, documents in self._columns.load(schema.number):
                    table.fill(zip(ids, documents, strict=True))
        return table

    def _adopt(self, table: Table, definition: TableDefinition | None) -> None:
        """Write the table's definition, and its documents as the new schema wants them, in one commit."""
        schema = table.schema
        tables = self._by_number[TABLES_NUMBER]
        now = self._runtime.now()
        id: Id[Any] = (
            definition.id
            if definition is not None
            else new_id(TABLES_NUMBER, self._runtime.random_bytes(RANDOM_BYTES), now)
        )
        created = definition.creation_time if definition is not None else now
        new, data = tables.schema.build(id, created, schema.definition_fields)
        assert isinstance(new, TableDefinition)
        changes = [(tables, [Write(id, definition, new, data)])]
        if definition is not None:
            # Also without anything to rewrite: who read the table may have used an index that is gone.
            changes.append((table, self._rewritten(table)))
        self._committer.commit_bulk(changes, now, "a new schema")
        self._definitions[schema.name] = new

    def _rewritten(self, table: Table) -> list[Write]:
        """The documents whose stored form the new schema changes, by a default that they lack.

        Raises:
            SchemaMismatchError: some do not fit at all.
        """
        schema = table.schema
        offenders: list[tuple[str, str]] = []
        count = 0
        writes: list[Write] = []
        for id, data in table.stored():
            fault = decode_fault(schema, data)
            if fault is not None:
                count += 1
                offenders += [(id, fault)] if len(offenders) < limits.OFFENDERS_NAMED_MAX else []
                continue
            document = schema.decode(data)
            encoded = schema.encode(document)
            if encoded != data:
                writes.append(Write(id, document, document, encoded))
        if offenders:
            named = "; ".join(f"{id}: {fault}" for id, fault in offenders)
            raise SchemaMismatchError(
                f"{count:,} of {len(table):,} documents of table {schema.name!r} do not fit its new definition, "
                f"which was refused: {named}. Give new fields a default, or change these documents first.",
                table=schema.name,
                offenders=offenders,
            )
        return writes
