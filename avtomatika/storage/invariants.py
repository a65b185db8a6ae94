"""What must be true of stored jobs at every moment; the backends collect the facts, the rules stand here once.

The letters are those of ``docs/explanation/durability.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.waits import ApprovalWait
from avtomatika.storage.base import Fault


@dataclass(frozen=True, slots=True)
class MailFacts:
    """What a storage holds of the messages of one job.

    Args:
        sent: how many there were.
        delivered: how many were acknowledged.
        waiting: how many can be claimed now, later, or when a claim ends.
        dead: how many are listed as dead letters.
    """

    sent: int = 0
    delivered: int = 0
    waiting: int = 0
    dead: int = 0


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What a storage holds for one job.

    Args:
        job: as stored.
        wake_ups: its entries in the ready queue, claimed ones included.
        timers: how many moments are written down for it.
        open_tasks: its tasks that have not ended.
        unreachable: ids of queued tasks that are in no queue, and of claimed tasks whose lease nobody watches.
        has_live_child: whether a job names it as its parent that has not ended, or whose messages wait.
        rows: rows that its history has had.
        acknowledged: how many of them have left the outbox.
        waiting_rows: sequence numbers of those that are still there.
        has_progress: whether a progress is remembered.
        mail: its messages.
    """

    job: Job
    wake_ups: int = 0
    timers: int = 0
    open_tasks: Sequence[Task] = ()
    unreachable: Sequence[str] = ()
    has_live_child: bool = False
    rows: int = 0
    acknowledged: int = 0
    waiting_rows: Sequence[int] = ()
    has_progress: bool = False
    mail: MailFacts = MailFacts()


def check_job(facts: JobFacts) -> list[Fault]:
    """Returns what is broken about one job."""
    checks = (_terminal_owns_nothing,) if facts.job.is_terminal else (_has_wake_up, _counts_branches)
    return [
        Fault(letter, facts.job.id, message)
        for check in (*checks, _has_one_wake_up, _tasks_are_reachable, _history_is_whole, _messages_are_listed)
        for letter, message in check(facts)
    ]


def check_counts(created: int, counted: Mapping[JobStatus, int], stored: Mapping[JobStatus, int]) -> list[Fault]:
    """Returns what is broken about the numbers of jobs.

    Args:
        created: jobs that were ever created, without those that a retention removed.
        counted: jobs by status, as the storage counts them.
        stored: jobs by status, counted one by one.
    """
    faults = []
    if created != sum(stored.values()):
        faults.append(Fault("C", "", f"{created} jobs were created, but {sum(stored.values())} are stored"))
    for status in sorted({*counted, *stored}):
        if counted.get(status, 0) != stored.get(status, 0):
            message = f"{counted.get(status, 0)} jobs are counted as {status}, but {stored.get(status, 0)} are stored"
            faults.append(Fault("C", "", message))
    return faults


_Findings = Iterator[tuple[str, str]]


def _has_wake_up(facts: JobFacts) -> _Findings:
    """W: something will make a live job go on."""
    job = facts.job
    # A task between two attempts does not count: what wakes it is the timer.
    with_workers = any(task.status in {TaskStatus.QUEUED, TaskStatus.CLAIMED} for task in facts.open_tasks)
    waits = (
        facts.wake_ups > 0
        or facts.timers > 0
        or with_workers
        or (job.status is JobStatus.WAITING_FOR_HUMAN and isinstance(job.wait, ApprovalWait))
        # The child is not there yet as long as the message that is to start it waits.
        or (job.status is JobStatus.WAITING_FOR_SUB_JOB and (facts.has_live_child or facts.mail.waiting > 0))
    )
    if not waits:
        yield "W", f"nothing will wake the job: it is {job.status} in state '{job.state}'"


def _counts_branches(facts: JobFacts) -> _Findings:
    """F: the fan-out knows how many of its tasks are open."""
    fan_out = facts.job.fan_out
    if fan_out is None:
        return
    found = sum(1 for task in facts.open_tasks if task.fan_out == fan_out.id)
    if found != fan_out.open:
        yield "F", f"fan-out {fan_out.id} counts {fan_out.open} open tasks, but {found} are open"


def _terminal_owns_nothing(facts: JobFacts) -> _Findings:
    """T: a job that has ended owns nothing."""
    owned = {
        "wake-ups": facts.wake_ups,
        "timers": facts.timers,
        "open tasks": len(facts.open_tasks),
        "progress": int(facts.has_progress),
    }
    left = ", ".join(f"{name}: {count}" for name, count in owned.items() if count)
    if left:
        yield "T", f"the job is {facts.job.status}, but still owns {left}"


def _has_one_wake_up(facts: JobFacts) -> _Findings:
    """U: nobody can work on a job twice at a time."""
    if facts.wake_ups > 1:
        yield "U", f"the job stands in the ready queue {facts.wake_ups} times"


def _tasks_are_reachable(facts: JobFacts) -> _Findings:
    """W, for tasks: a queued one can be claimed, a claimed one comes back."""
    for task_id in facts.unreachable:
        yield "W", f"task {task_id} is neither in a queue nor under a lease that is watched"


def _history_is_whole(facts: JobFacts) -> _Findings:
    """H: rows are numbered 1..n, and each one waits in the outbox or was acknowledged."""
    waiting = facts.waiting_rows
    if len(set(waiting)) != len(waiting) or any(not 1 <= row <= facts.rows for row in waiting):
        yield "H", f"the rows {list(waiting)} in the outbox do not fit a history of {facts.rows} rows"
    if len(waiting) + facts.acknowledged != facts.rows:
        yield (
            "H",
            f"the history has {facts.rows} rows, but {len(waiting)} wait and {facts.acknowledged} are acknowledged",
        )


def _messages_are_listed(facts: JobFacts) -> _Findings:
    """O: each message was delivered, can be claimed, or is listed as a dead letter."""
    mail = facts.mail
    if mail.delivered + mail.waiting + mail.dead != mail.sent:
        found = f"{mail.delivered} were delivered, {mail.waiting} wait and {mail.dead} are dead letters"
        yield "O", f"the job has sent {mail.sent} messages, but {found}"
