"""A worker as a user of the published SDK writes it; it runs in the environment of a release."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from pathlib import Path
from typing import Any

from avtomatika_worker import Worker

logging.basicConfig(level=logging.INFO)
worker = Worker(worker_type="acceptance")
task = worker.skill if hasattr(worker, "skill") else worker.task  # the decorator's name in newer and older releases
failures: Counter[str] = Counter()


@task("echo")
async def echo(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Succeeds with what it was given."""
    return {"status": "success", "data": {"echo": params}}


@task("fail")
async def fail(params: dict[str, Any], *, job_id: str, **_: Any) -> dict[str, Any]:
    """Fails with ``code`` (none: without an error), the first ``times`` times for a job (none: always)."""
    if failures[job_id] >= params.get("times", float("inf")):
        return {"status": "success", "data": {"failures": failures[job_id]}}
    failures[job_id] += 1
    if "code" not in params:
        return {"status": "failure"}
    return {"status": "failure", "error": {"code": params["code"], "message": "as asked"}}


@task("custom_status")
async def custom_status(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Answers with the status word that it was given."""
    return {"status": params["status"], "data": {"said": params["status"]}}


@task("slow")
async def slow(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Writes the file ``started``, and succeeds as soon as the file ``until`` exists."""
    Path(params["started"]).touch()  # noqa: ASYNC240 - files are all that test and worker share; these take no time
    while not Path(params["until"]).exists():  # noqa: ASYNC110, ASYNC240 - as above
        await asyncio.sleep(0.02)
    return {"status": "success", "data": {"waited": True}}


if __name__ == "__main__":
    worker.run()
