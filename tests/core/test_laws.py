"""What holds for every sequence of events, found by trying many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from avtomatika.blueprints.actions import Dispatch, Parallel, TaskSpec, Transition
from avtomatika.core.document import Document
from avtomatika.core.events import Event, HandlerReturned, HandlerStarted, LeaseExpired, TaskReported, TimerFired
from avtomatika.core.job import Failure, Task
from avtomatika.core.retry import RetryPolicy
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.steps import Limits

if TYPE_CHECKING:
    from tests.core.conftest import Machine

T = TypeVar("T")
LIMITS = Limits(RetryPolicy(max_retries=1), max_transitions=6, task_timeout=50.0, max_deliveries=2)
STATES = ("start", "charge", "join", "repair", "done", "charge_failed", "nowhere")
CODES = ("", "TRANSIENT_ERROR", "PERMANENT_ERROR", "INVALID_INPUT_ERROR", "ODD_ERROR")
WORKERS = ("w1", "w2")
OPTIONS = (
    {},
    {"transitions": {"success": "charge", "failure": "repair"}},
    {"transitions": {"success": "start", "cancelled": "repair"}, "dispatch_timeout": 10.0},
    {"transitions": {"success": "charge"}, "result_timeout": 30.0, "timeout_seconds": 15.0},
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


def a_task(machine: Machine, dice: Dice, *, only: TaskStatus | None = None) -> Task | None:
    """Returns one of the job's tasks, open or ended, if it has any."""
    tasks = [task for task in machine.tasks.values() if only in {None, task.status}]
    return dice.pick(tasks) if tasks else None


def call(machine: Machine, dice: Dice) -> None:
    """Starts the handler."""
    machine.now = max(machine.now, machine.wake_at or 0.0)
    machine.feed(HandlerStarted())


def go(machine: Machine, dice: Dice) -> None:
    """The handler returns with a transition, or without an action."""
    action = dice.pick([None, *map(Transition, STATES)])
    machine.feed(HandlerReturned(action, Document.of({"n": dice.pick(range(3))})))


def dispatch(machine: Machine, dice: Dice) -> None:
    """The handler returns with one task."""
    machine.feed(HandlerReturned(Dispatch(TaskSpec("render", **dice.pick(OPTIONS))), machine.job.state_history))


def fan_out(machine: Machine, dice: Dice) -> None:
    """The handler returns with none to three tasks."""
    specs = tuple(TaskSpec("render", **dice.pick(OPTIONS)) for _ in range(dice.pick(range(4))))
    machine.feed(HandlerReturned(Parallel(specs, "join"), machine.job.state_history))


def fail(machine: Machine, dice: Dice) -> None:
    """The handler raises."""
    if machine.job.status is JobStatus.RUNNING:
        machine.raises(code=dice.pick(["TRANSIENT_ERROR", "PERMANENT_ERROR"]))


def claim(machine: Machine, dice: Dice) -> None:
    """A worker takes a task."""
    task = a_task(machine, dice, only=TaskStatus.QUEUED)
    if task is not None:
        machine.claims(dice.pick(WORKERS), task)


def confirm(machine: Machine, dice: Dice) -> None:
    """A heartbeat names a task that is claimed, or that went back to its queue."""
    task = a_task(machine, dice)
    if task is None or task.status not in {TaskStatus.CLAIMED, TaskStatus.QUEUED} or not task.deliveries:
        return
    if task.claimed_at is not None and task.claimed_at + task.timeout_seconds > machine.now:
        machine.confirms(task)


def report(machine: Machine, dice: Dice) -> None:
    """Some worker answers for some attempt of some task."""
    task = a_task(machine, dice)
    status = dice.pick(["success", "failure", "failure", "cancelled", "odd"])
    failure = Failure(dice.pick(CODES), "it broke") if status == "failure" else None
    worker = dice.pick(WORKERS)
    attempt = task.attempt - dice.pick(range(3)) if task else 1
    data = Document.of(dice.pick([None, {"n": 1}, 7]))
    machine.feed(TaskReported(task, attempt, worker, status, data, failure, dice.pick([False, False, True])))


def expire(machine: Machine, dice: Dice) -> None:
    """A lease ends, or somebody thinks so."""
    machine.feed(LeaseExpired(a_task(machine, dice)))


def fire(machine: Machine, dice: Dice) -> None:
    """The moment of a timer comes."""
    if machine.timers:
        kind, task_id = dice.pick(list(machine.timers))
        machine.now = max(machine.now, machine.timers[kind, task_id])
        machine.feed(TimerFired(kind, task_id, machine.tasks.get(task_id)))


def wait(machine: Machine, dice: Dice) -> None:
    """Time passes."""
    machine.now += dice.pick([1, 5, 20, 60])


Move = tuple[Callable[["Machine", Dice], None], int]
# The common ones several times: most jobs should get far.
OFTEN = (call, dispatch, claim, claim, report)
MOVES = (*OFTEN, call, go, dispatch, fan_out, fail, claim, confirm, report, expire, fire, wait)
PLAYS = st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 2**24)), max_size=40)


def play(machine: Machine, moves: Sequence[Move]) -> Machine:
    """Makes the moves; the machine checks every invariant after each event."""
    machine.submit(deadline_at=machine.now + 500)
    for move, number in moves:
        move(machine, Dice(number))
    return machine


@given(PLAYS)
@settings(deadline=None, max_examples=300)
def test_any_sequence_of_events_keeps_the_invariants(machines: type[Machine], moves: Sequence[Move]) -> None:
    """No event is ever an error, and a live job always has what wakes it: the machine checks it after each event."""
    machine = play(machines(limits=LIMITS), moves)

    assert machine.job.version >= 1


@given(PLAYS, PLAYS)
@settings(deadline=None, max_examples=100)
def test_end_of_a_job_is_final(machines: type[Machine], before: Sequence[Move], after: Sequence[Move]) -> None:
    """Nothing that happens after the end changes the job or its tasks."""
    machine = play(machines(limits=LIMITS), before)
    if not machine.job.is_terminal:
        machine.cancel()
    job, tasks = machine.job, dict(machine.tasks)

    for move, number in after:
        move(machine, Dice(number))

    assert machine.job is job
    assert machine.tasks == tasks


@given(PLAYS, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=100)
def test_answers_that_counted_change_nothing_again(
    machines: type[Machine], moves: Sequence[Move], random: object
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
    if task is None:
        machine.returns(None if machine.graph.state(machine.job.state).is_end else Transition("done"))
    elif task.status is TaskStatus.DELAYED:
        machine.retries(task)
    else:
        if task.status is TaskStatus.QUEUED:
            task = machine.claims("w1", task)
        machine.reports(task=task, worker=task.worker_id)


@given(PLAYS)
@settings(deadline=None, max_examples=100)
def test_live_job_can_always_be_brought_to_an_end(machines: type[Machine], moves: Sequence[Move]) -> None:
    """Whatever happened, a few well-behaved steps end the job: it is never stuck."""
    machine = play(machines(limits=LIMITS), moves)

    for _ in range(20):
        if not machine.job.is_terminal:
            help_on(machine)

    assert machine.job.is_terminal
