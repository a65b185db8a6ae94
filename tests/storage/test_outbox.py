"""What every storage promises about the history events that wait in its outbox."""

from __future__ import annotations

from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory
from avtomatika.storage.base import Ready, Storage

from .builders import START, a_job, a_task, create, events_of, go_on


async def event_types(storage: Storage) -> list[str]:
    """Returns the types of what is in the outbox."""
    return [event.type for event in await events_of(storage)]


async def test_events_are_numbered_from_one_without_gaps(storage: Storage) -> None:
    """Each job has its own numbers, over commits and claims; the outbox is oldest first."""
    event = RecordHistory("state_started", "start")
    job = await create(storage, queue_tasks=[a_task()], events=[event, replace(event, type="task_dispatched")])
    await create(storage, a_job("j2"), ready=Ready(START), events=[event])
    await storage.claim_task("w1", ["render"], 10)
    await go_on(storage, job, events=[replace(event, type="state_finished")])

    events = await events_of(storage)

    assert [(e.job_id, e.sequence, e.type) for e in events] == [
        ("j1", 1, "state_started"),
        ("j1", 2, "task_dispatched"),
        ("j2", 1, "state_started"),
        ("j1", 3, "task_started"),
        ("j1", 4, "state_finished"),
    ]


async def test_event_carries_everything_that_was_recorded(storage: Storage) -> None:
    """A row of the history is what the step said, with job, number, moment and blueprint."""
    record = RecordHistory(
        "task_failed", "draw", "w1", 2, "t1", "start", "sorry", 1.5, {"code": "E"}, Document.of({"a": 1})
    )

    await create(storage, ready=Ready(START), events=[record])

    (event,) = await events_of(storage)
    assert (event.job_id, event.sequence, event.at, event.blueprint) == ("j1", 1, START, "orders")
    for name in RecordHistory.__struct_fields__:
        assert getattr(event, name) == getattr(record, name)


async def test_events_stay_until_acknowledged(storage: Storage) -> None:
    """Reading takes nothing away; acknowledging a step takes its rows, once, in any order."""
    job = await create(storage, ready=Ready(START), events=[RecordHistory(f"e{n}", "start") for n in range(2)])
    for number in range(2, 4):
        job = await go_on(storage, job, ready=Ready(START), events=[RecordHistory(f"e{number}", "start")])
    assert [e.type for e in await events_of(storage, 2)] == ["e0", "e1", "e2"]
    assert [step.id for step in await storage.read_events(10)] == ["j1:1", "j1:3", "j1:4"]

    await storage.ack_events(["j1:1", "j1:2", "j1:4", "j1:99", "j9:1", "nonsense"])
    await storage.ack_events(["j1:1"])

    assert await event_types(storage) == ["e2"]
