"""Tidying up: removes the files of jobs that have ended, as soon as nobody can need them any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from avtomatika.core.document import LostDocument
from avtomatika.core.steps import FILES_TOPIC
from avtomatika.payloads.base import PayloadStore
from avtomatika.payloads.keys import MAX_KEY_BYTES, PAYLOADS, job_prefix
from avtomatika.runtime.depot import Depot
from avtomatika.storage.base import Message, Storage

# More than a day of attempts: a store that is away for longer than that will not come back by itself.
_MAX_ATTEMPTS = 60
_LONGEST_PAUSE = 1800.0
_AT_ONCE = 16


class FilesCarrier:
    """Removes files of an ended job, again and again until the store has done so.

    Args:
        storage: where jobs are.
        payloads: where files are.
        depot: has the large documents of jobs; one of its own if None.
    """

    topic = FILES_TOPIC
    limit = 4
    timeout = 600.0

    def __init__(self, storage: Storage, payloads: PayloadStore, depot: Depot | None = None) -> None:
        self._depot = depot or Depot(storage, payloads)
        self._storage = storage
        self._payloads = payloads

    async def carry(self, message: Message) -> None:
        """Removes what the message says; again, it finds nothing any more.

        Raises:
            PayloadError: the store did not do it.
            StorageError: the storage does not answer.
        """
        order: Mapping[str, Any] = message.body.value()
        job = await self._storage.find_job(message.job_id)
        if job is not None and job.version != order["version"]:
            return  # it went on; its next end sends a message of its own
        own = job_prefix(message.job_id)
        # Published workers store their results under the id of the job alone.
        folders = (own, f"{message.job_id}/")
        if job is None:
            for folder in folders:
                await self._payloads.remove_all(folder)
            return
        named: set[str] = set()
        if order["keep"] != "none" and job.has_result:
            result = (await self._depot.fetch_job(job)).result
            if isinstance(result, LostDocument):
                return  # nobody knows what it names
            named = set(_texts(result.value()))
        # The documents of the job stay as long as the job can be asked for; the sweeper removes them.
        for folder in folders:
            await self._remove_others(folder, named)

    def retry_after(self, message: Message, error: Exception) -> float | None:
        """Returns how long to wait before the next attempt: longer each time."""
        del error
        return None if message.attempts >= _MAX_ATTEMPTS else min(_LONGEST_PAUSE, 2.0 ** min(message.attempts, 11))

    async def _remove_others(self, folder: str, named: set[str]) -> None:
        """Removes the files of a folder that nobody names; a name may be an address, or relative to the folder."""
        going: list[str] = []
        async for facts in self._payloads.list(folder):
            key = self._payloads.key_of(facts.uri)
            name = key.removeprefix(folder)
            if name.startswith(f"{PAYLOADS}/") or any(_stands_in(one, named) for one in (facts.uri, name)):
                continue
            going.append(key)
            if len(going) == _AT_ONCE:
                await asyncio.gather(*map(self._payloads.remove, going))
                going.clear()
        await asyncio.gather(*map(self._payloads.remove, going))


def _stands_in(name: str, named: set[str]) -> bool:
    """Whether a file is named, or a folder that it is in."""
    parts = name.split("/")
    return name in named or any(f"{'/'.join(parts[:count])}/" in named for count in range(1, len(parts)))


def _texts(value: Any) -> Iterator[str]:
    """Yields all texts of a value that are short enough to be names."""
    if isinstance(value, str):
        if len(value) <= 2 * MAX_KEY_BYTES:
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
