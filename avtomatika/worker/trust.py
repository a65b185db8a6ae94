"""Whether a task may be done: the engine's signature, and what the task's own policy allows."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from avtomatika.protocol.reading import read_mapping, read_names, read_text
from avtomatika.security.signatures import key_of, sign_task


class Trust:
    """Checks tasks before they are done.

    Args:
        secret: the key with which the engine signs tasks, or empty.
        required: with a key, a task without a signature is refused.
    """

    def __init__(self, secret: str, *, required: bool) -> None:
        self._key = key_of(secret) if secret else None
        self._required = required

    def refusal(self, body: Any) -> str:
        """Returns why a task is not to be done, or an empty text.

        Args:
            body: the task as it came.
        """
        task = read_mapping(body)
        allowed = read_names(read_mapping(task.get("policy")).get("allowed_skills"))
        if allowed is not None and task.get("type") not in allowed:
            return f"the policy of the task allows {', '.join(allowed) or 'no skill'}, not '{task.get('type')}'."
        return "" if self._key is None else self._wrong_signature(task)

    def _wrong_signature(self, task: Mapping[str, Any]) -> str:
        told = read_text(task.get("sig"))
        if not told:
            if not self._required:
                return ""
            return "the task carries no signature, and this worker has ORCHESTRATOR_SECRET_KEY. Set TASK_SIGNING_KEY."
        assert self._key is not None  # noqa: S101 - for the type checker
        signed = sign_task({name: value for name, value in task.items() if name != "sig"}, self._key)
        if hmac.compare_digest(signed["sig"].encode(), told.encode("utf-8", "surrogatepass")):
            return ""
        return "the signature of the task is wrong. Compare ORCHESTRATOR_SECRET_KEY with the engine's TASK_SIGNING_KEY."
