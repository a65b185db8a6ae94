"""How fast the history becomes a DataFrame: all of it, and the rows of one job out of all.

    python -m benchmarks.frames [--rows 50000] [--rounds 5]

The rows are in a SQLite file, as an engine writes them. The figure to compare between machines is the ratio to a bare
``pandas.read_sql_query`` of the same rows in the same round. That one leaves times as integers, words as objects and
snapshots as text; the reader gives moments with their time zone, categories, and snapshots as dicts.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from avtomatika.history.sqlite import SQLiteHistory
from avtomatika.notebook.frames import HistoryReader
from benchmarks.history import make_batches
from benchmarks.setting import DURABILITY, describe, options_of

_BATCH = 500


async def fill(path: Path, rows: int) -> None:
    """Writes so many rows."""
    history = SQLiteHistory(f"sqlite:{path}")
    await history.open()
    for batch in make_batches(rows // _BATCH, _BATCH, "job"):
        await history.write(batch)
    await history.close()


def read_bare(path: Path, where: str = "") -> pd.DataFrame:
    """Reads the table with nothing but pandas."""
    with closing(sqlite3.connect(path)) as connection:
        return pd.read_sql_query(f"SELECT * FROM job_history {where}", connection)


def seconds(read: Callable[[], Any], rows: int) -> float:
    """Returns how long a read takes."""
    began = time.perf_counter()
    found = len(read())
    took = time.perf_counter() - began
    if found != rows:
        raise SystemExit(f"{found} rows were read, not {rows}")
    return took


def main() -> None:
    """Measures and prints."""
    parser = options_of(__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = max(1, options.rows // _BATCH) * _BATCH
    print(describe(f"{rows:,} rows of history in SQLite, {options.rounds} rounds after one to warm up"))
    with tempfile.TemporaryDirectory(prefix="avtomatika-bench-") as folder:
        path = Path(folder) / "history.db"
        asyncio.run(fill(path, rows))
        reader = HistoryReader(path, cap=rows)
        job_id, of_job = "job-00000001", len(read_bare(path, "WHERE job_id = 'job-00000001'"))
        reads: dict[str, tuple[Callable[[], Any], Callable[[], Any], int]] = {
            "all rows": (reader.job_history, lambda: read_bare(path), rows),
            "the rows of one job": (
                lambda: reader.job_history(job_id=job_id),
                lambda: read_bare(path, f"WHERE job_id = '{job_id}'"),
                of_job,
            ),
        }
        for what, (read, bare, expected) in reads.items():
            took, ratios = [], []
            for number in range(options.rounds + 1):
                own, other = seconds(read, expected), seconds(bare, expected)
                if number:
                    took.append(own)
                    ratios.append(own / other)
            print(
                f"  sqlite  ({DURABILITY['sqlite']}): {what}: median {statistics.median(took) * 1e3:,.1f} ms for "
                f"{expected:,} rows; {statistics.median(ratios):.2f} times a bare read of pandas"
            )


if __name__ == "__main__":
    main()
