"""`%live`: which cells are live, and how to pause, resume and stop them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from reactive_db.errors import ArgumentError
from reactive_db.notebook.live.cell import LiveCell
from reactive_db.notebook.live.outputs import Display
from reactive_db.notebook.live.refresher import Refresher
from reactive_db.presentation import as_html, as_text

_USAGE: Final = "`%live` lists the live cells; `%live pause 3 5`, `resume` and `stop` take numbers of cells, or none"


def run_command(line: str, refresher: Refresher) -> Display:
    """Do what `line` says and list the live cells.

    Raises:
        ArgumentError: an unknown word, or a number that no live cell has.
    """
    word, *numbers = line.split() or ["list"]
    actions: dict[str, Callable[[LiveCell], None]] = {
        "list": lambda cell: None,
        "pause": refresher.pause,
        "resume": refresher.resume,
        "stop": lambda cell: refresher.remove(lambda output: output is cell),
    }
    if word not in actions:
        raise ArgumentError(f"%live {word}: no such command. {_USAGE}.")
    for cell in _named(_cells(refresher), numbers):
        actions[word](cell)
    return _listed(_cells(refresher), refresher)


def _cells(refresher: Refresher) -> list[LiveCell]:
    return [output for output in refresher.outputs if isinstance(output, LiveCell)]


def _named(cells: Sequence[LiveCell], numbers: Sequence[str]) -> list[LiveCell]:
    known = {str(cell.number): cell for cell in cells}
    for number in numbers:
        if number.strip("[],") not in known:
            raise ArgumentError(f"%live: no live cell has the number {number}. Live are: {', '.join(known) or 'none'}.")
    return [known[number.strip("[],")] for number in numbers] if numbers else list(cells)


def _listed(cells: Sequence[LiveCell], refresher: Refresher) -> Display:
    if not cells:
        return Display({"text/plain": "No cell is live. Begin one with %%live."})
    rows: list[dict[str, Any]] = [
        {
            "cell": cell.label,
            "state": _state(cell, refresher),
            "runs": cell.runs,
            "last run": f"{cell.seconds * 1000:.1f} ms",
            "reads": cell.reads,
        }
        for cell in cells
    ]
    return Display({"text/plain": as_text(rows), "text/html": as_html(rows, caption="live cells")})


def _state(cell: LiveCell, refresher: Refresher) -> str:
    if refresher.is_paused(cell):
        return "paused"
    return "failed" if cell.has_failed else "live"
