"""A Redis storage is opened and closed: addresses, passwords, versions and what the log says of the server."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import pytest
import redis
import redis.asyncio

from avtomatika.errors import ConfigError, StorageError
from avtomatika.storage import RedisStorage
from avtomatika.storage.base import Ready
from avtomatika.storage.redis_server import Server
from tests.redis_server import RedisServer

from .builders import START, a_task, create
from .redis_look import MakeServer, opened, plain_client

PASSWORD = "hunter2"


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

    await create(storage, ready=Ready(START), queue_tasks=[a_task("t1")])
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
