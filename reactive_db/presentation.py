"""How results look: the text and the HTML of a value, for terminals, notebooks and saved files.

A value becomes a `Grid` first, then text or HTML, so that both say the same. Nothing here knows a notebook, a handle
or a database: whatever has rows of its own says so by a `_grid_` method.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from html import escape
from typing import Any, Final, Protocol, runtime_checkable
from unicodedata import combining, east_asian_width

import msgspec

from reactive_db.model.documents import SYSTEM_FIELDS, Document

ROWS_SHOWN: Final = 20
_CELL_CHARACTERS: Final = 60
_CAPTION_CHARACTERS: Final = 100
_TEXT_WIDTH: Final = 120
"""Of a text table where no terminal says how wide it is."""

_MARK: Final = "reactive_db"
"""Our key in the metadata of a display."""

_NOTHING: Final = "—"
_GAP: Final = "  "

# Colours come from JupyterLab where there is one, else from the page: both light and dark themes come out right.
# JupyterLab aligns cells by `:not(.…).… td`; two classes and an element are the least that outweigh it.
_STYLE: Final = """<style>
.reactive-db { color: var(--jp-content-font-color1, inherit); overflow-x: auto; }
.reactive-db table { border-collapse: collapse; margin: 0; font-size: var(--jp-ui-font-size1, 0.9em); }
.reactive-db caption, .reactive-db .caption { caption-side: top; text-align: left; white-space: nowrap;
  padding: 0.25em 0.75em 0.4em; color: inherit; font-size: var(--jp-ui-font-size1, 0.9em); font-weight: 600; }
.reactive-db b + small { padding-left: 0.75em; }
.reactive-db small { font-size: inherit; font-weight: 400; opacity: 0.6; }
.reactive-db .grid th, .reactive-db .grid td { padding: 0.3em 0.75em; text-align: left; vertical-align: top;
  white-space: nowrap; }
