"""`PresenceList`: who is connected to a store, from where and since when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from reactive_db import limits
from reactive_db.engine.access import Presence
from reactive_db.handles import QueryHandle, unfollowed
from reactive_db.notebook.widgets.widget import LiveWidget, Message, page_code, page_style
from reactive_db.presentation import as_html, as_text


class Connection(Protocol):
    """What people are connected to: a `Database`."""

    @property
    def presence(self) -> QueryHandle[list[Presence]]:
        """A handle on who is connected."""


class PresenceList(LiveWidget):
    """Who is connected to a store: each user once, with every notebook and program that they are connected from.

    Args:
        db: a connection, from `rdb.connect`.
    """

    _esm = page_code("presence")
    _css = page_style("presence")

    def __init__(self, db: Connection) -> None:
        with unfollowed():
            self._handle = db.presence
        super().__init__(self._handle)

    def close(self) -> None:
        """Take the widget off every page and stop following who comes and goes."""
        super().close()
        self._handle.close()

    def _draw(self) -> Message:
        present = self._handle.value
        shown = present[: limits.PRESENT_SHOWN_MAX]
        return {
            "people": [_person(user, places) for user, places in _by_user(shown).items()],
            "count": _count(present),
            "more": len(present) - len(shown),
            "is_stale": self._handle.status == "stale",
        }

    def _static(self) -> tuple[str, str]:
        by_user = _by_user(self._handle.value).values()
        rows = [replace(one, since=one.since.replace(microsecond=0)) for places in by_user for one in places]
        return as_text(rows), as_html(rows, caption="Who is connected")


def _by_user(present: Sequence[Presence]) -> dict[str, list[Presence]]:
    """Whoever has been here longest comes first; so among their places."""
    found: dict[str, list[Presence]] = {}
    for one in present:
        found.setdefault(one.user, []).append(one)
    return found


def _person(user: str, places: Sequence[Presence]) -> Message:
    return {"user": user, "places": [{"place": one.place, "since": one.since.isoformat()} for one in places]}


def _count(present: Sequence[Presence]) -> str:
    people = len({one.user for one in present})
    return f"{_plural(people, 'person', 'people')}, {_plural(len(present), 'place', 'places')}"


def _plural(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
