"""Nothing is left behind by widgets that are made and closed a thousand times."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import comm
import pytest

import reactive_db as rdb
from reactive_db.notebook.widgets import Chart, Form, Metric, Pager, PresenceList, Status, Table, Value
from reactive_db.notebook.widgets.widget import LiveWidget
from tests.notebook.widgets.conftest import Sent

TIMES = 1_000

BARS = {"mark": "bar", "encoding": {"x": {"field": "name"}}}


class Item(rdb.Document, table="leak_items"):
    name: str


@rdb.query
def items(ctx: rdb.QueryCtx) -> list[Item]:
    return ctx.db.query(Item).collect()


@rdb.query
def page(ctx: rdb.QueryCtx, cursor: str | None, n: int) -> rdb.Page[Item]:
    return ctx.db.query(Item).paginate(cursor, n)


@rdb.mutation
def add(ctx: rdb.MutationCtx) -> None:
    ctx.db.insert(Item("x"))


MADE: dict[str, Callable[[rdb.Database, rdb.QueryHandle[Any]], LiveWidget]] = {
    "Chart": lambda db, handle: Chart(handle, BARS),
    "Form": lambda db, handle: Form(db, add),
    "Metric": lambda db, handle: Metric(handle, "Items", len),  # type: ignore[arg-type]
    "Pager": lambda db, handle: Pager(db, page, page_size=1),
    "PresenceList": lambda db, handle: PresenceList(db),
    "Status": lambda db, handle: Status(db),
    "Table": lambda db, handle: Table(handle),
    "Value": lambda db, handle: Value(handle),
}


def counted(db: rdb.Database, handle: rdb.QueryHandle[Any], sent: Sent) -> dict[str, int]:
    gc.collect()
    db.run(add)  # sweeps what was let go
    sent.pushed()
    return {
        "observers": sum(len(found) for kinds in handle._trait_notifiers.values() for found in kinds.values()),
        "listeners": len(db._store.committer.on_settled),
        "watched": len(db._scheduler.cache.watched),
        "pushed": len(sent.pusher._woken) + len(sent.pusher._tails),
        "open": len(LiveWidget._open),
        "comms": len(comm.get_comm_manager().comms),
        "threads": threading.active_count(),
    }


@pytest.mark.parametrize("what", MADE)
def test_a_thousand_closed_widgets_leave_nothing_behind(db: rdb.Database, sent: Sent, what: str) -> None:
    for _ in range(3):
        db.run(add)
    handle = db.live(items)
    MADE[what](db, handle).close()
    before = counted(db, handle, sent)
    for number in range(TIMES):
        widget = MADE[what](db, handle)
        if number % 100 == 0:
            sent.hello(widget)
            sent.say(widget, {"type": "more", "pages": 1})
            db.run(add)
            sent.pushed()
        widget.close()
    del widget
    after = counted(db, handle, sent)
    # The thread of the time limit comes and goes.
    assert after.pop("threads") <= before.pop("threads") + 1
    assert after == before
