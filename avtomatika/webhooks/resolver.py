"""Names to addresses, each checked: the connection goes to an address that was looked at, and to no other."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from aiohttp.abc import AbstractResolver, ResolveResult

from avtomatika.webhooks.targets import TargetPolicy

_LOOK_UP_SECONDS = 5.0


async def addresses_of(host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[str]:
    """Returns all addresses of a host: also of one that is an address itself, however it is written.

    Raises:
        OSError: it has none, or nobody answered in time.
    """
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_LOOK_UP_SECONDS):
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class CheckedResolver(AbstractResolver):
    """Resolves a name once, for one connection, and lets only allowed addresses through.

    Args:
        policy: returns what is allowed now.
    """

    def __init__(self, policy: Callable[[], TargetPolicy]) -> None:
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Returns the addresses; the connection is made to one of them, without another look-up.

        Raises:
            TargetError: one of them is not allowed.
            OSError: the host has none.
        """
        found = await addresses_of(host, port, family)
        self._policy().check(host.lower(), found)
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": socket.IPPROTO_TCP,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for address in found
        ]

    async def close(self) -> None:
        """Does nothing: no connection is kept."""
