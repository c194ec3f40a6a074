"""The row policies of a store as of one timestamp, and what they leave of its tables for one user."""

from __future__ import annotations

from collections.abc import Iterable

from reactive_db.model.layout import TableLayout
from reactive_db.model.policy import Policy, Scope, User
from reactive_db.model.schema import TableDefinition
from reactive_db.storage.column_table import ColumnTable


class Policies:
    """The policies of those tables that have one. Never changes: the next timestamp with other ones has another."""

    def __init__(self, definitions: Iterable[TableDefinition]) -> None:
        self._policies: dict[int, Policy] = {}
        self._tables: dict[int, ColumnTable] = {}
        for one in definitions:
            if one.policy is not None:
                self._policies[one.number] = one.policy
                self._tables[one.number] = ColumnTable(TableLayout(one.number, one.name, one.columns))

    def of(self, table: int) -> Policy | None:
        """The policy of the table of that number, None if it has none."""
        return self._policies.get(table)

    def readable(self, table: int, user: User) -> Scope | None:
        """The documents of a table that a user may read; None: all."""
        policy = self._policies.get(table)
        return None if policy is None else policy.readable(user)

    def hidden(self, user: User) -> dict[str, str]:
        """By name of each table that a user sees only in part, the SQL condition of what they see."""
        scopes = {number: policy.readable(user) for number, policy in self._policies.items()}
        return {
            self._tables[number].layout.name: self._tables[number].condition(scope.fields, scope.user)
            for number, scope in scopes.items()
            if scope is not None
        }
