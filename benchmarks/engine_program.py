"""The engine of the benchmarks over HTTP, in a process of its own, with a bare server beside it to compare with.

    python -m benchmarks.engine_program URI [--jobs 1000] [--fan-out 1] [--busy]

It prints one line of JSON (the ports of both servers) when the tasks of all jobs wait, and ends with its input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

from aiohttp import web
from psutil import Process

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint, loops
from avtomatika.app_keys import STORAGE_KEY
from avtomatika.history.noop import NoopHistory
from avtomatika.storage.base import Storage

CLIENT_TOKEN, WORKER_TOKEN = "client-of-the-benchmark", "worker-of-the-benchmark"
"""What the benchmark's requests carry."""
_AT_A_TIME = 100


def orders_blueprint() -> StateMachineBlueprint:
    """Returns a blueprint whose jobs wait for a worker of a skill that nobody has."""
    blueprint = StateMachineBlueprint("orders", api_endpoint="/orders")

    async def start(actions: ActionFactory) -> None:
        actions.dispatch_task("nobody", transitions={"success": "end"})

    async def end() -> None:
        pass

    blueprint.handler_for("start", is_start=True, transitions=["end"])(start)
    blueprint.handler_for("end", is_end=True)(end)
    return blueprint


def errands_blueprint(fan_out: int) -> StateMachineBlueprint:
    """Returns a blueprint whose jobs have so many parallel tasks, and end with them."""
    blueprint = StateMachineBlueprint("errands")

    async def send_one(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_task("errand", params=initial_data, transitions={"success": "end"})

    async def send_many(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        tasks = [{"task_type": "errand", "params": initial_data} for _ in range(fan_out)]
        actions.dispatch_parallel(tasks, aggregate_into="end")

    async def end() -> None:
        pass

    blueprint.handler_for("start", is_start=True)(send_one if fan_out == 1 else send_many)
    ending = blueprint.handler_for if fan_out == 1 else blueprint.aggregator_for
    ending("end", is_end=True)(end)
    return blueprint


def ping_blueprint() -> StateMachineBlueprint:
    """Returns a blueprint whose jobs send a task that says when it was sent."""
    blueprint = StateMachineBlueprint("ping", api_endpoint="/ping", api_version="v1")

    async def start(actions: ActionFactory) -> None:
        actions.dispatch_task("ping", {"sent_at": time.time()}, transitions={"success": "end"})

    async def end() -> None:
        pass

    blueprint.handler_for("start", is_start=True, transitions=["end"])(start)
    blueprint.handler_for("end", is_end=True)(end)
    return blueprint


def busy_blueprint(done: asyncio.Event) -> StateMachineBlueprint:
    """Returns a blueprint whose jobs keep a handler busy until ``done``."""
    blueprint = StateMachineBlueprint("busy")

    async def start() -> None:
        await done.wait()

    blueprint.handler_for("start", is_start=True, is_end=True)(start)
    return blueprint


async def start_bare() -> web.AppRunner:
    """Starts a server that reads JSON and answers JSON, holds polls, and tells what the process has used."""

    async def reply(request: web.Request) -> web.Response:
        await request.json()
        return web.json_response({"status": "accepted", "job_id": "0"}, status=202)

    async def tell(_request: web.Request) -> web.Response:
        return web.json_response({"processor": time.process_time(), "memory": Process().memory_info().rss})

    async def hold(request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query["timeout"]))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/", reply)
    app.router.add_get("/", tell)
    # What idle workers ask for.
    app.router.add_post("/_worker/workers/register", reply)
    app.router.add_patch("/_worker/workers/{worker_id}", reply)
    app.router.add_get("/_worker/workers/{worker_id}/tasks/next", hold)
    # A poll whose worker has hung up must not keep the server from ending.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


async def wait_for_tasks(storage: Storage, number: int) -> None:
    """Returns when so many tasks wait."""
    queued = asyncio.Event()
    end = storage.subscribe(lambda _: queued.set(), "task")
    while sum(queue.length for queue in await storage.list_queues()) < number:
        await queued.wait()
        queued.clear()
    end()


async def serve(options: argparse.Namespace) -> None:
    """Runs both servers until the input ends."""
    done = asyncio.Event()
    config = Config(
        API_PORT=0,
        API_HOST="127.0.0.1",
        STORAGE_URI=options.uri,
        CLIENT_TOKEN=CLIENT_TOKEN,
        GLOBAL_WORKER_TOKEN=WORKER_TOKEN,
        RATE_LIMITING_ENABLED=False,
        EXECUTOR_MAX_CONCURRENT_JOBS=1 if options.busy else 100,
    )
    engine = OrchestratorEngine(config=config, history=NoopHistory())
    for blueprint in (orders_blueprint(), errands_blueprint(options.fan_out), ping_blueprint(), busy_blueprint(done)):
        engine.register_blueprint(blueprint)
    async with engine:
        bare = await start_bare()
        if options.busy:
            await engine.create_background_job("busy", {})
        left = options.jobs
        while left > 0:
            some = [engine.create_background_job("errands", {"text": "x" * 100}) for _ in range(min(left, _AT_A_TIME))]
            left -= len(await asyncio.gather(*some))
        await wait_for_tasks(engine.app[STORAGE_KEY], options.jobs * options.fan_out)
        print(json.dumps({"engine": engine.port, "bare": bare.addresses[0][1]}), flush=True)
        with loops.rare_collections():  # as in engine.run()
            await asyncio.to_thread(sys.stdin.read)
        done.set()
        await bare.cleanup()


def main() -> None:
    """Reads the options and serves."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("uri")
    parser.add_argument("--jobs", type=int, default=0, help="jobs whose tasks wait before the start")
    parser.add_argument("--fan-out", type=int, default=1, help="tasks of each of them")
    parser.add_argument("--busy", action="store_true", help="one handler is busy, and no other may run")
    loops.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
