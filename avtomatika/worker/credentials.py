"""What proves to one engine who a worker is: its configured token, or short-lived ones that the engine gives it.

An engine hands such a pair out with the answer to a registration, or when it is asked. The access token goes into the
header in place of the configured token; the refresh token brings the next pair. When a call is answered 401, the access
token has ended: the next pair is fetched and the call made again (protocol, section 3.6).
"""

from __future__ import annotations

from typing import Any

from avtomatika.protocol.reading import read_mapping, read_number, read_text

_DUE = 0.8
"""Part of its life after which an access token is renewed before anybody refuses it."""
_REST = 5.0
"""Seconds without another try after one that brought nothing."""


class Credentials:
    """The tokens for one engine.

    Args:
        configured: the token that the worker was given.
    """

    def __init__(self, configured: str) -> None:
        self._configured = configured
        self._refresh = ""
        self._due_at: float | None = None
        self._rests_until = 0.0
        self.token = configured
        """What goes into the header."""

    def __repr__(self) -> str:
        return f"Credentials(issued={self.is_issued})"

    @property
    def is_issued(self) -> bool:
        """Whether the token in the header is one that the engine has issued."""
        return self._due_at is not None

    def is_due(self, now: float) -> bool:
        """Whether the token should be renewed although it still holds."""
        return self._due_at is not None and now >= max(self._due_at, self._rests_until)

    def may_ask(self, now: float) -> bool:
        """Whether there was no vain try just now."""
        return now >= self._rests_until

    def give_up(self, now: float) -> None:
        """Notes a try that brought nothing."""
        self._rests_until = now + _REST

    def learn(self, answer: Any, now: float) -> bool:
        """Takes tokens from an answer; returns whether there were some.

        Args:
            answer: the decoded body of an answer to a registration or to a call for tokens.
            now: Unix seconds.
        """
        told = read_mapping(answer)
        token, lasts = read_text(told.get("access_token")), read_number(told.get("expires_in"))
        if not token or lasts is None:
            return False
        self.token, self._refresh = token, read_text(told.get("refresh_token"))
        self._due_at, self._rests_until = now + _DUE * max(lasts, 0.0), 0.0
        return True

    def ways(self) -> list[tuple[str, str]]:
        """Returns how the next tokens can be had, the best way first.

        Each is a token for the header, and the refresh token to send or an empty text. An access token that has ended
        is good for a while; the configured one is asked with last, for an engine that has forgotten all others.
        """
        ways = [(self.token, self._refresh)] if self._refresh else []
        ways.append((self.token, ""))
        if self.token != self._configured:
            ways.append((self._configured, ""))
        return ways
