"""How results look: the text and the HTML of a value, for terminals, notebooks and saved files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import msgspec

from reactive_db.model.documents import SYSTEM_FIELDS, Document
from reactive_db.storage.sql_result import SqlResult

ROWS_SHOWN: Final = 20
_CELL_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True)
class Grid:
    """A value as rows and columns; `total` counts the rows that are not shown too."""

    columns: list[str]
    rows: list[list[Any]]
    total: int


def as_grid(value: Any) -> Grid | None:
    """A value as a grid: documents, mappings and SQL results have columns; anything else gives None."""
    if isinstance(value, SqlResult):
        head = SqlResult(value.arrow().slice(0, ROWS_SHOWN), value.ts)
        return Grid(value.columns, [list(row) for row in head.fetchall()], len(value))
    if isinstance(value, list | tuple) and value:
        records = [_record(item) for item in value[:ROWS_SHOWN]]
        if all(record is not None for record in records):
            columns = list(dict.fromkeys(name for record in records for name in record or ()))
            rows = [[(record or {}).get(name) for name in columns] for record in records]
            return Grid(columns, rows, len(value))
    return None


def as_text(value: Any) -> str:
    """A value for a terminal: a table where it has columns."""
    grid = as_grid(value)
    if grid is None:
        return repr(value)
    cells = [grid.columns, *([_cell(item) for item in row] for row in grid.rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(grid.columns))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join([*lines, *_rest(grid)])


def as_html(value: Any, caption: str = "", error: Exception | None = None) -> str:
    """A value for a notebook or a saved page, in the page's own colours."""
    grid = as_grid(value)
    fault = (
        f'<p role="alert"><strong>{escape(type(error).__name__)}</strong>: {escape(str(error))}</p>' if error else ""
    )
    if grid is None:
        return f"{fault}<pre>{escape(repr(value))}</pre>"
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in grid.columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(_cell(item))}</td>" for item in row) + "</tr>" for row in grid.rows)
    rest = "".join(f"<p>{escape(line)}</p>" for line in _rest(grid))
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"{fault}<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _rest(grid: Grid) -> list[str]:
    return [f"… {grid.total:,} rows in all"] if grid.total > len(grid.rows) else []


def _record(item: Any) -> Mapping[str, Any] | None:
    if isinstance(item, Document):
        own = [name for name in item.__struct_fields__ if name not in SYSTEM_FIELDS]
        return {name: getattr(item, name) for name in own}
    if isinstance(item, msgspec.Struct):
        return msgspec.structs.asdict(item)
    return item if isinstance(item, Mapping) else None


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _CELL_CHARACTERS else text[: _CELL_CHARACTERS - 1] + "…"
