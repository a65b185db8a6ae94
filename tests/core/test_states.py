"""The table of transitions: what it allows happens, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from avtomatika.blueprints.requests import Transition
from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.core import decide as decide_module
from avtomatika.core.decide import IllegalTransitionError, decide
from avtomatika.core.document import EMPTY
from avtomatika.core.events import (
    CancelRequested,
    ChildEnded,
    Decided,
    Event,
    EventTold,
    FileExpected,
    FileMove,
    FileReceived,
    HandlerFailed,
    HandlerReturned,
    HandlerStarted,
    JobSubmitted,
    LeaseExpired,
    Repinned,
    Requeued,
    Rewound,
    StateMissing,
    StepBroke,
    TaskReported,
    TimerFired,
    TimerKind,
)
from avtomatika.core.job import Failure, Task
from avtomatika.core.states import OPEN, REQUEUABLE, TERMINAL, TRANSITIONS, JobStatus, TaskStatus
from avtomatika.core.steps import Limits
from avtomatika.core.waits import ChildWait
from avtomatika.protocol.files import FileFacts

if TYPE_CHECKING:
    from tests.core.conftest import Machine

ONCE = Limits(RetryPolicy(attempts=1), max_deliveries=1)
STUCK = replace(ONCE, max_transitions=0)
TO_REPAIR = {"success": "charge", "failure": "repair"}
Scenario = tuple[Limits, Callable[["Machine"], object]]


def single(machine: Machine, **options: object) -> Machine:
    """Brings the job to a worker."""
    machine.started(deadline_at=machine.now + 600).dispatches(**options)
    machine.claims()
    return machine


def branches(machine: Machine, **options: object) -> Machine:
    """Brings the job's two branches to a worker."""
    machine.started(deadline_at=machine.now + 600)
    for task in machine.fans_out(options, options):
        machine.claims(task=task)
    return machine


def given_up(machine: Machine, **options: object) -> Machine:
    """Lets the worker vanish."""
    single(machine, **options).confirms()
    machine.lease_ends()
    return machine


def asleep(machine: Machine) -> Machine:
    """Lets the job sleep."""
    machine.started(deadline_at=machine.now + 600).sleeps(60.0)
    return machine


def asked(machine: Machine) -> Machine:
    """Lets the job ask a person."""
    ways = {"approved": "charge", "expired": "repair"}
    machine.started(deadline_at=machine.now + 600).asks(transitions=ways, timeout_seconds=60.0)
    return machine


def parent(machine: Machine) -> Machine:
    """Lets the job run another blueprint."""
    machine.started(deadline_at=machine.now + 600).runs()
    return machine


def each(machine: Machine, act: Callable[[Task], object]) -> None:
    """Does the same to each open task."""
    for task in machine.open_tasks:
        act(task)


