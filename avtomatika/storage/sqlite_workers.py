"""Steps of the SQLite storage that write what is known of workers."""

from __future__ import annotations

from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage.codec import encode_worker
from avtomatika.storage.sqlite_step import Step


def put_worker(step: Step, worker: WorkerProfile, ttl: float) -> None:
    """Remembers the worker."""
    step.write("forget_workers", now=step.now)
    step.write("put_worker", worker_id=worker.worker_id, until=step.now + ttl, raw=encode_worker(worker))


def remove_worker(step: Step, worker_id: str) -> None:
    """Forgets the worker."""
    step.write("forget_worker", worker_id=worker_id)
