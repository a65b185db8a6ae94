"""A workbench for each test, and blueprints to run in it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.notebook import Workbench
from tests import flows


@pytest.fixture
def hears_interrupts() -> Iterator[None]:
    """Ctrl-C is heard as in a kernel, also where the tests run in a shell's background, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def workbench() -> Iterator[Workbench]:
    """A workbench that is stopped when the test ends."""
    bench = Workbench()
    yield bench
    bench.stop()


@pytest.fixture
def doubling() -> StateMachineBlueprint:
    """A blueprint whose jobs end at once; with ``initial_data["number"]`` missing, they fail."""
    bp = StateMachineBlueprint("doubling", api_endpoint="/doubling")

    @bp.handler_for("check", is_start=True)
    async def check(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.transition_to("done" if "number" in initial_data else "rejected")

    @bp.handler_for("done", is_end=True)
    async def done(number: float) -> dict[str, float]:
        return {"double": 2 * number}

    @bp.handler_for("rejected", is_end=True)
    async def rejected() -> dict[str, str]:
        return {"reason": "there is no number"}

    return bp


@pytest.fixture
def patient() -> StateMachineBlueprint:
    """A blueprint whose jobs wait for a worker that can do ``shout``."""
    return flows.patient()
