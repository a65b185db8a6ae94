"""Steps that wait share a transaction of the SQLite storage; each is written or fails by itself."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from avtomatika.core.states import JobStatus
from avtomatika.errors import DocumentError, StorageError
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage import SQLiteStorage, sqlite_writer
from avtomatika.storage.base import Committed, Signal, Stale
from avtomatika.storage.sqlite_step import Step
from tests.storage.builders import START, a_task

from .conftest import Gate, a_step, turn

# --- groups ---


async def test_steps_that_wait_share_a_transaction(storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many commits wait, the disk confirms them together."""
    monkeypatch.setattr(sqlite_writer, "_GROUP_SECONDS", 60)
    statements: list[str] = []
    await storage._writer.submit(lambda step: step._connection.set_trace_callback(statements.append))

    async with Gate(storage):
        commits = [asyncio.ensure_future(storage.commit(a_step(f"j{number}"))) for number in range(50)]
        await turn()
    await asyncio.gather(*commits)

    assert statements.count("COMMIT") <= 3
    assert await storage.count_jobs() == {JobStatus.PENDING: 50}


async def test_group_ends_at_its_limit(storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long queue does not keep the first ones waiting."""
    monkeypatch.setattr(sqlite_writer, "_GROUP_STEPS", 5)
    monkeypatch.setattr(sqlite_writer, "_GROUP_SECONDS", 60)
    statements: list[str] = []
    await storage._writer.submit(lambda step: step._connection.set_trace_callback(statements.append))

    async with Gate(storage):
        commits = [asyncio.ensure_future(storage.commit(a_step(f"j{number}"))) for number in range(19)]
        await turn()
    await asyncio.gather(*commits)

    assert statements.count("COMMIT") == 5


async def test_step_that_fails_does_not_fail_its_group(storage: SQLiteStorage) -> None:
    """A stale commit and one that raises half-way leave no trace; those before and behind are written."""

    def half(step: Step) -> None:
        step.write("put_worker", worker_id="w1", until=START + 99, raw=b"")
        raise KeyError("half-way")

    async with Gate(storage):
        first = asyncio.ensure_future(storage.commit(a_step("j1")))
        stale = asyncio.ensure_future(storage.commit(a_step("j2", version=5)))
        await turn()
        failing = storage._writer.submit(half)
        last = asyncio.ensure_future(storage.commit(a_step("j3")))
        await turn()

    assert await asyncio.gather(first, stale, last) == [Committed(1), Stale(0), Committed(1)]
    with pytest.raises(KeyError, match="half-way"):
        await failing
    assert await storage.find_worker("w1") is None
    assert await storage.audit() == []


async def test_group_that_cannot_be_written_is_undone_whole(storage: SQLiteStorage) -> None:
    """When the end of a transaction fails, every caller of the group is told, and the next group begins anew."""
    async with Gate(storage):
        commit = asyncio.ensure_future(storage.commit(a_step("j1")))
        await turn()
        unspeakable = storage._writer.submit(lambda step: step.tell(Signal("job", key=object())))

    for refused in (commit, unspeakable):
        with pytest.raises(DocumentError):
            await refused
    assert await storage.find_job("j1") is None
    assert await storage.commit(a_step("j1")) == Committed(1)


async def test_commit_whose_caller_is_gone_is_applied_whole_or_not_at_all(storage: SQLiteStorage) -> None:
    """Cancelled while it waits, a commit is left out; cancelled while it runs, it is written; never in part."""
    begun, go_on = threading.Event(), threading.Event()

    async with Gate(storage):
        waiting = asyncio.ensure_future(storage.commit(a_step("j1")))
        await turn()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    def slow(step: Step) -> None:
        step.write("put_worker", worker_id="w1", until=START + 99, raw=b"\x81\xa9worker_id\xa2w1")
        begun.set()
        assert go_on.wait(30)

    running = storage._writer.submit(slow)
    await asyncio.to_thread(begun.wait)
    running.cancel()
    go_on.set()
    await storage.commit(a_step("j2"))

    assert await storage.find_job("j1") is None
    assert await storage.find_worker("w1") == WorkerProfile("w1")
    assert await storage.audit() == []


async def test_claim_whose_caller_is_gone_is_given_back(storage: SQLiteStorage) -> None:
    """Nobody waits for the end of a lease that nobody holds."""
    await storage.commit(a_step(queue_tasks=[a_task()]))

    async with Gate(storage):
        claims = [
            asyncio.ensure_future(storage.claim_jobs("e1", 1, 60)),
            asyncio.ensure_future(storage.claim_task("w1", ["render"], 60)),
        ]
        await turn()
        for claim in claims:
            claim.cancel()
        await asyncio.gather(*claims, return_exceptions=True)
    await storage.release_claims([])
    await storage.release_claims([])

    assert [claim.deliveries for claim in await storage.claim_jobs("e2", 1, 60)] == [1]
    assert (await storage.claim_task("w2", ["render"], 60)).deliveries == 1


async def test_close_finishes_what_waits(
    storage: SQLiteStorage, open_storage: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop loses no commit that was asked for before it, also when it comes while their group runs."""
    monkeypatch.setattr(sqlite_writer, "_GROUP_SECONDS", 60)
    async with Gate(storage):
        commits = [asyncio.ensure_future(storage.commit(a_step(f"j{number}"))) for number in range(20)]
        await turn()
        closing_storage = asyncio.ensure_future(storage.close())
        await turn()

    assert await asyncio.gather(*commits) == [Committed(1)] * 20
    await closing_storage
    assert await (await open_storage()).count_jobs() == {JobStatus.PENDING: 20}


# --- trouble ---


async def test_disk_full_applies_nothing_and_work_goes_on_with_room(storage: SQLiteStorage) -> None:
    """A file that cannot grow refuses the step with a sentence; later the same step passes."""
    await storage.commit(a_step("j1"))
    await _limit_pages(storage, 1)
    large = a_step("j2", queue_tasks=[replace(a_task("t2", "j2"), tracing_context={"x": "x" * 100_000})])

    with pytest.raises(StorageError, match=r"the disk is full\. Free some space.*Nothing of the step was written"):
        await storage.commit(large)

    assert await storage.find_job("j2") is None
    assert await storage.find_task("t2") is None
    assert await storage.audit() == []
    await _limit_pages(storage, 1_000_000)
    assert await storage.commit(large) == Committed(1)


async def _limit_pages(storage: SQLiteStorage, pages: int) -> None:
    await storage._writer.submit(lambda step: step._connection.execute(f"PRAGMA max_page_count = {pages}").fetchall())


async def test_file_locked_by_another_program_is_told(path: Path, storage: SQLiteStorage) -> None:
    """A writer that waits in vain says why; reads go on, and so does writing when the lock is gone."""
    await storage.commit(a_step("j1"))
    await storage._writer.submit(lambda step: step._connection.execute("PRAGMA busy_timeout = 1").fetchall())

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another program has kept it locked"):
            await storage.commit(a_step("j2"))
        assert await storage.find_job("j1") is not None

    assert await storage.commit(a_step("j2")) == Committed(1)
