"""What wakes a job: its wake-up in the ready queue, and moments; and who may then work on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct, field

from avtomatika.core.events import TimerKind
from avtomatika.core.job import Job, Task


class Ready(Struct, frozen=True):
    """A wake-up: some engine is to call the job's handler.

    Args:
        at: not before this moment.
        priority: higher first among those that are due.
    """

    at: float
    priority: float = 0.0


class JobClaim(Struct, frozen=True):
    """A job that an engine may work on until the lease ends.

    Args:
        job: as stored.
        token: names this claim in a batch, and when it is extended or released.
        deliveries: how often the same wake-up was claimed, this time included; claims that were given back do not
            count, so that only an engine that vanished leaves a trace.
    """

    job: Job
    token: str
    deliveries: int


class Hold(Struct, frozen=True):
    """A claim that a step makes for the engine that writes it, which goes on with the job at once.

    Args:
        owner: the engine.
        token: names the claim, as that of a ``JobClaim`` does: the job's id, ``/``, and what no other claim has.
        lease: seconds that it lasts.
    """

    owner: str
    token: str
    lease: float


class Timer(Struct, frozen=True):
    """A moment at which a job is to be woken; one for each (job, kind, task)."""

    job_id: str
    kind: TimerKind
    at: float = 0.0
    task_id: str = ""


class WakeUp(Struct, frozen=True):
    """What a job waits for.

    Args:
        ready_at: its wake-up is due then, or None; one whose claim has ended by itself counts again.
        claimed_by: the engine that works on it, or empty.
        claimed_until: when that claim ends by itself, or None.
        timers: moments at which it is woken, earliest first.
        tasks: its open tasks, by creation, then by index.
    """

    ready_at: float | None = None
    claimed_by: str = ""
    claimed_until: float | None = None
    timers: Sequence[Timer] = ()
    tasks: Sequence[Task] = field(default=())


class WakeStorage(Protocol):
    """What a storage does with wake-ups and timers."""

    async def claim_jobs(self, owner: str, limit: int, lease: float) -> list[JobClaim]:
        """Takes up to ``limit`` due wake-ups, higher priority first, then earlier due, then earlier queued.

        Each is this owner's for ``lease`` seconds; when that ends without a commit, a release or an extension, it can
        be claimed again. No wake-up is ever claimed twice at a time.
        """
        ...

    async def extend_claims(self, tokens: Sequence[str], lease: float) -> list[str]:
        """Lets the claims end ``lease`` seconds from now.

        A claim that has ended comes back to life if nobody has taken the job over.

        Returns:
            The tokens of claims that are lost: consumed, given back, taken over, or unknown.
        """
        ...

    async def release_claims(self, tokens: Sequence[str]) -> None:
        """Gives claims back: the wake-ups are due at once, in their old places. Lost tokens are ignored."""
        ...

    async def claim_timers(self, limit: int, lease: float) -> list[Timer]:
        """Takes up to ``limit`` timers that are due, earliest first.

        A timer taken stays, and is due again ``lease`` seconds later, until a commit clears it or the job ends.
        """
        ...

    async def expired_tasks(self, limit: int) -> list[Task]:
        """Returns up to ``limit`` claimed tasks whose lease has ended, earliest first, until a commit changes them."""
        ...

    async def next_wake_at(self) -> float | None:
        """Returns the earliest moment at which a timer, a lease or a delayed wake-up is due, or None.

        Timers and tasks' leases whose moment has passed count until they are dealt with; wake-ups that can be claimed
        now do not count. So ask first, then claim: what falls due in between is not missed.
        """
        ...
