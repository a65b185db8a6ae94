"""Fan-outs: what the end of one branch means for the whole, by the policy that the handler chose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from avtomatika.core.effects import CancelOpenTasks
from avtomatika.core.job import Failure, FanOut, Task
from avtomatika.core.states import TaskStatus
from avtomatika.core.steps import Step
from avtomatika.protocol.files import write_files

TOLERANT = frozenset({"collect", "at_least"})
"""Policies under which no single branch can end the job."""


def is_tolerant(step: Step) -> bool:
    """Returns whether the job's fan-out outlives any end of a single branch."""
    return step.job.fan_out is not None and step.job.fan_out.policy in TOLERANT


def branch_ended(step: Step, failure: Failure | None = None, way: str = "") -> None:
    """One branch fewer is open; the one that decides leads on.

    Args:
        step: the decision in the making.
        failure: why the branch failed for good, or None if it succeeded.
        way: where its transitions lead after this failure, or empty.
    """
    fan_out = step.job.fan_out
    if fan_out is None:  # not reachable: a branch's task is open only while its job waits for the fan-out
        return
    if failure is not None:
        fan_out = replace(fan_out, failed=fan_out.failed + 1)
        if fan_out.failure is None:
            fan_out = replace(fan_out, failure=failure, failure_state=way)
    fan_out = replace(fan_out, open=fan_out.open - 1)
    leads_on = _leads_on(fan_out)
    if leads_on is None:
        step.change(fan_out=fan_out)
        return
    if fan_out.open:
        # The rest is not needed any more.
        step.add(CancelOpenTasks())
        fan_out = replace(fan_out, open=0)
    if leads_on or fan_out.failure is None:
        step.enter(fan_out.aggregate_into, fan_out)
    else:
        take_failure(step, fan_out.failure, fan_out.failure_state)


def take_failure(step: Step, failure: Failure, way: str) -> None:
    """Leads the job where a failure for good sends it; without a way it is quarantined."""
    if way:
        step.remember(failure)
        step.enter(way)
    else:
        step.quarantine(failure)


def results(tasks: Iterable[Task]) -> dict[str, dict[str, Any]]:
    """Returns what came of each task so far, by its id: what the aggregator sees."""
    return {task.id: _result(task) for task in tasks}


def _leads_on(fan_out: FanOut) -> bool | None:
    """Returns whether the job goes on into the aggregator, or takes the failure; None while it waits for more."""
    match fan_out.policy:
        case "at_least" if fan_out.succeeded >= fan_out.needed:
            return True
        case "at_least" if fan_out.total - fan_out.failed < fan_out.needed:
            return False
        case "fail_fast" if fan_out.failed:
            return False
    if fan_out.open:
        return None
    return fan_out.policy == "collect" or not fan_out.failed


def _result(task: Task) -> dict[str, Any]:
    result = {
        "status": _word(task),
        "data": task.data.value(),
        "task_type": task.type,
        "params": task.params.value(),
        "worker_id": task.worker_id,
        "attempt": task.attempt,
    }
    if task.data_metadata:
        result["data_metadata"] = write_files(task.data_metadata)
    if task.failure is not None:
        result["error"] = {"code": task.failure.code, "message": task.failure.message}
    return result


def _word(task: Task) -> str:
    """Returns the status word of the result; of a task that ended without one, the word that fits; else its status."""
    if task.result_status:
        return task.result_status
    return "failure" if task.status in {TaskStatus.FAILED, TaskStatus.QUARANTINED} else str(task.status)
