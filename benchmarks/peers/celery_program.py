"""The comparison's jobs with Celery: chain, group and chord; broker and results in Redis.

A message is acknowledged after its task, and sent again if the worker's process dies: the same promise as the others'.
"""

from __future__ import annotations

import os

import timing
from celery import Celery, chain, chord

app = Celery("celery_program", broker=os.environ.get("BENCH_URI"), backend=os.environ.get("BENCH_URI"))
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task
def step(count: int) -> int:
    """Counts one up."""
    return count + 1


@app.task
def double(n: int) -> int:
    """Doubles a number."""
    return 2 * n


@app.task
def add_up(numbers: list[int]) -> int:
    """Joins a fan-out."""
    return sum(numbers)


class CeleryPeer:
    """Celery with a worker of as many processes as the machine has cores, its default."""

    def __init__(self) -> None:
        self._processes = timing.Processes()

    async def start(self) -> None:
        """Starts the worker, and waits until it answers."""
        self._processes.start("-m", "celery", "-A", "celery_program", "worker", "-l", "ERROR", "--without-gossip")
        while not app.control.ping(timeout=0.5):
            self._processes.check()

    async def chain(self, number: int) -> None:
        """Chains of signatures: each message carries what is left of its chain."""
        started = [chain(step.s(0), *(step.s() for _ in range(timing.STEPS - 1)))() for _ in range(number)]
        for result in started:
            result.get(timeout=60)

    async def task(self, number: int) -> None:
        """Tasks."""
        for result in [double.delay(n) for n in range(number)]:
            result.get(timeout=60)

    async def fan_out(self, number: int) -> None:
        """Chords: a group and what joins it."""
        started = [chord(double.s(n) for n in range(timing.WIDTH))(add_up.s()) for _ in range(number)]
        for result in started:
            result.get(timeout=60)

    async def create(self, number: int) -> None:
        """Messages in a queue that no worker reads."""
        for n in range(number):
            double.apply_async((n,), queue="nobody")

    async def stop(self) -> None:
        """Ends the worker."""
        self._processes.stop()


if __name__ == "__main__":
    chosen = timing.options()
    os.environ["BENCH_URI"] = chosen.uri
    app.conf.update(broker_url=chosen.uri, result_backend=chosen.uri)
    timing.run(CeleryPeer(), chosen)
