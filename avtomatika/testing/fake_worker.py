"""A fake worker: takes tasks as a real one does, and answers as the test wants it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from avtomatika.core.job import Task, message_of
from avtomatika.errors import suggest
from avtomatika.protocol.answers import parse_heartbeat_answer
from avtomatika.protocol.messages import Heartbeat, Result, Skill, TaskMessage, WorkerEventMessage, WorkerProfile
from avtomatika.protocol.worker_events import PROGRESS
from avtomatika.runtime.dispatcher import Dispatcher
from avtomatika.runtime.workers import Workers
from avtomatika.testing.errors import TestingError
from avtomatika.testing.fake_clock import FakeClock
from avtomatika.worker.context import Context
from avtomatika.worker.event_types import EventTypes
from avtomatika.worker.functions import TaskFunction, task_function
from avtomatika.worker.outcome import Success, result_of_error, result_of_return
from avtomatika.worker.task_errors import TaskError

_FOREVER = 1e12
# Every third of the lease that an engine gives by default: as often as the published workers.
_BEAT_SECONDS = 20.0

Step = float | tuple[float, str]
"""A progress from 0 to 1, with or without a message."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a fake worker does with a task.

    Args:
        returns: what its function returns.
        status: the status word of its answer.
        fails: the code of a failure, or the error that its function raises; None for success.
        message: of that failure.
        times: how many tasks fail before the others succeed; None for all.
        function: called in place of the above.
        delay: seconds on the clock that a task takes.
        progress: what it reports on the way, spread evenly over the delay.
        vanishes: it takes tasks and is never heard of again.
    """

    returns: Any = None
    status: str = "success"
    fails: str | BaseException | None = None
    message: str = "the fake worker failed as it was told to"
    times: int | None = None
    function: TaskFunction | None = None
    delay: float = 0.0
    progress: Sequence[Step] = ()
    vanishes: bool = False

    @classmethod
    def of(cls, task_type: str, function: Callable[..., Any] | None, options: Mapping[str, Any]) -> Behaviour:
        """Returns the behaviour that the arguments of ``BlueprintTester.worker`` describe.

        Raises:
            TestingError: an argument is unknown, or contradicts another one.
        """
        known = [name for name in cls.__dataclass_fields__ if name != "function"]
        for name in options:
            if name not in known:
                raise TestingError(
                    f"a fake worker has no '{name}'; known: {', '.join(known)}.{suggest(name, known)} What the worker "
                    "is (costs, resources, hot ...) goes into profile={...}."
                )
        if function is not None and options.keys() & {"returns", "status", "fails", "times"}:
            raise TestingError(
                f"the worker for '{task_type}' has a function, which says itself what comes of a task: it returns "
                "data, Success(data, status), or raises TaskError(message, code). Leave the other arguments out."
            )
        if options.get("times") is not None and options.get("fails") is None:
            raise TestingError("times= says how many tasks fail first; say how with fails='TRANSIENT_ERROR'.")
        wrapped = None if function is None else task_function(function, task_type)
        return cls(function=wrapped, **options)


@dataclass(frozen=True, slots=True)
class Call:
    """A task that a fake worker was given.

    Args:
        params: of the task.
        attempt: which try of the task it was, from 1.
        job_id: the job that waits for it.
        task: all of the task as the engine knows it.
        at: when, Unix seconds on the test's clock.
    """

    params: dict[str, Any]
    attempt: int
    job_id: str
    task: Task = field(repr=False)
    at: float


class FakeWorker:
    """A worker of a test. Made by ``BlueprintTester.worker``.

    Args:
        profile: what the engine knows of it; it has one skill.
        behaviour: what it does.
        slots: how many tasks it does at once; None for any number.
        clock: of the test.
        dispatcher: hands tasks out.
        workers: takes results.

    Attributes:
        calls: the tasks that it was given, in order.
    """

    def __init__(
        self,
        profile: WorkerProfile,
        behaviour: Behaviour,
        slots: int | None,
        clock: FakeClock,
        dispatcher: Dispatcher,
        workers: Workers,
    ) -> None:
        self.calls: list[Call] = []
        self._profile = profile
        self._behaviour = behaviour
        self._slots = None if slots is None else asyncio.Semaphore(slots)
        self._clock = clock
        self._dispatcher = dispatcher
        self._workers = workers
        self._held: dict[str, asyncio.Task[None]] = {}
        self._alarms: list[float] = []
        self._busy = 0
        self._polling: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<FakeWorker {self.worker_id}: {len(self.calls)} calls>"

    @property
    def worker_id(self) -> str:
        """The id under which the engine knows it."""
        return self._profile.worker_id

    @property
    def profile(self) -> WorkerProfile:
        """What the engine knows of it."""
        return self._profile

    @property
    def params(self) -> list[dict[str, Any]]:
        """The params of the tasks that it was given, in order."""
        return [call.params for call in self.calls]

    @property
    def is_busy(self) -> bool:
        """Whether a function of the test runs that waits for something else than the clock."""
        return self._busy > 0

    @property
    def next_at(self) -> float | None:
        """The next moment at which it does something by itself, or None."""
        return min(self._alarms, default=None)

    def start(self) -> None:
        """Registers and begins to ask for tasks."""
        self._polling = asyncio.create_task(self._poll_forever(), name=f"fake-worker-{self.worker_id}")

    async def stop(self) -> None:
        """Drops what it does, without a word to the engine."""
        running = [task for task in (self._polling, *self._held.values()) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _poll_forever(self) -> None:
        await self._workers.register(self._profile)
        while True:
            if self._slots is not None:
                await self._slots.acquire()
            task = await self._dispatcher.next_task(self._profile, _FOREVER)
            if task is None:  # the engine stops
                return
            work = asyncio.create_task(self._work(task), name=f"fake-task-{task.wire_id}")
            self._held[task.wire_id] = work

    async def _work(self, task: Task) -> None:
        message = message_of(task)
        self.calls.append(Call(dict(message.params), task.attempt, task.job_id, task, self._clock.now()))
        number = len(self.calls)
        if self._behaviour.vanishes:
            return
        try:
            if await self._take_time(task):
                result = replace(await self._outcome(message, number), worker_id=self.worker_id)
                await self._workers.result(result, self.worker_id)
        finally:
            self._held.pop(task.wire_id, None)
            if self._slots is not None:
                self._slots.release()

    async def _take_time(self, task: Task) -> bool:
        """Lets the delay pass, with progress and signs of life; returns whether the result is still wanted."""
        began, delay = self._clock.now(), self._behaviour.delay
        steps = [
            (began + delay * number / (len(self._behaviour.progress) + 1), step)
            for number, step in enumerate(self._behaviour.progress, 1)
        ]
        ends_at = began + delay
        while True:
            now = self._clock.now()
            while steps and steps[0][0] <= now:
                await self._report(message_of(task), *_progress(steps.pop(0)[1]))
            if now >= ends_at:
                return True
            answer = await self._workers.heartbeat(
                Heartbeat(self.worker_id, current_tasks=tuple(self._held), dialect="G4")
            )
            if task.wire_id in parse_heartbeat_answer(answer).cancel_task_ids:
                await self._workers.result(
                    Result(task.job_id, task.wire_id, self.worker_id, status="cancelled"), self.worker_id
                )
                return False
            await self._sleep_until(min([ends_at, now + _BEAT_SECONDS, *(at for at, _ in steps)]))

    async def _sleep_until(self, moment: float) -> None:
        self._alarms.append(moment)
        try:
            await self._clock.sleep(moment - self._clock.now())
        finally:
            self._alarms.remove(moment)

    async def _outcome(self, message: TaskMessage, number: int) -> Result:
        """Returns what comes of a task."""
        behaviour = self._behaviour
        if behaviour.fails is not None and (behaviour.times is None or number <= behaviour.times):
            error = behaviour.fails
            return result_of_error(message, TaskError(behaviour.message, error) if isinstance(error, str) else error)
        if behaviour.function is None:
            return result_of_return(message, Success(behaviour.returns, behaviour.status))
        said = _Said()
        context = Context(message, said, EventTypes({}, message.type, strict=False))
        self._busy += 1
        try:
            returned = behaviour.function.function(**behaviour.function.arguments(message.params, context))
            if inspect.isawaitable(returned):
                returned = await returned
            result = result_of_return(message, returned, behaviour.function.returns)
        except Exception as error:
            result = result_of_error(message, error)
        finally:
            self._busy -= 1
        for word, payload in said.events:
            await self._tell(message, word, payload)
        return result

    async def _report(self, message: TaskMessage, value: float, text: str) -> None:
        await self._tell(message, PROGRESS, {"progress": value, "message": text})

    async def _tell(self, message: TaskMessage, word: str, payload: Mapping[str, Any]) -> None:
        event = WorkerEventMessage(
            word, payload, worker_id=self.worker_id, job_id=message.job_id, task_id=message.task_id
        )
        await self._workers.events.take(event, self.worker_id)


class _Said:
    """What a function has said, for when it has ended."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def report(self, task: TaskMessage, value: float, message: str) -> None:
        self.tell(task, PROGRESS, {"progress": value, "message": message})

    def tell(self, _task: TaskMessage, word: str, payload: Mapping[str, Any]) -> None:
        self.events.append((word, payload))


