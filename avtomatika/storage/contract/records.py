"""Records and counters: what is kept beside the jobs."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from avtomatika.core.document import Document


class Record(Struct, frozen=True):
    """A value that is kept under a name, beside the jobs: when a schedule is next due, a token, what handlers share.

    Args:
        space: whose names these are, such as ``schedule``.
        key: the name; not empty.
        value: what is kept.
        version: number of writes since it was last missing.
        ends_at: when it is forgotten, or None.
    """

    space: str
    key: str
    value: Document
    version: int
    ends_at: float | None = None


class RecordWrite(Struct, frozen=True):
    """A new value of a record, written only if nobody was faster.

    Args:
        space: whose names these are.
        key: the name; not empty.
        value: what is to be kept; None to forget the record.
        expected: the version that must be stored, 0 for none; None for any.
        ttl: seconds that the value is kept; None for ever.
    """

    space: str
    key: str
    value: Document | None
    expected: int | None = None
    ttl: float | None = None


class Count(Struct, frozen=True):
    """What came of counting.

    Args:
        granted: whether it was counted.
        total: what is counted in this window, this time included if it was granted.
        resets_at: when the window ends and counting begins anew.
    """

    granted: bool
    total: int
    resets_at: float


class RecordStorage(Protocol):
    """What a storage keeps beside the jobs."""

    async def find_record(self, space: str, key: str) -> Record | None:
        """Returns the record under ``key`` in ``space`` if its time has not run out."""
        ...

    async def put_record(self, write: RecordWrite) -> bool:
        """Writes a record if the version stored is the one expected; of writes that race, exactly one then succeeds.

        Args:
            write: space, key and value, with the version that is expected, if any, and seconds to live.

        Returns:
            Whether it was written.

        Raises:
            DocumentError: the space or the key is no text.
        """
        ...

    async def list_records(self, space: str, after: str = "", limit: int = 100) -> list[Record]:
        """Returns up to ``limit`` records of a space, by key, those behind the key ``after``."""
        ...

    async def count(self, key: str, limit: int, ttl: float, amount: int = 1) -> Count:
        """Counts ``amount`` under a key, unless that would make more than ``limit``; then nothing is counted.

        The first count opens a window of ``ttl`` seconds; whatever is counted until it ends is added up. A negative
        amount gives back, never below 0, and is always granted; 0 only looks. Neither opens a window.

        Raises:
            DocumentError: the key is no text.
        """
        ...
