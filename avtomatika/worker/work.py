"""The tasks that a worker has: which run, which wait for their result to be taken, and what can be started now."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec.structs import replace

from avtomatika.clock import Clock
from avtomatika.errors import suggest
from avtomatika.log_context import log_context
from avtomatika.protocol.messages import Result, TaskMessage
from avtomatika.worker.context import Context, Outlet
from avtomatika.worker.lifecycle import room, startable
from avtomatika.worker.meter import SILENT, Meter
from avtomatika.worker.outcome import failed
from avtomatika.worker.runner import Call, Calls
from avtomatika.worker.tracing import Tracing

logger = logging.getLogger("avtomatika.worker")


class Origin(Outlet, Protocol):
    """The engine that a task came from."""

    async def flush(self, task_id: str) -> None:
        """Returns when all progress and all events of a task are sent, or have been given up."""
        ...

    async def deliver(self, result: Result) -> None:
        """Returns when the result is delivered or given up."""
        ...


@dataclass(frozen=True, slots=True)
class _Running:
    task: TaskMessage
    context: Context
    call: asyncio.Task[Result]


class Work:
    """Runs tasks side by side and hands their results on.

    Must be made in the event loop.

    Args:
        calls: makes the calls of the tasks' functions.
        concurrency: how many tasks may run at once.
        clock: measures how long a task took.
        tracing: follows the tasks.
        meter: counts them.
    """

    def __init__(
        self,
        calls: Calls,
        concurrency: int,
        clock: Clock,
        tracing: Tracing,
        meter: Meter = SILENT,
    ) -> None:
        self._meter = meter
        self._tracing = tracing
        self._calls = calls
        self._functions = calls.functions
        self._limits = {name: function.concurrency for name, function in calls.functions.items()}
        self._has_limits = any(limit is not None for limit in self._limits.values())
        self._concurrency = concurrency
        self._clock = clock
        self._hot: frozenset[str] = frozenset()
        self._running: dict[str, _Running] = {}
        self._slots: dict[str, str] = {}
        self._whole: dict[str, asyncio.Task[None]] = {}
        self._undelivered: dict[str, None] = {}
        self._deliveries: set[asyncio.Task[None]] = set()
        self._promised = 0
        self._has_room = asyncio.Event()
        self._watchers: list[asyncio.Event] = []
        self._note_change()

    def watch(self) -> asyncio.Event:
        """Returns an event that is set whenever something starts or ends; whoever asked for it clears it."""
        changed = asyncio.Event()
        self._watchers.append(changed)
        changed.set()
        return changed

    @property
    def task_ids(self) -> tuple[str, ...]:
        """Ids of all tasks whose result the engine does not have yet."""
        return tuple(self._undelivered)

    @property
    def running(self) -> int:
        """How many slots are taken."""
        return len(self._slots)

    @property
    def available(self) -> frozenset[str]:
        """Names of the skills of which one more task can be started."""
        return startable(self._limits, self._slots.values(), self._concurrency)

    @property
    def room(self) -> int:
        """How many more tasks can be asked for, whichever of the available skills they are of."""
        return room(self._limits, self._slots.values(), self._concurrency) - self._promised

    @property
    def has_busy_skill(self) -> bool:
        """Whether some skill is at a limit of its own while another can be started."""
        return 0 < len(self.available) < len(self._functions)

    @property
    def hot(self) -> frozenset[str]:
        """Names of what is loaded, so that more of it is done soonest here."""
        return self._hot

    def set_hot(self, names: Iterable[str]) -> None:
        """Says what is loaded now."""
        self._hot = frozenset(names)
        self._note_change()

    async def wait_for_room(self) -> None:
        """Returns when at least one more task can be asked for."""
        while True:
            await self._has_room.wait()
            # Where several tasks end in one moment, their results ask with the places first.
            await asyncio.sleep(0)
            if self._has_room.is_set():
                return

    @contextlib.contextmanager
    def promised(self, number: int) -> Iterator[None]:
        """Keeps so much room for the tasks that a question may bring; they are started before this ends."""
        self._promised += number
        self._note_room()
        try:
            yield
        finally:
            self._promised -= number
            self._note_room()

    def start(self, task: TaskMessage, origin: Origin, refusal: str = "") -> None:
        """Starts a task; one that this worker has already is not started twice.

        Args:
            task: the task.
            origin: where its progress and its result go.
            refusal: why it must not be done, or empty; then its result is that failure.
        """
        if task.task_id in self._whole:
            logger.warning("task %s came twice; it is running already", task.task_id)
            return
        self._slots[task.task_id] = task.type
        self._undelivered[task.task_id] = None
        with log_context(job_id=task.job_id, task_id=task.task_id):
            self._whole[task.task_id] = asyncio.create_task(
                self._do(task, origin, refusal), name=f"task-{task.task_id}"
            )
        self._note_change()

    def cancel(self, task_ids: Iterable[str]) -> None:
        """Interrupts tasks that run; other ids are ignored."""
        for task_id in task_ids:
            running = self._running.get(task_id)
            if running is not None and not running.context.cancelled:
                logger.info("task %s is cancelled", task_id)
                running.context.cancel()
                running.call.cancel()

    def cancel_all(self) -> None:
        """Interrupts all tasks that run."""
        self.cancel(tuple(self._running))

    async def drain(self, seconds: float) -> bool:
        """Waits until no function runs, nor any can come with the answer to a result that is on its way.

        Args:
            seconds: how long to wait at most.

        Returns:
            Whether they all ended in time.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        while self._running or self._promised:
            ends = [running.call for running in self._running.values()] or self._deliveries
            if not await self._wait(ends, max(0.0, ends_at - loop.time())):
                return False
        return True

    async def wait_for_deliveries(self, seconds: float) -> bool:
        """Waits until the engine has all results.

        Args:
            seconds: how long to wait at most.

        Returns:
            Whether it has them.
        """
        return await self._wait(self._deliveries, seconds)

    async def abandon(self) -> None:
        """Gives up everything that is left."""
        left: list[asyncio.Task[None]] = [*self._whole.values(), *self._deliveries]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _wait(self, tasks: Iterable[asyncio.Task[Any]], seconds: float) -> bool:
        open_tasks = set(tasks)
        if not open_tasks:
            return True
        return not (await asyncio.wait(open_tasks, timeout=seconds))[1]

    async def _do(self, task: TaskMessage, origin: Origin, refusal: str) -> None:
        """Runs a task, delivers its result, and frees its slot when nothing of it runs any more."""
        call = None if refusal else self._calls.of(task, origin)
        try:
            with self._tracing.task(task) as ended:
                result = self._refused(task, refusal) if call is None else await self._run(task, call)
                ended(result)
                # Begun in here: the request that delivers the result goes on with this trace.
                delivery = asyncio.create_task(self._hand_on(result, origin), name=f"deliver-{task.task_id}")
            self._deliveries.add(delivery)
            delivery.add_done_callback(self._deliveries.discard)
            if call is not None:
                await call.settle()
            self._slots.pop(task.task_id, None)
            self._note_change()
            await delivery
        except asyncio.CancelledError:
            if call is not None:
                call.abandon()
            raise
        finally:
            self._slots.pop(task.task_id, None)
            self._undelivered.pop(task.task_id, None)
            self._whole.pop(task.task_id, None)
            self._note_change()

    async def _run(self, task: TaskMessage, call: Call) -> Result:
        started = self._clock.now()
        running = _Running(task, call.context, asyncio.create_task(call.result(), name=f"call-{task.task_id}"))
        self._running[task.task_id] = running
        self._meter.started(task.type)
        status, code = "cancelled", ""
        try:
            result = await running.call
            status, code = result.status, result.error_code
        finally:
            self._meter.ended(task.type, status, code, max(0.0, self._clock.now() - started))
            running.call.cancel()
            del self._running[task.task_id]
        seconds = max(0.0, self._clock.now() - started)
        logger.info("task %s (%s) ended: %s after %.3f s", task.task_id, task.type, result.status, seconds)
        return replace(result, costs={"execution_time_seconds": round(seconds, 6)})

    async def _hand_on(self, result: Result, origin: Origin) -> None:
        await origin.flush(result.task_id)
        await origin.deliver(result)
        self._undelivered.pop(result.task_id, None)

    def _refused(self, task: TaskMessage, refusal: str) -> Result:
        if refusal:
            logger.error("task %s is not done: %s", task.task_id, refusal)
            return failed(task, "SECURITY_ERROR", refusal)
        known = ", ".join(sorted(self._functions)) or "none"
        message = f"this worker has no task '{task.type}'; it has: {known}.{suggest(task.type, self._functions)}"
        logger.error("task %s: %s", task.task_id, message)
        return failed(task, "PERMANENT_ERROR", message)

    def _has_some_room(self) -> bool:
        """Whether there is any room; most workers have no skill with a limit, and then that is quick."""
        if not self._has_limits:
            return self.running + self._promised < self._concurrency
        return self.room > 0

    def _note_room(self) -> None:
        if self._has_some_room():
            self._has_room.set()
        else:
            self._has_room.clear()

    def _note_change(self) -> None:
        self._note_room()
        for changed in self._watchers:
            changed.set()
