"""The worker in the notebook's own process, whose tasks are functions of its cells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from avtomatika.worker import Worker

# How long a cell waits for tasks of the function that it replaces; they go on afterwards.
_HANDOVER_SECONDS = 2.0


class CellWorker:
    """Does tasks with functions of cells: each new function makes a new worker, which takes over from the one before.

    Args:
        url: of the engine.
        token: of its workers.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self._functions: dict[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {}
        self._worker: Worker | None = None
        self._number = 0
        self._change = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Returns how many functions it has."""
        return len(self._functions)

    def check(self, function: Callable[..., Any], name: str | None, options: Mapping[str, Any]) -> str:
        """Returns the type of the tasks that a function is for. May be called from any thread.

        Raises:
            ConfigError: the name or an option is wrong.
        """
        worker = self._new("check")
        worker.add_task(function, name, **options)
        (task_name,) = worker.task_names
        return task_name

    async def take(self, task_name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        """Lets a function do the tasks of a type, in the place of the one before, which ends what it has begun."""
        self._functions[task_name] = (function, options)
        async with self._change:
            self._number += 1
            worker = self._new(f"notebook-{self._number}")
            for name, (known, given) in self._functions.items():
                worker.add_task(known, name, **given)
            await worker.start()
            await worker.wait_until_registered()
            before, self._worker = self._worker, worker
            if before is not None:
                await self._let_go(before)

    async def stop(self) -> None:
        """Ends its tasks and says goodbye."""
        if self._worker is not None:
            self._worker.request_stop(drain=False)
            await self._worker.stop()
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=_HANDOVER_SECONDS)

    def _new(self, worker_id: str) -> Worker:
        return Worker(worker_id, url=self._url, token=self._token)

    async def _let_go(self, worker: Worker) -> None:
        """Stops a worker; its running tasks may end in the background, but it begins no other once the cell returns."""
        leaving = asyncio.create_task(worker.stop())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        await asyncio.wait({leaving}, timeout=_HANDOVER_SECONDS)