DEFAULT = Limits()
SCENARIOS: dict[str, Scenario] = {
    "submitted, deadline": (DEFAULT, lambda m: (m.submit(deadline_at=m.now + 1), m.fires(TimerKind.JOB))),
    "submitted, cancelled": (DEFAULT, lambda m: (m.submit(), m.cancel())),
    "submitted, stray timer": (DEFAULT, lambda m: (m.submit(), m.feed(TimerFired(TimerKind.RETRY, "gone")))),
    "finished": (DEFAULT, lambda m: (m.started().goes_to("done"), m.returns())),
    "failed": (DEFAULT, lambda m: (m.started().goes_to("charge_failed"), m.returns())),
    "cancelled": (DEFAULT, lambda m: m.started().cancel()),
    "deadline": (DEFAULT, lambda m: m.started(deadline_at=m.now + 1).fires(TimerKind.JOB)),
    "stray timer": (DEFAULT, lambda m: m.started().feed(TimerFired(TimerKind.RETRY, "gone"))),
    "sleeps": (DEFAULT, lambda m: (m.started().sleeps(5.0), m.fires(TimerKind.SLEEP))),
    "asks, approved": (DEFAULT, lambda m: (m.started().asks(), m.decides())),
    "asks, approved, in a loop": (STUCK, lambda m: (m.started().asks(), m.decides())),
    "asks, expired": (DEFAULT, lambda m: (asked(m), m.fires(TimerKind.APPROVAL))),
    "asks, deadline": (DEFAULT, lambda m: asked(m).fires(TimerKind.JOB)),
    "asks, stray timer": (DEFAULT, lambda m: asked(m).feed(TimerFired(TimerKind.RETRY, "gone"))),
    "asks, cancel": (DEFAULT, lambda m: asked(m).cancel()),
    "child, finished": (DEFAULT, lambda m: (parent(m), m.child_ends())),
    "child, finished, in a loop": (STUCK, lambda m: (parent(m), m.child_ends())),
    "child, failed": (DEFAULT, lambda m: (parent(m), m.child_ends(JobStatus.FAILED))),
    "child, quarantined": (DEFAULT, lambda m: (parent(m), m.child_ends(JobStatus.QUARANTINED))),
    "child, cancelled": (DEFAULT, lambda m: (parent(m), m.child_ends(JobStatus.CANCELLED))),
    "child, deadline": (DEFAULT, lambda m: parent(m).fires(TimerKind.JOB)),
    "child, stray timer": (DEFAULT, lambda m: parent(m).feed(TimerFired(TimerKind.RETRY, "gone"))),
    "child, cancel": (DEFAULT, lambda m: parent(m).cancel()),
    "rewound, submitted": (DEFAULT, lambda m: (m.submit(), m.rewinds())),
    "rewound, running": (DEFAULT, lambda m: (m.started().goes_to("charge"), m.rewinds())),
    "rewound, asleep": (DEFAULT, lambda m: (asleep(m), m.rewinds())),
    "rewound, single": (DEFAULT, lambda m: single(m).rewinds()),
    "rewound, retry": (DEFAULT, lambda m: given_up(m).rewinds()),
    "rewound, branches": (DEFAULT, lambda m: branches(m).rewinds()),
    "rewound, asked": (DEFAULT, lambda m: asked(m).rewinds()),
    "rewound, parent": (DEFAULT, lambda m: parent(m).rewinds()),
    "rewound, finished": (DEFAULT, lambda m: (m.started().goes_to("done"), m.returns(), m.rewinds())),
    "rewound, failed": (DEFAULT, lambda m: (m.started().goes_to("charge_failed"), m.returns(), m.rewinds())),
    "rewound, quarantined": (DEFAULT, lambda m: (m.started().goes_to("nowhere"), m.rewinds())),
    "rewound, cancelled": (DEFAULT, lambda m: (m.started().cancel(), m.rewinds())),
    "fault": (DEFAULT, lambda m: m.started().goes_to("nowhere")),
    "handler fails, retried": (DEFAULT, lambda m: (m.started().raises(), m.goes_to("charge"))),
    "handler fails for good": (ONCE, lambda m: m.started().raises()),
    "broken before its handler": (DEFAULT, lambda m: (m.submit(), m.feed(StepBroke("?")))),
    "broken, requeued": (DEFAULT, lambda m: (m.started().feed(StepBroke("?")), m.feed(Requeued()))),
    "broken, rewound": (DEFAULT, lambda m: (m.started().raises(), m.feed(StepBroke("?")), m.rewinds())),
    "single, success": (DEFAULT, lambda m: single(m).reports()),
    "single, unknown word": (DEFAULT, lambda m: single(m).reports("odd")),
    "single, permanent": (DEFAULT, lambda m: single(m).fails("PERMANENT_ERROR")),
    "single, cancelled": (DEFAULT, lambda m: single(m).reports("cancelled")),
    "single, leaving": (DEFAULT, lambda m: single(m).reports("cancelled", leaving=True)),
    "single, cancel": (DEFAULT, lambda m: single(m).cancel()),
    "single, deadline": (DEFAULT, lambda m: single(m).fires(TimerKind.JOB)),
    "single, dispatch timer": (DEFAULT, lambda m: single(m, dispatch_timeout=5.0).fires(TimerKind.DISPATCH)),
    "single, too late": (
        DEFAULT,
        lambda m: single(m, result_timeout=5.0, transitions=TO_REPAIR).fires(TimerKind.RESULT),
    ),
    "single, lost before it began": (DEFAULT, lambda m: single(m).lease_ends()),
    "single, lost once": (DEFAULT, lambda m: (given_up(m), m.retries())),
    "single, lost for good": (ONCE, given_up),
    "single, lost, repaired": (ONCE, lambda m: given_up(m, transitions=TO_REPAIR)),
    "single, lost, in a loop": (STUCK, lambda m: given_up(m, transitions=TO_REPAIR)),
    "retry, late success": (DEFAULT, lambda m: given_up(m).reports(attempt=1)),
    "retry, late unknown word": (DEFAULT, lambda m: given_up(m).reports("odd", attempt=1)),
    "retry, late cancelled": (DEFAULT, lambda m: given_up(m).reports("cancelled", attempt=1)),
    "retry, late permanent": (DEFAULT, lambda m: given_up(m).fails("PERMANENT_ERROR", attempt=1)),
    "retry, cancel": (DEFAULT, lambda m: given_up(m).cancel()),
    "retry, deadline": (DEFAULT, lambda m: given_up(m).fires(TimerKind.JOB)),
    "retry, too late": (
        DEFAULT,
        lambda m: given_up(m, result_timeout=25.0, transitions=TO_REPAIR).fires(TimerKind.RESULT),
    ),
    "single, fails once, dispatch timer": (
        DEFAULT,
        lambda m: (single(m, dispatch_timeout=5.0).fails(), m.fires(TimerKind.DISPATCH)),
    ),
    "contract violated": (DEFAULT, lambda m: m.started().raises(code="CONTRACT_VIOLATION_ERROR")),
    "single, told": (DEFAULT, lambda m: (single(m), m.feed(EventTold(m.task, 1, "w1", "found")))),
    "branches, told": (DEFAULT, lambda m: (branches(m), m.feed(EventTold(m.task, 1, "w1", "found")))),
    "branches, success": (DEFAULT, lambda m: (branches(m), each(m, lambda task: m.reports(task=task)))),
    "branches, permanent": (
        DEFAULT,
        lambda m: (branches(m), each(m, lambda task: m.fails("PERMANENT_ERROR", task=task))),
    ),
    "branches, invalid": (DEFAULT, lambda m: branches(m).fails("INVALID_INPUT_ERROR")),
    "branches, cancelled": (DEFAULT, lambda m: branches(m).reports("cancelled")),
    "branches, cancel": (DEFAULT, lambda m: branches(m).cancel()),
    "branches, deadline": (DEFAULT, lambda m: branches(m).fires(TimerKind.JOB)),
    "branches, too late": (
        DEFAULT,
        lambda m: (branches(m, result_timeout=5.0), each(m, lambda task: m.fires(TimerKind.RESULT, task))),
    ),
    "branches, too late, repaired": (
        DEFAULT,
        lambda m: (
            branches(m, result_timeout=5.0, transitions=TO_REPAIR),
            each(m, lambda task: m.fires(TimerKind.RESULT, task)),
        ),
    ),
    "requeued after a fault": (DEFAULT, lambda m: (m.started().goes_to("nowhere"), m.feed(Requeued()))),
    "requeued after a failure": (
        DEFAULT,
        lambda m: (m.started().goes_to("charge_failed"), m.returns(), m.feed(Requeued())),
    ),
    "another version": (DEFAULT, lambda m: m.started().feed(Repinned("another", "start"))),
    "another state": (DEFAULT, lambda m: m.started().feed(Repinned("another", "charge"))),
    "no such state": (DEFAULT, lambda m: (m.started().feed(StateMissing("gone")), m.goes_to("charge"))),
    "branches, lost for good": (ONCE, lambda m: (branches(m), each(m, m.lease_ends))),
    "branches, lost, repaired": (ONCE, lambda m: (branches(m, transitions=TO_REPAIR), each(m, m.lease_ends))),
    "branches, lost, in a loop": (STUCK, lambda m: (branches(m, transitions=TO_REPAIR), each(m, m.lease_ends))),
}