.reactive-db .grid th { font-weight: 600; border-bottom: 1px solid var(--jp-border-color1, currentColor); }
.reactive-db .grid .number { text-align: right; font-variant-numeric: tabular-nums; }
.reactive-db .grid .nothing { opacity: 0.4; }
.reactive-db pre { margin: 0; padding: 0 0.75em; color: inherit; white-space: pre-wrap; }
.reactive-db [role="alert"] { margin: 0 0 0.5em; padding: 0.4em 0.75em; white-space: pre-wrap;
  border-left: 3px solid var(--jp-error-color1, #d32f2f); }
.reactive-db .fresh { animation: reactive-db-fresh 1.6s ease-out; }
@keyframes reactive-db-fresh { from { background: rgb(255 179 0 / 45%); } }
@media (prefers-reduced-motion: reduce) { .reactive-db .fresh { animation: none; } }
</style>"""


@dataclass(frozen=True, slots=True)
class Grid:
    """A value as rows and columns; `total` counts the rows that are not shown too."""

    columns: list[str]
    rows: list[list[Any]]
    total: int

    @property
    def size(self) -> str:
        """How many rows there are, in words."""
        rows = f"{self.total:,} row{'' if self.total == 1 else 's'}"
        return rows if self.total == len(self.rows) else f"{len(self.rows):,} of {rows}"

    def is_number(self, at: int) -> bool:
        """Whether a column holds numbers and nothing else."""
        found = [row[at] for row in self.rows if row[at] is not None]
        return bool(found) and all(isinstance(v, int | float | Decimal) and not isinstance(v, bool) for v in found)


@runtime_checkable
class HasGrid(Protocol):
    """A value that knows its own rows and columns."""

    def _grid_(self, rows_max: int) -> Grid: ...


def as_grid(value: Any) -> Grid | None:
    """A value as a grid; None for what has no parts: numbers, strings, data frames."""
    if isinstance(value, HasGrid) and not isinstance(value, type):
        return value._grid_(ROWS_SHOWN)
    if isinstance(value, list | tuple):
        shown = value[:ROWS_SHOWN]
        records = [record for item in shown if (record := _record(item)) is not None]
        if len(records) < len(shown):
            return Grid(["value"], [[item] for item in shown], len(value))
        columns = list(dict.fromkeys(str(name) for record in records for name in record))
        return Grid(columns, [[record.get(name) for name in columns] for record in records], len(value))
    record = _record(value)
    if record is not None:
        rows = [[name, item] for name, item in record.items()]
        return Grid(["field" if isinstance(value, msgspec.Struct) else "key", "value"], rows[:ROWS_SHOWN], len(rows))
    return None


def as_text(value: Any) -> str:
    """A value for a terminal: a table where it has columns, as many of them as fit."""
    grid = as_grid(value)
    if grid is None:
        return repr(value)
    columns = [
        _text_column([name, *(cell_text(row[at]) for row in grid.rows)], grid.is_number(at))
        for at, name in enumerate(grid.columns)
    ]
    fitting = _fitting([_width(column[0]) for column in columns])
    lines = [_GAP.join(cells).rstrip() for cells in zip(*columns[:fitting], strict=True)]
    return "\n".join([*lines, " · ".join([grid.size, *_left_out(grid.columns[fitting:])])])


def as_html(value: Any, *, caption: str = "", error: Exception | None = None, before: Any = None) -> str:
    """A value for a notebook or a saved page, in the page's own colours.

    Args:
        value: anything that a query can return.
        caption: what it is.
        error: shown above it.
        before: what was shown until now; rows that are new since then light up for a moment.
    """
    alert = f'<div role="alert"><strong>{escape(type(error).__name__)}</strong>: {escape(str(error))}</div>'
    title = escape(shortened(caption, _CAPTION_CHARACTERS))
    grid = as_grid(value)
    if grid is not None:
        body = _table(grid, title, None if before is None else as_grid(before))
    else:
        own = getattr(value, "_repr_html_", None)
        body = f'<div class="caption">{title}</div>' if title else ""
        body += own() if callable(own) else f"<pre>{escape(repr(value))}</pre>"
    return framed((alert if error is not None else "") + body)


def framed(body: str) -> str:
    """HTML in our own style, whatever page it is on."""
    return f'<div class="reactive-db">{_STYLE}{body}</div>'


def marked(metadata: Mapping[str, Any], **ours: Any) -> dict[str, Any]:
    """The metadata of a display with notes of ours added."""
    return {**metadata, _MARK: {**metadata.get(_MARK, {}), **ours}}


def failure_mark(failure: str) -> dict[str, Any]:
    """Metadata for a display that shows `failure`, so that readers of a saved notebook need not search its HTML."""
    return marked({}, failed=failure)


def failure_in(metadata: Mapping[str, Any]) -> str | None:
    """What failed, if a display with this metadata shows a failure of ours."""
    ours = metadata.get(_MARK)
    failure = ours.get("failed") if isinstance(ours, Mapping) else None
    return None if failure is None else str(failure)


def cell_text(value: Any) -> str:
    """A value in one short line of printable characters."""
    if value is None or value is msgspec.UNSET:
        return _NOTHING
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, float):
        text = repr(value) if len(repr(value)) <= 8 else f"{value:.6g}"
    elif isinstance(value, datetime):
        text = value.isoformat(" ", "seconds" if value.microsecond == 0 else "auto")
        text = text.removesuffix("+00:00") + "Z" if value.tzinfo is UTC else text
    elif isinstance(value, bytes):
        text = f"{len(value):,} bytes"
    else:
        text = str(value)
    return shortened(text, _CELL_CHARACTERS)


def shortened(text: str, characters: int) -> str:
    """`text` on one line, without control characters, cut where it is too long."""
    head = " ".join(text[: characters * 2].split())
    head = "".join(character if character.isprintable() else "�" for character in head)
    return head if len(head) <= characters else head[: characters - 1] + "…"


def first_line(code: str, characters: int) -> str:
    """The first line of a cell that says something, as `shortened`."""
    lines = [line.strip() for line in code.splitlines()]
    return shortened(next((line for line in lines if line and not line.startswith("#")), ""), characters)


def _record(item: Any) -> Mapping[str, Any] | None:
    if isinstance(item, Document):
        return {name: getattr(item, name) for name in item.__struct_fields__ if name not in SYSTEM_FIELDS}
    if isinstance(item, msgspec.Struct):
        return msgspec.structs.asdict(item)
    return item if isinstance(item, Mapping) else None


def _table(grid: Grid, title: str, before: Grid | None) -> str:
    known = None if before is None else {_texts(row) for row in before.rows}
    classes = [' class="number"' if grid.is_number(at) else "" for at in range(len(grid.columns))]
    head = "".join(
        f'<th scope="col"{of_column}>{escape(shortened(name, _CELL_CHARACTERS))}</th>'
        for name, of_column in zip(grid.columns, classes, strict=True)
    )
    rows = []
    for row in grid.rows:
        is_fresh = known is not None and _texts(row) not in known
        cells = "".join(_cell(item, of_column) for item, of_column in zip(row, classes, strict=True))
        rows.append(f'<tr class="fresh">{cells}</tr>' if is_fresh else f"<tr>{cells}</tr>")
    caption = f"<caption>{f'<b>{title}</b>' if title else ''}<small>{grid.size}</small></caption>"
    body = "".join(rows)
    return f'<table class="grid">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(item: Any, of_column: str) -> str:
    if item is None or item is msgspec.UNSET:
        of_column = ' class="nothing"'
    return f"<td{of_column}>{escape(cell_text(item))}</td>"


def _texts(row: Sequence[Any]) -> tuple[str, ...]:
    return tuple(cell_text(item) for item in row)


def _text_column(cells: list[str], is_number: bool) -> list[str]:
    """The cells of a column, its name first, at one width, a line under the name."""
    width = max(_width(cell) for cell in cells)
    gaps = [" " * (width - _width(cell)) for cell in cells]
    padded = [gap + cell if is_number else cell + gap for cell, gap in zip(cells, gaps, strict=True)]
    return [padded[0], "─" * width, *padded[1:]]


def _fitting(widths: list[int]) -> int:
    """How many columns fit into a line; one at the least."""
    room = shutil.get_terminal_size((_TEXT_WIDTH, 0)).columns
    used = [sum(widths[:count]) + len(_GAP) * (count - 1) for count in range(1, len(widths) + 1)]
    return max(1, sum(1 for width in used if width <= room))


def _left_out(columns: Sequence[str]) -> Iterable[str]:
    if columns:
        yield f"{len(columns)} more column{'' if len(columns) == 1 else 's'}: {', '.join(columns)}"


def _width(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    return sum(2 if east_asian_width(c) in "WF" else not combining(c) for c in text)
