"""Events of a holon on their way up: what the parent does with them, and what follows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest

from avtomatika.core.document import Document
from avtomatika.errors import StorageError
from avtomatika.holon import Holon
from avtomatika.holon_events import HolonEvents, UndeliveredError
from avtomatika.protocol.messages import WorkerEventMessage
from avtomatika.runtime.upward import Upward
from avtomatika.storage import MemoryStorage
from avtomatika.storage.base import Message, RecordWrite
from avtomatika.testing import FakeClock
from avtomatika.worker.lifecycle import Reply
from avtomatika.worker.transport import Transport

TASK = {"task_id": "t-1", "job_id": "above", "worker_id": "m"}


class Parent:
    """What a holon is connected to; takes everything, or answers as the test wants.

    Args:
        clock: of the holon.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.storage = MemoryStorage(clock)
        self.upward = Upward(self.storage)
        self.tasks: dict[str, Mapping[str, Any]] = {"j1": TASK}
        self.replies: list[int] = []
        self.heard: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []
        self.connections: list[str] = []
        self.events = HolonEvents(self.upward, clock, self.find_task, self.connect)

    async def find_task(self, job_id: str) -> Mapping[str, Any] | None:
        """Returns whose task a job does."""
        return self.tasks.get(job_id)

    @contextlib.asynccontextmanager
    async def connect(self, worker_id: str) -> AsyncIterator[Transport]:
        """Gives a connection, and remembers whose."""
        self.connections.append(worker_id)
        yield cast("Transport", self)

    async def event(self, text: str) -> Reply:
        """Takes an event, as a transport does."""
        reply = Reply(self.replies.pop(0) if self.replies else 200)
        if reply.is_ok:
            self.heard.append(json.loads(text))
        return reply

    async def result(self, text: str, _carrier: Mapping[str, str]) -> Reply:
        """Takes a result, as a transport does."""
        self.results.append(json.loads(text))
        return Reply(200, {"status": "accepted"})

    async def put(self, number: int, job_id: str = "j1") -> None:
        """Lets an event wait."""
        event = WorkerEventMessage("page", {"n": number}, f"e-{number}", "leaf", "below", "t-0")
        await self.storage.put_record(self.upward.write(job_id, event, "leaf", self.clock.now()))

    async def waiting(self) -> int:
        """Returns how many events wait."""
        return len(await self.storage.list_records("event-upward"))

    @property
    def numbers(self) -> list[int]:
        """Those of the events that came, in order."""
        return [event["payload"]["n"] for event in self.heard]


@pytest.fixture
async def parent(clock: FakeClock) -> AsyncIterator[Parent]:
    """A parent that takes everything; the way up to it is not started."""
    parent = Parent(clock)
    yield parent
    await parent.events.stop()


async def test_event_goes_up_as_one_of_the_task_that_its_job_does(parent: Parent) -> None:
    """Sent by the holon, said by the worker, under the worker's id of it, over one connection for all."""
    await parent.put(1)
    await parent.put(2)

    await parent.events.flush("j1")

    first = parent.heard[0]
    assert (first["event_id"], first["worker_id"], first["origin_worker_id"]) == ("e-1", "m", "leaf")
    assert (first["target_job_id"], first["target_task_id"], first["bubbling_chain"]) == ("above", "t-1", ["m"])
    assert (parent.numbers, parent.connections, await parent.waiting()) == ([1, 2], ["m"], 0)


async def test_event_that_is_not_taken_waits_with_those_behind_it(parent: Parent) -> None:
    """Order is kept; the next try goes on where the last one stopped."""
    for number in range(3):
        await parent.put(number)
    parent.replies = [200, 429]

    with pytest.raises(UndeliveredError, match="did not take event 'page': HTTP 429"):
        await parent.events.flush("j1")

    assert (parent.numbers, await parent.waiting()) == ([0], 2)
    await parent.events.flush("j1")
    assert parent.numbers == [0, 1, 2]


@pytest.mark.parametrize("is_refused", [True, False], ids=["refused", "job is over"])
async def test_event_that_nobody_wants_is_forgotten(parent: Parent, is_refused: bool) -> None:
    """What a parent refuses for good, and what comes after the outcome of its job."""
    await parent.put(1)
    if is_refused:
        parent.replies = [400]
    else:
        parent.tasks.clear()

    await parent.events.flush("j1")

    assert (parent.heard, await parent.waiting()) == ([], 0)


async def test_events_are_passed_on_by_themselves(parent: Parent) -> None:
    """First those that an earlier engine left, then each when it is told; also those of a moment of trouble."""
    await parent.put(1)
    parent.replies = [503]
    parent.events.start()
    await parent.clock.advance(0)
    assert parent.heard == []
    await parent.clock.advance(1)
    assert parent.numbers == [1]

    await parent.put(2)
    parent.upward.tell("j1")
    await parent.clock.advance(0)

    assert parent.numbers == [1, 2]


async def test_events_are_looked_for_until_the_storage_answers(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine may start while its storage is away for a moment."""
    await parent.put(1)
    look = parent.upward.job_ids

    async def fail() -> list[str]:
        monkeypatch.setattr(parent.upward, "job_ids", look)
        raise StorageError("away")

    monkeypatch.setattr(parent.upward, "job_ids", fail)

    parent.events.start()
    await parent.clock.advance(1)

    assert parent.numbers == [1]


async def test_outcome_waits_for_events_and_not_for_ever(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent that takes results and no events gets the result after half a minute; the events are void then."""
    holon = Holon(cast("Any", None), cast("Any", None), parent.storage, parent.clock, parent.upward)
    monkeypatch.setattr(holon._events, "_connect", parent.connect)
    monkeypatch.setattr(holon, "_connected", parent.connect)
    await parent.storage.put_record(RecordWrite("holon", "j1", Document.of(TASK)))
    await parent.put(1)
    report = {"child": "j1", "status": "finished", "result": {"n": 1}, "failure": None}
    message = Message("j1:9:0", "holon", "j1", "j1", Document.of(report), parent.clock.now(), parent.clock.now())
    parent.replies = [429] * 2

    with pytest.raises(UndeliveredError):
        await holon.carry(message)
    assert parent.results == []
    await parent.clock.advance(30)
    await holon.carry(message)

    assert [result["data"] for result in parent.results] == [{"n": 1}]
    await holon._events.flush("j1")
    assert (parent.heard, await parent.waiting()) == ([], 0)
