"""What a server and its sessions hold does not grow with the commits that they have seen."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

import reactive_db as rdb
from reactive_db import limits
from reactive_db.storage.tables import Write
from reactive_db.sync.publisher import Publisher
from reactive_db.sync.served import Served
from reactive_db.testing.stores import memory_store
from reactive_db.testing.wire import Kernel, Wire

COMMITS = 600
BYTES_A_COMMIT_MAX = 100


class Tally(rdb.Document, table="memory_tallies"):
    n: int = 0


@rdb.mutation
def add(ctx: rdb.MutationCtx) -> rdb.Id[Tally]:
    return ctx.db.insert(Tally())


@rdb.mutation
def count(ctx: rdb.MutationCtx, ids: list[rdb.Id[Tally]]) -> None:
    for id in ids:
        tally = ctx.db.get(id)
        assert tally is not None
        ctx.db.patch(id, n=tally.n + 1)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Kernel]]:
    """Three of one store, whose log of recent commits is full soon."""
    monkeypatch.setattr(limits, "WRITE_LOG_COMMITS_MAX", 100)
    served = Served("course", memory_store())
    wire = Wire(served, is_automatic=True)
    made = [Kernel(wire) for _ in range(3)]
    yield made
    for kernel in made:
        kernel.database.close()
    wire.close()
    served.close()


def bytes_a_commit(kernels: list[Kernel]) -> float:
    """By how much what Python holds grows, once everything that has a limit is full."""
    shared, own = kernels[0].database.run(add), [kernel.database.run(add) for kernel in kernels]

    def work() -> int:
        for turn in range(COMMITS):
            kernel, mine = kernels[turn % 3], own[turn % 3]
            kernel.database.run(count, [mine, shared] if turn % 20 == 0 else [mine])
        kernels[0].wire.served.store.flusher.flush()
        for kernel in kernels:
            kernel.settle()
            kernel.link.connection.said.clear()  # which only tests keep
            kernel.link.connection.heard.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        work()
        before = work()
        return (work() - before) / COMMITS
    finally:
        tracemalloc.stop()


def test_it_does_not_grow(kernels: list[Kernel]) -> None:
    assert bytes_a_commit(kernels) < BYTES_A_COMMIT_MAX


def test_a_publisher_that_remembers_every_commit_is_caught(
    kernels: list[Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Write] = []
    tell = Publisher._note_commits
    monkeypatch.setattr(Publisher, "_note_commits", lambda self, writes: (kept.extend(writes), tell(self, writes)))
    assert bytes_a_commit(kernels) > BYTES_A_COMMIT_MAX
