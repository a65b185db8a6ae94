"""Pasts: the moments in which a job entered a state, read back from its history, and jobs that start there again."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from avtomatika.core.document import EMPTY, Document
from avtomatika.core.events import Event, JobSubmitted, Rewound
from avtomatika.core.job import Client, FanOut, Job, Task
from avtomatika.core.states import JobStatus
from avtomatika.errors import JobStateError, PastStateError
from avtomatika.history.base import History
from avtomatika.runtime.depot import Depot
from avtomatika.runtime.historian import Historian
from avtomatika.runtime.performer import Performer
from avtomatika.runtime.registry import Registry
from avtomatika.storage.base import Dedupe, Duplicate, Storage


class Past(Struct, frozen=True):
    """A moment in which a job entered a state.

    Args:
        state: the state.
        sequence: number of the row of history that tells of it.
        state_history: the job's data at that moment.
        tasks: the ended tasks that the handler of that state joins, if it is an aggregator.
        fan_out: their fan-out, or empty.
    """

    state: str
    sequence: int
    state_history: Document
    tasks: tuple[Task, ...] = ()
    fan_out: str = ""

    def joined(self, fan_out: str) -> FanOut | None:
        """Returns what the handler of the state joins, under this id; None if it joins nothing."""
        return FanOut(fan_out, self.state, len(self.tasks), 0) if self.fan_out else None


class Pasts:
    """Lets jobs start again from their past.

    Args:
        storage: where jobs are.
        performer: writes what follows.
        registry: the loaded blueprints.
        historian: brings the newest rows into the history first.
        history: where the past is kept.
        depot: has the large documents of jobs; None where they stay with their jobs.
    """

    def __init__(
        self,
        storage: Storage,
        performer: Performer,
        registry: Registry,
        historian: Historian,
        history: History,
        depot: Depot | None = None,
    ) -> None:
        self._depot = depot or Depot(storage)
        self._storage = storage
        self._performer = performer
        self._registry = registry
        self._historian = historian
        self._history = history

    async def rewind(self, job: Job, state: str = "", sequence: int | None = None, by: str = "") -> Job:
        """Lets a job start again, whatever it does now or however it ended; its own tasks and children are called off.

        Args:
            job: the job.
            state: the last time that it entered this state is meant.
            sequence: or this very row of its history.
            by: name of the client, for the history.

        Raises:
            PastStateError: there is no such moment, or it is not kept any more.
            JobStateError: the blueprint has changed and lacks the state.
        """
        past = await self._find(job, state, sequence)
        event = Rewound(past.state, past.state_history, past.joined(past.fan_out), past.sequence, by)

        async def find_event(_job: Job, _task: Task | None) -> tuple[Event, Task | None]:
            return event, None

        decision = await self._performer.happen(job.id, find_event)
        if decision.ignored:
            raise JobStateError(f"job '{job.id}' cannot start again in '{past.state}': its blueprint lacks that state.")
        return decision.job

    async def fork(
        self,
        job: Job,
        state: str = "",
        sequence: int | None = None,
        *,
        client: Client,
        initial_data: Mapping[str, Any] | None = None,
        state_history: Mapping[str, Any] | None = None,
        dedupe: Dedupe | None = None,
    ) -> tuple[str, Duplicate | None]:
        """Creates a job that begins where another one once was; that one is left alone.

        Args:
            job: the other one.
            state: the last time that it entered this state is meant.
            sequence: or this very row of its history.
            client: who creates the new job.
            initial_data: members to lay over the other one's initial data.
            state_history: members to lay over the data of that moment.
            dedupe: makes the creation happen once.

        Returns:
            The id of the new job, and the earlier creation if the dedupe key is known.

        Raises:
            PastStateError: there is no such moment, or it is not kept any more.
            BlueprintError: the blueprint is not registered any more.
            JobStateError: the blueprint has changed and lacks the state.
            DocumentError: the data hold something that cannot be stored.
            ContractError: the initial data do not fit the blueprint's schema.
            PayloadLostError: large data of the other job are lost.
        """
        past = await self._find(job, state, sequence)
        pinned = self._registry.find_version(job.blueprint, job.blueprint_version)
        blueprint = pinned or self._registry.get(job.blueprint)
        if past.state not in blueprint.graph:
            raise JobStateError(f"blueprint '{blueprint.name}' has changed and lacks the state '{past.state}'.")
        job = await self._depot.fetch_job(job)
        data = Document.of({**job.initial_data.value(), **(initial_data or {})}, "initial_data")
        if initial_data:
            blueprint.check_input(data.value())
        now, job_id = await self._storage.now(), str(uuid.uuid4())
        fan_out = f"{job_id}-1"
        sibling = Job(
            id=job_id,
            blueprint=blueprint.name,
            blueprint_version=blueprint.graph.version,
            status=JobStatus.PENDING,
            state=past.state,
            created_at=now,
            updated_at=now,
            initial_data=data,
            state_history=past.state_history.merged(state_history or {}, "state_history"),
            client=client,
            fan_out=past.joined(fan_out),
            source="fork",
            forked_from=job.id,
            webhook_url=job.webhook_url,
            dispatch_timeout=job.dispatch_timeout,
            tracing_context=job.tracing_context,
        )
        tasks = tuple(
            replace(task, id=f"{fan_out}-{index}", job_id=job_id, fan_out=fan_out)
            for index, task in enumerate(await self._depot.fetch_tasks(past.tasks))
        )
        details = {"forked_from": job.id, "sequence": past.sequence}
        outcome = await self._performer.submit(sibling, dedupe, event=JobSubmitted(past.state, tasks, details))
        if isinstance(outcome, Duplicate):
            return outcome.job_id, outcome
        return job_id, None

    async def _find(self, job: Job, state: str, sequence: int | None) -> Past:
        await self._historian.flush()
        rows = await self._history.job_events(job.id)
        entries = [row for row in rows if row["event_type"] == "state_started"]
        meant = [row for row in entries if row["sequence"] == sequence or (sequence is None and row["state"] == state)]
        if not meant:
            raise PastStateError(job.id, state, sequence, [(row["sequence"], row["state"]) for row in entries])
        entry = meant[-1]
        data = _data_at(rows, entry["sequence"])
        if data is None:
            raise PastStateError(job.id, state, sequence, [])
        fan_out = str(entry["context_snapshot"].get("fan_out", ""))
        tasks = await self._storage.list_tasks(job.id, fan_out) if fan_out else []
        return Past(entry["state"], entry["sequence"], data, tuple(tasks), fan_out)


def _data_at(rows: Sequence[Mapping[str, Any]], sequence: int) -> Document | None:
    """Returns the job's data at a moment: as the last row up to then that changed them has them.

    Returns:
        None if the rows before that moment are not kept any more.
    """
    for row in reversed([row for row in rows if row["sequence"] <= sequence]):
        if "state_history" in row["context_snapshot"]:
            return Document.of(row["context_snapshot"]["state_history"], "state_history")
    return EMPTY if rows and rows[0]["sequence"] == 1 else None
