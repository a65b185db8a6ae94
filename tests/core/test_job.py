"""Jobs and tasks as records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.job import Client, Failure, Job, Task, job_fields, message_of, parse_wire_id
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.protocol.messages import TaskMessage

TASK = Task("j1-3-0", "j1", "render", "render", TaskStatus.QUEUED, 5.0)


@given(st.from_regex(r"[A-Za-z0-9_-]{1,40}-[0-9]{1,4}-[0-9]{1,3}", fullmatch=True), st.integers(1, 10**6))
def test_wire_id_says_task_and_attempt(task_id: str, attempt: int) -> None:
    """A worker echoes one word, from which task and attempt can be read again."""
    task = replace(TASK, id=task_id, attempt=attempt)

    assert parse_wire_id(task.wire_id) == (task_id, attempt)


@pytest.mark.parametrize(
    "wire_id", ["", "-", "task", "-3", "task-", "task-x", "task-1.5", "task-²", "task-٣", "task-" + "9" * 5000]
)
def test_wire_id_of_somebody_else_has_no_attempt(wire_id: str) -> None:
    """An id that is none of ours is no task of ours: attempt 0 fits nothing."""
    assert parse_wire_id(wire_id) == (wire_id, 0)


@given(st.text())
def test_any_word_can_be_read_as_a_wire_id(word: str) -> None:
    """Whatever a worker sends is read without an error."""
    task_id, attempt = parse_wire_id(word)

    assert attempt >= 0
    assert word.startswith(task_id)


def test_message_of_a_task_is_what_a_worker_sees() -> None:
    """The wire has the id and number of the attempt, plain params, and the deadline in whole seconds."""
    task = replace(
        TASK,
        attempt=2,
        params=Document.of({"frame": 7}),
        deadline_at=99.9,
        priority=2.0,
        tracing_context={"traceparent": "00-1"},
    )

    assert message_of(task) == TaskMessage(
        "j1", "j1-3-0-2", "render", {"frame": 7}, {"traceparent": "00-1"}, 2.0, 99, 2
    )
    assert message_of(TASK).deadline is None


def test_failure_as_dict_has_what_is_known() -> None:
    """Empty fields are left out, the attempt never is."""
    assert Failure("TIMEOUT_ERROR", "too slow").as_dict() == {
        "code": "TIMEOUT_ERROR",
        "message": "too slow",
        "attempt": 1,
    }


@given(st.text(), st.text())
def test_failure_can_always_be_stored(code: str, message: str) -> None:
    """Whatever an exception or a worker says, a job can end with it."""
    failure = Failure(code, message)

    Document.of(failure.as_dict())
    if all(not 0xD800 <= ord(letter) < 0xE000 for letter in code + message):
        assert (failure.code, failure.message) == (code, message)


def test_records_are_frozen_and_compare_by_value() -> None:
    """A record is never changed, only replaced."""
    job = Job("j1", "orders", "v1", JobStatus.PENDING, "start", 1.0, 1.0)

    assert job == Job("j1", "orders", "v1", JobStatus.PENDING, "start", 1.0, 1.0)
    for record in (job, TASK, Client(), Failure("A", "b")):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(record, record.__struct_fields__[0], "other")


def test_job_fields_are_those_of_the_record() -> None:
    """Storages write field by field: none is forgotten."""
    assert job_fields() == Job.__struct_fields__
    assert {"id", "version", "state_history"} <= set(job_fields())


@pytest.mark.parametrize("status", JobStatus)
def test_job_is_terminal_as_its_status_is(status: JobStatus) -> None:
    """A job has ended when its status says so."""
    job = Job("j1", "orders", "v1", status, "start", 1.0, 1.0)

    assert job.is_terminal == (status in {"finished", "failed", "quarantined", "cancelled", "error"})
