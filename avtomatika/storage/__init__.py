"""Where jobs live: one small contract, one file for each backend."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from avtomatika.storage.base import Storage
from avtomatika.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from avtomatika.storage.redis import RedisStorage
    from avtomatika.storage.sqlite import SQLiteStorage

__all__ = ["MemoryStorage", "RedisStorage", "SQLiteStorage", "Storage"]

_HOMES = {"RedisStorage": "redis", "SQLiteStorage": "sqlite"}


def __getattr__(name: str) -> Any:
    """Imports a backend when it is first used: whoever keeps jobs in memory needs none of the others."""
    if name not in _HOMES:
        raise AttributeError(f"module 'avtomatika.storage' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"avtomatika.storage.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names, used or not."""
    return sorted({*globals(), *__all__})
