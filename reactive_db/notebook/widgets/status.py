"""`Status`: whether a connection is up to date, as a badge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any, Protocol

from reactive_db.notebook.widgets.widget import LiveWidget, Message, page_code, page_style


class Connection(Protocol):
    """What has a status: a `Database`."""

    @property
    def path(self) -> Path | None:
        """The store directory; None for a store in memory."""

    @property
    def ts(self) -> int:
        """The newest timestamp."""

    @property
    def status(self) -> str:
        """`synced`, `syncing` or `offline`."""

    @property
    def pending(self) -> int:
        """How many commits are on their way."""

    def on_settled(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when one of these may be different; returns what ends that."""


class Status(LiveWidget):
    """The state of a connection: `course · ts 1,234 · synced`.

    Args:
        db: a connection, from `rdb.connect`.
    """

    _esm = page_code("status")
    _css = page_style("status")

    def __init__(self, db: Connection) -> None:
        self._db = db
        super().__init__(_Settled(db))

    def _draw(self) -> Message:
        return {"name": self._name(), "ts": f"ts {self._db.ts:,}", "status": self._db.status, "text": self._state()}

    def _static(self) -> tuple[str, str]:
        text = f"{self._name()} · ts {self._db.ts:,} · {self._state()}"
        return text, f"<span>{escape(text)}</span>"

    def _name(self) -> str:
        return "in memory" if self._db.path is None else self._db.path.stem

    def _state(self) -> str:
        status, pending = self._db.status, self._db.pending
        return f"{status}, {pending:,} pending" if pending else status


class _Settled:
    """A connection as a source; what changes is the connection itself."""

    error: Exception | None = None

    def __init__(self, db: Connection) -> None:
        self.title = "status"
        self.value = db
        self._ends: dict[Callable[[Any], None], Callable[[], None]] = {}

    def observe(self, handler: Callable[[Any], None], names: Sequence[str]) -> None:
        self._ends[handler] = self.value.on_settled(lambda: handler(None))

    def unobserve(self, handler: Callable[[Any], None], names: Sequence[str]) -> None:
        self._ends.pop(handler)()
