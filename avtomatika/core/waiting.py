"""Waiting: a job that lets time pass, and what wakes it."""

from __future__ import annotations

from avtomatika.blueprints.requests import Sleep
from avtomatika.core.effects import SetTimer
from avtomatika.core.events import TimerKind
from avtomatika.core.states import JobStatus
from avtomatika.core.steps import Step
from avtomatika.core.waits import SleepWait


def fall_asleep(step: Step, action: Sleep) -> None:
    """The handler asked to go on later."""
    fault = step.missing_target({"": action.state})
    if fault:
        step.quarantine(fault)
        return
    until = action.until if action.until is not None else step.now + (action.seconds or 0.0)
    if until <= step.now:
        step.enter(action.state)
        return
    step.record("sleep_started", next_state=action.state, details={"until": until})
    # Pending, as a new job: nothing of it runs, and its next handler has its moment.
    step.change(status=JobStatus.PENDING, wait=SleepWait(until, action.state), task_id="", fan_out=None)
    step.add(SetTimer(TimerKind.SLEEP, until))


def is_asleep(step: Step) -> bool:
    """Returns whether the moment that the job sleeps until is still to come: its timer comes back by itself."""
    return isinstance(step.job.wait, SleepWait) and step.now < step.job.wait.until


def wake(step: Step) -> None:
    """The moment that a job sleeps until has come."""
    if isinstance(step.job.wait, SleepWait):
        step.enter(step.job.wait.state)
