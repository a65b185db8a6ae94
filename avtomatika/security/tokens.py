"""Tokens: who holds which, kept as digests only."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Generic, TypeVar

from avtomatika.errors import AuthError, ConfigError

T = TypeVar("T")

PRINTABLE = re.compile(r"^[\x21-\x7e]{1,1024}$")
"""What a token may be: an HTTP header must be able to carry it."""
_HASH = re.compile(r"^sha256:([0-9a-f]{64})$")


def new_token() -> str:
    """Returns a token that nobody can guess."""
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """Returns what a file may hold in place of the token: ``sha256:`` and 64 hexadecimal digits.

    A plain digest is enough because tokens are long and random; a short one that people invent can be found out.
    """
    # surrogateescape: a header may hold bytes that are no UTF-8, and must then be refused, not raise.
    return f"sha256:{hashlib.sha256(token.encode('utf-8', 'surrogateescape')).hexdigest()}"


def as_hash(written: str) -> str:
    """Returns the hash of a token that is written as it is, or as a hash already."""
    return written if _HASH.match(written) else hash_of(written)


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
        # What was found before: most calls show a token that was shown a moment ago. By a digest of this table, too,
        # but by the fastest one, and in one go.
        self._shown: dict[bytes, tuple[str, T]] = {}
        self._sources: dict[str, dict[bytes, T]] = {"": {}}
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
        digest = self._digest(hash_of(token))
        if self._sources[""].get(digest, identity) != identity:
            raise self._shared(self._sources[""][digest], identity)
        self._put({**self._sources, "": {**self._sources[""], digest: identity}})

    def replace(self, source: str, hashes: Mapping[str, T]) -> None:
        """Lets the tokens of a source prove these identities, and no others any more; all at once.

        Args:
            source: where they come from, such as the name of a file.
            hashes: hashes of the tokens, each with its identity.

        Raises:
            ConfigError: a token proves another identity already; nothing is changed.
        """
        self._put({**self._sources, source: {self._digest(one): identity for one, identity in hashes.items()}})

    def find(self, token: str | None) -> T | None:
        """Returns the identity that the token proves, or None."""
        found = self.find_with_hash(token) if token else None
        return None if found is None else found[1]

    def find_with_hash(self, token: str) -> tuple[str, T] | None:
        """Returns the hash of the token and the identity that it proves, or None."""
        mark = hashlib.blake2b(token.encode("utf-8", "surrogateescape"), digest_size=32, key=self._key).digest()
        found = self._shown.get(mark)
        if found is None:
            hashed = hash_of(token)
            identity = self.find_hash(hashed)
            if identity is None:
                return None
            found = self._shown[mark] = hashed, identity
        return found

    def find_hash(self, hashed: str) -> T | None:
        """Returns the identity that the token of this hash proves, or None."""
        return self._identities.get(self._digest(hashed))

    def require(self, token: str | None) -> T:
        """Returns the identity that the token proves.

        Args:
            token: the header's value, or None if the request has no such header.

        Raises:
            AuthError: there is no token, or nobody has it.
        """
        if not token:
            raise AuthError(f"the header {self.header} is missing; send your token in it.")
        found = self.find_with_hash(token)
        if found is None:
            raise AuthError(f"the token in the header {self.header} is not valid here; check it for a typing error.")
        return found[1]

    def __len__(self) -> int:
        """Returns how many tokens are known."""
        return len(self._identities)

    def __repr__(self) -> str:
        return f"TokenTable({self.header}, {len(self)} tokens)"

    def _put(self, sources: dict[str, dict[bytes, T]]) -> None:
        merged: dict[bytes, T] = {}
        for held in sources.values():
            for digest, identity in held.items():
                known = merged.setdefault(digest, identity)
                if known != identity:
                    raise self._shared(known, identity)
        self._sources, self._identities = sources, merged
        self._shown = {}

    def _shared(self, *identities: T) -> ConfigError:
        one, other = (getattr(identity, "name", identity) for identity in identities)
        return ConfigError(f"{one} and {other} have the same {self.header}; give each a secret of its own.")

    def _digest(self, hashed: str) -> bytes:
        return hmac.digest(self._key, hashed.encode(), hashlib.sha256)
