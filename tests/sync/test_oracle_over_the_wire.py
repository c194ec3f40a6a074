"""Invariant 5 over the wire: what the handles of several kernels show equals a fresh run on the server's own store.

The programs are those of `tests/test_oracle.py`: schema changes, functions, mutations, loads, live queries. Here each
step is made by one of three kernels, whose connections are cut and come back between the steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from reactive_db.database import Database
from reactive_db.engine.read_set import BY_ID
from reactive_db.model.keys import EVERYTHING, KeyRange
from reactive_db.sync.publisher import Publisher
from reactive_db.sync.replica import ReplicaTable
from reactive_db.sync.served import Served
from reactive_db.testing.stores import memory_store
from reactive_db.testing.wire import Kernel, Wire
from tests.oracle_model import canonical
from tests.test_oracle import Program, Watched, plain

KERNELS = 3


class OverTheWire(Program):
    """One store that is served, and kernels that have it."""

    is_durable: ClassVar[bool] = False
    # Observers that write do so on threads of their own here; what is in memory is not reopened.
    watch_with_an_observer_that_writes = reopen = ask_sql = None  # type: ignore[assignment]

    def open(self) -> Database:
        self.served = Served("oracle", memory_store(self.runtime))
        self.wire = Wire(self.served, is_automatic=True)
        self.kernels = [Kernel(self.wire, self.runtime) for _ in range(KERNELS)]
        self.own = Database(self.served.store)
        return self.kernels[0].database

    def redeclare(self) -> None:
        """All kernels here share the classes of one process: none may be in the middle of using the old one."""
        self.settle()
        super().redeclare()

    def settle(self) -> None:
        for _ in range(2):
            for kernel in self.kernels:
                kernel.settle()

    @rule(number=st.integers(0, KERNELS - 1))
    def another_kernel_goes_on(self, number: int) -> None:
        self.db = self.kernels[number].database

    @rule(number=st.integers(0, KERNELS - 1))
    def a_connection_is_lost_and_comes_back(self, number: int) -> None:
        link = self.kernels[number].link
        link.connection.cut()
        link.connect()

    @precondition(lambda self: self.watched)
    @rule(data=st.data(), closes=st.booleans())
    def let_go_of_a_handle(self, data: st.DataObject, closes: bool) -> None:
        gone = self.watched.pop(data.draw(st.integers(0, len(self.watched) - 1)))
        gone.handle.close()

    @invariant()
    def everything_is_right(self) -> None:
        self.settle()
        self.past[self.served.publisher.ts] = self.model.copy()
        for one in self.watched:
            self.check(one)

    def check(self, one: Watched) -> None:
        handle, told = one.handle, f"{one.handle.title} at ts {one.handle.ts}"
        assert one.stamps == sorted(one.stamps), told
        if handle.status == "stale" or handle.throttle + handle.debounce > 0:
            return  # its time has not come
        query = handle._query
        assert query is not None
        assert query.shown is not None
        if query.shown.page_end is None:
            kind, wanted = one.expected(self.model)
            assert type(handle.error).__name__ == (wanted if kind == "error" else "NoneType"), told
            if kind == "value":
                assert canonical(plain(handle.value)) == canonical(plain(wanted)), told
        self.check_on_the_server(handle, told)

    def check_on_the_server(self, handle: Any, told: str) -> None:
        """The same query, run from scratch beside the store."""
        query = handle._query
        if query.reads_columns or handle.error is not None:
            return  # the model has judged these
        name, arguments = query.key
        found = next((one for one in FUNCTIONS() if one.name == name), None)
        if found is None:
            return
        bound = found.signature.unkey(arguments, self.own._store.converter)
        with self.own._store.snapshot(with_columns=True) as snapshot:
            outcome = self.own._runner.compute(found, bound)(snapshot, query.shown.page_end)
        outcome.forget_frames()
        assert outcome.error is None, told
        assert canonical(plain(handle.value)) == canonical(plain(outcome.value)), told

    def teardown(self) -> None:
        for one in self.watched:
            one.handle.close()
        for kernel in self.kernels:
            kernel.database.close()
        self.own.close()
        self.wire.close()
        self.served.close()
        self.folder.cleanup()


def FUNCTIONS() -> list[Any]:
    from tests import test_oracle as oracle

    return [oracle.read, oracle.get, oracle.tagged, oracle.odd_fails]


TestOverTheWire = OverTheWire.TestCase
TestOverTheWire.settings = settings(settings.default, max_examples=max(settings.default.max_examples // 4, 5))
TestOverTheWire.pytestmark = pytest.mark.timeout(1_200)  # a failure is made smaller for five minutes


# --- broken variants -------------------------------------------------------------------------------------------------


def drops_a_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher that does not look for the readers of one document in a commit."""
    tell = Publisher._tell_writes
    monkeypatch.setattr(
        Publisher, "_tell_writes", lambda self, number, schema, writes: tell(self, number, schema, writes[1:])
    )


def takes_a_part_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that takes what it was told of an index for everything there is."""
    cover = ReplicaTable.cover

    def covers_all(self: ReplicaTable, index: str, key_range: KeyRange, since: int) -> None:
        cover(self, index, key_range if index == BY_ID else EVERYTHING, since)

    monkeypatch.setattr(ReplicaTable, "cover", covers_all)


def never_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that goes on to believe what it had when everything may be different."""
    monkeypatch.setattr(ReplicaTable, "forget", lambda self: None)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("breaks", [drops_a_document, takes_a_part_for_the_whole, never_forgets])
def test_a_broken_variant_is_caught(
    breaks: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch)
    quick = settings(max_examples=400, stateful_step_count=40, database=None, deadline=None, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(OverTheWire, settings=quick)
