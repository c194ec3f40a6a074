"""What a live output has read: which handles, and what it saw of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from reactive_db import limits
from reactive_db.errors import LimitError
from reactive_db.handles import QueryHandle, reading, unfollowed

_WATCHED: Final = ["value", "error"]


class Seen(NamedTuple):
    """A handle, and what it showed."""

    handle: QueryHandle[Any]
    value: Any
    error: Exception | None

    def is_stale(self) -> bool:
        return self.handle.value is not self.value or self.handle.error is not self.error


class Reads:
    """The handles that one run has read, held for as long as they matter.

    `wake` is called, on any thread, when one of them changes.
    """

    def __init__(self, wake: Callable[[Any], None]) -> None:
        self._wake = wake
        self._seen: dict[int, Seen] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, handle: QueryHandle[Any]) -> Seen:
        """Follow `handle` and remember what it shows now.

        Raises:
            LimitError: one run reads more handles than anybody could mean to.
        """
        known = self._seen.get(id(handle))
        if known is not None:
            return known
        if len(self._seen) >= limits.LIVE_READS_MAX:
            raise LimitError(
                f"a live cell reads more than {limits.LIVE_READS_MAX:,} handles (LIVE_READS_MAX). Read one query that "
                "gives all of it.",
                limit="LIVE_READS_MAX",
            )
        # Watched first: a change in between is then told, at the cost of one run too many.
        handle.observe(self._changed, _WATCHED)
        with unfollowed():
            seen = self._seen[id(handle)] = Seen(handle, handle.value, handle.error)
        return seen

    def keep(self, others: Reads) -> None:
        """Follow what `others` follow as well."""
        for seen in others._seen.values():
            self.add(seen.handle)

    def is_stale(self) -> bool:
        """Whether anything shows something else by now."""
        return any(seen.is_stale() for seen in self._seen.values())

    def close(self) -> None:
        """Follow nothing any more."""
        for seen in self._seen.values():
            seen.handle.unobserve(self._changed, _WATCHED)
        self._seen.clear()

    @contextmanager
    def following(self) -> Iterator[None]:
        """Add every handle whose value the body reads."""
        token = reading.set(self._follow)
        try:
            yield
        finally:
            reading.reset(token)

    def _follow(self, handle: QueryHandle[Any]) -> None:
        self.add(handle)

    def _changed(self, change: Any) -> None:
        self._wake(change)
