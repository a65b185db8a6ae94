"""Two engine processes on one Redis, with workers at both: strategies and limits see all of it, and one is killed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from avtomatika.client import AsyncClient
from avtomatika.worker import PermanentError, Worker
from tests.redis_server import RedisServer
from tests.running import Running

pytestmark = pytest.mark.acceptance

CLIENT, WORKER = "the-token-of-the-client", "the-token-of-the-workers"
# What engines tell each other may be seconds old; here it is not, so that nobody waits for it. Who asks /known is told
# which workers an engine believes to wait at the other one.
MODULE = """
import os

from aiohttp import web

from avtomatika import OrchestratorEngine, StateMachineBlueprint
from avtomatika.app_keys import DISPATCHER_KEY
from avtomatika.runtime import dispatcher, elsewhere, reputations

dispatcher.HOLD = float(os.environ["HOLD"])
elsewhere._PAUSE = elsewhere._PAUSE_ALONE = 0.02
reputations._REFRESH_SECONDS = 0.0

bp = StateMachineBlueprint("work", api_endpoint="/work")


@bp.handler_for("begin", is_start=True, transitions=["end", "spoiled"])
async def begin(initial_data, actions):
    strategy = initial_data.get("strategy", "default")
    transitions = {"success": "end", "failure": "spoiled"}
    actions.dispatch_task(initial_data["task"], {}, transitions, dispatch_strategy=strategy)


@bp.handler_for("end", is_end=True)
async def end(by):
    return {"by": by}


@bp.handler_for("spoiled", is_end=True)
async def spoiled():
    pass


async def known(request):
    waiting = engine.app[DISPATCHER_KEY]._elsewhere.waiting("work")
    return web.json_response(sorted(worker.worker_id for worker in waiting))


async def parked(request):
    # Not those that wait for a moment with their result.
    polls = engine.app[DISPATCHER_KEY]._parked.get("work", ())
    return web.json_response(sum(poll.limit > 1 for poll in polls))


exchange, count = elsewhere.Elsewhere.exchange, 0


async def count_exchange(self, waiting):
    global count
    await exchange(self, waiting)
    count += 1


elsewhere.Elsewhere.exchange = count_exchange


async def exchanges(request):
    return web.json_response(count)


engine = OrchestratorEngine()
engine.register_blueprint(bp)
engine.app.router.add_get("/known", known)
engine.app.router.add_get("/parked", parked)
engine.app.router.add_get("/exchanges", exchanges)
"""


class Pair:
    """Two engine processes, their clients, and workers at both.

    Args:
        programs: the processes.
        urls: of the engines.
        http: for what no client does.
        stack: closes what is opened here.
    """

    def __init__(
        self, programs: list[Running], urls: list[str], http: aiohttp.ClientSession, stack: contextlib.AsyncExitStack
    ) -> None:
        self.programs = programs
        self.clients = [AsyncClient(url, CLIENT) for url in urls]
        self._urls = urls
        self._http = http
        self._stack = stack

    async def hire(self, worker_id: str, at: int, cost: float, **tasks: Callable[[], Awaitable[Any]]) -> None:
        """Starts a worker at one of the engines; beside other tasks it does ``work``."""
        worker = Worker(worker_id, url=self._urls[at], token=WORKER, shutdown_timeout=0.0, retry_max=0.2)
        for name, function in {"work": lambda: {"by": worker_id}, **tasks}.items():
            worker.add_task(function, name, cost=cost)
        await self._stack.enter_async_context(worker)
        await worker.wait_until_registered()

    async def knows(self, at: int, *worker_ids: str) -> None:
        """Returns when an engine knows exactly these to wait at the other one."""
        while True:
            async with self._http.get(f"{self._urls[at]}/known") as response:
                if await response.json() == sorted(worker_ids):
                    return
            await asyncio.sleep(0.01)

    async def parks(self, at: int) -> None:
        """Returns when a worker waits at an engine."""
        while True:
            async with self._http.get(f"{self._urls[at]}/parked") as response:
                if await response.json():
                    return
            await asyncio.sleep(0.01)

    async def exchanges(self, at: int, number: int) -> None:
        """Returns when an engine has told and read who waits so many times more."""
        ends_at = float("inf")
        while True:
            async with self._http.get(f"{self._urls[at]}/exchanges") as response:
                count = await response.json()
            ends_at = min(ends_at, count + number)
            if count >= ends_at:
                return
            await asyncio.sleep(0.01)

    async def agree(self) -> None:
        """Returns when each engine knows of the other what is true since the last job has ended."""
        await asyncio.gather(self.parks(0), self.parks(1))
        # One may be on its way; a worker that has just been served is told of by the second one from now on.
        await asyncio.gather(self.exchanges(0, 3), self.exchanges(1, 3))
        await asyncio.gather(self.exchanges(0, 2), self.exchanges(1, 2))

    async def rates(self, at: int, worker_id: str, reputation: float) -> None:
        """Returns when an engine has heard of a worker's reputation."""
        while True:
            known = {worker["worker_id"]: worker["reputation"] for worker in await self.clients[at].workers()}
            if known.get(worker_id) == reputation:
                return
            await asyncio.sleep(0.01)

    async def run(self, at: int, task: str = "work", **data: str) -> dict[str, Any]:
        """Creates a job at an engine and returns it when it has ended."""
        job_id = await self.clients[at].submit("/work", {"task": task, **data})
        return await self.clients[at].wait(job_id, timeout=60)


