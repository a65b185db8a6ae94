"""Limits on how many tasks are claimed at a time: the same in every storage, and in all engines on it."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from avtomatika.core.job import Task
from avtomatika.core.states import TaskStatus
from avtomatika.storage.base import Committed, Ready, Signal, Storage, TaskClaim

from .builders import START, a_batch, a_job, a_task

TWO = {"type:render": 2}


def limited(task_id: str, queue: str = "render#2", limits: dict[str, int] | None = None, **facts: object) -> Task:
    """Returns a queued task that counts against limits."""
    return a_task(task_id, queue=queue, limits=TWO if limits is None else limits, **facts)


async def commit(storage: Storage, version: int = 1, **facts: object) -> None:
    """Commits a version of the job."""
    assert await storage.commit(a_batch(a_job(version=version), **facts)) == Committed(version)


async def claim(storage: Storage, *queues: str, worker: str = "w1") -> str | None:
    """Returns the id of the task that a worker claims."""
    task = await storage.claim_task(worker, queues or ["render#2"], 20)
    return None if task is None else task.id


async def test_claim_stops_at_the_limit_and_goes_on_when_one_ends(storage: Storage) -> None:
    """Two at a time, whatever becomes of them; nothing else frees a place."""
    await commit(storage, queue_tasks=[limited(f"t{number}") for number in range(5)])
    assert [await claim(storage) for _ in range(3)] == ["t0", "t1", None]

    done = replace(await storage.find_task("t0"), status=TaskStatus.SUCCEEDED, ended_at=START, lease_until=None)
    await commit(storage, 2, save_tasks=[done])
    assert [await claim(storage) for _ in range(2)] == ["t2", None]

    await storage.release_task(TaskClaim("t1", 1, "w1"))
    assert [await claim(storage, worker="w2") for _ in range(2)] == ["t1", None]

    await storage.renew_tasks([TaskClaim("t1", 1, "w2"), TaskClaim("t2", 1, "w1")], 60)
    assert await claim(storage) is None

    again = replace(await storage.find_task("t1"), status=TaskStatus.QUEUED, lease_until=None)
    await commit(storage, 3, queue_tasks=[again])
    assert [await claim(storage) for _ in range(2)] == ["t1", None]


async def test_queue_at_its_limit_is_passed_over(storage: Storage) -> None:
    """A task that may not run holds up no other one, however urgent it is."""
    await commit(
        storage,
        queue_tasks=[
            limited("t0", priority=5.0),
            limited("t1", priority=5.0),
            limited("t2", priority=5.0),
            limited("t3", "render", {}),
            limited("t4", "render#k", {**TWO, "key:render:k": 1}, priority=9.0),
            limited("t5", "render#k", {**TWO, "key:render:k": 1}, priority=9.0),
        ],
    )
    queues = ["render#2", "render#k", "render"]

    assert [await claim(storage, *queues) for _ in range(4)] == ["t4", "t0", "t3", None]


async def test_tasks_that_are_closed_with_their_job_count_no_more(storage: Storage) -> None:
    """A cancelled job gives its places back."""
    await commit(storage, queue_tasks=[limited(f"t{number}") for number in range(2)])
    assert [await claim(storage) for _ in range(2)] == ["t0", "t1"]

    await commit(storage, 2, cancel_open_tasks=True, queue_tasks=[limited("t8")])

    assert await claim(storage) == "t8"


async def test_claims_racing_never_exceed_a_limit(storage: Storage) -> None:
    """However many workers ask at the same moment."""
    await commit(storage, queue_tasks=[limited(f"t{number}") for number in range(20)])

    taken = await asyncio.gather(*(claim(storage, worker=f"w{number}") for number in range(20)))

    assert len([task for task in taken if task is not None]) == 2


async def test_end_of_a_limited_task_is_told(storage: Storage) -> None:
    """Whoever waits for a place hears of it; tasks without limits tell nothing."""
    await commit(storage, queue_tasks=[limited("t0"), limited("t1", "render", {})])
    assert [await claim(storage, "render#2", "render") for _ in range(2)] == ["t0", "t1"]
    heard: list[Signal] = []
    storage.subscribe(heard.append, "slot")

    done = [replace(await storage.find_task(name), status=TaskStatus.SUCCEEDED) for name in ("t0", "t1")]
    await commit(storage, 2, save_tasks=done, ready=Ready(START))

    assert heard == [Signal("slot", "render")]


async def test_queue_tells_its_limits_and_signals_tell_who_is_preferred(storage: Storage) -> None:
    """What a dispatcher must know of a queue and of a task comes with them."""
    heard: list[Signal] = []
    storage.subscribe(heard.append, "task")

    task = limited("t0", strategy="cheapest", preferred="w7", affinity_seconds=1.5)
    await commit(storage, queue_tasks=[task])
    await claim(storage)
    await storage.release_task(TaskClaim("t0", 1, "w1"))

    (queue,) = await storage.list_queues()
    assert queue.limits == TWO
    for signal in heard:
        assert (signal.strategy, signal.preferred, signal.patience) == ("cheapest", "w7", 1.5)
        assert signal.queue is not None
        assert signal.queue.limits == TWO
    assert len(heard) == 2
    assert await storage.find_task("t0") == task


async def test_urgency_counts_in_place_of_priority(storage: Storage) -> None:
    """Where waiting weighs, the order is that of the urgency."""
    tasks = [
        limited("t0", limits={}, priority=9.0, urgency=1.0),
        limited("t1", limits={}, priority=1.0, urgency=2.0),
        limited("t2", limits={}, priority=1.5),
    ]
    await commit(storage, queue_tasks=tasks)

    assert [await claim(storage) for _ in range(3)] == ["t1", "t2", "t0"]


async def test_claims_of_many_at_a_time_keep_to_the_limits(storage: Storage) -> None:
    """A limit counts within one step as it does between steps."""
    await commit(storage, queue_tasks=[limited(f"t{n}") for n in range(5)])

    taken = await storage.claim_tasks("w1", ["render#2"], 10, 5)

    assert ([task.id for task in taken.tasks], taken.left) == (["t0", "t1"], 3)
