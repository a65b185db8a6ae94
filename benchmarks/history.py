"""How many rows a history takes in a second, in batches as the engine writes them, and what a row weighs that waits.

    python -m benchmarks.history [--batches 40] [--rows 500] [--rounds 5] [--postgresql URI]

SQLite and PostgreSQL take turns, so that a busy machine disturbs both; the figure to compare between machines is their
ratio. Without a URI, a PostgreSQL of its own is started as the tests do it, but with fsync on: both databases wait for
the disk. With one, the database must be empty; its tables are left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import platform
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.history import HistoryEvent
from avtomatika.core.job import Job, job_fields
from avtomatika.core.states import JobStatus
from avtomatika.history.base import History
from avtomatika.history.postgres import PostgresHistory
from avtomatika.history.sqlite import SQLiteHistory
from avtomatika.storage import MemoryStorage
from avtomatika.storage.base import Batch
from avtomatika.version import __version__
from tests.postgres_server import PostgresServer, find_account, find_programs

_ROWS_OF_A_JOB = 8
_DATA = {"customer": "c-1042", "items": [{"sku": f"s{n}", "count": n} for n in range(8)], "note": "x" * 100}


def make_batches(number: int, size: int, name: str) -> list[list[HistoryEvent]]:
    """Returns batches of events of jobs with a few hundred bytes of data."""
    data = Document.of(_DATA)
    at = time.time()

    def event(place: int) -> HistoryEvent:
        job, sequence = divmod(place, _ROWS_OF_A_JOB)
        job_id = f"{name}-{job:08d}"
        return HistoryEvent(
            job_id,
            sequence + 1,
            at + place,
            "state_finished",
            "orders",
            "charge",
            "",
            "ship",
            0.0012,
            state_history=data,
        )

    return [[event(batch * size + row) for row in range(size)] for batch in range(number)]


async def write(history: History, batches: list[list[HistoryEvent]]) -> float:
    """Returns rows written in a second."""
    began = time.perf_counter()
    for batch in batches:
        await history.write(batch)
    return sum(map(len, batches)) / (time.perf_counter() - began)


async def measure(uri: str, options: argparse.Namespace) -> None:
    """Lets the two take turns, and prints."""
    rates: dict[str, list[float]] = {"SQLite": [], "PostgreSQL": []}
    with tempfile.TemporaryDirectory(prefix="avtomatika-bench-") as folder:
        histories: dict[str, History] = {
            "SQLite": SQLiteHistory(f"sqlite:{Path(folder) / 'history.db'}"),
            "PostgreSQL": PostgresHistory(uri),
        }
        for history in histories.values():
            await history.open()
        for number, name in itertools.product(range(options.rounds), histories):
            batches = make_batches(options.batches, options.rows, f"r{number}")
            rates[name].append(await write(histories[name], batches))
            if await histories[name].job_events(f"r{number}-00000000") == []:
                raise SystemExit(f"{name} has lost rows")
        for history in histories.values():
            await history.close()
    for name, found in rates.items():
        print(
            f"  {name:10}  {statistics.median(found):9,.0f} rows/s  (between {min(found):,.0f} and {max(found):,.0f})"
        )
    ratios = [postgres / sqlite for sqlite, postgres in zip(rates["SQLite"], rates["PostgreSQL"], strict=True)]
    print(f"PostgreSQL writes {statistics.median(ratios):.2f} times the rows of SQLite in the same round")


async def weigh(rows: int) -> float:
    """Returns the bytes that a row takes in the memory storage while its history is away."""
    data = Document.of(_DATA)
    event = RecordHistory("state_finished", "charge", next_state="ship", duration=0.0012, state_history=data)
    job = Job("job", "orders", "v1", JobStatus.RUNNING, "charge", 0.0, 0.0, data, version=1)
    storage = MemoryStorage()
    tracemalloc.start()
    await storage.commit(Batch(job, frozenset(job_fields()), 0.0, events=[event] * rows))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / rows


@contextmanager
def own_server() -> Iterator[str]:
    """Gives the address of a PostgreSQL that ends with the benchmark."""
    programs, account = find_programs(), find_account()
    if programs is None or account is None:
        raise SystemExit("PostgreSQL is not installed here; install it, or give --postgresql URI.")
    server = PostgresServer(programs, account, fsync=True)
    try:
        server.start()
        yield server.uri()
    finally:
        server.remove()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--rows", type=int, default=500, help="rows in a batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--postgresql", metavar="URI", default="")
    options = parser.parse_args()
    print(
        f"avtomatika {__version__}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"{options.batches} batches of {options.rows} rows, {options.rounds} rounds"
    )
    if options.postgresql:
        asyncio.run(measure(options.postgresql, options))
    else:
        with own_server() as uri:
            asyncio.run(measure(uri, options))
    print(f"a row that waits in the memory storage takes {asyncio.run(weigh(10_000)):,.0f} bytes")


if __name__ == "__main__":
    main()
