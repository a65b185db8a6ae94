"""What holds for every sequence of events, found by trying many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from avtomatika.blueprints.requests import Dispatch, HumanApproval, Parallel, Sleep, SubBlueprint, TaskSpec, Transition
from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.core.document import Document
from avtomatika.core.events import (
    ChildEnded,
    Decided,
    Event,
    HandlerFailed,
    HandlerReturned,
    HandlerStarted,
    LeaseExpired,
    StepBroke,
    TaskReported,
    TimerFired,
    TimerKind,
)
from avtomatika.core.job import Failure, Task
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.steps import Limits
from avtomatika.core.waits import ApprovalWait, ChildWait, SleepWait

if TYPE_CHECKING:
    from tests.core.conftest import Machine

T = TypeVar("T")
LIMITS = Limits(RetryPolicy(attempts=2), max_transitions=12, task_timeout=50.0, max_deliveries=2)
STATES = ("start", "charge", "repair", "join", "start", "charge", "done", "charge_failed", "nowhere")
# The first ones are the common ones: a choice by an exhausted number falls on them.
CODES = ("TRANSIENT_ERROR", "", "ODD_ERROR", "PERMANENT_ERROR", "TRANSIENT_ERROR", "INVALID_INPUT_ERROR")
WORDS = ("success", "failure", "failure", "success", "failure", "cancelled", "success", "failure", "odd")
WORKERS = ("w1", "w2")
OPTIONS: tuple[dict[str, Any], ...] = (
    {"transitions": {"success": "charge", "failure": "repair"}},
    {"transitions": {"success": "start", "cancelled": "repair", "failure": "start"}, "dispatch_timeout": 10.0},
    {"transitions": {"success": "charge"}, "result_timeout": 60.0, "timeout_seconds": 15.0},
    {"transitions": {"success": "repair", "failure": "charge"}, "result_timeout": 30.0, "dispatch_timeout": 10.0},
    {},
)


class Dice:
    """Turns one number into many small choices, so that Hypothesis can make a failing example smaller.

    Args:
        number: what to choose by.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def pick(self, options: Sequence[T]) -> T:
        """Returns one of the options."""
        self.number, index = divmod(self.number, len(options))
        return options[index]


def a_task(machine: Machine, dice: Dice) -> Task | None:
    """Returns one of the job's tasks, most often an open one."""
    tasks = [*machine.open_tasks * 4, *machine.tasks.values()]
    return dice.pick(tasks) if tasks else None


def call(machine: Machine, dice: Dice) -> None:
    """Starts the handler."""
    machine.now = max(machine.now, machine.wake_at or 0.0)
    machine.feed(HandlerStarted())


def go(machine: Machine, dice: Dice) -> None:
    """The handler returns with a transition, or without an action."""
    is_end = machine.graph.state(machine.job.state).is_end
    action = None if is_end and dice.pick([True, True, False]) else dice.pick([*map(Transition, STATES), None])
    machine.feed(HandlerReturned(action, Document.of({"n": dice.pick(range(3))})))


def nap(machine: Machine, dice: Dice) -> None:
    """The handler returns with a sleep, of any length."""
    machine.feed(HandlerReturned(Sleep(dice.pick(STATES), seconds=dice.pick([5, 60, 0])), machine.job.state_history))


def ask(machine: Machine, dice: Dice) -> None:
    """The handler returns with a question, with or without a time limit."""
    ways = {"approved": dice.pick(STATES), "rejected": "repair"}
    action = dice.pick(
        [
            HumanApproval("Really?", ways),
            HumanApproval("Really?", ways, timeout_seconds=30),
            HumanApproval("Really?", {**ways, "expired": "start"}, timeout_seconds=30),
        ]
    )
    machine.feed(HandlerReturned(action, machine.job.state_history))


def answer(machine: Machine, dice: Dice) -> None:
    """A person decides: most often about this very wait, and something that was offered."""
    number = machine.job.wait.number if isinstance(machine.job.wait, ApprovalWait) else 1
    wait = dice.pick([number, number, number, number - 1])
    machine.feed(Decided(wait, dice.pick(["approved", "rejected", "expired", "perhaps"])))


def delegate(machine: Machine, dice: Dice) -> None:
    """The handler returns with another blueprint to run."""
    ways = dice.pick([{"success": "charge"}, {"success": "start", "failure": "repair", "cancelled": "done"}])
    machine.feed(HandlerReturned(SubBlueprint("other", {"n": 1}, ways), machine.job.state_history))


def hear(machine: Machine, dice: Dice) -> None:
    """A child has ended: most often the one that is waited for."""
    status = dice.pick([JobStatus.FINISHED, JobStatus.FAILED, JobStatus.QUARANTINED, JobStatus.CANCELLED])
    known = [order["child"] for order in machine.orders] or ["another"]
    machine.feed(ChildEnded(dice.pick([known[-1], known[-1], known[0]]), status, Document.of({"n": 1})))