FILE = FileExpected(FileFacts("s3://bucket/jobs/j1/a"))
RECEIVED = FileReceived(FileMove("received", "a", FILE.facts))


def test_table_is_reached_whole(machines: type[Machine]) -> None:
    """Every transition of the table happens to some job, so the diagram drawn from it shows nothing that cannot be."""
    seen = set()
    files = {
        f"file for {status}": (DEFAULT, lambda m, way=way: (way(m), m.feed(FILE), m.feed(RECEIVED)))
        for status, way in {**WAYS, JobStatus.PENDING: asleep}.items()
    }
    for limits, play in {**SCENARIOS, **files}.values():
        machine = machines(limits=limits)
        play(machine)
        seen |= machine.seen

    table = {(status, event, after) for (status, event), leads_to in TRANSITIONS.items() for after in leads_to}
    assert table == seen


WAYS: dict[JobStatus, Callable[[Machine], object]] = {
    JobStatus.PENDING: lambda m: m.submit(),
    JobStatus.RUNNING: lambda m: m.started(),
    JobStatus.WAITING_FOR_WORKER: single,
    JobStatus.WAITING_FOR_PARALLEL_TASKS: branches,
    JobStatus.AWAITING_RETRY: given_up,
    JobStatus.WAITING_FOR_HUMAN: asked,
    JobStatus.WAITING_FOR_SUB_JOB: parent,
    JobStatus.FINISHED: lambda m: m.started(),
    JobStatus.FAILED: lambda m: m.started(),
    JobStatus.QUARANTINED: lambda m: m.started(),
    JobStatus.CANCELLED: lambda m: m.started(),
    JobStatus.ERROR: lambda m: m.started(),
}


