"""Results that go to the engine together: while one request is on its way, the next results gather.

If there are enough for a whole one, they do not wait for it: results of different jobs need not wait for each other.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from avtomatika.clock import Clock
from avtomatika.protocol.batches import AGAIN, REFUSED, parse_answers, with_trace, write_results
from avtomatika.worker.lifecycle import Reply
from avtomatika.worker.transport import Transport
from avtomatika.worker.wishes import Wishes

_BYTES = 1_000_000
"""Size of a request beyond which the next one begins; engines take at least ten times as much."""
_SENDERS = 4
"""How many requests are on their way at most."""
_UNAVAILABLE, _BAD_REQUEST = 503, 400


@dataclass(frozen=True, slots=True)
class _Waiting:
    text: str
    carrier: Mapping[str, str]
    number: int
    answer: asyncio.Future[Reply]


class Bundles:
    """Sends results, many in a request.

    Args:
        transport: the connection; it knows how many results the engine takes at a time.
        worker_id: the sender.
        clock: for time stamps.
        wishes: asks for tasks with results.
    """

    def __init__(self, transport: Transport, worker_id: str, clock: Clock, wishes: Wishes) -> None:
        self._transport = transport
        self._wishes = wishes
        self._worker_id = worker_id
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._senders: set[asyncio.Task[None]] = set()

    async def send(self, text: str, carrier: Mapping[str, str], number: int = 0) -> Reply:
        """Sends a result with whatever else waits, and returns the answer as if it had been sent alone.

        Args:
            text: the result in JSON.
            carrier: the trace that it belongs to, if it does.
            number: how many tasks may be asked for with it.
        """
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(text, carrier, number, answer))
        if not self._senders or (len(self._senders) < _SENDERS and len(self._waiting) >= self._transport.batch):
            self._senders.add(asyncio.create_task(self._send_all(), name="worker-results"))
        return await answer

    async def close(self) -> None:
        """Sends nothing any more."""
        senders = tuple(self._senders)
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                bundle = self._take()
                replies = await self._send(bundle)
                for one, reply in zip(bundle, replies, strict=True):
                    if not one.answer.done():
                        one.answer.set_result(reply)
        finally:
            # At once, not in a callback: what comes next must not wait for a sender that has ended.
            self._senders = {sender for sender in self._senders if sender is not asyncio.current_task()}

    def _take(self) -> list[_Waiting]:
        bundle: list[_Waiting] = []
        size = 0
        while self._waiting and len(bundle) < self._transport.batch:
            size += len(self._waiting[0].text)
            if bundle and size > _BYTES:
                break
            bundle.append(self._waiting.popleft())
        return bundle

    async def _send(self, bundle: list[_Waiting]) -> list[Reply]:
        if len(bundle) > 1:
            texts = [with_trace(one.text, one.carrier) for one in bundle]
            text = write_results(self._worker_id, texts, self._clock.now())
            reply = await self._wishes.ask(
                lambda query: self._transport.results(text, query), sum(one.number for one in bundle)
            )
            if reply.is_ok:
                return [_reply(answer) for answer in parse_answers(reply.body, len(texts))]
            if reply.is_temporary or reply.is_refused:
                return [reply] * len(texts)
            # An engine of another version has taken this one's place, or the request was too large: then one by one.
        return [
            await self._wishes.ask(functools.partial(self._transport.result, one.text, one.carrier), one.number)
            for one in bundle
        ]


def _reply(answer: dict[str, object]) -> Reply:
    """Returns what the engine would have answered to a result alone."""
    match answer["status"]:
        case str(word) if word == AGAIN:
            return Reply(_UNAVAILABLE, answer, reason="the engine could not write the result")
        case str(word) if word == REFUSED:
            return Reply(_BAD_REQUEST, answer)
        case _:
            return Reply(200, answer)
