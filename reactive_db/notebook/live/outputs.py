"""What a cell puts out, part by part, and how the parts become one display.

A live cell shows everything through one display, which can be replaced in one step. A single part keeps its own MIME
types; several are folded into one HTML page. Pure: nothing here knows a kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final, Literal

from reactive_db.presentation import failure_in, failure_mark, framed

StreamName = Literal["stdout", "stderr"]

_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_WIDGET: Final = "application/vnd.jupyter.widget-view+json"
_AS_IT_IS: Final = ("text/html", "image/svg+xml")
_IMAGES: Final = ("image/png", "image/jpeg", "image/gif")
_TEXTS: Final = ("text/markdown", "text/latex", "text/plain")


@dataclass(slots=True)
class Stream:
    """Text that was printed."""

    name: StreamName
    text: str


@dataclass(frozen=True, slots=True)
class Display:
    """Something displayed: its forms by MIME type.

    Attributes:
        display_id: the name under which the cell may replace it.
    """

    data: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)
    display_id: str | None = None


Part = Stream | Display


def display_of(parts: Sequence[Part]) -> Display:
    """One display that shows all of `parts`."""
    if not parts:
        return Display({"text/plain": ""})
    if len(parts) == 1:
        return _alone(parts[0])
    return Display({"text/plain": _text(parts), "text/html": framed(_html(parts))}, _mark(parts))


def failed_display_of(good: Sequence[Part], printed: Sequence[Part], failure: str) -> Display:
    """The last good output, faded; below it what the failed run printed, and why it failed."""
    faded = f'<div style="opacity: 0.5">{_html(good)}</div>' if good else ""
    alert = f'<div role="alert">{escape(failure)}</div>'
    text = "\n".join(text for text in (_text(good), _text(printed), failure) if text)
    return Display({"text/plain": text, "text/html": framed(faded + _html(printed) + alert)}, failure_mark(failure))


def _alone(part: Part) -> Display:
    if isinstance(part, Stream):
        return Display({"text/plain": part.text.rstrip("\n")})
    # Every replaced widget view stays behind in the page: 60 updates would leave 60 views.
    data = {mime: content for mime, content in part.data.items() if mime != _WIDGET}
    return Display(data, part.metadata)


def _mark(parts: Iterable[Part]) -> dict[str, Any]:
    """The mark of what has failed among `parts`: a handle shown in a live cell can be one."""
    failures = [failure for part in parts if isinstance(part, Display) and (failure := failure_in(part.metadata))]
    return failure_mark("\n".join(failures)) if failures else {}


def _text(parts: Iterable[Part]) -> str:
    texts = (part.text if isinstance(part, Stream) else str(part.data.get("text/plain", "")) for part in parts)
    return "\n".join(text.rstrip("\n") for text in texts)


def _html(parts: Iterable[Part]) -> str:
    return "".join(f"<div>{_part_html(part)}</div>" for part in parts)


def _part_html(part: Part) -> str:
    if isinstance(part, Stream):
        return f'<pre class="{part.name}">{escape(_ANSI.sub("", part.text))}</pre>'
    for mime in _AS_IT_IS:
        if mime in part.data:
            return str(part.data[mime])
    for mime in _IMAGES:
        if mime in part.data:
            return _image(mime, part)
    text = next((str(part.data[mime]) for mime in _TEXTS if mime in part.data), "")
    return f"<pre>{escape(_ANSI.sub('', text))}</pre>{_hint(part)}"


def _hint(part: Display) -> str:
    """Why only the text of a part is shown, if it has a form that cannot be folded."""
    mime = next((mime for mime in part.data if mime not in (*_AS_IT_IS, *_IMAGES, *_TEXTS)), None)
    return "" if mime is None else f"<small>{escape(mime)} shows only as the single output of a live cell.</small>"


def _image(mime: str, part: Display) -> str:
    sizes = part.metadata.get(mime) or part.metadata
    size = "".join(f' {side}="{int(sizes[side])}"' for side in ("width", "height") if side in sizes)
    content = str(part.data[mime]).replace("\n", "")
    return f'<img alt="{escape(str(part.data.get("text/plain", "")))}" src="data:{mime};base64,{content}"{size}>'
