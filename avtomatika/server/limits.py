"""How often somebody may call: rates of clients and workers, and monthly quotas, all counted in the storage.

Every engine on one storage counts together, each count in one atomic step. The limits stop abuse; a worker of any
published SDK that does nothing unusual never meets them: neither a poll that brings a task counts, nor a result.
"""

from __future__ import annotations

import contextlib
import datetime
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from avtomatika.errors import StorageError
from avtomatika.observability.base import Meter
from avtomatika.server.bodies import RequestError
from avtomatika.storage.base import Count, Storage

EVENTS_PER_CALL = 10
"""How many events about tasks that it holds a worker may send for each call of its other kinds."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How many calls are allowed in a period, each for one client, worker or address.

    Args:
        period: seconds.
        calls: calls of a client; registrations, tokens and stray events of a worker; wrong tokens from an address.
        heartbeats: heartbeats of a worker.
        polls: polls of a worker that brought no task.
    """

    period: float
    calls: int
    heartbeats: int
    polls: int


class Limiter:
    """Counts, and refuses what is too much.

    Args:
        storage: where it is counted.
        meter: counts what was refused.
    """

    def __init__(self, storage: Storage, meter: Meter) -> None:
        self.rates: Rates | None = None
        """None allows everything."""
        self._storage = storage
        self._meter = meter
        self._polls_held: Counter[str] = Counter()
        self._too_many_polls: dict[str, float] = {}

    async def client(self, name: str) -> None:
        """Counts a call of a client.

        Raises:
            RequestError: it is one too many (429).
        """
        if self.rates is not None:
            await self._count("client", name, self.rates.calls, "this client", "calls")

    async def worker(self, worker_id: str) -> None:
        """Counts a registration or a token of a worker, or an event that is about no task of its own.

        Raises:
            RequestError: it is one too many (429).
        """
        if self.rates is not None:
            await self._count("worker", worker_id, self.rates.calls, f"worker '{worker_id}'", "calls")

    async def event(self, worker_id: str) -> None:
        """Counts an event about a task that the worker holds: work brings many, and must not be held up by them.

        Raises:
            RequestError: it is one too many (429).
        """
        if self.rates is not None:
            limit = self.rates.calls * EVENTS_PER_CALL
            await self._count("event", worker_id, limit, f"worker '{worker_id}'", "events")

    async def heartbeat(self, worker_id: str) -> None:
        """Counts a heartbeat.

        Raises:
            RequestError: it is one too many (429).
        """
        if self.rates is not None:
            await self._count("heartbeat", worker_id, self.rates.heartbeats, f"worker '{worker_id}'", "heartbeats")

    async def wrong_token(self, address: str) -> None:
        """Counts a call whose token was wrong.

        Raises:
            RequestError: whoever calls from there guesses too often (429).
        """
        if self.rates is not None:
            await self._count("auth", address, self.rates.calls, "your address", "calls with a wrong token")

    @contextlib.contextmanager
    def poll(self, worker_id: str) -> Iterator[None]:
        """Lasts as long as a poll is held.

        Raises:
            RequestError: the worker has as many polls at once as it may have in a whole period (429).
        """
        if self.rates is not None and self._polls_held[worker_id] >= self.rates.polls:
            raise self._refusal("poll", f"worker '{worker_id}' has {self.rates.polls} polls open at once", 1.0)
        self._polls_held[worker_id] += 1
        try:
            yield
        finally:
            self._polls_held[worker_id] -= 1
            if not self._polls_held[worker_id]:
                del self._polls_held[worker_id]

    async def empty_poll(self, worker_id: str) -> None:
        """Counts a poll that brought no task; never refuses it, since it is answered already."""
        if self.rates is None:
            return
        counted = await self._try("poll", worker_id, self.rates.polls)
        if counted is not None and not counted.granted:
            now = await self._storage.now()
            left = {name: until for name, until in self._too_many_polls.items() if until > now}
            self._too_many_polls = {**left, worker_id: counted.resets_at}

    async def polls_too_often(self, worker_id: str) -> bool:
        """Whether the worker has had as many empty polls as it may."""
        until = self._too_many_polls.get(worker_id)
        if until is None or self.rates is None:
            return False
        if await self._storage.now() < until:
            return True
        del self._too_many_polls[worker_id]
        return False

    async def refuse_poll(self, worker_id: str) -> RequestError:
        """Returns the refusal of a poll, for workers that understand it."""
        seconds = self._too_many_polls[worker_id] - await self._storage.now()
        what = f"worker '{worker_id}' polls too often without a task: hold each poll longer"
        return self._refusal("poll", what, seconds)

    def note_held(self) -> None:
        """Counts a poll that is held for longer in place of a refusal."""
        self._meter.rate_limited("poll")

    async def _count(self, kind: str, identity: str, limit: int, who: str, what: str) -> None:
        counted = await self._try(kind, identity, limit)
        if counted is None or counted.granted:
            return
        seconds = counted.resets_at - await self._storage.now()
        period = self.rates.period if self.rates is not None else 0.0
        raise self._refusal(kind, f"{who} has made {limit} {what} within {period:g} s, which is the limit", seconds)

    async def _try(self, kind: str, identity: str, limit: int) -> Count | None:
        """Counts one; None if the storage does not answer, which is no reason to refuse anybody."""
        if self.rates is None:
            return None
        with contextlib.suppress(StorageError):
            return await self._storage.count(f"rate:{kind}:{identity}", limit, self.rates.period)
        return None

    def _refusal(self, kind: str, sentence: str, seconds: float) -> RequestError:
        self._meter.rate_limited(kind)
        wait = max(1.0, seconds)
        return RequestError(429, "rate_limited", f"{sentence}. Try again in {wait:.0f} s.", retry_after=round(wait, 3))


