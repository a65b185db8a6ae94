"""How much of a core the live views cost: 10,000 jobs in the table, 200 changes a second.

    python -m benchmarks.live [--seconds 10]

The events come from a script, not from an engine, so that what is measured is the kernel's side of the views: the feed,
the table, and the messages to the browser. The processor's time counts, not the clock's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import comm

from avtomatika.client import AsyncClient
from avtomatika.client.streaming import Event
from avtomatika.notebook import Workbench
from benchmarks.setting import describe

_JOBS, _RATE = 10_000, 200
_STATUSES = ("pending", "running", "waiting_for_worker", "finished")


class Browser:
    """Takes what a widget sends, and counts it."""

    sent = 0
    size = 0

    def __init__(self, **_: Any) -> None:
        self.comm_id = f"comm-{id(self)}"

    def send(self, data: Any = None, **_: Any) -> None:
        """Counts a message as the bytes that it is on the wire."""
        Browser.sent += 1
        Browser.size += len(json.dumps(data, default=str))

    def close(self, *_: Any, **__: Any) -> None:
        """Nothing is left."""

    def on_msg(self, _hear: object) -> None:
        """It says nothing."""

    def on_close(self, _hear: object) -> None:
        """It never closes."""


async def changes(*_arguments: Any, **_options: Any) -> AsyncGenerator[Event, None]:
    """Tells of 200 changes a second, of jobs chosen in turn."""
    yield Event("hello", {}, "0")
    number = 0
    while True:
        for _ in range(_RATE // 20):
            number += 1
            place = number * 37 % _JOBS
            data = {
                "job_id": f"job-{place:05}",
                "blueprint_name": f"blueprint-{place % 7}",
                "status": _STATUSES[number % 4],
                "current_state": f"state-{number % 5}",
                "progress": number % 100 / 100,
                "updated_at": time.time(),
            }
            yield Event("job", data, str(number))
        await asyncio.sleep(0.05)


def bench_with_changes() -> Workbench:
    """Returns a workbench whose views hear of the script's changes."""
    AsyncClient.changes = changes  # type: ignore[method-assign]
    return Workbench(live=True)


def fill(wb: Workbench) -> None:
    """Lets the views know of 10,000 jobs."""
    for place in range(_JOBS):
        event = {"job_id": f"job-{place:05}", "blueprint_name": f"blueprint-{place % 7}", "status": "running"}
        wb._feed.book.change({**event, "current_state": "s", "updated_at": 1.0 + place})  # noqa: SLF001


def main() -> None:
    """Prints the share of a core with and without the views."""
    parser = argparse.ArgumentParser(description="cost of the live views")
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    comm.create_comm = Browser  # type: ignore[assignment]
    with bench_with_changes() as wb:
        wb._desk.outputs._screen = _Nowhere()  # noqa: SLF001 - there is no notebook here
        idle = _share(seconds / 2)
        board = wb.dashboard()
        board._ipython_display_()
        fill(wb)
        time.sleep(1.0)
        Browser.sent = Browser.size = 0
        heard = wb._feed.book.version  # noqa: SLF001
        busy = _share(seconds)
        heard = wb._feed.book.version - heard  # noqa: SLF001
    rate, kilobytes = Browser.sent / seconds, Browser.size / seconds / 1e3
    print(describe("processor time of the kernel's process"))
    print(f"{_JOBS:,} jobs, {heard / seconds:.0f} changes a second, {seconds:g} s")
    print(f"without views {idle:6.1%} of a core")
    print(f"a dashboard   {busy:6.1%} of a core, {rate:.1f} messages and {kilobytes:.0f} kB a second")


def _share(seconds: float) -> float:
    before = time.process_time()
    time.sleep(seconds)
    return (time.process_time() - before) / seconds


class _Nowhere:
    def show(self, bundle: Any, display_id: str) -> None:
        """Shows nothing."""

    def replace(self, bundle: Any, display_id: str) -> None:
        """Replaces nothing."""


if __name__ == "__main__":
    main()
