"""Reputations: what is known of workers by their results, kept in the storage and shared by all engines."""

from __future__ import annotations

import logging

from avtomatika.clock import Clock
from avtomatika.core.document import Document
from avtomatika.core.effects import Decision
from avtomatika.core.reputation import HALF_LIFE, Mark, Reputation, Scale, after, marks
from avtomatika.storage.base import RecordWrite, Storage

log = logging.getLogger(__name__)

SPACE = "reputation"
# After ten half-lives a thousandth of the gap is left.
_TTL = 10 * HALF_LIFE
# So long another engine's news may take.
_REFRESH_SECONDS = 5.0
_PAGE = 500
_TRIES = 10


class Reputations:
    """The reputations of all workers.

    Most workers do well, and of those nothing is written: a record begins with the first failure. The records are
    written after the commit that they follow from, so that no job waits for them; if the engine ends in between, one
    mark is lost.

    Args:
        storage: where they are kept.
        clock: when to read them again.
        minimum: workers below it get no tasks; 0 for none.
        scale: what attempts count.
    """

    def __init__(self, storage: Storage, clock: Clock, minimum: float = 0.0, scale: Scale | None = None) -> None:
        self._storage = storage
        self._clock = clock
        self._minimum = minimum
        self._scale = scale or Scale()
        self._known: dict[str, Reputation] = {}
        self._reads_at = float("-inf")

    @property
    def minimum(self) -> float:
        """What a worker must have to get tasks."""
        return self._minimum

    def score(self, worker_id: str) -> float:
        """Returns a worker's reputation as far as this engine has heard, above 0 and up to 1."""
        known = self._known.get(worker_id)
        return 1.0 if known is None else known.now(self._clock.now())

    def is_barred(self, worker_id: str) -> bool:
        """Whether the worker gets no tasks for the time being."""
        return worker_id in self._known and self.score(worker_id) < self._minimum

    async def refresh(self) -> None:
        """Reads what other engines have written, unless it did so a few seconds ago."""
        now = self._clock.now()
        if now < self._reads_at:
            return
        self._reads_at = now + _REFRESH_SECONDS
        known: dict[str, Reputation] = {}
        last = ""
        while True:
            records = await self._storage.list_records(SPACE, last, _PAGE)
            known |= {record.key: _read(record.value) for record in records}
            if len(records) < _PAGE:
                break
            last = records[-1].key
        self._known = known

    async def learn(self, decision: Decision) -> None:
        """Takes note of what a committed decision says of workers; a storage that does not answer costs a mark."""
        for mark in marks(decision.effects):
            worth = self._scale.of(mark.code)
            if worth == 0.0 or (worth > 0.0 and mark.worker_id not in self._known):
                continue
            try:
                await self._write(mark, worth)
            except Exception:
                log.exception(
                    "a worker's reputation is not written down",
                    extra={"action": "reputation_lost", "worker_id": mark.worker_id},
                )

    async def _write(self, mark: Mark, worth: float) -> None:
        for _ in range(_TRIES):
            record = await self._storage.find_record(SPACE, mark.worker_id)
            now = await self._storage.now()
            before = Reputation() if record is None else _read(record.value)
            changed = after(before, worth, now)
            if changed.score == before.score == 1.0:
                return
            value = None if changed.is_flawless else Document.of([changed.score, changed.at])
            write = RecordWrite(SPACE, mark.worker_id, value, 0 if record is None else record.version, _TTL)
            if await self._storage.put_record(write):
                if value is None:
                    self._known.pop(mark.worker_id, None)
                else:
                    self._known[mark.worker_id] = changed
                return


def _read(value: Document) -> Reputation:
    score, at = value.value()
    return Reputation(float(score), float(at))
