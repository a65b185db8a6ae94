"""The postman: every message is carried at least once, however often its receiver or an engine is away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.core.effects import Decision, RunHandler, SendMessage
from avtomatika.core.job import Job, job_fields
from avtomatika.core.states import JobStatus
from avtomatika.errors import StorageError
from avtomatika.runtime.batches import batch_of
from avtomatika.runtime.postman import Postman
from avtomatika.storage.base import Batch, Committed, Message, Ready, Storage
from avtomatika.storage.memory import MemoryStorage
from avtomatika.testing import FakeClock

from .conftest import Line

FIELDS = frozenset(job_fields())


class RefusalError(Exception):
    """A receiver does not take a message."""


class Bag:
    """A carrier that does what a test wants, and remembers what it brought.

    Args:
        topic: what it carries.
        limit: how many at a time.
        receive: what the receiver does; takes everything unless given.
        delays: seconds after the first, second, ... failure; then the message is dead.
    """

    timeout = 10.0

    def __init__(
        self,
        topic: str = "x",
        limit: int = 3,
        receive: Callable[[Message], Awaitable[None]] | None = None,
        delays: tuple[float, ...] = (5.0, 50.0),
    ) -> None:
        self.topic = topic
        self.limit = limit
        self._receive = receive
        self._delays = delays
        self.tried: list[str] = []
        self.brought: list[str] = []
        self.under_way = 0
        self.most_under_way = 0

    async def carry(self, message: Message) -> None:
        """Brings a message."""
        self.tried.append(message.id)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self._receive is not None:
                await self._receive(message)
        finally:
            self.under_way -= 1
        self.brought.append(message.id)

    def retry_after(self, message: Message, error: Exception) -> float | None:
        """Tries as often as it was told."""
        left = self._delays[message.attempts - 1 :]
        return left[0] if left else None


async def refuse(message: Message) -> None:
    """Takes nothing."""
    raise RefusalError(f"no room for {message.id}")


async def wait_for_ever(_message: Message) -> None:
    """Never answers."""
    await asyncio.Event().wait()


class Office:
    """A storage with jobs that send messages, and the postmen that were made for it."""

    def __init__(self, clock: FakeClock, storage: MemoryStorage | None = None) -> None:
        self.clock = clock
        self.storage = storage or MemoryStorage(clock)
        self.postmen: list[Postman] = []
        self._jobs = 0

    def hire(self, *carriers: Bag, line: Line | None = None) -> Postman:
        """Starts a postman, as another engine would; one whose signals come over a line if there is one."""
        postman = Postman(cast("Storage", line or self.storage), self.clock, carriers)
        postman.start()
        self.postmen.append(postman)
        return postman

    async def send(self, *topics: str, delay: float = 0.0) -> list[str]:
        """Lets a new job send messages and returns their ids."""
        self._jobs += 1
        now, job_id = self.clock.now(), f"j{self._jobs}"
        job = Job(job_id, "b", "v", JobStatus.RUNNING, "start", now, now, version=1)
        messages = [
            Message(f"{job_id}:1:{n}", topic, job_id, "", Document.of(n), now, now + delay)
            for n, topic in enumerate(topics)
        ]
        assert await self.storage.commit(Batch(job, FIELDS, now, ready=Ready(now), messages=messages)) == Committed(1)
        return [message.id for message in messages]

    async def settle(self, seconds: float = 0) -> None:
        """Lets time pass, and everything run that can."""
        await self.clock.advance(seconds)


@pytest.fixture
async def office(clock: FakeClock) -> Any:
    """An office whose postmen are stopped, and whose storage is checked, when the test ends."""
    office = Office(clock)
    yield office
    for postman in office.postmen:
        await postman.stop(0)
    assert await office.storage.audit() == []


async def test_message_is_carried_when_it_is_sent(office: Office) -> None:
    """A signal is enough: no time passes."""
    bag = Bag()
    office.hire(bag)
    await office.settle()

    sent = await office.send("x", "x")
    await office.settle()

    assert sorted(bag.brought) == sent
    assert await office.storage.next_message_at(["x"]) is None


async def test_message_that_waited_before_the_start_is_carried(office: Office) -> None:
    """What an engine left behind is the next one's."""
    sent = await office.send("x")
    bag = Bag()

    office.hire(bag)
    await office.settle()

    assert bag.brought == sent


