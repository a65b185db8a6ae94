"""Schedules: when they are due, also where clocks jump, and what follows from instants that were missed."""

from __future__ import annotations

import datetime
import itertools
import zoneinfo
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.core.schedule import (
    MAX_MISSED,
    CatchUp,
    Cron,
    Every,
    Rule,
    Schedule,
    Turn,
    decide_turn,
    instants,
    moment_of,
)
from avtomatika.errors import ConfigError

UTC = datetime.UTC
# Usual ones, half hours, southern ones, jumps at midnight, a jump of half an hour, a day that was left out (Apia), and
# zones that gave it up or moved within these years.
ZONES = [
    "Europe/Madrid",
    "Europe/London",
    "Europe/Riga",
    "Europe/Chisinau",
    "Europe/Istanbul",
    "America/New_York",
    "America/Los_Angeles",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Asuncion",
    "America/Santiago",
    "America/Havana",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Tehran",
    "Asia/Kolkata",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Antarctica/Troll",
    "UTC",
]
FIRST, YEARS = 2011, 10
MINUTE = datetime.timedelta(minutes=1)


def at(text: str) -> float:
    """Returns the moment that a text with its offset means."""
    return datetime.datetime.fromisoformat(text).timestamp()


def nexts(rule: Rule, zone: str, after: str, count: int = 3) -> list[str]:
    """Returns the next instants as the clock of the zone shows them, with offsets."""
    tz = zoneinfo.ZoneInfo(zone)
    found = itertools.islice(instants(rule, tz, at(after)), count)
    return [datetime.datetime.fromtimestamp(one, tz).isoformat(timespec="minutes") for one in found]


# --- instants ---


def test_every_is_counted_from_the_epoch() -> None:
    """All engines agree without having talked, and no instant is the moment itself."""
    assert list(itertools.islice(instants(Every(300), UTC, at("2026-01-01T00:07:00+00:00")), 2)) == [
        at("2026-01-01T00:10:00+00:00"),
        at("2026-01-01T00:15:00+00:00"),
    ]
    assert next(instants(Every(300), UTC, at("2026-01-01T00:10:00+00:00"))) == at("2026-01-01T00:15:00+00:00")


def test_time_in_a_gap_is_the_first_valid_instant() -> None:
    """On the night when the clock jumps from 2 to 3, what is due at 02:30 is due at 3."""
    assert nexts(Cron("30 2 * * *"), "Europe/Madrid", "2026-03-28T12:00+01:00", 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]


def test_time_that_comes_twice_counts_once() -> None:
    """On the night when the clock goes back from 3 to 2, 02:30 is due at its first time only."""
    assert nexts(Cron("30 2 * * *"), "Europe/Madrid", "2026-10-24T12:00+02:00", 2) == [
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]
    assert nexts(Cron("30 2 * * *"), "Europe/Madrid", "2026-10-25T02:45+02:00", 1) == ["2026-10-26T02:30+01:00"]


def test_several_times_in_a_gap_are_one_instant() -> None:
    """Nothing happens twice at the moment of the jump."""
    assert nexts(Cron("*/20 * * * *"), "Europe/Madrid", "2026-03-29T01:30+01:00", 4) == [
        "2026-03-29T01:40+01:00",
        "2026-03-29T03:00+02:00",
        "2026-03-29T03:20+02:00",
        "2026-03-29T03:40+02:00",
    ]


def test_day_that_a_zone_left_out_is_its_end() -> None:
    """Samoa had no 30 December 2011."""
    assert nexts(Cron("0 12 * * *"), "Pacific/Apia", "2011-12-29T13:00-10:00", 2) == [
        "2011-12-31T00:00+14:00",
        "2011-12-31T12:00+14:00",
    ]


def test_month_without_the_date_is_left_out_and_the_last_day_is_always_there() -> None:
    """The 31st comes seven times a year."""
    assert nexts(Cron("0 2 31 * *"), "UTC", "2026-01-31T03:00+00:00", 2) == [
        "2026-03-31T02:00+00:00",
        "2026-05-31T02:00+00:00",
    ]
    assert nexts(Cron("0 2 L * *"), "UTC", "2024-02-01T00:00+00:00", 2) == [
        "2024-02-29T02:00+00:00",
        "2024-03-31T02:00+00:00",
    ]


@pytest.mark.parametrize("expression", ["", "x", "* * *", "61 * * * *", "0 0 31 2 *", "0 0 30 2 *"])
def test_expression_that_is_none_or_never_comes_true_is_refused(expression: str) -> None:
    """A typing error shows at the start, not by silence."""
    with pytest.raises(ConfigError):
        Cron(expression)


# --- the oracle ---


@cache
def jumps(zone: str) -> tuple[int, ...]:
    """Returns the hours, as Unix seconds, after which the clock of a zone has jumped."""
    tz = zoneinfo.ZoneInfo(zone)
    begin = int(at(f"{FIRST}-01-01T00:00+00:00"))
    hours = range(begin, begin + YEARS * 365 * 86400, 3600)
    offsets = [datetime.datetime.fromtimestamp(hour, tz).utcoffset() for hour in hours]
    return tuple(hour for hour, before, after in zip(hours, offsets, offsets[1:], strict=False) if before != after)


def first_shown(local: datetime.datetime, walls: list[tuple[int, datetime.datetime]]) -> int:
    """Returns the first minute at which the wall shows a time or a later one: brute force, minute by minute."""
    return next(minute for minute, wall in walls if wall >= local)


