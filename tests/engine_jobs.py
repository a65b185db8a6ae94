"""Waits for jobs of an engine that runs in the process of the test."""

from __future__ import annotations

import asyncio

from avtomatika import OrchestratorEngine
from avtomatika.app_keys import JOBS_KEY
from avtomatika.core.job import Job


async def reached(engine: OrchestratorEngine, job_id: str, status: str) -> Job:
    """Returns the job when it has that status; it must not end in another one."""
    jobs = engine.app[JOBS_KEY]
    async with asyncio.timeout(60):
        job = await jobs.get(job_id)
        while job.status != status:
            assert not job.is_terminal, job.failure
            job = await jobs.wait(job_id, job.version, 60)
    return job


async def ended(engine: OrchestratorEngine, job_id: str) -> Job:
    """Returns the job when it has ended."""
    jobs = engine.app[JOBS_KEY]
    async with asyncio.timeout(60):
        job = await jobs.get(job_id)
        while not job.is_terminal:
            job = await jobs.wait(job_id, job.version, 60)
    return job