async def test_message_for_later_is_carried_at_its_moment(office: Office) -> None:
    """Neither too early nor at the next round, whether it was there before the start or not."""
    early = await office.send("x", delay=7)
    bag = Bag()
    office.hire(bag)
    late = await office.send("x", delay=3)

    await office.settle(2.9)
    assert bag.brought == []
    await office.settle(0.1)
    assert bag.brought == late
    await office.settle(4)
    assert bag.brought == late + early


async def test_message_of_an_unknown_topic_is_left_alone(office: Office) -> None:
    """An older engine does not touch what only a newer one can carry."""
    office.hire(Bag())
    office.hire()

    await office.send("y")
    await office.settle(100)

    (message,) = await office.storage.claim_messages(["y"], 10, 10)
    assert message.attempts == 1


async def test_message_refused_is_tried_again_at_the_carriers_times(office: Office) -> None:
    """After each failure the carrier says when, and the error can be read meanwhile."""
    refused = Counter[str]()

    async def refuse_twice(message: Message) -> None:
        refused[message.id] += 1
        if refused[message.id] < 3:
            await refuse(message)

    bag = Bag(receive=refuse_twice)
    office.hire(bag)
    sent = await office.send("x")

    await office.settle(4.9)
    assert (len(bag.tried), bag.brought) == (1, [])
    await office.settle(0.1)
    assert (len(bag.tried), bag.brought) == (2, [])
    assert await office.storage.next_message_at(["x"]) == office.clock.now() + 50
    await office.settle(50)

    assert bag.brought == sent
    assert await office.storage.next_message_at(["x"]) is None


async def test_message_without_another_attempt_is_a_dead_letter(office: Office) -> None:
    """It is listed with what the receiver said last, tried no more, and can be replayed."""
    bag = Bag(receive=refuse)
    office.hire(bag)
    (sent,) = await office.send("x")

    await office.settle(1000)

    assert bag.tried == [sent] * 3
    (dead,) = await office.storage.list_dead_messages()
    assert (dead.id, dead.attempts, dead.error) == (sent, 3, f"no room for {sent}")
    bag._receive = None
    await office.storage.replay_messages([sent])
    await office.settle()
    assert bag.brought == [sent]


async def test_error_that_no_storage_could_keep_is_kept_escaped(office: Office) -> None:
    """A receiver's words are no reason to lose a message: odd ones are escaped, long ones cut, none become the kind."""
    said = iter(["\ud800" + "x" * 5000, ""])

    async def complain(_message: Message) -> None:
        raise RefusalError(next(said))

    office.hire(Bag(receive=complain, delays=()))
    await office.send("x", "x")
    await office.settle()

    errors = sorted(message.error for message in await office.storage.list_dead_messages())
    assert errors[0] == "RefusalError"
    assert errors[1].startswith("\\ud800xxx")
    assert len(errors[1]) == 1000


async def test_slow_message_is_given_up_for_now_and_holds_up_nobody(office: Office) -> None:
    """An attempt ends with the carrier's time; meanwhile others of its topic go on."""

    async def receive(message: Message) -> None:
        if message.body.value() == 0:
            await wait_for_ever(message)

    bag = Bag(receive=receive)
    office.hire(bag)
    sent = await office.send(*["x"] * 6)

    await office.settle()
    assert sorted(bag.brought) == sent[1:]
    await office.settle(bag.timeout)
    assert bag.under_way == 0
    assert await office.storage.next_message_at(["x"]) == office.clock.now() + 5


async def test_topic_whose_hands_are_all_busy_holds_up_no_other(office: Office) -> None:
    """As many as the carrier allows are under way, and other topics do not wait for them."""
    slow, quick = Bag("slow", receive=wait_for_ever), Bag("quick")
    office.hire(slow, quick)

    await office.send(*["slow"] * 9)
    await office.settle()
    sent = await office.send("quick", "slow")
    await office.settle()

    assert slow.most_under_way == len(slow.tried) == slow.limit
    assert quick.brought == sent[:1]


