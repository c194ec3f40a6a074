"""`Pager`: the pages of a paginated query, one under the other, loaded one by one."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import traitlets

from reactive_db import limits
from reactive_db.database import Database
from reactive_db.errors import ArgumentError, FunctionError
from reactive_db.functions.definitions import Query, check_kind
from reactive_db.functions.table_query import Page
from reactive_db.handles import QueryHandle, unfollowed
from reactive_db.model.documents import SYSTEM_FIELDS
from reactive_db.notebook.widgets.rows import fields_of, records
from reactive_db.notebook.widgets.widget import LiveWidget, Message, page_code, page_style
from reactive_db.presentation import Grid, as_html, as_text, cell_text

_OURS: Final = ("cursor", "n")
_SHOWN: Final = ["value", "error"]

_Texts = list[list[str | None]]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A page that is loaded, and where it begins."""

    cursor: str | None
    handle: QueryHandle[Any]

    @property
    def page(self) -> Page[Any] | None:
        value = self.handle.value
        return value if isinstance(value, Page) else None


class Pager(LiveWidget):
    """The rows of a paginated query, with a button for more; every page that was loaded stays live.

        @rdb.query
        def newest(ctx: rdb.QueryCtx, channel: str, cursor: str | None, n: int) -> rdb.Page[Message]:
            return ctx.db.query(Message).with_index("by_channel", channel=channel).order("desc").paginate(cursor, n)

        Pager(db, newest, "general", page_size=50)

    Args:
        db: a connection.
        query: a query function with the parameters `cursor: str | None` and `n: int`, which returns an `rdb.Page`.
        args: its other arguments; `kwargs` too.
        page_size: how many rows a page is loaded with; it grows and shrinks with the data.

    Attributes:
        items: the rows that are loaded, as the query gave them; a trait.

    Raises:
        FunctionError: the query is not of that form.
    """

    _esm = page_code("pager")
    _css = page_style("pager")

    items: Any = traitlets.List()

    def __init__(self, db: Database, query: Query[..., Any], *args: Any, page_size: int = 20, **kwargs: Any) -> None:
        self._loaded: list[_Loaded] = []
        _check(query, kwargs)
        self._db = db
        self._query = query
        self._name = query.name.rpartition(":")[2]
        self._arguments = args, kwargs
        self._page_size = page_size
        self._columns: list[tuple[str, bool]] = []
        self._texts: list[_Texts] = []
        self._tail: Message = {}
        self._loading = threading.Lock()
        with unfollowed():
            self._load(None)
            super().__init__(self._loaded[0].handle)
            self._set_items()

    def close(self) -> None:
        """Take it off every page, and stop following the data."""
        super().close()
        for loaded in self._loaded:
            loaded.handle.close()

    def _draw(self) -> Message:
        self._columns, self._texts = self._drawn()
        self._tail = self._end()
        return {"label": self._name, "columns": self._columns, "pages": self._since([]), **self._tail}

    def _change(self) -> Message | None:
        columns, before, tail = self._columns, self._texts, self._tail
        self._columns, self._texts = self._drawn()
        self._tail = self._end()
        if self._columns != columns:
            return self._draw()
        pages = self._since(before)
        return {"pages": pages, **self._tail} if pages or self._tail != tail else None

    def _changed(self) -> None:
        super()._changed()
        self._set_items()

    def _hear(self, message: Message) -> None:
        if message.get("type") != "more":
            return
        with self._loading, unfollowed():
            pages = self._pages()
            # The number of pages that were there when the button was pressed: pressed twice, it loads one.
            if message.get("pages") != len(pages) or not self._can_load(pages):
                return
            try:
                self._load(pages[-1].cursor)
            except Exception as error:
                self._tell({"type": "failed", "error": str(error)})
                return
        self._changed()

    def _static(self) -> tuple[str, str]:
        items = [item for page in self._pages() for item in page.items]
        return as_text(items), as_html(items, caption=self._name, error=self._error())

    def _load(self, cursor: str | None) -> None:
        """Open one more page; raises what the query raised, unless it is the first, which shows its error."""
        args, kwargs = self._arguments
        handle: QueryHandle[Any] = self._db.live(self._query, *args, cursor=cursor, n=self._page_size, **kwargs)
        loaded = _Loaded(cursor, handle)
        error = handle.error if self._loaded else None
        if handle.error is None and loaded.page is None:
            error = FunctionError(
                f"query {self._query.name!r} returned `{type(handle.value).__name__}`; a pager needs an `rdb.Page`: "
                "return what `.paginate(cursor, n)` gives."
            )
        if error is not None:
            handle.close()
            raise error
        if self._loaded:
            handle.observe(self._wake, _SHOWN)
        self._loaded.append(loaded)

    def _pages(self) -> list[Page[Any]]:
        """The pages that follow one on the other. A function that was declared anew may end its pages elsewhere."""
        found: list[Page[Any]] = []
        with self._lock:
            for loaded in self._loaded:
                page = loaded.page
                if page is None or (found and found[-1].cursor != loaded.cursor):
                    break
                found.append(page)
            kept = max(len(found), 1)
            for loaded in self._loaded[kept:]:
                loaded.handle.close()
            del self._loaded[kept:]
        return found

    def _set_items(self) -> None:
        with unfollowed():
            seen: list[Page[Any]] | None = None
            # Any thread may come here: whoever sets the trait last has looked at the pages after that.
            while seen != (seen := self._pages()):
                self.items = [item for page in seen for item in page.items]

    def _drawn(self) -> tuple[list[tuple[str, bool]], list[_Texts]]:
        """The columns, each with whether it holds numbers, and the cells of each page."""
        pages = self._pages()
        grid = _grid([item for page in pages for item in page.items])
        rows = iter([[None if _is_nothing(cell) else cell_text(cell) for cell in row] for row in grid.rows])
        texts = [[next(rows) for _ in page.items] for page in pages]
        return [(name, grid.is_number(at)) for at, name in enumerate(grid.columns)], texts

    def _since(self, before: list[_Texts]) -> list[tuple[int, _Texts]]:
        """The pages that differ from `before`, each with its number."""
        return [(at, texts) for at, texts in enumerate(self._texts) if before[at : at + 1] != [texts]]

    def _end(self) -> Message:
        """What stands under the rows."""
        pages = self._pages()
        rows = sum(len(texts) for texts in self._texts)
        error = self._error()
        return {
            "pages_total": len(pages),
            "count": f"{rows:,} row{'' if rows == 1 else 's'}",
            "more": _more(pages),
            "can_load": self._can_load(pages),
            "error": None if error is None else str(error),
        }

    def _can_load(self, pages: list[Page[Any]]) -> bool:
        return bool(pages) and not pages[-1].is_done and len(pages) < limits.PAGER_PAGES_MAX

    def _error(self) -> Exception | None:
        return next((loaded.handle.error for loaded in self._loaded if loaded.handle.error is not None), None)


