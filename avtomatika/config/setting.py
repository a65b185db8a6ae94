"""How one setting is declared, and what its declaration tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

SECONDS = "a positive number of seconds"
SHARE = "a number from 0 to 1"
TOKEN = "1 to 1024 printable ASCII characters without spaces"  # noqa: S105 - says what a token looks like


class Group(BaseModel):
    """Settings that belong together; ``Config`` has those of all groups."""

    model_config = ConfigDict(defer_build=True)  # a group alone is never made


def setting(default: Any, meaning: str, allowed: str, *, secret: bool = False, **limits: Any) -> Any:
    """Declares one setting.

    Args:
        default: its value where nobody sets it.
        meaning: what it means, for the manual.
        allowed: what it may be, in words.
        secret: whether its value is never shown.
        limits: what pydantic checks, such as ``ge`` or ``pattern``.
    """
    return Field(
        default=default, description=meaning, json_schema_extra={"allowed": allowed, "secret": secret}, **limits
    )


def in_small_letters(value: Any) -> Any:
    """Returns a text in small letters, and anything else as it is."""
    return value.lower() if isinstance(value, str) else value


def allowed_text(info: FieldInfo) -> str:
    """Returns what a setting may be, in words."""
    return str(_notes(info)["allowed"])


def default_text(info: FieldInfo) -> str:
    """Returns the default of a setting as one would write it into the environment."""
    if "default" in _notes(info):
        return str(_notes(info)["default"])
    if isinstance(info.default, str):
        return f"`{info.default}`" if info.default else "empty"
    if isinstance(info.default, float):
        return f"`{info.default:g}`"
    return f"`{json.dumps(info.default)}`"


def is_secret(info: FieldInfo) -> bool:
    """Returns whether the value of a setting is never shown."""
    return bool(_notes(info).get("secret"))


def _notes(info: FieldInfo) -> Mapping[str, Any]:
    """Returns what the declaration noted beside the limits."""
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
