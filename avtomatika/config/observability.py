"""Settings of logs and traces."""

from __future__ import annotations

import datetime
import zoneinfo
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from avtomatika.config.setting import Group, in_small_letters, setting

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LogFormat = Literal["json", "text"]


def _in_capitals(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _known_zone(name: str) -> str:
    """Returns ``name`` if it is a time zone; ``UTC`` is known even where no zone database is installed."""
    if name != "UTC":
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, OSError) as error:  # OSError: the name of a directory, such as Europe
            raise ValueError("no such zone") from error
    return name


class ObservabilitySettings(Group):
    """What logs and traces look like, and where traces go."""

    TZ: Annotated[str, AfterValidator(_known_zone)] = setting(
        "UTC",
        "Time zone of moments in logs and in the history's answers.",
        "the name of a time zone, such as UTC or Europe/Madrid",
    )
    LOG_LEVEL: Annotated[LogLevel, BeforeValidator(_in_capitals)] = setting(
        "INFO", "Least severity that is logged.", "DEBUG, INFO, WARNING, ERROR or CRITICAL"
    )
    LOG_FORMAT: Annotated[LogFormat, BeforeValidator(in_small_letters)] = setting(
        "json", "Shape of a log line: one JSON object, or text for people.", "json or text"
    )
    OTEL_EXPORTER_OTLP_ENDPOINT: str = setting(
        "",
        "Collector that spans are sent to (OTLP over HTTP). Empty makes no spans, unless the program sets a tracer "
        "provider of its own.",
        "empty or an address such as http://localhost:4318",
        pattern=r"^(https?://.+)?$",
    )
    OTEL_SERVICE_NAME: str = setting("avtomatika", "Name of this service in traces.", "a name")

    @property
    def zone(self) -> datetime.tzinfo:
        """The time zone that ``TZ`` names."""
        return datetime.UTC if self.TZ == "UTC" else zoneinfo.ZoneInfo(self.TZ)
