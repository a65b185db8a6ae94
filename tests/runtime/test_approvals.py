"""Approvals: tokens and decisions."""

from __future__ import annotations

import hmac
from pathlib import Path

import pytest

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.core.job import Job
from avtomatika.core.states import JobStatus
from avtomatika.errors import AuthError, DecisionError, JobNotFoundError, JobStateError
from avtomatika.runtime.approvals import Approvals
from avtomatika.storage.memory import MemoryStorage
from avtomatika.storage.sqlite import SQLiteStorage
from avtomatika.testing import FakeClock

from .conftest import MakeSystem, System


def asking(timeout_seconds: float | None = None) -> StateMachineBlueprint:
    """Returns a blueprint that asks twice."""
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("draft", is_start=True)
    async def draft(actions: ActionFactory) -> None:
        actions.await_human_approval("Publish?", {"approved": "again", "rejected": "stopped"})

    @flow.handler_for("again")
    async def again(actions: ActionFactory) -> None:
        ways = {"approved": "done", "rejected": "stopped"}
        if timeout_seconds is not None:
            ways["expired"] = "stopped"
        actions.await_human_approval("Really?", ways, timeout_seconds=timeout_seconds)

    @flow.handler_for("done", is_end=True)
    @flow.handler_for("stopped", is_end=True)
    async def over(approval: dict[str, object]) -> dict[str, object]:
        return approval

    return flow


async def asked(system: System, state: str = "draft") -> Job:
    """Returns a new job when it waits in that state."""
    job_id = await system.create()
    if state == "again":
        await system.waiting(job_id, JobStatus.WAITING_FOR_HUMAN)
        await system.approvals.decide(job_id, "approved")
    return await system.until(job_id, lambda job: job.wait is not None and job.state == state)


async def test_decision_makes_the_job_go_on(system: System) -> None:
    """Who decided what, by which right, is the next handler's to see."""
    system.add(asking())
    job = await asked(system, "again")
    number = await system.approvals.prove(job.id, str(await system.approvals.token(job)))

    await system.approvals.decide(job.id, "rejected", number, by="Ada", via="token", comment="no")

    ended = await system.ended(job.id)
    assert (ended.status, ended.state) == (JobStatus.FINISHED, "stopped")
    assert ended.result.value() == {
        "decision": "rejected",
        "by": "Ada",
        "via": "token",
        "comment": "no",
        "at": system.clock.now(),
    }
    rows = await system.rows(job.id)
    assert (rows.count("approval_requested"), rows.count("approval_received")) == (2, 2)


async def test_token_belongs_to_one_wait_of_one_job(system: System) -> None:
    """That of another job proves nothing; that of a wait that is over proves its number, and decides nothing."""
    system.add(asking())
    job, other = await asked(system), await asked(system)
    token = str(await system.approvals.token(job))

    with pytest.raises(AuthError, match="not valid for this job"):
        await system.approvals.prove(other.id, token)
    number = await system.approvals.prove(job.id, token)
    await system.approvals.decide(job.id, "approved", number)
    await system.until(job.id, lambda job: job.state == "again" and job.wait is not None)

    assert await system.approvals.prove(job.id, token) == number
    with pytest.raises(JobStateError, match="does not wait for this decision"):
        await system.approvals.decide(job.id, "approved", number)
    assert await system.approvals.token(await system.jobs.get(job.id)) != token


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token.partition(".")[2],
        lambda token: "1" + token,
        lambda token: "9" * 5000,
        lambda token: "\ud800.x",
        lambda token: "",
    ],
)
async def test_forged_token_is_refused(system: System, change: object) -> None:
    """Whatever was changed or left out."""
    system.add(asking())
    job = await asked(system)
    token = str(await system.approvals.token(job))

    with pytest.raises(AuthError):
        await system.approvals.prove(job.id, change(token))  # type: ignore[operator]


async def test_tokens_are_compared_in_constant_time(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a refusal takes says nothing of how much of a guess is right."""
    system.add(asking())
    job, compared = await asked(system), []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    with pytest.raises(AuthError):
        await system.approvals.prove(job.id, "1.a-guess")

    assert compared == [b"1.a-guess"]


async def test_job_that_asks_nobody_has_no_token(system: System) -> None:
    """There is nothing to decide."""
    system.add(asking())
    job = await asked(system)
    await system.approvals.decide(job.id, "rejected")

    ended = await system.ended(job.id)

    assert await system.approvals.token(ended) is None
    with pytest.raises(JobStateError, match="it is finished in state 'stopped'"):
        await system.approvals.decide(job.id, "approved")


async def test_decision_that_is_not_offered_is_refused(system: System) -> None:
    """The message lists what is."""
    system.add(asking())
    job = await asked(system)

    with pytest.raises(DecisionError, match=r"known: approved, rejected\. Did you mean 'approved'"):
        await system.approvals.decide(job.id, "aproved")
    with pytest.raises(JobNotFoundError):
        await system.approvals.decide("nothing", "approved")


async def test_nobody_decides_in_time(system: System) -> None:
    """The moment comes by itself."""
    system.add(asking(60.0))
    job = await asked(system, "again")

    await system.clock.advance(60)

    assert (await system.ended(job.id)).state == "stopped"


async def test_tokens_of_all_engines_on_a_storage_are_the_same(clock: FakeClock, make_system: MakeSystem) -> None:
    """Whichever engine shows it, whichever takes it; another storage's differ."""
    storage = MemoryStorage(clock)
    system = make_system(storage)
    system.add(asking())
    await system.start()
    job = await asked(system)

    first, second = (Approvals(storage, system.performer) for _ in range(2))
    stranger = Approvals(MemoryStorage(clock), system.performer)

    assert await first.token(job) == await second.token(job) == await system.approvals.token(job)
    assert await stranger.token(job) != await first.token(job)


async def test_wait_and_token_outlive_the_engine(make_system: MakeSystem, clock: FakeClock, tmp_path: Path) -> None:
    """A mail with the link is answered after a restart."""
    storage = SQLiteStorage(str(tmp_path / "jobs.db"), clock=clock)
    await storage.open()
    before = make_system(storage)
    before.add(asking())
    await before.start()
    job = await asked(before)
    token = str(await before.approvals.token(job))
    await before.stop()
    await storage.close()

    await storage.open()
    after = make_system(storage, owner="e2")
    after.add(asking())
    await after.start()
    await after.approvals.decide(job.id, "rejected", await after.approvals.prove(job.id, token))

    assert (await after.ended(job.id)).state == "stopped"
