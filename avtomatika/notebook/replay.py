"""Replay: a job once more, in memory, with recorded answers in place of workers and people."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from avtomatika.blueprints import StateMachineBlueprint
from avtomatika.errors import AvtomatikaError
from avtomatika.notebook.moments import Event, data_at
from avtomatika.worker import PermanentError, Success, TaskError

if TYPE_CHECKING:
    from avtomatika.notebook.handles import JobHandle

_LOOK_SECONDS = 0.05

Answer = Mapping[str, Any]
"""``task_type`` and either ``status`` and ``data``, or ``code`` and ``message``."""


def recorded_answers(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Returns what workers answered, in order.

    The data of an answer is what it changed in ``state_history``, which holds nothing of a fan-out's branches.

    Args:
        events: the history of a job, oldest first.
    """
    answers = []
    for number, event in enumerate(events):
        details = event.get("context_snapshot") or {}
        match event.get("event_type"):
            case "task_finished":
                before, after = data_at(events[:number]), data_at(events[: number + 1])
                data = {name: value for name, value in after.items() if name not in before or before[name] != value}
                answers.append(
                    {
                        "task_type": details.get("task_type"),
                        "status": details.get("status") or "success",
                        "data": data,
                    }
                )
            case "task_failed":
                answers.append(
                    {
                        "task_type": details.get("task_type"),
                        "code": details.get("code"),
                        "message": details.get("message") or "",
                    }
                )
    return answers


def recorded_decisions(events: Sequence[Event]) -> list[str]:
    """Returns what people decided, in order."""
    received = (event for event in events if event.get("event_type") == "approval_received")
    return [str((event.get("context_snapshot") or {}).get("decision")) for event in received]


def replay(
    blueprint: StateMachineBlueprint,
    initial_data: Mapping[str, Any],
    answers: Sequence[Answer],
    decisions: Sequence[str] = (),
    timeout: float = 60.0,
) -> JobHandle:
    """Runs a job in memory, with given answers in place of workers and people.

    Args:
        blueprint: what it runs.
        initial_data: what it starts with.
        answers: what workers answer, in order for each type of task; after the last one its task fails for good.
        decisions: what people decide, in order.
        timeout: seconds until the replay is given up.

    Returns:
        The handle of the job, which has ended.

    Raises:
        ValidationError: the blueprint has faults.
        AvtomatikaError: the job waits for a decision, and none is left.
        TimeoutError: it has not ended in time.
    """
    from avtomatika.notebook.workbench import Workbench  # noqa: PLC0415 - which imports this

    by_type: dict[str, deque[Answer]] = defaultdict(deque)
    for answer in answers:
        by_type[str(answer["task_type"])].append(answer)
    left = deque(decisions)
    with Workbench("replay", live=False, RETRY_DELAY_SECONDS=0.01, RETRY_MAX_DELAY_SECONDS=0.05) as bench:
        for task_type, queue in by_type.items():
            bench.task(task_type, concurrency=1)(_answering(task_type, queue))
        job = bench.submit(blueprint, initial_data)
        changed = threading.Event()
        for _ in range(int(timeout / _LOOK_SECONDS)):
            if job.is_terminal:
                break
            if job.status == "waiting_for_human" and job.view.get("approval"):
                if not left:
                    raise AvtomatikaError(f"the replay waits for a person in state '{job.state}'; add a decision.")
                job.approve(left.popleft())
            changed.wait(_LOOK_SECONDS)
        return job.wait(5.0 if job.is_terminal else 0.0)


def _answering(task_type: str, queue: deque[Answer]) -> Callable[..., Any]:
    def answer(**_params: Any) -> Any:
        if not queue:
            raise PermanentError(f"no answer of '{task_type}' was recorded any more")
        told = queue.popleft()
        if told.get("code"):
            raise TaskError(str(told.get("message") or ""), code=str(told["code"]))
        return Success(dict(told.get("data") or {}), status=str(told.get("status") or "success"))

    return answer
