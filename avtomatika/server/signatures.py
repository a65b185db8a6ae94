"""Whether a worker's message is signed by the worker: checked where there is a signature, demanded where it is set so.

Published workers from 1.0b12 on sign with the token of their environment, which need not be the one in their header. So
the keys that are tried are the global token, the header's, and those that the worker showed before.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from avtomatika.protocol.heartbeats import OFFLINE
from avtomatika.protocol.reading import read_mapping, read_member, read_number, read_text
from avtomatika.protocol.results import CANCELLED, FAILURE
from avtomatika.security.signatures import Key, Kind, is_signed_by, key_of, sign_task

log = logging.getLogger(__name__)

Mode = Literal["off", "verify", "require"]
FRESH_SECONDS = 300.0
"""How far the time stamp of a signed registration or heartbeat may be from the engine's clock."""
_KEYS_EACH = 4
_REMEMBERED = 10_000
# Above this the check is done in a thread: it takes about a second for a hundred megabytes.
_LARGE = 256 * 1024


@dataclass(slots=True)
class _Known:
    """What a worker has shown.

    Args:
        keys: by a digest of the token that each was made from, the last used last.
        signs: its last registration was signed.
    """

    keys: dict[bytes, Key] = field(default_factory=dict)
    signs: bool = False


class Signatures:
    """Checks the signatures of workers, and signs what goes to them."""

    def __init__(self) -> None:
        self._mode: Mode = "off"
        self._global: Key | None = None
        self._task_key: Key | None = None
        self._known: dict[str, _Known] = {}
        self.verified = 0
        """How many signatures were found right."""

    def configure(self, mode: Mode, global_token: str, task_key: str) -> None:
        """Sets what is checked and signed.

        Args:
            mode: ``off``, ``verify`` (a wrong signature is refused) or ``require`` (a missing one as well, of a worker
                whose last registration was signed).
            global_token: which any worker may have.
            task_key: what workers have in ORCHESTRATOR_SECRET_KEY; empty to sign no tasks.
        """
        self._mode = mode
        self._global = key_of(global_token)
        self._task_key = key_of(task_key) if task_key else None

    def sign_task(self, task: dict[str, Any]) -> dict[str, Any]:
        """Returns the task with its signature, if tasks are signed."""
        return task if self._task_key is None else sign_task(task, self._task_key)

    async def refusal(
        self,
        kind: Kind,
        raw: bytes,
        body: Any,
        worker_id: str,
        token: str,
        now: float,
        *,
        is_issued: Callable[[], bool],
    ) -> str:
        """Returns why a message is not taken for the worker's, or an empty text.

        Args:
            kind: which message it is.
            raw: as it was sent.
            body: as decoded.
            worker_id: who is known to have sent it.
            token: of the header.
            now: the moment.
            is_issued: whether the engine issued the token; then the worker's own may never have been seen here.
        """
        if self._mode == "off":
            return ""
        known = self._remember(worker_id, token)
        security = read_mapping(read_member(body, "security"))
        signature = read_text(security.get("signature"))
        if kind is Kind.REGISTER:
            known.signs = bool(signature)
        if not signature:
            return self._missing(kind, body, known)
        signer = read_text(security.get("signer_id"))
        if signer and signer != worker_id:
            return f"the message of worker '{worker_id}' is signed by '{signer}'."
        keys = [*reversed(known.keys.values()), *([self._global] if self._global is not None else [])]
        check = asyncio.to_thread if len(raw) > _LARGE else _at_once
        if await check(is_signed_by, signature, raw, kind, keys):
            self.verified += 1
            return self._stale(kind, body, now)
        if self._mode == "verify" and is_issued():
            log.info("a signature is made with a token that was never seen here", extra={"worker_id": worker_id})
            return ""
        return (
            "the signature does not match: the message was changed on its way, or the worker signs with a WORKER_TOKEN "
            "that this engine does not know. Give it the token that it sends, or set WORKER_SIGNATURES=off."
        )

    def _remember(self, worker_id: str, token: str) -> _Known:
        known = self._known.pop(worker_id, None) or _Known()
        self._known[worker_id] = known  # the last that was heard of is forgotten last
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        if token:
            digest = hashlib.blake2b(token.encode("utf-8", "surrogateescape"), digest_size=32).digest()
            known.keys[digest] = known.keys.pop(digest) if digest in known.keys else key_of(token)
            if len(known.keys) > _KEYS_EACH:
                del known.keys[next(iter(known.keys))]
        return known

    def _missing(self, kind: Kind, body: Any, known: _Known) -> str:
        """Says whether a message without a signature is refused: never those that 1.0b12 and 1.0b13 do not sign."""
        if self._mode != "require" or not known.signs or kind is Kind.REGISTER:
            return ""
        status = read_text(read_member(body, "status"))
        if (kind is Kind.HEARTBEAT and status == OFFLINE) or (kind is Kind.RESULT and status in {FAILURE, CANCELLED}):
            return ""
        return "the message is not signed, but the worker's registration was (WORKER_SIGNATURES=require)."

    def _stale(self, kind: Kind, body: Any, now: float) -> str:
        # Results are sent again minutes later as they are.
        at = read_number(read_member(body, "timestamp"))
        if self._mode != "require" or kind not in {Kind.REGISTER, Kind.HEARTBEAT} or at is None:
            return ""
        if abs(now - at) <= FRESH_SECONDS:
            return ""
        return (
            f"the message was signed {abs(now - at):.0f} s {'ago' if at < now else 'ahead of its time'}; at most "
            f"{FRESH_SECONDS:g} s are allowed. Set the clocks of the worker's machine and of the engine's."
        )


async def _at_once(check: Any, *arguments: Any) -> bool:
    return bool(check(*arguments))
