"""Views: records as the JSON that the contract promises. Never a token, never another client's data."""

from __future__ import annotations

from typing import Any

from avtomatika.blueprints import CompiledBlueprint
from avtomatika.core.document import Document, LostDocument
from avtomatika.core.job import Failure, Job, Task
from avtomatika.core.states import JobStatus
from avtomatika.core.waits import ApprovalWait, ChildWait, SleepWait
from avtomatika.protocol.files import is_same_store, write_files
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage.base import Change, Progress


def job_view(
    job: Job, task: Task | None = None, progress: Progress | None = None, approval_url: str | None = None
) -> dict[str, Any]:
    """Returns a job as clients see it.

    Args:
        job: the job.
        task: the task that it waits for, if any.
        progress: the last progress that a worker reported, if any.
        approval_url: where a person decides, if it waits for one.
    """
    value, message = _progress(job, task, progress)
    view: dict[str, Any] = {
        "id": job.id,
        "blueprint_name": job.blueprint,
        "blueprint_version": job.blueprint_version,
        "status": job.status,
        "current_state": job.state,
        "initial_data": _shown(job.initial_data),
        "state_history": _shown(job.state_history),
        "result": _shown(job.result) if job.has_result else None,
        "progress": value,
        "progress_message": message,
        "error_message": error_message(job.failure) if job.failure and _shows_failure(job) else None,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "current_task_id": job.task_id or None,
        "task_worker_id": task.worker_id or None if task else None,
        "parent_job_id": job.parent_job_id or None,
        "source": job.source,
        "forked_from": job.forked_from or None,
        "client": job.client.name,
        "attempt": task.attempt if task else job.attempt,
        "version": job.version,
        "file_facts": write_files(job.file_facts),
    }
    if isinstance(job.wait, SleepWait):
        view["sleep"] = {"until": job.wait.until, "then": job.wait.state}
    if isinstance(job.wait, ChildWait):
        view["sub_job"] = {"job_id": job.wait.child_id, "blueprint_name": job.wait.blueprint}
    if isinstance(job.wait, ApprovalWait):
        view["approval"] = {
            "message": job.wait.message,
            "decisions": list(job.wait.decisions),
            "url": approval_url,
            "expires_at": job.wait.expires_at,
            "asked_at": job.wait.asked_at,
            "integration": job.wait.integration,
        }
    if job.fan_out is not None:
        fan_out = job.fan_out
        view["parallel"] = {
            "aggregate_into": fan_out.aggregate_into,
            "total": fan_out.total,
            "ended": fan_out.total - fan_out.open,
            "failed": fan_out.failed,
            "policy": fan_out.policy,
        }
    return view


def change_view(change: Change) -> dict[str, Any]:
    """Returns a change of a job as clients see it: members are called as in ``job_view``, but for the job's id."""
    value, message = 0.0, None
    if change.status is JobStatus.FINISHED:
        value = 1.0
    elif change.total:
        value, message = _parallel_progress(change.ended, change.total)
    return {
        "job_id": change.job_id,
        "blueprint_name": change.blueprint,
        "status": change.status,
        "current_state": change.state,
        "progress": value,
        "progress_message": message,
        "updated_at": change.at,
        "version": change.version,
    }


def task_view(task: Task) -> dict[str, Any]:
    """Returns a task as clients see it."""
    failure = task.failure
    return {
        "task_id": task.id,
        "task_type": task.type,
        "index": task.index,
        "status": task.status,
        "attempt": task.attempt,
        "worker_id": task.worker_id or None,
        "params": _shown(task.params),
        "params_metadata": write_files(task.params_metadata),
        "result_status": task.result_status or None,
        "data": _shown(task.data),
        "data_metadata": write_files(task.data_metadata),
        "error": {"code": failure.code, "message": failure.message} if failure else None,
        "created_at": task.created_at,
        "claimed_at": task.claimed_at,
        "ended_at": task.ended_at,
        "deadline_at": task.deadline_at,
    }


def error_message(failure: Failure) -> str:
    """Returns what failed, its code, message and attempt, as one sentence."""
    what = f"task '{failure.task_type}' ({failure.task_id})" if failure.task_type else "the handler"
    by = f" at worker {failure.worker_id}" if failure.worker_id else ""
    return (
        f"{failure.code}: {what} in state '{failure.state}' failed at attempt {failure.attempt}{by}: {failure.message}"
    )


def blueprint_view(blueprint: CompiledBlueprint, prefix: str) -> dict[str, Any]:
    """Returns a blueprint as clients see it.

    Args:
        blueprint: the latest version.
        prefix: first path segment of the client API.
    """
    graph = blueprint.graph
    version = blueprint.api_version or "v1"
    return {
        "name": blueprint.name,
        "version": graph.version,
        "url": f"/{prefix}/{version}{blueprint.api_endpoint}" if blueprint.api_endpoint else None,
        "states": [state.name for state in graph],
        "start": graph.start.name,
        "ends": [state.name for state in graph if state.is_end],
    }


def worker_view(worker: WorkerProfile, reputation: float = 1.0, files: str = "") -> dict[str, Any]:
    """Returns a worker as clients see it.

    Args:
        worker: as the engine knows it.
        reputation: above 0, up to 1.
        files: the fingerprint of the engine's object store, or empty.
    """
    return {
        "worker_id": worker.worker_id,
        "worker_type": worker.type,
        "status": worker.status,
        "skills": list(worker.skill_names),
        "available_skills": sorted(worker.available) if worker.available is not None else None,
        "hot_skills": sorted(worker.hot),
        # A number: the ids name jobs, also those of other clients.
        "running_tasks": len(worker.current_tasks or ()),
        "max_concurrent_tasks": worker.max_tasks,
        "cost_per_skill": dict(worker.costs),
        "resources": dict(worker.resources),
        "installed_software": dict(worker.software),
        "load": worker.load,
        "usage": dict(worker.usage),
        "reputation": round(reputation, 4),
        "same_file_store": is_same_store(files, worker.extra.get("s3_config_hash")),
        "hostname": worker.hostname or None,
        "protocol": worker.dialect or None,
        "registered_at": worker.registered_at,
        "last_seen_at": worker.seen_at,
    }


def _shown(document: Document) -> Any:
    """Returns the value; of one that is lost, what is to be said of it."""
    return {"payload_lost": document.reason} if isinstance(document, LostDocument) else document.value()


def _progress(job: Job, task: Task | None, progress: Progress | None) -> tuple[float, str | None]:
    if job.status is JobStatus.FINISHED:
        return 1.0, None
    if job.fan_out is not None and job.fan_out.total:
        return _parallel_progress(job.fan_out.total - job.fan_out.open, job.fan_out.total)
    # What an earlier attempt had reached is lost with it.
    if progress is None or progress.task_id != _at_work(job, task):
        return 0.0, None
    return progress.value, progress.message or None


def _at_work(job: Job, task: Task | None) -> str | None:
    """Returns the attempt, or the child, that the job waits for."""
    if isinstance(job.wait, ChildWait):
        return job.wait.child_id
    return None if task is None else task.wire_id


def _parallel_progress(ended: int, total: int) -> tuple[float, str]:
    return ended / total, f"{ended} of {total} parallel tasks ended"


def _shows_failure(job: Job) -> bool:
    """Whether the last failure explains the job's present status; a job that went on has left it behind."""
    return job.status in {
        JobStatus.FAILED,
        JobStatus.QUARANTINED,
        JobStatus.ERROR,
        JobStatus.AWAITING_RETRY,
        JobStatus.WAITING_FOR_WORKER,
        JobStatus.WAITING_FOR_PARALLEL_TASKS,
    }
