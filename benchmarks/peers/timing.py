"""What the program of every peer does: reads its options, lets the peer do each job, prints the seconds as JSON.

It imports nothing but the standard library: each program runs in the environment of its peer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

STEPS = 10
"""Steps of a chain."""
WIDTH = 100
"""Tasks of a fan-out."""
AT_A_TIME = 32
"""Tasks that a worker does at a time, and requests that a client has open."""
_WARM_UP = 10
HERE = Path(__file__).parent


class Peer(Protocol):
    """Does the jobs of the comparison."""

    async def start(self) -> None:
        """Starts what works, and returns when it does."""

    async def chain(self, number: int) -> None:
        """Does so many chains of ten steps, each with what the one before returned; returns when all have ended."""

    async def task(self, number: int) -> None:
        """Does so many tasks, and returns when the results of all have come."""

    async def fan_out(self, number: int) -> None:
        """Sends 100 tasks for each of so many jobs, and returns when the results of each are added up."""

    async def create(self, number: int) -> None:
        """Hands over so much work that nobody does, and returns when all of it is stored."""

    async def stop(self) -> None:
        """Stops what was started."""


def options() -> argparse.Namespace:
    """Returns what the comparison asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--uri", required=True, help="of the storage; new and empty")
    for name in ("chain", "task", "fan_out", "create"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=0, help="how many; 0 leaves it out")
    return parser.parse_args()


def run(peer: Peer, chosen: argparse.Namespace) -> None:
    """Measures each job after a short warm-up, and prints."""
    print(json.dumps(asyncio.run(_measure(peer, chosen))))


async def _measure(peer: Peer, chosen: argparse.Namespace) -> dict[str, float]:
    took = {}
    await peer.start()
    try:
        for name in ("chain", "task", "fan_out", "create"):
            number = getattr(chosen, name)
            if number:
                if number >= _WARM_UP:
                    await getattr(peer, name)(number // _WARM_UP)
                began = time.perf_counter()
                await getattr(peer, name)(number)
                took[name] = time.perf_counter() - began
    finally:
        await peer.stop()
    return took


class Processes:
    """Programs beside the client; their messages are those of the client."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, python: str = sys.executable, **environment: str) -> None:
        """Starts a Python program in this folder, with the interpreter of the peer unless another one is named."""
        around = {**os.environ, **environment}
        self._started.append(subprocess.Popen([python, *arguments], cwd=HERE, env=around, stdout=sys.stderr))

    def check(self) -> None:
        """Ends this program if one of them has ended: it would wait for ever."""
        if any(process.poll() is not None for process in self._started):
            raise SystemExit("a program of the peer has ended before its time; its messages are above")

    def stop(self) -> None:
        """Ends them, the last one first: a worker says goodbye to its engine."""
        for process in reversed(self._started):
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """Returns a port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
