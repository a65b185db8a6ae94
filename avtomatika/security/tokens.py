"""Tokens: who holds which, kept as digests only."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Generic, TypeVar

from avtomatika.errors import AuthError, ConfigError

T = TypeVar("T")


class TokenTable(Generic[T]):
    """Which identity a token proves.

    The identity is whatever the caller wants to find again: a client, the name of a worker. The table keeps no token,
    so nothing that reads or prints it can give one away.

    Args:
        header: the HTTP header that carries the tokens, for messages.
    """

    # A dict finds a key by comparing bytes until they differ, so its time could tell a guesser how much of a digest is
    # right. The digest is therefore made with a key of this table that nobody outside knows: a guesser cannot choose
    # the digest of a guess, so its time tells nothing, and one look-up serves a thousand clients as fast as one.

    def __init__(self, header: str) -> None:
        self.header = header
        self._key = secrets.token_bytes(32)
        self._identities: dict[bytes, T] = {}

    def add(self, token: str, identity: T) -> None:
        """Lets ``token`` prove ``identity``; several tokens may prove the same one.

        Raises:
            ConfigError: the token is empty, or proves another identity already.
        """
        if not token:
            raise ConfigError(
                f"the {self.header} of {identity} is empty; give it a secret, such as 32 random characters."
            )
        known = self._identities.setdefault(self._digest(token), identity)
        if known != identity:
            raise ConfigError(f"{known} and {identity} have the same {self.header}; give each a secret of its own.")

    def find(self, token: str | None) -> T | None:
        """Returns the identity that the token proves, or None."""
        return self._identities.get(self._digest(token)) if token else None

    def require(self, token: str | None) -> T:
        """Returns the identity that the token proves.

        Args:
            token: the header's value, or None if the request has no such header.

        Raises:
            AuthError: there is no token, or nobody has it.
        """
        if not token:
            raise AuthError(f"the header {self.header} is missing; send your token in it.")
        identity = self.find(token)
        if identity is None:
            raise AuthError(f"the token in the header {self.header} is not valid here; check it for a typing error.")
        return identity

    def __len__(self) -> int:
        """Returns how many tokens are known."""
        return len(self._identities)

    def __repr__(self) -> str:
        return f"TokenTable({self.header}, {len(self)} tokens)"

    def _digest(self, token: str) -> bytes:
        # surrogateescape: a header may hold bytes that are no UTF-8, and must then be refused, not raise.
        return hmac.digest(self._key, token.encode("utf-8", "surrogateescape"), hashlib.sha256)
