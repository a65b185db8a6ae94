"""Elsewhere: which workers wait at other engines, so that a strategy chooses among all of them.

Each engine writes down who waits at it, and reads what the others wrote. All of it is a hint that may be a second old:
a wrong one costs a task a moment, never more.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from avtomatika.clock import Clock
from avtomatika.core.document import Document
from avtomatika.protocol.messages import Skill, WorkerProfile
from avtomatika.storage.base import Record, RecordWrite, Storage

log = logging.getLogger(__name__)

SPACE = "waiting"
# The pauses between two exchanges, while there are other engines and while there are none.
_PAUSE = 1.0
_PAUSE_ALONE = 5.0
# So often an engine shows that it is there, though it has no news; twice that may fail.
_SIGN_SECONDS = 10.0
_TTL = 30.0
# Of so many workers an engine tells at most, and of none that says more of itself than so many bytes.
MOST_TOLD = 256
_MOST_BYTES = 4096
_MOST_ENGINES = 100
# Turns are counted in windows of an hour, so that nothing stays in the storage of a type that is used no more.
_TURNS_TTL = 3600.0
_NO_LIMIT = 2**31

Waiting = tuple[WorkerProfile, Collection[str]]
"""A worker, and the skills for which it waits."""


class Elsewhere:
    """What the engines of one storage tell each other of the workers that wait at them.

    Args:
        storage: shared with the other engines.
        clock: says when a sign of life is due.
        owner: name of this engine, unlike any other's; one is made up if empty.
    """

    def __init__(self, storage: Storage, clock: Clock, owner: str = "") -> None:
        self._storage = storage
        self._clock = clock
        self._owner = owner or uuid.uuid4().hex
        # Engine to version of its record, and to those who wait there and are not expected to have got a task since.
        self._versions: dict[str, int] = {}
        self._workers: dict[str, dict[str, WorkerProfile]] = {}
        self._by_skill: dict[str, dict[str, WorkerProfile]] = {}
        # Those that waited here at the last exchange and have got no task since: under load hardly any, so that
        # engines do not tell each other of workers that wait for moments only.
        self._idle: set[str] = set()
        self._told: Document | None = None
        self._sign_at = float("-inf")

    @property
    def has_others(self) -> bool:
        """Whether there are other engines at which workers wait, or waited lately."""
        return bool(self._versions)

    @property
    def pause(self) -> float:
        """Seconds until the next exchange is worth its while."""
        return _PAUSE if self.has_others else _PAUSE_ALONE

    def waiting(self, skill: str) -> Iterator[WorkerProfile]:
        """Gives the workers that wait for a skill at other engines, as far as is known here, by engine and id."""
        return iter(self._by_skill.get(skill, {}).values())

    def count(self, skill: str) -> int:
        """Returns how many workers wait for a skill at other engines, as far as is known here."""
        return len(self._by_skill.get(skill, ()))

    def expect(self, worker_id: str) -> None:
        """A worker elsewhere is about to get a task: it is not counted upon again until its engine has news."""
        for workers in (*self._workers.values(), *self._by_skill.values()):
            workers.pop(worker_id, None)

    def served(self, worker_id: str) -> None:
        """A worker that waited here got a task."""
        self._idle.discard(worker_id)

    async def exchange(self, waiting: Iterable[Waiting]) -> None:
        """Reads who waits elsewhere, and writes down who waits here if that is news.

        An engine without others writes no more than a sign of life.

        Args:
            waiting: who waits here; of more than ``MOST_TOLD`` the rest is left out.

        Raises:
            StorageError: the storage does not answer.
        """
        self._read(await self._storage.list_records(SPACE, "", _MOST_ENGINES))
        here = {worker.worker_id: (worker, skills) for worker, skills in waiting}
        idle, self._idle = self._idle & here.keys(), set(here)
        told = Document.of(_tell([here[name] for name in sorted(idle)]) if self.has_others else [])
        now = self._clock.now()
        if told == self._told and now < self._sign_at:
            return
        await self._storage.put_record(RecordWrite(SPACE, self._owner, told, None, _TTL))
        self._told, self._sign_at = told, now + _SIGN_SECONDS

    async def leave(self) -> None:
        """Lets the other engines know that nobody waits here any more, and leaves nothing in the storage.

        Raises:
            StorageError: the storage does not answer; what was told ends by itself.
        """
        if self._told is None:
            return
        self._told, self._sign_at = None, float("-inf")
        await self._storage.put_record(RecordWrite(SPACE, self._owner, None))

    async def turn(self, task_type: str) -> int:
        """Returns how many tasks of a type all engines have handed out in turn lately.

        Raises:
            StorageError: the storage does not answer.
        """
        return (await self._storage.count(f"turns:{task_type}", _NO_LIMIT, _TURNS_TTL, 0)).total

    async def count_turn(self, task_type: str) -> None:
        """Counts a task that was handed out in turn.

        Raises:
            StorageError: the storage does not answer.
        """
        await self._storage.count(f"turns:{task_type}", _NO_LIMIT, _TURNS_TTL)

    def _read(self, records: Sequence[Record]) -> None:
        versions = {record.key: record.version for record in records if record.key != self._owner}
        if versions == self._versions:
            return
        self._workers = {
            record.key: self._workers[record.key]
            if self._versions.get(record.key) == record.version
            else _heard(record)
            for record in records
            if record.key != self._owner
        }
        self._versions = versions
        self._by_skill = {}
        for workers in self._workers.values():
            for worker in workers.values():
                for skill in worker.skill_names:
                    self._by_skill.setdefault(skill, {})[worker.worker_id] = worker


def _tell(waiting: Iterable[Waiting]) -> list[dict[str, Any]]:
    """Returns of each worker what a strategy asks for and what a task may require."""
    told = (
        {
            "id": worker.worker_id,
            "skills": sorted(skills),
            "hot": sorted(worker.hot.intersection(skills)),
            "costs": {skill: cost for skill, cost in worker.costs.items() if skill in skills},
            "resources": worker.resources,
            "software": worker.software,
            "artifacts": worker.artifacts,
        }
        for worker, skills in waiting
    )
    return [one for one in told if len(Document.of(one)) <= _MOST_BYTES][:MOST_TOLD]


def _heard(record: Record) -> dict[str, WorkerProfile]:
    try:
        return {worker.worker_id: worker for worker in map(_worker, record.value.value())}
    except (KeyError, TypeError):
        # An engine of another version tells it in another way.
        log.warning("cannot read who waits at another engine", extra={"action": "waiting_unread", "engine": record.key})
        return {}


def _worker(told: dict[str, Any]) -> WorkerProfile:
    return WorkerProfile(
        told["id"],
        skills=tuple(map(Skill, told["skills"])),
        hot=frozenset(told["hot"]),
        costs=told["costs"],
        resources=told["resources"],
        software=told["software"],
        artifacts=told["artifacts"],
    )
