"""The intake of tasks: they are understood, checked and started, whichever answer brought them."""

from __future__ import annotations

import logging
from typing import Any

from avtomatika.errors import ProtocolError
from avtomatika.protocol.tasks import parse_task
from avtomatika.worker.settings import Settings
from avtomatika.worker.trust import Trust
from avtomatika.worker.work import Origin, Work

logger = logging.getLogger("avtomatika.worker")


class Intake:
    """Takes in what the engines hand out.

    Args:
        settings: how tasks prove where they come from.
        work: where tasks are started.
    """

    def __init__(self, settings: Settings, work: Work) -> None:
        self._work = work
        self._trust = Trust(settings.task_key, required=settings.require_task_signature)

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
