"""What only the Redis storage promises: engines that share a server, and what becomes of jobs when it goes away."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import redis
import redis.asyncio
from msgspec.structs import replace
from redis.exceptions import ConnectionError as RedisConnectionError

from avtomatika.core.document import EMPTY, Document
from avtomatika.core.effects import RecordHistory
from avtomatika.core.events import TimerKind
from avtomatika.core.job import Client, Job, Task, job_fields
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.errors import ConfigError, StorageError
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.storage import RedisStorage, redis_line, redis_link
from avtomatika.storage.base import (
    Batch,
    Committed,
    Dedupe,
    JobQuery,
    Message,
    Progress,
    Ready,
    RecordWrite,
    Signal,
    Stale,
    TaskClaim,
    Timer,
)
from avtomatika.storage.redis_scripts import load_scripts
from avtomatika.storage.redis_server import Server
from avtomatika.testing import FakeClock

if TYPE_CHECKING:
    from tests.redis_server import RedisServer

    MakeServer = Callable[..., RedisServer]

ALL = frozenset(job_fields())
PASSWORD = "hunter2"


@asynccontextmanager
async def opened(server: RedisServer, prefix: str = "p", **options: Any) -> AsyncIterator[RedisStorage]:
    """Gives an open storage."""
    storage = RedisStorage(server.client(), prefix=prefix, **options)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


@pytest.fixture
async def pair(redis_server: RedisServer) -> AsyncIterator[tuple[RedisStorage, RedisStorage]]:
    """Returns two storages of one set of jobs, as two engines have them."""
    prefix = redis_server.new_prefix()
    async with opened(redis_server, prefix) as one, opened(redis_server, prefix) as other:
        yield one, other
        assert await one.audit() == []


def a_job(job_id: str = "j1", version: int = 1, at: float = 1000.0, **facts: Any) -> Job:
    """Returns a job."""
    plain = {"status": JobStatus.PENDING, "state": "start", "created_at": at, "updated_at": at}
    return Job(job_id, "orders", "v1", version=version, **{**plain, **facts})


def a_batch(job: Job, **facts: Any) -> Batch:
    """Returns a batch that writes the whole job."""
    return Batch(job, ALL, job.updated_at, **facts)


def a_task(task_id: str, job_id: str = "j1", **facts: Any) -> Task:
    """Returns a queued task."""
    return Task(task_id, job_id, "render", "render", TaskStatus.QUEUED, 1000.0, **facts)


def a_message(number: int, job_id: str = "j1") -> Message:
    """Returns a message that is due."""
    return Message(f"{job_id}:{number}", "webhook", job_id, "", Document.of({}), 1000.0, 1000.0)


async def create(storage: RedisStorage, job_id: str = "j1", **facts: Any) -> Job:
    """Creates a job with a wake-up that is due, unless something else is given."""
    job = a_job(job_id)
    assert await storage.commit(a_batch(job, **(facts or {"ready": Ready(1000.0)}))) == Committed(1)
    return job


class Ear:
    """Hears the signals of a storage, and can wait for one."""

    def __init__(self, storage: RedisStorage) -> None:
        self.signals: list[Signal] = []
        self._news = asyncio.Event()
        storage.subscribe(self._hear)

    def _hear(self, signal: Signal) -> None:
        self.signals.append(signal)
        self._news.set()

    async def wait_for(self, kind: str, key: str = "") -> Signal:
        """Returns the first signal of a kind; of one job, if it is named."""
        async with asyncio.timeout(20):
            while True:
                for signal in self.signals:
                    if signal.kind == kind and key in {"", signal.key}:
                        return signal
                self._news.clear()
                await self._news.wait()


def plain_client(server: RedisServer) -> redis.Redis:
    """Returns a client to look at what is stored."""
    return redis.Redis(port=server.port)


def keys_of(server: RedisServer, prefix: str) -> set[str]:
    """Returns the names of the keys under a prefix."""
    with plain_client(server) as client:
        return {key.decode().removeprefix(f"{{{prefix}}}:") for key in client.scan_iter(match=f"{{{prefix}}}:*")}


# --- several engines on one server ---


async def test_two_engines_never_share_a_job_or_a_task(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """However two engines race, each wake-up and each task is one engine's."""
    one = pair[0]
    for number in range(40):
        await create(one, f"j{number}", ready=Ready(1000.0), queue_tasks=[a_task(f"t{number}", f"j{number}")])

    claims = await asyncio.gather(*(storage.claim_jobs("e", 3, 60) for _ in range(10) for storage in pair))
    tasks = await asyncio.gather(*(storage.claim_task("w", ["render"], 60) for _ in range(30) for storage in pair))

    taken = [claim.job.id for some in claims for claim in some]
    assert sorted(taken) == sorted(f"j{number}" for number in range(40))
    assert sorted(task.id for task in tasks if task) == sorted(f"t{number}" for number in range(40))
    assert tasks.count(None) == 20