def dispatch(machine: Machine, dice: Dice) -> None:
    """The handler returns with one task."""
    machine.feed(HandlerReturned(Dispatch(TaskSpec("render", **dice.pick(OPTIONS))), machine.job.state_history))


def fan_out(machine: Machine, dice: Dice) -> None:
    """The handler returns with none to three tasks, under any policy."""
    specs = tuple(TaskSpec("render", **dice.pick(OPTIONS)) for _ in range(dice.pick([2, 3, 1, 0])))
    policy = dice.pick(["all", "fail_fast", "collect", "at_least"])
    if policy == "at_least" and specs:
        action = Parallel(specs, "join", policy, 1 + dice.pick(range(len(specs))))
    else:
        action = Parallel(specs, "join", "all" if policy == "at_least" else policy)
    machine.feed(HandlerReturned(action, machine.job.state_history))


def fail(machine: Machine, dice: Dice) -> None:
    """The handler raises."""
    machine.feed(
        HandlerFailed(
            dice.pick(["TRANSIENT_ERROR", "TRANSIENT_ERROR", "PERMANENT_ERROR", "CONTRACT_VIOLATION_ERROR"]), "boom"
        )
    )


def give_out(machine: Machine, dice: Dice) -> None:
    """The engine itself cannot go on with the job; seldom, for that is the end."""
    if dice.pick([*[False] * 6, True]):
        machine.feed(StepBroke("a defect"))


def claim(machine: Machine, dice: Dice) -> None:
    """A worker takes a task."""
    queued = [task for task in machine.open_tasks if task.status is TaskStatus.QUEUED]
    if queued:
        machine.claims(dice.pick(WORKERS), dice.pick(queued))


def confirm(machine: Machine, dice: Dice) -> None:
    """A heartbeat names a task that is claimed, or that went back to its queue."""
    task = a_task(machine, dice)
    if task is None or task.status not in {TaskStatus.CLAIMED, TaskStatus.QUEUED} or not task.deliveries:
        return
    if task.claimed_at is not None and task.claimed_at + task.timeout_seconds > machine.now:
        machine.confirms(task)


def report(machine: Machine, dice: Dice) -> None:
    """A worker answers for a task: most often the one that has it, for the attempt that it was given."""
    task = a_task(machine, dice)
    if task is None:
        machine.feed(TaskReported(None, 1, "w1", "success"))
        return
    status = dice.pick(WORDS)
    failure = Failure(dice.pick(CODES), "it broke") if status == "failure" else None
    worker = dice.pick([task.worker_id, task.worker_id, task.worker_id, *WORKERS])
    attempt = task.attempt - dice.pick([0, 0, 1, 1, 2])
    data = Document.of(dice.pick([None, {"n": 1}, 7]))
    machine.feed(TaskReported(task, attempt, worker, status, data, failure, dice.pick([False, True])))


def expire(machine: Machine, dice: Dice) -> None:
    """A lease ends, or somebody thinks so."""
    task = a_task(machine, dice)
    if task is not None and task.lease_until is not None and dice.pick([True, True, False]):
        machine.now = max(machine.now, task.lease_until)
    machine.feed(LeaseExpired(task))


def fire(machine: Machine, dice: Dice) -> None:
    """The moment of a timer comes; that of the whole job seldom."""
    is_for_job = dice.pick([*[False] * 9, True])
    timers = [timer for timer in machine.timers if (timer[0] is TimerKind.JOB) == is_for_job]
    if timers:
        kind, task_id = dice.pick(timers)
        machine.now = max(machine.now, machine.timers[kind, task_id])
        machine.feed(TimerFired(kind, task_id, machine.tasks.get(task_id)))


def wait(machine: Machine, dice: Dice) -> None:
    """Time passes."""
    machine.now += dice.pick([1, 5, 20, 60])


def stray(machine: Machine, dice: Dice) -> None:
    """A timer fires that nobody needs any more."""
    task = a_task(machine, dice)
    if task is not None and not task.status.is_open:
        machine.feed(TimerFired(dice.pick([TimerKind.RESULT, TimerKind.RETRY]), task.id, task))


def rewind(machine: Machine, dice: Dice) -> None:
    """Somebody lets a live job start again; seldom. Nothing else leads out of an end, and that is another law."""
    if dice.pick([*[False] * 6, True]) and not machine.job.is_terminal:
        machine.rewinds(dice.pick(["start", "charge", "join", "nowhere"]))


def cancel(machine: Machine, dice: Dice) -> None:
    """Somebody cancels the job; seldom, for that is the end."""
    if dice.pick([*[False] * 4, True]):
        machine.cancel()


