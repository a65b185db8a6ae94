"""The ring: the last log lines of the workbench, kept for reading instead of printed between cells."""

from __future__ import annotations

import logging
from collections import deque

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class LogRing(logging.Handler):
    """Keeps the newest lines of the logger ``avtomatika``.

    Args:
        size: how many lines.
    """

    def __init__(self, size: int = 2000) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter(_FORMAT))
        self._lines: deque[str] = deque(maxlen=size)
        self._logger = logging.getLogger("avtomatika")
        self._before = (self._logger.level, self._logger.propagate)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one line."""
        self._lines.append(self.format(record))

    def lines(self, last: int | None = None) -> list[str]:
        """Returns the last lines, oldest first; all that there are if ``last`` is None."""
        lines = list(self._lines)
        return lines if last is None else lines[-last:]

    def attach(self) -> None:
        """Begins to listen. The lines go nowhere else: a background thread must not print between cells."""
        self._logger.addHandler(self)
        self._logger.setLevel(min(self._logger.level or logging.INFO, logging.INFO))
        self._logger.propagate = False

    def detach(self) -> None:
        """Stops listening and leaves the logger as it was."""
        self._logger.removeHandler(self)
        level, self._logger.propagate = self._before
        self._logger.setLevel(level)
