"""How processes that share a file hear of each other's steps: a short log of signals, beside what they tell of."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from typing import Any

from avtomatika.core.document import Document
from avtomatika.storage.base import Signal
from avtomatika.storage.records import queue_of
from avtomatika.storage.sqlite_queries import QUERIES

_KEPT = 1024  # entries; each is what one group of steps told
_TRIMMED_EACH = 256


class SignalLog:
    """What this process tells others, and hears from them.

    Args:
        connection: the writer's.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._origin = secrets.token_hex(8)
        self._version = self._data_version()
        self._seen: int = connection.execute(QUERIES["last_signal"]).fetchone()[0]
        self._appended = 0

    def append(self, signals: Sequence[Signal]) -> None:
        """Writes what a group of steps told; inside its transaction."""
        if not signals:
            return
        raw = Document.of([_pack(signal) for signal in signals]).raw
        inserted = self._connection.execute(QUERIES["put_signals"], {"origin": self._origin, "raw": raw})
        self._appended = inserted.lastrowid or 0
        if self._appended % _TRIMMED_EACH == 0:
            self._connection.execute(QUERIES["trim_signals"], {"position": self._appended - _KEPT})

    def confirm(self) -> None:
        """Says that the transaction of the last ``append`` was written: what is ours need not be read again."""
        if self._appended == self._seen + 1:
            self._seen = self._appended

    def hear(self) -> list[Signal]:
        """Returns what other processes told since the last time; outside a transaction."""
        version = self._data_version()
        if version == self._version:
            return []
        self._version = version
        entries = self._connection.execute(
            QUERIES["list_signals"], {"position": self._seen, "origin": self._origin}
        ).fetchall()
        if not entries:
            return []
        # Part of the log was forgotten before it was read.
        missed = [Signal("missed")] if entries[0][0] > self._seen + 1 else []
        self._seen = entries[-1][0]
        return [_unpack(plain) for _, raw in entries if raw is not None for plain in Document(raw).value()] + missed

    def _data_version(self) -> int:
        """Returns a number that changes when another connection has written to the file."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)


def _pack(signal: Signal) -> list[Any]:
    queue = signal.queue
    plain: list[Any] = [signal.kind, signal.key, signal.at, signal.final]
    if queue is None:
        return plain
    needs = [queue.task_type, queue.requirements, queue.max_cost, *([queue.limits] if queue.limits else [])]
    return [*plain, needs, signal.strategy, signal.preferred, signal.patience]


def _unpack(plain: list[Any]) -> Signal:
    kind, key, at, final, *choice = plain
    if not choice:
        return Signal(kind, key, at, final)
    needs, strategy, preferred, patience = choice
    return Signal(kind, key, at, final, queue_of(key, needs), strategy, preferred, patience)
