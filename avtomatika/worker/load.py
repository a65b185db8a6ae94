"""How busy the machine is, told when it changes."""

from __future__ import annotations

import os


class LoadReport:
    """Decides when the load is worth telling.

    Args:
        deadband: by how many percent it must have changed.
        interval: seconds after which it is told anyway.
    """

    def __init__(self, deadband: float, interval: float) -> None:
        self._deadband = deadband / 100
        self._interval = interval
        self._told: tuple[float, float] | None = None

    def news(self, load: float | None, now: float) -> float | None:
        """Returns the load if the engine is to hear it, else None.

        Args:
            load: 0 to 1, or None where the system does not say.
            now: Unix seconds.
        """
        if load is None:
            return None
        if self._told is not None:
            last, told_at = self._told
            if abs(load - last) < self._deadband and now - told_at < self._interval:
                return None
        self._told = load, now
        return load


def machine_load() -> float | None:
    """Returns the part of the processors that was wanted in the last minute, 0 to 1; None where nobody counts."""
    try:
        return round(min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), 3)
    except (AttributeError, OSError):  # not on every system
        return None
