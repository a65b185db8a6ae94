"""A priority queue in which a key can be moved or removed at any time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
Rank = tuple[float, ...]

_SLACK = 64


class LazyHeap(Generic[K]):
    """Keys by rank, smallest first; keys of equal rank in the order in which they came.

    A removed key leaves a dead entry in the heap, which is skipped when it reaches the top. Entries are rebuilt when
    most of them are dead, so every operation is O(log n) on average and memory stays proportional to the live keys.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[Rank, int, K]] = []
        self._live: dict[K, int] = {}
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, key: K) -> bool:
        return key in self._live

    def put(self, key: K, rank: Rank) -> None:
        """Adds the key, or moves it."""
        entry = next(self._order)
        self._live[key] = entry
        heapq.heappush(self._entries, (rank, entry, key))
        if len(self._entries) > 2 * len(self._live) + _SLACK:
            self._entries = [item for item in self._entries if self._is_live(item)]
            heapq.heapify(self._entries)

    def discard(self, key: K) -> None:
        """Removes the key if it is there."""
        self._live.pop(key, None)

    def first(self) -> tuple[Rank, K] | None:
        """Returns the smallest rank with its key, or None; the key stays."""
        while self._entries:
            item = self._entries[0]
            if self._is_live(item):
                return item[0], item[2]
            heapq.heappop(self._entries)
        return None

    def pop(self) -> K:
        """Removes and returns the first key.

        Raises:
            IndexError: there is none.
        """
        while True:
            item = heapq.heappop(self._entries)
            if self._is_live(item):
                del self._live[item[2]]
                return item[2]

    def pop_until(self, bound: float, limit: int | None = None) -> list[K]:
        """Removes and returns, in order, the keys whose rank begins with at most ``bound``; at most ``limit``."""
        keys: list[K] = []
        while limit is None or len(keys) < limit:
            first = self.first()
            if first is None or first[0][0] > bound:
                break
            keys.append(self.pop())
        return keys

    def peek_until(self, bound: float, limit: int) -> list[K]:
        """Returns what ``pop_until`` would, and leaves it in place."""
        taken: list[tuple[Rank, int, K]] = []
        while len(taken) < limit:
            first = self.first()
            if first is None or first[0][0] > bound:
                break
            taken.append(heapq.heappop(self._entries))
        for item in taken:
            heapq.heappush(self._entries, item)
        return [key for _, _, key in taken]

    def _is_live(self, item: tuple[Rank, int, K]) -> bool:
        """Whether the entry is the key's last one."""
        return self._live.get(item[2]) == item[1]
