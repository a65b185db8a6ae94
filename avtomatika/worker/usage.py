"""How busy the machine is, told when it changes: processors, memory, and GPUs where a library can see them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from avtomatika.clock import Clock
from avtomatika.worker import gpus

_LEAST_SECONDS = 5.0
"""Seconds for which a reading holds."""
_SHORTEST = 1.0
"""Seconds over which the load of the processors says something."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured at one moment.

    Args:
        load: part of the processors that is wanted, 0 to 1; None where nobody counts.
        usage: the same and more, as the protocol writes it.
        percents: what is compared with the reading before, by what it is of.
    """

    load: float | None
    usage: Mapping[str, Any] = field(default_factory=dict)
    percents: Mapping[str, float] = field(default_factory=dict)


class UsageReport:
    """Decides when a reading is worth telling.

    Args:
        deadband: by how many percent something must have changed.
        interval: seconds after which it is told anyway.
    """

    def __init__(self, deadband: float, interval: float) -> None:
        self._deadband = deadband
        self._interval = interval
        self._told: tuple[Mapping[str, float], float] | None = None

    def has_changed(self, reading: Reading) -> bool:
        """Whether a reading is worth a heartbeat of its own."""
        if self._told is None:
            return bool(reading.percents)
        last = self._told[0]
        return bool(reading.percents) and not (
            reading.percents.keys() == last.keys()
            and all(abs(value - last[name]) < self._deadband for name, value in reading.percents.items())
        )

    def is_news(self, reading: Reading, now: float) -> bool:
        """Whether the engine is to hear of a reading with the next heartbeat.

        Args:
            reading: of this moment.
            now: Unix seconds.
        """
        is_due = self._told is not None and now - self._told[1] >= self._interval
        return self.has_changed(reading) or (is_due and bool(reading.percents))

    def told(self, reading: Reading, now: float) -> None:
        """Takes note of what the engine has heard.

        Args:
            reading: that was told.
            now: Unix seconds.
        """
        self._told = reading.percents, now

    def forget(self) -> None:
        """The engine knows nothing of what it was told."""
        self._told = None


class Gauges:
    """Measures this machine: with ``psutil`` where it is installed, else by what the system tells.

    Args:
        clock: says how long ago the last reading was.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._psutil: Any = None
        with contextlib.suppress(ImportError):
            import psutil  # noqa: PLC0415 - optional

            self._psutil = psutil
        self._counted = self._count()
        self._last: tuple[Reading, float] | None = None

    def read(self) -> Reading:
        """Returns what was measured now or a moment ago: heartbeats may follow each other closely."""
        now = self._clock.now()
        if self._last is None or not 0 <= now - self._last[1] < _LEAST_SECONDS:
            self._last = self._read(), now
        return self._last[0]

    def _read(self) -> Reading:
        usage: dict[str, Any] = {}
        percents: dict[str, float] = {}
        load = self._load()
        if load is not None:
            usage["cpu_load_percent"] = percents["cpu"] = round(load * 100, 1)
        memory = self._memory()
        if memory is not None:
            used, total = memory
            usage["ram_used_gb"], percents["ram"] = round(used / 2**30, 2), 100 * used / total
        devices = gpus.usage()
        if devices:
            usage["devices_usage"] = devices
            percents |= {f"gpu {one['unit_id']}": one["load_percent"] for one in devices}
        return Reading(load, usage, percents)

    def _load(self) -> float | None:
        """Returns the part of the processors that was wanted since the last reading, or in the last minute."""
        if self._counted is not None:
            before, now = self._counted, self._count()
            assert now is not None  # noqa: S101 - what counted before counts now
            seconds = now[1] - before[1]
            if now[2] - before[2] >= _SHORTEST:
                self._counted = now
                return round(min(1.0, max(0.0, (now[0] - before[0]) / seconds)), 3) if seconds > 0 else 0.0
        try:
            return round(min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), 3)
        except (AttributeError, OSError):  # not on every system
            return None

    def _count(self) -> tuple[float, float, float] | None:
        """Returns the seconds that all processors have worked, and have had, until when; None where nobody counts.

        Not ``psutil.cpu_percent``: it remembers one last call for the whole program.
        """
        if self._psutil is None:
            return None
        times = self._psutil.cpu_times()
        # What guests had is counted twice.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return total - times.idle - getattr(times, "iowait", 0.0), total, self._clock.now()

    def _memory(self) -> tuple[float, float] | None:
        """Returns bytes that are in use, and all; what programs would get if they asked counts as free."""
        if self._psutil is not None:
            told = self._psutil.virtual_memory()
            return told.total - told.available, told.total
        try:
            with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 - no file of anybody's
                kilobytes = {name: float(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
            total, free = kilobytes["MemTotal"] * 1024, kilobytes["MemAvailable"] * 1024
        except (OSError, ValueError, KeyError, IndexError):  # not on every system
            return None
        return total - free, total
