"""What a live output shows, part by part, and the forms in which that reaches a notebook. Pure: nothing here knows a
kernel.

Where our labextension is, a live output is any number of outputs in its cell. Elsewhere it is as many displays as it
had parts at first, each of which can be replaced: parts that came later are folded into the last one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any, Final, Literal

from reactive_db.presentation import failure_in, failure_mark, framed, marked

StreamName = Literal["stdout", "stderr"]

WIDGET_VIEW: Final = "application/vnd.jupyter.widget-view+json"

_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
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


@dataclass(frozen=True, slots=True)
class Content:
    """What a live output shows: the parts of its last good run and, if a later one failed, why.

    Attributes:
        printed: what the failed run printed.
        failure: its message; None if the last run was good.
    """

    good: Sequence[Part] = ()
    printed: Sequence[Part] = ()
    failure: str | None = None

    @property
    def parts(self) -> list[Part]:
        """Everything, in order."""
        return [*self.good, *self.printed, *([] if self.failure is None else [_failed(self.failure)])]


def outputs_of(content: Content, name: str) -> list[dict[str, Any]]:
    """The outputs of a notebook cell, as its file has them; displays carry the `name` of their live output."""
    return [_output(part, name) for part in content.parts]


def displays_of(content: Content, count: int | None = None) -> list[Display]:
    """`content` as exactly `count` displays, one at the least; as many as there are parts if no count is given."""
    parts = content.parts
    if count is None:
        return [_alone(part) for part in parts] or [_NOTHING]
    if len(parts) <= count:
        return [_alone(part) for part in parts] + [_NOTHING] * (count - len(parts))
    kept = count - 1
    old = max(0, len(content.good) - kept) if content.failure is not None else 0
    return [*map(_alone, parts[:kept]), _folded(parts[kept:], old)]


def _output(part: Part, name: str) -> dict[str, Any]:
    if isinstance(part, Stream):
        return {"output_type": "stream", "name": part.name, "text": part.text}
    return {"output_type": "display_data", "data": part.data, "metadata": marked(part.metadata, live=name)}


def _failed(failure: str) -> Display:
    alert = f'<div role="alert">{escape(failure)}</div>'
    return Display({"text/plain": failure, "text/html": framed(alert)}, failure_mark(failure))


_NOTHING: Final = Display({"text/plain": ""})


def _alone(part: Part) -> Display:
    return (
        Display({"text/plain": part.text.rstrip("\n")}) if isinstance(part, Stream) else replace(part, display_id=None)
    )


def _folded(parts: Sequence[Part], old: int) -> Display:
    """Several parts as one page; the first `old` of them are of an earlier run, and faded."""
    faded = f'<div style="opacity: 0.5">{_html(parts[:old])}</div>' if old else ""
    failures = [failure for part in parts if isinstance(part, Display) and (failure := failure_in(part.metadata))]
    metadata = failure_mark("\n".join(failures)) if failures else {}
    return Display({"text/plain": _text(parts), "text/html": framed(faded + _html(parts[old:]))}, metadata)


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
    return f"<pre>{escape(_ANSI.sub('', text))}</pre>"


def _image(mime: str, part: Display) -> str:
    sizes = part.metadata.get(mime) or part.metadata
    size = "".join(f' {side}="{int(sizes[side])}"' for side in ("width", "height") if side in sizes)
    content = str(part.data[mime]).replace("\n", "")
    return f'<img alt="{escape(str(part.data.get("text/plain", "")))}" src="data:{mime};base64,{content}"{size}>'
