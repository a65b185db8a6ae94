"""The feed: tells followers what happens to the jobs of one client, from a position on.

One reader for each engine reads the log of changes while somebody follows, and hands what it finds to the followers
whose jobs they are. A follower that is too slow, or begins in the past, reads the log by itself until it has caught up:
so none holds more than a few changes in memory, and none delays another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict, deque
from collections.abc import Collection

from msgspec import Struct

from avtomatika.clock import Clock
from avtomatika.storage.base import Change, Progress, Signal, Storage

log = logging.getLogger(__name__)

_STRETCH = 500
# The longest time without a look at the log, should a signal be lost; and the pause after something went wrong.
_IDLE_SECONDS, _PAUSE = 5.0, 1.0
# What one follower may leave untaken before it has to read the log by itself.
_MAX_WAITING = 1000
# Jobs whose clients are remembered, so that progress can be told without looking each job up.
_KNOWN_JOBS = 10_000


class Choice(Struct, frozen=True):
    """Which jobs to follow.

    Args:
        client: name of the client whose jobs they are.
        job_ids: only these; empty for all.
        blueprint: only of this blueprint; empty for all.
    """

    client: str
    job_ids: Collection[str] = ()
    blueprint: str = ""

    def has(self, client: str, job_id: str, blueprint: str) -> bool:
        """Whether a job is among them."""
        return (
            client == self.client
            and (not self.job_ids or job_id in self.job_ids)
            and (not self.blueprint or blueprint == self.blueprint)
        )


class Missed(Struct, frozen=True):
    """What happened before ``position`` may be lost: whoever followed has to look at the jobs anew."""

    position: int


class Progressed(Struct, frozen=True):
    """How far a job's work is now; not in the log, since the next one overtakes it."""

    job_id: str
    progress: Progress


Told = Change | Missed | Progressed


class _Known(Struct, frozen=True):
    """What decides whether the progress of a job is told, and to whom."""

    client: str = ""
    blueprint: str = ""
    changed_at: float = 0.0
    is_parallel: bool = False


class Follower:
    """One place in the log, and what was found for it since.

    Args:
        storage: whose log it is.
        clock: for waiting.
        choice: which jobs.
        position: everything behind it is told.
    """

    def __init__(self, storage: Storage, clock: Clock, choice: Choice, position: int) -> None:
        self._storage = storage
        self._clock = clock
        self.choice = choice
        self._position = position
        self._seen = position
        self._waiting: deque[Change] = deque()
        self._progress: OrderedDict[str, Progressed] = OrderedDict()
        self._something = asyncio.Event()
        # Whether the reader hands over what it finds, and whether everything before that was told.
        self._is_joined = False
        self._is_level = False
        self.is_closed = False

    @property
    def position(self) -> int:
        """Everything up to here was told or does not concern this follower."""
        return max(self._position, self._seen) if self._is_level and not self._waiting else self._position

    async def next(self, seconds: float) -> list[Told]:
        """Returns what is new, in order; nothing after ``seconds`` in which nothing happened, or when it was closed.

        Raises:
            StorageError: the log cannot be read now.
        """
        while not self.is_closed:
            if not self._is_level:
                found = await self._catch_up()
                if found:
                    return found
                continue
            if self._waiting or self._progress:
                return self._take()
            self._something.clear()
            try:
                await self._clock.wait_for(self._something.wait(), seconds)
            except TimeoutError:
                return []
        return []

    def close(self) -> None:
        """Ends the following; who waits in ``next`` is answered."""
        self.is_closed = True
        self._something.set()

    # --- what the reader calls ---

    def hear(self, change: Change) -> None:
        """Takes a change that the reader found."""
        # A follower that has just read the log may be ahead of the reader.
        if change.position <= self._position:
            return
        if not self._is_joined or not self.choice.has(change.client, change.job_id, change.blueprint):
            return
        # What an earlier attempt had reached is over.
        self._progress.pop(change.job_id, None)
        self._waiting.append(change)
        if len(self._waiting) > _MAX_WAITING:
            # It does not keep up: what waits stands in the log as well, and is read there when it has time.
            self._waiting.clear()
            self._is_joined = self._is_level = False
        self._something.set()

    def see(self, position: int) -> None:
        """Takes note of how far the reader is."""
        self._seen = position

    def hear_progress(self, told: Progressed) -> None:
        """Takes the progress of one of the jobs; the last one of each counts."""
        self._progress[told.job_id] = told
        if len(self._progress) > _MAX_WAITING:
            self._progress.popitem(last=False)
        self._something.set()

    # --- going on ---

    def _take(self) -> list[Told]:
        told: list[Told] = [*self._waiting, *self._progress.values()]
        if self._waiting:
            self._position = self._waiting[-1].position
        self._waiting.clear()
        self._progress.clear()
        return told

    async def _catch_up(self) -> list[Told]:
        """Reads a stretch of the log; at its end, the reader goes on for it."""
        # Before the reading: what the reader finds from now on is either in the stretch or was handed over.
        self._is_joined = True
        changes = await self._storage.read_changes(self._position, _STRETCH)
        if not changes.floor <= self._position <= changes.end:
            self._position = changes.end
            return [Missed(changes.end)]
        if changes.entries:
            self._position = changes.entries[-1].position
        if len(changes.entries) < _STRETCH and self._is_joined:
            self._is_level = True
            while self._waiting and self._waiting[0].position <= self._position:
                self._waiting.popleft()
        return [c for c in changes.entries if self.choice.has(c.client, c.job_id, c.blueprint)]


