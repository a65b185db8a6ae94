"""Signatures of webhooks, as the specification Standard Webhooks has them."""

from __future__ import annotations

import binascii
import datetime

from standardwebhooks import Webhook


class Signer:
    """Signs webhooks.

    Args:
        secret: ``whsec_`` and base64, or base64 alone; any other text is taken as it is. So a receiver whose library is
            given the same text has the same key.
    """

    def __init__(self, secret: str) -> None:
        try:
            self._webhook = Webhook(secret)
        except (binascii.Error, ValueError):
            self._webhook = Webhook(secret.encode())

    def headers(self, message_id: str, moment: float, body: str) -> dict[str, str]:
        """Returns the headers that prove where a message comes from.

        Args:
            message_id: the same at every attempt.
            moment: of this attempt, Unix seconds.
            body: as it is sent.
        """
        at = datetime.datetime.fromtimestamp(int(moment), datetime.UTC)
        return {"webhook-signature": self._webhook.sign(message_id, at, body)}
