"""The writes of several commits as one batch: where each comes from, and which is the last of its document.

Pure. Kept as parallel lists: a tuple for each of 300,000 writes would make the garbage collector run again
and again, at half the cost of applying them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from reactive_db.storage.commit import Commit

_CHUNK_WRITES: Final = 20_000
_CHUNK_BYTES: Final = 32 * 2**20
"""How many documents are decoded at a time."""


class WriteBatch:
    """What `commits` write, in order.

    Attributes:
        writes: every write.
        commits: the commit of each of them.
    """

    def __init__(self, commits: Sequence[Commit]) -> None:
        self.writes = [write for commit in commits for write in commit.writes]
        self.commits = [commit for commit in commits for _ in commit.writes]
        self._last = {write.id: at for at, write in enumerate(self.writes)}

    def __len__(self) -> int:
        return len(self.writes)

    def ids(self) -> dict[int, list[str]]:
        """The ids of the documents that are written, each once, by number of their table."""
        ids: dict[int, list[str]] = defaultdict(list)
        for id, at in self._last.items():
            ids[self.writes[at].table].append(id)
        return ids

    def is_last(self, at: int) -> bool:
        """Whether no later write is to the same document."""
        return self._last[self.writes[at].id] == at

    def chunks(self) -> Iterator[range]:
        """Where to cut, so that the documents of each piece fit into memory decoded."""
        begin = size = 0
        for end, write in enumerate(self.writes):
            added = len(write.document or b"")
            if end - begin == _CHUNK_WRITES or (begin < end and size + added > _CHUNK_BYTES):
                yield range(begin, end)
                begin, size = end, 0
            size += added
        if begin < len(self.writes):
            yield range(begin, len(self.writes))
