"""The HTTP client: the same calls for asyncio (``AsyncClient``) and for plain code (``Client``)."""

from __future__ import annotations

from avtomatika.client.asynchronous import AsyncClient
from avtomatika.client.following import TERMINAL_STATUSES
from avtomatika.client.streaming import Event
from avtomatika.client.synchronous import Client

__all__ = ["TERMINAL_STATUSES", "AsyncClient", "Client", "Event"]
