"""What schemathesis must know of the API that a schema cannot say; loaded by its command, see test_fuzz.py."""

from __future__ import annotations

from typing import Any

import schemathesis

_LARGEST = 2**63 - 1


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Changes what the server would refuse with a sentence, and rightly.

    A cursor is what it gave before, webhooks go to no made-up hosts, and numbers have 64 bits. Nor is an answer waited
    for.
    """
    if case.query and _is_long(case.query.get("wait")):
        case.query["wait"] = 0
    if case.query and "cursor" in case.query:
        case.query["cursor"] = ""
    if isinstance(case.body, dict):
        case.body.pop("webhook_url", None)
        case.body = _bounded(case.body)


def _is_long(wait: Any) -> bool:
    return isinstance(wait, int | float) and not isinstance(wait, bool) and wait > 0.01


def _bounded(value: Any) -> Any:
    match value:
        case bool():
            return value
        case int():
            return max(-_LARGEST, min(_LARGEST, value))
        case list():
            return [_bounded(item) for item in value]
        case dict():
            return {key: _bounded(item) for key, item in value.items()}
        case _:
            return value
