"""Large documents: they leave their jobs, come back unnoticed, and trouble with their store loses no job."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.document import Document
from avtomatika.core.job import Job
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.errors import PayloadLostError, PayloadStoreError, StorageError
from avtomatika.payloads.base import FileFacts, PayloadStore
from avtomatika.payloads.local import LocalPayloads
from avtomatika.runtime.depot import SPACE
from avtomatika.runtime.sweeper import YOUNG_SECONDS, Sweeper
from avtomatika.server.views import job_view, task_view
from avtomatika.storage import MemoryStorage, RedisStorage, SQLiteStorage
from avtomatika.storage.base import Storage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System, task_flow

THRESHOLD = 1000
LARGE = "x" * 5000
OTHER = "y" * 5000


class ShakyStore(LocalPayloads):
    """A directory that does not answer when a test says so, and counts what it is asked for."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.failing = 0
        self.calls: Counter[str] = Counter()
        self.written: list[str] = []

    async def write_bytes(self, key: str, data: bytes) -> FileFacts:
        """Stores a file, or fails."""
        self._ask("write")
        self.written.append(key)
        return await super().write_bytes(key, data)

    async def read_bytes(self, key: str, limit: int | None = None) -> bytes:
        """Returns a file, or fails."""
        self._ask("read")
        return await super().read_bytes(key, limit)

    async def remove_all(self, prefix: str) -> None:
        """Removes files, or fails."""
        self._ask("remove")
        await super().remove_all(prefix)

    def _ask(self, what: str) -> None:
        self.calls[what] += 1
        if self.failing:
            self.failing -= 1
            raise PayloadStoreError("file:///somewhere", "it does not answer")

    def files(self, job_id: str) -> list[Path]:
        """Returns the documents of a job, by name."""
        return sorted((self.directory / "jobs" / job_id / ".payloads").glob("*"))


@pytest.fixture
def store(tmp_path: Path) -> ShakyStore:
    """Returns a store in an empty directory."""
    return ShakyStore(tmp_path / "files")


@pytest.fixture
async def system(make_system: MakeSystem, store: ShakyStore) -> System:
    """A running system that keeps nothing of its documents in memory."""
    system = make_system(payloads=store, threshold=THRESHOLD, cache=0)
    await system.start()
    return system


def parcels() -> StateMachineBlueprint:
    """Returns a blueprint with all that documents pass through: tasks, branches, a child, a person, a failure."""
    bp = StateMachineBlueprint("flow")

    @bp.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], state_history: dict[str, Any], actions: ActionFactory) -> None:
        state_history["first"] = initial_data["text"]
        actions.dispatch_task("work", {"text": initial_data["text"]}, {"success": "split"})

    bp.handler_for("split").when("context.state_history.first == 'never'")(lambda actions: actions.go_to("done"))

    @bp.handler_for("split")
    async def split(state_history: dict[str, Any], actions: ActionFactory) -> None:
        tasks = [{"task_type": "work", "params": {"text": state_history["first"], "n": n}} for n in range(2)]
        actions.dispatch_parallel(tasks, "join")

    @bp.aggregator_for("join")
    async def join(aggregation_results: dict[str, Any], state_history: dict[str, Any], actions: ActionFactory) -> None:
        state_history["joined"] = [
            [result["params"], result["data"], result["status"]] for result in aggregation_results.values()
        ]
        actions.run_blueprint("child", {"text": state_history["first"]}, {"success": "ask"})

    @bp.handler_for("ask")
    async def ask(state_history: dict[str, Any], actions: ActionFactory) -> None:
        del state_history["child"]["job_id"]
        actions.await_human_approval("Really?", {"approved": "risk"})

    @bp.handler_for("risk")
    async def risk(actions: ActionFactory) -> None:
        actions.dispatch_task("work", {}, {"success": "done", "failure": "repair"})

    @bp.handler_for("repair")
    async def repair(last_error: dict[str, Any], state_history: dict[str, Any], actions: ActionFactory) -> None:
        state_history["why"] = last_error["code"]
        del state_history["last_error"]
        actions.transition_to("done")

    @bp.handler_for("done", is_end=True)
    async def done(state_history: dict[str, Any]) -> dict[str, Any]:
        return {"all": state_history}

    return bp


