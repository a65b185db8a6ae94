"""One run: a world of engines, workers and clients, from one seed."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

from .checks import check_letters, check_run
from .clients import SimulatedClient
from .engine import SimulatedEngine, Slot
from .faults import IN_WINDOWS, Window
from .files import Files
from .history import SimulatedHistory
from .letters import TOPIC, Receiver
from .loop import Process, SpinningError, VirtualLoop
from .plans import draw_plans
from .storage import WatchedStorage
from .workers import SimulatedWorker
from .world import World

# How long jobs may take after the last fault, seconds: some attempts of 40 s each, and a worker that is deaf till then.
_PATIENCE = 500.0


@dataclass(frozen=True)
class Report:
    """What came of a run.

    Args:
        seed: repeats it.
        violations: the promises that were broken.
        fired: how often each fault struck.
        statuses: how many jobs ended how.
        calls: calls from outside while nothing disturbed them.
        failed_calls: those of them that failed.
        poisoned: jobs that were quarantined because their engines kept vanishing.
        seconds: virtual time that passed.
        story: the trace, only if there are violations or it was asked for.
    """

    seed: int
    violations: tuple[str, ...]
    fired: Counter[str]
    statuses: Counter[str]
    calls: int
    failed_calls: int
    poisoned: int
    seconds: float
    story: str = ""

    def __str__(self) -> str:
        """Says what is wrong and how to see it again."""
        faults = "\n".join(f"  - {violation}" for violation in self.violations)
        return (
            f"seed {self.seed} broke a promise:\n{faults}\n"
            f"replay: python -m tests.simulation --seeds {self.seed} --trace\n{self.story}"
        )


def run(seed: int, *, trace: bool = False, kinds: Sequence[str] = tuple(IN_WINDOWS)) -> Report:
    """Plays one run to its end.

    Args:
        seed: decides everything in it.
        trace: tell the whole story, also when nothing went wrong.
        kinds: the faults to draw from; all of them unless given.
    """
    loop = VirtualLoop()
    with _quiet(), _ids(seed):
        try:
            simulation = Simulation(World(seed, loop, kinds))
            try:
                loop.run_until_complete(simulation.play())
            except SpinningError as error:
                simulation.world.violated(str(error))
            return simulation.report(trace)
        finally:
            _close(loop)


class Simulation:
    """The parts of a run.

    Args:
        world: of the run.
    """

    def __init__(self, world: World) -> None:
        self.world = self._world = world
        draw = world.draw
        self._outside = Process()
        self._storage = WatchedStorage(world, Files())
        self._history = SimulatedHistory(world)
        self._receiver = Receiver(world)
        self._slots = [
            Slot(world, self._storage, self._history, self._receiver, number, self._outside)
            for number in range(world.engines)
        ]
        workers = draw.randint(1, 3)
        self._workers = [
            SimulatedWorker(world, number, workers, self._find_engine, self._outside) for number in range(workers)
        ]
        self._clients = [SimulatedClient(world, plan, self._find_engine) for plan in draw_plans(draw)]

    async def play(self) -> None:
        """Starts everything, waits for the end of all jobs, and checks what is left."""
        world = self._world
        for slot in self._slots:
            slot.start()
        for worker in self._workers:
            worker.start()
        living = [self._outside.spawn(client.live()) for client in self._clients]
        for window in world.faults.windows:
            self._outside.spawn(self._strike(window))
        over = asyncio.ensure_future(world.over.wait())
        try:
            await asyncio.wait_for(self._until_done(living, over), world.faults.heal_at + _PATIENCE)
        except TimeoutError:
            world.note("the jobs do not end")
        over.cancel()
        if not world.violations:
            await self._settle(living)

    async def _until_done(self, living: list[asyncio.Task[None]], over: asyncio.Future[bool]) -> None:
        everything = asyncio.gather(asyncio.sleep(self._world.faults.heal_at), *living)
        await asyncio.wait({everything, over}, return_when=asyncio.FIRST_COMPLETED)
        if everything.done():
            everything.result()

    async def _settle(self, living: list[asyncio.Task[None]]) -> None:
        """Lets the last messages arrive and the last rows be written, and checks everything."""
        self._world.note("the jobs have ended")
        # A job whose creation nobody saw ends unwatched; the longest pause of the historian is 30 s.
        for _ in range(20):
            await asyncio.sleep(35.0)
            live = [status for status in await self._storage.count_jobs() if not status.is_terminal]
            if not live and not await self._mail_waits() and not await self._storage.read_events(1):
                break
        await check_letters(self._world, self._storage, self._receiver)
        await check_run(self._world, self._storage, self._history, self._clients)

    async def _mail_waits(self) -> bool:
        """Sends dead letters again; returns whether any message is on its way."""
        dead = await self._storage.list_dead_messages()
        await self._storage.replay_messages([message.id for message in dead])
        return await self._storage.next_message_at([TOPIC]) is not None

    def _find_engine(self) -> SimulatedEngine | None:
        """Returns any engine; one that is down is found as well, as long as callers do not know."""
        running = [slot.engine for slot in self._slots if slot.engine is not None]
        return self._world.draw.choice(running) if running else None

    # --- faults that strike by themselves ---

    async def _strike(self, window: Window) -> None:
        world = self._world
        await asyncio.sleep(window.start)
        slots = self._slots if window.engine is None else [self._slots[window.engine]]
        match window.kind:
            case "engine_crash":
                world.faults.count(window.kind)
                for slot in slots:
                    slot.crash()
            case "engine_restart":
                world.faults.count(window.kind)
                await asyncio.gather(*(slot.restart() for slot in slots))
            case "frozen_engine":
                world.faults.count(window.kind)
                for slot in slots:
                    if slot.engine is not None:
                        slot.engine.storage.frozen_until = window.end
            case "blocked_loop":
                world.faults.count(window.kind)
                world.loop.block(window.end - window.start)
            case "clock_jump":
                world.faults.count(window.kind)
                seconds = world.draw.choice((3.0, 15.0, 70.0))
                world.clock.skew += seconds
                for slot in self._slots:
                    if slot.engine is not None:
                        slot.engine.clock.skew += seconds

    # --- what came of it ---

    def report(self, trace: bool) -> Report:
        """Returns what came of the run."""
        world = self._world
        quiet = [call for call in world.calls if not world.faults.disturbs(call.start, call.end)]
        failed = [call for call in quiet if call.error]
        fired = world.faults.fired + self._history.fired()
        return Report(
            world.seed,
            tuple(world.violations),
            fired,
            Counter(self._storage.statuses),
            len(quiet),
            len(failed),
            self._history.poisoned(),
            world.loop.time(),
            world.story() if trace or world.violations else "",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps thousands of expected warnings out of the log."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _ids(seed: int) -> Iterator[None]:
    """Makes ids of jobs, and thereby the jitter of their retries, depend on the seed."""
    draw = random.Random(f"ids of {seed}")

    def make_id() -> uuid.UUID:
        return uuid.UUID(int=draw.getrandbits(128), version=4)

    with mock.patch.object(uuid, "uuid4", make_id):
        yield


def _close(loop: VirtualLoop) -> None:
    """Ends whatever still runs; what is just cleaning up may need to be told more than once."""
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
    loop.close()
