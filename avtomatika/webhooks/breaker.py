"""The circuit breaker: an endpoint that fails again and again is left alone for a while, and then tried once."""

from __future__ import annotations

from dataclasses import dataclass

_THRESHOLD = 5
_FIRST_PAUSE = 30.0
_LONGEST_PAUSE = 900.0
_MAX_ENDPOINTS = 10_000


@dataclass(slots=True)
class _Circuit:
    """What is known of an endpoint: failures in a row, and until when it is left alone."""

    failures: int = 0
    open_until: float = 0.0


class Breaker:
    """Remembers how endpoints do. Moments come from the caller."""

    def __init__(self) -> None:
        self._circuits: dict[str, _Circuit] = {}

    def pause(self, endpoint: str, now: float) -> float:
        """Returns how long to leave an endpoint alone, seconds; 0 lets the caller try.

        After a pause one caller may try, and the others wait for what comes of it.
        """
        circuit = self._circuits.get(endpoint)
        if circuit is None or circuit.failures < _THRESHOLD:
            return 0.0
        if now < circuit.open_until:
            return circuit.open_until - now
        circuit.open_until = now + _pause(circuit.failures)
        return 0.0

    def succeeded(self, endpoint: str) -> None:
        """The endpoint answered well."""
        self._circuits.pop(endpoint, None)

    def failed(self, endpoint: str, now: float) -> None:
        """The endpoint did not."""
        if endpoint not in self._circuits and len(self._circuits) >= _MAX_ENDPOINTS:
            self._circuits.clear()  # forgotten is only that they failed
        circuit = self._circuits.setdefault(endpoint, _Circuit())
        circuit.failures += 1
        if circuit.failures >= _THRESHOLD:
            circuit.open_until = now + _pause(circuit.failures)


def _pause(failures: int) -> float:
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - _THRESHOLD, 10))
