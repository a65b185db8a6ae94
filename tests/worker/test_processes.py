"""Functions in processes of their own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from avtomatika.errors import ConfigError
from avtomatika.worker import Worker
from avtomatika.worker.testing import TaskHarness

from . import busy_functions


@pytest.fixture
async def harness() -> AsyncIterator[TaskHarness]:
    """Runs the functions of the module beside this one."""
    found = TaskHarness(busy_functions.worker)
    yield found
    await found.close()


async def test_function_runs_in_a_process_that_serves_again(harness: TaskHarness) -> None:
    """With typed arguments, progress, events and a result; the second task finds the process warm."""
    first = await harness.run("add", {"pair": {"a": 1, "b": 2}})
    second = await harness.run("add", {"pair": {"a": 3, "b": 4}})

    assert (first.data["sum"], second.data["sum"], first.progress) == (3, 7, ((0.5, "half"),))
    assert first.events == (("adding", {"a": 1, "b": 2}),)
    assert first.data["pid"] == second.data["pid"] != os.getpid()


async def test_failure_in_a_process_is_told_as_it_was(harness: TaskHarness) -> None:
    """Code and details come along; what cannot come along is told in words, and a process that died as well."""
    raised, odd, died = [await harness.run("fail", {"kind": kind}) for kind in ("task", "local", "kill")]

    assert (raised.error_code, raised.error_message, raised.error_details) == ("PERMANENT_ERROR", "never", {"x": 1})
    assert (odd.error_code, odd.error_message) == ("INTERNAL_ERROR", "OddError: odd")
    assert (died.error_code, "was killed" in died.error_message) == ("RESOURCE_EXHAUSTED_ERROR", True)
    assert (await harness.run("add", {"pair": {"a": 1, "b": 1}})).data["sum"] == 2


async def test_cancellation_raises_in_the_process(harness: TaskHarness, tmp_path: Path) -> None:
    """A busy loop is interrupted and may clean up; no other way would end it."""
    marker = tmp_path / "marker"
    running = harness.start("spin", {"marker": str(marker)})
    await running.wait_for_progress(0.1)

    running.cancel()
    ended = await running.ended()

    assert (ended.status, marker.read_text()) == ("cancelled", "cleaned up")


def nothing() -> None:
    """Does nothing."""


async def nothing_async() -> None:
    """Does nothing, later."""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (nothing_async, "process=True is for plain functions"),
        (lambda: None, "define it at the top of a module"),
    ],
    ids=["async", "lambda"],
)
def test_function_that_no_process_finds_is_refused(function: Any, message: str) -> None:
    """Found when it is defined."""
    with pytest.raises(ConfigError, match=message):
        Worker("w").add_task(function, "task", process=True)
