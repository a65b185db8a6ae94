"""The certificates that a worker trusts, and its own, which may be renewed while it works."""

from __future__ import annotations

import contextlib
import logging
import ssl
from pathlib import Path

from avtomatika.errors import ConfigError
from avtomatika.security.tls import load_certificate
from avtomatika.worker.settings import Settings

logger = logging.getLogger("avtomatika.worker")


class Certificates:
    """What a worker speaks TLS with.

    Args:
        settings: name the files.

    Raises:
        ConfigError: a file cannot be read.

    Attributes:
        context: for connections; None if no file is named.
    """

    def __init__(self, settings: Settings) -> None:
        self._cert, self._key = settings.tls_cert, settings.tls_key or settings.tls_cert
        self._seen = self._looks()
        self.context: ssl.SSLContext | None = None
        if not (settings.tls_ca or self._cert):
            return
        try:
            self.context = ssl.create_default_context(cafile=settings.tls_ca or None)
        except OSError as error:  # ssl.SSLError is one, too
            raise ConfigError(f"TLS_CA_PATH ({settings.tls_ca}) cannot be read: {error}.") from error
        if self._cert:
            load_certificate(self.context, self._cert, self._key)

    def look(self) -> None:
        """Takes a certificate that has been renewed since; connections that are open keep the old one."""
        if self.context is None or not self._cert:
            return
        now = self._looks()
        # A file that is gone is about to be replaced.
        if now == self._seen or None in now:
            return
        self._seen = now
        try:
            load_certificate(self.context, self._cert, self._key)
        except ConfigError as error:
            # Perhaps one of the two files is newer than the other: then the next look finds them both.
            logger.error("the certificate was renewed, but cannot be used: %s", error)  # noqa: TRY400 - says it all
        else:
            logger.info("the certificate %s was renewed", self._cert)

    def _looks(self) -> list[tuple[int, int, int] | None]:
        """Returns what tells one content of the files from another."""
        looks: list[tuple[int, int, int] | None] = []
        for path in (self._cert, self._key):
            found = None
            with contextlib.suppress(OSError):
                facts = Path(path).stat()
                found = facts.st_mtime_ns, facts.st_size, facts.st_ino
            looks.append(found)
        return looks
