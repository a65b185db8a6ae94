"""What the SQLite storage keeps when its process is killed, forgets to stop, or finds the disk full."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from avtomatika.storage import SQLiteStorage

pytestmark = pytest.mark.acceptance

WRITING_PROGRAM = Path(__file__).with_name("writing_program.py")


def write_and_die(path: Path, lines: int) -> dict[str, int]:
    """Lets the program write until it has said so many lines, kills it, and returns the acknowledged versions."""
    with subprocess.Popen([sys.executable, WRITING_PROGRAM, path], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        said = [program.stdout.readline() for _ in range(lines)]
        program.kill()
        said += program.stdout.read().splitlines(keepends=True)
    whole = [line.split() for line in said if line.endswith("\n")]
    assert len(whole) >= lines, "the program ended by itself"
    versions: dict[str, int] = {}
    for job_id, version in whole:
        versions[job_id] = max(int(version), versions.get(job_id, 0))
    return versions


async def test_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Whenever kill -9 comes: each acknowledged commit is there, and no job is half written."""
    path = tmp_path / "jobs.db"
    draw = random.Random(7)
    acknowledged: dict[str, int] = {}

    for _ in range(20):
        acknowledged |= write_and_die(path, draw.randint(1, 400))
        storage = SQLiteStorage(path)
        await storage.open()
        try:
            assert await storage.audit() == []
            for job_id, version in acknowledged.items():
                job = await storage.find_job(job_id)
                assert job is not None
                # One more may have been written than was told.
                assert version <= job.version <= version + 1
        finally:
            await storage.close()

    assert len(acknowledged) > 20


def run(program: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program that has ``batch(job_id)`` and the path as its argument."""
    prelude = f"""
import asyncio, sys
from avtomatika.core.job import Job, job_fields
from avtomatika.core.states import JobStatus
from avtomatika.core.document import Document
from avtomatika.errors import StorageError
from avtomatika.storage import SQLiteStorage
from avtomatika.storage.base import Batch, Ready

def batch(job_id, size=0):
    job = Job(job_id, "b", "v", JobStatus.PENDING, "start", 1.0, 1.0, Document.of({{"x": "x" * size}}), version=1)
    return Batch(job, frozenset(job_fields()), 1.0, ready=Ready(1.0))

storage = SQLiteStorage({str(path)!r})
"""
    return subprocess.run(
        [sys.executable, "-c", prelude + program], capture_output=True, text=True, timeout=60, check=False
    )


async def test_program_that_forgets_to_close_ends(tmp_path: Path) -> None:
    """No thread holds the process, and what was acknowledged is kept."""
    path = tmp_path / "jobs.db"

    ended = run(
        """
async def main():
    await storage.open()
    await storage.commit(batch("j1"))
asyncio.run(main())
""",
        path,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    storage = SQLiteStorage(path)
    await storage.open()
    assert await storage.find_job("j1") is not None
    await storage.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
async def test_disk_full_at_the_commit_applies_nothing_of_the_group(tmp_path: Path) -> None:
    """When the log cannot grow, no step of the group is there; with room again the same steps pass."""
    path = tmp_path / "jobs.db"

    ended = run(
        """
import resource

async def main():
    await storage.open()
    await storage.commit(batch("before"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    batches = [batch(f"j{n}", 100_000) for n in range(8)]
    outcomes = await asyncio.gather(*map(storage.commit, batches), return_exceptions=True)
    assert all(isinstance(outcome, StorageError) for outcome in outcomes), outcomes
    print(outcomes[0])
    assert [await storage.find_job(b.job.id) for b in batches] == [None] * 8
    assert await storage.find_job("before") is not None
    assert await storage.audit() == []
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    print(await asyncio.gather(*map(storage.commit, batches)))
    assert await storage.audit() == []
    await storage.close()
asyncio.run(main())
""",
        path,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    refused, repeated = ended.stdout.splitlines()
    assert "Nothing of the step was written." in refused
    assert "full" in refused
    assert repeated.count("Committed(version=1)") == 8
