"""The publisher: what each session watches, and what it has not been told yet.

Theory of operation. Every commit is looked up by the old and new keys of its writes, as subscriptions of live queries
are, so its cost depends on whom it concerns. What concerns a session is gathered for it, each document once, until
the session's connection can take it: a slow client gets fewer and larger transitions, never a backlog. A document that
a user may not read, by its table's policy, does not exist for their sessions: when they may not any more it is gone.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from reactive_db import limits
from reactive_db.engine.read_set import BY_ID, Space
from reactive_db.engine.store import Store
from reactive_db.engine.write_log import LoggedCommit
from reactive_db.errors import LimitError
from reactive_db.model.documents import Document
from reactive_db.model.keys import KeyRange
from reactive_db.model.policy import Policy, Scope, User
from reactive_db.model.schema import TABLES_NUMBER, TableSchema, decode_definition
from reactive_db.reactive.subscription_index import SubscriptionIndex
from reactive_db.storage.tables import Write
from reactive_db.sync.messages import Transition, Written
from reactive_db.sync.policies import Policies
from reactive_db.sync.shared_frames import SharedFrames

T = TypeVar("T")

_log = logging.getLogger(__name__)

Watched = tuple[Space, KeyRange]


class Wakeable(Protocol):
    """Who is told that there is news for a session; called by the thread that commits, with no lock held."""

    def wake(self) -> None:
        """Send the news soon, on another thread."""

    def flush(self) -> None:
        """Send it now, if it may be sent now; must not wait."""


class News:
    """What one session watches, and what has changed there since its last transition. Guarded by the publisher."""

    def __init__(self, owner: Wakeable, user: User) -> None:
        self.owner = owner
        self.user = user
        self.scopes: dict[int, Scope | None] = {}
        """By number of a table with a policy, what the user may read of it; looked up for every commit there."""
        self.watched: Counter[Watched] = Counter()
        self.tables: Counter[int] = Counter()
        """Of which something is watched."""
        self.asked: set[int] = set()
        """Tables that are watched as a whole, for SQL: told that they changed, not how."""
        self.told_ts = 0
        self.commit = 0
        """The number of its own last commit."""
        self.source = ""
        self.documents: dict[tuple[int, str], bytes | None] = {}
        self.whole: set[int] = set()
        self.touched: set[int] = set()

    @property
    def is_empty(self) -> bool:
        return not (self.documents or self.whole or self.touched)

    def sees(self, policy: Policy, table: int, *states: Document | None) -> bool:
        """Whether the user may read a document of a table with that policy in one of these states."""
        if table not in self.scopes:
            self.scopes[table] = policy.readable(self.user)
        scope = self.scopes[table]
        return scope is None or scope.has(*states)

    def take(self, ts: int) -> Transition | None:
        """Everything as one step to `ts`; None if the session is there already."""
        if ts == self.told_ts and self.is_empty:
            return None
        writes = [Written(number, id, data) for (number, id), data in self.documents.items()]
        made = Transition(ts, self.source, writes, sorted(self.whole), sorted(self.touched), self.commit)
        self.told_ts = ts
        self.documents, self.whole, self.touched = {}, set(), set()
        return made


class Publisher:
    """Finds the sessions that a commit concerns.

    Responsibilities: who watches what, what each has still to hear. Not: when it is sent, or how.

    Attributes:
        ts: the newest commit that was looked up. It is durable: commits come here after the journal has them.
        policies: those in force at `ts`.
        frames: what sessions are told, encoded.
        lock: held for microseconds; no other lock is taken inside.
    """

    def __init__(self, store: Store, records: int) -> None:
        """`records` is the number of the table in which each session's commit leaves its own number."""
        self.lock = threading.RLock()
        self.ts = store.published_ts
        self.policies = Policies(store.catalog.definitions())
        self.frames = SharedFrames()
        self._store = store
        self._records = records
        self._by_session: dict[str, News] = {}
        self._index: SubscriptionIndex[News] = SubscriptionIndex()
        self._spaces: dict[int, Counter[Space]] = {}
        self._news: dict[News, None] = {}
        self._written: dict[int, int] = {}
        store.committer.listeners.append(self._on_commit)

    def close(self) -> None:
        """Hear of no commit any more."""
        self._store.committer.listeners.remove(self._on_commit)

    def join(self, owner: Wakeable, user: User) -> News:
        """A new session, which watches nothing yet but the definitions of tables."""
        news = News(owner, user)
        with self.lock:
            news.told_ts = self.ts
            self._news[news] = None
        return news

    def name(self, news: News, session: str) -> None:
        """From now on the commits of `session` are its own."""
        with self.lock:
            self._by_session[session] = news

    def leave(self, news: News, session: str) -> None:
        """The session is over, or goes on elsewhere."""
        with self.lock:
            self.forget(news)
            self._news.pop(news, None)
            if self._by_session.get(session) is news:
                del self._by_session[session]

    def watch(self, news: News, watched: Watched) -> None:
        """Gather from now on what changes in a range; nothing for a session that is over. The caller has the lock.

        Raises:
            LimitError: the session watches too many.
        """
        if news not in self._news:
            return
        if len(news.watched) >= limits.SESSION_RANGES_MAX:
            raise LimitError(
                f"a session watches more than {limits.SESSION_RANGES_MAX:,} key ranges (SESSION_RANGES_MAX). Close "
                "handles, or read fewer and wider ranges.",
                limit="SESSION_RANGES_MAX",
            )
        space, key_range = watched
        news.watched[watched] += 1
        news.tables[space[0]] += 1
        self._index.add(space, key_range, news)
        self._spaces.setdefault(space[0], Counter())[space] += 1

    def unwatch(self, news: News, watched: Watched) -> None:
        """Take `watch` back. The caller has the lock."""
        if watched not in news.watched:
            return  # the session is over
        space, key_range = watched
        self._index.remove(space, key_range, news)
        _count_down(news.watched, watched)
        _count_down(news.tables, space[0])
        _count_down(self._spaces[space[0]], space)

    def forget(self, news: News) -> None:
        """Watch nothing any more. The caller has the lock."""
        for watched in list(news.watched.elements()):
            self.unwatch(news, watched)
        news.asked.clear()
        news.documents = _definitions_among(news.documents)
        news.whole.clear()
        news.touched.clear()

    def last_write(self, tables: Iterable[int]) -> int:
        """The newest commit to one of `tables` since the start, 0 if there was none. The caller has the lock."""
        return max((self._written.get(table, 0) for table in tables), default=0)

    def _on_commit(self, commit: LoggedCommit) -> None:
        with self.lock:
            self.ts = commit.ts
            woken: set[News] = set()
            for number, (schema, writes) in commit.writes.items():
                self._written[number] = commit.ts
                if number == self._records:
                    self._note_commits(writes)
                elif number == TABLES_NUMBER:
                    woken |= self._tell_definitions()
                elif commit.is_bulk:
                    woken |= self._tell_whole(number)
                else:
                    woken |= self._tell_writes(number, schema, writes)
                    woken |= self._tell_touched(number, writes)
            for news in woken:
                news.source = commit.source
        _tell(woken)

    def _note_commits(self, records: list[Write]) -> None:
        for write in records:
            record: Any = write.new
            news = None if record is None else self._by_session.get(record.session)
            if news is not None:
                news.commit = record.commit

    def _tell_writes(self, number: int, schema: TableSchema, writes: list[Write]) -> set[News]:
        woken: set[News] = set()
        spaces, policy = list(self._spaces.get(number, ())), self.policies.of(number)
        for write in writes if spaces else ():
            hit: set[News] = set()
            for space in spaces:
                for key in _keys(schema, space[1], write):
                    self._index.stab(space, key, hit)
            if policy is not None:
                hit = {news for news in hit if news.sees(policy, number, write.old, write.new)}
            for news in hit:
                is_gone = policy is not None and not news.sees(policy, number, write.new)
                news.documents[number, write.id] = None if is_gone else write.data
                if len(news.documents) > limits.TRANSITION_DOCUMENTS_MAX:
                    self._give_up(news)
            woken |= hit
        return woken

    def _give_up(self, news: News) -> None:
        """So much has changed that asking anew is cheaper than telling it all."""
        news.whole.update(number for number, _ in news.documents if number != TABLES_NUMBER)
        news.documents = _definitions_among(news.documents)

    def _tell_whole(self, number: int) -> set[News]:
        woken = {news for news in self._news if number in news.tables or number in news.asked}
        for news in woken:
            news.whole.add(number)
        return woken

    def _tell_touched(self, number: int, writes: list[Write]) -> set[News]:
        woken, policy = {news for news in self._news if number in news.asked}, self.policies.of(number)
        if policy is not None:
            changes = [(write.old, write.new) for write in writes]
            woken = {news for news in woken if any(news.sees(policy, number, *change) for change in changes)}
        for news in woken:
            news.touched.add(number)
        return woken

    def _tell_definitions(self) -> set[News]:
        self.policies = Policies(decode_definition(data) for _, _, data in self.definitions())
        for news in self._news:
            news.scopes.clear()
        for number, id, data in self.definitions():
            for news in self._news:
                news.documents[number, id] = data
        return set(self._news)

    def definitions(self) -> list[tuple[int, str, bytes]]:
        """Every document of the table of tables, as it is stored."""
        table = self._store.catalog.loaded_table(TABLES_NUMBER)
        assert table is not None
        return [(TABLES_NUMBER, id, data) for id, data in table.stored()]


def _definitions_among(documents: Mapping[tuple[int, str], bytes | None]) -> dict[tuple[int, str], bytes | None]:
    """Those of the table of tables, which every session watches whatever it forgets."""
    return {key: data for key, data in documents.items() if key[0] == TABLES_NUMBER}


def _tell(woken: set[News]) -> None:
    """Tell a few here and now, which saves them a hand-over to another thread, 0.3 ms; many would take too long."""
    is_few = len(woken) <= limits.FLUSHED_AT_ONCE_MAX
    for news in woken:
        try:
            if is_few:
                news.owner.flush()
            else:
                news.owner.wake()
        except Exception:
            _log.exception("a session could not be told of a commit, which is not affected")


def _count_down(counter: Counter[T], key: T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


def _keys(schema: TableSchema, index: str, write: Write) -> set[bytes]:
    """The keys that a document left, entered or kept."""
    if index == BY_ID:
        return {write.id.encode()}
    found = schema.indexes.get(index)
    # Readers of an index that is gone belong to another definition, and are told when the table is moved to it.
    return set() if found is None else {found.key(one) for one in (write.old, write.new) if one is not None}
