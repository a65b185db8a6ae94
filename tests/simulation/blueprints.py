"""The blueprints that are run: a chain, a loop, a task, a tour of tasks, a fan-out, a sleep, a question, a child.

Each handler leaves a mark in the job's data. A step that counted twice, or not at all, leaves a path that no job can
take.
"""

from __future__ import annotations

import asyncio
from typing import Any

from avtomatika.blueprints import CompiledBlueprint, JobContext, StateMachineBlueprint

MAX_TRANSITIONS = 24
"""After so many changes of state a job is taken to be in a loop."""


class Stumble(Exception):  # noqa: N818 - an exception of a user's handler, not one of ours
    """What a handler raises because its plan says so."""


async def mark(context: JobContext) -> dict[str, Any]:
    """Begins a handler as its plan says: takes time, raises, and leaves its mark.

    Returns:
        The plan.
    """
    plan: dict[str, Any] = context.initial_data
    await asyncio.sleep(plan["pauses"].get(context.current_state, 0.0))
    if context.attempt <= plan["stumbles"].get(context.current_state, 0):
        raise Stumble(context.current_state)
    context.state_history.setdefault("path", []).append(context.current_state)
    return plan


def take(context: JobContext) -> None:
    """Moves a task's result from where the engine merged it to the list of results that counted."""
    history = context.state_history
    history.setdefault("taken", []).append(history.pop("nonce"))
    history["total"] = history.get("total", 0) + history.pop("value")


def task_options(plan: dict[str, Any], index: int) -> dict[str, Any]:
    """Returns what a task is dispatched with."""
    return {"params": {"index": index, "script": plan["scripts"][index]}, **plan["options"]}


def _add_end(flow: StateMachineBlueprint) -> None:
    @flow.handler_for("done", is_end=True)
    async def done(context: JobContext) -> None:
        await mark(context)


def _add_repair(flow: StateMachineBlueprint) -> None:
    @flow.handler_for("repair", transitions=["done"])
    async def repair(context: JobContext) -> None:
        await mark(context)
        context.actions.transition_to("done")


def _chain() -> StateMachineBlueprint:
    flow = StateMachineBlueprint("chain")

    def add(number: int) -> None:
        @flow.handler_for(f"s{number}", is_start=number == 0, transitions=[f"s{number + 1}"])
        async def step(context: JobContext) -> None:
            await mark(context)
            context.actions.transition_to(f"s{number + 1}")

    for number in range(4):
        add(number)

    @flow.handler_for("s4", is_end=True)
    async def end(context: JobContext) -> None:
        await mark(context)

    return flow


def _loop() -> StateMachineBlueprint:
    flow = StateMachineBlueprint("loop")

    @flow.handler_for("turn", is_start=True)
    async def turn(context: JobContext) -> None:
        plan = await mark(context)
        turns = context.state_history["turns"] = context.state_history.get("turns", 0) + 1
        if turns < plan["turns"]:
            context.actions.transition_to("turn")
        else:
            context.actions.transition_to("done")

    _add_end(flow)
    return flow


def _send() -> StateMachineBlueprint:
    flow = StateMachineBlueprint("send")

    @flow.handler_for("ask", is_start=True, transitions=["done", "repair"])
    async def ask(context: JobContext) -> None:
        plan = await mark(context)
        transitions = {"success": "done"} | ({"failure": "repair"} if plan["route"] else {})
        context.actions.dispatch_task("work", transitions=transitions, **task_options(plan, 0))

    @flow.handler_for("repair", transitions=["done"])
    async def repair(context: JobContext) -> None:
        await mark(context)
        context.state_history |= {"nonce": "repaired", "value": 0}
        context.actions.transition_to("done")

    @flow.handler_for("done", is_end=True)
    async def done(context: JobContext) -> None:
        await mark(context)
        take(context)

    return flow


def _tour() -> StateMachineBlueprint:
    flow = StateMachineBlueprint("tour")

    @flow.handler_for("ask", is_start=True, transitions=["collect"])
    async def ask(context: JobContext) -> None:
        plan = await mark(context)
        index = len(context.state_history.get("taken", []))
        context.actions.dispatch_task("work", transitions={"success": "collect"}, **task_options(plan, index))

    @flow.handler_for("collect", transitions=["ask", "done"])
    async def collect(context: JobContext) -> None:
        plan = await mark(context)
        take(context)
        context.actions.transition_to("ask" if len(context.state_history["taken"]) < len(plan["scripts"]) else "done")

    _add_end(flow)
    return flow


def _fan() -> StateMachineBlueprint:
    flow = StateMachineBlueprint("fan")

    @flow.handler_for("split", is_start=True, transitions=["join", "repair"])
    async def split(context: JobContext) -> None:
        plan = await mark(context)
        transitions = {"failure": "repair"} if plan["route"] else {}
        tasks = [
            {"task_type": "work", "transitions": transitions, **task_options(plan, index)}
            for index in range(len(plan["scripts"]))
        ]
        context.actions.dispatch_parallel(tasks, "join")

    @flow.aggregator_for("join")
    async def join(context: JobContext) -> None:
        await mark(context)
        answers = [result["data"] for result in context.aggregation_results.values()]
        context.state_history["taken"] = [answer["nonce"] for answer in answers]
        context.state_history["total"] = sum(answer["value"] for answer in answers)
        context.actions.transition_to("done")

    _add_repair(flow)
    _add_end(flow)
    return flow


def _nap() -> StateMachineBlueprint:
    flow = StateMachineBlueprint("nap")

    @flow.handler_for("doze", is_start=True)
    async def doze(context: JobContext) -> None:
        plan = await mark(context)
        context.actions.sleep(plan["seconds"], "wake")

    @flow.handler_for("wake")
    async def wake(context: JobContext) -> None:
        await mark(context)
        context.actions.transition_to("done")

    _add_end(flow)
    return flow


def _question() -> StateMachineBlueprint:
    flow = StateMachineBlueprint("question")

    @flow.handler_for("ask", is_start=True)
    async def ask(context: JobContext) -> None:
        plan = await mark(context)
        context.actions.await_human_approval(
            "Really?", {"yes": "agreed", "no": "refused", "expired": "late"}, timeout_seconds=plan["patience"]
        )

    @flow.handler_for("agreed", transitions=["done"])
    @flow.handler_for("refused", transitions=["done"])
    @flow.handler_for("late", transitions=["done"])
    async def answered(context: JobContext) -> None:
        await mark(context)
        context.actions.transition_to("done")

    _add_end(flow)
    return flow


def _nest() -> StateMachineBlueprint:
    flow = StateMachineBlueprint("nest")

    @flow.handler_for("begin", is_start=True)
    async def begin(context: JobContext) -> None:
        plan = await mark(context)
        context.actions.run_blueprint("send", plan["child"], {"success": "done", "failure": "repair"})

    _add_repair(flow)
    _add_end(flow)
    return flow


_MAKERS = (_chain, _loop, _send, _tour, _fan, _nap, _question, _nest)
BLUEPRINTS: tuple[CompiledBlueprint, ...] = tuple(make().compile() for make in _MAKERS)
"""All of them; an engine registers them under their names."""
