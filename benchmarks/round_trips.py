"""How many tasks go to workers and back over HTTP in a second: one at a time, or many.

    python -m benchmarks.round_trips [--tasks 3000] [--workers 32] [--rounds 3] [--fan-out 1 50]
        [--like published single batches] [--storage redis ...]
    python -m benchmarks.round_trips --storage redis --processes 2

A worker like a published one asks for a task and sends its result, a request each. One like those of this engine's SDK
asks for the next task with its result: ``single`` has one task at a time, and ``batches`` up to 32.

The workers are one process of their own that speaks the worker protocol and does nothing else. All tasks wait before
the clock starts; it stops when the last result is accepted. The engine goes on with the jobs meanwhile: with one task
for each job every round trip brings steps of its own, with a fan-out few do. The figure to compare between machines is
the ratio to a bare aiohttp server that answers the same number of requests and does nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from avtomatika import loops
from avtomatika.protocol.batches import carried_tasks, task_bodies, write_results
from avtomatika.protocol.codec import dumps
from avtomatika.protocol.messages import Result, Skill, WorkerProfile
from avtomatika.protocol.polls import encode_poll, encode_wish
from avtomatika.protocol.registration import encode_register
from avtomatika.protocol.results import encode_result
from avtomatika.protocol.tasks import parse_task
from benchmarks import http_lines
from benchmarks.engine_program import WORKER_TOKEN
from benchmarks.setting import DURABILITY, describe, kind_of, options_of, storage_uri

_HEADERS = {"X-Worker-Token": WORKER_TOKEN}
_OK, _NOTHING = 200, 204
_MANY = 32
_LIKE = {
    "published": "one task in two requests",
    "single": "one task in a request",
    "batches": f"{_MANY} tasks in a request",
}


async def register(port: int, workers: int) -> None:
    """Registers the workers."""
    line = await http_lines.Line.open(port)
    for number in range(workers):
        body = encode_register(WorkerProfile(f"w{number}", skills=(Skill("errand"),)), time.time())
        status, _ = await line.ask(http_lines.request("POST", "/_worker/workers/register", _HEADERS, body))
        if status != _OK:
            raise SystemExit(f"a worker was refused: {status}")
    line.close()


class Workers:
    """The workers of one measurement: each asks for tasks and answers them at once.

    Args:
        ports: of the engine's processes.
        number: how many workers; each has a connection.
        tasks: how many tasks wait in all.
        like: which workers they are like, a key of ``_LIKE``.
    """

    def __init__(self, ports: Sequence[int], number: int, tasks: int, like: str) -> None:
        self._ports, self._number, self._tasks = ports, number, tasks
        self._left = tasks
        self._done = asyncio.Event()
        self._many = like == "batches"
        limit = _MANY if self._many else 1
        self._query = urlencode(encode_poll(5.0, ["errand"], limit=None if like == "published" else limit))
        self._wish = "" if like == "published" else "?" + urlencode(encode_wish(["errand"], (), limit))

    async def rate(self) -> float:
        """Does all tasks and returns how many were done in a second; polls that wait in vain are not waited for."""
        lines = await http_lines.open_lines(self._ports, self._number)
        began = time.perf_counter()
        working = [asyncio.create_task(self._work(line, f"w{number}")) for number, line in enumerate(lines)]
        ended = asyncio.create_task(self._done.wait())
        await asyncio.wait({ended, *working}, return_when=asyncio.FIRST_COMPLETED)
        took = time.perf_counter() - began
        for task in (ended, *working):
            task.cancel()
        ends = await asyncio.gather(ended, *working, return_exceptions=True)
        for line in lines:
            line.close()
        if self._left:
            raise SystemExit(f"{self._left} tasks are not done: {[end for end in ends if isinstance(end, Exception)]}")
        return self._tasks / took

    async def _work(self, line: http_lines.Line, worker_id: str) -> None:
        headers = {**_HEADERS, "X-Worker-ID": worker_id}
        poll = http_lines.request("GET", f"/_worker/workers/{worker_id}/tasks/next?{self._query}", headers)
        bodies: list[Any] = []
        while self._left > 0:
            if not bodies:
                status, body = await line.ask(poll)
                if status == _NOTHING:
                    continue
                bodies = task_bodies(json.loads(body))
            tasks = [parse_task(body) for body in bodies]
            results = [Result(task.job_id, task.task_id, worker_id, data={"done": True}) for task in tasks]
            _, answer = await line.ask(self._told(worker_id, headers, results))
            told = json.loads(answer)
            for one in told["answers"] if self._many else [told]:
                if one["status"] != "accepted":
                    raise ValueError(f"a result was answered {one}")
            bodies = carried_tasks(told)
            self._left -= len(results)
        self._done.set()

    def _told(self, worker_id: str, headers: dict[str, str], results: list[Result]) -> bytes:
        bodies = [encode_result(result, time.time()) for result in results]
        if not self._many:
            return http_lines.request("POST", f"/_worker/tasks/result{self._wish}", headers, bodies[0])
        content = write_results(worker_id, map(dumps, bodies), time.time()).encode()
        return http_lines.request("POST", f"/_worker/tasks/results{self._wish}", headers, content)


async def measure(
    engines: Sequence[dict[str, int]], uri: str, like: str, options: argparse.Namespace
) -> http_lines.Rate:
    """Measures one bare server, then the engine."""
    await register(engines[0]["engine"], options.workers)
    question = http_lines.request("POST", "/", {}, {"text": "x" * 100})

    async def go_bare(line: http_lines.Line) -> None:
        await line.ask(question)
        await line.ask(question)

    bare = await http_lines.rate([engines[0]["bare"]], options.workers, options.tasks, go_bare)
    workers = Workers([one["engine"] for one in engines], options.workers, options.tasks, like)
    return await http_lines.measure(engines, uri, bare, workers.rate, options.tasks)


def run_round(storage: str, fan_out: int, like: str, options: argparse.Namespace) -> http_lines.Rate:
    """Returns one measurement on an empty storage."""
    jobs = str(-(-options.tasks // fan_out))
    shape = ["--fan-out", str(fan_out)]
    with (
        storage_uri(storage) as uri,
        http_lines.engines(uri, options.processes, *shape, alone=["--jobs", jobs]) as engines,
    ):
        return loops.run(measure(engines, uri, like, options))


def main() -> None:
    """Measures and prints."""
    parser = options_of(__doc__, ["redis", "memory"])
    parser.add_argument("--tasks", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=32, help="each with one connection and one task at a time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fan-out", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--like", nargs="+", choices=_LIKE, default=list(_LIKE), help="which workers they are like")
    parser.add_argument("--processes", type=int, default=1, help="of the engine, on one Redis")
    options = parser.parse_args()
    print(describe(f"{options.tasks} tasks for {options.workers} workers, history off, {options.rounds} rounds"))
    cases = list(itertools.product(options.storage, options.fan_out, options.like))
    rounds = [{case: run_round(*case, options) for case in cases} for _ in range(options.rounds)]
    for storage, fan_out, like in cases:
        found = [one[storage, fan_out, like] for one in rounds]
        spread = f"from {min(found).a_second:,.0f} to {max(found).a_second:,.0f}"
        engine = http_lines.processes(options.processes)
        where = f"{kind_of(storage):<7} ({DURABILITY[kind_of(storage)]}), {engine}, {fan_out} tasks to a job"
        print(f"  {where}, {_LIKE[like]}: median {http_lines.median(found)} ({spread})")


if __name__ == "__main__":
    main()
