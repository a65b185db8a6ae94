"""Where webhooks may go: not to what only this machine or its network reaches, unless somebody allows it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, urlsplit

from avtomatika.errors import AvtomatikaError

MAX_LENGTH = 2048
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REMEDY = "Set WEBHOOK_ALLOWED_HOSTS or WEBHOOK_ALLOW_PRIVATE=true if that is meant."


class TargetError(AvtomatikaError, ValueError):
    """A webhook may not go there."""

    code = "invalid_webhook_url"


@dataclass(frozen=True, slots=True)
class Target:
    """An address that webhooks are to be sent to.

    Args:
        url: as given.
        host: its host, in small letters, without brackets.
        endpoint: scheme, host and port, for messages and for the circuit breaker.
    """

    url: str
    host: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class TargetPolicy:
    """Which targets are allowed besides public ones.

    Args:
        allow_private: all of them.
        allowed_hosts: names, addresses or patterns such as ``*.internal``.
    """

    allow_private: bool = False
    allowed_hosts: tuple[str, ...] = ()

    def is_exempt(self, host: str) -> bool:
        """Whether a host may be private."""
        return self.allow_private or any(fnmatchcase(host, pattern) for pattern in self.allowed_hosts)

    def check(self, host: str, addresses: Iterable[str]) -> None:
        """Checks every address of a host: whoever connects may get any of them.

        Raises:
            TargetError: one is not public.
        """
        if self.is_exempt(host):
            return
        for address in addresses:
            if not is_public(address):
                raise TargetError(
                    f"the webhook's host '{host}' leads to {address}, which is not a public address. {_REMEDY}"
                )


def parse_hosts(text: str) -> tuple[str, ...]:
    """Reads a list of hosts, separated by commas."""
    return tuple(part.strip().lower().strip("[]") for part in text.split(",") if part.strip())


def parse_target(url: object) -> Target:
    """Reads the address of a webhook.

    Raises:
        TargetError: it is none, or holds a password.
    """
    if not isinstance(url, str) or len(url) > MAX_LENGTH or any(ord(sign) <= 32 or ord(sign) == 127 for sign in url):
        raise TargetError(
            f"'webhook_url' must be an address such as https://example.com/hook, at most {MAX_LENGTH} characters."
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise TargetError("'webhook_url' has a host or port that cannot be read.") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise TargetError("'webhook_url' must begin with https:// or http:// and a host.")
    if parts.username is not None or parts.password is not None:
        raise TargetError(
            "'webhook_url' holds a user or password, which would be stored with the job. Leave it out; the signature "
            "proves where a webhook comes from (WEBHOOK_SECRET)."
        )
    return Target(url, host.lower().rstrip("."), _endpoint(parts, host, port))


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet, also the one that is wrapped in an IPv6 address."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        wrapped = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in _NAT64:
            wrapped = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(str(wrapped))
    return found.is_global and not found.is_multicast


def _endpoint(parts: SplitResult, host: str, port: int | None) -> str:
    default = 443 if parts.scheme == "https" else 80
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port or default}".lower()
