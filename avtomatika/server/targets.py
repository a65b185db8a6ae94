"""Webhooks of new jobs: whoever creates one learns at once that it could not be delivered."""

from __future__ import annotations

from avtomatika.server.bodies import RequestError
from avtomatika.webhooks.resolver import addresses_of
from avtomatika.webhooks.targets import TargetError, TargetPolicy, parse_target


class Targets:
    """What a new job may name as its ``webhook_url``."""

    def __init__(self) -> None:
        self.policy = TargetPolicy()

    async def check(self, url: object) -> str:
        """Returns the address if webhooks may go there now; they are checked again at each delivery.

        A host that cannot be resolved is taken: its name may be known by the time the job ends.

        Raises:
            RequestError: it is none, or it must not be reached from here (400).
        """
        try:
            target = parse_target(url)
            if not self.policy.is_exempt(target.host):
                self.policy.check(target.host, await _addresses(target.host))
        except TargetError as error:
            raise RequestError(400, "invalid_webhook_url", str(error)) from None
        return target.url


async def _addresses(host: str) -> list[str]:
    try:
        return await addresses_of(host)
    except (OSError, UnicodeError):
        return []
