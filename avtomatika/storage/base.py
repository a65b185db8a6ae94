"""The storage's contract: every step that must be atomic, and nothing else.

A backend decides nothing. It compares versions, keeps queues in order and lets leases end; what should happen is
decided in ``core`` and arrives here as a ``Batch``. The tests in ``tests/storage`` run over
all backends.

Moments are Unix seconds of the storage's clock, durations are seconds. Every method raises StorageError when the
backend does not answer; a commit that raised may have happened, and may be repeated: it then returns Stale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct, field

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage.rows import HistoryStep


class Ready(Struct, frozen=True):
    """A wake-up: some engine is to call the job's handler.

    Args:
        at: not before this moment.
        priority: higher first among those that are due.
    """

    at: float
    priority: float = 0.0


class Timer(Struct, frozen=True):
    """A moment at which a job is to be woken; one for each (job, kind, task)."""

    job_id: str
    kind: TimerKind
    at: float = 0.0
    task_id: str = ""


class TaskClaim(Struct, frozen=True):
    """Proof that a result belongs to the claim that the storage knows.

    It holds as long as the task is open, at this attempt, and was last claimed by this worker: also when the lease has
    ended, and when the task waits in its queue again, until another worker takes it over.
    """

    task_id: str
    attempt: int
    worker_id: str


class JobClaim(Struct, frozen=True):
    """A job that an engine may work on until the lease ends.

    Args:
        job: as stored.
        token: names this claim in a batch, and when it is extended or released.
        deliveries: how often the same wake-up was claimed, this time included; claims that were given back do not
            count, so that only an engine that vanished leaves a trace.
    """

    job: Job
    token: str
    deliveries: int


class Hold(Struct, frozen=True):
    """A claim that a step makes for the engine that writes it, which goes on with the job at once.

    Args:
        owner: the engine.
        token: names the claim, as that of a ``JobClaim`` does: the job's id, ``/``, and what no other claim has.
        lease: seconds that it lasts.
    """

    owner: str
    token: str
    lease: float


class Dedupe(Struct, frozen=True):
    """A key that makes the creation of a job happen once.

    Args:
        key: unique for the client and its idempotency key.
        fingerprint: digest of the request; another one under the same key is a conflict for the caller to report.
        ttl: seconds that the key is remembered.
    """

    key: str
    fingerprint: str
    ttl: float


class Message(Struct, frozen=True):
    """Something that is to leave the engine: written with the step that it follows from, delivered at least once.

    Args:
        id: derived from the job's id, the version of the commit and an index there, so that whoever receives it twice
            can tell.
        topic: names the carrier that knows what to do with it.
        job_id: the job that sent it.
        key: whom it concerns, or empty; for carriers and people.
        body: what the carrier needs.
        created_at: the moment of the step.
        due_at: not before this moment; once claimed, the end of the claim.
        attempts: how often it was claimed since it was written or replayed.
        error: why the last attempt failed, or empty.
        buried_at: when it became a dead letter, or None.
    """

    id: str
    topic: str
    job_id: str
    key: str
    body: Document
    created_at: float
    due_at: float
    attempts: int = 0
    error: str = ""
    buried_at: float | None = None


class Record(Struct, frozen=True):
    """A value that is kept under a name, beside the jobs: when a schedule is next due, a token, what handlers share.

    Args:
        space: whose names these are, such as ``schedule``.
        key: the name; not empty.
        value: what is kept.
        version: number of writes since it was last missing.
        ends_at: when it is forgotten, or None.
    """

    space: str
    key: str
    value: Document
    version: int
    ends_at: float | None = None


class RecordWrite(Struct, frozen=True):
    """A new value of a record, written only if nobody was faster.

    Args:
        space: whose names these are.
        key: the name; not empty.
        value: what is to be kept; None to forget the record.
        expected: the version that must be stored, 0 for none; None for any.
        ttl: seconds that the value is kept; None for ever.
    """

    space: str
    key: str
    value: Document | None
    expected: int | None = None
    ttl: float | None = None


class Count(Struct, frozen=True):
    """What came of counting.

    Args:
        granted: whether it was counted.
        total: what is counted in this window, this time included if it was granted.
        resets_at: when the window ends and counting begins anew.
    """

    granted: bool
    total: int
    resets_at: float


class Batch(Struct, frozen=True):
    """All that one step writes, applied whole or not at all.

    Args:
        job: the new job; its version is one above the stored one (1 creates it). Its id, created_at, client and
            blueprint never change.
        changed: names of the job's fields to write; all of them when it is created, and the version always.
        at: the moment of the step.
        claim: token of the job claim that this step consumes, or empty. A step without one leaves a claim alone, unless
            it brings a new wake-up or ends the job.
        keep_claim: the claim stays, for a handler that is called next in the same breath.
        task_claims: each of these tasks must still be claimed so, else Stale; none if no result is involved.
        ready: the job's new wake-up in place of any other, or None. With ``keep_claim`` it is not queued: the claim
            holds it from the start, as its first delivery, and it comes forth when the claim ends by itself.
        hold: the same for a step that consumes no claim: ``ready``, due at once, is held by this new one. None to queue
            it.
        queue_tasks: tasks to write as they are and to hand out. The first time decides about the place among equals.
            What is no new attempt keeps ``worker_id`` and ``deliveries``, so that its last worker may still answer.
        save_tasks: tasks to write as they are and to take out of their queues and leases.
        cancel_open_tasks: close all open tasks of the job: status ``cancelled``, ``ended_at`` is ``at``, and forget the
            timers of its tasks. The tasks above and the timers below are written afterwards.
        set_timers: timers to write, replacing those of the same job, kind and task.
        clear_timers: timers to forget.
        finish: the job has ended: forget its wake-up, claim, timers and progress, whatever else the batch says of them.
        events: rows of its history, numbered by the storage in this order.
        dedupe: for a creation that must happen once.
        messages: what leaves the engine; each of this job, under an id of its own.
        records: what is written beside the job, one write for each key; if one does not meet the version that it
            expects, Stale.
    """

    job: Job
    changed: frozenset[str]
    at: float
    claim: str = ""
    keep_claim: bool = False
    task_claims: Sequence[TaskClaim] = ()
    ready: Ready | None = None
    hold: Hold | None = None
    queue_tasks: Sequence[Task] = ()
    save_tasks: Sequence[Task] = ()
    cancel_open_tasks: bool = False
    set_timers: Sequence[Timer] = ()
    clear_timers: Sequence[Timer] = ()
    finish: bool = False
    events: Sequence[RecordHistory] = ()
    dedupe: Dedupe | None = None
    messages: Sequence[Message] = ()
    records: Sequence[RecordWrite] = ()


class Committed(Struct, frozen=True):
    """The batch was applied."""

    version: int


class Stale(Struct, frozen=True):
    """Somebody else was faster, or holds the claim; nothing was written.

    Args:
        version: the stored version; 0 if there is no such job. If it is the one before the batch's, a claim was lost or
            a record was written meanwhile.
    """

    version: int


class Duplicate(Struct, frozen=True):
    """The dedupe key is known; nothing was written. A creation that is repeated sees its own.

    Args:
        job_id: the job that was created under it.
        fingerprint: digest of the request that created it.
    """

    job_id: str
    fingerprint: str


Outcome = Committed | Stale | Duplicate


class JobQuery(Struct, frozen=True):
    """Which jobs to list, newest first.

    Args:
        client: name of the client whose jobs they are; None for all.
        status: only of this status.
        blueprint: only of this blueprint.
        since: created at or after this moment.
        limit: at most so many.
        offset: skip so many.
        before: (created_at, id) of the last job of the page before, or None; the next page begins behind it.
    """

    client: str | None = None
    status: JobStatus | None = None
    blueprint: str | None = None
    since: float | None = None
    limit: int = 100
    offset: int = 0
    before: tuple[float, str] | None = None


class Progress(Struct, frozen=True):
    """How far a job's work is; not part of its state and never in conflict with it.

    Args:
        value: 0 to 1.
        message: for people.
        task_id: the attempt that reported it, as ``Task.wire_id``; of a job that waits for a child, the child's id; or
            empty.
        at: when.
    """

    value: float
    message: str = ""
    task_id: str = ""
    at: float = 0.0


class Change(Struct, frozen=True):
    """What one commit made of a job, for whoever follows it.

    Args:
        position: its place in the log of changes.
        job_id: the job.
        client: name of the client whose job it is.
        blueprint: name of its blueprint.
        status: as committed.
        state: as committed.
        version: as committed; it rises by one from change to change of a job.
        at: the moment of the commit.
        ended: how many of its parallel tasks have ended.
        total: how many parallel tasks there are; 0 while it waits for none.
    """

    position: int
    job_id: str
    client: str
    blueprint: str
    status: JobStatus
    state: str
    version: int
    at: float
    ended: int = 0
    total: int = 0


class Changes(Struct, frozen=True):
    """A stretch of the log of changes.

    Args:
        entries: in order.
        floor: a reader whose last position is below this may have missed changes that are forgotten.
        end: the position of the newest change, or one above all that there were if none is left.
    """

    entries: Sequence[Change]
    floor: int
    end: int


class Queue(Struct, frozen=True):
    """Tasks of one kind that wait.

    Args:
        name: as in ``Task.queue``.
        task_type: the skill needed.
        requirements: what else the worker must have, or None.
        max_cost: highest cost of the skill, or None.
        length: how many wait.
        oldest_at: creation of the oldest, or None.
        limits: what its tasks share with others, to how many of those may be claimed at a time.
    """

    name: str
    task_type: str
    requirements: Mapping[str, object] | None = None
    max_cost: float | None = None
    length: int = 0
    oldest_at: float | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


class TakenTasks(Struct, frozen=True):
    """Tasks that a worker claimed in one step.

    Args:
        tasks: as claimed, in the order in which they were taken.
        left: how many still wait in the queues that were asked for.
        jobs: those jobs of theirs that came along, by id, as they are then.
    """

    tasks: Sequence[Task]
    left: int
    jobs: Mapping[str, Job] = field(default_factory=dict)


class Sighting(Struct, frozen=True):
    """A sign of life of a worker that changes nothing else of what is known of it.

    Args:
        worker_id: whose.
        last_at: the ``seen_at`` that the storage has, as far as the caller knows.
        seen_at: when it was seen.
    """

    worker_id: str
    last_at: float
    seen_at: float


class Signal(Struct, frozen=True):
    """Something that a waiting part of an engine wants to know at once; losing one costs time, never work.

    Args:
        kind: ``ready`` (a wake-up was queued or given back), ``task`` (a task was queued; one signal for each),
            ``slot`` (a claimed task that counts against a limit has ended), ``timer`` (timers or leases were set),
            ``job`` (a job was committed), ``progress``, ``event`` (rows wait in the outbox), ``message`` (messages wait
            in the outbox), ``missed`` (signals of other engines may have been lost: whatever one waits for has to be
            looked for), ``loss`` (the backend has lost what it had acknowledged).
        key: the queue's name for ``task``, the task's type for ``slot``, the job's id for ``job`` and ``progress``, the
            topic for ``message`` (empty for any), ``gone`` or ``rolled_back`` for ``loss``, else empty.
        at: when the earliest ``timer`` fires, a ``ready`` job or the earliest ``message`` is due; else 0.
        final: a ``job`` has ended.
        queue: for ``task``: the kind of task that was queued; its length and age may be unset.
        strategy: for ``task``: how to choose among waiting workers.
        preferred: for ``task``: the worker that did the job's last task, or empty.
        patience: for ``task``: seconds that other workers leave it to that one.
    """

    kind: str
    key: str = ""
    at: float = 0.0
    final: bool = False
    queue: Queue | None = None
    strategy: str = "default"
    preferred: str = ""
    patience: float = 0.0


Listener = Callable[[Signal], None]


class Fault(Struct, frozen=True):
    """A broken invariant, found by ``audit``.

    Args:
        invariant: its letter in ``docs/explanation/durability.md``.
        job_id: the job concerned.
        message: what is wrong.
    """

    invariant: str
    job_id: str
    message: str


class WakeUp(Struct, frozen=True):
    """What a job waits for.

    Args:
        ready_at: its wake-up is due then, or None; one whose claim has ended by itself counts again.
        claimed_by: the engine that works on it, or empty.
        claimed_until: when that claim ends by itself, or None.
        timers: moments at which it is woken, earliest first.
        tasks: its open tasks, by creation, then by index.
    """

    ready_at: float | None = None
    claimed_by: str = ""
    claimed_until: float | None = None
    timers: Sequence[Timer] = ()
    tasks: Sequence[Task] = field(default=())


class Storage(Protocol):
    """What an engine needs of a database. See the module's docstring for what holds everywhere."""

    async def open(self) -> None:
        """Connects and creates what is missing. Idempotent."""
        ...

    async def close(self) -> None:
        """Gives up connections. Idempotent. Nothing committed is lost by it, except in memory."""
        ...

    def subscribe(self, listener: Listener, *kinds: str) -> Callable[[], None]:
        """Calls ``listener`` in the event loop for signals of all engines; returns the function that ends it.

        Of these ``kinds`` only; without any, of all. Signals come after what they tell of can be read. A backend that
        may lose signals of other engines says ``missed`` once it hears them again. A listener must not block nor raise;
        one that raises is logged, and neither the step nor the other listeners suffer.
        """
        ...

    async def now(self) -> float:
        """Returns the moment on the storage's clock, the only one that deadlines are measured by."""
        ...

    # --- jobs ---

    async def commit(self, batch: Batch) -> Outcome:
        """Applies all of ``batch``, or nothing.

        Checks before it writes: the dedupe key is new (else Duplicate); the stored version is ``job.version - 1``, the
        job claim and the task claim are the ones stored, and so are the versions of records (else Stale). Of two
        commits on the same version exactly one is applied. A claim that ended is still the one stored until somebody
        takes the job over.

        Raises:
            DocumentError: something in the batch cannot be stored; nothing was written.
        """
        ...

    async def find_job(self, job_id: str) -> Job | None:
        """Returns the job as last committed."""
        ...

    async def find_job_and_task(self, job_id: str, task_id: str) -> tuple[Job | None, Task | None]:
        """Returns what ``find_job`` and ``find_task`` do; the task is never older than the job.

        A storage that is elsewhere saves a way to it.
        """
        return await self.find_job(job_id), await self.find_task(task_id)

    async def list_jobs(self, query: JobQuery) -> list[Job]:
        """Returns the jobs of ``query`` by creation, newest first; by id, descending, among those of one moment."""
        ...

    async def count_jobs(self) -> dict[JobStatus, int]:
        """Returns how many jobs there are of each status that occurs."""
        ...

    async def find_wake_up(self, job_id: str) -> WakeUp:
        """Returns what the job waits for; nothing if there is no such job."""
        ...

    async def put_progress(self, job_id: str, progress: Progress) -> None:
        """Remembers the progress until the job ends; the last one wins. Ignored if the job has ended or is unknown."""
        ...

    async def find_progress(self, job_id: str) -> Progress | None:
        """Returns the last progress, or None if there was none or the job has ended."""
        ...

    # --- the ready queue ---

    async def claim_jobs(self, owner: str, limit: int, lease: float) -> list[JobClaim]:
        """Takes up to ``limit`` due wake-ups, higher priority first, then earlier due, then earlier queued.

        Each is this owner's for ``lease`` seconds; when that ends without a commit, a release or an extension, it can
        be claimed again. No wake-up is ever claimed twice at a time.
        """
        ...

    async def extend_claims(self, tokens: Sequence[str], lease: float) -> list[str]:
        """Lets the claims end ``lease`` seconds from now.

        A claim that has ended comes back to life if nobody has taken the job over.

        Returns:
            The tokens of claims that are lost: consumed, given back, taken over, or unknown.
        """
        ...

    async def release_claims(self, tokens: Sequence[str]) -> None:
        """Gives claims back: the wake-ups are due at once, in their old places. Lost tokens are ignored."""
        ...

    # --- tasks ---

    async def claim_task(self, worker_id: str, queues: Sequence[str], lease: float) -> Task | None:
        """Takes the first task of ``queues``: higher ``Task.rank`` first, then older, then first queued.

        A task is passed over, with its whole queue, while as many tasks are claimed as one of its ``limits`` allows: a
        task counts under all names in its limits from its claim until it is closed, released or queued again. The
        counts are those of all engines, and no race makes them exceed a limit.

        The task becomes ``claimed`` by the worker for ``lease`` seconds, but not beyond its ``timeout_seconds``;
        ``deliveries`` rises by one, and an event ``task_started`` joins the job's history. The job's version stays. No
        task is ever claimed twice at a time; one whose lease ends stays claimed until a commit says otherwise.
        """
        ...

    async def claim_tasks(
        self, worker_id: str, queues: Sequence[str], lease: float, limit: int, job_limit: int = 0
    ) -> TakenTasks:
        """Takes tasks, each as ``claim_task`` would take it after the one before, in one step.

        Args:
            worker_id: who takes them.
            queues: names of queues.
            lease: seconds.
            limit: how many at most.
            job_limit: jobs whose data have no more bytes than this come along where that is no other way to the
                storage; none with 0.
        """
        ...

    async def claim_task_and_job(
        self,
        worker_id: str,
        queues: Sequence[str],
        lease: float,
        limit: int,  # noqa: ARG002 - for those to whom it is a way
    ) -> tuple[Task, Job | None] | None:
        """Does what ``claim_task`` does, and returns the task's job as it is then.

        Args:
            worker_id: who takes it.
            queues: names of queues.
            lease: seconds.
            limit: a job whose data have more bytes need not come along.

        Returns:
            The task, and its job or None where that would be another way to the storage; None if there is no task.
        """
        task = await self.claim_task(worker_id, queues, lease)
        return None if task is None else (task, None)

    async def renew_tasks(self, claims: Sequence[TaskClaim], lease: float) -> list[TaskClaim]:
        """Lets claims end ``lease`` seconds from now and marks them confirmed: their workers run these tasks.

        A claim never lasts beyond ``claimed_at + timeout_seconds``. A task that is queued again after its lease ended,
        at the same attempt, and that nobody has taken over, is claimed again by the same worker while that moment has
        not come; ``claimed_at`` and ``deliveries`` stay.

        Returns:
            The claims that do not hold: the task is closed, unknown, at another attempt, or another worker's.
        """
        ...

    async def list_claims(self, worker_id: str) -> list[TaskClaim]:
        """Returns the claims that the worker holds, by task id, also those whose lease has ended."""
        ...

    async def release_task(self, claim: TaskClaim) -> None:
        """Puts a task back that was never delivered, to its old place, as if it had not been claimed.

        Ignored if the task is not claimed as ``claim`` says.
        """
        ...

    async def find_task(self, task_id: str) -> Task | None:
        """Returns the task as stored, open or ended."""
        ...

    async def list_tasks(self, job_id: str, fan_out: str | None = None) -> list[Task]:
        """Returns the tasks of a job (of one fan-out, if ``fan_out`` is its id), by creation, then by index."""
        ...

    async def list_queues(self) -> list[Queue]:
        """Returns the queues in which tasks wait, by name."""
        ...

    # --- time ---

    async def claim_timers(self, limit: int, lease: float) -> list[Timer]:
        """Takes up to ``limit`` timers that are due, earliest first.

        A timer taken stays, and is due again ``lease`` seconds later, until a commit clears it or the job ends.
        """
        ...

    async def expired_tasks(self, limit: int) -> list[Task]:
        """Returns up to ``limit`` claimed tasks whose lease has ended, earliest first, until a commit changes them."""
        ...

    async def next_wake_at(self) -> float | None:
        """Returns the earliest moment at which a timer, a lease or a delayed wake-up is due, or None.

        Timers and tasks' leases whose moment has passed count until they are dealt with; wake-ups that can be claimed
        now do not count. So ask first, then claim: what falls due in between is not missed.
        """
        ...

    # --- the outbox: history ---

    async def read_events(self, limit: int) -> list[HistoryStep]:
        """Returns the history of up to ``limit`` steps that nobody has acknowledged, oldest first; it stays."""
        ...

    async def ack_events(self, step_ids: Sequence[str]) -> None:
        """Forgets the rows of these steps: they are safely elsewhere. Unknown ids are ignored."""
        ...

    # --- the outbox: messages ---

    async def claim_messages(self, topics: Sequence[str], limit: int, lease: float) -> list[Message]:
        """Takes up to ``limit`` due messages of these topics, earliest due first, then first written.

        Each is due again ``lease`` seconds from now, unless it is acknowledged, postponed or buried before that;
        ``attempts`` rises by one. No message is claimed twice at a time, but who is late finds it carried twice.
        """
        ...

    async def ack_messages(self, message_ids: Sequence[str]) -> None:
        """Forgets messages: their receivers have them. Also dead letters; unknown ids are ignored."""
        ...

    async def postpone_message(self, message_id: str, at: float, error: str) -> None:
        """Lets a message be due ``at`` a moment, whoever has claimed it, and remembers the ``error``.

        Ignored if it is unknown or a dead letter.
        """
        ...

    async def bury_message(self, message_id: str, error: str) -> None:
        """Makes a message a dead letter, which nobody claims, and remembers the ``error``.

        Ignored if it is unknown or a dead letter already.
        """
        ...

    async def list_dead_messages(
        self, topic: str | None = None, limit: int = 100, before: tuple[float, str] | None = None
    ) -> list[Message]:
        """Returns dead letters, last buried first; by id, descending, among those of one moment.

        Args:
            topic: only of this one; None for all.
            limit: at most so many.
            before: (buried_at, id) of the last one of the page before, or None; the next page begins behind it.
        """
        ...

    async def replay_messages(self, message_ids: Sequence[str]) -> list[str]:
        """Makes dead letters due at once, with no attempts counted.

        Returns:
            The ids of those that were dead letters; others are left as they are.
        """
        ...

    async def next_message_at(self, topics: Sequence[str]) -> float | None:
        """Returns the earliest moment at which a message of these topics is due, or None.

        A moment that has passed counts until the message is claimed; a claimed one counts by the end of its claim.
        """

    # --- the log of changes ---

    async def read_changes(self, after: int | None, limit: int) -> Changes:
        """Returns up to ``limit`` changes behind position ``after``, oldest first; of None, only where the log ends.

        Each commit that is applied appends one. Positions rise strictly over all engines, and a change can be read
        before any later one can.
        """
        ...

    async def trim_changes(self, age: float, keep: int) -> None:
        """Forgets changes that are older than ``age`` seconds, and all but the newest ``keep`` (at least 1)."""
        ...

    # --- records and counters ---

    async def find_record(self, space: str, key: str) -> Record | None:
        """Returns the record under ``key`` in ``space`` if its time has not run out."""
        ...

    async def put_record(self, write: RecordWrite) -> bool:
        """Writes a record if the version stored is the one expected; of writes that race, exactly one then succeeds.

        Args:
            write: space, key and value, with the version that is expected, if any, and seconds to live.

        Returns:
            Whether it was written.

        Raises:
            DocumentError: the space or the key is no text.
        """
        ...

    async def list_records(self, space: str, after: str = "", limit: int = 100) -> list[Record]:
        """Returns up to ``limit`` records of a space, by key, those behind the key ``after``."""
        ...

    async def count(self, key: str, limit: int, ttl: float, amount: int = 1) -> Count:
        """Counts ``amount`` under a key, unless that would make more than ``limit``; then nothing is counted.

        The first count opens a window of ``ttl`` seconds; whatever is counted until it ends is added up. A negative
        amount gives back, never below 0, and is always granted; 0 only looks. Neither opens a window.

        Raises:
            DocumentError: the key is no text.
        """
        ...

    # --- workers ---

    async def put_worker(self, worker: WorkerProfile, ttl: float) -> None:
        """Remembers the worker for ``ttl`` seconds from now, in place of what was known of it."""
        ...

    async def refresh_workers(self, sightings: Sequence[Sighting], ttl: float) -> list[str]:
        """Remembers workers for ``ttl`` seconds from now as they are, but for their ``seen_at``.

        Only those that the storage has as seen at ``last_at``, or at ``seen_at`` already: so a call that is repeated
        does the same, and whoever has not heard what others wrote of a worker finds out.

        Args:
            sightings: one for each worker.
            ttl: seconds.

        Returns:
            The ids of the others, in the order given: forgotten, or written by somebody else since. Nothing was
            changed of what is known of these.
        """
        ...

    async def find_worker(self, worker_id: str) -> WorkerProfile | None:
        """Returns the worker if its time has not run out."""
        ...

    async def list_workers(self) -> list[WorkerProfile]:
        """Returns the workers whose time has not run out, by id."""
        ...

    async def remove_worker(self, worker_id: str) -> None:
        """Forgets the worker. Its tasks stay claimed until their leases end."""
        ...

    # --- retention ---

    async def purge_jobs(self, ended_before: float, limit: int) -> list[str]:
        """Forgets up to ``limit`` jobs that ended before ``ended_before``, earliest first, with their tasks.

        A job whose history or messages wait in the outbox is kept until they are acknowledged. Dead letters go with
        their job, but not before they, too, are older than that moment. Dedupe keys live on for their own time. A
        forgotten job's id may be created again.

        Returns:
            The ids of the jobs that are gone.
        """
        ...

    # --- proof ---

    async def audit(self) -> list[Fault]:
        """Checks the invariants over all jobs; an empty list is a healthy storage."""
        ...
