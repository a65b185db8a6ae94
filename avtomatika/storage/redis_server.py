"""What is known of the Redis server: how durable it is, and whether it is still the one that held our jobs."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping

from avtomatika.errors import ConfigError, StorageError
from avtomatika.storage.redis_link import Link
from avtomatika.storage.redis_scripts import Keyspace

log = logging.getLogger(__name__)

_OLDEST = (7, 0)
_WRITES = {
    "always": "each step is on disk before it is acknowledged",
    "everysec": "a crash of its machine may lose the steps of the last second",
    "no": "a crash of its machine may lose the steps of the last half minute; set appendfsync everysec or always",
    "": "how often it writes to disk is not told; a crash of its machine may lose the last steps",
}


class Server:
    """The server that a storage talks to.

    Args:
        link: asks it.
        keyspace: where the mark is kept that tells one set of data from another.
    """

    def __init__(self, link: Link, keyspace: Keyspace) -> None:
        self._link = link
        self._keyspace = keyspace
        self._run_id = ""
        self._mark = ""
        self._steps = 0

    async def meet(self) -> None:
        """Checks version and settings, logs how durable jobs are on it, and remembers who it is.

        Raises:
            ConfigError: the server is too old.
            StorageError: it does not answer.
        """
        facts = await self._facts()
        version = facts.get("redis_version", "0")
        if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
            raise ConfigError(
                f"Redis at {self._link.address} has version {version}; avtomatika needs 7.0 or later, or Valkey."
            )
        self._warn_of_eviction(facts)
        await self._tell_durability(facts)
        self._run_id, self._mark, self._steps = facts.get("run_id", ""), await self._read_mark(), await self._count()

    async def check(self) -> None:
        """Logs it loudly if the data is not the data that was there before.

        Raises:
            StorageError: the server does not answer.
        """
        run_id = (await self._facts()).get("run_id", "")
        mark, steps = await self._read_mark(), await self._count()
        where = f"Redis at {self._link.address}"
        if mark != self._mark:
            log.error(
                "%s has lost its data, or is another server: jobs that were there are gone",
                where,
                extra=_action("lost"),
            )
        elif steps < self._steps:
            log.error(
                "%s has lost its last steps, in a restart or a failover: jobs go on from an earlier state",
                where,
                extra=_action("rolled_back"),
            )
        elif run_id != self._run_id:
            log.warning("%s was restarted, or another server took over", where, extra=_action("restarted"))
        self._run_id, self._mark, self._steps = run_id, mark, steps

    async def _facts(self) -> Mapping[str, str]:
        """Returns what the server says of itself."""
        lines = (await self._link.ask("INFO")).decode("utf-8", "replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    async def _read_mark(self) -> str:
        """Returns the mark of this set of data; makes it if there is none."""
        key = self._keyspace.key("epoch")
        await self._link.ask("SET", key, uuid.uuid4().hex, "NX")
        mark: bytes = await self._link.ask("GET", key)
        return mark.decode()

    async def _count(self) -> int:
        """Returns a number that only grows, as long as nothing is lost."""
        return int(await self._link.ask("GET", self._keyspace.key("seq")) or 0)

    def _warn_of_eviction(self, facts: Mapping[str, str]) -> None:
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            log.warning(
                "Redis at %s may drop jobs when its memory is full: maxmemory-policy is %s; set it to noeviction",
                self._link.address,
                policy,
                extra=_action("evicts"),
            )

    async def _tell_durability(self, facts: Mapping[str, str]) -> None:
        if facts.get("aof_enabled") != "1":
            log.warning(
                "Redis at %s keeps no append-only file: a restart loses all steps since its last snapshot; "
                "set appendonly yes",
                self._link.address,
                extra=_action("durability"),
            )
            return
        log.info(
            "Redis at %s keeps an append-only file: %s",
            self._link.address,
            _WRITES[await self._find_fsync()],
            extra=_action("durability"),
        )

    async def _find_fsync(self) -> str:
        """Returns how often the server writes to disk, or an empty string where it does not tell."""
        try:
            answer = await self._link.ask("CONFIG", "GET", "appendfsync")
        except StorageError:  # many hosted servers have no CONFIG
            return ""
        value = answer[1].decode() if answer else ""
        return value if value in _WRITES else ""


def _action(word: str) -> dict[str, str]:
    return {"action": f"redis_{word}"}
