"""Repeating: which calls are made again when they fail, and when; both shells do the same."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from avtomatika.client.requests import Request
from avtomatika.errors import ClientError, ConnectionFailedError

# Where nobody has set up logging, a bare "stamina.retry_scheduled" on the screen would tell nothing.
logging.getLogger("stamina").addHandler(logging.NullHandler())

ATTEMPTS = 4
"""How often a call is made, at most."""
_PASSING = frozenset({502, 503, 504})
"""What an engine in trouble answers, or a proxy that reaches none at the moment."""
_TOO_MANY = 429


def policy(request: Request, attempts: int, patience: float) -> dict[str, Any]:
    """Returns what ``stamina.retry_context`` is given for a request.

    Args:
        request: the call.
        attempts: how often it is made, at most.
        patience: seconds after which the last error is raised, however often it was.
    """
    return {
        "on": _when(request, patience),
        "attempts": attempts,
        "timeout": patience,
        "wait_initial": 0.1,
        "wait_max": 2.0,
        "wait_jitter": 0.1,
    }


def is_repeatable(request: Request) -> bool:
    """Whether the request changes nothing if it arrives twice; of a creation, its key sees to that."""
    return request.method == "GET" or "Idempotency-Key" in request.headers


def _when(request: Request, patience: float) -> Callable[[Exception], bool | float]:
    def when(error: Exception) -> bool | float:
        """Returns whether to make the call again, or after how many seconds."""
        if not isinstance(error, ClientError):
            return False
        if error.status == _TOO_MANY:
            # It was refused before anything happened. A quota of the month is not waited for.
            return error.retry_after if 0 < error.retry_after <= patience else False
        if not is_repeatable(request):
            return False
        if error.status in _PASSING:
            return min(error.retry_after, patience) or True
        return isinstance(error, ConnectionFailedError)

    return when
