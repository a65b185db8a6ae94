"""Retries inside a worker: what fails for a moment is called again at once, before the engine hears of a failure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from avtomatika.errors import ConfigError

Errors = type[Exception] | tuple[type[Exception], ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """When and how often a function is called again, with exponential backoff and jitter.

    Args:
        on: the errors after which it is called again; all others are the task's failure at once.
        attempts: how many calls there are at most.
        timeout: seconds after which it is not called again.
        wait_initial: seconds before the second call; doubled with each.
        wait_max: the longest such pause in seconds.

    Raises:
        ConfigError: a number is wrong, or the package ``stamina`` is missing.
    """

    on: Errors
    attempts: int = 3
    timeout: float = 45.0
    wait_initial: float = 0.1
    wait_max: float = 5.0

    def __post_init__(self) -> None:
        errors = self.on if isinstance(self.on, tuple) else (self.on,)
        if not errors or not all(isinstance(one, type) and issubclass(one, Exception) for one in errors):
            raise ConfigError(f"Retry(on={self.on!r}): give an exception class, or a tuple of some.")
        if self.attempts < 1:
            raise ConfigError(f"Retry(attempts={self.attempts}): at least 1 was expected.")
        for name in ("timeout", "wait_initial", "wait_max"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"Retry({name}={getattr(self, name)}): 0 or more seconds were expected.")
        try:
            import stamina  # noqa: F401, PLC0415 - not on every worker; missed at the definition, not at the first task
        except ModuleNotFoundError as error:
            raise ConfigError("Retry needs the package stamina: pip install 'avtomatika[worker]'") from error


async def again(retry: Retry, call: Callable[[], Awaitable[Any]]) -> Any:
    """Returns what a call returned, made again as long as the policy says.

    Args:
        retry: the policy.
        call: makes the call.

    Raises:
        Exception: what the last call raised.
    """
    import stamina  # noqa: PLC0415 - as above

    async for attempt in stamina.retry_context(
        on=retry.on,
        attempts=retry.attempts,
        timeout=retry.timeout or None,
        wait_initial=retry.wait_initial,
        wait_max=retry.wait_max,
    ):
        with attempt:
            return await call()
    raise AssertionError("a policy makes at least one call")  # pragma: no cover
