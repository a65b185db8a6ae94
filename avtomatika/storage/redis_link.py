"""The connection to Redis: many callers, one connection, up to 64 calls sent at a time.

While the answers of one group are on their way, the next calls gather; so the busier the engine, the larger the groups.
This is the only file that imports the package ``redis``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from avtomatika.errors import ConfigError, StorageError
from avtomatika.storage.redis_records import pack, unpack
from avtomatika.storage.redis_scripts import JOB_KEYS, Keyspace, Script, load_scripts

try:
    import redis.asyncio as aioredis
    from redis import exceptions as faults
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ModuleNotFoundError as missing:
    raise ConfigError(
        "RedisStorage needs the package 'redis', which is not installed; run: pip install 'avtomatika[redis]'"
    ) from missing

log = logging.getLogger(__name__)

T = TypeVar("T")
Connection = Any
"""A connection of redis-py, whose classes have no common public type."""

_GROUP = 64
# An engine that finds its server away for a moment (a restart, a failover) waits so long before it says so.
_PATIENCE = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
# Where the client has no limit of its own: an answer later than this will not come.
_ANSWER_SECONDS = 10.0
_LOST = (faults.ConnectionError, faults.TimeoutError, OSError)
FAULTS = (faults.RedisError, OSError)
"""What a connection raises: the server does not answer, or it refuses."""


@dataclass(eq=False, slots=True)
class _Call:
    """A command on its way.

    Args:
        packed: the command as it is sent.
        answer: what it will bring.
        repeats: whether it may be sent again when its answer was lost.
        gives_up_at: the loop's time from which on a missing server is an error.
    """

    packed: bytes
    answer: asyncio.Future[Any]
    repeats: bool
    gives_up_at: float


class Link:
    """Commands and scripts for one Redis server.

    Args:
        client: tells where the server is and how to log in; its own connections are not used.
        keyspace: the names of the keys.

    Raises:
        ConfigError: the client is another one.
    """

    def __init__(self, client: aioredis.Redis, keyspace: Keyspace) -> None:
        if not isinstance(client, aioredis.Redis):
            raise ConfigError(
                f"RedisStorage takes a client of redis.asyncio, such as redis.asyncio.Redis.from_url('redis://...'); "
                f"got a {type(client).__module__}.{type(client).__name__}."
            )
        self._client = client
        self._keyspace = keyspace
        self._heads = {name: _head(script, keyspace) for name, script in load_scripts().items()}
        self._connection: Connection | None = None
        self._waiting: deque[_Call] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._is_open = False
        self._knows_scripts = False

    @property
    def address(self) -> str:
        """Where the server is, for people; never with the password."""
        options = self._client.connection_pool.connection_kwargs
        if path := options.get("path"):
            return str(path)
        if service := getattr(self._client.connection_pool, "service_name", None):
            return f"'{service}' (found through Sentinel)"
        return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"

    async def open(self) -> None:
        """Connects.

        Raises:
            StorageError: no server answers, or it refuses.
        """
        self._connection = await self.translated(self._connect_with_scripts())
        self._is_open = True

    async def close(self) -> None:
        """Ends the connection. Calls that wait for an answer fail."""
        self._is_open = False
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
            self._sending = None
        await self._disconnect()

    async def run(self, name: str, arguments: dict[str, Any], *, job_id: str = "", repeats: bool = False) -> Any:
        """Runs a script.

        Args:
            name: of its file.
            arguments: what it takes.
            job_id: the job whose keys it touches, if it touches any.
            repeats: whether a lost answer makes it be sent again; only where twice does no harm.

        Returns:
            What the script answered, unpacked.

        Raises:
            StorageError: no answer, or Redis refused.
        """
        words, head, job_keys = self._heads[name]
        tail = [self._keyspace.job_key(job_id, key) for key in job_keys]
        packed = b"*%d\r\n%b%b" % (words + len(tail) + 1, head, encode_words(*tail, pack(arguments)))
        return unpack(await self._call(packed, repeats=repeats))

    async def ask(self, *command: Any, repeats: bool = True) -> Any:
        """Sends a command and returns its answer, in bytes.

        Raises:
            StorageError: no answer, or Redis refused.
        """
        return await self._call(encode_command(*command), repeats=repeats)

    async def _call(self, packed: bytes, *, repeats: bool) -> Any:
        if not self._is_open:
            raise StorageError("the storage is not open; call open() first.")
        loop = asyncio.get_running_loop()
        call = _Call(packed, loop.create_future(), repeats, loop.time() + _PATIENCE)
        self._waiting.append(call)
        if self._sending is None or self._sending.done():
            self._sending = loop.create_task(self._send(), name="avtomatika-redis")
        return await call.answer

    async def connect(self) -> Connection:
        """Returns a new connection to the server, logged in, that reads bytes."""
        pool = self._client.connection_pool
        # Answers are bytes in one format, whatever the client reads; what is sent again is decided here alone.
        ours = {
            "decode_responses": False,
            "protocol": 2,
            "health_check_interval": 0,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_error": [],
        }
        theirs = {name: value for name, value in pool.connection_kwargs.items() if "maint_notifications" not in name}
        options: dict[str, Any] = {**theirs, **ours}
        for limit in ("socket_timeout", "socket_connect_timeout"):
            options[limit] = options.get(limit) or _ANSWER_SECONDS
        connection: Connection = pool.connection_class(**options)
        try:
            await connection.connect()
            # A server that still reads its file says so here, before anything is sent that cannot be sent twice.
            await connection.send_command("PING", check_health=False)
            await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _connect_with_scripts(self) -> Connection:
        """Returns a new connection to a server that knows all scripts."""
        connection = await self.connect()
        scripts = load_scripts().values()
        try:
            loads = b"".join(encode_command("SCRIPT", "LOAD", script.text) for script in scripts)
            await connection.send_packed_command([loads], check_health=False)
            for _ in scripts:
                await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._knows_scripts = True
        return connection

    # --- sending ---

    async def _send(self) -> None:
        """Sends what waits, a group at a time, until nothing waits."""
        pause = _FIRST_PAUSE
        group: list[_Call] = []
        try:
            while self._waiting:
                if not await self._reach():
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    continue
                pause = _FIRST_PAUSE
                # Who asked may have gone meanwhile.
                group = [call for call in self._take() if not call.answer.done()]
                await self._exchange(group)
        except asyncio.CancelledError:
            self._fail([*group, *self._waiting], StorageError("the storage was closed before Redis answered."))
            self._waiting.clear()
            raise
        except Exception as error:
            self._fail([*group, *self._waiting], self._sentence(error))
            self._waiting.clear()
            await self._disconnect()

    def _take(self) -> list[_Call]:
        return [self._waiting.popleft() for _ in range(min(_GROUP, len(self._waiting)))]

    async def _reach(self) -> bool:
        """Connects if need be; fails the calls that have waited too long and returns False if there is no server."""
        if self._connection is not None and self._knows_scripts:
            return True
        try:
            await self._disconnect()
            self._connection = await self._connect_with_scripts()
        except FAULTS as error:
            now = asyncio.get_running_loop().time()
            # A wrong password does not become right by waiting.
            is_final = isinstance(error, faults.AuthenticationError)
            late = [call for call in self._waiting if is_final or call.gives_up_at <= now]
            self._waiting = deque(call for call in self._waiting if not is_final and call.gives_up_at > now)
            self._fail(late, self._sentence(error))
            return False
        log.info("connected to Redis at %s", self.address, extra={"action": "redis_connected"})
        return True

    async def _exchange(self, group: Sequence[_Call]) -> None:
        """Sends a group and reads the answers; calls whose answers are lost are sent again or fail."""
        connection = self._connection
        assert connection is not None  # noqa: S101  # _reach has connected
        answered = 0
        try:
            await connection.send_packed_command([b"".join(call.packed for call in group)], check_health=False)
            for call in group:
                await self._read(connection, call)
                answered += 1
        except _LOST as error:
            log.warning("lost Redis at %s: %s", self.address, error, extra={"action": "redis_lost"})
            await self._disconnect()
            self._repeat_or_fail(group[answered:], error)

    async def _read(self, connection: Connection, call: _Call) -> None:
        """Reads one answer."""
        try:
            answer = await connection.read_response()
        except faults.NoScriptError as error:
            # The server was told to forget its scripts. Nothing was done, so it is asked again, with the scripts.
            if call.gives_up_at <= asyncio.get_running_loop().time():
                self._fail([call], self._sentence(error))
            else:
                self._waiting.append(call)
                self._knows_scripts = False
        except faults.ResponseError as error:
            self._fail([call], self._sentence(error))
        else:
            if not call.answer.done():
                call.answer.set_result(answer)

    def _repeat_or_fail(self, group: Sequence[_Call], error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        again = [call for call in group if call.repeats and call.gives_up_at > now]
        self._waiting.extendleft(reversed(again))
        unclear = StorageError(f"{self._sentence(error)} The step may have happened.")
        unclear.__cause__ = error
        self._fail([call for call in group if call not in again], unclear)

    @staticmethod
    def _fail(calls: Sequence[_Call], error: StorageError) -> None:
        for call in calls:
            if not call.answer.done():
                # One for each caller: an error that is raised twice collects both callers' traces.
                own = StorageError(str(error))
                own.__cause__ = error.__cause__
                call.answer.set_exception(own)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*FAULTS):
                await connection.disconnect(nowait=True)

    # --- errors ---

    async def translated(self, work: Awaitable[T]) -> T:
        """Returns what ``work`` brings.

        Raises:
            StorageError: what a connection raised, as a sentence.
        """
        try:
            return await work
        except FAULTS as error:
            raise self._sentence(error) from error

    def _sentence(self, error: Exception) -> StorageError:
        """Returns what happened and what to do, with the cause."""
        where = f"Redis at {self.address}"
        match error:
            case faults.AuthenticationError() | faults.NoPermissionError():
                said = f"{where} refuses this user or password. Check them in STORAGE_URI, and the user's ACL rules."
            case faults.BusyLoadingError():
                said = f"{where} is still reading its file. Wait until it is ready."
            case faults.TimeoutError():
                said = f"{where} does not answer in time. Is the server overloaded, or the network slow?"
            case faults.ConnectionError() | OSError():
                said = f"{where} does not answer ({error}). Does the server run there? Check STORAGE_URI or REDIS_HOST."
            case faults.OutOfMemoryError():
                said = f"{where} is full and wrote nothing. Raise its maxmemory, or let jobs be forgotten sooner."
            case faults.ReadOnlyError():
                said = f"{where} is a replica, which takes no writes. Give the address of the primary."
            case _ if str(error).startswith("MISCONF"):
                said = f"{where} cannot write to its disk and takes no writes. Look into its log and make room."
            case _:
                said = f"{where} refused a command: {error}. Does another program use the same prefix?"
        sentence = StorageError(said)
        sentence.__cause__ = error
        return sentence


def client_of(url: str) -> aioredis.Redis:
    """Returns a client of the server at a URL.

    Raises:
        ConfigError: the URL cannot be read; it may hold a password, so no part of it is repeated.
    """
    try:
        client: aioredis.Redis = aioredis.Redis.from_url(url)
        pool = client.connection_pool
        # An option that does not exist would show only when it is used, and a database that is no number not at all.
        pool.connection_class(**pool.connection_kwargs)
        parts = urlsplit(url)
        if parts.scheme != "unix":
            int(parts.path.strip("/") or 0)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "the address of Redis cannot be read; write redis://user:password@host:6379/0, and percent-encode what is "
            "special in the password."
        ) from error
    return client


def encode_words(*words: str | bytes | int) -> bytes:
    """Returns the words of a command as Redis reads them. The client's own way takes several times longer."""
    raws = (word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogatepass") for word in words)
    return b"".join(b"$%d\r\n%b\r\n" % (len(raw), raw) for raw in raws)


def encode_command(*words: str | bytes | int) -> bytes:
    """Returns a command as it is sent."""
    return b"*%d\r\n%b" % (len(words), encode_words(*words))


def _head(script: Script, keyspace: Keyspace) -> tuple[int, bytes, list[str]]:
    """Returns what each call of a script begins with: how many words, the words, and which keys of a job follow."""
    shared = [keyspace.key(name) for name in script.keys if name not in JOB_KEYS]
    job_keys = [name for name in script.keys if name in JOB_KEYS]
    words: list[str | int] = ["EVALSHA", script.digest, len(script.keys), *shared]
    return len(words), encode_words(*words), job_keys
