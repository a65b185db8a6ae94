"""The records and counters of the memory storage."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator

from avtomatika.storage.base import Count, Record, RecordWrite
from avtomatika.storage.heap import LazyHeap
from avtomatika.storage.records import counted

_Name = tuple[str, str]


class RecordTable:
    """Records by space and key; what has run out is forgotten at the next look."""

    def __init__(self) -> None:
        self._records: dict[_Name, Record] = {}
        self._keys: defaultdict[str, list[str]] = defaultdict(list)
        self._ends: LazyHeap[_Name] = LazyHeap()

    def find(self, space: str, key: str, now: float) -> Record | None:
        """Returns a record."""
        self._forget_ended(now)
        return self._records.get((space, key))

    def is_expected(self, write: RecordWrite, now: float) -> bool:
        """Whether the version stored is the one that the write expects."""
        record = self.find(write.space, write.key, now)
        return write.expected in {None, 0 if record is None else record.version}

    def write(self, write: RecordWrite, now: float) -> None:
        """Writes a record in place of the stored one."""
        name = write.space, write.key
        old = self.find(*name, now)
        if old is not None:
            self._forget(name)
        if write.value is None:
            return
        ends_at = None if write.ttl is None else now + write.ttl
        self._records[name] = Record(*name, write.value, 1 if old is None else old.version + 1, ends_at)
        insort(self._keys[write.space], write.key)
        if ends_at is not None:
            self._ends.put(name, (ends_at,))

    def behind(self, space: str, after: str, now: float) -> Iterator[Record]:
        """Returns the records of a space behind a key."""
        self._forget_ended(now)
        keys = self._keys.get(space, [])
        return (self._records[space, key] for key in keys[bisect_right(keys, after) :])

    def _forget_ended(self, now: float) -> None:
        for name in self._ends.pop_until(now):
            self._forget(name)

    def _forget(self, name: _Name) -> None:
        space, key = name
        keys = self._keys[space]
        del self._records[name], keys[bisect_left(keys, key)]
        if not keys:
            del self._keys[space]
        self._ends.discard(name)


class CounterTable:
    """Counters by key: each is how much was counted since its window was opened."""

    def __init__(self) -> None:
        self._counters: dict[str, tuple[int, float]] = {}
        self._ends: LazyHeap[str] = LazyHeap()

    def count(self, key: str, limit: int, ttl: float, amount: int, now: float) -> Count:
        """Counts, unless that would be too much."""
        for ended in self._ends.pop_until(now):
            del self._counters[ended]
        outcome = counted(self._counters.get(key), limit, now + ttl, amount)
        if outcome.granted and (key in self._counters or amount > 0):
            self._counters[key] = outcome.total, outcome.resets_at
            self._ends.put(key, (outcome.resets_at,))
        return outcome
