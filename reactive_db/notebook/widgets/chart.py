"""`Chart`: a Vega-Lite chart that stays on the page while its rows change.

Theory of operation. The page gets the spec once, and after that only which rows are gone, new or different: Vega
takes them in place, so nothing flickers, and a zoom or a selection survives. Vega itself comes from vl-convert, never
from a network. It is large, so it does not come with every chart: a page that has none yet asks one chart for it.
"""

from __future__ import annotations

import base64
import copy
import gzip
import math
import threading
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from html import escape
from typing import Any, Final

import msgspec

from reactive_db import limits
from reactive_db.errors import ArgumentError, LimitError
from reactive_db.handles import unfollowed
from reactive_db.notebook.widgets.rows import fields_of, records
from reactive_db.notebook.widgets.widget import LiveWidget, Message, Source, page_code, page_style
from reactive_db.presentation import as_text, framed

_DATA: Final = "rows"
_ALTAIR_EMPTY: Final = "empty"
"""What altair calls the data of a chart that has none."""

_STATIC_WIDTH: Final = 600
_PLAIN: Final = frozenset({bool, int, str, type(None)})
_INK: Final = "currentColor"

_converting: Final = threading.Lock()

# The colours of the text around the chart, whatever the theme; no theme has to be looked up and none can be missed.
_AXIS: Final = {
    "labelColor": _INK,
    "labelOpacity": 0.75,
    "titleColor": _INK,
    "titleFontWeight": 500,
    "gridColor": _INK,
    "gridOpacity": 0.12,
    "domainColor": _INK,
    "domainOpacity": 0.4,
    "tickColor": _INK,
    "tickOpacity": 0.4,
}
_CONFIG: Final = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "axis": _AXIS,
    "legend": {"labelColor": _INK, "titleColor": _INK, "titleFontWeight": 500},
    "header": {"labelColor": _INK, "titleColor": _INK},
    "title": {"color": _INK, "subtitleColor": _INK, "anchor": "start", "offset": 12},
    "text": {"color": _INK},
    "rule": {"color": _INK},
    "view": {"stroke": None},
}


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a chart draws.

    Attributes:
        values: the values of each row, in the order of `fields`, by what makes it that row: the id of a document, else
            its content; and how many of the same came before it.
    """

    fields: list[str]
    values: dict[Hashable, list[Any]]


_NO_ROWS: Final = _Rows([], {})


class Chart(LiveWidget):
    """The rows of a handle as a Vega-Lite chart.

        Chart(db.live("SELECT author, count(*) AS n FROM messages GROUP BY author"),
              {"mark": "bar", "encoding": {"x": {"field": "author"}, "y": {"field": "n", "type": "quantitative"}}})

    The spec's data is replaced by the rows; a field is a column of an SQL result or a field of a document, `id` and
    `creation_time` included. A chart without a width of its own is as wide as the page, up to a readable size. A
    selection of marks survives changes if it selects by `fields`; in a chart of documents, any does.

    Args:
        source: a handle whose value is a list of documents or mappings, or a result of SQL.
        spec: a Vega-Lite spec as a dict, or an altair chart, best made without data.

    Raises:
        ArgumentError: the spec cannot be drawn, the value has no rows, or vl-convert is not installed.
        LimitError: there are too many rows to draw.
    """

    _esm = page_code("chart")
    _css = page_style("chart")

    def __init__(self, source: Source, spec: Any) -> None:
        self._source = source
        self._spec = _over_rows(spec)
        self._rows = _NO_ROWS
        self._keys: dict[Hashable, int] = {}
        self._key = 0
        self._error: str | None = None
        _compile(self._spec)
        with unfollowed():
            _taken(source.value)
        super().__init__(source)

    def _draw(self) -> Message:
        self._keys = {}
        self._rows = self._take() or self._rows
        return {
            "spec": self._spec,
            "config": _CONFIG,
            "label": _label(self._spec) or self._source.title,
            "error": self._error,
            "fields": self._rows.fields,
            "rows": self._keyed(self._rows.values),
        }

    def _change(self) -> Message | None:
        before, error = self._rows, self._error
        after = self._take() or before
        if after.fields != before.fields:
            return self._draw()
        self._rows = after
        gone = [self._keys.pop(row) for row in before.values if row not in after.values]
        put = {row: values for row, values in after.values.items() if before.values.get(row) != values}
        kept = [row for row in before.values if row in after.values]
        order = list(after.values)
        is_appended = kept + [row for row in order if row not in before.values] == order
        if not gone and not put and is_appended and self._error == error:
            return None
        change = {"error": self._error, "gone": gone, "rows": self._keyed(put)}
        return change if is_appended else {**change, "order": [self._keys[row] for row in order]}

    def _hear(self, message: Message) -> None:
        if message.get("type") == "vega":
            self._tell({"type": "vega", "code": _vega()})

    def _static(self) -> tuple[str, str]:
        taken = self._take() or self._rows
        spec = {**self._spec, "width": _STATIC_WIDTH} if _is_fluid(self._spec) else self._spec
        rows = [dict(zip(taken.fields, values, strict=True)) for values in taken.values.values()]
        svg = _vl_convert("vegalite_to_svg", {**spec, "data": {"name": _DATA, "values": rows}}, config=_CONFIG)
        alert = "" if self._error is None else f'<div role="alert">{escape(self._error)}</div>'
        label = escape(_label(spec) or self._source.title)
        return as_text(self._source.value), framed(f'{alert}<div role="img" aria-label="{label}">{svg}</div>')

    def _take(self) -> _Rows | None:
        """The rows as they are now; None if there is an error instead, which is noted."""
        self._error = None if self._source.error is None else str(self._source.error)
        try:
            return _taken(self._source.value)
        except (ArgumentError, LimitError) as error:
            self._error = str(error)
            return None

    def _keyed(self, rows: Mapping[Hashable, list[Any]]) -> list[list[Any]]:
        """Rows for the page, each after its key, a small number."""
        for row in rows:
            if row not in self._keys:
                self._keys[row] = self._key = self._key + 1
        return [[self._keys[row], *values] for row, values in rows.items()]


def _taken(value: Any) -> _Rows:
    """The rows of a value.

    Raises:
        ArgumentError: it has none.
        LimitError: it has too many.
    """
    if value is None:
        return _NO_ROWS  # nothing has come yet
    rows = records(value)
    if rows is None:
        raise ArgumentError(
            f"a chart draws rows: a list of documents or mappings, or a result of SQL; got `{type(value).__name__}`."
        )
    if len(rows) > limits.CHART_ROWS_MAX:
        raise LimitError(
            f"a chart draws at most {limits.CHART_ROWS_MAX:,} rows (CHART_ROWS_MAX), got {len(rows):,}. Aggregate "
            "them first: `db.live('SELECT …, count(*) FROM … GROUP BY …')`.",
            limit="CHART_ROWS_MAX",
        )
    fields = fields_of(rows)
    return _Rows(fields, dict(_identified(value, [[_plain(row.get(name)) for name in fields] for row in rows])))


def _identified(value: Any, rows: list[list[Any]]) -> Iterator[tuple[Hashable, list[Any]]]:
    seen: Counter[Hashable] = Counter()
    for row, values in zip(value, rows, strict=True):
        one = getattr(row, "id", None) or repr(values)
        yield (one, seen[one]), values
        seen[one] += 1


def _plain(value: Any) -> Any:
    """A value as JSON that Vega reads as what it is."""
    if type(value) in _PLAIN:
        return value
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return float(value)
        case datetime():
            return value.isoformat()
        case date():
            return f"{value.isoformat()}T00:00:00"  # without a time, JavaScript takes it for midnight in London
        case timedelta():
            return value.total_seconds()
        case Enum():
            return _plain(value.value)
        case Mapping():
            return {str(name): _plain(item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case msgspec.Struct():
            return _plain(msgspec.structs.asdict(value))
        case msgspec.UnsetType():
            return None
    return str(value)


# --- the spec --------------------------------------------------------------------------------------------------------


def _over_rows(spec: Any) -> dict[str, Any]:
    """A spec over the data set `rows`, whatever data it came with."""
    made = spec.to_dict() if hasattr(spec, "to_dict") else spec
    if not isinstance(made, Mapping):
        raise ArgumentError(f"a chart's spec is a Vega-Lite dict or an altair chart, got `{type(spec).__name__}`.")
    own = _without_empty_data(copy.deepcopy(dict(made)))
    replaced = own.pop("data", None)
    if isinstance(replaced, Mapping):
        own.get("datasets", {}).pop(replaced.get("name"), None)
    if "width" not in own and _is_single(own):
        own["width"] = "container"
    return {**own, "data": {"name": _DATA}}


def _without_empty_data(view: dict[str, Any]) -> dict[str, Any]:
    """altair gives every layer of a chart without data an empty data set of its own; what is above it counts."""
    if view.get("data") == {"name": _ALTAIR_EMPTY}:
        del view["data"]
    for name in ("layer", "concat", "hconcat", "vconcat"):
        if name in view:
            view[name] = [_without_empty_data(part) for part in view[name]]
    return view


def _is_single(spec: Mapping[str, Any]) -> bool:
    """Whether it is one view, which can be as wide as the page."""
    parts = {"row", "column", "facet"} & set(spec.get("encoding", {}))
    return ("mark" in spec or "layer" in spec) and not parts


def _is_fluid(spec: Mapping[str, Any]) -> bool:
    return spec.get("width") == "container"


def _label(spec: Mapping[str, Any]) -> str:
    """What a chart says of itself, for those who cannot see it."""
    title = spec.get("title")
    text = title.get("text") if isinstance(title, Mapping) else title
    lines = text if isinstance(text, list) else [text]
    return ". ".join(str(part) for part in [*lines, spec.get("description")] if part)


# --- Vega ------------------------------------------------------------------------------------------------------------


def _vl_convert(verb: str, *args: Any, **kwargs: Any) -> Any:
    """Call a function of vl-convert."""
    try:
        import vl_convert
    except ModuleNotFoundError:
        raise ArgumentError("a chart needs vl-convert: `pip install vl-convert-python`, then restart.") from None
    # It works with the interpreter's lock held: who has to wait for it shall not wait with that lock, too.
    with _converting:
        return getattr(vl_convert, verb)(*args, **kwargs)


def _compile(spec: Mapping[str, Any]) -> None:
    """Raises ArgumentError if Vega-Lite finds no sense in it."""
    try:
        _vl_convert("vegalite_to_vega", dict(spec))
    except ValueError as error:
        lines = str(error).splitlines()
        reason = lines[1 if len(lines) > 1 else 0].strip()
        raise ArgumentError(
            f"Vega-Lite cannot draw this spec: {reason.rstrip('.')}. `altair.Chart.from_dict(spec)` says more."
        ) from None


@cache
def _vega() -> str:
    """Vega, Vega-Lite and vega-embed as one module, compressed, as text."""
    code = _vl_convert("javascript_bundle", "export default vegaEmbed;")
    return base64.b64encode(gzip.compress(code.encode())).decode()
