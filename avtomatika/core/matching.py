"""Matching: which worker may do a task, and which of several is to do it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from avtomatika.protocol.messages import WorkerProfile


def queue_name(
    task_type: str,
    requirements: Mapping[str, Any] | None,
    max_cost: float | None,
    limits: Mapping[str, int] | None = None,
) -> str:
    """Returns the queue in which a task waits: its type, and a digest of what else it needs, if anything.

    So a worker's claim looks at heads of queues that it qualifies for, and never skips over single tasks: neither over
    those that it may not do, nor over those that a limit holds up.
    """
    if not requirements and max_cost is None and not limits:
        return task_type
    needs = json.dumps([requirements, max_cost, *([limits] if limits else [])], sort_keys=True, default=str)
    return f"{task_type}#{hashlib.sha256(needs.encode()).hexdigest()[:12]}"


def fair_share(waiting: int, others: int, limit: int) -> int:
    """Returns how many tasks a worker may take at a time: its part of what waits, at least one.

    Args:
        waiting: tasks that it could do.
        others: workers that wait for such tasks as well.
        limit: how many it takes at most.
    """
    return max(1, min(limit, waiting // (others + 1)))


def is_qualified(
    worker: WorkerProfile, task_type: str, requirements: Mapping[str, Any] | None, max_cost: float | None
) -> bool:
    """Returns whether the worker may do such a task: skill, highest cost, and everything required."""
    if task_type not in worker.skill_names:
        return False
    if max_cost is not None and worker.costs.get(task_type, 0.0) > max_cost:
        return False
    return meets(worker, requirements or {})


def meets(worker: WorkerProfile, requirements: Mapping[str, Any]) -> bool:
    """Returns whether the worker has everything required.

    Args:
        worker: what it told of itself.
        requirements: ``cpu_cores``, ``ram_gb`` (minima); ``gpu_info`` (``model``, ``vram_gb``) or ``devices`` (list of
            ``type``, ``model``, ``properties``); ``installed_models`` or ``installed_artifacts`` (list of names or of
            ``{"name", "version"}``); ``installed_software`` (name to version, or a list of names). Any other member is
            compared with the worker's resource of that name: a number is a minimum, anything else must be equal.
    """
    return all(_meets_one(worker, name, wanted) for name, wanted in requirements.items())


def _meets_one(worker: WorkerProfile, name: str, wanted: Any) -> bool:
    match name:
        case "gpu_info":
            return any(_is_gpu(device, wanted) for device in worker.resources.get("devices") or ())
        case "devices":
            devices = worker.resources.get("devices") or ()
            return all(any(_is_device(device, one) for device in devices) for one in wanted)
        case "installed_models" | "installed_artifacts":
            return _has_all(worker.artifacts, wanted)
        case "installed_software":
            return _has_all(worker.software, wanted)
        case _:
            return _suffices(worker.resources.get(name), wanted)


def _suffices(have: Any, wanted: Any) -> bool:
    """Whether a value is enough: a number is a minimum, anything else must be equal."""
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return isinstance(have, int | float) and have >= wanted
    return bool(have == wanted)


def _is_gpu(device: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    properties = device.get("properties") or {}
    # A worker that does not tell how much memory its GPU has may do what needs no certain amount.
    memory = properties.get("memory_gb") or device.get("memory_gb") or 0
    model = wanted.get("model")
    is_gpu = str(device.get("type") or "gpu").lower() == "gpu"
    return is_gpu and model in {None, device.get("model")} and _suffices(memory, wanted.get("vram_gb") or 0)


def _is_device(device: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    if any(wanted.get(name) not in {None, device.get(name)} for name in ("type", "model", "id")):
        return False
    have = device.get("properties") or {}
    return all(_suffices(have.get(name), least) for name, least in (wanted.get("properties") or {}).items())


def _has_all(have: Mapping[str, str], wanted: Any) -> bool:
    """Whether names (with versions, where given) are installed."""
    if isinstance(wanted, Mapping):
        return all(name in have and version in {None, "*", have[name]} for name, version in wanted.items())
    for one in wanted:
        name, version = (str(one.get("name")), one.get("version")) if isinstance(one, Mapping) else (one, None)
        if name not in have or version not in {None, have[name]}:
            return False
    return True


def choose(
    strategy: str,
    task_type: str,
    workers: Sequence[WorkerProfile],
    turn: int,
    *,
    preferred: str = "",
    held: Mapping[str, int] | None = None,
    reputation: Callable[[str], float] = lambda _worker_id: 1.0,
) -> int:
    """Chooses among free, qualified workers.

    Args:
        strategy: ``default`` (those with the skill hot first, then the cheapest), ``round_robin``,
            ``least_connections``, ``cheapest``, ``best_value``.
        task_type: the skill.
        workers: at least one, in the order in which they began to wait.
        turn: how many tasks of this type were handed out before, for ``round_robin``.
        preferred: the worker that did the job's last task, which is taken among equals.
        held: worker id to number of tasks that it holds, for ``least_connections``; what the workers told if None.
        reputation: of a worker by its id, above 0 and at most 1, for ``best_value``.

    Returns:
        The index of the chosen worker; of equals the preferred one, else the one that has waited longest.
    """
    if strategy == "round_robin":
        order = sorted(range(len(workers)), key=lambda i: workers[i].worker_id)
        return order[turn % len(order)]

    def rank(index: int) -> tuple[float, ...]:
        worker = workers[index]
        cost = worker.costs.get(task_type, 0.0)
        last = (worker.worker_id != preferred, index)
        match strategy:
            case "least_connections":
                told = len(worker.current_tasks or ())
                return (told if held is None else held.get(worker.worker_id, 0), *last)
            case "cheapest":
                return (cost, *last)
            case "best_value":
                good = reputation(worker.worker_id)
                # Among workers that cost nothing, the better reputation is the better value.
                return (cost / good, -good, *last)
            case _:
                return (task_type not in worker.hot, cost, *last)

    return min(range(len(workers)), key=rank)
