"""A server of stores that is broken on purpose: the campaign must notice. Started by test_wire_consistency.py.

python tests/sync/sabotaged_server.py forgets-commits serve --port 8910    # name, then what `reactive-db` takes
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from reactive_db.cli import main
from reactive_db.engine.committer import Committer
from reactive_db.storage.tables import Write
from reactive_db.sync import messages as m
from reactive_db.sync.publisher import Publisher
from reactive_db.sync.served import Served
from reactive_db.sync.session import ServerSession


def forgets_commits() -> None:
    """A server that does not look which commit of a session was its last: what is sent again loses to itself."""
    Served._record = lambda self, session: None  # type: ignore[method-assign]


def drops_a_key() -> None:
    """A publisher that does not look for the readers of one document in a commit."""
    tell = Publisher._tell_writes

    def tell_some(self: Publisher, number: int, schema: Any, writes: list[Write]) -> Any:
        return tell(self, number, schema, writes[1:])

    Publisher._tell_writes = tell_some  # type: ignore[method-assign]


def validates_nothing() -> None:
    """A Committer that lets both win a race."""
    Committer._validate = lambda self, transaction: None  # type: ignore[method-assign]


def acknowledges_first() -> None:
    """A session that answers a commit before it is made, and then makes only every other one."""
    answer, made = ServerSession._on_commit, iter(range(2**30))

    def some(self: ServerSession, message: m.Commit) -> None:
        if next(made) % 2:
            answer(self, message)
        else:
            with self._answering() as early:
                early.messages = [m.Committed(message.request, early.ts)]

    from reactive_db.sync import session

    session._ANSWERS[m.Commit] = some


SABOTAGES: dict[str, Callable[[], None]] = {
    "forgets-commits": forgets_commits,
    "drops-a-key": drops_a_key,
    "validates-nothing": validates_nothing,
    "acknowledges-first": acknowledges_first,
}


if __name__ == "__main__":
    SABOTAGES[sys.argv.pop(1)]()
    main(prog_name="reactive-db")
