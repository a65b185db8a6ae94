"""HTTP connections that cost a client little, and an engine in a process of its own at their other end."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from benchmarks.setting import kind_of, server_time

Answer = tuple[int, bytes]


class Rate(NamedTuple):
    """What was measured of many equal pieces of work.

    Args:
        a_second: how many were done in a second.
        engine: seconds of processor time that the engine's process used for each.
        server: the same of the storage's server, 0 if it has none.
        to_bare: ``a_second`` as a part of what the bare server did.
    """

    a_second: float
    engine: float
    server: float
    to_bare: float

    def __str__(self) -> str:
        server = f" and {self.server * 1e6:,.0f} µs of the server's" if self.server else ""
        return (
            f"{self.a_second:7,.0f} a second, {self.to_bare:.2f} of the bare server; "
            f"{self.engine * 1e6:,.0f} µs of the engine's processor time{server} each"
        )


def processes(number: int) -> str:
    """Returns how many processes of the engine there are, in words."""
    return "one process" if number == 1 else f"{number} processes"


def median(rates: Sequence[Rate]) -> Rate:
    """Returns the median of each figure."""
    return Rate(*map(statistics.median, zip(*rates, strict=True)))


class Line(asyncio.Protocol):
    """One connection with one request at a time; it reads what aiohttp's server answers and nothing more."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[Answer] | None = None
        self._transport: Any = None

    @classmethod
    async def open(cls, port: int) -> Line:
        """Connects to a server on this machine."""
        _, line = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return line

    def close(self) -> None:
        """Hangs up."""
        if self._transport is not None:
            self._transport.close()

    async def ask(self, request: bytes) -> Answer:
        """Sends a whole request; returns the status and the body of the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def connection_made(self, transport: Any) -> None:
        """Keeps the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Takes what came; an answer is whole when as much has come as its head says."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        size = head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
        if len(body) >= int(size or 0) and self._answer is not None and not self._answer.done():
            self._received = b""
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets the one who waits know."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server hung up"))


def request(method: str, path: str, headers: dict[str, str], body: object = None) -> bytes:
    """Returns a request as it is sent; a body that is no bytes is written as JSON."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content


async def open_lines(ports: Sequence[int], number: int) -> list[Line]:
    """Connects so many times, to each of the servers in turn."""
    return [await Line.open(ports[place % len(ports)]) for place in range(number)]


async def rate(ports: Sequence[int], lines: int, number: int, work: Callable[[Line], Awaitable[None]]) -> float:
    """Returns how many pieces of work are done in a second, on so many connections at a time.

    Args:
        ports: of the server, or of several that share the connections.
        lines: connections.
        number: how much work there is in all.
        work: does one piece on a connection.
    """
    left = number

    async def go_on(line: Line) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await work(line)

    opened = await open_lines(ports, lines)
    began = time.perf_counter()
    await asyncio.gather(*map(go_on, opened))
    took = time.perf_counter() - began
    for line in opened:
        line.close()
    return number / took


async def measure(
    engines: Sequence[dict[str, int]], uri: str, bare: float, own: Callable[[], Awaitable[float]], number: int
) -> Rate:
    """Measures ``number`` pieces of work at an engine, or at several on one storage.

    Args:
        engines: ports of the engine's program in each process.
        uri: of the storage.
        bare: how many the bare server did in a second.
        own: does them, and returns how many it did in a second.
        number: how many.
    """
    before, server_before = await _processor(engines), server_time(uri)
    a_second = await own()
    engine_used = await _processor(engines) - before
    server_used = server_time(uri) - server_before
    return Rate(a_second, engine_used / number, server_used / number, a_second / bare)


async def _processor(engines: Sequence[dict[str, int]]) -> float:
    return sum([(await usage(ports)).processor for ports in engines])


class Usage(NamedTuple):
    """What the process of the engine has used.

    Args:
        processor: seconds of processor time.
        memory: bytes that it has in memory now.
    """

    processor: float
    memory: int


async def usage(ports: dict[str, int]) -> Usage:
    """Returns what the process of the engine has used so far."""
    line = await Line.open(ports["bare"])
    _, body = await line.ask(request("GET", "/", {}))
    line.close()
    return Usage(**json.loads(body))


@contextmanager
def engine(uri: str, *options: str) -> Iterator[dict[str, int]]:
    """Gives the ports of ``benchmarks.engine_program``, which ends with the block."""
    command = [sys.executable, "-m", "benchmarks.engine_program", uri, *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        try:
            line = program.stdout.readline() if program.stdout else ""
            if not line:
                raise SystemExit("the engine of the benchmark did not start; its messages are above.")
            ports: dict[str, int] = json.loads(line)
            yield ports
        finally:
            if program.stdin:
                program.stdin.close()
            try:
                program.wait(20)
            except subprocess.TimeoutExpired:
                program.kill()


@contextmanager
def engines(uri: str, processes: int, *options: str, alone: Sequence[str] = ()) -> Iterator[list[dict[str, int]]]:
    """Gives the ports of so many engines on one storage.

    Args:
        uri: of the storage.
        processes: how many.
        options: of each.
        alone: options of the first one besides.
    """
    if processes > 1 and kind_of(uri) != "redis":
        raise SystemExit("several processes share a storage in Redis; add --storage redis.")
    with ExitStack() as stack:
        yield [stack.enter_context(engine(uri, *options, *([] if n else alone))) for n in range(processes)]
