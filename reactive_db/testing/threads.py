"""Threads for tests: run to their end, and made to meet as often as they can."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

PATIENCE_SECONDS: Final = 20.0
"""A thread that takes longer is stuck."""

_SWITCH_SECONDS: Final = 1e-6
"""How long a thread runs while others want to: so short that they meet inside transactions all the time."""


def run_in_threads(functions: Sequence[Callable[[], object]]) -> None:
    """Run all at once, wait for all of them, and raise the first exception that one of them raised."""
    failures: list[BaseException] = []

    def guarded(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=[function], daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        if thread.is_alive():
            raise AssertionError(f"a thread is stuck after {PATIENCE_SECONDS:g} s")
    if failures:
        raise failures[0]


@contextmanager
def switching_often() -> Iterator[None]:
    """Within, threads of Python take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
