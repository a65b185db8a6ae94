"""The line to one engine: the connection, and all that a worker says and hears over it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from avtomatika.clock import Clock
from avtomatika.protocol.messages import Result, TaskMessage, WorkerProfile
from avtomatika.worker.delivery import Delivery
from avtomatika.worker.engines import EngineAddress
from avtomatika.worker.event_feed import EventFeed
from avtomatika.worker.intake import Intake
from avtomatika.worker.meter import Meter
from avtomatika.worker.presence import Presence
from avtomatika.worker.progress import ProgressFeed
from avtomatika.worker.settings import Settings
from avtomatika.worker.tracing import Tracing
from avtomatika.worker.transport import Transport
from avtomatika.worker.usage import Gauges
from avtomatika.worker.websocket import Socket
from avtomatika.worker.wishes import Wishes
from avtomatika.worker.work import Work


class Line:
    """What goes to and fro between a worker and one engine. Must be made in the event loop.

    Args:
        settings: of the worker.
        address: of the engine.
        work: the tasks that run, of all engines.
        profile: what the engine is told of this worker.
        clock: measures delays.
        tracing: what results carry of a trace.
        settles: takes a result that reaches the engine another way, and returns whether it is one.
        meter: counts calls and results.
        gauges: measure the machine.
        intake: starts the tasks that come.
    """

    def __init__(
        self,
        settings: Settings,
        address: EngineAddress,
        work: Work,
        profile: WorkerProfile,
        clock: Clock,
        tracing: Tracing,
        settles: Callable[[Result], Awaitable[bool]],
        meter: Meter,
        gauges: Gauges,
        intake: Intake,
    ) -> None:
        self.address = address
        self.transport = Transport(settings, clock, address, meter)
        self.presence = Presence(self.transport, settings, address, work, profile, clock, gauges)
        self.socket = Socket(self.transport, settings, work, clock) if settings.websockets else None
        self.progress = ProgressFeed(self.transport, settings.worker_id, clock, self.socket)
        self.events = EventFeed(self.transport, settings, clock)
        self.wishes = Wishes(work, intake, self.transport, self, is_open=len(settings.engines) == 1)
        self.delivery = Delivery(self.transport, settings, clock, tracing, meter, self.wishes)
        self._settles = settles
        self._clock = clock
        self.failures = 0
        """How many polls failed in a row."""
        self.rests_until = 0.0
        """It is not asked for tasks before this moment."""

    @property
    def is_usable(self) -> bool:
        """Whether the engine can be asked for tasks now."""
        return self.presence.registered.is_set() and self.rests_until <= self._clock.now()

    def know(self, lines: Sequence[Line]) -> None:
        """Learns of all lines: where this engine is away, another one on the same storage may take its results."""
        self.delivery.elsewhere = [line.transport for line in lines if line is not self]

    def report(self, task: TaskMessage, value: float, message: str) -> None:
        """Takes the progress of a task of this engine, from any thread."""
        self.progress.report(task, value, message)

    def tell(self, task: TaskMessage, word: str, payload: Mapping[str, Any]) -> None:
        """Takes an event of a task of this engine, from any thread."""
        self.events.tell(task, word, payload)

    async def flush(self, task_id: str) -> None:
        """Returns when the progress and the events of a task are sent."""
        await self.progress.flush(task_id)
        await self.events.flush(task_id)

    def hurry(self) -> None:
        """Waits for nothing that can be repeated at once or left out; the worker is about to end."""
        self.events.hurry()
        self.delivery.hurry()

    async def deliver(self, result: Result) -> None:
        """Returns when the engine has the result, or it was given up."""
        if not await self._settles(result):
            await self.delivery.deliver(result)

    async def close(self) -> None:
        """Closes the connection."""
        await self.delivery.close()
        await self.transport.close()