def profile_of(worker_id: str, task_type: str, facts: Mapping[str, Any], now: float) -> WorkerProfile:
    """Returns what the engine shall know of a fake worker.

    Args:
        worker_id: its identity.
        task_type: its skill.
        facts: further fields of ``WorkerProfile``; ``cost`` is short for ``costs`` of its skill, ``output_schema`` for
            that of its skill.
        now: the moment, Unix seconds.

    Raises:
        TestingError: there is no such field.
    """
    known = [*WorkerProfile.__struct_fields__, "cost", "output_schema"]
    for name in facts:
        if name not in known:
            raise TestingError(f"a worker's profile has no '{name}'; known: {', '.join(known)}.{suggest(name, known)}")
    chosen = dict(facts)
    if "cost" in chosen:
        chosen["costs"] = {task_type: float(chosen.pop("cost"))}
    if "hot" in chosen:
        chosen["hot"] = frozenset(chosen["hot"])
    skill = Skill(task_type, output_schema=chosen.pop("output_schema", None))
    return WorkerProfile(
        worker_id,
        **{"skills": (skill,), "registered_at": now, "seen_at": now, "dialect": "G4", **chosen},
    )


def _progress(step: Step) -> tuple[float, str]:
    return step if isinstance(step, tuple) else (step, "")
