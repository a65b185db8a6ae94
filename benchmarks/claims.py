"""What a claim costs when 10, 1,000 or 10,000 workers are registered: it must not grow with them.

    python -m benchmarks.claims [--workers 10 1000 10000] [--polling 10] [--claims 300] [--rounds 15] [--storage ...]

A claim is what the engine does for a poll: find out who asks, look for the queues, take the first task under a lease.
The same number of workers poll, spread over all that are registered. All registries exist side by side and take turns
in each round, the order changing, so that what disturbs the machine disturbs each of them; the figure to look at is
the ratio to the smallest registry. A worker that polled within the last second is known without a look at the storage,
which the few that poll here profit from. With ``--polling 10000`` every worker polls in turn: what is dearer then is
the memory of the machine, which no longer has each of them in the processor's cache.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import time
from contextlib import AsyncExitStack, ExitStack

from avtomatika import loops
from avtomatika.backends import make_storage
from avtomatika.clock import SystemClock
from avtomatika.config import Config
from avtomatika.core.document import Document
from avtomatika.core.job import Job, Task, job_fields
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.steps import Limits
from avtomatika.history.noop import NoopHistory
from avtomatika.protocol.messages import Skill, WorkerProfile
from avtomatika.protocol.polls import Poll
from avtomatika.runtime.dispatcher import Dispatcher
from avtomatika.runtime.historian import Historian
from avtomatika.runtime.performer import Performer
from avtomatika.runtime.registry import Registry
from avtomatika.runtime.sockets import Sockets
from avtomatika.runtime.workers import Workers
from avtomatika.storage.base import Batch, Storage
from benchmarks.setting import DURABILITY, describe, kind_of, options_of, storage_uri

_TASKS_OF_A_JOB = 100
_AT_A_TIME = 16


class Crowd:
    """A storage with so many workers, and a dispatcher that hands tasks to them.

    Args:
        storage: opened and empty.
        workers: how many.
        polling: how many of them poll.
    """

    def __init__(self, storage: Storage, workers: int, polling: int) -> None:
        self._storage = storage
        self._workers = workers
        self._polling = [number * workers // polling for number in range(polling)]
        clock = SystemClock()
        self._dispatcher = Dispatcher(storage, clock, lease=60.0)
        self._askers = Workers(
            storage,
            Performer(storage, Registry(), Limits()),
            Historian(storage, NoopHistory(), clock),
            Sockets(storage, clock),
            clock,
            ttl=3600.0,
            lease=60.0,
        )
        self._jobs = itertools.count()
        self._turns = itertools.count()

    async def fill(self) -> None:
        """Registers the workers."""
        for number in range(self._workers):
            await self._storage.put_worker(WorkerProfile(f"w{number}", skills=(Skill("errand"),)), 3600.0)

    async def queue(self, tasks: int) -> None:
        """Lets so many tasks wait."""
        now = await self._storage.now()
        for first in range(0, tasks, _TASKS_OF_A_JOB):
            job_id = f"job-{next(self._jobs)}"
            job = Job(job_id, "errands", "v1", JobStatus.WAITING_FOR_PARALLEL_TASKS, "start", now, now, version=1)
            waiting = [
                Task(f"{job_id}-{n}", job_id, "errand", "errand", TaskStatus.QUEUED, now, Document.of({"n": n}))
                for n in range(min(_TASKS_OF_A_JOB, tasks - first))
            ]
            await self._storage.commit(Batch(job, frozenset(job_fields()), now, queue_tasks=waiting))

    async def claim(self, tasks: int) -> float:
        """Lets workers take so many tasks, some of them at a time; returns the seconds of one."""
        left = tasks

        async def go_on() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                number = self._polling[next(self._turns) % len(self._polling)]
                worker = await self._askers.poller(f"w{number}", Poll(), 0.0)
                if worker is None or await self._dispatcher.next_task(worker, 0.0) is None:
                    raise SystemExit("a worker is not known, or found no task")

        began = time.perf_counter()
        await asyncio.gather(*(go_on() for _ in range(_AT_A_TIME)))
        return (time.perf_counter() - began) / tasks


async def measure(uris: dict[int, str], options: argparse.Namespace) -> dict[int, list[float]]:
    """Returns the seconds of a claim for each number of workers, round by round."""
    async with AsyncExitStack() as stack:
        registries = {}
        for workers, uri in uris.items():
            storage = make_storage(Config(STORAGE_URI=uri), SystemClock())
            await storage.open()
            stack.push_async_callback(storage.close)
            registries[workers] = Crowd(storage, workers, min(options.polling, workers))
            await registries[workers].fill()
        found: dict[int, list[float]] = {workers: [] for workers in uris}
        for number in range(options.rounds + 1):
            for workers in list(registries)[:: 1 if number % 2 else -1]:
                await registries[workers].queue(options.claims)
                took = await registries[workers].claim(options.claims)
                if number:  # the first round only warms up
                    found[workers].append(took)
        return found


def main() -> None:
    """Measures and prints."""
    parser = options_of(__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument("--polling", type=int, default=10, help="workers that poll, spread over the registered ones")
    parser.add_argument("--claims", type=int, default=300, help="in a round")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--storage", nargs="+", default=["memory", "redis"], metavar="NAME")
    options = parser.parse_args()
    print(
        describe(
            f"{options.claims} claims, {_AT_A_TIME} at a time, {options.polling} workers poll, {options.rounds} rounds"
        )
    )
    for storage in options.storage:
        with ExitStack() as stack:
            uris = {workers: stack.enter_context(storage_uri(storage)) for workers in options.workers}
            found = loops.run(measure(uris, options))
        first = options.workers[0]
        for workers, seconds in found.items():
            ratios = [one / base for one, base in zip(seconds, found[first], strict=True)]
            print(
                f"  {kind_of(storage):<7} ({DURABILITY[kind_of(storage)]}): {workers:6,} workers, median "
                f"{statistics.median(seconds) * 1e6:5,.0f} µs a claim; {statistics.median(ratios):.2f} times the cost "
                f"with {first} workers"
            )


if __name__ == "__main__":
    main()
