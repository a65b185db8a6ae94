"""Promises: what the data of results must look like, as the dispatch of a task or its worker has said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avtomatika.blueprints.schemas import check_data, check_schema
from avtomatika.core.job import Task
from avtomatika.errors import BlueprintError
from avtomatika.protocol.heartbeats import OFFLINE
from avtomatika.protocol.messages import WorkerProfile


class Promises:
    """The schemas of results.

    What workers declare is known of those that have spoken to this engine; results come to the engine that was polled.

    Args:
        check: whether what workers declare of themselves counts.
    """

    def __init__(self, *, check: bool = True) -> None:
        self._check = check
        self._declared: dict[str, dict[str, Mapping[str, Any]]] = {}

    def hear(self, worker: WorkerProfile) -> None:
        """Takes note of what a worker declares."""
        declared = {skill.name: skill.output_schema for skill in worker.skills if skill.output_schema}
        if declared and self._check and worker.status != OFFLINE:
            self._declared[worker.worker_id] = declared
        elif worker.status != OFFLINE:
            self._declared.pop(worker.worker_id, None)

    def check(self, task: Task, worker_id: str, data: Any) -> None:
        """Checks the data of a success.

        Raises:
            ContractError: they do not fit what was promised.
        """
        if task.result_schema is not None:
            check_data(data, task.result_schema, "data", f"result_schema of task '{task.type}'")
        declared = self._declared.get(worker_id, {}).get(task.type)
        if declared is None or data is None:
            return
        owner = f"the output schema of skill '{task.type}' at worker {worker_id}"
        try:
            schema = check_schema(declared, owner)
        except BlueprintError:
            return  # what cannot be read promises nothing
        if schema is not None:
            check_data(data, schema, "data", owner)
