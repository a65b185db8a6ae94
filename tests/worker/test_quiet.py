"""Heartbeats that a worker leaves out while its polls say as much, and those that it never leaves out."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from avtomatika.protocol.messages import Heartbeat
from avtomatika.testing import FakeClock
from avtomatika.worker import Worker, line
from avtomatika.worker.engines import EngineAddress
from avtomatika.worker.lifecycle import Reply
from avtomatika.worker.quiet import Quiet
from avtomatika.worker.usage import Gauges, Reading

REGISTERED = Reply(200, {"status": "registered"})
ANNOUNCED = Reply(200, {"status": "registered", "quiet": 40})
RESYNC = Reply(200, {"status": "ok", "require_full_sync": True})
FORGOTTEN = Reply(200, {"tasks": [], "require_full_sync": True})
NOTHING, BROKEN = Reply(204), Reply(0, reason="away")
FIRST, SECOND = "http://first", "http://second"
SAID = Heartbeat("w", current_tasks=(), available=frozenset({"work"}), skills_hash="5f0c")


def settled(allowed: float = 40.0) -> Quiet:
    """At second 10, the engine has heard everything and a poll has begun."""
    quiet = Quiet("5f0c")
    quiet.begin(allowed)
    quiet.told(SAID, 10.0)
    quiet.poll_begins(10.0)
    return quiet


def test_heartbeat_is_left_out_as_long_as_the_poll_stands_for_it() -> None:
    """From its beginning on, for the time that the engine has named."""
    quiet = settled()

    assert [quiet.seconds_left(SAID, now) for now in (10.0, 25.0, 50.0, 80.0)] == [40.0, 25.0, 0.0, 0.0]
    quiet.poll_begins(40.0)
    assert quiet.seconds_left(SAID, 50.0) == 30.0


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "busy"},
        {"available": frozenset()},
        {"hot": frozenset({"work"})},
        {"current_tasks": ("t-1",)},
        {"skills_hash": "0c11"},
    ],
)
def test_heartbeat_that_says_something_new_is_due(changed: dict[str, Any]) -> None:
    """Nobody else tells the engine."""
    assert settled().seconds_left(replace(SAID, **changed), 11.0) == 0.0


def test_heartbeat_that_names_tasks_is_due_though_it_was_said_before() -> None:
    """It renews their leases, and its answer says which to stop."""
    quiet = settled()
    busy = replace(SAID, current_tasks=("t-1",))
    quiet.told(busy, 11.0)

    assert quiet.seconds_left(busy, 12.0) == 0.0


def test_engine_that_announces_nothing_hears_every_heartbeat() -> None:
    """And polls say nothing of it there."""
    quiet = settled(allowed=0.0)

    assert (quiet.word, quiet.seconds_left(SAID, 10.0)) == ("", 0.0)
    assert settled().word == "5f0c"


def test_heartbeat_is_due_where_no_poll_is_open() -> None:
    """As at an engine that is asked only if another one fails; or while every poll fails."""
    standby = Quiet("5f0c")
    standby.begin(40.0)
    standby.told(SAID, 10.0)
    cut = settled()
    cut.poll_failed()

    assert standby.seconds_left(SAID, 11.0) == cut.seconds_left(SAID, 11.0) == 0.0


def test_heartbeat_is_due_after_one_that_failed_or_a_new_registration() -> None:
    """What the engine knows then is not certain."""
    doubtful, registered = settled(), settled()

    doubtful.doubt()
    registered.begin(40.0)

    assert doubtful.seconds_left(SAID, 11.0) == registered.seconds_left(SAID, 11.0) == 0.0


def test_heartbeat_is_due_after_five_minutes_in_any_case() -> None:
    """An engine of another version that took no poll for a sign of life hears of the worker then."""
    quiet = settled()
    quiet.poll_begins(305.0)

    assert quiet.seconds_left(SAID, 305.0) == 5.0
    assert quiet.seconds_left(SAID, 310.0) == 0.0


# --- a worker and its engines, without a network ---


class Wire:
    """Stands for the connection to an engine: writes down what is said, and answers as it is told to, else kindly."""

    said: defaultdict[tuple[str, str], list[Any]]
    script: defaultdict[str, list[Reply]]

    def __init__(self, _settings: Any, clock: FakeClock, address: EngineAddress, _meter: Any) -> None:
        self.batch, self.brings = 1, 0
        self._clock, self._url = clock, address.url

    async def register(self, body: Mapping[str, Any]) -> Reply:
        """Takes a registration."""
        return self._answer("register", body, ANNOUNCED)

    async def heartbeat(self, body: Mapping[str, Any]) -> Reply:
        """Takes a heartbeat."""
        return self._answer("heartbeat", body, Reply(200, {"status": "ok"}))

    async def poll(self, query: Mapping[str, str], seconds: float) -> Reply:
        """Holds a poll for its time, or answers it a second later."""
        reply = self._answer("poll", query, NOTHING)
        await self._clock.sleep(seconds if reply is NOTHING else 1.0)
        return reply

    async def result(self, text: str, _carrier: object, _query: object) -> Reply:
        """Takes a result."""
        return self._answer("result", text, Reply(200, {"status": "accepted"}))

    async def close(self) -> None:
        """Has nothing to close."""

    def _answer(self, kind: str, said: Any, kindly: Reply) -> Reply:
        self.said[self._url, kind].append(said)
        return self.script[kind].pop(0) if self.script[kind] else kindly


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> type[Wire]:
    """Takes the place of all connections."""
    Wire.said, Wire.script = defaultdict(list), defaultdict(list)
    monkeypatch.setattr(line, "Transport", Wire)
    return Wire


@pytest.fixture
def clock() -> FakeClock:
    """Moves the worker."""
    return FakeClock()


@pytest.fixture
def percents(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """How busy the machine is."""
    percents = {"cpu": 10.0}
    monkeypatch.setattr(Gauges, "read", lambda _: Reading(None, {"cpu_load_percent": percents["cpu"]}, dict(percents)))
    return percents


@pytest.fixture
def idle(wire: type[Wire], clock: FakeClock, percents: dict[str, float]) -> Worker:
    """A worker with a task that ends when it is cancelled."""
    worker = Worker("w", url=FIRST, token="token", shutdown_timeout=0, clock=clock)

    @worker.task
    async def wait() -> None:
        await asyncio.Event().wait()

    return worker


def heard(wire: type[Wire], kind: str = "heartbeat", url: str = FIRST) -> int:
    """Returns how many messages an engine has got."""
    return len(wire.said[url, kind])


async def test_idle_worker_beats_once_and_then_only_polls(wire: type[Wire], idle: Worker, clock: FakeClock) -> None:
    """For five minutes; each poll says what the worker is, but for the first, which nobody could take for quiet."""
    async with idle:
        await clock.advance(299)
        beats, polls = heard(wire), heard(wire, "poll")
        await clock.advance(3)
        later = heard(wire)

    assert (beats, polls, later) == (1, 10, 2)
    (registration,) = wire.said[FIRST, "register"]
    assert {poll["quiet"] for poll in wire.said[FIRST, "poll"]} == {registration["skills_hash"]}


async def test_worker_of_an_engine_without_the_word_beats_always(
    wire: type[Wire], idle: Worker, clock: FakeClock
) -> None:
    """Published engines hear what they always heard."""
    wire.script["register"] = [REGISTERED]

    async with idle:
        await clock.advance(61)
        beats = heard(wire)

    assert beats == 5
    assert not any("quiet" in poll for poll in wire.said[FIRST, "poll"])


async def test_worker_beats_where_polls_are_longer_than_they_count(
    wire: type[Wire], idle: Worker, clock: FakeClock
) -> None:
    """At the very moment at which the engine would take it for silent."""
    wire.script["register"] = [Reply(200, {"status": "registered", "quiet": 20})]

    async with idle:
        await clock.advance(19.9)
        before = heard(wire)
        await clock.advance(0.2)
        then = heard(wire)
        await clock.advance(29)
        later = heard(wire)

    assert (before, then, later) == (1, 2, 2)


async def test_what_changes_is_told_at_once(wire: type[Wire], idle: Worker, clock: FakeClock) -> None:
    """As ever."""
    async with idle:
        await clock.advance(10)
        idle.mark_hot("wait")
        await asyncio.sleep(0)
        await clock.advance(1)
        said = wire.said[FIRST, "heartbeat"][1:]

    assert [beat["hot_skills"] for beat in said] == [["wait"]]


async def test_load_is_told_when_it_has_changed_enough(
    wire: type[Wire], idle: Worker, clock: FakeClock, percents: dict[str, float]
) -> None:
    """Less is left out, also after the time in which it goes along with other news."""
    async with idle:
        await clock.advance(10)
        percents["cpu"] = 14.0
        await clock.advance(100)
        before = heard(wire)
        percents["cpu"] = 16.0
        await clock.advance(15)
        said = wire.said[FIRST, "heartbeat"][1:]

    assert before == 1
    assert [beat["usage"] for beat in said] == [{"cpu_load_percent": 16.0}]


async def test_worker_with_a_task_beats_as_ever(wire: type[Wire], idle: Worker, clock: FakeClock) -> None:
    """Its lease needs that."""
    task = {"job_id": "j", "task_id": "t-1", "type": "wait", "params": {}, "tracing_context": {}}
    wire.script["poll"] = [Reply(200, task)]

    async with idle:
        await clock.advance(61)
        said = wire.said[FIRST, "heartbeat"][1:]

    assert len(said) >= 12
    assert {*map(str, (beat["current_tasks"] for beat in said))} == {"['t-1']"}


async def test_task_that_ended_before_it_was_told_costs_no_heartbeat(
    wire: type[Wire], idle: Worker, clock: FakeClock
) -> None:
    """All is as the engine knows it."""

    @idle.task
    async def quick() -> None:
        pass

    task = {"job_id": "j", "task_id": "t-1", "type": "quick", "params": {}, "tracing_context": {}}
    wire.script["poll"] = [NOTHING, Reply(200, task)]

    async with idle:
        await clock.advance(40)
        results, beats = heard(wire, "result"), heard(wire)

    assert (results, beats) == (1, 1)


async def test_forgotten_worker_registers_after_its_poll(wire: type[Wire], idle: Worker, clock: FakeClock) -> None:
    """The answer to the poll makes it ask, the answer to its heartbeat makes it introduce itself and tell its load."""
    async with idle:
        await clock.advance(10)
        wire.script["poll"], wire.script["heartbeat"] = [FORGOTTEN], [RESYNC]
        await clock.advance(25)
        said = wire.said[FIRST, "heartbeat"]
        registrations = heard(wire, "register")

    assert registrations == 2
    assert ["usage" in beat for beat in said[:3]] == [True, False, True]


async def test_question_that_comes_while_a_heartbeat_is_on_its_way_is_asked_again(
    wire: type[Wire], idle: Worker, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer on its way may be older than the doubt."""
    beat = wire.heartbeat

    async def slow(self: Wire, body: Mapping[str, Any]) -> Reply:
        await clock.sleep(0 if heard(wire) else 10)
        return await beat(self, body)

    monkeypatch.setattr(wire, "heartbeat", slow)
    wire.script["poll"] = [FORGOTTEN]
    async with idle:
        await clock.advance(25)
        beats = heard(wire)

    assert beats == 2


