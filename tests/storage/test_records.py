"""What every storage promises about records and counters: one test for each sentence of ``contract/records.py``."""

from __future__ import annotations

import asyncio

import pytest

from avtomatika.core.document import Document
from avtomatika.errors import DocumentError
from avtomatika.storage.base import Committed, Count, Dedupe, Duplicate, Ready, Record, RecordWrite, Stale, Storage
from avtomatika.testing import FakeClock

from .builders import START, a_batch, a_job, create


def write(key: str = "a", value: object = 1, space: str = "x", **facts: object) -> RecordWrite:
    """Returns a write; it expects nothing unless told to."""
    return RecordWrite(space, key, Document.of(value), **facts)


def forget(key: str = "a", **facts: object) -> RecordWrite:
    """Returns a write that forgets a record."""
    return RecordWrite("x", key, None, **facts)


async def keys_of(storage: Storage, space: str = "x", after: str = "", limit: int = 100) -> list[str]:
    """Returns the keys of the records of a space."""
    return [record.key for record in await storage.list_records(space, after, limit)]


# --- records ---


async def test_record_written_is_found_with_its_version(storage: Storage) -> None:
    """What was written comes back, and the version counts the writes."""
    value = {"next": 1.5, "names": ["ä", ""], "raw": b"\x00\xff"}

    assert await storage.put_record(write(value=1))
    assert await storage.put_record(write(value=value))

    assert await storage.find_record("x", "a") == Record("x", "a", Document.of(value), 2)
    assert await storage.find_record("x", "b") is None
    assert await storage.find_record("y", "a") is None


async def test_write_that_expects_another_version_changes_nothing(storage: Storage) -> None:
    """Whoever knows an older value does not overwrite a newer one."""
    assert not await storage.put_record(write(expected=1))
    assert await storage.put_record(write(value="first", expected=0))
    assert not await storage.put_record(write(value="again", expected=0))
    assert await storage.put_record(write(value="second", expected=1))
    assert not await storage.put_record(write(value="late", expected=1))
    assert not await storage.put_record(forget(expected=1))

    assert await storage.find_record("x", "a") == Record("x", "a", Document.of("second"), 2)


async def test_writes_racing_on_one_version_are_applied_once(storage: Storage) -> None:
    """Of many engines that take the same turn, one has it."""
    written = await asyncio.gather(*(storage.put_record(write(value=n, expected=0)) for n in range(20)))

    assert written.count(True) == 1
    assert await storage.find_record("x", "a") == Record("x", "a", Document.of(written.index(True)), 1)


async def test_record_forgotten_is_missing_and_begins_anew(storage: Storage) -> None:
    """After it was forgotten, there is no version any more."""
    await storage.put_record(write())
    await storage.put_record(write())
    assert await storage.put_record(forget(expected=2))
    assert await storage.put_record(forget())

    assert await storage.find_record("x", "a") is None
    assert await keys_of(storage) == []
    assert await storage.put_record(write(expected=0))
    assert await storage.find_record("x", "a") == Record("x", "a", Document.of(1), 1)


async def test_record_is_forgotten_after_its_time(storage: Storage, clock: FakeClock) -> None:
    """Its time counts from the last write, and what has run out is as if it had never been."""
    await storage.put_record(write(ttl=10))
    await clock.advance(9)
    await storage.put_record(write(ttl=10))
    await storage.put_record(write("b", ttl=60))
    await clock.advance(9.9)
    assert await storage.find_record("x", "a") == Record("x", "a", Document.of(1), 2, START + 19)
    await clock.advance(0.1)

    assert await storage.find_record("x", "a") is None
    assert await keys_of(storage) == ["b"]
    assert await storage.put_record(write(expected=0))
    assert await storage.find_record("x", "a") == Record("x", "a", Document.of(1), 1)
    await clock.advance(1000)
    assert await keys_of(storage) == ["a"]


