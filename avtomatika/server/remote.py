"""Where a request comes from: the connection's other end, or what a proxy that is trusted says of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from aiohttp import web
from yarl import URL

from avtomatika.errors import ConfigError
from avtomatika.server.keys import SETTINGS_KEY

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNKNOWN = "unknown"


def parse_networks(text: str) -> tuple[Network, ...]:
    """Reads a list of addresses and networks, separated by commas.

    Raises:
        ConfigError: one of them is none.
    """
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ipaddress.ip_network(part, strict=False))
        except ValueError:
            raise ConfigError(
                f"TRUSTED_PROXIES has '{part}', which is neither an address nor a network such as 10.0.0.0/8. "
                "Separate several by commas."
            ) from None
    return tuple(found)


def remote_address(request: web.Request) -> str:
    """Returns the address of whoever sent a request.

    ``X-Forwarded-For`` counts as far as it was written by proxies that the settings name; anybody could send it.
    """
    trusted = request.app[SETTINGS_KEY].trusted_proxies
    address = request.remote or ""
    if not _is_one_of(address, trusted):
        return address or UNKNOWN
    said = [part.strip() for line in request.headers.getall("X-Forwarded-For", ()) for part in line.split(",")]
    for part in reversed(said):
        if not _is_address(part):
            break
        address = part
        if not _is_one_of(part, trusted):
            break
    return address


def own_url(request: web.Request) -> URL:
    """Returns the address at which whoever sent a request reaches this engine."""
    public_url = request.app[SETTINGS_KEY].public_url
    return URL(public_url) if public_url else request.url.origin()


def was_forwarded(request: web.Request) -> bool:
    """Whether a proxy says that it has passed the request on."""
    return "X-Forwarded-For" in request.headers or "Forwarded" in request.headers


def _is_one_of(address: str, networks: Sequence[Network]) -> bool:
    if not _is_address(address):
        return False
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in networks if network.version == found.version)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
