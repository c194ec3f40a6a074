"""What all widgets share: following a source, and telling pages in numbered messages what has changed.

Theory of operation. A page that opens a widget draws `_whole`, which came with the widget's comm, and says hello; from
then on it gets differences, each with the number after the last. After a gap it says hello again and gets the whole.
Until the first hello there is nobody to send differences to, and `_whole` itself is sent anew: so a notebook that runs
without a browser is saved with the last state. The page's half is `page/widget.js`.

What pages say comes as messages, not as traits: ipywidgets holds traits back while the kernel is busy.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

import anywidget
import traitlets

from reactive_db.handles import unfollowed
from reactive_db.notebook.pusher import pusher
from reactive_db.presentation import failure_mark

Message = dict[str, Any]

_PAGE: Final = Path(__file__).parent / "page"
_WATCHED: Final = ["value", "error", "status"]


class Source(Protocol):
    """What a widget shows; a `QueryHandle` is one."""

    @property
    def title(self) -> str:
        """What it is."""

    @property
    def value(self) -> Any:
        """The present value; after an error, the last good one."""

    @property
    def error(self) -> Exception | None:
        """Why there is no newer value, or None."""

    def observe(self, handler: Callable[[Any], None], names: Sequence[str]) -> None:
        """Call `handler`, on any thread, when one of the traits `names` has changed."""

    def unobserve(self, handler: Callable[[Any], None], names: Sequence[str]) -> None:
        """Take `observe` back."""


def page_code(name: str) -> str:
    """The page's half of a widget: one module, the shared part first, because a page can fetch no second file."""
    return "\n".join((_PAGE / part).read_text("utf-8") for part in ("widget.js", f"{name}.js"))


def page_style(name: str) -> str:
    """The style of a widget after the shared one; both follow JupyterLab's theme."""
    own = _PAGE / f"{name}.css"
    return "\n".join(path.read_text("utf-8") for path in (_PAGE / "widget.css", own) if path.exists())


class LiveWidget(anywidget.AnyWidget):
    """A widget that shows sources, and is right again the moment they change.

    Responsibilities: following, pace, numbers, the static form of what is shown. A subclass says what the page draws
    (`_draw`), how that changed (`_change`), and what to do with what the page says (`_hear`). The first two are called
    with the widget's lock held; `_hear` is not, because it runs user code. All three may be called on any thread.
    """

    _open: ClassVar[weakref.WeakValueDictionary[str, LiveWidget]] = weakref.WeakValueDictionary()
    _esm: ClassVar[Any]
    _css: ClassVar[Any]
    _whole = traitlets.Any(None).tag(sync=True, to_json=lambda _, widget: widget._numbered_whole())

    def __init__(self, *sources: Source, **traits: Any) -> None:
        self._lock = threading.RLock()
        self._sources = sources
        self._number = 0
        self._has_page = False
        self._is_open = True
        self._wake = _weak_wake(self)
        with unfollowed():
            for source in sources:
                source.observe(self._wake, _WATCHED)
            super().__init__(**traits)
        self._open[self.model_id] = self
        self.on_msg(self._on_page_message)

    # --- for subclasses ----------------------------------------------------------------------------------------------

    def _draw(self) -> Message:
        """Everything the page needs to draw, as JSON; what `_change` tells next is a difference to this."""
        raise NotImplementedError

    def _change(self) -> Message | None:
        """What is different since the last `_draw` or `_change`; None if nothing is. At first: everything."""
        return self._draw()

    def _hear(self, message: Message) -> None:
        """The page says something of its own."""

    def _static(self) -> tuple[str, str]:
        """What is shown now as text and as HTML, for files and pages without widgets."""
        raise NotImplementedError

    def _tell(self, message: Message, buffers: Sequence[bytes] | None = None) -> None:
        """Send the page something outside the numbers: an answer, which nobody misses after a reload."""
        if self._is_open:
            self.send(message, buffers)

    def _changed(self) -> None:
        """Something that is shown has changed: send it soon."""
        pusher.wake(self)

    # --- the rest ----------------------------------------------------------------------------------------------------

    def push(self) -> None:
        """Send what has changed. Called by the pusher."""
        with self._lock, unfollowed():
            if not self._is_open:
                return
            if not self._has_page:
                self._number += 1
                self.send_state("_whole")
                return
            change = self._change()
            if change is None:
                return
            self._number += 1
            self.send({"type": "change", "number": self._number, **change})
        pusher.sent(self)

    def tell_number(self) -> None:
        """Send the number of the last message. Called by the pusher."""
        self._tell({"type": "number", "number": self._number})

    def close(self) -> None:
        """Take the widget off every page and stop following."""
        if getattr(self, "_is_open", False):
            self._is_open = False
            for source in self._sources:
                source.unobserve(self._wake, _WATCHED)
            pusher.forget(self)
            self.layout.close()  # ipywidgets leaves it open
        super().close()

    @classmethod
    def static_bundles(cls, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """`static_bundle` of the open widgets among those with these ids."""
        found = [(name, cls._open.get(name)) for name in names]
        return {name: widget.static_bundle() for name, widget in found if widget is not None and widget._is_open}

    @property
    def is_headless(self) -> bool:
        """Whether no page has opened it: what a file shows of it has to be kept right from here."""
        return not self._has_page

    @property
    def number(self) -> int:
        """How many changes there have been."""
        return self._number

    def static_bundle(self) -> dict[str, Any]:
        """What is shown now, by MIME type: the widget itself, HTML and text."""
        with self._lock, unfollowed():
            text, html = self._static()
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {"text/plain": text, "text/html": html, "application/vnd.jupyter.widget-view+json": view}

    def static_metadata(self) -> dict[str, Any]:
        """What a file says of it besides: whether a source has failed."""
        errors = [source.error for source in self._sources if source.error is not None]
        return failure_mark("\n".join(f"{type(error).__name__}: {error}" for error in errors)) if errors else {}

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.static_bundle(), self.static_metadata()

    def _numbered_whole(self) -> Message:
        with self._lock, unfollowed():
            if self._has_page:
                self.push()  # the next difference will be one to what is drawn here, for other pages too
            return {"type": "whole", "number": self._number, **self._draw()}

    def _on_page_message(self, _: object, content: Mapping[str, Any], buffers: object) -> None:
        message = dict(content)
        if message.get("type") != "hello":
            self._hear(message)
            return
        with self._lock:
            self._has_page = True
            if message.get("have") != self._number:
                self._tell(self._numbered_whole())


def _weak_wake(widget: LiveWidget) -> Callable[[Any], None]:
    """Wakes the pusher for `widget`; keeps no widget alive that nobody else refers to."""
    reference = weakref.ref(widget)

    def wake(change: object) -> None:
        living = reference()
        if living is not None:
            living._changed()

    return wake
