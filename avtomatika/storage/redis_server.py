"""What is known of the Redis server: how durable it is, and whether it still holds what it has acknowledged."""

from __future__ import annotations

import logging
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from avtomatika.errors import ConfigError, StorageError
from avtomatika.storage.base import Batch
from avtomatika.storage.redis_link import Link, Run
from avtomatika.storage.redis_records import text

log = logging.getLogger(__name__)

_OLDEST = (7, 0)
# The last steps are what a server loses first: these are looked for when it may be another one.
_STEPS = 64
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
        tell: called with ``gone`` or ``rolled_back`` when the server has lost what it had acknowledged.
    """

    def __init__(self, link: Link, tell: Callable[[str], None]) -> None:
        self._link = link
        self._tell = tell
        self._run_id = ""
        self._mark = ""
        self._steps: deque[tuple[str, int, str, float]] = deque(maxlen=_STEPS)
        link.greet = self.recognise

    def note(self, batch: Batch, call: str) -> None:
        """Remembers a step that was acknowledged, and the name of the call that wrote it."""
        self._steps.append((batch.job.id, batch.job.version, call, batch.at))

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
        self._run_id = facts.get("run_id", "")
        await self.recognise(self._link.run)

    async def check(self) -> None:
        """Logs it if the server is another one, and loudly if it has lost something.

        Raises:
            StorageError: the server does not answer.
        """
        run_id = (await self._facts()).get("run_id", "")
        if run_id != self._run_id:
            log.warning(
                "Redis at %s was restarted, or another server took over", self._link.address, extra=_action("restarted")
            )
        self._run_id = run_id
        await self.recognise(self._link.run)

    async def recognise(self, run: Run) -> str:
        """Looks for the last steps that were acknowledged; if they are lost, says so to everybody.

        Args:
            run: runs a script; on a new connection before anything else is sent.

        Returns:
            What was lost, as a sentence, or nothing.

        Raises:
            StorageError: the server does not answer.
        """
        known = {"known": self._mark, "fresh": uuid.uuid4().hex, "steps": list(self._steps)}
        verdict, mark, *lost = await run("recognise", known)
        kind, self._mark = text(verdict), text(mark)
        if kind == "same":
            return ""
        self._steps.clear()
        said = self._sentence(kind, lost)
        log.error("%s", said, extra=_action(kind))
        self._tell(kind)
        return said

    def _sentence(self, kind: str, lost: list[Any]) -> str:
        where = f"Redis at {self._link.address}"
        if kind == "gone":
            return f"{where} has lost its data, or is another server: jobs that were there are gone."
        sentence = f"{where} has lost its last steps, in a restart or a failover: jobs go on from an earlier state."
        if not lost or not lost[0]:
            return sentence
        job_id, had, has = text(lost[0]), lost[1], lost[2]
        return f"{sentence} Job {job_id} was at version {had}, and is {_state(had, has)} now."

    async def _facts(self) -> Mapping[str, str]:
        """Returns what the server says of itself."""
        lines = (await self._link.ask("INFO")).decode("utf-8", "replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

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


def _state(had: int, has: int) -> str:
    if not has:
        return "not there"
    return "at another one of that number" if had == has else f"at {has}"


def _action(word: str) -> dict[str, str]:
    return {"action": f"redis_{word}"}
