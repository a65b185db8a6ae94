"""The history that keeps nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from avtomatika.history.base import History
from avtomatika.history.noop import NoopHistory

MakeEvent = Callable[..., Any]


async def test_noop_history_keeps_nothing(job_event: MakeEvent, worker_event: MakeEvent) -> None:
    """It takes everything a history takes, and has no rows."""
    history: History = NoopHistory()

    await history.open()
    await history.write([job_event()])
    await history.write_workers([worker_event()])

    assert await history.job_events("j1") == []
    assert await history.trim(0) == 0
    with pytest.raises(ValueError, match="0 or more"):
        await history.trim(-1)
    await history.close()
