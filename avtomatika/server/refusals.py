"""What the framework says of requests that are no valid HTTP: one short line, whoever sends them and however often."""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.web import RequestPayloadError


class _Briefly(logging.Filter):
    """Turns an error with its traceback into a line: what strangers send must neither fill the log nor stand in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Changes the record; none is left out."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, (BadHttpMessage, RequestPayloadError)):
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg = f"refused what is no valid HTTP ({type(error).__name__})" + (" from %s" if record.args else "")
            record.exc_info = None
            record.action = "request_invalid"
        return True


log = logging.getLogger(__name__)
"""Where an ``aiohttp.web.AppRunner`` is to write."""
log.addFilter(_Briefly())
