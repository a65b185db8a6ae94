"""Settings of jobs: what defines and makes them, and how the engine runs them."""

from __future__ import annotations

from avtomatika.config.setting import SECONDS, Group, setting


class JobSettings(Group):
    """What jobs are made of, and how they run."""

    BLUEPRINTS_DIR: str = setting(
        "",
        "Folder whose `.py` files define blueprints: an engine registers all that stand in them. Files whose names "
        "begin with `_` are left to the others.",
        "empty or the path of a folder",
    )
    SCHEDULES_CONFIG_PATH: str = setting(
        "",
        "File of schedules, `schedules.toml`: jobs that are made by the clock. A change of the file takes effect "
        "without a restart.",
        "empty or the path of a file",
    )
    EXECUTOR_MAX_CONCURRENT_JOBS: int = setting(
        100, "How many jobs' handlers one engine runs at once.", "a whole number from 1", ge=1
    )
    JOB_MAX_DATA_BYTES: int = setting(
        16 * 1024**2,
        "Largest initial data, largest state_history and largest params of a task; larger data belong into files.",
        "a whole number from 1024",
        ge=1024,
    )
    JOB_MAX_RETRIES: int = setting(3, "How often a failed attempt is repeated.", "a whole number from 0", ge=0)
    RETRY_DELAY_SECONDS: float = setting(
        1.0, "Upper bound of the first random delay before a retry; it doubles with each attempt.", SECONDS, gt=0
    )
    RETRY_MAX_DELAY_SECONDS: float = setting(60.0, "Upper bound of every delay before a retry.", SECONDS, gt=0)
    MAX_TRANSITIONS_PER_JOB: int = setting(
        1000, "How many changes of state a job may make before it counts as a loop.", "a whole number from 1", ge=1
    )
    WATCHER_INTERVAL_SECONDS: float = setting(
        20.0, "Longest pause between two looks for timers and leases that are due.", SECONDS, gt=0
    )
    AUDIT_INTERVAL_SECONDS: float = setting(
        300.0, "Seconds between two looks for jobs that nothing will wake; there must be none.", SECONDS, gt=0
    )
