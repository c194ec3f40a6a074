"""The documents of the workloads, the same for every system, computed so that checks can recompute them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

COUNTERS = 10_000
COUNTER_BODY = "x" * 900
MESSAGE_BODY = "m" * 100
ITEM_BODY = "b" * 100
ITEM_GROUPS = 1_000

Row = dict[str, Any]


def counters(documents: int) -> Iterator[Row]:
    """W1's documents, about 1 KB each."""
    for number in range(documents):
        yield {"id": f"d{number}", "v": 0, "owner": f"u{number % 100}", "body": COUNTER_BODY}


def messages(count: int, channels: int) -> Iterator[Row]:
    """W2's and W3's messages, spread over the channels."""
    for number in range(count):
        yield {"n": number, "channel": number % channels, "body": MESSAGE_BODY}


def item_x(number: int) -> int:
    """30 bits that look random."""
    return (number * 2_654_435_761) % 2**30


def item_key(documents: int) -> str:
    """The id of the document that W7 reads: one in the middle."""
    return f"i{documents // 2}"


def item_rows(documents: int) -> Iterator[Row]:
    """W7's documents, about 170 B as JSON."""
    for n in range(documents):
        yield {"id": f"i{n}", "g": n % ITEM_GROUPS, "x": item_x(n), "owner": f"u{n % 100}", "body": ITEM_BODY}


def items(documents: int) -> pa.Table:
    """The same as one Arrow table, built by columns because a million dicts would take gigabytes."""
    numbers = range(documents)
    return pa.table(
        {
            "id": [f"i{n}" for n in numbers],
            "g": [n % ITEM_GROUPS for n in numbers],
            "x": [item_x(n) for n in numbers],
            "owner": [f"u{n % 100}" for n in numbers],
            "body": pa.repeat(ITEM_BODY, documents),
        }
    )


def item_groups(documents: int) -> dict[int, tuple[int, int]]:
    """What `select g, count(*), sum(x) group by g` must answer."""
    groups: dict[int, tuple[int, int]] = {}
    for g in range(min(ITEM_GROUPS, documents)):
        members = range(g, documents, ITEM_GROUPS)
        groups[g] = (len(members), sum(map(item_x, members)))
    return groups


def table(rows: Iterable[Row]) -> pa.Table:
    """Rows as an Arrow table."""
    return pa.Table.from_pylist(list(rows))
