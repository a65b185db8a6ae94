"""Settings of tasks and of the workers that do them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from avtomatika.config.setting import SECONDS, SHARE, Group, setting


def _limits_of(text: str) -> dict[str, int]:
    """Returns what ``TASK_CONCURRENCY`` says.

    Raises:
        ValueError: a part of it is no type and number.
    """
    limits = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, number = part.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name.strip()) or int(number) < 1:
            raise ValueError(part)
        limits[name.strip()] = int(number)
    return limits


def _readable_limits(text: str) -> str:
    _limits_of(text)
    return text


class TaskSettings(Group):
    """Which worker gets which task, and for how long."""

    WORKER_TIMEOUT_SECONDS: float = setting(
        300.0, "How long a task may run where its blueprint does not say.", SECONDS, gt=0
    )
    TASK_LEASE_SECONDS: float = setting(
        60.0,
        "How long a task stays a worker's after its last heartbeat; then another worker gets it. Several heartbeats "
        "(15 s apart) should fit into it.",
        SECONDS,
        gt=0,
    )
    WORKER_POLL_TIMEOUT_SECONDS: float = setting(
        30.0, "How long a worker's poll is held open while there is no task.", SECONDS, gt=0
    )
    WORKER_HEALTH_CHECK_INTERVAL_SECONDS: float = setting(
        60.0, "Seconds between two looks for workers that fell silent.", SECONDS, gt=0
    )
    WORKER_TTL_SECONDS: float = setting(
        120.0,
        "How long a silent worker is still listed. For a third of it, a poll stands for heartbeats of our own SDK.",
        SECONDS,
        gt=0,
    )
    TASK_CONCURRENCY: Annotated[str, AfterValidator(_readable_limits)] = setting(
        "",
        "How many tasks of a type may run at a time, over all workers and engines.",
        "empty, or types and whole numbers from 1 such as render=4,mail=10",
    )
    PRIORITY_AGEING_SECONDS: float = setting(
        0.0,
        "Seconds of waiting that weigh as much as one unit of priority, so that no task waits for ever behind more "
        "urgent ones. 0 lets priority alone decide, and age among equals.",
        "a number of seconds from 0",
        ge=0,
    )
    CHECK_SKILL_SCHEMAS: bool = setting(
        True,
        "Whether the data of a success must fit the output schema that the worker itself declares for the skill.",
        "true or false",
    )
    REPUTATION_MIN_THRESHOLD: float = setting(
        0.0,
        "Workers whose reputation is below it get no tasks until it has recovered; 0 gives tasks to all.",
        SHARE,
        ge=0,
        le=1,
    )
    REPUTATION_PENALTY_CONTRACT_VIOLATION: float = setting(
        0.2, "What a CONTRACT_VIOLATION_ERROR takes from a worker's reputation.", SHARE, ge=0, le=1
    )
    REPUTATION_PENALTY_TASK_FAILURE: float = setting(
        0.05,
        "What a PERMANENT_ERROR, SECURITY_ERROR or DEPENDENCY_ERROR takes from a worker's reputation, or a task "
        "that it vanished with.",
        SHARE,
        ge=0,
        le=1,
    )
    REPUTATION_REWARD_SUCCESS: float = setting(
        0.001, "What a task that succeeded adds to a worker's reputation, up to 1.", SHARE, ge=0, le=1
    )

    def task_concurrency(self) -> dict[str, int]:
        """Returns how many tasks of a type may run at a time, for the types that ``TASK_CONCURRENCY`` names."""
        return _limits_of(self.TASK_CONCURRENCY)
