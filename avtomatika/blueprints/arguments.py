"""What a blueprint is made with, checked: the path of its jobs, limits and retries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.errors import ActionError, BlueprintError

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]+")


def checked_name(name: str) -> str:
    """Returns the name of a blueprint.

    Raises:
        BlueprintError: it is malformed.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BlueprintError(
            f"the name of a blueprint is 1 to 128 of the characters A-Z a-z 0-9 _ -, such as 'order_flow'; "
            f"got {name!r}."
        )
    return name


def checked_endpoint(endpoint: str | None) -> str | None:
    """Returns the path of a blueprint's jobs with one leading ``/``; None stays None.

    Raises:
        BlueprintError: it is malformed.
    """
    if endpoint is None:
        return None
    segments = endpoint.removeprefix("/").removesuffix("/").split("/") if isinstance(endpoint, str) else [""]
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise BlueprintError(
            f"api_endpoint is a path such as '/jobs/orders', of letters, digits and . _ ~ - between slashes; "
            f"got {endpoint!r}."
        )
    return "/" + "/".join(segments)


def checked_version(version: str | None) -> str | None:
    """Returns the part of the path before the endpoint; None stays None.

    Raises:
        BlueprintError: it is malformed.
    """
    if version is not None and not (isinstance(version, str) and _SEGMENT.fullmatch(version)):
        raise BlueprintError(f"api_version is one part of a path, such as 'v1'; got {version!r}.")
    return version


def checked_concurrency(concurrency: Mapping[str, int] | None) -> dict[str, int]:
    """Returns a copy of the limits on tasks of a type; None means none.

    Raises:
        BlueprintError: they are malformed.
    """
    limits = {} if concurrency is None else concurrency
    if not isinstance(limits, Mapping) or not all(
        isinstance(name, str) and type(limit) is int and limit >= 1 for name, limit in limits.items()
    ):
        raise BlueprintError(
            "concurrency is a dict of type of task to how many may run at a time, a whole number from 1, such as "
            f"{{'render': 2}}; got {concurrency!r}."
        )
    return dict(limits)


def checked_retry(retry: RetryPolicy | Mapping[str, Any] | None) -> RetryPolicy | None:
    """Returns the policy that a blueprint is given, or None.

    Raises:
        BlueprintError: it is malformed.
    """
    try:
        return RetryPolicy.of(retry)
    except ActionError as error:
        raise BlueprintError(str(error)) from None
