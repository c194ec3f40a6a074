"""Pages: the labextension's copies of the notebook, which put live outputs into its cells.

Theory of operation. One comm reaches every page that has the notebook open. A page says hello, also after a reload and
in a second tab, and gets what every live output shows; from then on one frame a round has what changed in it. While no
page has said hello, as under nbclient or in a front end without the labextension, nobody is reached here. The page's
half is `labextension/static/remoteEntry.js`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import comm

from reactive_db.notebook.pusher import pusher

State = Literal["live", "failed", "paused"]

_TARGET: Final = "reactive_db.live"


@dataclass(frozen=True, slots=True)
class Shown:
    """What one live output shows.

    Attributes:
        cell: the id of its cell.
        outputs: as the notebook's file has them.
        owns_cell: it is everything that the cell shows.
    """

    cell: str
    outputs: Sequence[dict[str, Any]]
    owns_cell: bool
    state: State


class Pages:
    """Tells pages what live outputs show. Safe to use from any thread: a page may say hello while a cell runs."""

    def __init__(self, statics: Callable[[Sequence[str]], Mapping[str, Any]]) -> None:
        """`statics` gives the static forms of widgets by their ids; those it does not know are left out."""
        self._statics = statics
        self._shown: dict[str, Shown] = {}
        self._changed: dict[str, Shown] = {}
        self._gone: dict[str, None] = {}
        self._number = 0
        self._has_page = False
        self._lock = threading.Lock()
        self._comm = comm.create_comm(target_name=_TARGET)
        self._comm.on_msg(self._on_message)

    def reaches(self, cell: str | None) -> bool:
        """Whether a page shows that cell right by what it is told here."""
        return self._has_page and cell is not None

    def show(self, name: str, shown: Shown) -> None:
        """The live output `name` shows something else now; pages hear of it by the next `flush`."""
        with self._lock:
            self._shown[name] = self._changed[name] = shown

    def drop(self, name: str) -> None:
        """The live output `name` is not live any more; what it showed last is still sent."""
        with self._lock:
            if self._shown.pop(name, None) is not None:
                self._gone[name] = None

    def flush(self) -> None:
        """Send everything that has changed, in one frame."""
        with self._lock:
            changed, self._changed = self._changed, {}
            gone, self._gone = self._gone, {}
            if not self._has_page or not (changed or gone):
                return
            self._number += 1
            self._send({"gone": list(gone), "live": _plain(changed)})
        pusher.sent(self)

    def push(self) -> None:
        """Called by the pusher."""
        self.flush()

    def tell_number(self) -> None:
        """Called by the pusher: a page that missed the last frame asks for everything."""
        with self._lock:
            self._send({})

    def close(self) -> None:
        """What is shown stays as it is."""
        pusher.forget(self)
        self._comm.close()

    def _on_message(self, message: dict[str, Any]) -> None:
        said = message["content"]["data"]
        if said.get("type") == "statics":
            self._comm.send({"statics": self._statics(said["widgets"])})
        if said.get("type") != "hello":
            return
        with self._lock:
            self._has_page = True
            self._changed.clear()
            self._gone.clear()
            self._number += 1
            self._send({"is_whole": True, "live": _plain(self._shown)})

    def _send(self, frame: dict[str, Any]) -> None:
        self._comm.send({"number": self._number, **frame})


def _plain(shown: Mapping[str, Shown]) -> dict[str, Any]:
    # `dataclasses.asdict` would copy every output: a tenth of what a hundred cells cost.
    return {
        name: {"cell": one.cell, "outputs": one.outputs, "owns_cell": one.owns_cell, "state": one.state}
        for name, one in shown.items()
    }
