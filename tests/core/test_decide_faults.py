"""Faults of a blueprint: the job is put aside, with a sentence that says what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from avtomatika.blueprints.requests import Action, Dispatch, Parallel, TaskSpec, Transition
from avtomatika.core.effects import DispatchTask
from avtomatika.core.states import JobStatus

if TYPE_CHECKING:
    from tests.core.conftest import Machine


def nested(levels: int) -> Any:
    """Returns a dict with so many levels."""
    value: Any = 1
    for _ in range(levels):
        value = {"deeper": value}
    return value


def render(**options: Any) -> TaskSpec:
    """Returns a task."""
    return TaskSpec("render", **options)


TASK_FAULTS = {
    "an unknown target": (
        render(transitions={"success": "chrge"}),
        "TRANSITION_ERROR",
        (
            "'start' leads to 'chrge', which blueprint 'orders' lacks; known: start, charge, join, repair, done, "
            "charge_failed. Did you mean 'charge'?"
        ),
    ),
    "params without JSON form": (
        render(params={"when": {1, 2}}),
        "HANDLER_ERROR",
        (
            "handler of state 'start' dispatches a task that no worker could take: params of task 'render'.when "
            "cannot be stored: it is a set. Use dict (with string keys), list, str, int, float, bool or None."
        ),
    ),
    "an integer beyond 64 bits": (render(params={"n": 2**70}), "HANDLER_ERROR", "does not fit into 64 bits"),
    "params that are too deep for workers": (render(params=nested(30)), "HANDLER_ERROR", "no worker could take"),
}


@pytest.mark.parametrize("fault", TASK_FAULTS)
@pytest.mark.parametrize("is_parallel", [False, True])
def test_dispatch_of_a_faulty_task_quarantines(machine: Machine, fault: str, *, is_parallel: bool) -> None:
    """A task that no worker could take is found before it is queued, alone and among others."""
    spec, code, sentence = TASK_FAULTS[fault]
    action = Parallel((render(), spec), "join") if is_parallel else Dispatch(spec)

    machine.started().returns(action)

    assert machine.job.status is JobStatus.QUARANTINED
    assert machine.job.failure is not None
    assert machine.job.failure.code == code
    assert sentence in machine.job.failure.message
    assert machine.effects(DispatchTask) == []


def test_params_as_deep_as_workers_read_are_dispatched(machine: Machine) -> None:
    """The limit is that of the workers, not one less."""
    machine.started().returns(Dispatch(render(params=nested(29))))

    assert machine.job.status is JobStatus.WAITING_FOR_WORKER


HANDLER_FAULTS: dict[str, tuple[str, Action | None, str]] = {
    "no action": (
        "start",
        None,
        (
            "handler of state 'start' returned without an action; call actions.transition_to, actions.dispatch_task or "
            "actions.dispatch_parallel, or mark it is_end=True."
        ),
    ),
    "an action of an end state": (
        "done",
        Transition("charge"),
        "handler of state 'done' is an end state and asked for an action; drop is_end=True or the action.",
    ),
    "a target that joins nothing": (
        "start",
        Parallel((render(),), "charge"),
        "handler of state 'start' aggregates into 'charge', which has no @aggregator_for('charge') handler.",
    ),
    "a target that joins nothing, for no tasks": (
        "start",
        Parallel((), "charge"),
        "handler of state 'start' aggregates into 'charge', which has no @aggregator_for('charge') handler.",
    ),
}


@pytest.mark.parametrize("fault", HANDLER_FAULTS)
def test_fault_of_a_handler_quarantines(machine: Machine, fault: str) -> None:
    """Running it again would change nothing: the job is put aside at once."""
    state, action, sentence = HANDLER_FAULTS[fault]
    machine.started()
    if state != "start":
        machine.goes_to(state)

    machine.returns(action)

    assert machine.job.status is JobStatus.QUARANTINED
    assert machine.job.failure is not None
    assert (machine.job.failure.code, machine.job.failure.message) == ("HANDLER_ERROR", sentence)
    assert machine.row("job_quarantined").details == {"code": "HANDLER_ERROR", "message": sentence}


def test_unknown_aggregator_quarantines_with_a_guess(machine: Machine) -> None:
    """A slip in the aggregator's name is guessed, too."""
    machine.started().returns(Parallel((render(),), "joiin"))

    assert machine.job.failure is not None
    assert machine.job.failure.code == "TRANSITION_ERROR"
    assert machine.job.failure.message.endswith("Did you mean 'join'?")


def test_fault_keeps_what_the_handler_left(machine: Machine) -> None:
    """Whoever looks at the job sees its data as they were when it went wrong."""
    machine.started().returns(None, history={"step": 3})

    assert machine.history["step"] == 3
    assert machine.history["last_error"]["code"] == "HANDLER_ERROR"
