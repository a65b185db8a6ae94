"""Lines of a handler say which job they belong to, whoever writes them."""

from __future__ import annotations

from collections.abc import Mapping

from avtomatika.blueprints import ActionFactory, StateMachineBlueprint
from avtomatika.log_context import bound_ids

from .conftest import System


async def test_handlers_run_with_their_job_bound(system: System) -> None:
    """In a coroutine and in a thread alike, each job has its own id."""
    seen: list[Mapping[str, str]] = []
    flow = StateMachineBlueprint("flow")

    @flow.handler_for("one", is_start=True)
    async def one(actions: ActionFactory) -> None:
        seen.append(bound_ids())
        actions.transition_to("two")

    @flow.handler_for("two", is_end=True)
    def two() -> None:
        seen.append(bound_ids())

    system.add(flow)
    first, second = await system.create(), await system.create()
    await system.ended(first)
    await system.ended(second)

    assert sorted(ids["job_id"] for ids in seen) == sorted([first, first, second, second])
    assert bound_ids() == {}
