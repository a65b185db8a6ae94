"""Events for the tests of the history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from avtomatika.core.history import HistoryEvent, WorkerEvent

NOON = 1_767_268_800.25  # 2026-01-01T12:00:00.250000Z


@pytest.fixture
def job_event() -> Callable[..., HistoryEvent]:
    """Makes an event one second later for each step in the sequence."""

    def make(job_id: str = "j1", sequence: int = 1, **changes: Any) -> HistoryEvent:
        values = {"at": NOON + sequence - 1, "type": "state_started", "blueprint": "orders", "state": "a"}
        return HistoryEvent(job_id, sequence, **{**values, **changes})

    return make


@pytest.fixture
def worker_event() -> Callable[..., WorkerEvent]:
    """Makes an event of worker ``w1``, one second later for each number."""

    def make(number: int = 1, **changes: Any) -> WorkerEvent:
        values = {"worker_id": "w1", "at": NOON + number - 1, "type": "worker_registered", "info": {"n": 1}}
        return WorkerEvent(f"w1:{number}", **{**values, **changes})

    return make
