"""Which names a cell assigns and which it reads, and the order in which cells have to run because of them.

Pure: found in the code as it stands, without running it. An import assigns no name here: what it brings is the same
after every run.
"""

from __future__ import annotations

import symtable
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Final, TypeVar

from reactive_db.errors import LiveCycleError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Names:
    """Global names in the code of a cell.

    Attributes:
        assigned: those it gives a value, functions and classes among them.
        read: those it takes the value of, also inside its functions, and does not assign itself.
    """

    assigned: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()

    def feed(self, other: Names) -> bool:
        """Whether `other` reads what is assigned here."""
        return not self.assigned.isdisjoint(other.read)


NO_NAMES: Final = Names()


def names_of(code: str) -> Names:
    """The names in Python code that compiles."""
    top = symtable.symtable(code, "cell", "exec")
    assigned = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() and not symbol.is_imported()}
    read = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    for table in _inner(top):
        of_module = [symbol for symbol in table.get_symbols() if symbol.is_global()]
        assigned.update(symbol.get_name() for symbol in of_module if symbol.is_assigned())
        read.update(symbol.get_name() for symbol in of_module if symbol.is_referenced())
    return Names(frozenset(assigned), frozenset(read - assigned))


def in_order(cells: Mapping[T, Names], label: Callable[[T], str]) -> list[T]:
    """The cells, each after those whose names it reads.

    Raises:
        LiveCycleError: cells read each other's names in a circle; `label` names them.
    """
    writers: dict[str, list[T]] = defaultdict(list)
    for cell, names in cells.items():
        for name in names.assigned:
            writers[name].append(cell)
    before = {
        cell: dict.fromkeys(writer for name in names.read for writer in writers.get(name, ()) if writer is not cell)
        for cell, names in cells.items()
    }
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError as error:
        circle = " → ".join(label(cell) for cell in error.args[1])
        raise LiveCycleError(
            f"live cells read each other's names in a circle: {circle}. Join them in one cell, or make one not live."
        ) from None


def _inner(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _inner(child)
