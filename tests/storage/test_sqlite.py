"""What only the SQLite storage promises: its file, its groups, other processes. The rest is the contract suite."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import msgpack
import pytest
from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.core.states import JobStatus
from avtomatika.errors import ConfigError, DocumentError, StorageError
from avtomatika.history.sqlite import SQLiteHistory
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage import SQLiteStorage, sqlite_writer
from avtomatika.storage.base import Batch, Committed, Message, Progress, Ready, Signal, Stale, TaskClaim, Timer
from avtomatika.storage.codec import encode_job_fields
from avtomatika.storage.sqlite_queries import MIGRATIONS, QUERIES, load_migration
from avtomatika.storage.sqlite_reads import DOCUMENTS
from avtomatika.storage.sqlite_step import Step
from avtomatika.testing import FakeClock

from .builders import START, a_batch, a_job, a_task
from .ear import Ear


def a_step(job_id: str = "j1", version: int = 1, **facts: object) -> Batch:
    """Returns a batch that writes a job, with a wake-up that is due."""
    return a_batch(a_job(job_id, version), **{"ready": Ready(START), **facts})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Returns where the storage is to be."""
    return tmp_path / "jobs.db"


@pytest.fixture
async def open_storage(path: Path, clock: FakeClock) -> AsyncIterator[Callable[[], object]]:
    """Returns what opens a storage on the file; each call another one, as another process would."""
    opened: list[SQLiteStorage] = []

    async def open_one() -> SQLiteStorage:
        storage = SQLiteStorage(path, clock)
        await storage.open()
        opened.append(storage)
        return storage

    yield open_one
    for storage in opened:
        await storage.close()


@pytest.fixture
async def storage(open_storage: Callable) -> SQLiteStorage:
    """Returns an open storage."""
    return await open_storage()


class Gate:
    """Holds the writer's thread in a step of its own, so that what is asked meanwhile waits for the same group."""

    def __init__(self, storage: SQLiteStorage) -> None:
        self._open = threading.Event()
        self._begun = threading.Event()
        self._step = storage._writer.submit(self._hold)

    def _hold(self, _step: Step) -> None:
        self._begun.set()
        assert self._open.wait(30)

    async def __aenter__(self) -> Gate:
        await asyncio.to_thread(self._begun.wait)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open.set()
        await asyncio.wait([self._step])


def put(path: Path, content: bytes) -> None:
    """Makes a file."""
    path.write_bytes(content)


def content_of(path: Path) -> bytes:
    """Returns the bytes of a file."""
    return path.read_bytes()


async def turn() -> None:
    """Lets the tasks that were just made begin."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


# --- the file ---


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


# --- queries ---


@pytest.mark.parametrize("name", QUERIES)
async def test_query_looks_at_no_more_than_it_needs(storage: SQLiteStorage, name: str) -> None:
    """Each statement fits the tables, and finds its rows by an index; only lists of all rows go through all."""
    sql = QUERIES[name].replace("{filters}", "j.client = :client AND (j.created_at, j.id) < (:at, :id)")
    unbound = sql.count("?")

    def plan(step: Step) -> list[str]:
        values: object = (1,) * unbound if unbound else _Anything()
        return [row[3] for row in step._connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]

    details = await storage._writer.submit(plan)

    # Small tables, lists of everything, a walk along a key, and the sorting of what one index has found already.
    reads_all = {
        "list_counts",
        "newest_changes_begin",
        "list_queues",
        "list_rows",
        "audit_jobs",
        "audit_outbox",
        "audit_messages",
        "next_moment",
    }
    sorts = {"list_workers", "timers_of_job"}
    scans = [detail for detail in details if detail.startswith("SCAN") and "INDEX" not in detail]
    assert name in reads_all or not [detail for detail in scans if detail != "SCAN CONSTANT ROW"]
    assert name in sorts or not [detail for detail in details if "TEMP B-TREE" in detail]


class _Anything(dict):
    """Gives a value for any name."""

    def __missing__(self, _name: str) -> int:
        return 1


async def test_name_that_cannot_be_written_is_not_found(storage: SQLiteStorage) -> None:
    """Half a character out of somebody's JSON is the name of nothing, and no error."""
    name = "\ud800"

    assert await storage.find_job(name) is None
    assert await storage.find_task(name) is None
    assert await storage.list_claims(name) == []
    assert await storage.renew_tasks([TaskClaim(name, 1, "w1")], 5) == [TaskClaim(name, 1, "w1")]
    await storage.remove_worker(name)
    await storage.ack_events([name])


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


