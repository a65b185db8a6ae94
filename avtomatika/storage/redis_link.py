"""The connection to Redis: many callers, one connection, some calls sent at a time.

Calls gather until the event loop has done what is due, or until there are a few of them: so the server works on the
first while the engine makes the next. This is the only file that imports the package ``redis``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
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

Run = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Runs a script with its arguments and returns what it answered."""

# So many calls are sent at once, and share a run of a script. Fewer make more runs; more let the server wait for the
# engine, and then the engine for the server.
_GROUP = 8
# An engine that finds its server away for a moment (a restart, a failover) waits so long before it says so.
_PATIENCE = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
# Where the client has no limit of its own: an answer later than this will not come.
_ANSWER_SECONDS = 10.0
# The limit of an answer is set anew at most so often: a timer for each answer took a thirtieth of a round trip's time.
_LIMIT_STEP = 1.0
_LOST = (faults.ConnectionError, faults.TimeoutError, OSError)
FAULTS = (faults.RedisError, OSError)
"""What a connection raises: the server does not answer, or it refuses."""


@dataclass(eq=False, slots=True)
class _Call:
    """A command on its way.

    Args:
        argument: the one argument of a script, or a whole command as it is sent.
        answer: what it will bring.
        repeats: whether it may be sent again when its answer was lost.
        gives_up_at: the loop's time from which on a missing server is an error.
        script: the script that it runs, or empty.
        keys: the keys of the job that the script touches, as they are sent.
        alone: whether it must not share a command with others: one that did was refused.
    """

    argument: bytes
    answer: asyncio.Future[Any]
    repeats: bool
    gives_up_at: float
    script: str = ""
    keys: bytes = b""
    alone: bool = False


_Parcel = list[_Call]
"""Calls that share a command and its answer."""