def child() -> StateMachineBlueprint:
    """Returns a blueprint that ends with what it was given."""
    bp = StateMachineBlueprint("child")

    @bp.handler_for("only", is_start=True, is_end=True)
    async def only(text: str) -> dict[str, str]:
        return {"text": text}

    return bp


async def through(system: System, text: str) -> Job:
    """Leads a job through all of that and returns it."""
    system.add(parcels())
    system.add(child())
    job_id = "j1"  # so that the ids of tasks and children are the same each time
    await system.jobs.create_once(job_id, system.registry.get("flow"), {"text": text})
    await system.waiting(job_id)
    task = await system.take()
    await system.answer(task, data={"text": task.params.value()["text"]})
    await system.waiting(job_id, JobStatus.WAITING_FOR_PARALLEL_TASKS)
    for _ in range(2):
        task = await system.take()
        await system.answer(task, data={"text": text, "n": task.params.value()["n"]})
    await system.waiting(job_id, JobStatus.WAITING_FOR_HUMAN)
    await system.approvals.decide(job_id, "approved", by="Ada", via="test")
    await system.waiting(job_id)
    await system.answer(await system.take(), "failure", error_code="PERMANENT_ERROR", data={"part": text})
    return await system.ended(job_id)


# --- it is as if nothing had left ---


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def storage(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Storage]:
    """An open storage of each kind."""
    made: Storage
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        made = RedisStorage(server.client(), prefix=server.new_prefix(), clock=clock)
    else:
        made = MemoryStorage(clock) if request.param == "memory" else SQLiteStorage(tmp_path / "jobs.db", clock)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def shown(make_system: MakeSystem) -> Callable[..., Any]:
    """Returns what shows all that is to be seen of a job that went through everything, in a system of that kind."""

    async def show(text: str, storage: Storage | None = None, store: PayloadStore | None = None) -> dict[str, Any]:
        system = make_system(storage, payloads=store, threshold=THRESHOLD, cache=0)
        await system.start()
        job = await through(system, text)
        whole = await system.depot.fetch_job(job)
        tasks = await system.depot.fetch_tasks(await system.storage.list_tasks(job.id))
        await system.historian.flush()
        rows = await system.history.job_events(job.id)
        seen = {"job": job_view(whole), "tasks": [task_view(task) for task in tasks], "rows": rows}
        return {"left": job.state_history.is_away, "seen": seen}

    return show


async def test_job_whose_documents_left_ends_as_any_other(
    storage: Storage, shown: Callable[..., Any], tmp_path: Path
) -> None:
    """Handlers, conditions, tasks, branches, a child, an approval, a failure, the history: all see the same data."""
    there = await shown(LARGE)
    away = await shown(LARGE, storage, ShakyStore(tmp_path / "files"))
    small = await shown("small", store=ShakyStore(tmp_path / "more"))

    assert (there["left"], away["left"], small["left"]) == (False, True, False)
    assert away["seen"] == there["seen"]
    assert json.loads(json.dumps(away["seen"]).replace(LARGE, "small")) == small["seen"]


async def test_storage_holds_references_of_some_bytes(system: System, store: ShakyStore) -> None:
    """What is large is in the store, each content once; what is small stays where it was."""
    job = await through(system, LARGE)

    stored = [job, *await system.storage.list_tasks(job.id)]
    documents = [getattr(one, name, None) for one in stored for name in ("state_history", "initial_data", "params")]
    assert max(len(document.raw) for document in documents if document is not None) <= THRESHOLD
    digests = [file.name for file in store.files(job.id)]
    assert {job.initial_data.digest, job.state_history.digest, job.result.digest} <= set(digests)
    assert len(job.result) > 5000
    assert max(Counter(store.written).values()) == 1


async def test_small_documents_never_see_the_store(make_system: MakeSystem, store: ShakyStore) -> None:
    """A job without large data costs nothing more."""
    system = make_system(payloads=store, threshold=THRESHOLD)
    await system.start()

    await through(system, "small")

    assert store.calls == {}
    assert await system.storage.list_records(SPACE) == []


async def test_what_was_used_last_is_not_fetched_again(make_system: MakeSystem, store: ShakyStore) -> None:
    """An engine that does all steps of a job reads none of its documents back."""
    system = make_system(payloads=store, threshold=THRESHOLD)
    await system.start()

    await through(system, LARGE)

    assert store.calls["read"] == 0


