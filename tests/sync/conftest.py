"""One store that is served, and wires to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reactive_db.sync.served import Served
from reactive_db.testing.stores import memory_store
from reactive_db.testing.wire import Kernel, Wire


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served("course", memory_store())
    yield made
    made.close()


@pytest.fixture
def wire(served: Served) -> Iterator[Wire]:
    """One whose frames the test delivers."""
    made = Wire(served)
    yield made
    made.close()


@pytest.fixture
def automatic(served: Served) -> Iterator[Wire]:
    """One that delivers by itself; the end of the test closes its kernels."""
    made = Wire(served, is_automatic=True)
    yield made
    for link in made.links:
        link.close()
    made.close()


@pytest.fixture
def kernels(automatic: Wire) -> Iterator[list[Kernel]]:
    """Two of the same store."""
    made = [Kernel(automatic), Kernel(automatic)]
    yield made
    for kernel in made:
        kernel.database.close()
