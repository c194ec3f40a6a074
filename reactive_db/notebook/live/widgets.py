"""The widgets that a live cell makes: shown in frames that stay, closed when what it shows has moved on.

A page that is told to show another widget in place of one draws it beside that one, and hides both when the first is
closed. So a live cell shows each widget in a frame, a box that it keeps, and changes what is in the box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ipywidgets import Box, Widget
from ipywidgets.widgets.widget import _instances

from reactive_db.notebook.live.outputs import WIDGET_VIEW, Display, Part


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

    def are_among(self, shown: Sequence[Widget]) -> bool:
        """Whether one of them is in `shown`."""
        return any(widget is one for widget in self._made for one in shown)

    def take(self, others: Widgets) -> None:
        """Keep `others` as well."""
        self._made += others._made

    def close(self) -> None:
        """Take all of them off the page."""
        for widget in self._made:
            widget.close()
        self._made.clear()


class Frames:
    """The boxes in which one live cell shows widgets: its first widget in the first, and so on.

    Attributes:
        shown: what is in them.
    """

    def __init__(self) -> None:
        self._boxes: list[Any] = []
        self.shown: list[Widget] = []

    def put(self, parts: Sequence[Part]) -> list[Part]:
        """Show the widgets among `parts` in the boxes; the parts with the boxes in their place."""
        framed: list[Part] = []
        self.shown = []
        for part in parts:
            view = part.data.get(WIDGET_VIEW) if isinstance(part, Display) else None
            widget = None if view is None else _instances.get(view["model_id"])
            if widget is None or not isinstance(part, Display):
                framed.append(part)
                continue
            self.shown.append(widget)
            box = self._box(len(self.shown) - 1)
            box.children = [widget]
            framed.append(replace(part, data={**part.data, WIDGET_VIEW: box.get_view_spec()}))
        for box in self._boxes[len(self.shown) :]:
            box.children = []
        return framed

    @property
    def are_drawn(self) -> bool:
        """Whether a page draws them: it has no need of anything else then."""
        return any(box._view_count for box in self._boxes)

    def close(self) -> None:
        for box in self._boxes:
            layout = box.layout
            box.close()
            layout.close()
        self._boxes.clear()

    def _box(self, at: int) -> Any:
        if at == len(self._boxes):
            self._boxes.append(Box(_view_count=0))  # 0: pages count their views of it
        return self._boxes[at]
