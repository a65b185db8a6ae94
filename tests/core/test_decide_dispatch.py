"""What dispatching one task leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.effects import DispatchTask, RecordHistory, SetTimer
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Task
from avtomatika.core.matching import queue_name
from avtomatika.core.states import JobStatus, TaskStatus

if TYPE_CHECKING:
    from tests.core.conftest import Machine


def test_dispatch_queues_a_task_and_waits(machine: Machine) -> None:
    """The task goes into its queue, and the job waits for it alone."""
    machine.started()

    task = machine.dispatches("render", params={"frame": 7}, transitions={"success": "charge"})

    assert (machine.job.status, machine.job.task_id) == (JobStatus.WAITING_FOR_WORKER, task.id)
    assert task == Task(
        "j1-3-0",
        "j1",
        "render",
        "render",
        TaskStatus.QUEUED,
        machine.now,
        Document.of({"frame": 7}),
        {"success": "charge"},
        timeout_seconds=machine.limits.task_timeout,
    )
    assert machine.effects() == [
        DispatchTask(task),
        RecordHistory(
            "task_dispatched", "start", task_id=task.id, attempt=1, details={"task_type": "render", "index": 0}
        ),
    ]


def test_dispatch_keeps_every_option(machine: Machine) -> None:
    """What the handler says of the task is what the task says."""
    needs = {"cpu_cores": 4}

    task = machine.started(tracing_context={"traceparent": "00-1"}).dispatches(
        dispatch_strategy="cheapest",
        resource_requirements=needs,
        timeout_seconds=5.0,
        max_cost=0.5,
        priority=3.0,
        dispatch_timeout=10.0,
        result_timeout=20.0,
    )

    assert (task.strategy, task.requirements, task.max_cost, task.priority) == ("cheapest", needs, 0.5, 3.0)
    assert (task.timeout_seconds, task.dispatch_timeout, task.deadline_at) == (5.0, 10.0, machine.now + 20)
    assert task.queue == queue_name("render", needs, 0.5) != "render"
    assert task.tracing_context == {"traceparent": "00-1"}
    assert machine.effects(SetTimer) == [
        SetTimer(TimerKind.DISPATCH, machine.now + 10, task.id),
        SetTimer(TimerKind.RESULT, machine.now + 20, task.id),
    ]


def test_dispatch_without_a_timeout_takes_that_of_the_job(machine: Machine) -> None:
    """The dispatch_timeout of a job is the default for its tasks."""
    task = machine.started(dispatch_timeout=9.0).dispatches()

    assert task.dispatch_timeout == 9.0


def test_dispatch_with_a_timeout_overrules_that_of_the_job(machine: Machine) -> None:
    """What a task says itself counts more."""
    task = machine.started(dispatch_timeout=9.0).dispatches(dispatch_timeout=1.0)

    assert task.dispatch_timeout == 1.0


def test_dispatch_repeated_after_an_ambiguous_error_makes_the_same_task(machine: Machine) -> None:
    """A commit that may have happened can be repeated: nothing in it depends on chance."""
    machine.started().dispatches()
    first, before = machine.last, replace(machine.job, status=JobStatus.RUNNING, task_id="", version=2)

    machine.tasks.clear()
    machine.job = before
    machine.dispatches()

    assert machine.last == first


def test_second_task_of_a_job_has_an_id_of_its_own(machine: Machine) -> None:
    """Ids never meet, however often the same state dispatches."""
    first = machine.started().dispatches(transitions={"success": "start"})
    machine.claims()
    machine.reports()

    second = machine.dispatches()

    assert second.id != first.id
    assert second.id.startswith(f"j1-{machine.job.version}-")
