"""``schedules.toml``: jobs that are made by the clock."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from avtomatika.blueprints import CompiledBlueprint
from avtomatika.core.document import Document
from avtomatika.core.schedule import CatchUp, Cron, Every, Overlap, Rule, Schedule
from avtomatika.errors import ConfigError, ContractError, DocumentError, suggest
from avtomatika.toml_files import Section, TomlFile

E = TypeVar("E", Overlap, CatchUp)

_NAME = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_TIME = re.compile(r"^([01]?\d|2[0-3]):([0-5]\d)$")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_RULES = ("interval_seconds", "daily_at", "weekly_days", "monthly_dates", "cron")
_FIELDS = (
    "blueprint",
    "initial_data",
    "input_data",
    *_RULES,
    "time",
    "timezone",
    "enabled",
    "overlap",
    "catch_up",
    "client",
    "dispatch_timeout",
    "result_timeout",
)


def read_schedules(
    path: str | Path, zone: datetime.tzinfo, blueprints: Mapping[str, CompiledBlueprint | None] | None
) -> tuple[Schedule, ...]:
    """Reads the file.

    Args:
        path: where it is.
        zone: of schedules that name none.
        blueprints: the registered ones by name; None to take any.

    Raises:
        ConfigError: something is wrong; the message names file, line, field and remedy.
    """
    return tuple(_schedule(section, zone, blueprints) for section in TomlFile(path))


def _schedule(
    section: Section, zone: datetime.tzinfo, blueprints: Mapping[str, CompiledBlueprint | None] | None
) -> Schedule:
    if not _NAME.match(section.name):
        raise section.complaint("", "is no name of a schedule; use letters, digits, _ and -, at most 64.")
    blueprint = section.take("blueprint", str, 'the name of a blueprint, such as blueprint = "backup"')
    if blueprints is not None and blueprint not in blueprints:
        known = ", ".join(blueprints) or "none"
        raise section.complaint(
            "blueprint", f"is '{blueprint}', which is not registered; known: {known}.{suggest(blueprint, blueprints)}"
        )
    schedule = Schedule(
        section.name,
        blueprint,
        _rule(section),
        _zone(section, zone),
        _data(section, None if blueprints is None else blueprints[blueprint]),
        _choice(section, "overlap", Overlap.ALLOW),
        _choice(section, "catch_up", CatchUp.LAST),
        section.take("client", str, 'the name of a client, such as client = "acme"', "default"),
        _seconds(section, "dispatch_timeout"),
        _seconds(section, "result_timeout"),
        section.take("enabled", bool, "true or false", True),
    )
    section.require_empty(_FIELDS)
    return schedule


def _rule(section: Section) -> Rule:
    given = [name for name in _RULES if name in section]
    if len(given) != 1:
        has = "has none" if not given else f"has {' and '.join(given)}"
        raise section.complaint(given[-1] if given else "", f"{has}; exactly one is needed of: {', '.join(_RULES)}.")
    match given[0]:
        case "interval_seconds":
            seconds = section.take("interval_seconds", int, "a whole number from 1, such as interval_seconds = 300")
            if seconds < 1:
                raise section.complaint("interval_seconds", "is below 1; expected a whole number of seconds from 1.")
            return Every(seconds)
        case "cron":
            expression = section.take("cron", str, 'five fields, such as cron = "30 2 * * mon-fri"')
            try:
                return Cron(expression)
            except ConfigError as error:
                raise section.complaint("cron", str(error)) from None
        case "daily_at":
            hour, minute, said = _time(section, "daily_at")
            return Cron(f"{minute} {hour} * * *", f"daily at {said}")
        case "weekly_days":
            days = _list(section, "weekly_days", _day, 'days, such as weekly_days = ["mon", "fri"]')
            hour, minute, said = _time(section, "time")
            return Cron(f"{minute} {hour} * * {','.join(days)}", f"every {', '.join(days)} at {said}")
        case _:
            dates = _list(section, "monthly_dates", _date, "days of the month, such as monthly_dates = [1, 15]")
            hour, minute, said = _time(section, "time")
            written = ["last day" if date == "L" else date for date in dates]
            return Cron(f"{minute} {hour} {','.join(dates)} * *", f"monthly on {', '.join(written)} at {said}")


def _time(section: Section, field: str) -> tuple[int, int, str]:
    text = section.take(field, str, f'a time of day, such as {field} = "02:30"')
    found = _TIME.match(text)
    if found is None:
        raise section.complaint(field, f"is '{text[:40]}'; expected a time from 00:00 to 23:59.")
    return int(found[1]), int(found[2]), f"{int(found[1]):02}:{found[2]}"


def _list(section: Section, field: str, read: Any, expected: str) -> list[str]:
    values = section.take(field, list, expected)
    found = [read(value) for value in values]
    if not found or None in found:
        raise section.complaint(field, f"is not understood; expected {expected}.")
    return found


def _day(value: Any) -> str | None:
    short = value[:3].lower() if isinstance(value, str) and len(value) >= 3 else ""
    return short if short in _DAYS else None


def _date(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return "L" if value == -1 else str(value) if 1 <= value <= 31 else None


def _zone(section: Section, default: datetime.tzinfo) -> datetime.tzinfo:
    name = section.take("timezone", str, 'a time zone, such as timezone = "Europe/Madrid"', "")
    if not name:
        return default
    if name == "UTC":
        return datetime.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, OSError, ValueError):
        guess = suggest(name, zoneinfo.available_timezones())
        raise section.complaint("timezone", f"is '{name[:60]}', which is no time zone.{guess}") from None


def _data(section: Section, blueprint: CompiledBlueprint | None) -> Mapping[str, Any]:
    if "initial_data" in section and "input_data" in section:
        raise section.complaint("input_data", "is the same as initial_data; keep one of them.")
    field = "input_data" if "input_data" in section else "initial_data"
    data: Mapping[str, Any] = section.take(field, dict, f"a table, such as {field} = {{ full = true }}", {})
    try:
        stored: Mapping[str, Any] = Document.of(data, field).value()
    except DocumentError as error:
        raise section.complaint(field, f"holds what no job can store: {error}") from None
    if blueprint is not None:
        try:
            blueprint.check_input(stored)
        except ContractError as error:
            raise section.complaint(field, f"holds what the blueprint does not take: {error}") from None
    return stored


def _choice(section: Section, field: str, default: E) -> E:
    kind = type(default)
    word = section.take(field, str, f'one of {", ".join(kind)}, such as {field} = "{default}"', str(default))
    if word not in set(kind):
        raise section.complaint(
            field, f"is '{word[:40]}'; expected one of {', '.join(kind)}.{suggest(word, list(kind))}"
        )
    return kind(word)


def _seconds(section: Section, field: str) -> float | None:
    value = section.take(field, (int, float), f"a number of seconds, such as {field} = 600", None)
    if value is not None and not 0 < value < float("inf"):
        raise section.complaint(field, "is not a positive number of seconds.")
    return None if value is None else float(value)