async def test_two_engines_never_share_a_message(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """However two engines race, each message is carried by one; the other hears of it, and when it is due again."""
    one, other = pair
    ear = Ear(other)
    await create(one, ready=Ready(1000.0), messages=[a_message(number) for number in range(40)])

    taken = await asyncio.gather(*(storage.claim_messages(["webhook"], 3, 60) for _ in range(10) for storage in pair))

    assert sorted(m.id for some in taken for m in some) == sorted(f"j1:{number}" for number in range(40))
    assert await ear.wait_for("message", "webhook") == Signal("message", "webhook", 1000.0)
    assert await other.claim_messages(["webhook"], 3, 60) == []
    ear.signals.clear()
    await one.postpone_message("j1:7", 1001.5, "no answer")
    assert await ear.wait_for("message", "webhook") == Signal("message", "webhook", 1001.5)
    (again,) = await other.claim_messages(["webhook"], 3, 60)
    assert (again.id, again.attempts, again.error) == ("j1:7", 2, "no answer")


async def test_two_engines_write_one_record_and_count_together(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """Of the writes of two engines on one version exactly one is applied, and a limit is one for both."""
    write = RecordWrite("x", "a", Document.of(1), expected=0)

    written = await asyncio.gather(*(storage.put_record(write) for _ in range(10) for storage in pair))
    counts = await asyncio.gather(*(storage.count("shop", 7, 60) for _ in range(10) for storage in pair))

    assert written.count(True) == 1
    assert sum(count.granted for count in counts) == 7
    assert sorted(count.total for count in counts if count.granted) == list(range(1, 8))


async def test_two_engines_commit_one_version_once(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """Of the commits of two engines on one version exactly one is applied."""
    job = await create(pair[0])
    batch = a_batch(replace(job, version=2))

    outcomes = await asyncio.gather(*(storage.commit(batch) for _ in range(10) for storage in pair))

    assert outcomes.count(Committed(2)) == 1
    assert outcomes.count(Stale(2)) == 19


async def test_signals_reach_the_other_engine(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """What one engine does, the other hears, in order and with everything that it tells."""
    one, other = pair
    own, ear = Ear(one), Ear(other)

    await create(
        one,
        ready=Ready(1003.5),
        queue_tasks=[a_task("t1", requirements={"gpu": 1}, max_cost=0.5, strategy="cheapest")],
        set_timers=[Timer("j1", TimerKind.JOB, 1009.25)],
        events=[RecordHistory("job_created", "start")],
    )

    await ear.wait_for("event")
    assert ear.signals == own.signals
    assert [signal.kind for signal in ear.signals] == ["job", "ready", "task", "timer", "event"]
    task = next(signal for signal in ear.signals if signal.kind == "task")
    assert task.queue is not None
    assert (task.key, task.queue.requirements, task.queue.max_cost) == ("render", {"gpu": 1}, 0.5)
    assert task.strategy == "cheapest"


async def test_own_signals_are_heard_once(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """An engine does not get back over the network what it was told at once."""
    one, other = pair
    own, ear = Ear(one), Ear(other)
    await create(one, "j1")
    await ear.wait_for("job")
    ear.signals.clear()

    # What the other does comes after whatever came back of the first.
    await create(other, "j2")
    await own.wait_for("job", "j2")

    assert [signal.key for signal in own.signals if signal.kind == "job"] == ["j1", "j2"]


async def test_signal_that_makes_no_sense_is_passed_over(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What a newer engine says in its own way does not make this one deaf."""
    prefix = redis_server.new_prefix()
    async with opened(redis_server, prefix) as one, opened(redis_server, prefix) as other:
        ear = Ear(other)
        with plain_client(redis_server) as client:
            for nonsense in (b"", b"\xc1", b"\x01", b"\x91\x91\x01"):
                client.publish(f"{{{prefix}}}:engines:{other._name}", nonsense)

        await create(one)

        await ear.wait_for("job", "j1")
    assert caplog.text.count("a signal of another engine makes no sense") == 4


async def test_engine_that_is_gone_is_told_nothing(redis_server: RedisServer) -> None:
    """An engine that ended without a word is struck off at the next signal."""
    prefix = redis_server.new_prefix()
    with plain_client(redis_server) as client:
        client.sadd(f"{{{prefix}}}:engines", "dead")
        async with opened(redis_server, prefix) as storage:
            await create(storage)

            assert client.smembers(f"{{{prefix}}}:engines") == {storage._name.encode()}

        assert client.smembers(f"{{{prefix}}}:engines") == set()


async def test_prefixes_are_worlds_apart(redis_server: RedisServer) -> None:
    """Two systems on one server see nothing of each other."""
    first, second = redis_server.new_prefix(), redis_server.new_prefix()
    async with opened(redis_server, first) as one, opened(redis_server, second) as other:
        await create(one)

        assert await other.find_job("j1") is None
        assert await other.claim_jobs("e", 10, 10) == []


async def test_client_that_decodes_answers_serves_too(redis_server: RedisServer) -> None:
    """However the caller reads its own answers, the storage reads bytes."""
    client = redis_server.client(decode_responses=True, protocol=3)
    storage = RedisStorage(client, prefix=redis_server.new_prefix())
    await storage.open()

    await create(storage, queue_tasks=[a_task("t1", requirements={"name": "ä"})])
    await storage.claim_task("w", ["render"], 10)

    assert await storage.find_job("j1") == a_job()
    assert await storage.audit() == []
    await storage.close()
    await client.aclose()


# --- the server's clock ---


async def test_now_is_the_servers_and_never_ahead(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """All engines measure by the server, and none believes it to be later than it is."""
    for _ in range(20):
        for storage in pair:
            now = await storage.now()
            seconds, microseconds = await storage._link.ask("TIME")
            server = int(seconds) + int(microseconds) / 1e6
            assert now <= server + 0.001
            assert server - now < 1


async def test_claims_of_now_can_be_had_at_once(pair: tuple[RedisStorage, RedisStorage]) -> None:
    """What one engine calls now is due for every engine."""
    one, other = pair
    for number in range(20):
        now = await one.now()
        await one.commit(Batch(a_job(f"j{number}", at=now), ALL, now, ready=Ready(now)))

        assert [claim.job.id for claim in await other.claim_jobs("e", 10, 60)] == [f"j{number}"]


async def test_wake_up_at_the_moment_of_its_step_is_due(redis_server: RedisServer, clock: FakeClock) -> None:
    """A step whose clock is a little ahead does not put its own job to sleep; a later moment still waits."""
    ahead = clock.now() + 0.01
    async with opened(redis_server, redis_server.new_prefix(), clock=clock) as storage:
        await storage.commit(Batch(a_job("j1"), ALL, ahead, ready=Ready(ahead)))
        await storage.commit(Batch(a_job("j2"), ALL, ahead, ready=Ready(ahead + 1)))

        assert [claim.job.id for claim in await storage.claim_jobs("e", 10, 60)] == ["j1"]
        assert await storage.next_wake_at() == ahead + 1


# --- a server that goes away ---


async def test_killed_server_comes_back_with_everything_that_was_acknowledged(
    start_redis: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """With appendfsync always a power cut takes nothing, and the storage finds its server again by itself."""
    server = start_redis(appendfsync="always")
    async with opened(server) as storage, opened(server) as other:
        ear = Ear(other)
        for round_ in range(3):
            ids = [f"r{round_}-{number}" for number in range(30)]
            await asyncio.gather(*(create(storage, job_id) for job_id in ids))
            ear.signals.clear()
            server.kill()
            await asyncio.to_thread(server.start)

            assert {(await storage.find_job(job_id)).version for job_id in ids} == {1}
            claims = await storage.claim_jobs("e", 100, 60)
            assert {claim.job.id for claim in claims} == set(ids)
            # The other engine hears again, and was told to look at what it may have missed.
            await ear.wait_for("ready")
            await ear.wait_for("timer")
            ear.signals.clear()
            await create(storage, f"r{round_}-news")
            assert (await ear.wait_for("job")).key == f"r{round_}-news"
            assert len(await storage.claim_jobs("e", 100, 60)) == 1
        assert await storage.audit() == []
    assert "was restarted, or another server took over" in caplog.text
    assert "has lost" not in caplog.text


async def test_call_waits_for_a_server_that_is_away_for_a_moment(start_redis: MakeServer) -> None:
    """A restart is a delay, not an error, for what may be asked twice."""
    server = start_redis()
    async with opened(server) as storage:
        await create(storage)
        server.kill()

        answer = asyncio.create_task(storage.find_job("j1"))
        creation = asyncio.create_task(storage.commit(a_batch(a_job("j2"), ready=Ready(1000.0))))
        await asyncio.sleep(0)
        await asyncio.to_thread(server.start)

        assert await creation == Committed(1)
        assert await answer in (a_job(), None)  # everysec: the file may be a second old


async def test_server_that_stays_away_is_named(start_redis: MakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while the caller learns which server does not answer."""
    monkeypatch.setattr(redis_link, "_PATIENCE", 0.2)
    server = start_redis()
    async with opened(server) as storage:
        server.kill()

        with pytest.raises(StorageError, match=f"Redis at 127.0.0.1:{server.port} does not answer"):
            await storage.find_job("j1")


async def lose_answers(storage: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the connection break after the next commands were done and before their answer is read."""
    connection = storage._link._connection
    read = connection.read_response

    async def read_and_lose(*args: Any, **options: Any) -> NoReturn:
        await read(*args, **options)
        raise RedisConnectionError("cut by the test")

    monkeypatch.setattr(connection, "read_response", read_and_lose)


async def test_commit_whose_answer_is_lost_is_applied_once(
    pair: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not hear what became of a commit asks again, and learns that it was applied."""
    storage = pair[0]
    key = Dedupe("k", "print", 60)
    await lose_answers(storage, monkeypatch)
    batch = a_batch(a_job(), ready=Ready(1000.0), dedupe=key, events=[RecordHistory("job_created", "start")])

    assert await storage.commit(batch) == Committed(1)

    assert len(await storage.read_events(10)) == 1
    await lose_answers(storage, monkeypatch)
    assert await storage.commit(a_batch(a_job(version=2))) == Committed(2)
    # The caller's own repetition is another call, as the contract says.
    assert await storage.commit(a_batch(a_job(version=2))) == Stale(2)


async def test_commit_that_was_overtaken_while_its_answer_was_lost_is_stale(
    pair: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked again after somebody else went on is not taken for applied twice."""
    one, other = pair
    await create(one)
    connect = one._link.connect

    async def overtake() -> Any:
        assert await other.commit(a_batch(a_job(version=3))) == Committed(3)
        return await connect()

    await lose_answers(one, monkeypatch)
    monkeypatch.setattr(one._link, "connect", overtake)

    assert await one.commit(a_batch(a_job(version=2))) == Stale(3)


async def test_claim_whose_answer_is_lost_is_not_asked_for_again(
    pair: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that nobody heard of is given up to its lease: asking twice would take two."""
    storage = pair[0]
    await create(storage, "j1")
    await create(storage, "j2")
    await lose_answers(storage, monkeypatch)

    with pytest.raises(StorageError, match="The step may have happened"):
        await storage.claim_jobs("e", 1, 60)

    assert len(await storage.claim_jobs("e", 10, 60)) == 1


async def test_scripts_are_loaded_when_the_server_does_not_know_them(redis_server: RedisServer) -> None:
    """A server whose scripts were flushed gets them again, while many calls are on their way."""
    async with opened(redis_server, redis_server.new_prefix()) as storage:
        with plain_client(redis_server) as client:
            client.script_flush()

        await asyncio.gather(*(create(storage, f"j{number}") for number in range(100)))

        assert await storage.count_jobs() == {JobStatus.PENDING: 100}


async def test_silent_line_is_tried_and_given_up(
    start_redis: MakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who hears nothing asks whether somebody is there; a server that is frozen is a lost one, until it is back."""
    monkeypatch.setattr(redis_line, "_QUIET", 0.05)
    monkeypatch.setattr(redis_line, "_ANSWER", 0.2)
    server = start_redis()
    async with opened(server) as storage:
        ear = Ear(storage)
        looks = asyncio.Event()
        check = storage._server.check

        async def count() -> None:
            await check()
            looks.set()

        monkeypatch.setattr(storage._server, "check", count)
        async with asyncio.timeout(20):
            await looks.wait()
        with plain_client(server) as client:
            client.execute_command("CLIENT", "PAUSE", 600)

        await ear.wait_for("ready")

    assert "lost the signals of other engines" in caplog.text


# --- opening, closing, refusing ---


async def test_no_server_is_an_error_with_its_address() -> None:
    """Who starts without a server is told where it was looked for."""
    storage = RedisStorage(redis.asyncio.Redis(host="127.0.0.1", port=1, password=PASSWORD))

    with pytest.raises(StorageError, match=r"Redis at 127\.0\.0\.1:1 does not answer .*Does the server run") as caught:
        await storage.open()

    assert PASSWORD not in str(caught.value)
    await storage.close()


@pytest.mark.parametrize("password", [None, "not " + PASSWORD])
async def test_wrong_password_is_said_and_not_shown(start_redis: MakeServer, password: str | None) -> None:
    """A password that is refused is an error of its own, and is never repeated."""
    server = start_redis(requirepass=PASSWORD)
    storage = RedisStorage(server.client(password=password))

    with pytest.raises(StorageError, match=r"refuses this user or password\. Check them") as caught:
        await storage.open()

    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in repr(storage)


async def test_right_password_opens(start_redis: MakeServer) -> None:
    """The client's name, password and database are the storage's."""
    server = start_redis(requirepass=PASSWORD)
    storage = RedisStorage(server.client(password=PASSWORD, db=3))
    await storage.open()

    await create(storage)

    with redis.Redis(port=server.port, password=PASSWORD, db=3) as client:
        assert client.exists("{avtomatika}:job:j1")
    await storage.close()


async def test_url_opens(start_redis: MakeServer) -> None:
    """A storage is made of one line of settings, password and database included."""
    server = start_redis(requirepass="p@ss")
    storage = RedisStorage.from_url(f"redis://:p%40ss@127.0.0.1:{server.port}/2")
    await storage.open()

    await create(storage)

    with redis.Redis(port=server.port, password="p@ss", db=2) as client:
        assert client.exists("{avtomatika}:job:j1")
    await storage.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@localhost:port/0",
        "redis://:hunter2@localhost/first",
        "http://user:hunter2@localhost",
        "redis://:hunter2@localhost/0?speed=9",
        "redis://:hunter2/x@localhost:6379/0",
    ],
)
def test_url_that_means_nothing_is_refused(url: str) -> None:
    """What to write instead is told, and the password is not."""
    with pytest.raises(
        ConfigError, match="the address of Redis cannot be read; write redis://user:password@"
    ) as caught:
        RedisStorage.from_url(url)

    assert PASSWORD not in str(caught.value)


async def test_user_with_the_documented_rights_opens(start_redis: MakeServer) -> None:
    """What the manual says of access rules is enough."""
    server = start_redis()
    rules = ["~{p}:*", "&{p}:*", "+@read", "+@write", "+@scripting", "+@connection", "+@pubsub", "+info", "+time"]
    with plain_client(server) as client:
        client.execute_command("ACL", "SETUSER", "engine", "on", f">{PASSWORD}", *rules)
    storage = RedisStorage(server.client(username="engine", password=PASSWORD), prefix="p")
    await storage.open()

    await create(storage, ready=Ready(1000.0), queue_tasks=[a_task("t1")])
    assert len(await storage.claim_jobs("e", 10, 60)) == 1
    assert await storage.claim_task("w", ["render"], 60) is not None
    await storage.now()

    assert await storage.audit() == []
    await storage.close()


def test_other_client_is_refused() -> None:
    """A client that cannot be awaited is refused before anything is asked of it."""
    with pytest.raises(ConfigError, match=r"takes a client of redis\.asyncio, .*got a redis\.client\.Redis"):
        RedisStorage(redis.Redis())


@pytest.mark.parametrize("prefix", ["", "a{b}", "a b"])
def test_prefix_that_breaks_the_hash_tag_is_refused(prefix: str) -> None:
    """All keys must stay on one server."""
    with pytest.raises(ConfigError, match="use letters and digits"):
        RedisStorage(redis.asyncio.Redis(), prefix=prefix)


async def test_server_that_is_too_old_is_refused(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old server is named with its version."""

    async def facts(_self: Server) -> dict[str, str]:
        return {"redis_version": "6.2.14"}

    monkeypatch.setattr(Server, "_facts", facts)

    with pytest.raises(ConfigError, match=r"has version 6\.2\.14; avtomatika needs 7\.0 or later, or Valkey"):
        await RedisStorage(redis_server.client()).open()


async def test_storage_that_is_not_open_says_so(redis_server: RedisServer) -> None:
    """A call before open, or after close, is an error and waits for nothing."""
    storage = RedisStorage(redis_server.client(), prefix=redis_server.new_prefix())
    with pytest.raises(StorageError, match=r"not open; call open\(\) first"):
        await storage.find_job("j1")

    await storage.open()
    await storage.close()

    with pytest.raises(StorageError, match=r"not open; call open\(\) first"):
        await storage.find_job("j1")


async def test_call_on_its_way_fails_when_the_storage_is_closed(start_redis: MakeServer) -> None:
    """Nobody waits for an answer that cannot come any more."""
    server = start_redis()
    async with opened(server) as storage:
        server.kill()
        call = asyncio.create_task(storage.find_job("j1"))
        await asyncio.sleep(0)

    with pytest.raises(StorageError, match="closed before Redis answered"):
        await call


def test_missing_package_names_the_extra() -> None:
    """Who has not installed the client library is told what to run."""
    script = "import sys; sys.modules['redis'] = None\nfrom avtomatika.storage import RedisStorage"

    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)

    assert "ConfigError: RedisStorage needs the package 'redis'" in done.stderr
    assert "pip install 'avtomatika[redis]'" in done.stderr


# --- the server's settings and its data ---


@pytest.mark.parametrize(
    ("options", "level", "sentence"),
    [
        ({"appendfsync": "always"}, "INFO", "each step is on disk before it is acknowledged"),
        ({"appendfsync": "everysec"}, "INFO", "may lose the steps of the last second"),
        ({"appendfsync": "no"}, "INFO", "may lose the steps of the last half minute"),
        ({"appendonly": "no"}, "WARNING", "keeps no append-only file: a restart loses all steps"),
        ({"maxmemory-policy": "allkeys-lru"}, "WARNING", "maxmemory-policy is allkeys-lru; set it to noeviction"),
        ({"rename-command": "CONFIG x"}, "INFO", "how often it writes to disk is not told"),
    ],
)
async def test_durability_of_the_server_is_logged(
    start_redis: MakeServer, caplog: pytest.LogCaptureFixture, options: dict[str, str], level: str, sentence: str
) -> None:
    """Whoever starts an engine is told what a crash of the server may take."""
    caplog.set_level(logging.INFO, "avtomatika")

    async with opened(start_redis(**options)):
        pass

    assert [record.levelname for record in caplog.records if sentence in record.getMessage()] == [level]


async def test_server_that_lost_its_data_is_reported(start_redis: MakeServer, caplog: pytest.LogCaptureFixture) -> None:
    """An empty server in place of a full one is no secret, and new jobs are taken."""
    server = start_redis()
    async with opened(server) as storage:
        await create(storage)
        ear = Ear(storage)
        server.kill()
        server.forget()
        await asyncio.to_thread(server.start)
        await ear.wait_for("ready")

        assert "has lost its data, or is another server: jobs that were there are gone" in caplog.text
        assert await storage.find_job("j1") is None
        await create(storage)


async def test_older_data_is_noticed_said_and_fenced(start_redis: MakeServer, caplog: pytest.LogCaptureFixture) -> None:
    """Who held a claim that the older data does not know has lost it, although the next one comes in the same order."""
    server = start_redis()
    async with opened(server) as one, opened(server) as other:
        job = await create(one)
        copy = server.keep()
        (claim,) = await one.claim_jobs("e", 1, 60)
        step = a_batch(replace(job, version=2), claim=claim.token, keep_claim=True, ready=Ready(1000.0))
        assert await one.commit(step) == Committed(2)
        ears = Ear(one), Ear(other)
        server.kill()
        server.bring_back(copy)
        await asyncio.to_thread(server.start)
        for ear in ears:
            assert (await ear.wait_for("loss")).key == "rolled_back"

        (again,) = await one.claim_jobs("e", 1, 60)
        late = await other.commit(a_batch(replace(job, version=2), claim=claim.token))

        assert (again.job.version, late) == (1, Stale(1))
        assert await one.commit(replace(step, claim=again.token)) == Committed(2)
        assert await one.audit() == []
    assert "Job j1 was at version 2, and is at 1 now." in caplog.text
    assert caplog.text.count("has lost its last steps") == 2  # each engine says it once


async def test_step_decided_before_a_loss_is_not_written_after_it(
    start_redis: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another engine has brought the job to the same version in another way: the step that waits does not fit it."""
    server = start_redis()
    async with opened(server) as one, opened(server) as other:
        job = await create(one)
        copy = server.keep()
        assert await one.commit(a_batch(replace(job, version=2, state="left"))) == Committed(2)
        door, connect = asyncio.Event(), one._link.connect

        async def connect_later() -> Any:
            await door.wait()
            return await connect()

        monkeypatch.setattr(one._link, "connect", connect_later)
        server.kill()
        server.bring_back(copy)
        await asyncio.to_thread(server.start)
        waiting = asyncio.create_task(one.commit(a_batch(replace(job, version=3, state="left again"))))
        await asyncio.sleep(0)
        assert await other.commit(a_batch(replace(job, version=2, state="right"))) == Committed(2)
        door.set()

        with pytest.raises(StorageError, match="This step was decided before that; it is to be decided anew"):
            await waiting
        assert (await one.find_job("j1")).state == "right"


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
async def test_restart_without_a_loss_is_no_loss(
    start_redis: MakeServer, caplog: pytest.LogCaptureFixture, appendfsync: str
) -> None:
    """Steps that are there, jobs that went on elsewhere and jobs that were forgotten are not taken for lost."""
    server = start_redis(appendfsync=appendfsync)
    async with opened(server) as one, opened(server) as other:
        job = await create(one)
        await other.commit(a_batch(replace(job, version=2)))
        ended = replace(await create(one, "j2"), version=2, status=JobStatus.FINISHED)
        await one.commit(a_batch(ended, finish=True))
        await other.purge_jobs(1e12, 10)
        ears = Ear(one), Ear(other)
        server.kill()
        await asyncio.to_thread(server.start)
        for ear in ears:
            await ear.wait_for("ready")

        assert await one.find_job("j2") is None
        assert not [signal for ear in ears for signal in ear.signals if signal.kind == "loss"]
    assert "has lost" not in caplog.text


async def test_full_server_refuses_and_nothing_is_half_written(start_redis: MakeServer) -> None:
    """A step that does not fit is not written at all; with room again, work goes on."""
    server = start_redis()
    async with opened(server) as storage:
        job = await create(storage)
        before = keys_of(server, "p")
        with plain_client(server) as client:
            client.config_set("maxmemory", 1)

            with pytest.raises(StorageError, match=r"is full and wrote nothing\. Raise its maxmemory"):
                await storage.commit(a_batch(replace(job, version=2), queue_tasks=[a_task("t1")], finish=True))

            assert keys_of(server, "p") == before
            client.config_set("maxmemory", 0)
        assert await storage.find_job("j1") == job
        assert await storage.audit() == []
        assert await storage.commit(a_batch(replace(job, version=2))) == Committed(2)


async def run_a_life(storage: RedisStorage, clock: FakeClock, number: int) -> None:
    """Lets a job use everything that there is, and end."""
    job_id = f"j{number}"
    job = a_job(job_id, client=Client(f"c{number % 3}"))
    timers = [Timer(job_id, kind, clock.now() + 50) for kind in (TimerKind.JOB, TimerKind.RETRY)]
    tasks = [a_task(f"{job_id}-{n}", job_id, priority=float(n)) for n in range(3)]
    event = RecordHistory("state_started", "start")
    await storage.commit(
        a_batch(
            job,
            ready=Ready(clock.now()),
            queue_tasks=tasks,
            set_timers=timers,
            events=[event],
            dedupe=Dedupe(job_id, "p", 9),
        )
    )
    (claim,) = await storage.claim_jobs("e", 1, 30)
    held = await storage.claim_task("w", ["render"], 30)
    assert held is not None
    await storage.put_progress(job_id, Progress(0.5))
    await storage.put_worker(WorkerProfile(f"w{number}"), 9)
    ended = replace(job, version=2, status=JobStatus.FINISHED, updated_at=clock.now())
    done = replace(held, status=TaskStatus.SUCCEEDED, ended_at=clock.now())
    outcome = await storage.commit(
        a_batch(
            ended,
            claim=claim.token,
            task_claim=TaskClaim(held.id, 1, "w"),
            cancel_open_tasks=True,
            save_tasks=[done],
            finish=True,
            events=[event],
            messages=[a_message(n, job_id) for n in range(3)],
            records=[RecordWrite("x", f"{job_id}-{n}", EMPTY, ttl=n) for n in range(3)],
        )
    )
    await storage.count(job_id, 5, 9)
    assert outcome == Committed(2)
    await storage.bury_message(f"{job_id}:0", "no hope")
    await storage.bury_message(f"{job_id}:1", "no hope")
    await storage.replay_messages([f"{job_id}:1"])
    await storage.claim_messages(["webhook"], 5, 30)
    await storage.ack_messages([f"{job_id}:1", f"{job_id}:2"])


async def test_nothing_is_left_of_jobs_that_were_purged(redis_server: RedisServer, clock: FakeClock) -> None:
    """After retention the server holds as little as before: nothing grows with the jobs that ever were."""
    prefix = redis_server.new_prefix()
    async with opened(redis_server, prefix, clock=clock) as storage:
        at_first = keys_of(redis_server, prefix)
        for number in range(30):
            await run_a_life(storage, clock, number)
        assert len(keys_of(redis_server, prefix)) > 30
        assert await storage.audit() == []

        await clock.advance(10)
        await storage.ack_events([step.id for step in await storage.read_events(1000)])
        assert len(await storage.purge_jobs(clock.now(), 20)) == 20
        assert len(await storage.purge_jobs(clock.now(), 20)) == 10

        await storage.trim_changes(0, 1)
        assert keys_of(redis_server, prefix) == at_first | {"seq", "changes_floor", "purged"}
        assert await storage.audit() == []


async def test_what_is_kept_for_a_time_goes_when_other_things_come(redis_server: RedisServer, clock: FakeClock) -> None:
    """Without any round of forgetting, what has run out makes room for what comes."""
    prefix = redis_server.new_prefix()
    async with opened(redis_server, prefix, clock=clock) as storage:
        for number in range(20):
            await create(storage, f"j{number}", ready=Ready(1000.0), dedupe=Dedupe(f"k{number}", "p", 5))
            await storage.put_worker(WorkerProfile(f"w{number}"), 5)
            await storage.put_record(RecordWrite("x", f"r{number}", EMPTY, ttl=5))
            await storage.count(f"c{number}", 5, 5)
            await clock.advance(2)

    with plain_client(redis_server) as client:
        assert client.hlen(f"{{{prefix}}}:dedupe") == client.zcard(f"{{{prefix}}}:dedupe_ends") == 3
        for kind in ("records", "counters"):
            assert client.hlen(f"{{{prefix}}}:{kind}") == client.zcard(f"{{{prefix}}}:{kind[:-1]}_ends") == 3
        assert client.zcard(f"{{{prefix}}}:record_names") == 3
        assert client.hlen(f"{{{prefix}}}:workers") == client.zcard(f"{{{prefix}}}:worker_ends") == 3


async def test_jobs_of_a_client_are_found_among_many_others(redis_server: RedisServer) -> None:
    """A list that looks through many jobs in several calls is the one that a single look would give."""
    async with opened(redis_server, redis_server.new_prefix()) as storage:
        batches = [
            a_batch(
                a_job(
                    f"j{n:03}",
                    at=1000.0 + n // 2,
                    client=Client("a" if n % 5 else "b"),
                    status=JobStatus.RUNNING if n % 2 else JobStatus.PENDING,
                ),
                ready=Ready(1000.0),
            )
            for n in range(450)
        ]
        await asyncio.gather(*map(storage.commit, batches))
        newest = [f"j{n:03}" for n in reversed(range(450)) if n % 5 == 0 and n % 2]

        query = JobQuery(client="b", status=JobStatus.RUNNING, limit=5)
        pages = [await storage.list_jobs(replace(query, offset=offset)) for offset in range(0, 50, 5)]
        assert [job.id for page in pages for job in page] == newest
        last = pages[3][-1]
        behind = await storage.list_jobs(replace(query, before=(last.created_at, last.id)))
        assert behind == pages[4]


async def test_calls_that_wait_travel_together(
    pair: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many callers at once share the way to the server, 64 at a time."""
    storage = pair[0]
    post, sizes = storage._link._post, []

    async def count(group: Any) -> None:
        sizes.append(len(group))
        await post(group)

    monkeypatch.setattr(storage._link, "_post", count)

    await asyncio.gather(*(create(storage, f"j{number}") for number in range(200)))

    # Two more groups for the script, which the server may not know yet.
    assert max(sizes) == 64
    assert len(sizes) <= 8


async def test_calls_are_sent_while_others_wait_for_their_answers(
    pair: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server works on one group while the engine makes the next."""
    storage, other = pair
    connection = storage._link._connection
    read, may_read = connection.read_response, asyncio.Event()

    async def read_later(*args: Any, **options: Any) -> Any:
        await may_read.wait()
        return await read(*args, **options)

    monkeypatch.setattr(connection, "read_response", read_later)
    ear = Ear(other)

    first = asyncio.create_task(create(storage, "j1"))
    await ear.wait_for("job")
    ear.signals.clear()
    second = asyncio.create_task(create(storage, "j2"))
    await ear.wait_for("job")

    assert not first.done()
    may_read.set()
    await asyncio.gather(first, second)


async def test_commit_that_fails_harms_none_that_travels_with_it(
    redis_server: RedisServer,
) -> None:
    """Commits share one run of a script; if one of them breaks it, the others are applied all the same, once."""
    prefix = redis_server.new_prefix()
    async with opened(redis_server, prefix) as storage:
        for number in range(9):
            await create(storage, f"j{number}")
        with plain_client(redis_server) as client:
            client.hset(f"{{{prefix}}}:facts", "j4", b"\xc1 is no msgpack")

        batches = [
            a_batch(a_job(f"j{number}", version=2), ready=Ready(1000.0), events=[RecordHistory("e", "s")])
            for number in range(9)
        ]
        outcomes = await asyncio.gather(*map(storage.commit, batches), return_exceptions=True)

        assert [type(outcome) for outcome in outcomes] == [Committed] * 4 + [StorageError] + [Committed] * 4
        assert "refused a command" in str(outcomes[4])
        assert len(await storage.read_events(100)) == 8


# --- proof ---


@pytest.mark.parametrize(
    ("command", "letters"),
    [
        (("DEL", "due"), {"U", "W"}),
        (("DEL", "waiting"), {"W"}),
        (("DEL", "held"), {"W"}),
        (("DEL", "leases"), {"W"}),
        (("DEL", "task_facts"), {"W"}),
        (("DEL", "events"), {"H", "O"}),
        (("DEL", "mail"), {"O"}),
        (("DEL", "dead"), {"O"}),
        (("DEL", "messages"), {"O"}),
        (("DEL", "message_facts"), {"O"}),
        (("DEL", "job_mail"), {"O"}),
        (("HSET", "counts", "pending", "7"), {"C"}),
        (("HSET", "counts", "created", "7"), {"C"}),
        (("ZREMRANGEBYLEX", "index", "[s", "(t"), {"C"}),
        (("DEL", "job:j1"), {"C"}),
    ],
)
async def test_audit_finds_what_was_damaged(
    redis_server: RedisServer, command: tuple[str, ...], letters: set[str]
) -> None:
    """Whatever part of a job is lost, the audit misses it."""
    prefix = redis_server.new_prefix()
    async with opened(redis_server, prefix) as storage:
        await create(storage, "j1")
        await create(storage, "j2", queue_tasks=[a_task("t1", "j2"), a_task("t2", "j2")])
        await storage.claim_task("w", ["render"], 60)
        await create(storage, "j3", ready=Ready(1000.0), messages=[a_message(n, "j3") for n in range(2)])
        await storage.bury_message("j3:0", "no hope")
        assert await storage.audit() == []

        name, key, *rest = command
        with plain_client(redis_server) as client:
            client.execute_command(name, f"{{{prefix}}}:{key}", *rest)

        assert {fault.invariant for fault in await storage.audit()} == letters


@pytest.mark.parametrize("name", sorted(load_scripts()))
def test_script_declares_every_key_that_it_names(name: str) -> None:
    """A server that spreads keys over several machines is told beforehand which ones a script touches."""
    script = load_scripts()[name]

    assert set(re.findall(r"\bK\.(\w+)", script.text)) <= set(script.keys)
