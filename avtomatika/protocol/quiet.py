"""Heartbeats that a worker may leave out while it polls: an extension between this engine and its own SDK.

An engine that speaks it says so in the answer to a registration, as ``"quiet": 40``: for so many seconds the beginning
of a poll stands for a heartbeat that would say nothing new. Published workers pass that over. A worker that knows it
adds ``quiet=`` and the ``skills_hash`` of its registration to its poll, so that an engine sees whether it knows the
worker as it is now. In the answer to the poll it hears that the engine has forgotten it, which others hear in the
answer to a heartbeat.
"""

from __future__ import annotations

from typing import Any

from avtomatika.protocol.reading import read_mapping, read_number

# The beginning of a poll is written down some seconds later, or not at all if another engine wrote of the worker at the
# same time: then the next one comes before the worker is forgotten.
_PARTS_OF_TTL = 3


def quiet_seconds(ttl: float) -> float:
    """Returns for how long a poll may stand for heartbeats.

    Args:
        ttl: seconds that a silent worker is remembered.
    """
    return round(ttl / _PARTS_OF_TTL, 3)


def parse_announcement(body: Any) -> float:
    """Reads in the answer to a registration for how many seconds a poll stands for heartbeats; 0 if it does not."""
    return max(0.0, read_number(read_mapping(body).get("quiet")) or 0.0)


def forgotten() -> dict[str, Any]:
    """Answers a poll that brings no task, of a quiet worker that has to introduce itself again."""
    return {"tasks": [], "require_full_sync": True}