@pytest.mark.parametrize("zone", ZONES)
def test_moments_around_every_jump_are_those_of_brute_force(zone: str) -> None:
    """24 zones, 10 years: each quarter of an hour around each jump, against a walk through all minutes."""
    tz = zoneinfo.ZoneInfo(zone)
    for jump in jumps(zone):
        minutes = range(jump - 27 * 3600, jump + 30 * 3600, 60)
        walls = [(one, datetime.datetime.fromtimestamp(one, tz).replace(tzinfo=None, fold=0)) for one in minutes]
        middle = datetime.datetime.fromtimestamp(jump, tz).replace(tzinfo=None, fold=0, minute=0)
        for quarter in range(-12, 20):
            local = middle + quarter * 15 * MINUTE
            assert moment_of(local, tz) == first_shown(local, walls), (zone, local)


@pytest.mark.parametrize("zone", ZONES)
def test_daily_schedule_runs_once_a_day_for_ten_years(zone: str) -> None:
    """Whatever the clocks do, each day of the calendar has its instant, in order; days that never were have none."""
    tz = zoneinfo.ZoneInfo(zone)
    rule = Cron("30 2 * * *")
    begin, end = at(f"{FIRST}-01-01T00:00+00:00"), at(f"{FIRST + YEARS}-01-01T00:00+00:00")

    found = list(itertools.takewhile(lambda one: one < end, instants(rule, tz, begin)))

    days = [datetime.datetime.fromtimestamp(one, tz).date() for one in found]
    assert len(set(days)) >= len(days) - 1  # the instant of a day that was left out is on the next one
    expected = {
        day
        for n in range(1, YEARS * 365)
        if (day := (datetime.datetime.fromtimestamp(begin, tz) + datetime.timedelta(days=n)).date())
    }
    left_out = expected - set(days)
    assert left_out <= {datetime.date(2011, 12, 30)}


@given(
    st.sampled_from(ZONES),
    st.integers(int(at("2011-01-01T00:00+00:00")), int(at("2020-12-31T00:00+00:00"))),
    st.sampled_from(["*/5 * * * *", "30 2 * * *", "0 0 * * *", "15 1-3 * * sun", "0 3 1 * *"]),
)
def test_instants_rise_and_begin_after_the_moment(zone: str, after: int, expression: str) -> None:
    """From wherever one asks, also between two instants of one night."""
    tz = zoneinfo.ZoneInfo(zone)
    rule = Cron(expression)

    found = list(itertools.islice(instants(rule, tz, after), 4))

    assert found == sorted(set(found))
    assert found[0] > after
    # Asked again from between, the answer is the same: nothing is lost by a restart.
    assert next(instants(rule, tz, found[1])) == found[2]
    assert next(instants(rule, tz, found[0] - 1)) <= found[0]


# --- what follows ---


NOON = at("2026-01-01T12:00:00+00:00")


def hourly(catch_up: CatchUp = CatchUp.LAST) -> Schedule:
    """Returns a schedule of every hour."""
    return Schedule("s", "bp", Every(3600), catch_up=catch_up)


@pytest.mark.parametrize("catch_up", list(CatchUp))
def test_schedule_that_is_not_due_does_nothing(catch_up: CatchUp) -> None:
    """Whatever its policy."""
    assert decide_turn(hourly(catch_up), NOON, NOON - 0.001) is None


@pytest.mark.parametrize("catch_up", list(CatchUp))
def test_schedule_that_is_due_fires_its_instant(catch_up: CatchUp) -> None:
    """And writes down the next one."""
    assert decide_turn(hourly(catch_up), NOON, NOON + 0.5) == Turn(NOON, NOON + 3600)


@pytest.mark.parametrize(
    ("catch_up", "turn"),
    [
        (CatchUp.NONE, Turn(None, NOON + 4 * 3600)),
        (CatchUp.LAST, Turn(NOON + 3 * 3600, NOON + 4 * 3600)),
        (CatchUp.ALL, Turn(NOON, NOON + 3600)),
    ],
)
def test_missed_instants_are_dealt_with_as_the_policy_says(catch_up: CatchUp, turn: Turn) -> None:
    """Left out, the latest one, or one after the other."""
    assert decide_turn(hourly(catch_up), NOON, NOON + 3 * 3600 + 1800) == turn


def test_too_many_missed_instants_are_one() -> None:
    """After a year without an engine there are not 8,760 jobs at once."""
    schedule = hourly(CatchUp.ALL)

    assert decide_turn(schedule, NOON, NOON + (MAX_MISSED - 1) * 3600) == Turn(NOON, NOON + 3600)
    assert decide_turn(schedule, NOON, NOON + MAX_MISSED * 3600) == Turn(
        NOON + MAX_MISSED * 3600, NOON + (MAX_MISSED + 1) * 3600
    )


@pytest.mark.parametrize("catch_up", [CatchUp.LAST, CatchUp.NONE])
def test_latest_missed_instant_is_found_after_a_year(catch_up: CatchUp) -> None:
    """Without counting half a million minutes."""
    schedule = Schedule("s", "bp", Cron("*/1 * * * *"), zoneinfo.ZoneInfo("Europe/Riga"), catch_up=catch_up)
    now = NOON + 365 * 86400 + 30

    assert decide_turn(schedule, NOON, now) == Turn(now - 30, now + 30)


def test_job_of_an_instant_has_the_id_of_the_instant() -> None:
    """Who makes it again makes the same one."""
    assert hourly().job_id(NOON) == f"s-{int(NOON)}"


def test_signature_changes_with_the_instants_only() -> None:
    """Other data or policies do not lose what is due; other instants do."""
    schedule = hourly()

    assert schedule.signature == hourly(CatchUp.ALL).signature
    assert schedule.signature != Schedule("s", "bp", Every(60)).signature
    assert schedule.signature != Schedule("s", "bp", Every(3600), zoneinfo.ZoneInfo("Asia/Tokyo")).signature
