"""Identifiers, and who a message says it comes from."""

from __future__ import annotations

import re
from typing import Any

from avtomatika.errors import ProtocolError
from avtomatika.protocol.reading import read_member, read_text

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]+")
MAX_IDENTIFIER_LENGTH = 128
"""Longer ones are refused by the newest published workers."""


def is_identifier(text: str) -> bool:
    """Whether ``text`` is made of letters, digits, ``_`` and ``-`` only, and is 1 to 128 characters long."""
    return len(text) <= MAX_IDENTIFIER_LENGTH and _IDENTIFIER.fullmatch(text) is not None


def check_identifier(text: object, what: str) -> str:
    """Returns ``text`` if it is an identifier.

    Args:
        text: what to check.
        what: what it is called in an error message.

    Raises:
        ProtocolError: it is none.
    """
    if isinstance(text, str) and is_identifier(text):
        return text
    raise ProtocolError(
        f"{what} is {text!r:.160}; expected 1 to {MAX_IDENTIFIER_LENGTH} of the characters A-Z a-z 0-9 _ and -."
    )


def claimed_worker_id(body: Any) -> str:
    """Returns the ``worker_id`` inside a message, or an empty text; the server compares it with whom it let in."""
    return read_text(read_member(body, "worker_id"))
