"""Capturing what one run of a live cell puts out, and nothing that anybody else does meanwhile.

What is captured is known by a context variable: other threads go on printing and displaying where they did.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO, cast

from reactive_db import limits
from reactive_db.errors import LimitError
from reactive_db.notebook.live.outputs import Display, Part, Stream, StreamName

_current: ContextVar[Capture | None] = ContextVar("capture", default=None)


class Capture:
    """The parts of one run's output, in order."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._characters_left = limits.LIVE_TEXT_CHARACTERS_MAX

    def write(self, name: StreamName, text: str) -> None:
        """Take printed text; what is too much for a page is dropped, with a note."""
        if not text or self._characters_left <= 0:
            return
        kept = text[: self._characters_left]
        self._characters_left -= len(text)
        if self._characters_left <= 0:
            kept += f"\n… the rest was dropped: LIVE_TEXT_CHARACTERS_MAX is {limits.LIVE_TEXT_CHARACTERS_MAX:,}.\n"
        last = self.parts[-1] if self.parts else None
        if isinstance(last, Stream) and last.name == name:
            last.text += kept
        else:
            self._add(Stream(name, kept))

    def take(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Take a message of the display publisher; one that is not for us is given back.

        Raises:
            LimitError: the cell displays more than a page can hold.
        """
        content = message["content"]
        if message["header"]["msg_type"] == "clear_output":
            self.parts.clear()
            return None
        shown = Display(content["data"], content["metadata"], content["transient"].get("display_id"))
        if message["header"]["msg_type"] == "display_data":
            self._add(shown)
            return None
        places = [at for at, part in enumerate(self.parts) if isinstance(part, Display) and part.display_id]
        mine = [at for at in places if cast("Display", self.parts[at]).display_id == shown.display_id]
        for at in mine:
            self.parts[at] = shown
        return None if mine else message

    def _add(self, part: Part) -> None:
        if len(self.parts) >= limits.LIVE_PARTS_MAX:
            raise LimitError(
                f"a live cell has more than {limits.LIVE_PARTS_MAX:,} outputs (LIVE_PARTS_MAX). Show fewer.",
                limit="LIVE_PARTS_MAX",
            )
        self.parts.append(part)


def is_capturing() -> bool:
    """Whether what is displayed now becomes part of a live cell."""
    return _current.get() is not None


@contextmanager
def capturing(publisher: Any) -> Iterator[Capture]:
    """Capture what the body prints, and displays through `publisher`, on this thread."""
    capture = Capture()

    def hook(message: dict[str, Any]) -> dict[str, Any] | None:
        return capture.take(message) if _current.get() is capture else message

    token = _current.set(capture)
    before = sys.stdout, sys.stderr
    sys.stdout = cast("TextIO", _Diverted(before[0], "stdout", capture))
    sys.stderr = cast("TextIO", _Diverted(before[1], "stderr", capture))
    publisher.register_hook(hook)
    try:
        yield capture
    finally:
        publisher.unregister_hook(hook)
        sys.stdout, sys.stderr = before
        _current.reset(token)


@contextmanager
def formatting_errors_raised(shell: Any) -> Iterator[None]:
    """Within, what cannot be displayed is an error of the live cell; IPython would show it in whatever cell runs."""
    report = shell.showtraceback

    def raise_or_report(exc_info: Any = None, *args: Any, **options: Any) -> None:
        if is_capturing() and exc_info is not None:
            raise exc_info[1]
        report(exc_info, *args, **options)

    shell.showtraceback = raise_or_report
    try:
        yield
    finally:
        shell.showtraceback = report


class _Diverted:
    """A text stream that gives to the capture what is written in its context, and the rest to the stream it covers."""

    def __init__(self, covered: TextIO, name: StreamName, capture: Capture) -> None:
        self._covered = covered
        self._name = name
        self._capture = capture

    def write(self, text: str) -> int:
        if _current.get() is not self._capture:
            return self._covered.write(text)
        self._capture.write(self._name, text)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        # Each display flushes first. That waits for the kernel's other thread, 0.3 ms, for nothing of ours.
        if _current.get() is not self._capture:
            self._covered.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._covered, name)