@dataclass(frozen=True, slots=True)
class _Head:
    """What each command that runs one script begins with.

    Args:
        begin: the words up to the number of keys.
        shared: the keys that all jobs share.
        shared_count: how many these are.
        job_keys: what the keys of a job that follow end in.
        serves_many: whether it takes one argument for each of many calls, and answers with a list.
    """

    begin: bytes
    shared: bytes
    shared_count: int
    job_keys: tuple[bytes, ...]
    serves_many: bool

    def encode_job_keys(self, job_key: str) -> bytes:
        """Returns the keys of a job, as they are sent."""
        key = job_key.encode("utf-8", "surrogatepass")
        return b"".join([b"$%d\r\n%b%b\r\n" % (len(key) + len(end), key, end) for end in self.job_keys])

    def pack(self, parcel: _Parcel) -> bytes:
        """Returns the command that runs the script for these calls."""
        keys = self.shared_count + len(parcel) * len(self.job_keys)
        parts = [b"*%d\r\n" % (3 + keys + len(parcel)), self.begin, encode_words(keys), self.shared]
        parts += [call.keys for call in parcel]
        parts += [b"$%d\r\n%b\r\n" % (len(call.argument), call.argument) for call in parcel]
        return b"".join(parts)


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
        self._sent: deque[_Parcel] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._is_open = False
        self._knows_scripts = False
        self._answer_seconds = _ANSWER_SECONDS

    greet: Callable[[Run], Awaitable[str]] | None = None
    """Looks at a server that was connected to again, before anything else is sent to it; returns what it has lost, as a
    sentence, or nothing. After a loss whatever waits was decided on what is not there any more, and fails."""

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
        tasks = [task for task in (self._sending, self._reading) if task is not None]
        self._sending = self._reading = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail_all(StorageError("the storage was closed before Redis answered."))
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
        head = self._heads[name]
        keys = head.encode_job_keys(self._keyspace.job_key(job_id)) if job_id else b""
        answer = await self._call(pack(arguments), repeats=repeats, script=name, keys=keys)
        # That of a script that serves many was unpacked for all of them.
        return answer if head.serves_many else unpack(answer)

    async def ask(self, *command: Any, repeats: bool = True) -> Any:
        """Sends a command and returns its answer, in bytes.

        Raises:
            StorageError: no answer, or Redis refused.
        """
        return await self._call(encode_command(*command), repeats=repeats)

    def _call(self, argument: bytes, *, repeats: bool, script: str = "", keys: bytes = b"") -> asyncio.Future[Any]:
        """Sends a command, at once or with others; returns what its answer will be."""
        if not self._is_open:
            raise StorageError("the storage is not open; call open() first.")
        loop = asyncio.get_running_loop()
        call = _Call(argument, loop.create_future(), repeats, loop.time() + _PATIENCE, script, keys)
        self._waiting.append(call)
        if len(self._waiting) >= _GROUP and self._connection is not None:
            self._post(self._take())
        else:
            self._wake_sender()
        return call.answer

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
        loads = _load_commands()
        try:
            await connection.send_packed_command([b"".join(loads)], check_health=False)
            for _ in loads:
                await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._knows_scripts = True
        # From here on ``_read`` has a limit for all answers together.
        self._answer_seconds, connection.socket_timeout = connection.socket_timeout, None
        # What is written leaves at once, and not at the end of the loop's turn, as it would with uvloop.
        connection._writer.transport.set_write_buffer_limits(0)  # noqa: SLF001 - redis-py has no public name for it
        return connection

    # --- sending ---

    def _wake_sender(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send(), name="avtomatika-redis")

    async def _send(self) -> None:
        """Sends what waits, a group at a time, until nothing waits.

        The answers are read by a task of their own: while Redis works on one group, the engine makes the next.
        """
        pause = _FIRST_PAUSE
        try:
            while self._waiting:
                if not await self._reach():
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    continue
                pause = _FIRST_PAUSE
                self._post(self._take())
        except Exception as error:
            await self._give_up(error)

    def _take(self) -> list[_Call]:
        taken = [self._waiting.popleft() for _ in range(min(_GROUP, len(self._waiting)))]
        # Who asked may have gone meanwhile.
        return [call for call in taken if not call.answer.done()]

    async def _reach(self) -> bool:
        """Connects if need be; fails the calls that have waited too long and returns False if there is no server."""
        if self._connection is not None:
            return True
        try:
            self._connection, lost = await self._connect_again()
        except FAULTS as error:
            now = asyncio.get_running_loop().time()
            # A wrong password does not become right by waiting.
            is_final = isinstance(error, faults.AuthenticationError)
            late = [call for call in self._waiting if is_final or call.gives_up_at <= now]
            self._waiting = deque(call for call in self._waiting if not is_final and call.gives_up_at > now)
            self._fail(late, self._sentence(error))
            return False
        log.info("connected to Redis at %s", self.address, extra={"action": "redis_connected"})
        if lost:
            self._fail_all(StorageError(f"{lost} This step was decided before that; it is to be decided anew."))
        return True

    async def _connect_again(self) -> tuple[Connection, str]:
        """Returns a new connection, and what the server has lost since the last one, or nothing."""
        connection = await self._connect_with_scripts()

        async def run(name: str, arguments: dict[str, Any]) -> Any:
            call = _Call(pack(arguments), asyncio.get_running_loop().create_future(), False, 0.0, name)
            await connection.send_packed_command([self._pack([call])], check_health=False)
            async with asyncio.timeout(self._answer_seconds):
                return unpack(await connection.read_response())

        try:
            return connection, "" if self.greet is None else await self.greet(run)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    def _post(self, group: Sequence[_Call]) -> None:
        """Sends a group; calls of a script that serves many travel as one command."""
        parcels: dict[object, _Parcel] = {}
        for call in group:
            shares = call.script and not call.alone and self._heads[call.script].serves_many
            parcels.setdefault(call.script if shares else call, []).append(call)
        commands = [self._pack(parcel) for parcel in parcels.values()]
        if not self._knows_scripts:
            self._knows_scripts = True
            loads = _load_commands()
            commands[:0] = loads
            self._sent.extend([] for _ in loads)
        self._sent.extend(parcels.values())
        connection: Any = self._connection
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read(connection), name="avtomatika-redis-read")
        # Not the connection's own way to send: a caller that is cancelled while that waits for the network would break
        # the connection for all. Nothing has to wait here, since every caller waits for its answer. What cannot be sent
        # is noticed by the reader; uvloop raises where the connection is known to be gone.
        writer = connection._writer  # noqa: SLF001 - as above
        if commands and writer is not None and not writer.is_closing():
            writer.write(b"".join(commands))

    def _pack(self, parcel: _Parcel) -> bytes:
        """Returns the command of some calls."""
        return self._heads[parcel[0].script].pack(parcel) if parcel[0].script else parcel[0].argument

    # --- reading ---

    async def _read(self, connection: Connection) -> None:
        """Reads answers, in the order in which the commands were sent, until none is missing."""
        loop, ends_at = asyncio.get_running_loop(), 0.0
        try:
            async with asyncio.timeout(None) as limit:
                while self._sent and self._connection is connection:
                    if ends_at < (soonest := loop.time() + self._answer_seconds):
                        ends_at = soonest + _LIMIT_STEP
                        limit.reschedule(ends_at)
                    await self._read_one(connection)
        except TimeoutError:
            await self._lose(connection, faults.TimeoutError(f"no answer within {self._answer_seconds:g} s"))
        except _LOST as error:
            await self._lose(connection, error)
        except Exception as error:
            await self._give_up(error)

    async def _read_one(self, connection: Connection) -> None:
        # A parcel counts as sent until its answer is there: else nobody would tell its callers of a loss.
        parcel = self._sent[0]
        try:
            answer = await connection.read_response()
        except faults.ResponseError as error:
            self._sent.popleft()
            self._refused(parcel, error)
        else:
            self._sent.popleft()
            self._answered(parcel, answer)

    def _answered(self, parcel: _Parcel, answer: Any) -> None:
        serves_many = bool(parcel and parcel[0].script) and self._heads[parcel[0].script].serves_many
        answers = unpack(answer) if serves_many else [answer]
        for call, own in zip(parcel, answers, strict=False):
            if not call.answer.done():
                call.answer.set_result(own)

    def _refused(self, parcel: _Parcel, error: faults.ResponseError) -> None:
        """Lets the calls fail, except those that may fare better in another way."""
        if isinstance(error, faults.NoScriptError):
            # The server was told to forget its scripts. Nothing was done, so it is asked again, with the scripts.
            self._knows_scripts = False
            now = asyncio.get_running_loop().time()
            self._fail([call for call in parcel if call.gives_up_at <= now], self._sentence(error))
            self._repeat([call for call in parcel if call.gives_up_at > now])
        elif len(parcel) > 1:
            # One of them may be at fault; each is asked for again, by itself. What was done already is known then.
            for call in parcel:
                call.alone = True
            self._repeat(parcel)
        else:
            self._fail(parcel, self._sentence(error))

    async def _lose(self, connection: Connection, error: Exception) -> None:
        """Gives a connection up; calls whose answers are lost are sent again or fail."""
        if self._connection is not connection:
            return
        log.warning("lost Redis at %s: %s", self.address, error, extra={"action": "redis_lost"})
        calls = [call for parcel in self._sent for call in parcel]
        self._sent.clear()
        await self._disconnect()
        now = asyncio.get_running_loop().time()
        again = [call for call in calls if call.repeats and call.gives_up_at > now]
        unclear = StorageError(f"{self._sentence(error)} The step may have happened.")
        unclear.__cause__ = error
        self._fail([call for call in calls if call not in again], unclear)
        self._repeat(again)

    async def _give_up(self, error: Exception) -> None:
        """Lets everybody know that something went wrong that was not foreseen."""
        self._fail_all(self._sentence(error))
        await self._disconnect()

    def _repeat(self, calls: Sequence[_Call]) -> None:
        """Sends calls again, before all others."""
        self._waiting.extendleft(reversed(calls))
        if calls:
            self._wake_sender()

    @staticmethod
    def _fail(calls: Sequence[_Call], error: StorageError) -> None:
        for call in calls:
            if not call.answer.done():
                # One for each caller: an error that is raised twice collects both callers' traces.
                own = StorageError(str(error))
                own.__cause__ = error.__cause__
                call.answer.set_exception(own)

    def _fail_all(self, error: StorageError) -> None:
        self._fail([*(call for parcel in self._sent for call in parcel), *self._waiting], error)
        self._sent.clear()
        self._waiting.clear()

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
    raws = [word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogatepass") for word in words]
    return b"".join([b"$%d\r\n%b\r\n" % (len(raw), raw) for raw in raws])


def encode_command(*words: str | bytes | int) -> bytes:
    """Returns a command as it is sent."""
    return b"*%d\r\n%b" % (len(words), encode_words(*words))


def _load_commands() -> list[bytes]:
    """Returns the commands that make a server know all scripts."""
    return [encode_command("SCRIPT", "LOAD", script.text) for script in load_scripts().values()]


def _head(script: Script, keyspace: Keyspace) -> _Head:
    shared = [keyspace.key(name) for name in script.keys if name not in JOB_KEYS]
    return _Head(
        encode_words("EVALSHA", script.digest),
        encode_words(*shared),
        len(shared),
        tuple(JOB_KEYS[name].encode() for name in script.keys if name in JOB_KEYS),
        script.serves_many,
    )
