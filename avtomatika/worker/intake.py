"""The intake of tasks: how many an engine may be asked for, and the start of those that come.

Tasks come with the answer to a poll, or to results. What one question may bring, no other one asks for meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from avtomatika.errors import ProtocolError
from avtomatika.protocol.batches import carried_tasks
from avtomatika.protocol.polls import encode_wish
from avtomatika.protocol.tasks import parse_task
from avtomatika.worker.lifecycle import Reply
from avtomatika.worker.settings import Settings
from avtomatika.worker.trust import Trust
from avtomatika.worker.work import Origin, Work

logger = logging.getLogger("avtomatika.worker")

Question = Callable[[Mapping[str, str] | None], Awaitable[Reply]]
"""Makes a call with parameters in its query, or without any."""
Ask = Callable[[Question, int], Awaitable[Reply]]
"""Makes a call that brings results to an engine, and asks it for so many tasks."""


class Intake:
    """Takes in what the engines hand out.

    Args:
        settings: how tasks prove where they come from.
        work: where tasks are started.
    """

    def __init__(self, settings: Settings, work: Work) -> None:
        self._work = work
        self._trust = Trust(settings.task_key, required=settings.require_task_signature)
        # Who works for several engines asks them in turn, and not the one whose task has just ended.
        self._is_open = len(settings.engines) == 1

    def close(self) -> None:
        """Asks for nothing with results any more; the worker is about to end."""
        self._is_open = False

    @contextlib.contextmanager
    def place(self, most: int) -> Iterator[int]:
        """Keeps a place for what a result may bring, from before it is sent until it is answered.

        No poll asks for that place meanwhile: it would be one more request for the same task.

        Args:
            most: how many tasks the engine gives at a time with its answer to results; 0 if it gives none.

        Yields:
            How many tasks may be asked for with this result: 1, or 0 where there is no place or no asking.
        """
        if not (self._is_open and most and self._work.room > 0):
            yield 0
            return
        with self._work.promised(1):
            yield 1

    async def ask_with(self, send: Question, number: int, origin: Origin) -> Reply:
        """Sends results, asks for tasks with them, and starts what comes.

        Args:
            send: sends them.
            number: for how many tasks there are places.
            origin: the engine.
        """
        if not number:
            return await send(None)
        reply = await send(encode_wish(self._work.available, self._work.hot, number))
        for body in carried_tasks(reply.body):
            self.start(body, origin)
        return reply

    def start(self, body: Any, origin: Origin) -> bool:
        """Starts a task that came; returns whether it can be understood.

        Args:
            body: as it came.
            origin: the engine that sent it.
        """
        try:
            task = parse_task(body)
        except ProtocolError as error:
            # No bug of ours, so without the place in our code.
            logger.error("the engine sent a task that cannot be understood: %s", error)  # noqa: TRY400
            return False
        logger.info("task %s (%s) starts", task.task_id, task.type)
        self._work.start(task, origin, self._trust.refusal(body))
        return True
