"""What people are told of settings that are wrong, and of values without what is secret in them."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from avtomatika.config.access import PUBLIC_TOKENS
from avtomatika.config.setting import allowed_text, is_secret
from avtomatika.errors import ConfigError, suggest


def unknown(name: str, known: Mapping[str, FieldInfo]) -> ConfigError:
    """Returns the error of a name that no setting has."""
    guess = suggest(name.upper(), known) or f" Known: {', '.join(known)}."
    return ConfigError(f"there is no setting '{name}'.{guess}")


def refused(error: ValidationError, known: Mapping[str, FieldInfo]) -> ConfigError:
    """Turns the faults that pydantic found into sentences of ours, one a line."""
    faults = {str(fault["loc"][0]): fault["input"] for fault in error.errors(include_url=False, include_context=False)}
    return ConfigError("\n".join(_fault(name, known[name], value) for name, value in faults.items()))


def shown(info: FieldInfo, value: Any) -> str:
    """Returns the value of a setting as people may see it: no tokens, and no password of a URI."""
    if is_secret(info):
        if isinstance(value, str) and value in PUBLIC_TOKENS:
            return "<public default>"
        return "empty" if value == "" else "<hidden>"
    return re.sub(r"//[^/]*@", "//<hidden>@", repr(value))


def _fault(name: str, info: FieldInfo, value: Any) -> str:
    """Says what is wrong with one setting."""
    guess = suggest(value, _choices(name, info)) if isinstance(value, str) else ""
    return f"{name} is {shown(info, value)}, but must be {allowed_text(info)}.{guess}"


def _choices(name: str, info: FieldInfo) -> Iterable[str]:
    """Returns the words that are allowed, if they can be listed."""
    if name == "TZ":
        return zoneinfo.available_timezones()
    return [choice for choice in get_args(info.annotation) if isinstance(choice, str)]
