"""The ring: the last log lines of the workbench, kept for reading instead of printed between cells."""

from __future__ import annotations

import logging
from collections import deque
from typing import ClassVar

from avtomatika.log_context import bound_ids

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class LogRing(logging.Handler):
    """Keeps the newest lines of the logger ``avtomatika``, from INFO up.

    Several may listen at once; each hears everything, and the logger is as it was before when the last has gone.

    Args:
        size: how many lines.
    """

    _before: ClassVar[tuple[int, bool] | None] = None
    """Level and propagation of the logger before the first ring."""

    def __init__(self, size: int = 2000) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter(_FORMAT))
        self._lines: deque[tuple[str, str]] = deque(maxlen=size)
        self._logger = logging.getLogger("avtomatika")

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one line."""
        try:
            self._lines.append((self.format(record), _job_of(record)))
        except Exception:  # as every handler of the standard library: a bad log call must not end the engine
            self._lines.append((f"a log call of {record.name} at {record.pathname}:{record.lineno} is wrong", ""))

    def lines(self, last: int | None = None, about: str = "") -> list[str]:
        """Returns lines, oldest first.

        Args:
            last: the newest that many; all that there are if None.
            about: only those that concern this job, by its id.
        """
        lines = [line for line, job_id in list(self._lines) if not about or job_id == about or about in line]
        return lines if last is None else lines[max(0, len(lines) - last) :]

    def attach(self) -> None:
        """Begins to listen. The lines go nowhere else: a background thread must not print between cells."""
        if LogRing._before is None:
            LogRing._before = (self._logger.level, self._logger.propagate)
        self._logger.addHandler(self)
        self._logger.setLevel(min(self._logger.level or logging.INFO, logging.INFO))
        self._logger.propagate = False

    def detach(self) -> None:
        """Stops listening; the last one leaves the logger as the first one found it. Idempotent."""
        self._logger.removeHandler(self)
        is_last = not any(isinstance(handler, LogRing) for handler in self._logger.handlers)
        if is_last and LogRing._before is not None:
            level, self._logger.propagate = LogRing._before
            self._logger.setLevel(level)
            LogRing._before = None


def _job_of(record: logging.LogRecord) -> str:
    """Returns the id of the job that a line is about: given with it, or bound where it is logged."""
    return str(getattr(record, "job_id", "") or bound_ids().get("job_id", ""))
