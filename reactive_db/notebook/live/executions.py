"""Which cell is running: what a Jupyter front end says of it with its request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a cell.

    Attributes:
        request: the id of the request; "" where nobody asked, as in a script.
        cell: the id of the cell, None from front ends that do not say (nbclient).
        deleted: the ids of cells that are gone since the last request.
    """

    request: str = ""
    cell: str | None = None
    deleted: frozenset[str] = frozenset()

    def replaces(self, other: Execution) -> bool:
        """Whether what `other` showed is gone now: its cell runs again, or was deleted."""
        if other.cell is None or self.request == other.request:
            return False
        return other.cell == self.cell or other.cell in self.deleted


def current_execution(shell: Any) -> Execution:
    """The run that `shell` is busy with."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    metadata = parent.get("metadata", {})
    return Execution(
        request=parent.get("header", {}).get("msg_id", ""),
        cell=metadata.get("cellId"),
        deleted=frozenset(metadata.get("deletedCells") or ()),
    )


def running_number(shell: Any) -> int:
    """The number that the notebook shows beside the cell that is running.

    `shell.execution_count` is that of the next cell already, since IPython 9.
    """
    return len(shell.history_manager.input_hist_parsed) - 1
