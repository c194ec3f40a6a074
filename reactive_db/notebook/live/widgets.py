"""The widgets that a live cell makes: closed when what it shows has moved on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ipywidgets import Widget


class Widgets:
    """Widgets that were made together, the parts of one (its layout, its style) among them."""

    def __init__(self) -> None:
        self._made: list[Widget] = []

    @contextmanager
    def made_in(self, is_ours: Callable[[], bool]) -> Iterator[None]:
        """Add every widget that the body makes; `is_ours` tells them from those that other threads make meanwhile."""
        before = Widget._widget_construction_callback  # there is one place for a callback, and no other way to read it

        def note(widget: Widget) -> None:
            if is_ours():
                self._made.append(widget)
            elif callable(before):
                before(widget)

        Widget.on_widget_constructed(note)
        try:
            yield
        finally:
            Widget.on_widget_constructed(before)

    def are_among(self, names: set[str]) -> bool:
        """Whether one of them has its id in `names`."""
        return any(widget.comm is not None and widget.model_id in names for widget in self._made)

    def take(self, others: Widgets) -> None:
        """Keep `others` as well."""
        self._made += others._made

    def close(self) -> None:
        """Take all of them off the page."""
        for widget in self._made:
            widget.close()
        self._made.clear()