async def test_record_written_without_a_time_lasts(storage: Storage, clock: FakeClock) -> None:
    """A write without a time takes the old one away."""
    await storage.put_record(write(ttl=10))
    await storage.put_record(write())
    await clock.advance(100)
    await storage.put_record(write("b", ttl=1))

    assert (await storage.find_record("x", "a")) == Record("x", "a", Document.of(1), 2)


async def test_records_are_listed_by_key_in_pages(storage: Storage, clock: FakeClock) -> None:
    """Each page goes on behind the last key; a space lists its own; what has run out is passed over."""
    for key in ("b", "ä", "a", "ab", "c", "aa"):
        await storage.put_record(write(key))
    for key in ("aaa", "b1", "b2", "b3"):
        await storage.put_record(write(key, ttl=5))
    await storage.put_record(write("other", space="xx"))
    await storage.put_record(write("other", space=""))
    await clock.advance(5)

    pages, after = [], ""
    while page := await keys_of(storage, "x", after, 2):
        pages.append(page)
        after = page[-1]

    assert pages == [["a", "aa"], ["ab", "b"], ["c", "ä"]]
    assert await keys_of(storage, "xx") == ["other"]
    assert await keys_of(storage, "x", limit=0) == []


@pytest.mark.parametrize("name", [("\ud800", "a"), ("x", "\ud800")])
async def test_record_under_a_name_that_is_no_text_is_refused(storage: Storage, name: tuple[str, str]) -> None:
    """A name out of somebody's broken JSON is an error, with or without a job; nobody is found under it."""
    wrong = RecordWrite(*name, Document.of(1))

    with pytest.raises(DocumentError, match="name"):
        await storage.put_record(wrong)
    with pytest.raises(DocumentError, match="name"):
        await storage.commit(a_batch(a_job(), ready=Ready(START), records=[wrong]))

    assert await storage.find_job("j1") is None
    assert await storage.find_record(*name) is None


# --- records in a commit ---


async def test_commit_writes_records_with_the_job(storage: Storage) -> None:
    """The turn of a schedule and the job that it makes are one step."""
    await storage.put_record(write(value="monday"))
    records = [write(value="tuesday", expected=1), write("b", expected=0, ttl=9)]

    await create(storage, ready=Ready(START), records=records)

    assert await storage.find_record("x", "a") == Record("x", "a", Document.of("tuesday"), 2)
    assert await storage.find_record("x", "b") == Record("x", "b", Document.of(1), 1, START + 9)


async def test_commit_whose_record_was_written_meanwhile_is_stale(storage: Storage) -> None:
    """One record that is not as expected is enough: neither the job nor any other record is written."""
    await storage.put_record(write())

    outcome = await storage.commit(
        a_batch(a_job(), ready=Ready(START), records=[write("b"), write(expected=0), write("c")])
    )

    assert outcome == Stale(0)
    assert await storage.find_job("j1") is None
    assert await keys_of(storage) == ["a"]
    job = await create(storage)
    later = a_batch(a_job(version=2), records=[forget(expected=7)])
    assert await storage.commit(later) == Stale(1)
    assert await storage.find_job("j1") == job


async def test_commits_racing_for_one_record_are_applied_once(storage: Storage) -> None:
    """However many engines find a schedule due, it makes one job."""
    batches = [a_batch(a_job(f"j{n}"), ready=Ready(START), records=[write(value=n, expected=0)]) for n in range(10)]

    outcomes = await asyncio.gather(*map(storage.commit, batches))

    assert outcomes.count(Committed(1)) == 1
    assert outcomes.count(Stale(0)) == 9
    assert (await storage.find_record("x", "a")).value == Document.of(outcomes.index(Committed(1)))


async def test_duplicate_or_stale_commit_writes_no_record(storage: Storage) -> None:
    """What was not written leaves the records alone."""
    await create(storage, ready=Ready(START), dedupe=Dedupe("k", "p", 60))

    again = a_batch(a_job("j2"), ready=Ready(START), dedupe=Dedupe("k", "p", 60), records=[write()])
    assert await storage.commit(again) == Duplicate("j1", "p")
    assert await storage.commit(a_batch(a_job(), records=[write()])) == Stale(1)

    assert await keys_of(storage) == []