async def test_hand_that_becomes_free_takes_the_next_message(office: Office) -> None:
    """What did not fit is carried as soon as something has arrived, not at the next round."""
    gates = [asyncio.Event() for _ in range(9)]

    async def receive(message: Message) -> None:
        await gates[message.body.value()].wait()

    bag = Bag(receive=receive)
    office.hire(bag)
    sent = await office.send(*["x"] * 9)
    await office.settle()
    for number in (1, 0, 2, 3, 4, 5, 6, 7, 8):
        gates[number].set()
        await office.settle()

    assert sorted(bag.brought) == sent
    assert bag.most_under_way == bag.limit


async def test_messages_are_never_carried_by_two_postmen_at_a_time(office: Office) -> None:
    """Several engines share the work."""
    bags = [Bag(), Bag()]
    for bag in bags:
        office.hire(bag)

    sent = [message_id for _ in range(10) for message_id in await office.send("x", "x")]
    await office.settle()

    assert sorted(bags[0].brought + bags[1].brought) == sorted(sent)


async def test_message_of_an_engine_that_vanished_is_carried_by_another(office: Office) -> None:
    """The claim ends by itself, and the other engine needs no signal to notice."""
    (sent,) = await office.send("x")
    await office.storage.claim_messages(["x"], 1, 30)  # and was never heard of again
    bag = Bag()
    office.hire(bag)

    await office.settle(29)
    assert bag.tried == []
    await office.settle(1)

    assert bag.brought == [sent]


async def test_signal_lost_costs_time_only(office: Office) -> None:
    """Without any signal a message is found in the next round."""
    bag = Bag()
    postman = office.hire(bag)
    postman._unsubscribe()
    await office.settle()

    sent = await office.send("x")
    await office.settle(20)

    assert bag.brought == sent


async def test_message_of_a_signal_that_was_missed_is_carried_when_the_line_is_back(office: Office) -> None:
    """No time passes from then on."""
    bag, line = Bag(), Line(office.storage)
    office.hire(bag, line=line)
    await office.settle()
    line.cut()
    sent = await office.send("x")
    await office.settle()
    assert bag.brought == []

    line.mend()
    await office.settle()

    assert bag.brought == sent


