"""A receiver of webhooks: checks who sent one, and does nothing twice."""

from __future__ import annotations

import os
import sys

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError


class Receiver:
    """Takes webhooks at ``POST /hooks``.

    Args:
        secret: the engine's ``WEBHOOK_SECRET``.
    """

    def __init__(self, secret: str) -> None:
        self._signed = Webhook(secret)
        self._seen: set[str] = set()  # a program that may be restarted keeps these in its database

    async def receive(self, request: web.Request) -> web.Response:
        """Answers 204 to what is known and right, 401 to what somebody else has sent."""
        try:
            event = self._signed.verify(await request.text(), dict(request.headers))
        except WebhookVerificationError as error:
            print(f"refused: {error}", flush=True)
            return web.Response(status=401)
        number = request.headers["webhook-id"]
        if number not in self._seen:  # it comes at least once, and every time with the same id
            self._seen.add(number)
            print(f"{event['event']} {event['job_id']}: {event['result']}", flush=True)
        return web.Response(status=204)


async def serve() -> web.Application:
    """Returns the application."""
    app = web.Application()
    app.router.add_post("/hooks", Receiver(os.environ["WEBHOOK_SECRET"]).receive)
    return app


if __name__ == "__main__":
    web.run_app(serve(), host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8090)
