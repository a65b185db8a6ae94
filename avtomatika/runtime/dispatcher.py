"""The dispatcher: parks the polls of free workers and hands tasks out, one lease each.

No task is bound to a worker before the worker asks for one. A poll that finds nothing is parked in memory; when a task
is queued, the strategy of that task chooses among the parked polls that qualify, and exactly one of them wakes. If a
worker that waits at another engine is the better choice, that one wakes a moment later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from avtomatika.clock import Clock
from avtomatika.core.job import Task
from avtomatika.core.matching import choose, fair_share, is_qualified
from avtomatika.errors import StorageError
from avtomatika.observability.base import SILENT, Meter
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.runtime.elsewhere import MOST_TOLD, Elsewhere, Waiting
from avtomatika.runtime.outgoing import Outgoing
from avtomatika.runtime.poll_ends import end_of_poll
from avtomatika.runtime.recent import REMEMBERED_BYTES, Recent
from avtomatika.runtime.reputations import Reputations
from avtomatika.storage.base import Queue, Signal, Storage, TakenTasks, TaskClaim

log = logging.getLogger(__name__)

# A claim that no heartbeat has confirmed ends after this: longer than the 15 s between two heartbeats of any published
# worker, so that a task that did arrive is confirmed in time, and one whose answer was lost is soon handed on.
START_LEASE = 20.0
# So often a poll looks again while a limit may hold up what it qualifies for, should nobody tell of a free place.
_LIMIT_PAUSE = 2.0
# A strategy chooses among so many of the qualified polls, those that have waited longest: else ten thousand idle
# workers would make each task dear.
_CANDIDATES = 64
# So many sets of queues are remembered with what was left in them.
_GUESSES = 1000
# So long a task is left to a better worker at another engine: time enough for that one's claim, and hardly a delay if
# that worker has gone.
HOLD = 0.05
# A look for queues serves all polls for so long. Between two looks the signals tell of every task that is queued: those
# of this engine always and at once; those of others may be lost with a connection. Then a task is found by the first
# poll after this time, and by those that wait once the storage says that signals were missed.
_LOOK_SECONDS = 1.0
# After so many looks that find nobody waiting, an engine takes back what it has told others of those who wait at it.
_LOOKS_ALONE = 2


@dataclass(eq=False)
class _Poll:
    """A worker that waits for a task."""

    worker: WorkerProfile
    skills: frozenset[str]
    is_gone: Callable[[], bool]
    limit: int = 1
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Dispatcher:
    """Hands tasks to workers.

    Args:
        storage: where tasks wait.
        clock: for parking.
        lease: seconds that a claim lasts once a heartbeat confirmed it; no unconfirmed claim lasts longer.
        meter: counts what is handed out.
        reputations: of the workers; None to ask for none.
        owner: name of this engine, unlike any other's; one is made up if empty.
        recent: remembers what is handed out; None for nobody.
        outgoing: gives claimed tasks their large params back; None where these stay with their tasks.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        lease: float,
        meter: Meter = SILENT,
        reputations: Reputations | None = None,
        owner: str = "",
        recent: Recent | None = None,
        outgoing: Outgoing | None = None,
    ) -> None:
        self._outgoing = outgoing
        self._recent = Recent() if recent is None else recent
        self._meter = meter
        self._reputations = Reputations(storage, clock) if reputations is None else reputations
        self._storage = storage
        self._clock = clock
        self._lease = lease
        # In the order in which they were parked; keyed by skill so that a signal looks only at polls that want it.
        self._parked: dict[str, dict[_Poll, None]] = {}
        self._number = 0
        self._turns: Counter[str] = Counter()
        # Those in which tasks wait, as the last look and the signals since then tell.
        self._queues: dict[str, Queue] = {}
        # What the signals told since the last look began: its answer may be older.
        self._heard: dict[str, Queue] = {}
        self._look: asyncio.Future[bool] | None = None
        self._looks_at = float("-inf")
        # How many tasks waited in some queues when many were last taken from them: a guess, for the next share.
        self._left: dict[tuple[str, ...], int] = {}
        self._closed = False
        self._elsewhere = Elsewhere(storage, clock, owner)
        self._exchanges = False
        self._choosing: set[asyncio.Task[None]] = set()
        self._unsubscribe = storage.subscribe(self._on_signal, "task", "slot", "missed")

    @property
    def parked(self) -> int:
        """How many polls wait now."""
        return self._number

    def close(self) -> None:
        """Answers all parked polls with nothing, and parks no more."""
        self._closed = True
        self._unsubscribe()
        for choosing in self._choosing:
            choosing.cancel()
        for polls in list(self._parked.values()):
            for poll in polls:
                poll.woken.set()

    async def leave(self) -> None:
        """Takes back what this engine told others of those who wait at it; nobody does after ``close``."""
        await asyncio.gather(*self._choosing, return_exceptions=True)
        with contextlib.suppress(StorageError):
            await self._elsewhere.leave()

    async def next_task(
        self,
        worker: WorkerProfile,
        seconds: float,
        *,
        skills: Collection[str] | None = None,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> Task | None:
        """Waits for a task that the worker may do, and claims it.

        Args:
            worker: who asks.
            seconds: how long to wait at most.
            skills: only these, if the poll said so; else what the worker can start now.
            is_gone: whether the asking side has hung up; a task is not claimed for it then.

        Returns:
            The claimed task; None if there was none in time.
        """
        tasks = await self.next_tasks(worker, seconds, 1, skills=skills, is_gone=is_gone)
        return tasks[0] if tasks else None

    async def next_tasks(
        self,
        worker: WorkerProfile,
        seconds: float,
        limit: int,
        *,
        skills: Collection[str] | None = None,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> Sequence[Task]:
        """Waits for a task that the worker may do, and claims it with those behind it.

        What waits is shared out: nobody gets more than one while there are no more tasks than workers that ask.

        Args:
            worker: who asks.
            seconds: how long to wait at most.
            limit: how many tasks it takes at most.
            skills: only these, if the poll said so; else what the worker can start now.
            is_gone: whether the asking side has hung up; no task is claimed for it then.

        Returns:
            The claimed tasks; none if there was none in time.
        """
        # A worker that polls has room, whatever its last heartbeat said; which of its skills have room, only that says.
        wanted = frozenset(skills if skills is not None else worker.available or worker.skill_names)
        poll = _Poll(worker, wanted, is_gone, limit)
        now = self._clock.now()
        ends_at = end_of_poll(now, seconds, self.parked)
        self._park(poll)
        try:
            while not is_gone():
                poll.woken.clear()
                tasks, is_held_up = await self._claim(poll)
                if tasks:
                    return tasks
                left = ends_at - self._clock.now()
                if self._closed or left <= 0:
                    return ()
                try:
                    await self._clock.wait_for(poll.woken.wait(), min(left, _LIMIT_PAUSE) if is_held_up else left)
                except TimeoutError:
                    if not is_held_up:
                        return ()
            return ()
        finally:
            self._unpark(poll)
            # Set again since its last look at the queues, also where that look brought a task: that was another one.
            if poll.woken.is_set():
                self._pass_on(poll)

    async def release(self, task: Task) -> None:
        """Puts back a task whose answer could not be written to the worker."""
        await self._storage.release_task(TaskClaim(task.id, task.attempt, task.worker_id))

    async def _claim(self, poll: _Poll) -> tuple[Sequence[Task], bool]:
        """Returns tasks, and if there are none, whether a limit may hold one up that the worker could do."""
        await self._reputations.refresh()
        if self._reputations.is_barred(poll.worker.worker_id):
            return (), False
        # Most often a task waits in a queue that is known: then nobody need be asked for the others.
        tasks = await self._take(poll, self._wanted(poll))
        wanted: list[Queue] = []
        if not tasks:
            if await self._look_again():
                tasks = await self._take(poll, self._wanted(poll))
            wanted = self._wanted(poll)
        if tasks:
            self._elsewhere.served(poll.worker.worker_id)
        for task in tasks:
            self._turns[task.type] += 1
            if task.strategy == "round_robin" and self._elsewhere.has_others:
                # Beside the claim: nothing may come between a task and the answer to its worker.
                self._soon(self._count_turn(task.type))
            self._meter.task_claimed(task)
            log.debug(
                "handed out a task",
                extra={
                    "action": "task_claimed",
                    "job_id": task.job_id,
                    "task_id": task.id,
                    "worker_id": poll.worker.worker_id,
                },
            )
        return tasks, any(queue.limits for queue in wanted)

    async def _look_again(self) -> bool:
        """Asks in which queues tasks wait, once for all polls that want to know; returns whether it is news.

        Raises:
            StorageError: the storage does not answer; all that wait for this look are told so at the same time.
        """
        while self._look is not None:
            # The look is another poll's; if that one is given up meanwhile, somebody else looks.
            if await asyncio.shield(self._look):
                return True
        if self._clock.now() < self._looks_at:
            return False
        look = self._look = asyncio.get_running_loop().create_future()
        try:
            await self._list_queues()
            look.set_result(True)
        except StorageError as error:
            look.set_exception(error)
            look.exception()  # nobody else may have waited for it
            raise
        finally:
            self._look = None
            if not look.done():
                look.set_result(False)
        return True

    async def _list_queues(self) -> None:
        looks_at = self._clock.now() + _LOOK_SECONDS
        self._heard = {}
        found = await self._storage.list_queues()
        self._queues = {queue.name: queue for queue in found} | self._heard
        self._looks_at = looks_at

    async def _take(self, poll: _Poll, queues: Sequence[Queue]) -> Sequence[Task]:
        """Claims tasks, all of which can go out."""
        while claimed := await self._claim_from(poll, queues):
            tasks = claimed if self._outgoing is None else await self._outgoing.whole(claimed)
            if tasks:
                return tasks
        return ()

    async def _claim_from(self, poll: _Poll, queues: Sequence[Queue]) -> Sequence[Task]:
        if not queues:
            return ()
        worker_id, lease = poll.worker.worker_id, min(START_LEASE, self._lease)
        names = tuple(queue.name for queue in queues)
        if poll.limit == 1:
            return await self._take_one(worker_id, names, lease)
        others = self._others({queue.task_type for queue in queues})
        # What was left a moment ago says how much to ask for; where it was too little, a second look takes the rest.
        share = fair_share(self._left.get(names, 0), others, poll.limit)
        taken = await self._take_many(worker_id, names, lease, share)
        tasks, left = list(taken.tasks), taken.left
        more = fair_share(len(tasks) + left, others, poll.limit) - len(tasks)
        if left and more > 0:
            # What is claimed already goes out whatever happens here.
            with contextlib.suppress(StorageError):
                taken = await self._take_many(worker_id, names, lease, more)
                tasks += taken.tasks
                left = taken.left
        if len(self._left) >= _GUESSES:
            self._left.clear()
        self._left[names] = left
        return tasks

    async def _take_many(self, worker_id: str, names: Sequence[str], lease: float, limit: int) -> TakenTasks:
        taken = await self._storage.claim_tasks(worker_id, names, lease, limit, REMEMBERED_BYTES)
        for task in taken.tasks:
            job = taken.jobs.get(task.job_id)
            if job is not None:
                self._recent.hand_out(task, job)
        return taken

    async def _take_one(self, worker_id: str, names: Sequence[str], lease: float) -> Sequence[Task]:
        taken = await self._storage.claim_task_and_job(worker_id, names, lease, REMEMBERED_BYTES)
        if taken is None:
            return ()
        task, job = taken
        if job is not None:
            self._recent.hand_out(task, job)
        return (task,)

    def _others(self, task_types: Collection[str]) -> int:
        """Returns how many polls besides one wait for such tasks, here and at other engines."""
        return sum(len(self._parked.get(one, ())) - 1 + self._elsewhere.count(one) for one in task_types)

    def _wanted(self, poll: _Poll) -> list[Queue]:
        """Returns the queues that the worker qualifies for, of those in which tasks waited lately."""
        return [
            queue
            for queue in self._queues.values()
            if queue.task_type in poll.skills
            and is_qualified(poll.worker, queue.task_type, queue.requirements, queue.max_cost)
        ]

    # --- parking ---

    def _park(self, poll: _Poll) -> None:
        self._number += 1
        for skill in poll.skills:
            self._parked.setdefault(skill, {})[poll] = None
        if not self._exchanges and not self._closed:
            self._exchanges = True
            self._soon(self._exchange())

    def _unpark(self, poll: _Poll) -> None:
        self._number -= 1
        for skill in poll.skills:
            polls = self._parked.get(skill)
            if polls is not None:
                polls.pop(poll, None)
                if not polls:
                    del self._parked[skill]

    def _on_signal(self, signal: Signal) -> None:
        """Wakes one poll for one queued task, chosen by the task's strategy, or for one place under a limit."""
        if signal.queue is not None:
            self._queues[signal.queue.name] = self._heard[signal.queue.name] = signal.queue
        if signal.kind == "missed":
            self._soon(self._wake_for_missed())
        elif signal.kind == "slot":
            self._wake_next(signal.key)
        elif signal.preferred and signal.patience:
            self._soon(self._wake_preferred(signal))
        elif signal.strategy == "least_connections":
            self._soon(self._wake_least_busy(signal))
        elif signal.strategy == "round_robin" and self._elsewhere.has_others:
            self._soon(self._wake_in_turn(signal))
        else:
            self._wake(signal)

    def _free(self, signal: Signal) -> Iterator[_Poll]:
        """Gives the sleeping polls that qualify for the task that was queued, the oldest first."""
        return (
            poll
            for poll in self._parked.get(_type_of(signal), ())
            if not poll.woken.is_set() and not poll.is_gone() and self._suits(poll.worker, signal)
        )

    def _free_elsewhere(self, signal: Signal) -> list[WorkerProfile]:
        """Returns those that wait at other engines and qualify."""
        told = self._elsewhere.waiting(_type_of(signal))
        return list(islice((worker for worker in told if self._suits(worker, signal)), _CANDIDATES))

    def _suits(self, worker: WorkerProfile, signal: Signal) -> bool:
        queue = signal.queue
        return not self._reputations.is_barred(worker.worker_id) and (
            queue is None or is_qualified(worker, queue.task_type, queue.requirements, queue.max_cost)
        )

    def _wake(
        self, signal: Signal, held: Mapping[str, int] | None = None, turn: int | None = None, *, holds: bool = True
    ) -> None:
        """Wakes the best poll; if a worker elsewhere is better and the task may be held for it, a moment later."""
        free, task_type = list(islice(self._free(signal), _CANDIDATES)), _type_of(signal)
        if not free:
            return
        # Behind those that wait here: among equals no engine waits for another.
        elsewhere = self._free_elsewhere(signal) if holds else []
        index = choose(
            signal.strategy,
            task_type,
            [*(poll.worker for poll in free), *elsewhere],
            self._turns[task_type] if turn is None else turn,
            preferred=signal.preferred,
            held=held,
            reputation=self._reputations.score,
        )
        if index < len(free):
            free[index].woken.set()
        else:
            self._elsewhere.expect(elsewhere[index - len(free)].worker_id)
            self._soon(self._wake_later(signal, held, turn))

    async def _wake_later(self, signal: Signal, held: Mapping[str, int] | None, turn: int | None) -> None:
        """Wakes a poll here if the task was not taken elsewhere; that it was, the poll finds out."""
        await self._clock.sleep(HOLD)
        self._wake(signal, held, turn, holds=False)

    def _soon(self, choice: Coroutine[None, None, None]) -> None:
        """Does what has to ask the storage, or to wait."""
        choosing = asyncio.create_task(choice, name="avtomatika-choice")
        self._choosing.add(choosing)
        choosing.add_done_callback(self._choosing.discard)

    async def _wake_preferred(self, signal: Signal) -> None:
        """Leaves the task to the worker that did the job's last one for a while, as long as that worker lives."""
        mine = next((poll for poll in self._free(signal) if poll.worker.worker_id == signal.preferred), None)
        if mine is not None:
            mine.woken.set()
            return
        # It has just sent its result, and asks for the next task in a moment.
        with contextlib.suppress(StorageError):
            if await self._storage.find_worker(signal.preferred) is not None:
                await self._clock.sleep(signal.patience)
        self._wake(signal)

    async def _wake_least_busy(self, signal: Signal) -> None:
        """Counts what the workers hold: their heartbeats tell it too late."""
        polls = list(islice(self._free(signal), _CANDIDATES))
        workers = [*(poll.worker for poll in polls), *self._free_elsewhere(signal)] if polls else []
        held = None
        with contextlib.suppress(StorageError):
            ids = list(dict.fromkeys(worker.worker_id for worker in workers)) if len(workers) > 1 else []
            claims = await asyncio.gather(*map(self._storage.list_claims, ids))
            held = {worker_id: len(holds) for worker_id, holds in zip(ids, claims, strict=True)}
        self._wake(signal, held)

    async def _wake_in_turn(self, signal: Signal) -> None:
        """Asks whose turn it is among the workers of all engines."""
        turn = None
        with contextlib.suppress(StorageError):
            turn = await self._elsewhere.turn(_type_of(signal))
        self._wake(signal, turn=turn)

    async def _count_turn(self, task_type: str) -> None:
        with contextlib.suppress(StorageError):
            await self._elsewhere.count_turn(task_type)

    async def _exchange(self) -> None:
        """Exchanges with other engines who waits where, until nobody has waited here at two looks in a row."""
        looks_alone = 0
        try:
            while self._parked or looks_alone < _LOOKS_ALONE:
                try:
                    await self._elsewhere.exchange(self._waiting())
                except StorageError:
                    pass
                except Exception:
                    # Tasks are handed out without it as well.
                    log.exception("who waits elsewhere is not known", extra={"action": "exchange_failed"})
                await self._clock.sleep(self._elsewhere.pause)
                looks_alone = 0 if self._parked else looks_alone + 1
                if looks_alone == _LOOKS_ALONE:
                    with contextlib.suppress(StorageError):
                        await self._elsewhere.leave()
        finally:
            self._exchanges = False

    def _waiting(self) -> list[Waiting]:
        """Returns who waits here; if they are many, some of each skill."""
        share = min(_CANDIDATES, MOST_TOLD // max(1, len(self._parked)) or 1)
        polls = {poll: None for skill in self._parked.values() for poll in islice(skill, share)}
        return [(poll.worker, poll.skills) for poll in polls if not poll.is_gone()]

    async def _wake_for_missed(self) -> None:
        """Looks which tasks wait, and wakes polls for them: other engines queued them, and nobody heard of it here."""
        while not await self._looks_now():
            await self._clock.sleep(_LOOK_SECONDS)
        for queue in list(self._queues.values()):
            for _ in range(min(queue.length, len(self._parked.get(queue.task_type, ())))):
                # No other engine is waited for: had one a worker for it, the task would be gone.
                self._wake(Signal("task", queue.name, queue=queue), holds=False)

    async def _looks_now(self) -> bool:
        """Looks whatever was found a moment ago; returns whether the storage answered."""
        with contextlib.suppress(StorageError):
            while self._look is not None:
                # Not this one: it may have begun before the tasks were queued.
                await asyncio.shield(self._look)
            self._looks_at = float("-inf")
            return await self._look_again()
        return False

    def _wake_next(self, skill: str) -> None:
        """Wakes the poll that has slept longest."""
        sleeping = next((one for one in self._parked.get(skill, ()) if not one.woken.is_set()), None)
        if sleeping is not None:
            sleeping.woken.set()

    def _pass_on(self, poll: _Poll) -> None:
        """Wakes others in place of a poll that was woken and left without a task."""
        for skill in poll.skills:
            self._wake_next(skill)


def _type_of(signal: Signal) -> str:
    return signal.queue.task_type if signal.queue else signal.key.partition("#")[0]
