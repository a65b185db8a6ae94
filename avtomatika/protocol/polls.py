"""The long poll, and the wish in a result: what a worker says when it asks for a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl

from avtomatika.protocol.reading import read_number


@dataclass(frozen=True, slots=True)
class Poll:
    """A worker asks for a task.

    Args:
        timeout: seconds that it will wait, or None if it does not say; older workers give up after 35 by default.
        available: hand out only these skills; None if it does not say.
        hot: names of what it has loaded; None if it does not say.
        limit: how many tasks it takes at a time; None if it does not know that there may be many in an answer.
        quiet: the ``skills_hash`` of its registration if it leaves heartbeats out that the poll stands for, and reads
            in the answer that it was forgotten; else empty.
    """

    timeout: float | None = None
    available: frozenset[str] | None = None
    hot: frozenset[str] | None = None
    limit: int | None = None
    quiet: str = ""


# A worker says the same thing in each of its polls, and many workers are alike.
@lru_cache(maxsize=1000)
def parse_poll(query: str) -> Poll:
    """Reads the query string of a poll; what cannot be read is taken as not said.

    Args:
        query: as it was sent.
    """
    # Of what is said twice the first counts.
    told = dict(reversed(parse_qsl(query, keep_blank_values=True)))
    return Poll(
        _seconds(told.get("timeout")),
        _names(told.get("available_skills")),
        _names(told.get("hot_skills")),
        _limit(told.get("batch")),
        told.get("quiet", ""),
    )


def parse_wish(query: str) -> Poll | None:
    """Reads the query string of a result, which is a poll that is not held; None if no tasks are wanted."""
    poll = parse_poll(query) if query else None
    return None if poll is None or poll.limit is None else poll


POLL_GRACE = 4.0
"""Seconds that every worker waits for an answer beyond what it says (it hangs up after 5)."""
_WAITS = "1.0b11"


def waits_when_refused(headers: Mapping[str, str]) -> bool:
    """Whether a worker keeps to ``Retry-After`` when a poll is refused; the others ask again at once.

    SDK 1.0b16 does, the only one with rxon 1.0b11, and all later ones, which send their id in a header.
    """
    return "X-Worker-ID" in headers or headers.get("X-RXON-Version") == _WAITS


def encode_poll(
    timeout: float,
    available: Iterable[str],
    hot: Iterable[str] = (),
    limit: int | None = None,
    quiet: str = "",
) -> dict[str, str]:
    """Writes the query string of a poll.

    Args:
        timeout: seconds to wait for a task.
        available: names of the skills that can be started now.
        hot: names of what is loaded.
        limit: how many tasks to take at a time; None for the one of the protocol.
        quiet: the ``skills_hash`` of the registration, if heartbeats are left out that the poll stands for.
    """
    return {
        "timeout": str(float(timeout)),
        **_skills(available, hot),
        **({} if limit is None else {"batch": str(limit)}),
        **({"quiet": quiet} if quiet else {}),
    }


def encode_wish(available: Iterable[str], hot: Iterable[str], limit: int) -> dict[str, str]:
    """Writes the query string of a result that asks for tasks; arguments as of a poll."""
    return {**_skills(available, hot), "batch": str(limit)}


def _skills(available: Iterable[str], hot: Iterable[str]) -> dict[str, str]:
    return {"available_skills": ",".join(sorted(available)), "hot_skills": ",".join(sorted(hot))}


def _seconds(text: str | None) -> float | None:
    try:
        seconds = read_number(float(text or ""))
    except ValueError:
        return None
    return None if seconds is None else max(0.0, seconds)


def _limit(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 9 and int(text) > 0 else None


def _names(text: str | None) -> frozenset[str] | None:
    return None if text is None else frozenset(name.strip() for name in text.split(",") if name.strip())
