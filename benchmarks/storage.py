"""How many steps a storage writes in a second: 64 jobs at a time, each waiting for one commit before the next.

    python -m benchmarks.storage [--backends memory,sqlite,redis] [--jobs 64] [--steps 100] [--rounds 3]

A step is what an engine writes when a handler returns: the job's changed fields, a new wake-up, two rows of history.
The rounds of the backends alternate, so that a busy machine disturbs all of them; the figure to compare between
machines is the ratio to the memory storage of the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.job import Job, job_fields
from avtomatika.core.states import JobStatus
from avtomatika.storage import MemoryStorage, RedisStorage, SQLiteStorage
from avtomatika.storage.base import Batch, Committed, Ready, Storage
from avtomatika.version import __version__

_FIELDS = frozenset(job_fields())
_CHANGED = frozenset({"state", "state_history", "updated_at", "transitions", "entered_at"})


@contextmanager
def redis_storage(folder: Path) -> Iterator[Storage]:
    """Gives a storage in a Redis server of its own, which writes to its file every second."""
    from redis.asyncio import Redis  # noqa: PLC0415  # the other backends are measured without it

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes", "--save", ""]
    with subprocess.Popen(["redis-server", *options], stdout=subprocess.PIPE, text=True) as server:
        try:
            if server.stdout is None or not any("Ready to accept" in line for line in server.stdout):
                raise SystemExit("redis-server did not start")
            yield RedisStorage(Redis(host="127.0.0.1", port=port))
        finally:
            server.kill()


BACKENDS: dict[str, Callable[[Path], AbstractContextManager[Storage]]] = {
    "memory": lambda _: nullcontext(MemoryStorage()),
    "sqlite": lambda folder: nullcontext(SQLiteStorage(folder / "jobs.db")),
    "redis": redis_storage,
}
"""Each gives an empty storage, in a folder that is empty and goes away afterwards."""


def find_backends() -> list[str]:
    """Returns what can be measured on this machine."""
    return [name for name in BACKENDS if name != "redis" or shutil.which("redis-server")]


async def run_job(storage: Storage, job_id: str, steps: int, latencies: list[float]) -> None:
    """Creates one job and commits its steps one after the other."""
    now = await storage.now()
    job = Job(job_id, "chain", "v1", JobStatus.RUNNING, "s0", now, now, Document.of({"text": "x" * 100}), version=1)
    batch = Batch(job, _FIELDS, now, ready=Ready(now), events=[RecordHistory("job_created", "s0")])
    for number in range(1, steps + 1):
        began = time.perf_counter()
        if await storage.commit(batch) != Committed(job.version):
            raise SystemExit(f"step {number} of {job_id} was refused")
        latencies.append(time.perf_counter() - began)
        now = await storage.now()
        job = replace(
            job,
            version=job.version + 1,
            state=f"s{number}",
            updated_at=now,
            entered_at=now,
            transitions=number,
            state_history=Document.of({"count": number, "text": "y" * 100}),
        )
        batch = Batch(
            job,
            _CHANGED,
            now,
            ready=Ready(now),
            events=[RecordHistory("state_finished", f"s{number - 1}"), RecordHistory("state_started", f"s{number}")],
        )


async def run_backend(storage: Storage, jobs: int, steps: int) -> tuple[float, float]:
    """Returns commits in a second, and the median seconds of one."""
    latencies: list[float] = []
    await storage.open()
    try:
        began = time.perf_counter()
        await asyncio.gather(*(run_job(storage, f"job-{number}", steps, latencies) for number in range(jobs)))
        took = time.perf_counter() - began
        faults = await storage.audit()
    finally:
        await storage.close()
    if faults:
        raise SystemExit(f"the storage is not healthy: {faults[0]}")
    return jobs * steps / took, statistics.median(latencies)


def measure(backend: str, jobs: int, steps: int) -> tuple[float, float]:
    """Runs one round of a backend on an empty storage."""
    with tempfile.TemporaryDirectory() as folder, BACKENDS[backend](Path(folder)) as storage:
        return asyncio.run(run_backend(storage, jobs, steps))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backends", default=",".join(find_backends()), help=f"of: {', '.join(BACKENDS)}")
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    names = options.backends.split(",")
    print(
        f"avtomatika {__version__}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"{options.jobs} jobs at a time, {options.steps} steps each, {options.rounds} rounds"
    )
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            rate, latency = measure(name, options.jobs, options.steps)
            rates[name].append(rate)
            print(f"  {name:10} {rate:9,.0f} commits/s   {latency * 1000:7.2f} ms each")
    first = names[0]
    for name in names:
        ratios = [one / base for one, base in zip(rates[name], rates[first], strict=True)]
        median = statistics.median(ratios)
        print(f"{name:10} {median:6.2f} times {first} (between {min(ratios):.2f} and {max(ratios):.2f})")


if __name__ == "__main__":
    main()
