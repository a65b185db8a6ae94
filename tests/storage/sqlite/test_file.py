"""The file of the SQLite storage: kept, recognised, brought up to date."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgpack
import pytest

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.core.states import JobStatus
from avtomatika.errors import ConfigError, StorageError
from avtomatika.history.sqlite import SQLiteHistory
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage import SQLiteStorage
from avtomatika.storage.base import Committed, Message, Progress, TaskClaim, Timer
from avtomatika.storage.codec import encode_job_fields
from avtomatika.storage.sqlite_queries import MIGRATIONS, load_migration
from avtomatika.storage.sqlite_reads import DOCUMENTS
from avtomatika.storage.sqlite_step import Step
from avtomatika.testing import FakeClock
from tests.storage.builders import START, a_task

from .conftest import a_step, content_of, put


async def test_jobs_outlive_the_storage(open_storage: Callable) -> None:
    """What one storage wrote, the next one on the same file finds, with all that belongs to it."""
    first = await open_storage()
    timer = Timer("j1", TimerKind.JOB, START + 9)
    await first.commit(
        a_step(queue_tasks=[a_task()], set_timers=[timer], events=[RecordHistory("job_created", "start")])
    )
    task = await first.claim_task("w1", ["render"], 10)
    await first.put_worker(WorkerProfile("w1"), 60)
    await first.put_progress("j1", Progress(0.5))
    before = await first.find_wake_up("j1")
    await first.close()

    second = await open_storage()

    assert await second.find_job("j1") == a_step().job
    assert await second.find_wake_up("j1") == before
    assert await second.list_claims("w1") == [TaskClaim("t1", 1, "w1")]
    assert await second.find_task("t1") == task
    rows = [event.type for step in await second.read_events(9) for event in step.decode()]
    assert rows == ["job_created", "task_started"]
    assert await second.find_worker("w1") == WorkerProfile("w1")
    assert await second.find_progress("j1") == Progress(0.5)
    assert await second.audit() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jobs.db", "jobs.db"),
        (Path("/var/jobs.db"), "/var/jobs.db"),
        ("sqlite:jobs.db", "jobs.db"),
        ("sqlite:///data/jobs.db", "data/jobs.db"),
        ("sqlite:////var/lib/jobs.db", "/var/lib/jobs.db"),
        ("SQLITE:////var/jobs.db", "/var/jobs.db"),
    ],
)
def test_location_is_a_path_or_a_uri(text: str | Path, expected: str) -> None:
    """Three slashes lead to a relative path, four to an absolute one."""
    assert SQLiteStorage(text).path == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite://data/jobs.db", "write sqlite:data/jobs.db"),
        ("sqlite::memory:", "use MemoryStorage"),
        ("sqlite:///:memory:", "use MemoryStorage"),
    ],
)
def test_location_that_is_no_file_is_refused(text: str, sentence: str) -> None:
    """A wrong setting is told with what to write instead."""
    with pytest.raises(ConfigError, match=sentence):
        SQLiteStorage(text)


async def test_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    """Whoever forgot to make a directory is told which one."""
    with pytest.raises(ConfigError, match=r"directory '.*/nowhere' does not exist; create it"):
        await SQLiteStorage(tmp_path / "nowhere" / "jobs.db").open()


async def test_absolute_path_with_one_slash_too_few_is_suggested(path: Path) -> None:
    """Three slashes before an absolute path are the usual mistake."""
    with pytest.raises(ConfigError, match=f"Did you mean sqlite:///{path}"):
        await SQLiteStorage(f"sqlite://{path}").open()


async def test_file_that_is_no_database_is_refused_and_kept(path: Path) -> None:
    """Somebody's notes are not overwritten."""
    text = b"my notes\n" * 500
    put(path, text)

    with pytest.raises(ConfigError, match="is no SQLite database"):
        await SQLiteStorage(path).open()

    assert content_of(path) == text


