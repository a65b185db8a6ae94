"""The way of claimed tasks to their worker: none is lost if the worker has hung up meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from avtomatika.core.job import Task, message_of
from avtomatika.protocol.tasks import encode_task
from avtomatika.server.bodies import answer
from avtomatika.server.encoding import compress
from avtomatika.server.keys import DISPATCHER_KEY, SIGNATURES_KEY, TRACER_KEY

log = logging.getLogger(__name__)


def written(request: web.Request, task: Task) -> dict[str, Any]:
    """Returns a task as it goes to its worker."""
    message = replace(message_of(task), tracing_context=request.app[TRACER_KEY].for_worker(task))
    return request.app[SIGNATURES_KEY].sign_task(encode_task(message))


async def hand_out(request: web.Request, body: dict[str, Any], tasks: Sequence[Task]) -> web.Response:
    """Sends an answer with tasks in it; they are put back if nobody is there to take it.

    Args:
        request: that is answered.
        body: of the answer.
        tasks: that are written in it, claimed for the worker that asks.
    """
    response = answer(body)
    await compress(request, response)
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        for task in tasks:
            log.info(
                "a worker hung up before it got its task; the task is put back",
                extra={"action": "task_released", "task_id": task.id, "worker_id": task.worker_id},
            )
            await request.app[DISPATCHER_KEY].release(task)
    return response


def is_gone(request: web.Request) -> bool:
    """Whether whoever asks has hung up."""
    return request.transport is None or request.transport.is_closing()
