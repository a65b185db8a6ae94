"""A job, and what a storage would hold for it: events go in, every invariant is checked after each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from avtomatika.blueprints.graph import Graph, State
from avtomatika.blueprints.requests import (
    Action,
    Dispatch,
    HumanApproval,
    Parallel,
    Sleep,
    SubBlueprint,
    TaskSpec,
    Transition,
)
from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.core.decide import decide
from avtomatika.core.document import NULL, Document
from avtomatika.core.effects import (
    CancelOpenTasks,
    ClearTimer,
    Decision,
    DispatchTask,
    Effect,
    FinishJob,
    RecordHistory,
    RunHandler,
    SaveTask,
    SendMessage,
    SetTimer,
)
from avtomatika.core.events import (
    CancelRequested,
    ChildEnded,
    Decided,
    Event,
    HandlerFailed,
    HandlerReturned,
    HandlerStarted,
    JobSubmitted,
    LeaseExpired,
    Repinned,
    Rewound,
    StateMissing,
    StepBroke,
    TaskReported,
    TimerFired,
    TimerKind,
)
from avtomatika.core.job import Failure, Job, Task, job_fields
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.steps import Limits
from avtomatika.core.waits import ApprovalWait, ChildWait, SleepWait
from avtomatika.protocol.files import FileFacts

START = 1_700_000_000.0
GRAPH = Graph(
    "orders",
    (
        State("start", is_start=True),
        State("charge"),
        State("join", is_aggregator=True),
        State("repair"),
        State("done", is_end=True, outcome="finished"),
        State("charge_failed", is_end=True, outcome="failed"),
    ),
)
OWN_TIMERS = {TimerKind.JOB, TimerKind.SLEEP, TimerKind.APPROVAL}
NEVER_CHANGE = {"id", "blueprint", "blueprint_version", "created_at", "client", "initial_data"}


class Machine:
    """Feeds events to ``decide`` and keeps what comes of them as a storage would.

    Args:
        graph: the blueprint of the job.
        limits: what to decide by.

    Attributes:
        job: as last committed.
        tasks: all its tasks by id, as stored.
        timers: (kind, task id) to the moment.
        wake_at: when its handler is to run, or None.
        now: the moment; moved by hand.
        rows: the job's history.
        orders: what it wanted of its children, in order.
        told: what it told its parent.
        last: what the last event led to.
        seen: (status, event, status after it) of every event that counted.
    """

    def __init__(self, graph: Graph = GRAPH, limits: Limits | None = None) -> None:
        self.graph = graph
        self.limits = limits or Limits(retry=RetryPolicy(attempts=3), max_transitions=20)
        self.now = START
        self.job = Job("j1", graph.name, graph.version, JobStatus.PENDING, "", START, START)
        self.tasks: dict[str, Task] = {}
        self.timers: dict[tuple[TimerKind, str], float] = {}
        self.wake_at: float | None = None
        self.rows: list[RecordHistory] = []
        self.orders: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self.last = Decision(self.job)
        self.seen: set[tuple[JobStatus, str, JobStatus]] = set()

    # --- what happens to the job ---

    def feed(self, event: Event) -> Decision:
        """Lets the event happen and checks what must be true afterwards."""
        old, self.last = self.job, decide(self.job, event, self.graph, self.now, self.limits)
        assert decide(old, event, self.graph, self.now, self.limits) == self.last
        if self.last.ignored:
            assert self.last.job is old
            assert self.last.effects == ()
            return self.last
        self.seen.add((old.status, type(event).__name__, self.last.job.status))
        self.job = self.last.job
        assert self.job.version == old.version + 1
        assert self.job.updated_at == self.now
        self._check_changes(old, event)
        if isinstance(event, HandlerReturned | HandlerFailed | StepBroke | Repinned | StateMissing | Rewound):
            self.wake_at = None  # the claim under which the handler ran is consumed
        self._close_open_tasks()
        for effect in self.last.effects:
            self._apply(effect)
        self.check()
        return self.last

    def submit(self, **facts: Any) -> Decision:
        """Creates the job; its other fields are given or plain."""
        self.job = replace(self.job, **facts)
        return self.feed(JobSubmitted())

    def started(self, **facts: Any) -> Machine:
        """Creates the job, calls its first handler, and returns the machine."""
        self.submit(**facts)
        self.feed(HandlerStarted())
        return self

    def returns(self, action: Action | None = None, *, history: Any = None, returned: Any = None) -> Decision:
        """Calls the handler if it does not run yet, and lets it return.

        Args:
            action: what it asks for.
            history: the data that it leaves; None for what it found.
            returned: its return value; counts if it is a dict.
        """
        self._begin()
        left = self.job.state_history if history is None else Document.of(history)
        is_mapping = isinstance(returned, dict)
        value = Document.of(returned) if is_mapping else NULL
        return self.feed(HandlerReturned(action, left, value, is_mapping, 0.25, "handler"))

    def goes_to(self, state: str) -> Decision:
        """Lets the handler go on in another state."""
        return self.returns(Transition(state))

    def raises(self, message: str = "boom", code: str = "TRANSIENT_ERROR") -> Decision:
        """Calls the handler if it does not run yet, and lets it raise."""
        self._begin()
        return self.feed(HandlerFailed(code, message, 0.25, "handler"))

    def dispatches(self, task_type: str = "render", **options: Any) -> Task:
        """Lets the handler dispatch one task and returns it; ``success`` leads to ``charge`` unless said otherwise."""
        options = {"transitions": {"success": "charge"}, **options}
        self.returns(Dispatch(TaskSpec(task_type, **options)))
        return self.task

    def sleeps(self, seconds: float, then: str = "charge") -> Decision:
        """Lets the handler ask to go on later."""
        return self.returns(Sleep(then, seconds=seconds))

    def asks(self, **options: Any) -> ApprovalWait:
        """Lets the handler ask a person, and returns the wait; the ways are approved and rejected unless given."""
        ways = {"approved": "charge", "rejected": "repair"}
        self.returns(HumanApproval("Really?", **{"transitions": ways, **options}))
        assert isinstance(self.job.wait, ApprovalWait)
        return self.job.wait

    def decides(self, decision: str = "approved", **facts: Any) -> Decision:
        """Lets a person decide about the wait that the job is in, or about another one."""
        number = self.job.wait.number if isinstance(self.job.wait, ApprovalWait) else 0
        return self.feed(Decided(**{"wait": number, "decision": decision, "by": "Ada", "via": "token", **facts}))

    def runs(self, blueprint: str = "invoices", data: Any = None, **ways: str) -> ChildWait:
        """Lets the handler run another blueprint, and returns the wait; ``success`` leads to charge unless given."""
        self.returns(SubBlueprint(blueprint, data or {}, ways or {"success": "charge"}))
        assert isinstance(self.job.wait, ChildWait)
        return self.job.wait

    def child_ends(self, status: JobStatus = JobStatus.FINISHED, result: Any = None, **facts: Any) -> Decision:
        """Lets the child that the job waits for end, or another one."""
        child_id = self.job.wait.child_id if isinstance(self.job.wait, ChildWait) else "another"
        return self.feed(ChildEnded(**{"child_id": child_id, "status": status, "result": Document.of(result), **facts}))

    def fans_out(self, *options: dict[str, Any], policy: str = "all", at_least: int = 0) -> list[Task]:
        """Lets the handler dispatch parallel tasks that ``join`` joins and returns them by index."""
        before = set(self.tasks)
        specs = tuple(TaskSpec(**{"task_type": "render", **one}) for one in options)
        self.returns(Parallel(specs, "join", policy, at_least))
        return [task for task_id, task in self.tasks.items() if task_id not in before]

    def reports(
        self,
        status: str = "success",
        data: Any = None,
        *,
        task: Task | None = None,
        code: str | None = None,
        message: str = "it broke",
        worker: str = "w1",
        attempt: int | None = None,
        leaving: bool = False,
        retry_after: float = 0.0,
        files: dict[str, FileFacts] | None = None,
    ) -> Decision:
        """Lets a worker send a result.

        Args:
            status: the status word.
            data: what it returns.
            task: which task; the only one if not given. Its stored form counts, its attempt is what the worker says.
            code: error code; a failure without one comes without an error.
            message: of the error.
            worker: who sends it.
            attempt: of the result; the task's if not given.
            leaving: the worker has said that it goes offline.
            retry_after: the pause that the error asks for.
            files: path in the data to what is known of the file there.
        """
        task = task or self.task
        failure = Failure(code, message, retry_after=retry_after) if code is not None else None
        return self.feed(
            TaskReported(
                self.tasks.get(task.id),
                task.attempt if attempt is None else attempt,
                worker,
                status,
                Document.of(data),
                failure,
                leaving,
                files or {},
            )
        )

    def fails(self, code: str = "TRANSIENT_ERROR", **facts: Any) -> Decision:
        """Lets a worker report a failure."""
        return self.reports("failure", code=code, **facts)

    def rewinds(self, state: str = "start", history: Any = None, **facts: Any) -> Decision:
        """Lets the job start again from a state, with these data."""
        return self.feed(Rewound(state, Document.of(history or {}), **facts))

    def cancel(self, by: str = "alice") -> Decision:
        """Cancels the job."""
        return self.feed(CancelRequested(by))

    def lease_ends(self, task: Task | None = None) -> Decision:
        """Moves on to the end of the task's lease and tells of it."""
        stored = self.tasks[(task or self.task).id]
        self.now = max(self.now, stored.lease_until or 0.0)
        return self.feed(LeaseExpired(stored))

    def fires(self, kind: TimerKind, task: Task | None = None) -> Decision:
        """Moves on to a timer's moment and lets it fire."""
        task_id = "" if kind in OWN_TIMERS else (task or self.task).id
        self.now = max(self.now, self.timers.get((kind, task_id), 0.0))
        return self.feed(TimerFired(kind, task_id, self.tasks.get(task_id)))

    def retries(self, task: Task | None = None) -> Task:
        """Waits for the next attempt of a task and returns it."""
        task = task or self.task
        self.fires(TimerKind.RETRY, task)
        return self.tasks[task.id]

    # --- what happens to tasks without the job ---

    def claims(self, worker: str = "w1", task: Task | None = None, lease: float = 20.0) -> Task:
        """Lets a worker take a queued task, as ``Storage.claim_task`` does."""
        task = self.tasks[(task or self.task).id]
        assert task.status is TaskStatus.QUEUED
        return self._put(
            replace(
                task,
                status=TaskStatus.CLAIMED,
                worker_id=worker,
                claimed_at=self.now,
                lease_until=self.now + min(lease, task.timeout_seconds),
                confirmed=False,
                deliveries=task.deliveries + 1,
            )
        )

    def confirms(self, task: Task | None = None, lease: float = 20.0) -> Task:
        """Lets the worker's heartbeat name the task, as ``Storage.renew_tasks`` does."""
        task = self.tasks[(task or self.task).id]
        claimed_at = self.now if task.claimed_at is None else task.claimed_at
        until = min(self.now + lease, claimed_at + task.timeout_seconds)
        return self._put(
            replace(task, status=TaskStatus.CLAIMED, claimed_at=claimed_at, lease_until=until, confirmed=True)
        )

    # --- what tests look at ---

    @property
    def task(self) -> Task:
        """The task that was made last."""
        return list(self.tasks.values())[-1]

    @property
    def open_tasks(self) -> list[Task]:
        """The tasks that have not ended."""
        return [task for task in self.tasks.values() if task.status.is_open]

    @property
    def history(self) -> Any:
        """The job's data."""
        return self.job.state_history.value()

    def effects(self, *kinds: type[Effect]) -> list[Effect]:
        """Returns the effects of the last event, of these kinds if any are named."""
        return [effect for effect in self.last.effects if not kinds or isinstance(effect, kinds)]

    def row(self, type_: str) -> RecordHistory:
        """Returns the last row of that type."""
        return [row for row in self.rows if row.type == type_][-1]

    def types(self) -> list[str]:
        """Returns the types of the rows that the last event wrote."""
        return [effect.type for effect in self.last.effects if isinstance(effect, RecordHistory)]

    # --- the storage ---

    def _begin(self) -> None:
        if self.job.status is not JobStatus.RUNNING:
            self.now = max(self.now, self.wake_at or 0.0)
            self.feed(HandlerStarted())

    def _close_open_tasks(self) -> None:
        """Closed before the batch's own tasks are written, as ``Batch`` demands."""
        if any(isinstance(effect, CancelOpenTasks) for effect in self.last.effects):
            for task in self.open_tasks:
                self._put(replace(task, status=TaskStatus.CANCELLED, ended_at=self.now))
            self.timers = {key: at for key, at in self.timers.items() if not key[1]}

    def _apply(self, effect: Effect) -> None:
        match effect:
            case RunHandler(state, at):
                assert state == self.job.state
                assert state in self.graph
                self.wake_at = at
            case DispatchTask(task):
                assert task.status is TaskStatus.QUEUED
                if task.id not in self.tasks:
                    assert task.id == f"{self.job.id}-{self.job.version}-{task.index}"
                self._put(task)
            case SaveTask(task):
                assert task.status is not TaskStatus.QUEUED
                assert task.id in self.tasks
                self._put(task)
            case SetTimer(kind, at, task_id):
                self.timers[kind, task_id] = at
            case ClearTimer(kind, task_id):
                self.timers.pop((kind, task_id), None)
            case SendMessage("child", body):
                self.orders.append(body.value())
            case SendMessage("parent", body, key):
                assert (key, self.job.is_terminal) == (self.job.parent_job_id, True)
                self.told.append(body.value())
            case RecordHistory():
                self.rows.append(effect)
            case FinishJob():
                self.wake_at = None
                self.timers.clear()

    def _put(self, task: Task) -> Task:
        assert task.job_id == self.job.id
        self.tasks[task.id] = task
        return task

    # --- invariants ---

    def check(self) -> None:
        """Checks what must be true of every stored job."""
        if self.job.version == 0:
            return
        assert (FinishJob() in self.last.effects) == self.job.is_terminal or self.last.ignored
        if self.job.is_terminal:
            assert (self.wake_at, self.timers, self.open_tasks) == (None, {}, []), "an ended job owns something"
            assert self.job.task_id == ""
            assert self.job.fan_out is None or self.job.fan_out.open == 0
            assert self.job.wait is None
        else:
            self._check_wake_up()
            self._check_timers()

    def _check_changes(self, old: Job, event: Event) -> None:
        """What the decision does not name as changed is as it was, and some things never change."""
        changed = {name for name in job_fields() if getattr(old, name) != getattr(self.job, name)}
        assert changed <= self.last.changed
        assert not changed & (NEVER_CHANGE - ({"blueprint_version"} if isinstance(event, Repinned) else set()))

    def _check_wake_up(self) -> None:
        """W: exactly what the status says will make the job go on."""
        if self.open_tasks:
            assert self.wake_at is None, "two things make the job go on"
        for task in self.open_tasks:
            is_delayed = task.status is TaskStatus.DELAYED
            assert is_delayed == ((TimerKind.RETRY, task.id) in self.timers), "only a delayed task waits for a retry"
        match self.job.status:
            case JobStatus.WAITING_FOR_WORKER:
                (task,) = self.open_tasks
                assert task.id == self.job.task_id
                assert task.status in {TaskStatus.QUEUED, TaskStatus.CLAIMED}
            case JobStatus.AWAITING_RETRY if self.job.task_id:
                (task,) = self.open_tasks
                assert task.id == self.job.task_id
                assert task.status is TaskStatus.DELAYED
            case JobStatus.WAITING_FOR_PARALLEL_TASKS:
                assert self.job.fan_out is not None
                branches = [task for task in self.open_tasks if task.fan_out == self.job.fan_out.id]
                assert branches == self.open_tasks
                assert len(branches) == self.job.fan_out.open >= 1
            case JobStatus.PENDING if isinstance(self.job.wait, SleepWait):
                assert (self.open_tasks, self.wake_at) == ([], None)
                assert self.timers[TimerKind.SLEEP, ""] == self.job.wait.until
            case JobStatus.WAITING_FOR_SUB_JOB:
                assert isinstance(self.job.wait, ChildWait)
                assert (self.open_tasks, self.wake_at) == ([], None)
                started = [order for order in self.orders if order["do"] == "start"]
                assert started[-1]["child"] == self.job.wait.child_id
                assert self.orders[-1]["do"] == "start", "the child was called off, and is waited for"
            case JobStatus.WAITING_FOR_HUMAN:
                assert isinstance(self.job.wait, ApprovalWait)
                assert (self.open_tasks, self.wake_at) == ([], None)
                assert self.timers.get((TimerKind.APPROVAL, "")) == self.job.wait.expires_at
            case _:
                assert self.open_tasks == []
                assert self.wake_at is not None, f"nothing wakes the job: it is {self.job.status}"

    def _check_timers(self) -> None:
        """A timer belongs to the job or to an open task."""
        for kind, task_id in self.timers:
            assert (kind in OWN_TIMERS) == (task_id == "")
            assert kind is not TimerKind.SLEEP or isinstance(self.job.wait, SleepWait), "nobody sleeps any more"
            assert kind is not TimerKind.APPROVAL or isinstance(self.job.wait, ApprovalWait), "nobody is asked any more"
            assert not task_id or self.tasks[task_id].status.is_open, f"task {task_id} has ended, its timer has not"


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Returns a job that nobody has submitted yet; its invariants are checked after each event and at the end."""
    made = Machine()
    yield made
    made.check()


@pytest.fixture(scope="session")
def machines() -> type[Machine]:
    """Returns how to make machines with limits or a graph of one's own, or one for each example of Hypothesis."""
    return Machine