class FailingStorage(MemoryStorage):
    """A storage some of whose calls fail; it counts how often it was asked for messages."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.failing: set[str] = set()
        self.looks = 0

    def _may_fail(self, name: str) -> None:
        if name in self.failing:
            raise StorageError("the storage does not answer.")

    async def claim_messages(self, *args: Any) -> list[Message]:
        """Claims, or fails."""
        self.looks += 1
        self._may_fail("claim")
        return await super().claim_messages(*args)

    async def ack_messages(self, *args: Any) -> None:
        """Acknowledges, or fails."""
        self._may_fail("ack")
        await super().ack_messages(*args)

    async def postpone_message(self, *args: Any) -> None:
        """Postpones, or fails."""
        self._may_fail("postpone")
        await super().postpone_message(*args)


async def test_storage_is_not_asked_for_what_comes_later(clock: FakeClock, office: Office) -> None:
    """News of a message that is due after the next look anyway, or while no hand is free, costs nothing."""
    office.storage = storage = FailingStorage(clock)
    office.hire(Bag(limit=1, receive=wait_for_ever))
    await office.settle()
    looks = storage.looks

    await office.send("x", delay=21)
    await office.settle()
    assert storage.looks == looks

    await office.send("x")
    await office.settle()
    looks = storage.looks
    await office.send("x")
    await office.settle(5)
    assert storage.looks == looks


async def test_storage_that_is_away_is_asked_again(clock: FakeClock, office: Office) -> None:
    """A claim that fails is no end: the next one follows a second later."""
    office.storage = storage = FailingStorage(clock)
    storage.failing = {"claim"}
    bag = Bag()
    office.hire(bag)
    sent = await office.send("x")
    await office.settle(30)
    storage.failing.clear()

    await office.settle(1)

    assert bag.brought == sent


@pytest.mark.parametrize("call", ["ack", "postpone"])
async def test_verdict_that_cannot_be_written_lets_the_message_come_back(
    clock: FakeClock, office: Office, call: str
) -> None:
    """At least once: what is not known to be delivered is carried again when its claim ends."""
    office.storage = storage = FailingStorage(clock)
    storage.failing = {call}
    bag = Bag(receive=refuse if call == "postpone" else None)
    office.hire(bag)
    (sent,) = await office.send("x")
    await office.settle(10)
    assert bag.tried == [sent]
    storage.failing.clear()
    bag._receive = None

    await office.settle(30)

    assert bag.brought[-1] == sent
    assert len(bag.tried) == 2
    assert await storage.next_message_at(["x"]) is None


async def test_carrier_that_cannot_judge_lets_the_message_come_back(office: Office) -> None:
    """A fault in a carrier is logged, and neither loses the message nor stops the postman."""
    bag = Bag(receive=refuse)
    bag._delays = None  # type: ignore[assignment]
    office.hire(bag)
    (sent,) = await office.send("x")
    await office.settle()

    bag._receive = None
    other = await office.send("x")
    await office.settle(60)

    assert bag.brought == [*other, sent]


async def test_stop_lets_what_is_under_way_arrive(office: Office) -> None:
    """A delivery that is nearly done is not thrown away; nothing new is begun."""
    gate = asyncio.Event()

    async def receive(_message: Message) -> None:
        await gate.wait()

    bag = Bag(limit=1, receive=receive)
    postman = office.hire(bag)
    sent = await office.send("x", "x")
    await office.settle()

    stopping = asyncio.ensure_future(postman.stop(60))
    await office.settle()
    gate.set()
    await stopping

    assert bag.brought == sent[:1]
    assert await office.storage.next_message_at(["x"]) == office.clock.now()


async def test_stop_hands_back_what_does_not_arrive(office: Office) -> None:
    """Another engine carries it at once, without waiting for the claim to end."""
    stuck = Bag(receive=wait_for_ever)
    postman = office.hire(stuck)
    sent = await office.send("x")
    await office.settle()
    await postman.stop(0)
    assert stuck.under_way == 0

    bag = Bag()
    office.hire(bag)
    await office.settle()

    assert bag.brought == sent


async def test_stop_with_a_storage_that_is_away_ends_all_the_same(clock: FakeClock, office: Office) -> None:
    """What cannot be handed back comes back when its claim ends."""
    office.storage = storage = FailingStorage(clock)
    postman = office.hire(Bag(receive=wait_for_ever))
    await office.send("x")
    await office.settle()
    storage.failing = {"postpone"}

    await postman.stop(0)

    assert await storage.next_message_at(["x"]) == clock.now() + 15


async def test_stop_before_the_start_is_harmless(office: Office) -> None:
    """An engine whose start fails stops what it has."""
    await Postman(office.storage, office.clock, [Bag()]).stop()


def test_two_carriers_of_one_topic_are_refused(clock: FakeClock) -> None:
    """Which of them carries would depend on chance."""
    with pytest.raises(ValueError, match="each topic has one carrier; got two for 'x'"):
        Postman(MemoryStorage(clock), clock, [Bag(), Bag("y"), Bag()])


def test_effect_becomes_a_message_with_a_derived_id() -> None:
    """A commit that is repeated makes the same messages, due at the step's moment unless another one is given."""
    old = Job("j1", "b", "v", JobStatus.RUNNING, "start", 1.0, 1.0, version=4)
    body = Document.of({"a": 1})
    effects = (SendMessage("webhook", body, "host"), RunHandler("next", 9.0), SendMessage("child", body, at=20.0))

    batch = batch_of(old, Decision(replace(old, version=5), effects), 9.0)

    assert batch.messages == [
        Message("j1:5:0", "webhook", "j1", "host", body, 9.0, 9.0),
        Message("j1:5:1", "child", "j1", "", body, 9.0, 20.0),
    ]
