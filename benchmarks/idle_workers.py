"""What a thousand idle workers cost an engine, and how soon a task reaches one of them.

    python -m benchmarks.idle_workers [--workers 1000] [--seconds 60] [--tasks 500] [--rate 20] [--storage redis ...]

Each worker does as its SDK does when there is nothing to do. A published one has a poll of 30 seconds open on one
connection, and a heartbeat goes over another one every 15 seconds. One of our SDK polls as well, and sends a heartbeat
every five minutes, since its polls stand for the others; the load of its machine does not change. What each sends comes
evenly spread. Memory is what the engine's process has more with them than before, the share of a core is processor
time. Then jobs begin at a steady rate, and the time counts from the handler that dispatches a task to the worker that
has its whole answer; both read the clock of one machine. At last the same workers come to a bare aiohttp server in the
same process, which holds polls, and reads and answers heartbeats: the ratio of the shares is the figure to compare
between machines.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import time
from enum import StrEnum
from urllib.parse import urlencode

from avtomatika import loops
from avtomatika.protocol.heartbeats import encode_heartbeat
from avtomatika.protocol.messages import Heartbeat, Result, Skill, WorkerProfile
from avtomatika.protocol.polls import encode_poll
from avtomatika.protocol.registration import encode_register
from avtomatika.protocol.results import encode_result
from benchmarks import http_lines
from benchmarks.engine_program import CLIENT_TOKEN, WORKER_TOKEN
from benchmarks.setting import DURABILITY, describe, kind_of, options_of, storage_uri

_POLL_SECONDS = 30.0
_NOTHING = 204
_SKILL, _HASH = "ping", "5f0c"


class Sdk(StrEnum):
    """Whose workers there are."""

    PUBLISHED = "published"
    OUR = "our"

    @property
    def heartbeat_seconds(self) -> float:
        """Seconds between two heartbeats."""
        return 15.0 if self is Sdk.PUBLISHED else 300.0

    @property
    def query(self) -> dict[str, str]:
        """What a poll says."""
        if self is Sdk.PUBLISHED:
            return encode_poll(_POLL_SECONDS, [_SKILL])
        return encode_poll(_POLL_SECONDS, [_SKILL], limit=10, quiet=_HASH)


class Herd:
    """Idle workers of one engine.

    Args:
        port: of the engine.
        number: how many.
        sdk: whose they are.
        seconds: how long they are left alone before they are measured.
    """

    def __init__(self, port: int, number: int, sdk: Sdk, seconds: float) -> None:
        self._port, self._number, self._sdk = port, number, sdk
        self._spread = min(seconds, _POLL_SECONDS)
        self._running: list[asyncio.Task[None]] = []
        self._lines: list[http_lines.Line] = []
        self.starts: list[float] = []
        """Seconds from the dispatch of each task to its arrival."""
        self._arrived = asyncio.Event()

    async def start(self) -> None:
        """Registers all workers and lets them poll and beat, evenly spread."""
        for number in range(self._number):
            worker_id = f"w{number}"
            poll, beat = await http_lines.Line.open(self._port), await http_lines.Line.open(self._port)
            self._lines += [poll, beat]
            profile = WorkerProfile(
                worker_id, skills=(Skill(_SKILL),), available=frozenset({_SKILL}), max_tasks=10, skills_hash=_HASH
            )
            await beat.ask(self._request("POST", "workers/register", worker_id, encode_register(profile, time.time())))
            await self._beat(beat, worker_id)
            part = number / self._number
            self._running.append(asyncio.create_task(self._poll(poll, worker_id, self._spread * part)))
            delay = self._sdk.heartbeat_seconds * part
            self._running.append(asyncio.create_task(self._beat_forever(beat, worker_id, delay)))

    async def arrive(self, number: int) -> None:
        """Returns when so many tasks have reached workers."""
        while len(self.starts) < number:
            self._arrived.clear()
            await self._arrived.wait()

    async def stop(self) -> None:
        """Hangs up."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for line in self._lines:
            line.close()

    async def _poll(self, line: http_lines.Line, worker_id: str, delay: float) -> None:
        query = urlencode(self._sdk.query)
        request = self._request("GET", f"workers/{worker_id}/tasks/next?{query}", worker_id)
        await asyncio.sleep(delay)
        while True:
            status, body = await line.ask(request)
            arrived_at = time.time()
            if status == _NOTHING:
                continue
            told = json.loads(body)
            for task in told.get("tasks", [told]):
                self.starts.append(arrived_at - task["params"]["sent_at"])
                result = encode_result(Result(task["job_id"], task["task_id"], worker_id), arrived_at)
                await line.ask(self._request("POST", "tasks/result", worker_id, result))
            self._arrived.set()

    async def _beat_forever(self, line: http_lines.Line, worker_id: str, delay: float) -> None:
        await asyncio.sleep(delay)
        while True:
            await self._beat(line, worker_id)
            await asyncio.sleep(self._sdk.heartbeat_seconds)

    async def _beat(self, line: http_lines.Line, worker_id: str) -> None:
        heartbeat = Heartbeat(worker_id, current_tasks=(), available=frozenset({_SKILL}), skills_hash=_HASH)
        await line.ask(
            self._request("PATCH", f"workers/{worker_id}", worker_id, encode_heartbeat(heartbeat, time.time()))
        )

    @staticmethod
    def _request(method: str, path: str, worker_id: str, body: object = None) -> bytes:
        headers = {"X-Worker-Token": WORKER_TOKEN, "X-Worker-ID": worker_id}
        return http_lines.request(method, f"/_worker/{path}", headers, body)


