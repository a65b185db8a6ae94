"""Logging: how the lines of the logger ``avtomatika`` look, and which job, task or worker they are about."""

from __future__ import annotations

import datetime
import logging
import re
from typing import Literal, TextIO

from pythonjsonlogger.json import JsonFormatter

from avtomatika.errors import StorageError
from avtomatika.log_context import CONTEXT_FIELDS, bound_ids

LOGGER = "avtomatika"
"""The one logger that is set up; all modules of the package log below it."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class ContextFilter(logging.Filter):
    """Writes the ids of ``log_context`` into a record; for handlers, because a logger's filter misses its children."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Adds the ids that the record does not have yet; lets every record pass."""
        for name, value in bound_ids().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def setup_logging(
    level: str = "INFO",
    style: Literal["json", "text"] = "json",
    tz: datetime.tzinfo = datetime.UTC,
    stream: TextIO | None = None,
    logger_name: str = LOGGER,
) -> None:
    """Lets a logger write to a stream. For programs (``engine.run()``, the commands), never for imports.

    All other loggers stay as they are. A second call replaces what the first one did.

    Args:
        level: the least severity, as in ``LOG_LEVEL``.
        style: one JSON object a line, or text for people.
        tz: the zone that moments are written in.
        stream: where to; standard error if None.
        logger_name: the logger; the package's own unless a program wants all (an empty name).
    """
    handler = _EngineHandler(stream)
    handler.addFilter(_MomentFilter(tz))
    handler.addFilter(ContextFilter())
    handler.addFilter(_OutageFilter())
    handler.setFormatter(_json_lines() if style == "json" else _TextLines())
    logger = logging.getLogger(logger_name)
    for old in [old for old in logger.handlers if isinstance(old, _EngineHandler)]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False  # else a root handler of the program prints every line a second time


class _EngineHandler(logging.StreamHandler[TextIO]):
    """A handler that ``setup_logging`` recognises as its own."""


class _MomentFilter(logging.Filter):
    """Writes when a record was made into it, in ISO 8601 with milliseconds and offset."""

    def __init__(self, tz: datetime.tzinfo) -> None:
        super().__init__()
        self._tz = tz

    def filter(self, record: logging.LogRecord) -> bool:
        record.timestamp = datetime.datetime.fromtimestamp(record.created, self._tz).isoformat(timespec="milliseconds")
        return True


class _OutageFilter(logging.Filter):
    """Makes one line of a storage that does not answer; at the level DEBUG the traceback stays.

    Every part of an engine says so every second, and the sentence says all that there is to know.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, StorageError) and not logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            record.msg, record.args, record.exc_info = f"{record.getMessage()}: {error}", (), None
        return True


def _json_lines() -> logging.Formatter:
    """Returns what writes one JSON object a line: timestamp, level, logger, message, ids and what ``extra`` holds."""
    return JsonFormatter(
        "{timestamp}{levelname}{name}{message}",
        style="{",
        rename_fields={"levelname": "level", "name": "logger"},
        json_ensure_ascii=False,
    )


class _TextLines(logging.Formatter):
    """Text for people: moment, severity, logger, message, ids."""

    def __init__(self) -> None:
        super().__init__("{timestamp} {levelname:<8} {name}: {message}", style="{")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        # A message may quote what a worker or client sent: it must not be able to look like a line of its own, nor to
        # send commands to the terminal.
        line = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", super().formatMessage(record)).replace("\n", "\n    ")
        ids = " ".join(f"{name}={getattr(record, name)}" for name in CONTEXT_FIELDS if hasattr(record, name))
        return f"{line} [{ids}]" if ids else line
