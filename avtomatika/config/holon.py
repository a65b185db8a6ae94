"""Settings of an engine that works for another one, its parent."""

from __future__ import annotations

from avtomatika.config.access import DEFAULT_WORKER_TOKEN
from avtomatika.config.setting import TOKEN, Group, setting


class HolonSettings(Group):
    """The engine that this one works for."""

    PARENT_URL: str = setting(
        "",
        "Address of another engine that this one works for, as a holon: its blueprints become skills there, and each "
        "task becomes a job here.",
        "empty or an address such as http://parent:8080",
        pattern=r"^(https?://\S+)?$",
    )
    PARENT_TOKEN: str = setting(
        DEFAULT_WORKER_TOKEN,
        "Secret that this engine sends to its parent as `X-Worker-Token`.",
        TOKEN,
        pattern=r"^[\x21-\x7e]{1,1024}$",
        secret=True,
    )
    HOLON_ID: str = setting(
        "",
        "Id of this engine among the workers of its parent. Empty takes `INSTANCE_ID`, which is another one after a "
        "restart: set it, so that the parent knows the engine again.",
        "empty or 1 to 128 of the characters A-Z a-z 0-9 _ -",
        pattern=r"^[A-Za-z0-9_-]{0,128}$",
    )