async def submit(port: int, number: int, rate: float) -> None:
    """Creates jobs at a steady rate."""
    line = await http_lines.Line.open(port)
    began = time.perf_counter()
    for count in range(number):
        await asyncio.sleep(max(0.0, began + count / rate - time.perf_counter()))
        await line.ask(http_lines.request("POST", "/api/v1/ping", {"X-Client-Token": CLIENT_TOKEN}, {}))
    line.close()


async def idle_share(ports: dict[str, int], seconds: float) -> float:
    """Returns the share of a core that the engine's process uses, once all poll, and what is made once is there."""
    await asyncio.sleep(min(seconds, _POLL_SECONDS + 1))
    first, began = await http_lines.usage(ports), time.perf_counter()
    await asyncio.sleep(seconds)
    last = await http_lines.usage(ports)
    return (last.processor - first.processor) / (time.perf_counter() - began)


async def measure(ports: dict[str, int], options: argparse.Namespace, sdk: Sdk) -> str:
    """Returns what was measured, as a sentence."""
    before = await http_lines.usage(ports)
    herd = Herd(ports["engine"], options.workers, sdk, options.seconds)
    await herd.start()
    try:
        share = await idle_share(ports, options.seconds)
        memory = ((await http_lines.usage(ports)).memory - before.memory) / options.workers / 1024
        await submit(ports["engine"], options.tasks, options.rate)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(herd.arrive(options.tasks), 30)
        if len(herd.starts) < options.tasks:
            raise SystemExit(f"only {len(herd.starts)} of {options.tasks} tasks reached a worker.")
    finally:
        await herd.stop()
    bare = Herd(ports["bare"], options.workers, sdk, options.seconds)
    await bare.start()
    try:
        bare_share = await idle_share(ports, options.seconds)
    finally:
        await bare.stop()
    starts = sorted(herd.starts)
    middle, p99, worst = statistics.median(starts), starts[min(len(starts) - 1, int(len(starts) * 0.99))], starts[-1]
    return (
        f"{memory:.1f} KiB for each, {share:.2%} of a core while idle, {share / bare_share:.1f} times "
        f"the bare server's {bare_share:.2%}; a task starts after "
        f"{middle * 1000:.1f} ms (median), {p99 * 1000:.1f} ms (p99), {worst * 1000:.1f} ms (worst)"
    )


def main() -> None:
    """Measures and prints."""
    parser = options_of(__doc__, ["redis", "memory"])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to measure the idle workers")
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--rate", type=float, default=20.0, help="jobs that begin in a second")
    parser.add_argument("--sdk", nargs="+", default=list(Sdk), choices=list(Sdk), help="whose workers they are")
    options = parser.parse_args()
    print(
        describe(f"{options.workers} idle workers for {options.seconds:g} s, then {options.tasks} tasks, history off")
    )
    for storage in options.storage:
        for sdk in options.sdk:
            with storage_uri(storage) as uri, http_lines.engine(uri) as ports:
                told = loops.run(measure(ports, options, Sdk(sdk)))
            name = f"{kind_of(storage)} ({DURABILITY[kind_of(storage)]}), {sdk} workers"
            print(f"  {name}: {told}", flush=True)


if __name__ == "__main__":
    main()
