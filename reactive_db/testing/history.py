"""What a recorder writes down while transactions run: who did what, between which moments, and what came of it.

Registers hold lists. A transaction appends values that are unique in their register and reads whole lists, so every
read tells which version it saw. `reactive_db.testing.consistency` judges a history; here is only its vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

Caller: TypeAlias = int | str
"""Whoever runs transactions one after the other: a thread, a client."""

Value: TypeAlias = int | str
"""What is appended, once per register."""

Values: TypeAlias = tuple[Value, ...]
"""A version of a register: all its values, oldest first."""

VALUES_SHOWN_MAX: Final = 6


class Outcome(Enum):
    """What the caller was told. An `UNKNOWN` transaction counts as committed once somebody read its appends."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Append:
    """Put `value`, which nobody else appends to this register, at the end of the list."""

    register: str
    value: Value

    def __str__(self) -> str:
        return f"append {self.register} {self.value!r}"


@dataclass(frozen=True, slots=True)
class Read:
    """The whole list as the transaction saw it, with what it had appended itself."""

    register: str
    values: Values

    def __str__(self) -> str:
        shown = [repr(value) for value in self.values[-VALUES_SHOWN_MAX:]]
        hidden = len(self.values) - len(shown)
        return f"read {self.register}=[{', '.join([f'… {hidden} more', *shown] if hidden else shown)}]"


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one transaction did, and when: `started` and `ended` are readings of one counter that only grows.

    Those of one caller must take effect in the order in which they were started, even where they overlap: give
    concurrent work different callers.
    """

    caller: Caller
    started: int
    ended: int
    outcome: Outcome
    operations: tuple[Append | Read, ...]
