"""What workers of each generation send, for tests of the protocol over raw HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .conftest import WORKER, Answer, Api

GOLDEN = Path(__file__).parents[1] / "protocol" / "golden"
GENERATIONS = ("g0", "g1", "g1s", "g2", "g3", "g4")


def golden(name: str, **changes: Any) -> dict[str, Any]:
    """Reads a pinned message of a published worker and changes some of its members."""
    return {**json.loads((GOLDEN / f"{name}.json").read_text()), **changes}


def skills_of(generation: str) -> Any:
    """Returns the skill ``work`` as the generation writes it, under its name for the list."""
    name = "supported_tasks" if generation in {"g0", "g1"} else "supported_skills"
    plain = generation in {"g0", "g1", "g1s"}
    members: dict[str, Any] = {name: ["work"] if plain else [{"name": "work", "type": "work"}]}
    if generation in {"g3", "g4"}:
        members["available_skills"] = ["work"]
    return members


def headers_of(generation: str, worker_id: str) -> dict[str, str]:
    """Returns the headers that the generation sends besides the token."""
    if generation == "g0":
        return {}
    newest = {"X-Worker-ID": worker_id} if generation == "g4" else {}
    return {"X-RXON-Version": "1.0b2", **newest}


def result_of(generation: str, task: dict[str, Any], worker_id: str) -> dict[str, Any]:
    """Returns a success with data as the generation writes it; the newest leaves the status out."""
    echoed = {"job_id": task["job_id"], "task_id": task["task_id"], "worker_id": worker_id}
    if generation == "g0":
        return {**echoed, "result": {"status": "success", "data": {"n": 1}, "error": None}}
    if generation in {"g3", "g4"}:
        return {**echoed, "data": {"n": 1}, "origin_worker_id": worker_id, "timestamp": 1_800_000_000}
    return {**echoed, "status": "success", "data": {"n": 1}, "error": None, "data_metadata": None}


async def order(api: Api, **params: Any) -> str:
    """Creates a job and returns its id when its task waits."""
    job_id = await api.submit("/api/v2/shop/orders", {"params": params})
    await api.until(job_id, "waiting_for_worker")
    return job_id


async def send(api: Api, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """Sends a worker's request."""
    return await api.call(method, path, body, token=WORKER, headers=headers)
