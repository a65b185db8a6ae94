"""Short-lived tokens for workers: issued for a proof, renewed by a token that can be used once.

What is stored are hashes. A refresh token that is used a second time was stolen, or its thief was faster: all tokens
that come from the same proof end. Only a repetition within a minute is taken for an answer that was lost on the way.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from typing import Any

from avtomatika.core.document import Document
from avtomatika.errors import AuthError
from avtomatika.security.tokens import hash_of, new_token
from avtomatika.storage.base import Record, RecordWrite, Storage

log = logging.getLogger(__name__)

_ACCESS, _REFRESH, _REVOKED = "sts-access", "sts-refresh", "sts-revoked"
# SDK 1.0b4 to 1.0b16 show the token that has ended when they ask for the next one (protocol, section 3.6).
GRACE_SECONDS = 24 * 3600.0
# A worker whose refresh token has ended is out until somebody restarts it, so it lasts long.
REFRESH_SECONDS = 30 * 24 * 3600.0
_LOST_ANSWER_SECONDS = 60.0
# How long a revocation may need to reach an engine that has just seen the token.
_CACHE_SECONDS = 5.0
_MAX_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class Pass:
    """What an access token proves.

    Args:
        names: ids that its bearer may have, or patterns of them.
        origin: hash of the token that it was issued for; empty for a certificate.
        family: which proof it comes from.
        expires_at: when it ends.
    """

    names: tuple[str, ...]
    origin: str
    family: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Issued:
    """A pair of tokens, told to the worker and then forgotten.

    Args:
        access_token: proves who the worker is.
        refresh_token: brings the next pair, once.
        expires_in: seconds until the access token ends.
        granted: what it proves.
    """

    access_token: str
    refresh_token: str
    expires_in: int
    granted: Pass

    def __repr__(self) -> str:
        return f"Issued(expires_in={self.expires_in})"


class TokenService:
    """Issues, finds and renews tokens.

    Args:
        storage: where their hashes are.
        lifetime: seconds that an access token lasts.
    """

    def __init__(self, storage: Storage, lifetime: int) -> None:
        self._storage = storage
        self._lifetime = lifetime
        self._cache: dict[str, tuple[Pass, float]] = {}

    async def issue(self, names: tuple[str, ...], origin: str, family: str = "") -> Issued:
        """Makes a pair of tokens.

        Args:
            names: ids that their bearer may have, or patterns.
            origin: hash of the token that proves it, or empty.
            family: of an earlier pair that this one follows; empty for a new one.
        """
        now = await self._storage.now()
        granted = Pass(names, origin, family or uuid.uuid4().hex, now + self._lifetime)
        access, refresh = new_token(), new_token()
        await self._put(_ACCESS, hash_of(access), granted, {}, self._lifetime + GRACE_SECONDS)
        await self._put(_REFRESH, hash_of(refresh), granted, {"used_at": None}, REFRESH_SECONDS)
        return Issued(access, refresh, self._lifetime, granted)

    async def find(self, token: str) -> Pass | None:
        """Returns what an access token proves, also for a while after its end; None if it proves nothing."""
        key, now = hash_of(token), await self._storage.now()
        cached = self._cache.get(key)
        if cached is not None and now < cached[1]:
            return cached[0]
        record = await self._storage.find_record(_ACCESS, key)
        if record is None:
            return None
        found = _read(record)
        if await self._storage.find_record(_REVOKED, found.family) is not None:
            return None
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[key] = (found, now + _CACHE_SECONDS)
        return found

    async def now(self) -> float:
        """Returns the moment that tokens end by."""
        return await self._storage.now()

    async def refresh(self, token: str) -> Issued:
        """Makes the next pair for a refresh token, which is used up by it.

        Raises:
            AuthError: it is unknown, has ended or is revoked; or it was used before, and everything that comes from the
                same proof ends with this.
        """
        key = hash_of(token)
        while True:
            record = await self._storage.find_record(_REFRESH, key)
            now = await self._storage.now()
            if record is None:
                raise AuthError("the refresh token is unknown or has ended; ask for a new one at /_worker/auth/token.")
            granted, used_at = _read(record), record.value.value()["used_at"]
            if await self._storage.find_record(_REVOKED, granted.family) is not None:
                raise AuthError("the refresh token is revoked; restart the worker with its configured token.")
            if used_at is not None and now - used_at > _LOST_ANSWER_SECONDS:
                await self._revoke(granted)
                raise AuthError("the refresh token was used before; all tokens that came from it are revoked.")
            if used_at is not None or await self._put(
                _REFRESH, key, granted, {"used_at": now}, REFRESH_SECONDS, expected=record.version
            ):
                return await self.issue(granted.names, granted.origin, granted.family)

    async def _revoke(self, granted: Pass) -> None:
        log.warning(
            "a refresh token was used twice: somebody else may have it; its tokens are revoked",
            extra={"action": "tokens_revoked", "worker_id": granted.names[0]},
        )
        ttl = REFRESH_SECONDS + self._lifetime + GRACE_SECONDS
        await self._storage.put_record(RecordWrite(_REVOKED, granted.family, Document.of({}), None, ttl))
        self._cache.clear()

    async def _put(
        self, space: str, key: str, granted: Pass, more: dict[str, Any], ttl: float, expected: int | None = None
    ) -> bool:
        value = {
            "names": list(granted.names),
            "origin": granted.origin,
            "family": granted.family,
            "expires_at": granted.expires_at,
            **more,
        }
        return await self._storage.put_record(RecordWrite(space, key, Document.of(value), expected, ttl))


def _read(record: Record) -> Pass:
    value = record.value.value()
    return Pass(tuple(value["names"]), value["origin"], value["family"], value["expires_at"])