# --- a store in trouble ---


async def test_job_is_not_created_while_its_data_cannot_be_put_away(system: System, store: ShakyStore) -> None:
    """Nothing is committed before the document is in the store."""
    system.add(task_flow())
    store.failing = 1

    with pytest.raises(StorageError, match=r"could not be put into the store: .*it does not answer"):
        await system.create({"text": LARGE})

    assert await system.storage.count_jobs() == {}


@pytest.mark.parametrize("failures", [1, 12])
async def test_step_waits_until_its_data_can_be_put_away(system: System, store: ShakyStore, failures: int) -> None:
    """However long it takes: neither the handler nor its engine is blamed."""
    system.add(filler())
    job_id = await system.create()
    store.failing = failures

    job = await in_time(system, job_id)

    assert (job.status, job.failure, store.failing) == (JobStatus.FINISHED, None, 0)
    assert await system.rows(job_id) == ["job_created", *["state_started", "state_finished"] * 2, "job_completed"]


@pytest.mark.parametrize("failures", [1, 12])
async def test_step_waits_until_its_data_can_be_fetched(system: System, store: ShakyStore, failures: int) -> None:
    """The same when a job has to be read that is not in memory."""
    system.add(task_flow())
    job_id = await system.create({"text": LARGE})
    await system.waiting(job_id)
    store.failing = failures

    await system.answer(await system.take())
    job = await in_time(system, job_id)

    assert (job.status, job.failure, store.failing) == (JobStatus.FINISHED, None, 0)


async def test_task_goes_back_while_its_params_cannot_be_fetched(system: System, store: ShakyStore) -> None:
    """Its worker hears nothing of it, and the next look hands it out as if nothing had been."""
    system.add(sender())
    job_id = await system.create({"text": LARGE})
    await system.waiting(job_id)
    store.failing = 1

    with pytest.raises(StorageError, match="could not be fetched"):
        await system.take()
    (waiting,) = await system.storage.list_tasks(job_id)
    task = await system.take("w2")

    assert (waiting.status, waiting.deliveries) == (TaskStatus.QUEUED, 0)
    assert (task.worker_id, task.attempt, task.params.value()) == ("w2", 1, {"text": LARGE})


async def test_result_is_sent_again_while_its_job_cannot_be_fetched(system: System, store: ShakyStore) -> None:
    """The worker is not answered, and its next try counts."""
    system.add(filler(task=True))
    job_id = await system.create()
    await system.waiting(job_id)
    task = await system.take()
    store.failing = 1

    with pytest.raises(StorageError):
        await system.answer(task, data={"n": 1})
    answer = await system.answer(task, data={"n": 1})
    job = await system.ended(job_id)

    assert answer == {"status": "accepted"}
    assert (await system.depot.fetch_job(job)).result.value() == {"text": LARGE, "n": 1}


async def test_row_of_history_waits_until_its_data_can_be_fetched(system: System, store: ShakyStore) -> None:
    """No row is left out, and none is written without its data."""
    system.add(filler())
    job = await system.ended(await system.create())
    store.failing = 1

    with pytest.raises(StorageError):
        await system.historian.flush()
    await system.historian.flush()

    rows = await system.history.job_events(job.id)
    assert {"text": LARGE} in [row["context_snapshot"].get("state_history") for row in rows]


# --- what is lost ---


def spoil(file: Path, how: str) -> None:
    """Takes a document away, or changes it."""
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(b"x" + file.read_bytes()[1:])


@pytest.mark.parametrize("how", ["gone", "changed"])
async def test_job_whose_data_are_lost_is_quarantined_and_goes_on_when_they_are_back(
    system: System, store: ShakyStore, how: str
) -> None:
    """It is tried some times, says what is missing, and keeps the place of what it lost."""
    system.add(task_flow())
    job_id = await system.create({"text": LARGE})
    await system.waiting(job_id)
    (file,) = store.files(job_id)
    whole = file.read_bytes()
    spoil(file, how)

    await system.answer(await system.take())
    job = await in_time(system, job_id)
    view = job_view(await system.depot.fetch_job(job))
    file.write_bytes(whole)
    await system.jobs.requeue(job_id)
    again = await in_time(system, job_id)

    assert job.status is JobStatus.QUARANTINED
    assert job.failure is not None
    assert (job.failure.code, job.failure.attempt) == ("PAYLOAD_LOST_ERROR", 4)
    assert f"bytes is lost: {file.as_uri()} {'is not there any more' if how == 'gone' else 'has been changed'}" in (
        job.failure.message
    )
    assert view["initial_data"] == {"payload_lost": job.failure.message}
    assert again.status is JobStatus.FINISHED
    assert (await system.depot.fetch_job(again)).initial_data.value() == {"text": LARGE}


