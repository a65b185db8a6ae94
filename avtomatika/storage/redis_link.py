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

from avtomatika.errors import ConfigError, StorageError
from avtomatika.storage.redis_records import pack, unpack
from avtomatika.storage.redis_scripts import Keyspace, load_scripts

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


def client_of(url: str) -> aioredis.Redis:
    """Returns a client of the server at a URL.

    Raises:
        ConfigError: the URL cannot be read; it may hold a password, so it is not repeated.
    """
    try:
        return aioredis.Redis.from_url(url)
    except ValueError as error:
        raise ConfigError(
            "the address of Redis cannot be read; write redis://user:password@host:6379/0, and percent-encode what is "
            "special in the password."
        ) from error


@dataclass(eq=False, slots=True)
class _Call:
    """A command on its way.

    Args:
        command: its words.
        answer: what it will bring.
        repeats: whether it may be sent again when its answer was lost.
        gives_up_at: the loop's time from which on a missing server is an error.
    """

    command: Sequence[Any]
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
        self._scripts = load_scripts()
        self._connection: Connection | None = None
        self._waiting: deque[_Call] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._is_open = False

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
        self._connection = await self.translated(self.connect())
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
        script = self._scripts[name]
        keys = self._keyspace.keys_of(script, job_id)
        return unpack(await self.ask("EVALSHA", script.digest, len(keys), *keys, pack(arguments), repeats=repeats))

    async def ask(self, *command: Any, repeats: bool = True) -> Any:
        """Sends a command and returns its answer, in bytes.

        Raises:
            StorageError: no answer, or Redis refused.
        """
        if not self._is_open:
            raise StorageError("the storage is not open; call open() first.")
        loop = asyncio.get_running_loop()
        call = _Call(command, loop.create_future(), repeats, loop.time() + _PATIENCE)
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
        if self._connection is not None:
            return True
        try:
            self._connection = await self.connect()
        except FAULTS as error:
            now = asyncio.get_running_loop().time()
            # A wrong password does not become right by waiting.
            is_final = isinstance(error, faults.AuthenticationError)
            late = [call for call in self._waiting if is_final or call.gives_up_at <= now]
            self._waiting = deque(call for call in self._waiting if call not in late)
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
            commands = [call.command for call in group]
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
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
            # A server that was restarted knows no scripts. Nothing was done, so it is asked again.
            if call.gives_up_at <= asyncio.get_running_loop().time():
                self._fail([call], self._sentence(error))
                return
            script = next(script for script in self._scripts.values() if script.digest == call.command[1])
            load = _Call(("SCRIPT", "LOAD", script.text), _nobody(), repeats=True, gives_up_at=call.gives_up_at)
            self._waiting.extendleft((call, load))
        except faults.ResponseError as error:
            self._fail([call], self._sentence(error))
        else:
            if not call.answer.done():
                call.answer.set_result(answer)

    def _repeat_or_fail(self, group: Sequence[_Call], error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        again = [call for call in group if call.repeats and call.gives_up_at > now]
        self._waiting.extendleft(reversed(again))
        sentence = self._sentence(error)
        unclear = StorageError(f"{sentence} The step may have happened.")
        self._fail([call for call in group if call not in again], unclear)

    @staticmethod
    def _fail(calls: Sequence[_Call], error: Exception) -> None:
        for call in calls:
            if not call.answer.done():
                call.answer.set_exception(error)

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


def _nobody() -> asyncio.Future[Any]:
    """Returns a future that nobody waits for; its error, if any, shows in the call that follows."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    return future