async def test_worker_beats_while_its_polls_fail(wire: type[Wire], idle: Worker, clock: FakeClock) -> None:
    """Whoever cannot be asked for tasks has not heard that the worker lives."""
    async with idle:
        await clock.advance(29)
        wire.script["poll"] = [BROKEN] * 100
        await clock.advance(62)
        beats = heard(wire)

    assert 4 <= beats <= 6


async def test_heartbeat_that_failed_is_sent_again(wire: type[Wire], idle: Worker, clock: FakeClock) -> None:
    """Only an answer shows that the engine knows."""
    wire.script["heartbeat"] = [BROKEN, BROKEN]

    async with idle:
        await clock.advance(29)
        early = heard(wire)
        await clock.advance(100)
        late = heard(wire)

    assert (early, late) == (2, 3)


async def test_question_that_got_no_answer_is_asked_again(wire: type[Wire], idle: Worker, clock: FakeClock) -> None:
    """Though it says nothing new."""
    async with idle:
        await clock.advance(10)
        wire.script["poll"], wire.script["heartbeat"] = [FORGOTTEN], [BROKEN, RESYNC]
        await clock.advance(50)
        registrations = heard(wire, "register")

    assert registrations == 2


async def test_engine_that_is_not_asked_for_tasks_hears_every_heartbeat(
    wire: type[Wire], idle: Worker, clock: FakeClock
) -> None:
    """It knows of no polls, and has to know that the worker is there when the first engine fails."""
    idle.configure(engines=[FIRST, {"url": SECOND, "priority": 20}], mode="FAILOVER")

    async with idle:
        await clock.advance(61)
        beats = heard(wire), heard(wire, url=SECOND)

    assert beats == (1, 5)
    assert heard(wire, "poll", SECOND) == 0


async def test_engines_that_are_asked_in_turn_hear_polls_instead(
    wire: type[Wire], idle: Worker, clock: FakeClock
) -> None:
    """A turn comes often enough."""
    idle.configure(engines=[FIRST, {"url": SECOND, "priority": 20}], mode="ROUND_ROBIN")

    async with idle:
        await clock.advance(200)
        beats = heard(wire), heard(wire, url=SECOND)

    assert beats == (1, 1)


async def test_leaving_worker_says_so(wire: type[Wire], idle: Worker, clock: FakeClock) -> None:
    """A goodbye is never left out."""
    async with idle:
        await clock.advance(10)

    assert [beat["status"] for beat in wire.said[FIRST, "heartbeat"]] == ["idle", "offline"]
