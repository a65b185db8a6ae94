"""Retry policies: how often a failed attempt is repeated, and after which delays, as a blueprint or a task says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import force_setattr

from avtomatika.errors import ActionError, suggest


class RetryPolicy(Struct, frozen=True):
    """How failed attempts are repeated. What is None is left to the wider policy.

    A task's policy goes before its blueprint's, and that before the engine's (``JOB_MAX_RETRIES``,
    ``RETRY_DELAY_SECONDS``, ``RETRY_MAX_DELAY_SECONDS``).

    Args:
        attempts: how many there may be, the first one included; 1 for no retry.
        delay: upper bound of the first random delay, seconds.
        factor: what the bound grows by with each retry; at least 1.
        max_delay: the bound's own bound, seconds.
        never: error codes after which no attempt follows, although they are worth one elsewhere.

    Raises:
        ActionError: a value is out of range.
    """

    attempts: int | None = None
    delay: float | None = None
    factor: float | None = None
    max_delay: float | None = None
    never: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.attempts is not None and not (_is_whole(self.attempts) and self.attempts >= 1):
            raise ActionError(f"attempts of a retry policy is a whole number from 1; got {self.attempts!r}.")
        for name, least in (("delay", 0.0), ("factor", 1.0), ("max_delay", 0.0)):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and least <= value < float("inf")):
                raise ActionError(f"{name} of a retry policy is a number from {least:g}; got {value!r}.")
        codes: Any = self.never
        if codes is None:
            return
        if isinstance(codes, str) or not all(isinstance(code, str) for code in codes):
            raise ActionError(
                f"never of a retry policy is a list of error codes, such as ['QUOTA_ERROR']; got {codes!r}."
            )
        force_setattr(self, "never", tuple(codes))

    @classmethod
    def of(cls, value: RetryPolicy | Mapping[str, Any] | None) -> RetryPolicy | None:
        """Returns a policy for one written as a dict, such as ``{"attempts": 5, "delay": 2}``.

        Raises:
            ActionError: it has an unknown member, or a value is out of range.
        """
        if value is None or isinstance(value, RetryPolicy):
            return value
        known = cls.__struct_fields__
        if not isinstance(value, Mapping):
            raise ActionError(
                f"retry is a RetryPolicy or a dict with some of {', '.join(known)}; got {type(value).__name__}."
            )
        unknown = [str(name) for name in value if name not in known]
        if unknown:
            raise ActionError(
                f"'{unknown[0]}' is no part of a retry policy; known: {', '.join(known)}.{suggest(unknown[0], known)}"
            )
        return cls(**value)

    def over(self, wider: RetryPolicy) -> RetryPolicy:
        """Returns this policy with what it leaves open taken from a wider one."""
        return RetryPolicy(
            wider.attempts if self.attempts is None else self.attempts,
            wider.delay if self.delay is None else self.delay,
            wider.factor if self.factor is None else self.factor,
            wider.max_delay if self.max_delay is None else self.max_delay,
            wider.never if self.never is None else self.never,
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
