"""Random steps of jobs: what is committed to a storage and to its model."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from msgspec.structs import replace

from avtomatika.core.document import EMPTY, Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Job, Task, job_fields
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.storage.base import Batch, Dedupe, Hold, Message, Outcome, Ready, RecordWrite, Storage, TaskClaim, Timer
from avtomatika.testing import FakeClock

from .model import Model

FIELDS = frozenset(job_fields())
MEMORY_DISK = Path("/dev/shm")
JOB_IDS = st.sampled_from(["j1", "j2", "j3", "j4"])
WORKERS = st.sampled_from(["w1", "w2"])
QUEUES = st.sampled_from(["a", "b"])
TOPICS = ("x", "y")
KEYS = st.sampled_from(["a", "ab", "b"])
WRITES = st.builds(
    RecordWrite,
    st.just("s"),
    KEYS,
    st.none() | st.integers(0, 9).map(Document.of),
    expected=st.none() | st.integers(0, 2),
    ttl=st.none() | st.sampled_from([2, 5]),
)
SECONDS = st.integers(0, 6)
LEASES = st.sampled_from([2, 5, 20])
PRIORITIES = st.sampled_from([0.0, 0.0, 1.0])
# Picks one of what there is at the moment of the step: any number will do.
PICK = st.integers(0, 1000)


class CommittingMachine(RuleBasedStateMachine):
    """Commits random batches to a storage and to the model, and compares what comes of them."""

    make: Callable[[FakeClock, Path], Storage]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        # In memory where the machine can: it is the answers that count here, not what a power cut leaves.
        self.folder = TemporaryDirectory(dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None)
        self.clock = FakeClock()
        self.storage = type(self).make(self.clock, Path(self.folder.name))
        self.run(self.storage.open())
        self.model = Model(self.clock.now())
        self.tokens: list[str] = []
        self.claims: list[TaskClaim] = []
        self.numbers = itertools.count()

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Runs one call of the storage."""
        return self.runner.run(call)

    def teardown(self) -> None:
        """Closes what was opened."""
        self.run(self.storage.close())
        self.runner.close()
        self.folder.cleanup()

    def commit(self, batch: Batch) -> Outcome:
        """Commits to both and compares."""
        expected = self.model.commit(batch)
        assert self.run(self.storage.commit(batch)) == expected
        return expected

    @rule(job_id=JOB_IDS, at=SECONDS, deadline=SECONDS, priority=PRIORITIES, dedupe=st.integers(0, 2))
    def create(self, job_id: str, at: int, deadline: int, priority: float, dedupe: int) -> None:
        """Creates a job, or tries to."""
        now = self.model.now
        self.commit(
            Batch(
                Job(job_id, "b", "v", JobStatus.PENDING, "start", now - at, now, version=1),
                FIELDS,
                now,
                ready=Ready(now + at - 1, priority),
                # Something always wakes the job, so that the audit has nothing to say.
                set_timers=[Timer(job_id, TimerKind.JOB, now + deadline)],
                events=[RecordHistory("job_created", "start")],
                messages=[self.new_message(job_id, 1, n, at) for n in range(dedupe)],
                dedupe=Dedupe(f"k{dedupe}", job_id, 9) if dedupe else None,
            )
        )

    @rule(
        job_id=JOB_IDS,
        skew=st.sampled_from([1, 1, 1, 1, 0, 2]),
        token=st.none() | PICK,
        keep=st.booleans(),
        ready=st.none() | SECONDS,
        hold=st.none() | LEASES,
        timer=st.none() | SECONDS,
        clear=st.booleans(),
        finish=st.sampled_from([False] * 11 + [True]),
        tasks=st.lists(st.tuples(QUEUES, PRIORITIES, SECONDS), max_size=2),
        mail=st.lists(SECONDS, max_size=2),
        record=st.none() | WRITES,
    )
    def step(
        self,
        job_id: str,
        skew: int,
        token: int | None,
        keep: bool,
        ready: int | None,
        hold: int | None,
        timer: int | None,
        clear: bool,
        finish: bool,
        tasks: list[tuple[str, float, int]],
        mail: Sequence[int] = (),
        record: RecordWrite | None = None,
    ) -> None:
        """Commits any step of a job, under any claim, on any version near the stored one."""
        old, now = self.model.jobs.get(job_id), self.model.now
        if old is None or old.is_terminal:
            return
        status = JobStatus.FINISHED if finish else JobStatus.RUNNING
        job = replace(old, version=old.version + skew, status=status, updated_at=now)
        claim = self.tokens[token % len(self.tokens)] if token is not None and self.tokens else ""
        held = None
        if hold is not None and ready is not None and not claim:
            held = Hold("e1", f"{job_id}/{next(self.numbers)}/e1", hold)
            self.tokens.append(held.token)
        self.commit(
            Batch(
                job,
                FIELDS,
                now,
                claim=claim,
                keep_claim=keep,
                ready=None if ready is None else Ready(now + (0 if held else ready) - 1),
                hold=held,
                queue_tasks=[] if finish else [self.new_task(job_id, *task) for task in tasks],
                cancel_open_tasks=finish,
                set_timers=[] if timer is None else [Timer(job_id, TimerKind.RETRY, now + timer)],
                clear_timers=[Timer(job_id, TimerKind.RETRY)] if clear else [],
                finish=finish,
                events=[RecordHistory("state_started", "start")],
                messages=[self.new_message(job_id, job.version, n, at) for n, at in enumerate(mail)],
                records=[] if record is None else [record],
            )
        )

    def new_message(self, job_id: str, version: int, number: int, at: int) -> Message:
        """Returns a message that is due sooner or later."""
        now = self.model.now
        return Message(f"{job_id}:{version}:{number}", TOPICS[number], job_id, "", EMPTY, now, now + at - 1)

    def new_task(self, job_id: str, queue: str, priority: float, age: int) -> Task:
        """Returns a task that was not there before."""
        number = next(self.numbers)
        return Task(
            f"t{number}",
            job_id,
            queue,
            queue,
            TaskStatus.QUEUED,
            self.model.now - age,
            priority=priority,
            index=number,
            timeout_seconds=12.0,
        )

    @rule(
        pick=PICK,
        outcome=st.sampled_from(["again", "again", "done", "delayed", "next attempt"]),
        cancel=st.sampled_from([False, False, True]),
        others=st.integers(0, 2),
    )
    def report(self, pick: int, outcome: str, cancel: bool, others: int = 0) -> None:
        """Commits what came of claims that were made at some time: a result, a lost lease, a retry, or some of them."""
        if not self.claims:
            return
        claim = self.claims[pick % len(self.claims)]
        job = self.model.jobs[self.model.tasks[claim.task_id].job_id]
        claims = {claim.task_id: claim}
        for other in self.claims if others else ():
            if self.model.tasks[other.task_id].job_id == job.id and len(claims) <= others:
                claims.setdefault(other.task_id, other)
        reports = [self.after(self.model.tasks[task_id], outcome) for task_id in claims]
        if job.is_terminal:
            # Whoever brings a result to a job that has ended read it before the end.
            job = replace(job, version=job.version - 1)
        queue = outcome in {"again", "next attempt"}
        self.commit(
            Batch(
                replace(job, version=job.version + 1),
                FIELDS,
                self.model.now,
                task_claims=list(claims.values()),
                queue_tasks=reports if queue else [],
                save_tasks=[] if queue else reports,
                cancel_open_tasks=cancel,
                events=[RecordHistory("task_finished", "start")] * len(reports),
            )
        )

    def after(self, task: Task, outcome: str) -> Task:
        """Returns what has become of a task."""
        match outcome:
            case "done":
                return replace(task, status=TaskStatus.SUCCEEDED, ended_at=self.model.now, lease_until=None)
            case "delayed":
                return replace(task, status=TaskStatus.DELAYED, lease_until=None)
            case "again":
                return replace(task, status=TaskStatus.QUEUED, lease_until=None)
        return replace(task, status=TaskStatus.QUEUED, attempt=task.attempt + 1, deliveries=0, lease_until=None)