class Feed:
    """Lets any number of followers follow.

    Args:
        storage: whose log of changes is read.
        clock: for waiting.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._followers: dict[Follower, None] = {}
        self._position = 0
        self._wake = asyncio.Event()
        self._progressed: dict[str, None] = {}
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._reading: asyncio.Task[None] | None = None
        self._is_closed = False
        self._unsubscribe = storage.subscribe(self._on_signal, "job", "progress", "missed")

    def count(self, client: str) -> int:
        """Returns how many followers a client has at this engine."""
        return sum(follower.choice.client == client for follower in self._followers)

    async def follow(self, choice: Choice, after: int | None = None) -> Follower:
        """Returns a new follower; close it with ``leave``.

        Args:
            choice: which jobs.
            after: the position to go on from; None for what happens from now on.

        Raises:
            StorageError: the log cannot be read now.
        """
        end = (await self._storage.read_changes(None, 0)).end
        follower = Follower(self._storage, self._clock, choice, end if after is None else after)
        if self._is_closed:
            follower.close()
            return follower
        self._followers[follower] = None
        if self._reading is None:
            self._position = end
            self._reading = asyncio.create_task(self._read(), name="avtomatika-feed")
        return follower

    def leave(self, follower: Follower) -> None:
        """Ends a following; the reader stops when nobody follows."""
        follower.close()
        self._followers.pop(follower, None)
        if not self._followers and self._reading is not None:
            self._reading.cancel()
            self._reading = None
            self._progressed.clear()

    def close(self) -> None:
        """Ends all followings, and takes no new ones."""
        self._is_closed = True
        self._unsubscribe()
        for follower in list(self._followers):
            self.leave(follower)

    # --- the reader ---

    def _on_signal(self, signal: Signal) -> None:
        if not self._followers:
            return
        if signal.kind == "progress":
            self._progressed[signal.key] = None
        self._wake.set()

    async def _read(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._read_changes()
                await self._read_progress()
            except Exception:
                log.exception("cannot read the log of changes; trying again", extra={"action": "feed_failed"})
                await self._clock.sleep(_PAUSE)
                continue
            with contextlib.suppress(TimeoutError):
                await self._clock.wait_for(self._wake.wait(), _IDLE_SECONDS)

    async def _read_changes(self) -> None:
        while True:
            entries = (await self._storage.read_changes(self._position, _STRETCH)).entries
            for change in entries:
                self._remember(change.job_id, _Known(change.client, change.blueprint, change.at, change.total > 0))
                for follower in self._followers:
                    follower.hear(change)
            if entries:
                self._position = entries[-1].position
                for follower in self._followers:
                    follower.see(self._position)
            if len(entries) < _STRETCH:
                return

    async def _read_progress(self) -> None:
        while self._progressed:
            job_id = next(iter(self._progressed))
            del self._progressed[job_id]
            known = await self._find_known(job_id)
            followers = [one for one in self._followers if one.choice.has(known.client, job_id, known.blueprint)]
            # The progress of parallel tasks is how many have ended, which their changes tell.
            progress = await self._storage.find_progress(job_id) if followers and not known.is_parallel else None
            if progress is not None and progress.at >= known.changed_at:
                for follower in followers:
                    follower.hear_progress(Progressed(job_id, progress))

    async def _find_known(self, job_id: str) -> _Known:
        known = self._known.get(job_id)
        if known is not None:
            return known
        job = await self._storage.find_job(job_id)
        found = _Known()
        if job is not None:
            found = _Known(job.client.name, job.blueprint, job.updated_at, job.fan_out is not None)
        return self._remember(job_id, found)

    def _remember(self, job_id: str, known: _Known) -> _Known:
        self._known[job_id] = known
        if len(self._known) > _KNOWN_JOBS:
            self._known.popitem(last=False)
        return known
