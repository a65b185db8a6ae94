"""What every storage promises about messages: a test for each sentence of ``contract/outbox.py``, for all backends."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.job import Job
from avtomatika.core.states import JobStatus
from avtomatika.errors import DocumentError
from avtomatika.storage.base import Committed, Message, Ready, Signal, Stale, Storage
from avtomatika.testing import FakeClock

from .builders import START, a_batch, a_job, a_message, create
from .ear import Ear

TOPICS = ("webhook", "child")


async def send(storage: Storage, *messages: Message, job: Job | None = None) -> None:
    """Creates a job that sends messages."""
    await create(storage, job, ready=Ready(START), messages=messages)


async def ids_of(storage: Storage, limit: int = 10, lease: float = 30, topics: tuple[str, ...] = TOPICS) -> list[str]:
    """Claims messages and returns their ids without what they share."""
    return [message.id for message in await storage.claim_messages(topics, limit, lease)]


async def bury(storage: Storage, *message_ids: str) -> None:
    """Makes dead letters."""
    for message_id in message_ids:
        await storage.bury_message(message_id, f"no hope for {message_id}")


# --- commit ---


async def test_message_of_a_commit_can_be_claimed_as_written(storage: Storage) -> None:
    """Every field comes back, and the claim counts as an attempt."""
    message = a_message(key="shop.example", body=Document.of({"a": [1, "x"], "b": b"\x00\xff"}))
    await send(storage, message)

    (claimed,) = await storage.claim_messages(["webhook"], 10, 30)

    assert claimed == replace(message, attempts=1, due_at=START + 30)


async def test_message_of_a_stale_commit_is_not_sent(storage: Storage) -> None:
    """What was not written sends nothing."""
    await create(storage)

    assert await storage.commit(a_batch(a_job(), messages=[a_message()])) == Stale(1)

    assert await ids_of(storage) == []
    assert await storage.next_message_at(TOPICS) is None


async def test_message_that_cannot_be_stored_changes_nothing(storage: Storage) -> None:
    """A key that is no text is refused before anything is written."""
    await create(storage)
    batch = a_batch(a_job(version=2, state="next"), messages=[a_message(), a_message(1, key="\ud800")])

    with pytest.raises(DocumentError, match="key"):
        await storage.commit(batch)

    assert await storage.find_job("j1") == a_job()
    assert await ids_of(storage) == []


async def test_message_sent_with_the_end_outlives_it(storage: Storage) -> None:
    """A job that has ended still gets its last words out."""
    ended = a_job(status=JobStatus.FINISHED)
    await create(storage, ended, finish=True, messages=[a_message()])

    assert await ids_of(storage) == ["j1:1:0"]


# --- claims ---


async def test_claim_takes_the_earliest_due_then_the_first_written(storage: Storage, clock: FakeClock) -> None:
    """The order is that of moments, over all topics that are asked for; what is not due yet is left."""
    await send(
        storage,
        a_message(0, due_at=START + 2),
        a_message(1, topic="child"),
        a_message(2, due_at=START + 1, topic="child"),
        a_message(3),
        a_message(4, due_at=START + 99),
        a_message(5, topic="other"),
    )
    await clock.advance(2)

    assert await ids_of(storage, 2) == ["j1:1:1", "j1:1:3"]
    assert await ids_of(storage) == ["j1:1:2", "j1:1:0"]


async def test_claim_of_none_takes_none(storage: Storage) -> None:
    """Neither a limit of 0 nor an empty list of topics takes anything, nor a topic whose name only begins so."""
    await send(storage, a_message())

    assert await ids_of(storage, 0) == []
    assert await ids_of(storage, topics=()) == []
    assert await ids_of(storage, topics=("web", "webhooks", "")) == []


async def test_claims_racing_never_share_a_message(storage: Storage) -> None:
    """However many postmen ask at once, each message is taken once."""
    await send(storage, *(a_message(number) for number in range(20)))

    taken = await asyncio.gather(*(ids_of(storage, 3) for _ in range(10)))

    assert sorted(message_id for some in taken for message_id in some) == sorted(f"j1:1:{n}" for n in range(20))


async def test_claim_that_ended_can_be_made_again(storage: Storage, clock: FakeClock) -> None:
    """A message whose postman vanished comes back when the lease ends; its attempts count."""
    await send(storage, a_message())
    await storage.claim_messages(TOPICS, 10, 30)

    await clock.advance(29.9)
    assert await ids_of(storage) == []
    await clock.advance(0.2)

    (again,) = await storage.claim_messages(TOPICS, 10, 30)
    assert again.attempts == 2


async def test_acknowledged_message_never_comes_back(storage: Storage, clock: FakeClock) -> None:
    """What was delivered is forgotten; what is unknown is ignored."""
    await send(storage, a_message(0), a_message(1))
    await ids_of(storage, lease=5)

    await storage.ack_messages(["j1:1:0", "nobody", "j1:1:0"])
    await clock.advance(60)

    assert await ids_of(storage) == ["j1:1:1"]


async def test_postponed_message_is_due_at_its_new_moment(storage: Storage, clock: FakeClock) -> None:
    """It comes back neither earlier nor with its lease, and tells why it was not delivered."""
    await send(storage, a_message())
    await ids_of(storage, lease=5)

    await storage.postpone_message("j1:1:0", START + 60, "no answer")
    await clock.advance(59)
    assert await ids_of(storage) == []
    await clock.advance(1)

    (again,) = await storage.claim_messages(TOPICS, 10, 30)
    assert (again.attempts, again.error) == (2, "no answer")


async def test_postponed_message_that_is_unknown_or_dead_is_left(storage: Storage) -> None:
    """Whoever is late with a verdict changes nothing."""
    await send(storage, a_message())
    await bury(storage, "j1:1:0")

    await storage.postpone_message("j1:1:0", START, "late")
    await storage.postpone_message("nobody", START, "late")

    assert await ids_of(storage) == []
    assert [message.error for message in await storage.list_dead_messages()] == ["no hope for j1:1:0"]


async def test_next_message_is_the_earliest_of_the_topics(storage: Storage, clock: FakeClock) -> None:
    """Waiting, claimed and overdue messages count; dead letters and other topics do not."""
    assert await storage.next_message_at(TOPICS) is None
    await send(
        storage,
        a_message(0, due_at=START + 20),
        a_message(1, topic="child", due_at=START + 10),
        a_message(2, topic="other", due_at=START + 1),
    )

    assert await storage.next_message_at(TOPICS) == START + 10
    assert await storage.next_message_at(["webhook"]) == START + 20
    assert await storage.next_message_at([]) is None
    await clock.advance(12)
    assert await storage.next_message_at(TOPICS) == START + 10
    await ids_of(storage, lease=5)
    assert await storage.next_message_at(TOPICS) == START + 17
    await bury(storage, "j1:1:1")
    assert await storage.next_message_at(TOPICS) == START + 20


# --- dead letters ---


async def test_buried_message_is_listed_and_not_claimed(storage: Storage, clock: FakeClock) -> None:
    """A dead letter tells everything that is needed to understand it."""
    message = a_message(key="shop.example")
    await send(storage, message)
    await ids_of(storage, lease=5)
    await clock.advance(3)

    await bury(storage, "j1:1:0")
    await clock.advance(60)

    assert await ids_of(storage) == []
    (dead,) = await storage.list_dead_messages("webhook")
    assert dead == replace(message, attempts=1, due_at=START + 5, error="no hope for j1:1:0", buried_at=START + 3)


async def test_buried_message_is_buried_once(storage: Storage, clock: FakeClock) -> None:
    """A second burial, or one of nobody, changes nothing."""
    await send(storage, a_message())
    await bury(storage, "j1:1:0")
    await clock.advance(5)

    await storage.bury_message("j1:1:0", "again")
    await storage.bury_message("nobody", "never was")

    assert [(m.buried_at, m.error) for m in await storage.list_dead_messages()] == [(START, "no hope for j1:1:0")]


async def test_dead_letters_are_listed_last_buried_first_in_pages(storage: Storage, clock: FakeClock) -> None:
    """Each page goes on behind the last one, also among those of one moment; a topic lists its own."""
    await send(storage, *(a_message(number, topic=TOPICS[number % 2]) for number in range(6)))
    await bury(storage, "j1:1:3", "j1:1:1", "j1:1:2")
    await clock.advance(1)
    await bury(storage, "j1:1:0", "j1:1:5")

    pages, before = [], None
    while page := await storage.list_dead_messages(limit=2, before=before):
        pages.append([message.id for message in page])
        before = page[-1].buried_at, page[-1].id

    assert pages == [["j1:1:5", "j1:1:0"], ["j1:1:3", "j1:1:2"], ["j1:1:1"]]
    of_topic = await storage.list_dead_messages("child", before=(START + 1, "j1:1:5"))
    assert [message.id for message in of_topic] == ["j1:1:3", "j1:1:1"]
    assert await storage.list_dead_messages("other") == []
    assert await storage.list_dead_messages(limit=0) == []


async def test_replayed_message_is_due_at_once_and_begins_anew(storage: Storage, clock: FakeClock) -> None:
    """A dead letter that is sent again has all its attempts; only dead letters are."""
    await send(storage, a_message(0), a_message(1))
    await ids_of(storage)
    await bury(storage, "j1:1:0")
    await clock.advance(5)

    assert await storage.replay_messages(["nobody", "j1:1:0", "j1:1:1", "j1:1:0"]) == ["j1:1:0"]

    assert await storage.list_dead_messages() == []
    (again,) = await storage.claim_messages(TOPICS, 10, 30)
    assert (again.id, again.attempts, again.buried_at) == ("j1:1:0", 1, None)


async def test_dead_letter_that_was_delivered_after_all_is_forgotten(storage: Storage) -> None:
    """Of two postmen one gave up and the other one succeeded."""
    await send(storage, a_message())
    await bury(storage, "j1:1:0")

    await storage.ack_messages(["j1:1:0"])

    assert await storage.list_dead_messages() == []
    assert await storage.replay_messages(["j1:1:0"]) == []


# --- retention ---


async def finish(storage: Storage, *messages: Message, job_id: str = "j1") -> None:
    """Creates a job that ends with messages."""
    job = a_job(job_id, status=JobStatus.FINISHED)
    assert await storage.commit(a_batch(job, finish=True, messages=messages)) == Committed(1)


async def test_purge_keeps_a_job_whose_messages_wait(storage: Storage, clock: FakeClock) -> None:
    """A webhook whose receiver is down for long is not forgotten with its job."""
    await finish(storage, a_message(0), a_message(1))
    await clock.advance(100)
    assert await storage.purge_jobs(clock.now(), 10) == []
    await storage.ack_messages(["j1:1:0"])
    assert await storage.purge_jobs(clock.now(), 10) == []

    await storage.ack_messages(["j1:1:1"])

    assert await storage.purge_jobs(clock.now(), 10) == ["j1"]


async def test_purge_forgets_dead_letters_with_their_job_when_both_are_old(storage: Storage, clock: FakeClock) -> None:
    """Somebody has as much time to look at a dead letter as at an ended job."""
    await finish(storage, a_message(0), a_message(1))
    await finish(storage, a_message(0, "j2"), job_id="j2")
    await bury(storage, "j1:1:0", "j2:1:0")
    await clock.advance(100)
    await bury(storage, "j1:1:1")

    assert await storage.purge_jobs(START + 50, 10) == ["j2"]
    assert [message.job_id for message in await storage.list_dead_messages()] == ["j1", "j1"]
    await clock.advance(1)
    assert await storage.purge_jobs(clock.now(), 10) == ["j1"]

    assert await storage.list_dead_messages() == []
    await finish(storage, a_message(0), a_message(1))
    assert await ids_of(storage) == ["j1:1:0", "j1:1:1"]


async def test_purge_keeps_a_job_whose_dead_letter_is_replayed(storage: Storage, clock: FakeClock) -> None:
    """A message that is sent again waits as any other."""
    await finish(storage, a_message())
    await bury(storage, "j1:1:0")
    await clock.advance(1)
    await storage.replay_messages(["j1:1:0"])

    assert await storage.purge_jobs(clock.now(), 10) == []

    await storage.ack_messages(["j1:1:0"])
    assert await storage.purge_jobs(clock.now(), 10) == ["j1"]


# --- signals and proof ---


async def test_signals_tell_when_messages_of_a_topic_are_due(storage: Storage) -> None:
    """One signal for each topic of a commit, one for a new moment, one for a replay; none for what is over."""
    ear = Ear(storage)
    await send(storage, a_message(0, due_at=START + 9), a_message(1, topic="child"), a_message(2, due_at=START + 3))
    assert [signal for signal in ear.take() if signal.kind == "message"] == [
        Signal("message", "webhook", START + 3),
        Signal("message", "child", START),
    ]

    await storage.postpone_message("j1:1:0", START + 60, "no answer")
    await storage.postpone_message("nobody", START + 60, "no answer")
    assert ear.take() == [Signal("message", "webhook", START + 60)]

    await bury(storage, "j1:1:0", "j1:1:1", "j1:1:2")
    await storage.replay_messages(["j1:1:0", "j1:1:2", "nobody"])
    await storage.ack_messages(["j1:1:0"])
    assert ear.take() == [Signal("message", "webhook", START)]


async def test_parent_that_waits_for_the_messages_of_its_children_is_healthy(storage: Storage) -> None:
    """A child is yet to be started, and one has ended and is yet to tell: something will wake the parents."""
    waiting = a_job("j1", status=JobStatus.WAITING_FOR_SUB_JOB)
    await create(storage, waiting, messages=[a_message(0, "j1", "child")])
    await create(storage, replace(waiting, id="j2"), messages=[])
    child = a_job("j3", status=JobStatus.FINISHED, parent_job_id="j2")
    await create(storage, child, finish=True, messages=[a_message(0, "j3", "parent")])

    assert await storage.audit() == []


async def test_parent_whose_childs_last_message_is_gone_is_a_fault(bare_storage: Storage) -> None:
    """Dead letters and delivered messages wake nobody."""
    waiting = a_job("j1", status=JobStatus.WAITING_FOR_SUB_JOB)
    await create(bare_storage, waiting, messages=[a_message(0, "j1", "child")])
    child = a_job("j3", status=JobStatus.FINISHED, parent_job_id="j1")
    await create(bare_storage, child, finish=True, messages=[a_message(0, "j3", "parent")])
    await bury(bare_storage, "j3:1:0")
    await bare_storage.ack_messages(["j1:1:0"])

    assert [(fault.invariant, fault.job_id) for fault in await bare_storage.audit()] == [("W", "j1")]