# --- counters ---


async def test_count_is_granted_up_to_the_limit(storage: Storage) -> None:
    """What would be too much is not counted at all."""
    assert await storage.count("a", 5, 60, 3) == Count(True, 3, START + 60)
    assert await storage.count("a", 5, 60, 3) == Count(False, 3, START + 60)
    assert await storage.count("a", 5, 60, 2) == Count(True, 5, START + 60)
    assert await storage.count("a", 5, 60) == Count(False, 5, START + 60)
    assert await storage.count("b", 5, 60) == Count(True, 1, START + 60)
    assert await storage.count("a", 6, 60) == Count(True, 6, START + 60)


async def test_window_begins_with_the_first_count_and_stays(storage: Storage, clock: FakeClock) -> None:
    """Later counts do not move its end; after it, counting begins anew."""
    await storage.count("a", 2, 60)
    await clock.advance(59)
    assert await storage.count("a", 2, 100) == Count(True, 2, START + 60)
    assert await storage.count("a", 2, 60) == Count(False, 2, START + 60)
    await clock.advance(1)

    assert await storage.count("a", 2, 60) == Count(True, 1, START + 120)
    assert await storage.count("a", 2, 60) == Count(True, 2, START + 120)


async def test_many_windows_that_end_at_once_all_begin_anew(storage: Storage, clock: FakeClock) -> None:
    """However much is yet to be cleared away, an old window does not count."""
    for number in range(30):
        await storage.count(f"a{number}", 1, 60)
    await clock.advance(60)

    assert await storage.count("a29", 1, 60) == Count(True, 1, START + 120)


async def test_count_refused_opens_no_window(storage: Storage, clock: FakeClock) -> None:
    """Only what is counted starts the time."""
    assert await storage.count("a", 2, 60, 3) == Count(False, 0, START + 60)
    await clock.advance(30)

    assert await storage.count("a", 2, 60) == Count(True, 1, START + 90)


async def test_count_given_back_can_be_used_again(storage: Storage, clock: FakeClock) -> None:
    """What was counted for nothing is given back, but never more than there was, and not after its window."""
    await storage.count("a", 2, 60, 2)
    assert await storage.count("a", 0, 60, -1) == Count(True, 1, START + 60)
    assert await storage.count("a", 2, 60, 1) == Count(True, 2, START + 60)
    assert await storage.count("a", 2, 60, -9) == Count(True, 0, START + 60)
    await clock.advance(60)
    assert await storage.count("a", 2, 60, -1) == Count(True, 0, START + 120)
    await clock.advance(10)

    assert await storage.count("a", 2, 60) == Count(True, 1, START + 130)


async def test_count_of_nothing_only_looks(storage: Storage, clock: FakeClock) -> None:
    """A look says what is counted, and whether that is within the limit; it opens no window."""
    assert await storage.count("a", 2, 60, 0) == Count(True, 0, START + 60)
    await clock.advance(10)
    await storage.count("a", 2, 60, 2)

    assert await storage.count("a", 2, 60, 0) == Count(True, 2, START + 70)
    assert await storage.count("a", 1, 60, 0) == Count(False, 2, START + 70)


async def test_counts_racing_never_exceed_the_limit(storage: Storage) -> None:
    """However many ask at once, exactly as many as the limit allows are granted."""
    counts = await asyncio.gather(*(storage.count("a", 7, 60) for _ in range(30)))

    assert sorted(count.total for count in counts if count.granted) == [1, 2, 3, 4, 5, 6, 7]
    assert {count.total for count in counts if not count.granted} == {7}


async def test_count_under_a_key_that_is_no_text_is_refused(storage: Storage) -> None:
    """A key out of somebody's broken header is an error."""
    with pytest.raises(DocumentError, match="name"):
        await storage.count("\ud800", 5, 60)