def child_of(machine: Machine) -> str:
    """Returns the id of the child that the job waits for, if it does."""
    return machine.job.wait.child_id if isinstance(machine.job.wait, ChildWait) else "none"


def events_for(machine: Machine) -> list[Event]:
    """Returns an event of each type and each flavour, about the job's own tasks where there are any."""
    tasks: list[Task | None] = [None, *machine.tasks.values()]
    failure = Failure("PERMANENT_ERROR", "it broke")
    return [
        JobSubmitted(),
        HandlerStarted(),
        HandlerReturned(None, EMPTY),
        HandlerReturned(Transition("charge"), EMPTY),
        HandlerFailed("TRANSIENT_ERROR", "boom"),
        HandlerFailed("PERMANENT_ERROR", "boom"),
        HandlerFailed("CONTRACT_VIOLATION_ERROR", "boom"),
        StepBroke("?"),
        *(ChildEnded(child, status) for child in ("another", child_of(machine)) for status in sorted(TERMINAL)),
        Decided(0, "approved"),
        Decided(machine.job.version, "approved"),
        Decided(machine.job.version, "perhaps"),
        CancelRequested(),
        Requeued(),
        Rewound("start", EMPTY),
        Rewound("nowhere", EMPTY),
        Repinned("another version", "charge"),
        StateMissing("gone"),
        FILE,
        RECEIVED,
        *(EventTold(task, attempt, "w1", "found") for task in tasks for attempt in (1, 2)),
        TimerFired(TimerKind.JOB),
        *(LeaseExpired(task) for task in tasks),
        *(TimerFired(kind, task.id if task else "gone", task) for kind in TimerKind for task in tasks),
        *(
            TaskReported(task, attempt, "w1", word, EMPTY, failure if word == "failure" else None, is_leaving)
            for task in tasks
            for attempt in (0, 1, 2)
            for word in ("success", "failure", "cancelled", "odd")
            for is_leaving in (False, True)
        ),
    ]


@pytest.mark.parametrize(("status", "way"), [*WAYS.items(), (JobStatus.PENDING, asleep)])
def test_any_event_in_any_status_is_decided(
    machine: Machine, status: JobStatus, way: Callable[[Machine], object]
) -> None:
    """Whatever happens whenever: it leads along the table or is ignored; it is never refused with an error."""
    way(machine)
    job = replace(machine.job, status=status)

    for event in events_for(machine):
        for moment in (machine.now, machine.now + 1000):
            decision = decide(job, event, machine.graph, moment, machine.limits)
            allowed = TRANSITIONS.get((status, type(event).__name__), frozenset())
            assert (decision.job is job) if decision.ignored else (decision.job.status in allowed)


def test_every_status_is_driven() -> None:
    """A new status must be driven, too."""
    assert set(WAYS) == set(JobStatus)


def test_ended_jobs_have_no_transitions() -> None:
    """Nothing but a person leads out of an ended status, and every live one can be cancelled and can time out."""
    ways_out = {(status, event) for status, event in TRANSITIONS if status in TERMINAL}
    assert ways_out == {(status, "Requeued") for status in REQUEUABLE} | {(status, "Rewound") for status in TERMINAL}
    for status in set(JobStatus) - TERMINAL:
        assert status.is_terminal is False
        assert TRANSITIONS[status, "CancelRequested"] == {JobStatus.CANCELLED}
        assert JobStatus.FAILED in TRANSITIONS[status, "TimerFired"]


def test_table_knows_only_events_that_exist() -> None:
    """A slip in an event's name would forbid what it was to allow."""
    assert {event for _, event in TRANSITIONS} == {one.__name__ for one in Event.__args__}


def test_transition_outside_the_table_raises_with_the_story(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the core contradict its table, the error says what the job was and what happened."""
    machine.started()
    monkeypatch.setattr(decide_module, "TRANSITIONS", {})

    with pytest.raises(IllegalTransitionError) as caught:
        decide(machine.job, CancelRequested(), machine.graph, machine.now)

    assert str(caught.value) == (
        "job j1 (blueprint 'orders', state 'start', status running, version 2, 0 transitions) cannot become cancelled "
        "by CancelRequested. Please report this."
    )


def test_open_tasks_are_those_without_a_final_status() -> None:
    """A task is queued, claimed or delayed, or it has ended."""
    assert {status for status in TaskStatus if status.is_open} == OPEN
    assert {str(status) for status in OPEN} == {"queued", "claimed", "delayed"}