def _check(query: Any, kwargs: dict[str, Any]) -> None:
    """Raises FunctionError or ArgumentError unless `query` can be paged through."""
    check_kind(query, Query)
    missing = [name for name in _OURS if name not in query.signature.parameters]
    if missing:
        raise FunctionError(
            f"query {query.name!r} has no parameter {missing[0]!r}. A pager passes `cursor: str | None` and `n: int`, "
            "and the query returns `.paginate(cursor, n)`."
        )
    if given := [name for name in _OURS if name in kwargs]:
        raise ArgumentError(f"{given[0]!r} is passed by the pager itself. Set the size of a page by `page_size=`.")


def _more(pages: list[Page[Any]]) -> str:
    """What the button says."""
    if not pages or pages[-1].is_done:
        return "No more rows"
    if len(pages) >= limits.PAGER_PAGES_MAX:
        return f"{limits.PAGER_PAGES_MAX} pages are loaded, the most there can be"
    return "Load more"


def _grid(items: list[Any]) -> Grid:
    """All items as rows, with the columns of the static form."""
    found = records(items)
    if found is None:
        return Grid(["value"], [[item] for item in items], len(items))
    columns = [name for name in fields_of(found) if name not in SYSTEM_FIELDS]
    return Grid(columns, [[row.get(name) for name in columns] for row in found], len(found))


def _is_nothing(cell: Any) -> bool:
    return cell is None or cell is msgspec.UNSET
