"""Batches: what a step writes, made of what was decided."""

from __future__ import annotations

from collections.abc import Sequence

from avtomatika.core.effects import (
    CancelOpenTasks,
    ClearTimer,
    Decision,
    DispatchTask,
    FinishJob,
    RecordHistory,
    RunHandler,
    SaveTask,
    SendMessage,
    SetTimer,
)
from avtomatika.core.job import Job, job_fields
from avtomatika.storage.base import Batch, Dedupe, Message, Ready, RecordWrite, TaskClaim, Timer

_ALL_FIELDS = frozenset(job_fields())


def can_join(earlier: Sequence[Decision], decision: Decision) -> bool:
    """Whether a decision can be written together with those before it.

    One that closes the job's open tasks closes them as they are stored, not as a decision before it leaves them: a task
    that one means to try again would stay open for ever.
    """
    if not any(isinstance(effect, CancelOpenTasks) for effect in decision.effects):
        return True
    effects = (effect for one in earlier for effect in one.effects)
    return not any(isinstance(effect, SaveTask | DispatchTask) and effect.task.status.is_open for effect in effects)


def joined(decisions: Sequence[Decision]) -> Decision:
    """Returns several decisions as one, each made on the job that the one before left, at the version of the first."""
    if len(decisions) == 1:
        return decisions[0]
    effects = tuple(effect for decision in decisions for effect in decision.effects)
    return Decision(decisions[-1].job, effects, frozenset[str]().union(*(one.changed for one in decisions)))


def batch_of(
    old: Job,
    decision: Decision,
    at: float,
    *,
    claim: str = "",
    go_on: bool = False,
    task_claims: Sequence[TaskClaim] = (),
    dedupe: Dedupe | None = None,
    records: Sequence[RecordWrite] = (),
) -> Batch:
    """Returns what a decision writes.

    Args:
        old: the job that was decided on.
        decision: what came of it.
        at: the moment of the decision.
        claim: token of the job claim that the step consumes, or empty.
        go_on: the caller runs the next handler itself if it is due at once: then the claim holds the new wake-up.
        task_claims: the claims that results came from.
        dedupe: for a creation that must happen once.
        records: what is written beside the job.
    """
    job, events, queue, save = decision.job, [], [], []
    set_timers, clear_timers = [], []
    messages: list[Message] = []
    ready: Ready | None = None
    cancel_open = finish = False
    for effect in decision.effects:
        match effect:
            case RecordHistory():
                events.append(effect)
            case RunHandler():
                ready = Ready(effect.at)
            case DispatchTask(task):
                queue.append(task)
            case SaveTask(task):
                save.append(task)
            case SetTimer(kind, due, task_id):
                set_timers.append(Timer(job.id, kind, due, task_id))
            case ClearTimer(kind, task_id):
                clear_timers.append(Timer(job.id, kind, 0.0, task_id))
            case CancelOpenTasks():
                cancel_open = True
            case SendMessage(topic, body, key, due):
                # The id is derived: a commit that is repeated makes the same message.
                message_id = f"{job.id}:{job.version}:{len(messages)}"
                messages.append(Message(message_id, topic, job.id, key, body, at, at if due is None else due))
            case FinishJob():
                finish = True
    created = old.version == 0
    return Batch(
        job=job,
        changed=_ALL_FIELDS if created else decision.changed,
        at=at,
        claim=claim,
        # A handler that has just begun keeps the claim as well: the step that consumes it is its return.
        keep_claim=(go_on and ready is not None and ready.at <= at) or (claim != "" and not decision.effects),
        task_claims=task_claims,
        ready=ready,
        queue_tasks=queue,
        save_tasks=save,
        cancel_open_tasks=cancel_open,
        set_timers=set_timers,
        clear_timers=clear_timers,
        finish=finish,
        events=events,
        dedupe=dedupe,
        messages=messages,
        records=records,
    )
