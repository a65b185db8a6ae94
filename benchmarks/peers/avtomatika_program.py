"""The client of the comparison for both avtomatikas: an engine and a worker as processes, everything over HTTP."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import aiohttp
import timing

_TOKENS = {"CLIENT_TOKEN": "client-of-the-benchmark", "GLOBAL_WORKER_TOKEN": "worker-of-the-benchmark"}
_TERMINAL = {"finished", "failed", "quarantined", "cancelled", "error"}


class Avtomatika:
    """Either of the two.

    Args:
        uri: of the storage.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._processes = timing.Processes()
        self._http: Any = None

    async def start(self) -> None:
        """Starts an engine and a worker."""
        port = timing.free_port()
        url = f"http://127.0.0.1:{port}"
        settings = {"API_HOST": "127.0.0.1", "API_PORT": str(port), "RATE_LIMITING_ENABLED": "false", **_TOKENS}
        self._processes.start("avtomatika_engine.py", BENCH_URI=self._uri, LOG_LEVEL="ERROR", **settings)
        self._http = aiohttp.ClientSession(url, headers={"X-Client-Token": _TOKENS["CLIENT_TOKEN"]})
        await self._until(lambda: self._ask("/_public/status"))
        # The published worker has requirements that those of the published engine do not go with.
        published = os.environ.get("BENCH_WORKER_PYTHON", "")
        self._processes.start(
            f"avtomatika_worker_{'published' if published else 'own'}.py",
            python=published or sys.executable,
            ORCHESTRATOR_URL=url,
            WORKER_ID="bench",
            WORKER_TOKEN=_TOKENS["GLOBAL_WORKER_TOKEN"],
            MAX_CONCURRENT_TASKS=str(timing.AT_A_TIME),
            LOG_LEVEL="ERROR",
        )
        await self._until(lambda: self._ask("/api/v1/workers"))

    async def _until(self, is_there: Callable[[], Awaitable[Any]]) -> None:
        while not await is_there():
            self._processes.check()
            await asyncio.sleep(0.05)

    async def _ask(self, path: str) -> Any:
        try:
            async with self._http.get(path) as answer:
                return await answer.json() if answer.status == 200 else None
        except aiohttp.ClientConnectionError:
            return None

    async def chain(self, number: int) -> None:
        """Creates jobs of ten transitions and waits for them."""
        await self._wait(await self._submit("/chains", number))

    async def task(self, number: int) -> None:
        """Creates jobs of one task and waits for them."""
        await self._wait(await self._submit("/tasks", number))

    async def fan_out(self, number: int) -> None:
        """Creates jobs of 100 tasks and waits for them."""
        await self._wait(await self._submit("/fans", number))

    async def create(self, number: int) -> None:
        """Creates jobs that wait for a person."""
        await self._submit("/waiting", number)

    async def _submit(self, path: str, number: int) -> list[str]:
        left = iter(range(number))
        created: list[str] = []

        async def go_on() -> None:
            for n in left:
                body = {"initial_data": {"n": n}}
                async with self._http.post(f"/api/v1{path}", json=body) as answer:
                    created.append((await answer.json())["job_id"])

        await asyncio.gather(*(go_on() for _ in range(timing.AT_A_TIME)))
        return created

    async def _wait(self, jobs: Iterable[str]) -> None:
        for job_id in jobs:
            status = ""
            while status not in _TERMINAL:
                # The published engine does not know "wait" and answers at once; then a short pause is polite.
                async with self._http.get(f"/api/v1/jobs/{job_id}", params={"wait": "5"}) as answer:
                    job = await answer.json()
                status = job["status"]
                if status not in _TERMINAL:
                    await asyncio.sleep(0.005)
            if status != "finished":
                raise SystemExit(f"a job is {status}: {job}")

    async def stop(self) -> None:
        """Ends both processes."""
        await self._http.close()
        self._processes.stop()


if __name__ == "__main__":
    chosen = timing.options()
    timing.run(Avtomatika(chosen.uri), chosen)
