"""What every storage promises about its log of changes."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from avtomatika.core.job import Client, FanOut
from avtomatika.core.states import JobStatus
from avtomatika.storage.base import Change, Ready, Stale, Storage
from avtomatika.testing import FakeClock

from .builders import START, a_batch, a_job, create, go_on
from .conftest import MakeStorage


async def test_changes_tell_what_each_commit_made(bare_storage: Storage, clock: FakeClock) -> None:
    """A change says whose job it is, how far it is, and how many of its parallel tasks have ended."""
    storage = bare_storage  # the fan-out here has no tasks
    begin = (await storage.read_changes(None, 10)).end
    job = await create(storage, a_job(client=Client("ada")))
    await clock.advance(2)
    waits = {"status": JobStatus.WAITING_FOR_PARALLEL_TASKS, "state": "split", "updated_at": clock.now()}
    await go_on(storage, replace(job, **waits, fan_out=FanOut("f", "join", total=3, open=1)), ready=Ready(START))

    changes = await storage.read_changes(begin, 10)

    first, second = changes.entries
    assert begin < first.position < second.position == changes.end
    assert replace(first, position=0) == Change(0, "j1", "ada", "orders", JobStatus.PENDING, "start", 1, START)
    assert replace(second, position=0) == Change(
        0, "j1", "ada", "orders", waits["status"], "split", 2, START + 2, ended=2, total=3
    )


async def test_changes_are_read_in_stretches(storage: Storage) -> None:
    """Who reads on behind the last change of a stretch misses none and gets none twice."""
    position = (await storage.read_changes(None, 10)).end
    for number in range(5):
        await create(storage, a_job(f"j{number}"))

    found: list[str] = []
    while entries := (await storage.read_changes(position, 2)).entries:
        assert len(entries) <= 2
        found += [change.job_id for change in entries]
        position = entries[-1].position

    assert found == ["j0", "j1", "j2", "j3", "j4"]
    assert position == (await storage.read_changes(None, 0)).end


async def test_change_of_nothing_written_is_not_logged(storage: Storage) -> None:
    """A commit that was too late leaves no trace."""
    job = await create(storage)
    end = (await storage.read_changes(None, 10)).end

    assert isinstance(await storage.commit(a_batch(job)), Stale)

    assert not (await storage.read_changes(end, 10)).entries


async def test_change_after_the_clock_went_back_is_behind_the_others(make_storage: MakeStorage, tmp_path: Path) -> None:
    """Positions rise whatever the clock does."""
    clock = FakeClock(START)
    storage = make_storage(clock, tmp_path)
    await storage.open()
    await create(storage, a_job("before"))
    begin = (await storage.read_changes(None, 1)).end

    clock._now -= 3600
    await create(storage, a_job("after"))

    assert [change.job_id for change in (await storage.read_changes(begin, 10)).entries] == ["after"]
    await storage.close()


async def test_changes_too_old_or_too_many_are_forgotten(storage: Storage, clock: FakeClock) -> None:
    """A reader that may have missed some can see it; one that cannot have is told nothing."""
    begin = (await storage.read_changes(None, 10)).end
    for number in range(4):
        await create(storage, a_job(f"j{number}"))
        await clock.advance(10)
    every = [change.position for change in (await storage.read_changes(begin, 10)).entries]
    assert (await storage.read_changes(begin, 10)).floor <= begin

    await storage.trim_changes(age=35, keep=100)
    by_age = await storage.read_changes(begin, 10)
    await storage.trim_changes(age=100, keep=2)
    by_number = await storage.read_changes(begin, 10)
    await storage.trim_changes(age=100, keep=2)

    assert [change.job_id for change in by_age.entries] == ["j1", "j2", "j3"]
    assert begin < by_age.floor <= every[1]
    assert [change.job_id for change in by_number.entries] == ["j2", "j3"]
    assert every[1] < by_number.floor <= every[2]


async def test_changes_all_forgotten_leave_the_end_where_it_was(storage: Storage, clock: FakeClock) -> None:
    """Who stands at the end of an empty log has missed nothing, and gets what comes next."""
    await create(storage, a_job("j1"))
    await clock.advance(3600)
    await storage.trim_changes(age=60, keep=100)
    empty = await storage.read_changes(None, 10)

    await create(storage, a_job("j2"))

    assert empty.floor <= empty.end
    assert [change.job_id for change in (await storage.read_changes(empty.end, 10)).entries] == ["j2"]
