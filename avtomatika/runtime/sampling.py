"""The numbers that are read when somebody asks: what waits, who is there, what is stuck."""

from __future__ import annotations

from collections import Counter

from avtomatika.observability.base import Meter, Sample
from avtomatika.runtime.auditor import Auditor
from avtomatika.runtime.dispatcher import Dispatcher
from avtomatika.runtime.pulse import Pulse
from avtomatika.runtime.runner import Runner
from avtomatika.storage.base import Storage


class Sampler:
    """Reads the numbers.

    Args:
        storage: jobs, tasks and workers.
        dispatcher: the polls that this engine holds.
        runner: the handlers that it runs.
        auditor: what its last walk found.
        pulse: how late its event loop is.
    """

    def __init__(
        self, storage: Storage, dispatcher: Dispatcher, runner: Runner, auditor: Auditor, pulse: Pulse
    ) -> None:
        self._storage = storage
        self._dispatcher = dispatcher
        self._runner = runner
        self._auditor = auditor
        self._pulse = pulse

    def note(self, meter: Meter) -> None:
        """Tells a meter what this engine has in hand."""
        meter.lives(self._dispatcher.parked, self._runner.active, len(self._auditor.stuck), self._pulse.lag)

    async def sample(self) -> Sample:
        """Returns the numbers of this moment.

        Raises:
            StorageError: the storage does not answer.
        """
        now = await self._storage.now()
        waiting: Counter[str] = Counter()
        oldest: dict[str, float] = {}
        for queue in await self._storage.list_queues():
            waiting[queue.task_type] += queue.length
            if queue.oldest_at is not None:
                age = max(0.0, now - queue.oldest_at)
                oldest[queue.task_type] = max(age, oldest.get(queue.task_type, 0.0))
        workers = Counter(worker.status or "unknown" for worker in await self._storage.list_workers())
        return Sample(
            jobs={str(status): n for status, n in (await self._storage.count_jobs()).items()},
            waiting=waiting,
            oldest=oldest,
            workers=workers,
            polls=self._dispatcher.parked,
            handlers=self._runner.active,
            stuck=len(self._auditor.stuck),
            loop_lag=self._pulse.lag,
        )
