"""The engine's program, for ``avtomatika run``: three blueprints, on a storage that passes by the named points.

Handlers leave marks in their job's data, so that a step that counted twice, or not at all, can be seen afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avtomatika import JobContext, OrchestratorEngine, StateMachineBlueprint
from avtomatika.backends import make_storage
from avtomatika.clock import SystemClock
from avtomatika.config import Config

from .doom import doom


class DoomedStorage:
    """A storage that passes by the named points."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Returns the storage's method, with a point before and behind it."""
        method = getattr(self._inner, name)
        if name in {"subscribe", "close"}:
            return method  # type: ignore[no-any-return]

        async def passing(*arguments: Any, **options: Any) -> Any:
            doom.pass_by(f"before {name}")
            answer = await method(*arguments, **options)
            doom.pass_by(f"after {name}")
            return answer

        setattr(self, name, passing)
        return passing


# --- the blueprints ---


def _mark(context: JobContext) -> None:
    context.state_history.setdefault("path", []).append(context.current_state)


chain = StateMachineBlueprint("chain", api_endpoint="/chain")
send = StateMachineBlueprint("send", api_endpoint="/send")
fan = StateMachineBlueprint("fan", api_endpoint="/fan")


@chain.handler_for("a", is_start=True)
async def _a(context: JobContext) -> None:
    _mark(context)
    context.actions.transition_to("b")


@chain.handler_for("b")
async def _b(context: JobContext) -> None:
    _mark(context)
    context.actions.transition_to("c")


@chain.handler_for("c", is_end=True)
async def _c(context: JobContext) -> None:
    _mark(context)


@send.handler_for("ask", is_start=True)
async def _ask(context: JobContext) -> None:
    _mark(context)
    if "much" in context.initial_data:
        # Both leave the job, and the result is laid over what has to be fetched.
        context.state_history["much"] = context.initial_data["much"]
    context.actions.dispatch_task("square", {"n": context.initial_data["n"]}, {"success": "done"})


@send.handler_for("done", is_end=True)
async def _done(context: JobContext) -> None:
    _mark(context)
    if context.state_history.pop("much", None) != context.initial_data.get("much"):
        context.state_history["path"].append("other data than before")


@fan.handler_for("split", is_start=True)
async def _split(context: JobContext) -> None:
    _mark(context)
    tasks = [{"task_type": "square", "params": {"n": context.initial_data["n"] + index}} for index in range(3)]
    context.actions.dispatch_parallel(tasks, "join")


@fan.aggregator_for("join")
async def _join(context: JobContext) -> None:
    _mark(context)
    context.state_history["squares"] = [result["data"]["square"] for result in context.aggregation_results.values()]
    context.actions.transition_to("end")


@fan.handler_for("end", is_end=True)
async def _end(context: JobContext) -> None:
    _mark(context)


def _make_engine() -> OrchestratorEngine:
    config = Config()
    storage: Any = DoomedStorage(make_storage(config, SystemClock()))
    made = OrchestratorEngine(storage, config)
    for blueprint in (chain, send, fan):
        made.register_blueprint(blueprint)
    return made


engine = _make_engine()