async def test_result_for_a_job_whose_data_are_lost_quarantines_it(system: System, store: ShakyStore) -> None:
    """It is not laid over nothing; back again, the data are as they were."""
    system.add(filler(task=True))
    job_id = await system.create()
    await system.waiting(job_id)
    task = await system.take()
    spoil(store.files(job_id)[0], "gone")

    await system.answer(task, data={"n": 1})
    job = await system.jobs.get(job_id)

    assert (job.status, job.failure and job.failure.code) == (JobStatus.QUARANTINED, "PAYLOAD_LOST_ERROR")
    assert job.state_history.is_away


async def test_task_whose_params_are_lost_fails_and_holds_up_no_other(system: System, store: ShakyStore) -> None:
    """It is tried again like any attempt that failed; its worker gets the next one."""
    system.add(sender())
    lost = await system.create({"text": LARGE})
    await system.waiting(lost)
    other = await system.create({"text": OTHER})
    await system.waiting(other)
    # The params alone: the job's own data are another document.
    (task,) = await system.storage.list_tasks(lost)
    (store.directory / "jobs" / lost / ".payloads" / task.params.digest).unlink()

    taken = await system.take()
    job = await system.jobs.get(lost)

    assert taken.job_id == other
    assert (job.status, job.failure and job.failure.code) == (JobStatus.AWAITING_RETRY, "PAYLOAD_LOST_ERROR")


async def test_row_of_history_whose_data_are_lost_says_so(system: System, store: ShakyStore) -> None:
    """The rows behind it are not held up for ever."""
    system.add(filler())
    job = await system.ended(await system.create())
    spoil(store.files(job.id)[0], "changed")

    await system.historian.flush()

    rows = await system.history.job_events(job.id)
    (told,) = [one for row in rows if "payload_lost" in (one := row["context_snapshot"].get("state_history", {}))]
    assert "has been changed" in told["payload_lost"]


# --- pasts ---


async def test_fork_has_documents_of_its_own(system: System, store: ShakyStore) -> None:
    """It goes on when the other job and its documents are gone."""
    system.add(task_flow())
    job_id = await system.create({"text": LARGE})
    job = await system.waiting(job_id)

    fork, _ = await system.pasts.fork(job, "send", client=job.client)
    await store.remove_all(f"jobs/{job_id}/.payloads/")
    await system.waiting(fork)

    forked = await system.depot.fetch_job(await system.jobs.get(fork))
    assert forked.initial_data.value() == {"text": LARGE}


async def test_fork_of_a_job_whose_data_are_lost_is_refused(system: System, store: ShakyStore) -> None:
    """It would begin with nothing."""
    system.add(task_flow())
    job = await system.waiting(await system.create({"text": LARGE}))
    spoil(store.files(job.id)[0], "gone")

    with pytest.raises(PayloadLostError):
        await system.pasts.fork(job, "send", client=job.client)


async def test_rewind_takes_the_data_of_that_moment_from_the_history(system: System, store: ShakyStore) -> None:
    """Where they are whole, whatever became of the store."""
    system.add(filler(task=True))
    job = await system.waiting(await system.create())
    await system.historian.flush()
    await store.remove_all(f"jobs/{job.id}/.payloads/")
    system.depot._put._ends_at.clear()

    await system.pasts.rewind(job, "send")

    rewound = await system.waiting(job.id)
    assert (await system.depot.fetch_job(rewound)).state_history.value() == {"text": LARGE}


# --- the sweeper ---


async def test_documents_of_forgotten_jobs_are_swept(system: System, store: ShakyStore, clock: FakeClock) -> None:
    """Those of jobs that are there stay, ended or not."""
    sweeper = Sweeper(system.storage, store, clock)
    system.add(filler())
    gone = await system.ended(await system.create())
    await clock.advance(YOUNG_SECONDS)
    kept = await system.ended(await system.create())
    await system.historian.flush()
    before = await sweeper.sweep()
    await system.storage.purge_jobs(clock.now() - 1, 10)

    swept = await sweeper.sweep()

    assert (before, swept) == (0, 1)
    assert (store.files(gone.id), len(store.files(kept.id))) == ([], 1)
    assert [record.key for record in await system.storage.list_records(SPACE)] == [kept.id]


