"""What a worker's status word and data lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.effects import DispatchTask, RecordHistory, RunHandler, SaveTask
from avtomatika.core.events import EventTold
from avtomatika.core.states import JobStatus, TaskStatus

if TYPE_CHECKING:
    from tests.core.conftest import Machine


def test_success_leads_along_its_transition(machine: Machine) -> None:
    """The result closes the task, and the next handler is due at once."""
    task = machine.started().dispatches()
    machine.claims()
    machine.now += 4

    machine.reports("success", {"url": "x"})

    closed = machine.tasks[task.id]
    assert (closed.status, closed.result_status, closed.data.value()) == (TaskStatus.SUCCEEDED, "success", {"url": "x"})
    assert (closed.ended_at, closed.lease_until) == (machine.now, None)
    assert (machine.job.status, machine.job.state, machine.job.task_id) == (JobStatus.RUNNING, "charge", "")
    assert machine.effects() == [
        SaveTask(closed),
        RecordHistory(
            "task_finished",
            "start",
            duration=4.0,
            worker_id="w1",
            attempt=1,
            task_id=task.id,
            details={"task_type": "render", "status": "success"},
            state_history=Document.of({"url": "x"}),
        ),
        RecordHistory("state_finished", "start", next_state="charge", duration=4.0),
        RecordHistory("state_started", "charge", previous_state="start"),
        RunHandler("charge", machine.now),
    ]


def test_word_of_its_own_leads_along_its_transition(machine: Machine) -> None:
    """A worker may answer with any word that the blueprint knows."""
    machine.started().dispatches(transitions={"approved": "charge", "refused": "repair"})
    machine.claims()

    machine.reports("refused")

    assert machine.job.state == "repair"


@pytest.mark.parametrize(
    ("transitions", "known"),
    [({"success": "charge", "late": "repair"}, "'success', 'late'"), ({}, "none")],
)
def test_unknown_word_fails_with_the_known_ones(machine: Machine, transitions: dict[str, str], known: str) -> None:
    """The sentence names the word, the known words and what to add where."""
    task = machine.started().dispatches(transitions=transitions)
    machine.claims()

    machine.reports("odd", {"n": 1})

    assert machine.job.status is JobStatus.FAILED
    assert machine.history["last_error"] == {
        "code": "UNKNOWN_STATUS_ERROR",
        "message": (
            f"task 'render' ended with status 'odd', for which its transitions have no state; known: {known}. "
            "Add 'odd' to the transitions of the dispatch in state 'start'."
        ),
        "state": "start",
        "task_id": task.id,
        "task_type": "render",
        "attempt": 1,
        "worker_id": "w1",
    }
    assert "n" not in machine.history


@pytest.mark.parametrize(
    ("data", "history"),
    [
        ({"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"new": True}}, {"a": {"new": True}}),
        ({}, {"a": 1}),
        (None, {"a": 1}),
        (7, {"a": 1, "render": 7}),
        ([1, 2], {"a": 1, "render": [1, 2]}),
        ("text", {"a": 1, "render": "text"}),
        (False, {"a": 1, "render": False}),
    ],
)
def test_data_of_a_result_join_the_data_of_the_job(machine: Machine, data: Any, history: dict[str, Any]) -> None:
    """A dict is laid over the job's data; any other value is kept under the task's type; nothing adds nothing."""
    machine.started(state_history=Document.of({"a": 1})).dispatches()
    machine.claims()

    machine.reports("success", data)

    assert machine.history == history


# --- cancelled ---


def test_cancelled_leads_along_its_transition(machine: Machine) -> None:
    """A blueprint may say what follows when a worker stopped the task."""
    machine.started().dispatches(transitions={"success": "charge", "cancelled": "repair"})
    machine.claims()

    machine.reports("cancelled")

    assert (machine.job.status, machine.job.state) == (JobStatus.RUNNING, "repair")
    assert machine.task.status is TaskStatus.CANCELLED


def test_cancelled_without_a_transition_cancels_the_job(machine: Machine) -> None:
    """Otherwise the job is cancelled, and the history says by whom."""
    machine.started().dispatches()
    machine.claims()

    machine.reports("cancelled")

    assert machine.job.status is JobStatus.CANCELLED
    assert machine.row("job_cancelled").details == {"by": "worker w1"}


@pytest.mark.parametrize("transitions", [{"success": "charge"}, {"success": "charge", "cancelled": "repair"}])
def test_cancelled_by_a_leaving_worker_hands_the_task_on(machine: Machine, transitions: dict[str, str]) -> None:
    """A worker that shuts down cancels what it could not finish; nobody asked for it, so another one gets it."""
    task = machine.started().dispatches(transitions=transitions)
    machine.claims()
    machine.confirms()

    machine.reports("cancelled", leaving=True)

    again = machine.tasks[task.id]
    assert machine.effects(DispatchTask) == [DispatchTask(again)]
    assert (again.status, again.attempt, again.deliveries) == (TaskStatus.QUEUED, 1, 1)
    assert machine.job.status is JobStatus.WAITING_FOR_WORKER
    machine.claims("w2")
    machine.reports(worker="w2")
    assert machine.job.state == "charge"


def test_cancelled_by_a_leaving_worker_twice_is_ignored(machine: Machine) -> None:
    """The task waits for another worker already: saying it again changes nothing."""
    machine.started().dispatches()
    machine.claims()
    machine.reports("cancelled", leaving=True)

    assert machine.reports("cancelled", leaving=True).ignored == "stale_task"


def test_cancelled_by_a_leaving_worker_after_it_was_given_up_is_ignored(machine: Machine) -> None:
    """The next attempt keeps its delay, although the lost worker says good-bye after all."""
    machine.started().dispatches()
    machine.claims()
    machine.confirms()
    machine.lease_ends()
    assert machine.job.status is JobStatus.AWAITING_RETRY

    assert machine.reports("cancelled", attempt=1, leaving=True).ignored == "stale_task"


def test_job_that_ends_by_a_result_has_no_result_of_its_own(machine: Machine) -> None:
    """Only an end state gives a job its result."""
    machine.started().dispatches()
    machine.claims()
    machine.reports("odd", {"n": 1})

    assert not machine.job.has_result


def test_event_of_a_worker_is_a_row_of_history_and_nothing_else(machine: Machine) -> None:
    """What a task tells on its way stands beside its start and its end."""
    machine.started().dispatches()
    task = machine.claims()
    before = machine.job

    machine.feed(EventTold(task, 1, "w1", "page_found", {"page": 3}, "e-1"))

    row = machine.row("task_event")
    assert (row.task_id, row.attempt, row.worker_id, row.state) == (task.id, 1, "w1", "start")
    assert row.details == {"type": "page_found", "payload": {"page": 3}, "event_id": "e-1"}
    assert replace(machine.job, version=before.version, updated_at=before.updated_at) == before


def test_event_that_a_holon_passes_on_names_who_said_it_first(machine: Machine) -> None:
    """The row's worker is the holon, which holds the task."""
    machine.started().dispatches()
    task = machine.claims()

    machine.feed(EventTold(task, 1, "w1", "page_found", {}, "e-1", "leaf", ("line", "w1")))

    row = machine.row("task_event")
    assert (row.worker_id, row.details["origin"], row.details["via"]) == ("w1", "leaf", ["line", "w1"])


@pytest.mark.parametrize(
    ("worker", "attempt", "reason"), [("w2", 1, "worker_mismatch"), ("w1", 2, "stale_task"), ("w1", 0, "stale_task")]
)
def test_event_of_whom_the_task_is_not_with_is_ignored(
    machine: Machine, worker: str, attempt: int, reason: str
) -> None:
    """Nobody writes into the history of a job whose task somebody else has."""
    machine.started().dispatches()
    task = machine.claims()

    assert machine.feed(EventTold(task, attempt, worker, "page_found")).ignored == reason
