"""The law of large documents: a job whose documents left it ends as any other."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.payloads.local import LocalPayloads
from avtomatika.server.views import job_view, task_view
from avtomatika.testing import FakeClock

from .conftest import System

# Documents of a few dozen bytes leave already, so that any of them may, in any step.
THRESHOLD = 48
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUE = st.recursive(
    st.none() | st.booleans() | TEXT | st.floats(allow_nan=False) | st.integers(-(2**63), 2**64 - 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
# A handler's own names; anything else is a member of the data like any other.
MAPPING = st.dictionaries(TEXT, VALUE, max_size=3)
STEP = st.tuples(st.sampled_from(["go", "task", "fan"]), MAPPING, VALUE)


def flow(steps: list[tuple[str, dict[str, Any], Any]]) -> StateMachineBlueprint:
    """Returns a blueprint that does these steps: each lays data of its own over the job's, and asks for something."""
    bp = StateMachineBlueprint("flow")

    def add(number: int, way: str, left: dict[str, Any], given: Any) -> None:
        after = f"s{number + 1}"

        @bp.handler_for(f"s{number}", is_start=number == 0, transitions=[after, f"j{number}"])
        async def step(state_history: dict[str, Any], actions: ActionFactory) -> None:
            state_history.update(left)
            if way == "go":
                actions.transition_to(after)
            elif way == "task":
                actions.dispatch_task("work", {"given": given}, {"success": after})
            else:
                actions.dispatch_parallel([{"task_type": "work", "params": {"given": given}}] * 2, f"j{number}")

        @bp.aggregator_for(f"j{number}")
        async def join(
            aggregation_results: dict[str, Any], state_history: dict[str, Any], actions: ActionFactory
        ) -> None:
            state_history[f"joined {number}"] = [one["data"] for one in aggregation_results.values()]
            actions.transition_to(after)

    for number, (way, left, param) in enumerate(steps):
        add(number, way, left, param)

    @bp.handler_for(f"s{len(steps)}", is_end=True)
    async def end() -> None: ...

    return bp


async def seen(steps: list[tuple[str, dict[str, Any], Any]], data: dict[str, Any], folder: str, threshold: int) -> Any:
    """Returns all that is to be seen of a job that went through these steps."""
    system = System(FakeClock(), payloads=LocalPayloads(Path(folder)), threshold=threshold, cache=0)
    system.add(flow(steps))
    await system.start()
    try:
        await system.jobs.create_once("j1", system.registry.get("flow"), data)
        tasks = sum({"go": 0, "task": 1, "fan": 2}[way] for way, _, _ in steps)
        for _ in range(tasks):
            task = await system.dispatcher.next_task(await system.register(), 1e9)
            assert task is not None
            await system.answer(task, data=task.params.value())
        job = await system.depot.fetch_job(await system.ended("j1"))
        shown = await system.depot.fetch_tasks(await system.storage.list_tasks("j1"))
        await system.historian.flush()
        return job_view(job), [task_view(task) for task in shown], await system.history.job_events("j1")
    finally:
        await system.stop()


@settings(max_examples=12)
@given(steps=st.lists(STEP, min_size=1, max_size=3), data=MAPPING)
def test_job_ends_the_same_wherever_its_documents_are(
    steps: list[tuple[str, dict[str, Any], Any]], data: dict[str, Any]
) -> None:
    """Whatever is in them, and whichever of them leave: job, tasks and every row of its history are the same."""
    with tempfile.TemporaryDirectory() as folder:
        there = asyncio.run(seen(steps, data, folder, 0))
        away = asyncio.run(seen(steps, data, folder, THRESHOLD))

    assert repr(away) == repr(there)
