"""How many tasks go to workers and back over HTTP in a second: a poll and a result for each, one task per request.

    python -m benchmarks.round_trips [--tasks 3000] [--workers 32] [--rounds 3] [--fan-out 1 50] [--storage redis ...]

The workers are one process of their own that speaks the worker protocol and does nothing else. All tasks wait before
the clock starts; it stops when the last result is accepted. The engine goes on with the jobs meanwhile: with one task
for each job every round trip brings steps of its own, with a fan-out few do. The figure to compare between machines is
the ratio to a bare aiohttp server that answers the same number of requests and does nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from urllib.parse import urlencode

from avtomatika import loops
from avtomatika.protocol.messages import Result, Skill, WorkerProfile
from avtomatika.protocol.polls import encode_poll
from avtomatika.protocol.registration import encode_register
from avtomatika.protocol.results import encode_result
from benchmarks import http_lines
from benchmarks.engine_program import WORKER_TOKEN
from benchmarks.setting import DURABILITY, describe, kind_of, storage_uri

_HEADERS = {"X-Worker-Token": WORKER_TOKEN}
_OK = 200


async def register(port: int, workers: int) -> None:
    """Registers the workers."""
    line = await http_lines.Line.open(port)
    for number in range(workers):
        body = encode_register(WorkerProfile(f"w{number}", skills=(Skill("errand"),)), time.time())
        status, _ = await line.ask(http_lines.request("POST", "/_worker/workers/register", _HEADERS, body))
        if status != _OK:
            raise SystemExit(f"a worker was refused: {status}")
    line.close()


async def measure(ports: dict[str, int], uri: str, options: argparse.Namespace) -> http_lines.Rate:
    """Measures the bare server, then the engine."""
    await register(ports["engine"], options.workers)
    names = itertools.count()
    workers: dict[http_lines.Line, str] = {}
    query = urlencode(encode_poll(5.0, ["errand"]))

    async def go(line: http_lines.Line) -> None:
        worker_id = workers.setdefault(line, f"w{next(names)}")
        headers = {**_HEADERS, "X-Worker-ID": worker_id}
        path = f"/_worker/workers/{worker_id}/tasks/next?{query}"
        status, body = await line.ask(http_lines.request("GET", path, headers))
        if status != _OK:
            raise SystemExit(f"a poll was answered {status}")
        task = json.loads(body)
        result = encode_result(Result(task["job_id"], task["task_id"], worker_id, data={"done": True}), time.time())
        _, answer = await line.ask(http_lines.request("POST", "/_worker/tasks/result", headers, result))
        if json.loads(answer)["status"] != "accepted":
            raise SystemExit(f"a result was answered {answer.decode()}")

    question = http_lines.request("POST", "/", {}, {"text": "x" * 100})

    async def go_bare(line: http_lines.Line) -> None:
        await line.ask(question)
        await line.ask(question)

    bare = await http_lines.rate(ports["bare"], options.workers, options.tasks, go_bare)
    return await http_lines.measure(
        ports,
        uri,
        bare,
        lambda: http_lines.rate(ports["engine"], options.workers, options.tasks, go),
        options.tasks,
    )


def run_round(storage: str, fan_out: int, options: argparse.Namespace) -> http_lines.Rate:
    """Returns one measurement on an empty storage."""
    jobs = str(-(-options.tasks // fan_out))
    arguments = ["--jobs", jobs, "--fan-out", str(fan_out)]
    with storage_uri(storage) as uri, http_lines.engine(uri, *arguments) as ports:
        return loops.run(measure(ports, uri, options))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=32, help="each with one connection and one task at a time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fan-out", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--storage", nargs="+", default=["redis", "memory"], metavar="NAME_OR_URI")
    options = parser.parse_args()
    print(describe(f"{options.tasks} tasks for {options.workers} workers, history off, {options.rounds} rounds"))
    cases = list(itertools.product(options.storage, options.fan_out))
    rounds = [{case: run_round(*case, options) for case in cases} for _ in range(options.rounds)]
    for storage, fan_out in cases:
        found = [one[storage, fan_out] for one in rounds]
        spread = f"from {min(found).a_second:,.0f} to {max(found).a_second:,.0f}"
        where = f"{kind_of(storage):<7} ({DURABILITY[kind_of(storage)]}), one process, {fan_out} tasks to a job"
        print(f"  {where}: median {http_lines.median(found)} ({spread})")


if __name__ == "__main__":
    main()
