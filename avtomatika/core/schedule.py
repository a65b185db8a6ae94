"""When a schedule is due: instants, and what to do about those that were missed. No clock: moments come as arguments.

A rule in local time means the clock on the wall. A time that the clock jumps over is taken to be the moment of the
jump; a time that comes twice counts the first time only.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cronsim import CronSim, CronSimError

from avtomatika.errors import ConfigError

MAX_MISSED = 100
"""How many missed instants ``catch_up = "all"`` makes up for; if there are more, it is the latest one only."""
_LATE_SECONDS = 60.0
# The first day of a leap year that began on a Saturday; only a moment to try expressions from.
_SOME_DAY = datetime.datetime(2000, 1, 1)  # noqa: DTZ001 - the clock on the wall has no zone


class Overlap(StrEnum):
    """What happens when the job of the instant before has not ended."""

    ALLOW = "allow"
    """Both run."""
    SKIP = "skip"
    """No new job is made."""
    CANCEL = "cancel"
    """The job before is cancelled."""


class CatchUp(StrEnum):
    """What happens to instants that passed while no engine was there."""

    NONE = "none"
    """They are left out."""
    LAST = "last"
    """The latest one is made up for."""
    ALL = "all"
    """Each one is made up for."""


@dataclass(frozen=True, slots=True)
class Every:
    """Instants at a constant distance, counted from 1970: every 3600 seconds means on the hour, in UTC.

    Args:
        seconds: the distance, at least 1.
    """

    seconds: int

    def __str__(self) -> str:
        return f"every {self.seconds} s"


@dataclass(frozen=True, slots=True)
class Cron:
    """Instants by the clock on the wall.

    Args:
        expression: five fields: minute, hour, day of month, month, day of week.
        said: how it was written, for people.

    Raises:
        ConfigError: it is no expression, or never comes true.
    """

    expression: str
    said: str = ""

    def __post_init__(self) -> None:
        try:
            next(CronSim(self.expression, _SOME_DAY))
        except CronSimError as error:
            raise ConfigError(
                f"is no cron expression ({error}); expected five fields: minute, hour, day, month, weekday, such as "
                '"30 2 * * mon-fri".'
            ) from None
        except StopIteration:
            raise ConfigError("never comes true; check its day and month.") from None

    def __str__(self) -> str:
        return self.said or f"cron {self.expression}"


Rule = Every | Cron


@dataclass(frozen=True, slots=True)
class Schedule:
    """Jobs that are made by the clock.

    Args:
        name: letters, digits, ``_`` and ``-``.
        blueprint: what they run.
        rule: when.
        zone: whose clock on the wall.
        initial_data: what each of them begins with.
        overlap: if the one before has not ended.
        catch_up: if instants were missed.
        client: name of the client whose jobs they are.
        dispatch_timeout: default for their tasks, seconds.
        result_timeout: seconds until each must have ended.
        enabled: whether it is in force.
    """

    name: str
    blueprint: str
    rule: Rule
    zone: datetime.tzinfo = datetime.UTC
    initial_data: Mapping[str, Any] = field(default_factory=dict)
    overlap: Overlap = Overlap.ALLOW
    catch_up: CatchUp = CatchUp.LAST
    client: str = "default"
    dispatch_timeout: float | None = None
    result_timeout: float | None = None
    enabled: bool = True

    @property
    def signature(self) -> str:
        """Changes when the instants do; then what was written down of the old ones does not count any more."""
        return f"{self.rule!r} {self.zone}"

    def instants(self, after: float) -> Iterator[float]:
        """Yields the instants after a moment, in order, each once."""
        return instants(self.rule, self.zone, after)

    def next_after(self, moment: float) -> float:
        """Returns the first instant after a moment."""
        return next(self.instants(moment))

    def job_id(self, instant: float) -> str:
        """Returns the id of the job of an instant: whoever makes it again, makes the same one."""
        return f"{self.name}-{int(instant)}"


@dataclass(frozen=True, slots=True)
class Turn:
    """What is due now.

    Args:
        fire: the instant to make a job for, or None.
        next_at: the instant to write down.
    """

    fire: float | None
    next_at: float


def decide_turn(schedule: Schedule, next_at: float, now: float) -> Turn | None:
    """Returns what a schedule does at a moment; None if it is not due.

    One instant is dealt with at a time: if ``next_at`` of the turn is due as well, another turn follows at once.

    Args:
        schedule: as configured.
        next_at: the instant that was written down.
        now: the moment.
    """
    if next_at > now:
        return None
    if schedule.catch_up is CatchUp.ALL:
        following = list(itertools.islice(schedule.instants(next_at), MAX_MISSED))
        if following[-1] > now:
            return Turn(next_at, following[0])
    last = _last_before(schedule, next_at, now)
    is_missed = schedule.catch_up is CatchUp.NONE and now - last > _LATE_SECONDS
    return Turn(None if is_missed else last, schedule.next_after(now))


def _last_before(schedule: Schedule, first: float, now: float) -> float:
    """Returns the latest instant that has passed; ``first`` has.

    Looked for backwards in growing steps: a rule of every minute has half a million instants in a year.
    """
    span = 60.0
    while True:
        begin = max(first, now - span)
        found = None
        for at in schedule.instants(begin):
            if at > now:
                break
            found = at
        if found is not None:
            return found
        if begin == first:
            return first
        span *= 8


def instants(rule: Rule, zone: datetime.tzinfo, after: float) -> Iterator[float]:
    """Yields the instants of a rule after a moment, in order, each once.

    Args:
        rule: when.
        zone: whose clock on the wall.
        after: Unix seconds.
    """
    if isinstance(rule, Every):
        return (float(n * rule.seconds) for n in itertools.count(int(after // rule.seconds) + 1))
    return _by_the_wall(rule, zone, after)


def _by_the_wall(rule: Cron, zone: datetime.tzinfo, after: float) -> Iterator[float]:
    # The wall shows no earlier time than this one at any later instant that counts: moment_of never goes back.
    start = datetime.datetime.fromtimestamp(after, zone).replace(tzinfo=None, fold=0)
    last = after
    for local in CronSim(rule.expression, start):
        instant = moment_of(local, zone)
        if instant > last:
            last = instant
            yield instant


def moment_of(local: datetime.datetime, zone: datetime.tzinfo) -> float:
    """Returns the first moment at which the clock on the wall shows a time, or a later one if it never shows it.

    Args:
        local: what the clock shows, without a zone.
        zone: whose clock.

    Returns:
        Unix seconds. Of two times, the later one never has the earlier moment.
    """
    early = local.replace(tzinfo=zone, fold=0).timestamp()
    if datetime.datetime.fromtimestamp(early, zone).replace(tzinfo=None, fold=0) == local:
        return early
    # In a gap: before it the clock shows less than this time, after it more. The moment of the jump is between.
    low, high = int(local.replace(tzinfo=zone, fold=1).timestamp()) - 1, int(early)
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.datetime.fromtimestamp(middle, zone).replace(tzinfo=None) < local:
            low = middle
        else:
            high = middle
    return float(high)
