"""Opens storages on a Redis of the tests, and looks at what they have stored there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import redis
import redis.asyncio

from avtomatika.storage import RedisStorage
from tests.redis_server import RedisServer

MakeServer = Callable[..., RedisServer]


@asynccontextmanager
async def opened(server: RedisServer, prefix: str = "p", **options: Any) -> AsyncIterator[RedisStorage]:
    """Gives an open storage."""
    storage = RedisStorage(server.client(), prefix=prefix, **options)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


def plain_client(server: RedisServer) -> redis.Redis:
    """Returns a client to look at what is stored."""
    return redis.Redis(port=server.port)


def keys_of(server: RedisServer, prefix: str) -> set[str]:
    """Returns the names of the keys under a prefix."""
    with plain_client(server) as client:
        return {key.decode().removeprefix(f"{{{prefix}}}:") for key in client.scan_iter(match=f"{{{prefix}}}:*")}
