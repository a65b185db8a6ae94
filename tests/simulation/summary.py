"""The summary of many runs: how often each fault struck, and what came of it."""

from __future__ import annotations

from collections import Counter

from .faults import KINDS
from .run import Report


class Summary:
    """Adds reports up."""

    def __init__(self) -> None:
        self.runs = 0
        self.broken: list[Report] = []
        self.fired: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.calls = 0
        self.failed_calls = 0
        self.poisoned = 0
        self.seconds = 0.0

    def add(self, report: Report) -> None:
        """Adds one run."""
        self.runs += 1
        self.fired += report.fired
        self.statuses += report.statuses
        self.calls += report.calls
        self.failed_calls += report.failed_calls
        self.poisoned += report.poisoned
        self.seconds += report.seconds
        if report.violations:
            self.broken.append(report)

    def join(self, other: Summary) -> None:
        """Adds the runs of another summary."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def success(self) -> float:
        """The part of the calls outside fault windows that succeeded, 0 to 1."""
        return 1.0 - self.failed_calls / max(1, self.calls)

    def __str__(self) -> str:
        """Returns a table of the faults, and the totals."""
        lines = [f"{self.fired[kind]:8}  {kind}: {meaning}" for kind, meaning in KINDS.items()]
        ended = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        return "\n".join(
            [
                *lines,
                f"{self.runs} runs of {self.seconds / max(1, self.runs):.0f} virtual seconds: jobs {ended}",
                f"{self.poisoned} jobs were quarantined because their engines kept vanishing",
                f"{self.calls} calls outside fault windows, {self.success:.2%} of them succeeded",
                f"{len(self.broken)} runs broke a promise: {[report.seed for report in self.broken[:20]]}",
            ]
        )
