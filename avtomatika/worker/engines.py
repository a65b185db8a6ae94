"""The engines that a worker works for: where each is, how it proves itself there, and in which order they are asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from avtomatika.errors import ConfigError, suggest

_MEMBERS = ("url", "token", "priority", "weight")


class Mode(StrEnum):
    """How a worker of several engines shares itself out."""

    FAILOVER = "FAILOVER"
    """The first engine that answers; the others only while it does not."""
    ROUND_ROBIN = "ROUND_ROBIN"
    """All in turn, each as often as its weight says."""
    WATERFALL = "WATERFALL"
    """The first engine as long as it has tasks, then the next; back to the first after each task."""


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where an engine is.

    Args:
        url: its address, without ``/`` at its end.
        token: proves to it who the worker is.
        priority: the smaller, the earlier it is asked.
        weight: how often it is asked compared with the others, in ``ROUND_ROBIN``.
    """

    url: str
    token: str
    priority: float = 10.0
    weight: float = 1.0

    def __repr__(self) -> str:
        return f"EngineAddress({self.url!r}, priority={self.priority:g}, weight={self.weight:g})"


def read_url(value: Any, source: str) -> str:
    """Returns an address without ``/`` at its end.

    Args:
        value: what somebody set.
        source: where, for the message.

    Raises:
        ConfigError: it is no address.
    """
    url = str(value).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{source} is {value!r}; an address such as http://localhost:8080 was expected.")
    return url


def read_engines(value: Any, token: str, source: str) -> tuple[EngineAddress, ...]:
    """Reads a list of engines, in the order in which they are to be asked.

    Args:
        value: a list, or a JSON list, of ``{"url", "token"?, "priority"?, "weight"?}``, addresses alone, or
            ``EngineAddress``.
        token: for those that have none of their own.
        source: where it was set, for the message.

    Raises:
        ConfigError: it is something else, or empty; the message names the entry.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ConfigError(
                f"{source} is no JSON ({error}); a JSON list of objects with 'url' was expected."
            ) from None
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise ConfigError(f"{source} is a {type(value).__name__}; a list of objects with 'url' was expected.")
    engines = [_engine(entry, token, f"entry {number} of {source}") for number, entry in enumerate(value, 1)]
    if not engines:
        raise ConfigError(f"{source} is empty; name at least one engine.")
    twice = [engine.url for number, engine in enumerate(engines) if engine.url in {e.url for e in engines[:number]}]
    if twice:
        raise ConfigError(f"{source} names {twice[0]} twice. Remove one entry.")
    # Sorting keeps the order of equals.
    return tuple(sorted(engines, key=lambda engine: engine.priority))


def _engine(entry: Any, token: str, source: str) -> EngineAddress:
    if isinstance(entry, EngineAddress):
        return entry
    if isinstance(entry, str):
        entry = {"url": entry}
    if not isinstance(entry, Mapping) or "url" not in entry:
        raise ConfigError(
            f"{source} is {type(entry).__name__} without 'url'; expected an object such as {{'url': '...'}}."
        )
    for name in entry:
        if name not in _MEMBERS:
            raise ConfigError(f"{source} has {name!r}; known: {', '.join(_MEMBERS)}.{suggest(str(name), _MEMBERS)}")
    return EngineAddress(
        read_url(entry["url"], f"'url' in {source}"),
        str(entry.get("token") or token),
        _number(entry.get("priority", 10), f"'priority' in {source}"),
        _number(entry.get("weight", 1), f"'weight' in {source}", positive=True),
    )


def _number(value: Any, source: str, *, positive: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or (positive and not value > 0):
        raise ConfigError(f"{source} is {value!r}; a number{' above 0' if positive else ''} was expected.")
    return float(value)