# --- several processes ---


async def test_storages_on_one_file_never_share_work(open_storage: Callable) -> None:
    """Of several engines on one file each job, task and timer is one engine's."""
    storages = [await open_storage() for _ in range(3)]
    for number in range(12):
        name = f"j{number}"
        timer = Timer(name, TimerKind.JOB, START)
        await storages[0].commit(a_step(name, queue_tasks=[a_task(f"t{number}", name)], set_timers=[timer]))

    jobs = await asyncio.gather(*(one.claim_jobs(f"e{n}", 5, 10) for n, one in enumerate(storages)))
    tasks = await asyncio.gather(*(one.claim_task(f"w{n}", ["render"], 9) for n, one in enumerate(storages * 4)))
    timers = await asyncio.gather(*(one.claim_timers(5, 10) for one in storages))

    names = sorted(f"j{number}" for number in range(12))
    assert sorted(claim.job.id for claims in jobs for claim in claims) == names
    assert sorted(task.job_id for task in tasks) == names
    assert sorted(timer.job_id for some in timers for timer in some) == names


async def test_commits_of_two_storages_on_one_version_are_applied_once(open_storage: Callable) -> None:
    """The version guards against another process, too."""
    one, other = await open_storage(), await open_storage()
    await one.commit(a_step())

    outcomes = await asyncio.gather(one.commit(a_step(version=2)), other.commit(a_step(version=2)))

    assert sorted(outcomes, key=str) == [Committed(2), Stale(2)]


async def test_signals_reach_other_storages_on_the_file(open_storage: Callable) -> None:
    """An engine hears what another process committed, word for word and once."""
    here, there = await open_storage(), await open_storage()
    near, far = Ear(here), Ear(there)

    await here.commit(
        a_step(queue_tasks=[replace(a_task(), requirements={"gpu": 1})], events=[RecordHistory("e", "start")])
    )

    await far.wait_for("event")
    assert far.signals == near.signals
    assert [signal.kind for signal in near.signals] == ["job", "ready", "task", "event"]
    assert near.signals[2].queue == far.signals[2].queue
    await there.put_progress("j1", Progress(0.5))
    await near.wait_for("progress")
    assert [signal.kind for signal in near.signals] == ["job", "ready", "task", "event", "progress"]


async def test_signals_missed_make_everybody_look(open_storage: Callable) -> None:
    """Whoever slept so long that part of the log is gone is told to look at everything."""
    here = await open_storage()
    await here.commit(a_step(queue_tasks=[a_task("t1"), a_task("t2")]))
    far = Ear(await open_storage())

    def forget(step: Step) -> None:
        step.write("trim_signals", position=10**9)
        step._connection.execute("UPDATE sqlite_sequence SET seq = seq + 5000 WHERE name = 'signals'")
        step.tell(Signal("progress", "j1"))

    await here._writer.submit(forget)

    await far.wait_for("missed")
    assert [signal.kind for signal in far.signals][-2:] == ["progress", "missed"]


async def test_log_of_signals_stays_short(storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What everybody has heard is forgotten."""
    monkeypatch.setattr("avtomatika.storage.sqlite_signals._KEPT", 4)
    monkeypatch.setattr("avtomatika.storage.sqlite_signals._TRIMMED_EACH", 3)
    for number in range(20):
        await storage.commit(a_step(f"j{number}"))

    assert len(await storage._writer.submit(lambda step: step.rows("list_signals", position=0, origin=""))) <= 7
