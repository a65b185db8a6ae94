"""A step: how a job enters a state, waits, fails or ends, whatever the reason."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from avtomatika.blueprints.graph import Graph, State
from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.core.document import Document, LostDocument
from avtomatika.core.effects import (
    CancelOpenTasks,
    Decision,
    Effect,
    FinishJob,
    RecordHistory,
    RunHandler,
    SendMessage,
)
from avtomatika.core.events import FileMove
from avtomatika.core.job import HOLON, Failure, FanOut, Job
from avtomatika.core.retry import DEFAULT_RETRIES
from avtomatika.core.states import JobStatus
from avtomatika.core.waits import ChildWait
from avtomatika.protocol.files import MAX_FILES, FileFacts

_ENDING_EVENTS = {
    JobStatus.FINISHED: "job_completed",
    JobStatus.FAILED: "job_failed",
    JobStatus.QUARANTINED: "job_quarantined",
    JobStatus.CANCELLED: "job_cancelled",
    JobStatus.ERROR: "job_failed",
}


CHILD_TOPIC, PARENT_TOPIC, HOLON_TOPIC = "child", "parent", "holon"
"""Topics of messages: what a job wants of its child, and how a child has ended."""
FILES_TOPIC = "files"
"""Topic of messages that say which files of an ended job are to be removed."""
# So many files are named in the history of one step; of more, only number and bytes are told.
_FILES_TOLD = 100


class Limits(Struct, frozen=True):
    """The numbers that an engine decides by.

    Args:
        retry: for tasks and handlers, where their own policies say nothing.
        max_transitions: changes of state after which a job is taken to be in a loop.
        task_timeout: seconds from a task's start to its result, where its dispatch does not say.
        max_depth: how many jobs may stand above one that starts another.
        max_deliveries: how often one attempt is handed out to workers that never confirm it, before it counts as lost.
        concurrency: type of task to how many of them may be claimed at a time, by all workers together.
        ageing: seconds of waiting that weigh as much as one unit of priority; 0 for priority alone, then age.
        max_data: bytes that the initial data, the state_history and the params of a task may each have.
        clean_files: the files of a job are removed when it has ended.
        retention: seconds that an ended job is kept, and with it what it names; 0 for ever.
    """

    retry: RetryPolicy = DEFAULT_RETRIES
    max_transitions: int = 1000
    task_timeout: float = 300.0
    max_deliveries: int = 5
    max_depth: int = 32
    concurrency: Mapping[str, int] = field(default_factory=dict)
    ageing: float = 0.0
    max_data: int = 16 * 1024**2
    clean_files: bool = False
    retention: float = 0.0


DEFAULT_LIMITS = Limits()


class Step:
    """One decision in the making: collects the changes of the job and the effects, in order.

    Args:
        job: as stored.
        graph: the job's blueprint.
        now: the moment, Unix seconds.
        limits: the numbers to decide by.
    """

    def __init__(self, job: Job, graph: Graph, now: float, limits: Limits) -> None:
        self.job = job
        self.graph = graph
        self.now = now
        self.limits = limits
        self._changes: dict[str, Any] = {}
        self._effects: list[Effect] = []
        self._unrecorded = False

    @property
    def state(self) -> State:
        """The node that the job stands in."""
        return self.graph.state(self.job.state)

    @property
    def is_due(self) -> bool:
        """Whether the job waits for nothing but its handler to be called, and may be having it called already."""
        job = self.job
        return job.status in {JobStatus.PENDING, JobStatus.AWAITING_RETRY} and not job.task_id and job.wait is None

    @property
    def status(self) -> JobStatus:
        """The status that the job will have."""
        status: JobStatus = self._changes.get("status", self.job.status)
        return status

    @property
    def state_history(self) -> Document:
        """The data that the job will have."""
        document: Document = self._changes.get("state_history", self.job.state_history)
        return document

    @property
    def file_facts(self) -> Mapping[str, FileFacts]:
        """The files that the job will know of."""
        facts: Mapping[str, FileFacts] = self._changes.get("file_facts", self.job.file_facts)
        return facts

    def retries(self, own: RetryPolicy | None = None) -> RetryPolicy:
        """Returns the policy that holds for a task with this one of its own, or for the handlers."""
        policies = [policy for policy in (own, self.graph.retry) if policy is not None]
        return functools.reduce(RetryPolicy.over, (*policies, self.limits.retry))

    def change(self, **fields: Any) -> None:
        """Sets fields of the job."""
        self._changes.update(fields)
        self._unrecorded |= "state_history" in fields

    def add(self, *effects: Effect) -> None:
        """Adds effects."""
        self._effects.extend(effects)

    def record(self, type_: str, **facts: Any) -> None:
        """Adds a row of history in the job's present state, with its data if they changed since the last row."""
        if self._unrecorded:
            facts["state_history"] = self.state_history
            self._unrecorded = False
        self.add(RecordHistory(type_, self.job.state, **facts))

    def record_files(self, moved: Sequence[FileMove], attempt: int | None = None, by: str = "") -> None:
        """Writes down which files were moved: one row, however many they were.

        Args:
            moved: the files.
            attempt: at which attempt at the state's handler; None if it was not the handler.
            by: name of the client that sent them, or empty.
        """
        if not moved:
            return
        files = [
            {
                "way": move.way,
                "name": move.name,
                "uri": move.facts.uri,
                "size": move.facts.size,
                "etag": move.facts.etag,
            }
            for move in moved
        ]
        total = sum(move.facts.size for move in moved)
        details = {"count": len(files), "bytes": total, "files": files[:_FILES_TOLD]} | ({"by": by} if by else {})
        self.record("files_moved", attempt=attempt, details=details)

    def decision(self) -> Decision:
        """Returns the new job, one version on, with the effects."""
        job = self.job
        changes = {name: value for name, value in self._changes.items() if value is not getattr(job, name)}
        changes["version"] = job.version + 1
        changes["updated_at"] = self.now
        return Decision(replace(job, **changes), tuple(self._effects), frozenset(changes))

    # --- how a job goes on ---

    def enter(self, state: str, fan_out: FanOut | None = None) -> None:
        """Leaves the present state for another, whose handler is to run.

        Args:
            state: name of the next state; an unknown one quarantines the job.
            fan_out: what the next handler joins.
        """
        # A job whose version is not loaded is decided on by another version's graph: its state may exist elsewhere, and
        # the runner pauses the job until it does.
        if state not in self.graph and self.graph.version == self.job.blueprint_version:
            self.quarantine(self.unknown_state(state))
            return
        job = self.job
        made = job.transitions - job.loop_start
        if made >= self.limits.max_transitions:
            self.fail(
                Failure(
                    "LOOP_LIMIT_ERROR",
                    f"the job made {made} transitions and would go on from '{job.state}' to '{state}'; it seems to be "
                    "in a loop. Check the condition that should end it, or raise MAX_TRANSITIONS_PER_JOB.",
                    job.state,
                )
            )
            return
        self.record("state_finished", next_state=state, duration=self.now - job.entered_at)
        self.change(
            status=JobStatus.RUNNING,
            state=state,
            attempt=1,
            transitions=job.transitions + 1,
            entered_at=self.now,
            task_id="",
            fan_out=fan_out,
            wait=None,
        )
        self.add(self.entrance(state, job.state, fan_out), RunHandler(state, self.now))

    def entrance(self, state: str, previous: str = "", fan_out: FanOut | None = None, **facts: Any) -> RecordHistory:
        """Returns the row that tells of a state's beginning, with what a later rewind needs to find."""
        details = {"fan_out": fan_out.id} if fan_out is not None else {}
        return RecordHistory("state_started", state, previous_state=previous, details=details, **facts)

    def unknown_state(self, state: str) -> Failure:
        """Returns the failure of a transition to nowhere."""
        return Failure(
            "TRANSITION_ERROR",
            f"'{self.job.state}' leads to '{state}', which blueprint '{self.graph.name}' lacks; "
            f"{self.graph.known_states(state)}",
            self.job.state,
        )

    def fault(self, what: str) -> Failure:
        """Returns the failure of a handler that asked for something impossible."""
        return Failure(
            "HANDLER_ERROR", f"handler of state '{self.job.state}' {what}", self.job.state, attempt=self.job.attempt
        )

    def is_aggregator(self, state: str) -> bool:
        """Returns whether there is such a state and it joins parallel tasks."""
        return state in self.graph and self.graph.state(state).is_aggregator

    def missing_target(self, transitions: Mapping[str, str]) -> Failure | None:
        """Returns the failure of transitions that lead nowhere: better now than when one of them is taken."""
        for state in transitions.values():
            if state not in self.graph:
                return self.unknown_state(state)
        return None

    # --- how a job ends ---

    def finish(self, status: JobStatus, result: Document) -> None:
        """Ends the job in an end state."""
        self.record("state_finished", duration=self.now - self.job.entered_at)
        self.change(result=result, has_result=True)
        self._end(status, {})

    def fail(self, failure: Failure) -> None:
        """Ends the job as failed."""
        self._end_with(JobStatus.FAILED, failure)

    def quarantine(self, failure: Failure) -> None:
        """Ends the job as quarantined: somebody must look at it before it runs again."""
        self._end_with(JobStatus.QUARANTINED, failure)

    def give_up(self, failure: Failure) -> None:
        """Ends the job as broken by the engine itself."""
        self._end_with(JobStatus.ERROR, failure)

    def cancel(self, by: str = "") -> None:
        """Ends the job as cancelled."""
        self._end(JobStatus.CANCELLED, {"by": by} if by else {})

    def learn(self, facts: Collection[FileFacts]) -> None:
        """Remembers what is known of files, for tasks whose params name them; the last ones, if they are many."""
        if not facts:
            return
        known = {**self.file_facts, **{one.uri: one for one in facts}}
        if known != self.file_facts:
            self.change(file_facts=dict(list(known.items())[-MAX_FILES:]))

    def remember(self, failure: Failure) -> None:
        """Writes a failure where the API and the handler of a failure state find it."""
        if isinstance(self.state_history, LostDocument):
            # Its place is kept: once the document is back, the job can be requeued with all its data.
            self.change(failure=failure)
            return
        history = self.state_history.merged({"last_error": failure.as_dict()}, "state_history")
        self.change(failure=failure, state_history=history)

    def _end_with(self, status: JobStatus, failure: Failure) -> None:
        self.remember(failure)
        self._end(status, {"code": failure.code, "message": failure.message})

    def _end(self, status: JobStatus, details: dict[str, Any]) -> None:
        self.record(_ENDING_EVENTS[status], details=details, duration=self.now - self.job.created_at)
        fan_out = self.job.fan_out
        # An aggregator that failed still needs the results that it joins, should somebody let the job go on.
        is_joined = fan_out is not None and fan_out.open == 0
        self.dismiss()
        self.change(status=status, task_id="", fan_out=fan_out if is_joined else None, wait=None)
        self.add(CancelOpenTasks(), FinishJob())
        if self.job.parent_job_id:
            self.add(self._report(status, PARENT_TOPIC, self.job.parent_job_id))
        if self.job.source == HOLON:
            self.add(self._report(status, HOLON_TOPIC, self.job.id))
        if self.job.webhook_url:
            self.add(self._webhook(status))
        if self.limits.clean_files and (self.graph.uses_files or self.file_facts):
            self._clean_files(status)

    def _clean_files(self, status: JobStatus) -> None:
        """Lets the files of the job go: what nobody can need any more at once, the rest when the job is forgotten."""
        # A later end, after a requeue, sends messages of its own; these are void then.
        version = self.job.version + 1
        # One that failed may be let go on, and then needs what it had.
        if status in {JobStatus.FINISHED, JobStatus.CANCELLED}:
            self.add(SendMessage(FILES_TOPIC, Document.of({"version": version, "keep": "named"})))
        if self.limits.retention:
            at = self.now + self.limits.retention
            self.add(SendMessage(FILES_TOPIC, Document.of({"version": version, "keep": "none"}), at=at))

    def dismiss(self) -> None:
        """Ends the child that the job waits for, if it does."""
        wait = self._changes.get("wait", self.job.wait)
        if isinstance(wait, ChildWait):
            order = Document.of({"do": "cancel", "child": wait.child_id})
            self.add(SendMessage(CHILD_TOPIC, order, key=wait.child_id))

    def _report(self, status: JobStatus, topic: str, key: str) -> SendMessage:
        """Returns how this child has ended, for the job that waits for it, here or at a parent engine."""
        result, failure = self._changes.get("result"), self._changes.get("failure")
        report = {
            "child": self.job.id,
            "status": str(status),
            "result": result.value() if result is not None else None,
            "failure": {"code": failure.code, "message": failure.message} if failure is not None else None,
        }
        return SendMessage(topic, Document.of(report), key=key)

    def _webhook(self, status: JobStatus) -> SendMessage:
        """Returns what tells the outcome to whoever asked for it."""
        failure: Failure | None = self._changes.get("failure", self.job.failure)
        has_failed = failure is not None and status not in {JobStatus.FINISHED, JobStatus.CANCELLED}
        has_result = self._changes.get("has_result", self.job.has_result)
        payload = {
            "event": f"job_{JobStatus.FAILED if status is JobStatus.ERROR else status}",
            "job_id": self.job.id,
            "status": str(status),
            "result": self._changes.get("result", self.job.result).value() if has_result else None,
            "error": f"{failure.code}: {failure.message}" if failure and has_failed else None,
        }
        body = Document.of({"url": self.job.webhook_url, "payload": payload}, "webhook")
        return SendMessage("webhook", body, key=self.job.webhook_url[:200])
