"""Settings of the limits on calls."""

from __future__ import annotations

from avtomatika.config.setting import SECONDS, Group, setting


class RateLimitSettings(Group):
    """How many calls are taken in a period."""

    RATE_LIMITING_ENABLED: bool = setting(
        True,
        "Whether calls are limited. An engine that serves loopback only limits nobody, unless this or one of the "
        "limits is set.",
        "true or false",
    )
    RATE_LIMIT_LIMIT: int = setting(
        100,
        "Calls of a client in a period; registrations and tokens of a worker; calls with a wrong token from an "
        "address. Of the events of a worker about its tasks, ten times as many.",
        "a whole number from 1",
        ge=1,
    )
    RATE_LIMIT_PERIOD: float = setting(60.0, "Length of that period.", SECONDS, gt=0)
    RATE_LIMIT_HEARTBEAT_LIMIT: int = setting(120, "Heartbeats of a worker in a period.", "a whole number from 1", ge=1)
    RATE_LIMIT_POLL_LIMIT: int = setting(
        60, "Polls of a worker in a period that brought no task.", "a whole number from 1", ge=1
    )
