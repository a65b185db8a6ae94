"""What the storage in memory keeps beside jobs and tasks: the outbox, the log of changes, records and workers."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage.base import Changes, Count, Message, Record, RecordWrite, Sighting
from avtomatika.storage.codec import decode_change, decode_worker, encode_worker, refresh_worker
from avtomatika.storage.contract.changes import ChangeStorage
from avtomatika.storage.contract.outbox import OutboxStorage
from avtomatika.storage.contract.records import RecordStorage
from avtomatika.storage.contract.workers import WorkerStorage
from avtomatika.storage.memory_tables import MemoryTables
from avtomatika.storage.records import check_name, first_position, message_signals
from avtomatika.storage.rows import HistoryStep


class MemoryBeside(MemoryTables, OutboxStorage, ChangeStorage, RecordStorage, WorkerStorage):
    """The part of the storage in memory that has to do with neither jobs nor tasks."""

    # --- the outbox: history ---

    async def read_events(self, limit: int) -> list[HistoryStep]:
        """Returns the history of the oldest steps."""
        return [step for step, _ in itertools.islice(self._outbox.values(), limit)]

    async def ack_events(self, step_ids: Sequence[str]) -> None:
        """Forgets rows."""
        for acknowledged in [self._outbox.pop(step_id, None) for step_id in step_ids]:
            if acknowledged is not None:
                step, number = acknowledged
                self._jobs[step.job_id].acknowledged += number

    # --- the outbox: messages ---

    async def claim_messages(self, topics: Sequence[str], limit: int, lease: float) -> list[Message]:
        """Takes due messages."""
        now = self._clock.now()
        return self._mailbox.claim(topics, limit, now, now + lease)

    async def ack_messages(self, message_ids: Sequence[str]) -> None:
        """Forgets messages."""
        for message_id in message_ids:
            self._mailbox.ack(message_id)

    async def postpone_message(self, message_id: str, at: float, error: str) -> None:
        """Moves the moment of a message."""
        message = self._mailbox.postpone(message_id, at, error)
        if message is not None:
            self._listeners.tell(message_signals([message]))

    async def bury_message(self, message_id: str, error: str) -> None:
        """Makes a message a dead letter."""
        self._mailbox.bury(message_id, self._clock.now(), error)

    async def list_dead_messages(
        self, topic: str | None = None, limit: int = 100, before: tuple[float, str] | None = None
    ) -> list[Message]:
        """Returns dead letters, last buried first."""
        return list(itertools.islice(self._mailbox.dead_letters(topic, before), limit))

    async def replay_messages(self, message_ids: Sequence[str]) -> list[str]:
        """Makes dead letters due."""
        now = self._clock.now()
        replayed = [message for message_id in message_ids if (message := self._mailbox.replay(message_id, now))]
        self._listeners.tell(message_signals(replayed))
        return [message.id for message in replayed]

    async def next_message_at(self, topics: Sequence[str]) -> float | None:
        """Returns when the next message is due."""
        return self._mailbox.next_at(topics)

    # --- the log of changes ---

    async def read_changes(self, after: int | None, limit: int) -> Changes:
        """Returns changes behind a position."""
        first = len(self._changes) if after is None else bisect_right(self._positions, after)
        wanted = slice(first, first + limit)
        entries = list(map(decode_change, self._positions[wanted], self._changes[wanted]))
        end = max(self._last_position, first_position(self._clock.now()) - 1)
        return Changes(entries, self._changes_floor, end)

    async def trim_changes(self, age: float, keep: int) -> None:
        """Forgets changes."""
        old = bisect_left(self._positions, first_position(self._clock.now() - age))
        gone = max(old, len(self._changes) - keep)
        if gone > 0:
            self._changes_floor = self._positions[gone - 1] + 1
            del self._changes[:gone], self._positions[:gone]

    # --- records and counters ---

    async def find_record(self, space: str, key: str) -> Record | None:
        """Returns the record."""
        return self._records.find(space, key, self._clock.now())

    async def put_record(self, write: RecordWrite) -> bool:
        """Writes a record if nobody was faster."""
        check_name(write.space, write.key)
        now = self._clock.now()
        if not self._records.is_expected(write, now):
            return False
        self._records.write(write, now)
        return True

    async def list_records(self, space: str, after: str = "", limit: int = 100) -> list[Record]:
        """Returns records of a space, by key."""
        return list(itertools.islice(self._records.behind(space, after, self._clock.now()), limit))

    async def count(self, key: str, limit: int, ttl: float, amount: int = 1) -> Count:
        """Counts, unless that would be too much."""
        check_name(key)
        return self._counters.count(key, limit, ttl, amount, self._clock.now())

    # --- workers ---

    async def put_worker(self, worker: WorkerProfile, ttl: float) -> None:
        """Remembers the worker."""
        self._forget_workers()
        until = self._clock.now() + ttl
        self._workers[worker.worker_id] = (encode_worker(worker), until)
        self._workers_end.put(worker.worker_id, (until,))

    async def refresh_workers(self, sightings: Sequence[Sighting], ttl: float) -> list[str]:
        """Moves the moments of workers that are as the caller knows them."""
        self._forget_workers()
        until, others = self._clock.now() + ttl, []
        for sighting in sightings:
            raw, _ = self._workers.get(sighting.worker_id, (None, 0.0))
            seen = refresh_worker(raw, sighting)
            if seen is None:
                others.append(sighting.worker_id)
            else:
                self._workers[sighting.worker_id] = seen, until
                self._workers_end.put(sighting.worker_id, (until,))
        return others

    async def find_worker(self, worker_id: str) -> WorkerProfile | None:
        """Returns the worker if its time has not run out."""
        self._forget_workers()
        known = self._workers.get(worker_id)
        return None if known is None else decode_worker(known[0])

    async def list_workers(self) -> list[WorkerProfile]:
        """Returns the workers by id."""
        self._forget_workers()
        return [decode_worker(self._workers[worker_id][0]) for worker_id in sorted(self._workers)]

    async def remove_worker(self, worker_id: str) -> None:
        """Forgets the worker."""
        self._workers.pop(worker_id, None)
        self._workers_end.discard(worker_id)

    def _forget_workers(self) -> None:
        for worker_id in self._workers_end.pop_until(self._clock.now()):
            del self._workers[worker_id]