class Quotas:
    """How many jobs a client may create in a calendar month.

    Args:
        storage: where they are counted.
        meter: counts what was refused.
        zone: whose months count.
    """

    def __init__(self, storage: Storage, meter: Meter, zone: datetime.tzinfo) -> None:
        self._storage = storage
        self._meter = meter
        self._zone = zone

    async def take(self, client: str, limit: int | None, amount: int = 1) -> str:
        """Counts new jobs against a client's quota.

        Args:
            client: its name.
            limit: jobs a month; None for any number.
            amount: how many it is about to create.

        Returns:
            What ``give_back`` needs if they were not created after all; empty if nothing was counted.

        Raises:
            RequestError: that would be more than the quota (429).
            StorageError: the storage does not answer.
        """
        if limit is None:
            return ""
        now = await self._storage.now()
        month, ends_at = month_of(now, self._zone)
        key = f"quota:{client}:{month}"
        counted = await self._storage.count(key, limit, ends_at - now, amount)
        if counted.granted:
            return key
        self._meter.rate_limited("quota")
        raise RequestError(
            429,
            "quota_exceeded",
            f"client '{client}' may create {limit} jobs a month and has created {counted.total} in {month}. The next "
            "month begins anew; or ask for a higher monthly_attempts.",
            retry_after=ends_at - now,
            limit=limit,
        )

    async def give_back(self, taken: str, amount: int = 1) -> None:
        """Takes back what was counted for jobs that were not created."""
        if taken:
            # A count that stays although no job came of it is in the engine's favour, and rare.
            with contextlib.suppress(StorageError):
                await self._storage.count(taken, 0, 1.0, -amount)


def month_of(moment: float, zone: datetime.tzinfo) -> tuple[str, float]:
    """Returns the calendar month of a moment, such as ``2026-03``, and when it ends.

    Args:
        moment: Unix seconds.
        zone: whose month.
    """
    here = datetime.datetime.fromtimestamp(moment, zone)
    first = here.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    following = (first.replace(day=28) + datetime.timedelta(days=4)).replace(day=1)
    return f"{here:%Y-%m}", following.timestamp()