async def test_documents_of_a_job_that_never_came_to_be_are_swept_later(
    system: System, store: ShakyStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine was killed between the store and the commit: for an hour it might still be about to commit."""

    async def killed(_: Any) -> None:
        raise StorageError("the engine was killed")

    sweeper = Sweeper(system.storage, store, clock)
    system.add(filler())
    monkeypatch.setattr(system.storage, "commit", killed)
    with pytest.raises(StorageError, match="killed"):
        await system.create({"text": LARGE})
    (job_id,) = [record.key for record in await system.storage.list_records(SPACE)]
    written = store.files(job_id)

    early = await sweeper.sweep()
    await clock.advance(YOUNG_SECONDS)
    late = await sweeper.sweep()

    assert (len(written), early, late, store.files(job_id)) == (1, 0, 1, [])


async def test_documents_that_cannot_be_removed_are_swept_the_next_time(
    system: System, store: ShakyStore, clock: FakeClock
) -> None:
    """Nothing is forgotten before it is removed; the loop goes on by itself."""
    sweeper = Sweeper(system.storage, store, clock)
    system.add(filler())
    job = await system.ended(await system.create())
    await system.historian.flush()
    await clock.advance(YOUNG_SECONDS)
    await system.storage.purge_jobs(clock.now(), 10)
    store.failing = 1

    sweeper.start()
    try:
        async with asyncio.timeout(30):
            while await system.storage.list_records(SPACE):
                await clock.advance(100)
                await asyncio.sleep(0.001)
    finally:
        await sweeper.stop()

    assert (store.calls["remove"], store.files(job.id)) == (2, [])


async def test_engine_without_the_store_says_what_it_lacks(system: System, make_system: MakeSystem) -> None:
    """Its settings are wrong, so the job waits for the right ones."""
    system.add(task_flow())
    job = await system.waiting(await system.create({"text": LARGE}))
    other = make_system(system.storage)

    with pytest.raises(StorageError, match=r"this engine has none\. Give it the settings"):
        await other.depot.fetch_job(job)


def test_reference_cannot_be_sent() -> None:
    """What comes from outside is a value, whatever its bytes."""
    away = Document.away("ab" * 32, 5000)

    assert (away.is_away, away.digest, len(away)) == (True, "ab" * 32, 5000)
    assert not Document.of(away.raw).is_away
    assert not Document.of(away.raw.decode("latin-1")).is_away


# --- the blueprints of these tests ---


def filler(*, task: bool = False) -> StateMachineBlueprint:
    """Returns a blueprint whose first handler leaves much; the second one ends, or sends a task."""
    bp = StateMachineBlueprint("flow")

    @bp.handler_for("fill", is_start=True)
    async def fill(state_history: dict[str, Any], actions: ActionFactory) -> None:
        state_history["text"] = LARGE
        actions.transition_to("send" if task else "done")

    @bp.handler_for("send")
    async def send(actions: ActionFactory) -> None:
        actions.dispatch_task("work", {}, {"success": "done"})

    @bp.handler_for("done", is_end=True)
    async def done() -> None: ...

    return bp


def sender() -> StateMachineBlueprint:
    """Returns a blueprint that hands its text to a worker."""
    bp = StateMachineBlueprint("flow")

    @bp.handler_for("send", is_start=True)
    async def send(text: str, actions: ActionFactory) -> None:
        actions.dispatch_task("work", {"text": text}, {"success": "done"})

    @bp.handler_for("done", is_end=True)
    async def done() -> None: ...

    return bp


async def in_time(system: System, job_id: str) -> Job:
    """Returns the job when nothing but people or workers can make it go on, and lets time pass until then."""
    at_rest = {JobStatus.WAITING_FOR_WORKER, *(status for status in JobStatus if status.is_terminal)}
    async with asyncio.timeout(60):
        while True:
            job = await system.jobs.get(job_id)
            if job.status in at_rest:
                return job
            await system.clock.advance(1.0)
            await asyncio.sleep(0.001)  # files are real
