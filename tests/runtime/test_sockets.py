"""The workers' sockets: who is told of an end, and what a broken connection costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from avtomatika.core.job import Task
from avtomatika.errors import StorageError
from avtomatika.runtime.sockets import Socket, Sockets

from .conftest import System, task_flow


class Line:
    """The worker's end of a socket.

    Args:
        sockets: where it connects.
        worker: who is there.
    """

    def __init__(self, sockets: Sockets, worker: str) -> None:
        self.heard: list[dict[str, Any]] = []
        self.spoken_to = asyncio.Event()
        self.trouble: Exception | None = None
        self.is_stuck = False
        self.is_closed = False
        self.socket = Socket(worker, self.send, self.close)
        self.sockets = sockets

    async def send(self, message: str) -> None:
        """Takes a message, or does not."""
        self.spoken_to.set()
        if self.trouble is not None:
            raise self.trouble
        if self.is_stuck:
            await asyncio.get_running_loop().create_future()
        self.heard.append(json.loads(message))

    async def close(self) -> None:
        """Ends the connection."""
        self.is_closed = True


@pytest.fixture
async def busy(system: System) -> AsyncIterator[System]:
    """A system that tells its sockets of ends, and knows a blueprint with one task."""
    system.registry.add(task_flow().compile())
    system.sockets.start()
    yield system
    await system.sockets.stop()


async def connect(system: System, worker: str = "w1") -> Line:
    """Returns a new connection."""
    line = Line(system.sockets, worker)
    await system.sockets.add(line.socket)
    return line


async def a_task(system: System, worker_id: str = "w1") -> Task:
    """Returns the task of a new job, claimed by the worker."""
    await system.waiting((await system.jobs.create(system.registry.get("flow"), {}))[0])
    return await system.take(worker_id)


async def test_only_the_holder_of_a_task_is_told(busy: System) -> None:
    """By name, or by a pattern that its name matches."""
    lines = [await connect(busy, worker) for worker in ("w1", "w*", "*", "w2", "gpu-*")]
    task = await a_task(busy)

    await busy.jobs.cancel(task.job_id)
    await busy.settle()

    assert [[message["task_id"] for message in line.heard] for line in lines] == [[task.wire_id]] * 3 + [[]] * 2


async def test_job_that_ended_well_is_no_message(busy: System) -> None:
    """Its tasks have answered; there is nothing to stop."""
    line = await connect(busy)
    task = await a_task(busy)

    await busy.answer(task)
    await busy.ended(task.job_id)
    await busy.settle()

    assert line.heard == []


@pytest.mark.parametrize("trouble", [ConnectionResetError("gone"), RuntimeError("closing"), None])
async def test_connection_that_takes_no_message_does_not_hold_up_others(
    busy: System, trouble: Exception | None
) -> None:
    """Broken, closing, or stuck with a worker that does not read: the next worker hears of the next end."""
    broken, sound = await connect(busy, "w1"), await connect(busy, "w2")
    broken.trouble, broken.is_stuck = trouble, trouble is None
    first, second = await a_task(busy, "w1"), await a_task(busy, "w2")

    await busy.jobs.cancel(first.job_id)
    await busy.jobs.cancel(second.job_id)
    await broken.spoken_to.wait()
    await busy.clock.advance(5)

    assert [message["task_id"] for message in sound.heard] == [second.wire_id]


async def test_storage_in_trouble_costs_a_message_and_no_more(
    busy: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Later ends are told again."""
    line = await connect(busy)
    first, second = await a_task(busy), await a_task(busy)

    async def fail(job_id: str) -> None:
        raise StorageError("down")

    with monkeypatch.context() as patch:
        patch.setattr(busy.storage, "list_tasks", fail)
        await busy.jobs.cancel(first.job_id)
        await busy.settle()
    await busy.jobs.cancel(second.job_id)
    await busy.settle()

    assert [message["task_id"] for message in line.heard] == [second.wire_id]
    assert "by their heartbeats" in caplog.text


async def test_connection_that_comes_while_the_engine_stops_is_closed(busy: System) -> None:
    """Those that are open are closed, too."""
    before = await connect(busy)
    await busy.sockets.stop()
    after = await connect(busy)

    assert (before.is_closed, after.is_closed) == (True, True)