@pytest.mark.parametrize(
    "making", ["CREATE TABLE invoices (n)", "PRAGMA user_version = 3", "PRAGMA application_id = 7"]
)
async def test_database_of_another_program_is_refused_and_kept(path: Path, making: str) -> None:
    """A file that another program made stays as it is."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(making)
    content = content_of(path)

    with pytest.raises(ConfigError, match="belongs to another program"):
        await SQLiteStorage(path).open()

    assert content_of(path) == content


async def test_file_of_a_newer_version_is_refused_and_kept(path: Path, storage: SQLiteStorage) -> None:
    """An older program does not touch what a newer one wrote."""
    await storage.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {MIGRATIONS[-1] + 1}")
    content = content_of(path)

    known, newer = MIGRATIONS[-1], MIGRATIONS[-1] + 1
    with pytest.raises(
        ConfigError, match=rf"version {newer}, but this avtomatika knows versions up to {known}; update"
    ):
        await storage.open()

    assert content_of(path) == content


async def test_history_may_live_in_the_same_file(path: Path, clock: FakeClock) -> None:
    """One file is enough for both, whichever comes first."""
    history, storage = SQLiteHistory(f"sqlite:{path}"), SQLiteStorage(path, clock)
    for part in (history, storage, history):
        await part.open()
        await part.close()

    await storage.open()
    assert await storage.commit(a_step()) == Committed(1)
    await storage.close()


async def test_storages_that_open_a_new_file_at_once_agree(path: Path, clock: FakeClock) -> None:
    """Of several processes that start together one makes the tables, and all go on."""
    storages = [SQLiteStorage(path, clock) for _ in range(6)]

    await asyncio.gather(*(storage.open() for storage in storages))

    await asyncio.gather(*(one.commit(a_step(f"j{number}")) for number, one in enumerate(storages)))
    assert await storages[0].count_jobs() == {JobStatus.PENDING: 6}
    for storage in storages:
        await storage.close()


def test_migration_that_fails_leaves_the_version_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are brought up to date whole or not at all, one version after the other."""
    statements = {1: load_migration(1), 2: ["ALTER TABLE jobs ADD COLUMN extra TEXT", "no SQL"]}
    monkeypatch.setattr("avtomatika.storage.sqlite_file.load_migration", statements.__getitem__)
    monkeypatch.setattr("avtomatika.storage.sqlite_file.MIGRATIONS", (1,))

    asyncio.run(_open_and_close(path))
    monkeypatch.setattr("avtomatika.storage.sqlite_file.MIGRATIONS", (1, 2))
    with pytest.raises(ConfigError, match="syntax error"):
        asyncio.run(_open_and_close(path))
    assert _version(path) == (1, 0)

    statements[2].pop()
    asyncio.run(_open_and_close(path))
    assert _version(path) == (2, 1)


async def test_file_of_version_1_is_brought_up_to_date(path: Path, clock: FakeClock) -> None:
    """Jobs that were written before there were messages go on, and can send some."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in load_migration(1):
            connection.execute(statement)
        connection.execute("INSERT INTO counts (name, number) VALUES ('created', 1), ('pending', 1)")
        job = encode_job_fields(a_step().job)
        fields = {name: raw for name, raw in job.items() if name not in DOCUMENTS}
        connection.execute(
            "INSERT INTO jobs (id, version, status, state, created_at, client, blueprint, rows, fields)"
            " VALUES ('j1', 1, 'pending', 'start', ?, 'internal', 'b', 0, ?)",
            (START, msgpack.packb(fields)),
        )
        connection.execute(
            "INSERT INTO ready (job_id, at, priority, deliveries, token, owner, due_at, is_due)"
            " VALUES ('j1', ?, 0, 0, '', '', ?, 1)",
            (START, START),
        )
        connection.execute(f"PRAGMA application_id = {0x61767461}")
        connection.execute("PRAGMA user_version = 1")

    storage = SQLiteStorage(path, clock)
    await storage.open()

    message = Message("j1:2:0", "webhook", "j1", "", Document.of({}), START, START)
    assert await storage.commit(a_step(version=2, messages=[message])) == Committed(2)
    assert [claimed.id for claimed in await storage.claim_messages(["webhook"], 10, 30)] == ["j1:2:0"]
    assert await storage.audit() == []
    await storage.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (MIGRATIONS[-1],)


async def _open_and_close(path: Path) -> None:
    storage = SQLiteStorage(path)
    await storage.open()
    await storage.close()


def _version(path: Path) -> tuple[int, int]:
    """Returns the version of the file, and how many columns named ``extra`` its jobs have."""
    with closing(sqlite3.connect(path)) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(jobs)")]
        return connection.execute("PRAGMA user_version").fetchone()[0], names.count("extra")


async def test_writer_confirms_only_what_a_power_cut_cannot_take(storage: SQLiteStorage) -> None:
    """The log is written ahead and through to the disk before a commit is acknowledged."""

    def settings(step: Step) -> list[object]:
        names = ("journal_mode", "synchronous")
        return [step._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await storage._writer.submit(settings) == ["wal", 2]


async def test_storage_that_is_not_open_says_so(path: Path) -> None:
    """Calls before the opening and after the end are told what to do."""
    storage = SQLiteStorage(path)

    for call in (storage.find_job("j1"), storage.commit(a_step())):
        with pytest.raises(StorageError, match=r"is not open; await storage\.open\(\) first"):
            await call


def test_memory_storage_is_imported_without_the_others() -> None:
    """Whoever keeps jobs in memory does not pay for SQLite."""
    program = "import sys, avtomatika.storage as s; s.MemoryStorage; print('avtomatika.storage.sqlite' in sys.modules)"

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert said == "False\n"
