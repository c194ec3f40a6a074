"""Graphs of dependent cells, the same for every notebook: each cell shows one number that follows from a source's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Graph:
    """Cells that depend on one source: all of them directly, or in a chain each on the one before."""

    name: str
    size: int
    is_chain: bool = False

    def code(self, position: int, source: str) -> str:
        """Of the cell at `position`, if `source` is the expression for the source's number."""
        if not self.is_chain:
            return f"{source} + {position}"
        value = f"x{position - 1} + 1" if position else source
        return f"x{position} = {value}\nx{position}"

    def expected(self, number: int) -> list[str]:
        """What the cells show when the source has `number`; the same in both kinds of graph."""
        return [str(number + position) for position in range(self.size)]


FAN_OUT = Graph("100 cells read one", 100)
CHAIN = Graph("chain of 50 cells", 50, is_chain=True)
