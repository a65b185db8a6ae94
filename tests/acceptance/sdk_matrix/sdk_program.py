"""A worker as a user of the published SDK writes it; it runs in the environment of a release.

``SUFFIXES`` are what the names of its skills end in, so that a test can reach this very worker, or any of its release.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

from avtomatika_worker import Worker

logging.basicConfig(level=logging.INFO)
worker = Worker(worker_type="acceptance")
task = worker.skill if hasattr(worker, "skill") else worker.task  # the decorator's name in newer and older releases
failures: Counter[str] = Counter()


async def echo(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Succeeds with what it was given."""
    return {"status": "success", "data": {"echo": params}}


async def fail(params: dict[str, Any], *, job_id: str, **_: Any) -> dict[str, Any]:
    """Fails with ``code`` (none: without an error), the first ``times`` times for a job (none: always)."""
    if failures[job_id] >= params.get("times", float("inf")):
        return {"status": "success", "data": {"failures": failures[job_id]}}
    failures[job_id] += 1
    if "code" not in params:
        return {"status": "failure"}
    return {"status": "failure", "error": {"code": params["code"], "message": "as asked"}}


async def give(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Answers with the status word and the data that it was given."""
    return {"status": params.get("status", "success"), "data": params.get("data")}


async def throw(params: dict[str, Any], **_: Any) -> None:
    """Raises."""
    raise OSError("as asked")


async def slow(
    params: dict[str, Any], *, task_id: str, job_id: str, send_progress: Any = None, **_: Any
) -> dict[str, Any]:
    """Works until the file ``until`` exists.

    It writes the file ``started`` at its beginning, reports ``progress`` if there is one, and writes ``interrupted``
    when it is cancelled; with ``stubborn``, it works on all the same.
    """
    Path(params["started"]).touch()  # noqa: ASYNC240 - files are all that test and worker share; these take no time
    if "progress" in params:
        await send_progress(task_id, job_id, params["progress"], "as asked")
    while not Path(params["until"]).exists():  # noqa: ASYNC240 - as above
        try:
            await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            Path(params["started"]).with_suffix(".interrupted").touch()
            if not params.get("stubborn"):
                raise
    return {"status": "success", "data": {"waited": True}}


if __name__ == "__main__":
    for suffix in os.environ["SUFFIXES"].split():
        for function in (echo, fail, give, throw, slow):
            task(f"{function.__name__}-{suffix}")(function)
    worker.run()
