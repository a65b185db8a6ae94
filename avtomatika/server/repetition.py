"""Repeated requests: the Idempotency-Key, by which a creation that is sent twice happens once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from avtomatika.server.bodies import RequestError
from avtomatika.storage.base import Dedupe, Duplicate

_SECONDS = 24 * 3600.0
_MAX_KEY_LENGTH = 255


def dedupe_of(request: web.Request, client: str, what: str, body: Mapping[str, Any]) -> Dedupe | None:
    """Returns what makes the creation happen once, or None if the request has no key.

    Args:
        request: the request.
        client: who sends it; keys of different clients have nothing to do with each other.
        what: what is created, such as the name of a blueprint.
        body: of the request.

    Raises:
        RequestError: the key is too long.
    """
    key = request.headers.get("Idempotency-Key")
    if not key:
        return None
    if len(key) > _MAX_KEY_LENGTH:
        raise RequestError(
            400,
            "invalid_header",
            f"the Idempotency-Key has {len(key)} characters; at most {_MAX_KEY_LENGTH} are allowed.",
        )
    return Dedupe(f"create:{client}:{key}", _fingerprint(what, body), _SECONDS)


def refuse_conflict(job_id: str, earlier: Duplicate, what: str, body: Mapping[str, Any]) -> None:
    """Refuses a request whose key was used for another one.

    Args:
        job_id: the job that the earlier request made.
        earlier: what is known of that request.
        what: as for ``dedupe_of``.
        body: likewise.

    Raises:
        RequestError: it was another one; 409.
    """
    if earlier.fingerprint != _fingerprint(what, body):
        raise RequestError(
            409,
            "idempotency_conflict",
            f"the Idempotency-Key was used for another request, which made job '{job_id}'. Use a new key for new data.",
            job_id=job_id,
        )


def _fingerprint(what: str, body: Mapping[str, Any]) -> str:
    canonical = json.dumps([what, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
