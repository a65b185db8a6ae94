"""Fixtures that all tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from avtomatika.storage import MemoryStorage, RedisStorage, SQLiteStorage
from avtomatika.storage.base import Storage
from avtomatika.testing import FakeClock

from .postgres_server import PostgresServer, find_account, find_programs
from .redis_server import RedisServer, find_program
from .s3_server import S3Server, is_installed

# No clock decides over a test, here or there: a busy machine is no fault. In CI the laws are tried with the same
# examples every time: a red run means that the change is wrong. At home the examples are random, which is where new
# counterexamples are found. Written out, because older versions of Hypothesis have no such profile of their own. Here,
# not in a hook: settings above a test take what they do not name from the profile loaded when the test's module is
# imported.
settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("home", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "home")


@pytest.fixture
def clock() -> FakeClock:
    """Returns a clock that a test moves by hand."""
    return FakeClock()


@pytest.fixture
def missing_server() -> Callable[[str], NoReturn]:
    """Returns what a fixture calls when the server it needs is not there: skips at home, fails in CI.

    A test that is skipped everywhere proves nothing, and nobody notices.
    """

    def miss(reason: str) -> NoReturn:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(f"{reason} In CI every server must be there.")
        pytest.skip(reason)

    return miss


@pytest.fixture(scope="session")
def _shared_postgres() -> Iterator[PostgresServer | str]:
    """A running server for the whole session, or what it lacks."""
    programs, account = find_programs(), find_account()
    if programs is None or account is None:
        yield "PostgreSQL is not installed (Debian: apt-get install postgresql)."
        return
    server = PostgresServer(programs, account)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres(
    _shared_postgres: PostgresServer | str, missing_server: Callable[[str], NoReturn]
) -> Iterator[PostgresServer]:
    """Returns a running PostgreSQL. Use a schema of your own: ``postgres.new_schema()`` returns its address.

    A test may stop it; it runs again for the next one.
    """
    if isinstance(_shared_postgres, str):
        missing_server(_shared_postgres)
    yield _shared_postgres
    if not _shared_postgres.is_running:
        _shared_postgres.start()


@pytest.fixture(scope="session")
def _shared_redis() -> Iterator[RedisServer | str]:
    """A running server for the whole session, or what it lacks."""
    program = find_program()
    if program is None:
        yield "Redis is not installed (Debian: apt-get install redis-server)."
        return
    server = RedisServer(program)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def redis_server(_shared_redis: RedisServer | str, missing_server: Callable[[str], NoReturn]) -> RedisServer:
    """Returns a running Redis. Use a prefix of your own: ``redis_server.new_prefix()`` returns one."""
    if isinstance(_shared_redis, str):
        missing_server(_shared_redis)
    return _shared_redis


@pytest.fixture
def start_redis(redis_server: RedisServer) -> Iterator[Callable[..., RedisServer]]:
    """Returns what starts a Redis of the test's own, which it may kill; options are lines of its configuration."""
    servers: list[RedisServer] = []

    def start(**options: str) -> RedisServer:
        servers.append(redis_server.like(**options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.remove()


@pytest.fixture(scope="session")
def _shared_s3() -> Iterator[S3Server | str]:
    """A running server for the whole session, or what it lacks."""
    if not is_installed():
        yield "An S3 server is not installed (pip install -e '.[test]')."
        return
    server = S3Server()
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def s3_server(_shared_s3: S3Server | str, missing_server: Callable[[str], NoReturn]) -> S3Server:
    """Returns a running S3 server. Use a bucket of your own: ``s3_server.new_bucket()`` returns one."""
    if isinstance(_shared_s3, str):
        missing_server(_shared_s3)
    return _shared_s3


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the wheel that would be published, built from the source archive that would be published with it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(Path(__file__).parents[1])]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture
def backend() -> str:
    """Returns which storage a test uses: in memory, unless its module asks for others by a fixture of this name."""
    return "memory"


@pytest.fixture
async def connect(
    backend: str, request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path
) -> AsyncIterator[Callable[[], Awaitable[Storage]]]:
    """Returns what opens one and the same storage, as one engine after the other does, over connections of its own."""
    in_memory = MemoryStorage(clock)
    server = request.getfixturevalue("redis_server") if backend == "redis" else None
    prefix = server.new_prefix() if server is not None else ""
    opened: list[Storage] = []

    async def connect() -> Storage:
        storage: Storage = in_memory
        if backend == "sqlite":
            storage = SQLiteStorage(tmp_path / "jobs.db", clock)
        elif server is not None:
            storage = RedisStorage(server.client(), prefix=prefix, clock=clock)
        await storage.open()
        opened.append(storage)
        return storage

    yield connect
    for storage in opened:
        await storage.close()
