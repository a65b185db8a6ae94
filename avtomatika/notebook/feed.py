"""The feed: the one place that listens to all jobs of an engine, while somebody looks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from avtomatika.client import AsyncClient
from avtomatika.errors import AvtomatikaError
from avtomatika.notebook.background import BackgroundLoop
from avtomatika.notebook.job_book import JobBook

_SAMPLE_SECONDS = 1.0
_MAX_SAMPLES = 180
_PAGE = 500
_AGAIN_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """How busy the engine is at a moment.

    Args:
        at: Unix seconds.
        waiting: tasks that wait for a worker.
        open: jobs that have not ended.
        ended: jobs that ended in the second before.
        failed: how many of these failed.
    """

    at: float
    waiting: int
    open: int
    ended: int
    failed: int


class Feed:
    """What happens to all jobs, workers and queues.

    It listens while at least one view has joined, and leaves no task behind when the last one has left.

    Args:
        client: of the engine; lives in ``background``.
        background: the loop in which it listens.
        capacity: how many of the newest jobs to know.

    Attributes:
        book: the newest jobs.
        workers: rows of ``GET /api/v1/workers``.
        numbers: ``GET /api/v1/dashboard``.
        samples: how busy the engine was, oldest first.
        trouble: why it hears nothing, or empty.
    """

    def __init__(self, client: AsyncClient, background: BackgroundLoop, capacity: int = 10_000) -> None:
        self._client = client
        self._background = background
        self._capacity = capacity
        self._looking = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._counted = (0, 0)  # ended and failed jobs at the last sample
        self.book = JobBook(capacity)
        self.workers: list[dict[str, Any]] = []
        self.numbers: dict[str, Any] = {}
        self.samples: deque[Sample] = deque(maxlen=_MAX_SAMPLES)
        self.trouble = ""

    @property
    def is_listening(self) -> bool:
        """Whether it hears of changes."""
        return bool(self._tasks)

    def join(self) -> None:
        """Begins to listen if nobody looked yet. To be called in any thread."""
        with contextlib.suppress(AvtomatikaError):  # the workbench is stopped: there is nothing to hear
            self._background.submit(self._add(1))

    def leave(self) -> None:
        """Ends the listening when the last one has left. To be called in any thread."""
        with contextlib.suppress(AvtomatikaError):
            self._background.submit(self._add(-1))

    async def stop(self) -> None:
        """Ends the listening, whoever looks. Idempotent. To be called in the background."""
        self._looking = 0
        await self._add(0)

    def look(self, timeout: float) -> None:
        """Waits for one look at everything, for a static view. Not to be called in the background's own thread.

        Raises:
            ConnectionFailedError: no engine answered.
            TimeoutError: it took longer than ``timeout`` seconds.
        """
        self._background.call(self._look(), timeout)

    async def _look(self) -> None:
        if not self.is_listening:
            await self._load(_PAGE)
        await self._sample()

    async def _add(self, number: int) -> None:
        self._looking = max(0, self._looking + number)
        if self._looking and not self._tasks:
            self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._measure())]
        elif not self._looking and self._tasks:
            tasks, self._tasks = self._tasks, []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                async with contextlib.aclosing(self._client.changes()) as events:
                    async for event in events:
                        self.trouble = ""
                        match event.type:
                            case "hello" | "reset":
                                # What happens from now on is told, so the two cannot leave a gap between them.
                                await self._load(self._capacity)
                            case "job":
                                self.book.change(event.data)
                            case "progress":
                                self.book.advance(str(event.data["job_id"]), event.data["progress"])
            except AvtomatikaError as error:
                self.trouble = str(error)
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _load(self, at_most: int) -> None:
        """Reads the newest jobs, page by page."""
        loaded: list[dict[str, Any]] = []
        while len(loaded) < at_most:
            page = await self._client.jobs(limit=min(_PAGE, at_most - len(loaded)), offset=len(loaded))
            # Of what a job holds, only the few members of a row are kept: its data may be large.
            loaded += [{name: job.get(name) for name in _MEMBERS} for job in page]
            if len(page) < _PAGE:
                break
        for job in reversed(loaded):  # oldest first, as they are forgotten in this order
            self.book.load(job)

    async def _measure(self) -> None:
        while True:
            try:
                await self._sample()
                self.trouble = ""
            except AvtomatikaError as error:
                self.trouble = str(error)
            except Exception:  # the numbers of an engine of another version must not end the listening
                log.exception("the feed could not read the numbers", extra={"action": "feed_failed"})
            await asyncio.sleep(_SAMPLE_SECONDS)

    async def _sample(self) -> None:
        before = self._counted
        self.numbers = await self._client.dashboard()
        self.workers = await self._client.workers()
        self._counted = (self.book.ended, self.book.failed)
        jobs = self.numbers.get("jobs") or {}
        self.samples.append(
            Sample(
                time.time(),
                int((self.numbers.get("tasks") or {}).get("waiting", 0)),
                sum(int(count) for status, count in jobs.items() if status in _OPEN),
                self._counted[0] - before[0],
                self._counted[1] - before[1],
            )
        )


_MEMBERS = ("id", "blueprint_name", "status", "current_state", "progress", "created_at", "updated_at")
_OPEN = frozenset(
    {
        "pending",
        "running",
        "waiting_for_worker",
        "waiting_for_human",
        "waiting_for_parallel_tasks",
        "waiting_for_sub_job",
        "awaiting_retry",
    }
)
