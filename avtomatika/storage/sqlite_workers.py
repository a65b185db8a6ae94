"""Steps of the SQLite storage that write what is known of workers."""

from __future__ import annotations

from collections.abc import Sequence

from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage.base import Sighting
from avtomatika.storage.codec import encode_worker, refresh_worker
from avtomatika.storage.sqlite_step import Step


def put_worker(step: Step, worker: WorkerProfile, ttl: float) -> None:
    """Remembers the worker."""
    step.write("forget_workers", now=step.now)
    step.write("put_worker", worker_id=worker.worker_id, until=step.now + ttl, raw=encode_worker(worker))


def refresh_workers(step: Step, sightings: Sequence[Sighting], ttl: float) -> list[str]:
    """Moves the moments of workers that are as the caller knows them; returns the ids of the others."""
    step.write("forget_workers", now=step.now)
    others = []
    for sighting in sightings:
        raw = refresh_worker(step.value("find_worker", worker_id=sighting.worker_id, now=step.now), sighting)
        if raw is None:
            others.append(sighting.worker_id)
        else:
            step.write("put_worker", worker_id=sighting.worker_id, until=step.now + ttl, raw=raw)
    return others


def remove_worker(step: Step, worker_id: str) -> None:
    """Forgets the worker."""
    step.write("forget_worker", worker_id=worker_id)
