"""The trace of a job: from the request that made it, through states, handlers and tasks, to the workers and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from avtomatika.core.effects import Decision, RecordHistory
from avtomatika.core.job import Job, Task
from avtomatika.core.states import JobStatus
from avtomatika.observability.base import Tracer
from avtomatika.observability.spans import Carrier, Spans

_SERVER_FAULT = 500
_GOOD = frozenset({JobStatus.FINISHED, JobStatus.CANCELLED})


class SpanTracer(Tracer):
    """Makes spans.

    The span of a job is a child of what created it; below it are its states, below each state its handlers and tasks,
    and below a task what its worker does.

    Args:
        spans: where they go.
    """

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    @contextmanager
    def request(self, name: str, path: str, carrier: Carrier) -> Iterator[Callable[[int], None]]:
        """Opens the span of a request; yields what takes the status of its answer."""
        attributes = {
            "http.request.method": name.partition(" ")[0],
            "http.route": name.partition(" ")[2],
            "url.path": path,
        }
        with self._spans.open(name, "server", carrier, attributes) as span:

            def answered(status: int) -> None:
                span.set_attribute("http.response.status_code", status)
                if status >= _SERVER_FAULT:
                    self._spans.fail(span, f"HTTP {status}")

            yield answered

    def new_job(self, blueprint: str, given: Carrier) -> dict[str, str]:
        """Returns the current context, else the given one, else that of a new trace."""
        current = self._spans.current()
        if current or given:
            return current or dict(given)
        with self._spans.open(f"create {blueprint}", "producer"):
            return self._spans.current()

    @contextmanager
    def handler(self, job: Job) -> Iterator[None]:
        """Opens the span of a handler, below its state."""
        if not job.tracing_context:
            yield
            return
        attributes = {**_facts(job), "avtomatika.attempt": job.attempt}
        with self._spans.open(f"handler {job.state}", parent=self._state(job), attributes=attributes):
            yield

    def for_worker(self, task: Task) -> Carrier:
        """Returns the context of the task's span."""
        return self._spans.derived(task.tracing_context, _task_key(task.id, task.attempt))

    def committed(self, old: Job, decision: Decision) -> None:
        """Writes the spans of what has ended by a step."""
        job = decision.job
        if not job.tracing_context:
            return
        leaves = False
        for effect in decision.effects:
            if not isinstance(effect, RecordHistory):
                continue
            if effect.type in {"task_finished", "task_failed"}:
                self._write_task(old, effect, job.updated_at)
            leaves = leaves or effect.type == "state_finished"
        if (leaves or job.is_terminal) and old.version > 0:
            self._write_state(old, job)
        if job.is_terminal:
            self._write_job(job)

    async def close(self) -> None:
        """Sends what is left."""
        await self._spans.close()

    def _job(self, job: Job) -> Carrier:
        return self._spans.derived(job.tracing_context, _job_key(job))

    def _state(self, job: Job) -> Carrier:
        return self._spans.derived(job.tracing_context, _state_key(job))

    def _write_job(self, job: Job) -> None:
        self._spans.write(
            f"job {job.blueprint}",
            key=_job_key(job),
            parent=job.tracing_context,
            began_at=job.created_at,
            ended_at=job.updated_at,
            attributes={**_facts(job), "avtomatika.status": str(job.status)},
            error=_error(job),
        )

    def _write_state(self, old: Job, job: Job) -> None:
        self._spans.write(
            f"state {old.state}",
            key=_state_key(old),
            parent=self._job(old),
            began_at=old.entered_at,
            ended_at=job.updated_at,
            attributes={**_facts(old), "avtomatika.status": str(job.status)},
            error=_error(job),
        )

    def _write_task(self, job: Job, row: RecordHistory, ended_at: float) -> None:
        code = str(row.details.get("code", ""))
        self._spans.write(
            f"task {row.details.get('task_type', '')}",
            key=_task_key(row.task_id, row.attempt or 1),
            parent=self._state(job),
            began_at=ended_at - (row.duration or 0.0),
            ended_at=ended_at,
            kind="producer",
            attributes={
                **_facts(job),
                "avtomatika.task_id": row.task_id,
                "avtomatika.worker_id": row.worker_id,
                "avtomatika.attempt": row.attempt or 1,
                "avtomatika.result_status": str(row.details.get("status", "failure")),
            },
            error=f"{code}: {row.details.get('message', '')}" if code else "",
        )


def _facts(job: Job) -> Mapping[str, Any]:
    return {
        "avtomatika.job_id": job.id,
        "avtomatika.blueprint": job.blueprint,
        "avtomatika.state": job.state,
    }


def _error(job: Job) -> str:
    if not job.is_terminal or job.status in _GOOD:
        return ""
    return f"{job.failure.code}: {job.failure.message}" if job.failure else str(job.status)


def _job_key(job: Job) -> str:
    return f"job:{job.id}"


def _state_key(job: Job) -> str:
    # A job may enter a state many times; the number of its transitions tells the visits apart.
    return f"state:{job.id}:{job.transitions}"


def _task_key(task_id: str, attempt: int) -> str:
    return f"task:{task_id}:{attempt}"
