"""Where jobs live: one small contract, one file for each backend."""

from avtomatika.storage.base import Storage
from avtomatika.storage.memory import MemoryStorage

__all__ = ["MemoryStorage", "Storage"]