@pytest.fixture
async def pair(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Pair]:
    """Two engines; of a task ``held`` two run at a time. The parameter: how long a task is left to another, s."""
    (tmp_path / "shop.py").write_text(MODULE)
    settings = {
        "STORAGE_URI": f"redis://127.0.0.1:{redis_server.port}/14",
        "CLIENT_TOKEN": CLIENT,
        "GLOBAL_WORKER_TOKEN": WORKER,
        "API_HOST": "127.0.0.1",
        "RATE_LIMITING_ENABLED": "false",
        "TASK_CONCURRENCY": "held=2",
        "HOLD": str(getattr(request, "param", 0.05)),
    }
    async with contextlib.AsyncExitStack() as stack:
        programs = []
        for name in ("a", "b"):
            program = Running.avtomatika("run", "shop:engine", folder=tmp_path, INSTANCE_ID=name, **settings)
            stack.callback(program.end)
            programs.append(program)
        urls = [(await asyncio.to_thread(program.reads, r"the engine serves at (\S+)"))[1] for program in programs]
        http = await stack.enter_async_context(aiohttp.ClientSession(headers={"X-Client-Token": CLIENT}))
        pair = Pair(programs, urls, http, stack)
        for client in pair.clients:
            await stack.enter_async_context(client)
        yield pair


# On a busy machine the better worker may need longer than the moment for which a task is left to it.
@pytest.mark.parametrize("pair", [20.0], indirect=True)
async def test_strategies_choose_among_the_workers_of_both_engines(pair: Pair) -> None:
    """Wherever the job is, and wherever the worker waits that the strategy wants."""
    door = asyncio.Event()

    async def spoil() -> None:
        raise PermanentError("no good")

    async def hold() -> dict[str, str]:
        await door.wait()
        return {"by": "cheap"}

    async def chosen(strategy: str) -> list[str]:
        who = []
        for at in (0, 1, 0, 1):
            await pair.agree()
            await asyncio.gather(pair.knows(0, "cheap"), pair.knows(1, "dear"))
            who.append((await pair.run(at, strategy=strategy))["result"]["by"])
        return who

    await pair.hire("dear", 0, cost=1.02)
    await pair.hire("cheap", 1, cost=1.0, spoil=spoil, long=hold)

    assert await chosen("cheapest") == ["cheap"] * 4
    assert await chosen("best_value") == ["cheap"] * 4
    turns = await chosen("round_robin")
    assert turns in (["cheap", "dear"] * 2, ["dear", "cheap"] * 2)
    assert (await pair.run(0, "spoil"))["current_state"] == "spoiled"
    await asyncio.gather(pair.rates(0, "cheap", 0.95), pair.rates(1, "cheap", 0.95))
    assert await chosen("best_value") == ["dear"] * 4  # 1.0 / 0.95 is more than 1.02
    held = await pair.clients[0].submit("/work", {"task": "long"})
    while (await pair.clients[0].job(held))["task_worker_id"] is None:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    assert await chosen("least_connections") == ["dear"] * 4
    door.set()
    assert (await pair.clients[1].wait(held, timeout=60))["result"] == {"by": "cheap"}


async def test_limit_counts_the_tasks_of_both_engines(pair: Pair) -> None:
    """Two at a time, wherever they run and wherever their jobs were created."""
    running: set[int] = set()
    most, number, door = 0, iter(range(100)), asyncio.Event()

    async def hold() -> dict[str, str]:
        nonlocal most
        running.add(me := next(number))
        most = max(most, len(running))
        await door.wait()
        running.discard(me)
        return {"by": "whoever"}

    await pair.hire("left", 0, cost=1.0, held=hold)
    await pair.hire("right", 1, cost=1.0, held=hold)
    ids = [await pair.clients[n % 2].submit("/work", {"task": "held"}) for n in range(6)]
    while len(running) < 2:  # noqa: ASYNC110 - the workers tell
        await asyncio.sleep(0.01)
    others = [await pair.run(at) for at in (0, 1, 0, 1)]  # meanwhile both have taken other tasks
    door.set()
    ends = [await pair.clients[n % 2].wait(job_id, timeout=60) for n, job_id in enumerate(ids)]

    assert most == 2
    assert {job["status"] for job in (*others, *ends)} == {"finished"}


async def test_engine_goes_on_alone_when_the_other_is_killed(pair: Pair) -> None:
    """With the jobs of both; it does not wait for the workers that it was told of."""
    await pair.hire("left", 0, cost=1.0)
    await pair.hire("right", 1, cost=2.0)
    await asyncio.gather(pair.knows(0, "right"), pair.knows(1, "left"))
    waiting = await pair.clients[0].submit("/work", {"task": "later"})

    pair.programs[0].process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(pair.programs[0].process.wait, 60)

    await pair.knows(1, "left")
    assert (await pair.run(1, strategy="cheapest"))["result"] == {"by": "right"}

    async def later() -> dict[str, str]:
        return {"by": "late"}

    await pair.hire("late", 1, cost=1.0, later=later)
    assert (await pair.clients[1].wait(waiting, timeout=60))["result"] == {"by": "late"}