Move = Callable[["Machine", Dice], None]
STRAY: tuple[Move, ...] = (rewind, call, go, fail, give_out, report, expire, fire, wait, stray, answer, hear, cancel)
LIKELY: dict[JobStatus, tuple[Move, ...]] = {
    JobStatus.PENDING: (call, fire),
    JobStatus.RUNNING: (dispatch, fan_out, dispatch, fan_out, nap, ask, delegate, go, fail),
    JobStatus.WAITING_FOR_SUB_JOB: (hear,),
    JobStatus.WAITING_FOR_HUMAN: (answer, answer, fire),
    JobStatus.WAITING_FOR_WORKER: (claim, report, claim, expire, confirm),
    JobStatus.WAITING_FOR_PARALLEL_TASKS: (claim, report, claim, expire, confirm, fire),
    JobStatus.AWAITING_RETRY: (call, fire, report),
}
PLAYS = st.lists(st.integers(0, 2**32), min_size=15, max_size=50)


def move(machine: Machine, number: int) -> None:
    """Makes one move: most often one that suits the job, sometimes any."""
    dice = Dice(number)
    likely = LIKELY.get(machine.job.status, STRAY)
    chosen = dice.pick(dice.pick([likely, likely, likely, STRAY]))
    if machine.job.status is JobStatus.RUNNING or chosen not in {go, fail, nap, ask, delegate}:
        chosen(machine, dice)


def play(machine: Machine, numbers: Sequence[int]) -> Machine:
    """Makes the moves; the machine checks every invariant after each event."""
    machine.submit(deadline_at=machine.now + 5000)
    for number in numbers:
        move(machine, number)
    return machine


@given(PLAYS)
@settings(deadline=None, max_examples=500)
def test_any_sequence_of_events_keeps_the_invariants(machines: type[Machine], moves: Sequence[int]) -> None:
    """No event is ever an error, and a live job always has what wakes it: the machine checks it after each event."""
    machine = play(machines(limits=LIMITS), moves)

    assert machine.job.version >= 1


@given(PLAYS, PLAYS)
@settings(deadline=None, max_examples=200)
def test_end_of_a_job_is_final(machines: type[Machine], before: Sequence[int], after: Sequence[int]) -> None:
    """Nothing that happens after the end changes the job or its tasks."""
    machine = play(machines(limits=LIMITS), before)
    if not machine.job.is_terminal:
        machine.cancel()
    job, tasks = machine.job, dict(machine.tasks)

    for number in after:
        move(machine, number)

    assert machine.job is job
    assert machine.tasks == tasks


@given(PLAYS, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=200)
def test_answers_that_counted_change_nothing_again(
    machines: type[Machine], moves: Sequence[int], random: object
) -> None:
    """However late, however often, in whatever order: an answer that counted once is ignored for ever."""
    machine = machines(limits=LIMITS)
    counted: list[TaskReported] = []
    feed = machine.feed

    def listen(event: Event) -> object:
        decision = feed(event)
        # A worker that leaves may take the same attempt again later, and answer it for the first time.
        if isinstance(event, TaskReported) and not decision.ignored and not event.worker_is_leaving:
            counted.append(event)
        return decision

    machine.feed = listen  # type: ignore[assignment,method-assign]
    play(machine, moves)
    job, tasks, late = machine.job, dict(machine.tasks), counted * 2
    random.shuffle(late)

    for event in late:
        stored = machine.tasks[event.task.id] if event.task else None
        answer = TaskReported(stored, event.attempt, event.worker_id, event.status, event.data, event.failure)
        assert feed(answer).ignored

    assert machine.job is job
    assert machine.tasks == tasks


def help_on(machine: Machine) -> None:
    """Lets well-behaved engines and workers do what is due next."""
    task = next(iter(machine.open_tasks), None)
    if isinstance(machine.job.wait, SleepWait):
        machine.fires(TimerKind.SLEEP)
    elif isinstance(machine.job.wait, ChildWait):
        machine.child_ends()
    elif isinstance(machine.job.wait, ApprovalWait):
        machine.decides("rejected")
    elif task is None:
        machine.returns(None if machine.graph.state(machine.job.state).is_end else Transition("done"))
    elif task.status is TaskStatus.DELAYED:
        machine.retries(task)
    else:
        if task.status is TaskStatus.QUEUED:
            task = machine.claims("w1", task)
        machine.reports(task=task, worker=task.worker_id)


@given(PLAYS)
@settings(deadline=None, max_examples=200)
def test_live_job_can_always_be_brought_to_an_end(machines: type[Machine], moves: Sequence[int]) -> None:
    """Whatever happened, a few well-behaved steps end the job: it is never stuck."""
    machine = play(machines(limits=LIMITS), moves)

    for _ in range(20):
        if not machine.job.is_terminal:
            help_on(machine)

    assert machine.job.is_terminal
