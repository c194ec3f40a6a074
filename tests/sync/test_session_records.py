"""What a store keeps of sessions: the number of each one's last commit, for two weeks."""

from __future__ import annotations

from reactive_db import limits
from reactive_db.sync import messages as m
from reactive_db.sync.served import Served
from reactive_db.testing.stores import memory_store
from reactive_db.testing.wire import OWNER

DAY_MS = 86_400_000
SESSION = "0" * 32


def commit(served: Served, number: int) -> int:
    ts = served.store.published_ts
    message = m.Commit(request=1, commit=number, begin_ts=ts, source="test", reads=[], writes=[], definitions={})
    return served.commit(SESSION, OWNER, message)


def test_the_last_commit_of_a_session_is_known() -> None:
    served = Served("course", memory_store())
    assert served.last_commit(SESSION) == 0
    commit(served, 1)
    commit(served, 2)
    assert served.last_commit(SESSION) == 2
    served.close()


def test_a_commit_that_comes_again_changes_nothing() -> None:
    served = Served("course", memory_store())
    first = commit(served, 1)
    assert commit(served, 1) == first
    assert served.store.published_ts == first
    served.close()


def test_sessions_long_past_are_forgotten() -> None:
    store = memory_store()
    served = Served("course", store)
    commit(served, 1)
    served.publisher.close()
    store.runtime.advance(limits.SESSION_DAYS_MAX * DAY_MS / 1000 - 1)  # type: ignore[attr-defined]  # seeded
    served = Served("course", store)
    assert served.last_commit(SESSION) == 1
    served.publisher.close()
    store.runtime.advance(2)  # type: ignore[attr-defined]  # seeded
    served = Served("course", store)
    assert served.last_commit(SESSION) == 0
    served.close()
