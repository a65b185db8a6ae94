"""Wishes: the tasks that results ask their engine for, each for the place that it leaves.

What one question may bring, no other one asks for meanwhile: neither another result nor a poll.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping

from avtomatika.protocol.batches import carried_tasks
from avtomatika.protocol.polls import encode_wish
from avtomatika.worker.intake import Intake
from avtomatika.worker.lifecycle import Reply
from avtomatika.worker.transport import Transport
from avtomatika.worker.work import Origin, Work

Question = Callable[[Mapping[str, str] | None], Awaitable[Reply]]
"""Makes a call with parameters in its query, or without any."""


class Wishes:
    """What results ask one engine for.

    Args:
        work: says what there is room for.
        intake: starts what comes.
        transport: knows how many tasks the engine gives with its answer to results.
        origin: the engine, for the tasks.
        is_open: whether anything is asked for. Who works for several engines asks them in turn, and not the one whose
            task has just ended.
    """

    def __init__(self, work: Work, intake: Intake, transport: Transport, origin: Origin, *, is_open: bool) -> None:
        self._work = work
        self._intake = intake
        self._transport = transport
        self._origin = origin
        self._is_open = is_open

    def close(self) -> None:
        """Asks for nothing any more; the worker is about to end."""
        self._is_open = False

    @contextlib.contextmanager
    def place(self) -> Iterator[int]:
        """Keeps a place for what a result may bring, from before it is sent until it is answered.

        Yields:
            How many tasks may be asked for with this result: 1, or 0 where there is no place or no asking.
        """
        if not (self._is_open and self._transport.brings and self._work.room > 0):
            yield 0
            return
        with self._work.promised(1):
            yield 1

    async def ask(self, send: Question, number: int) -> Reply:
        """Sends results, asks for tasks with them, and starts what comes.

        Args:
            send: sends them.
            number: for how many tasks there are places.
        """
        if not number:
            return await send(None)
        reply = await send(encode_wish(self._work.available, self._work.hot, number))
        for body in carried_tasks(reply.body):
            self._intake.start(body, self._origin)
        return reply
