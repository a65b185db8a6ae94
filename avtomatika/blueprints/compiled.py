"""One version of a blueprint, checked and unchangeable: what an engine runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from avtomatika.blueprints.conditions import Condition
from avtomatika.blueprints.context import JobContext
from avtomatika.blueprints.graph import Graph
from avtomatika.blueprints.handlers import Handler
from avtomatika.blueprints.schemas import check_data
from avtomatika.errors import HandlerError


@dataclass(frozen=True)
class CompiledBlueprint:
    """One version of a blueprint, checked and unchangeable: what an engine runs.

    Args:
        name: of the blueprint.
        api_endpoint: where clients create jobs, with one leading ``/``; None if they cannot.
        api_version: the part of the path before it, such as ``v1``, or None.
        graph: states and edges.
        data_stores: what its handlers share.
        handlers: name of each state to its handlers, conditional ones first, each group in order of definition.
        migrations: states of older versions to the states where their jobs go on.
        input_schema: JSON Schema of the initial data, or None.
        output_schema: JSON Schema of the result of a finished job, or None.
    """

    name: str
    api_endpoint: str | None
    api_version: str | None
    graph: Graph
    data_stores: SimpleNamespace
    handlers: Mapping[str, tuple[Handler, ...]]
    migrations: Mapping[str, str] = field(default_factory=dict)
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None

    def check_input(self, initial_data: Any) -> None:
        """Checks what a job is to be created with.

        Args:
            initial_data: plain values.

        Raises:
            ContractError: it does not fit the schema.
        """
        if self.input_schema is not None:
            check_data(initial_data, self.input_schema, "initial_data", f"input_schema of blueprint '{self.name}'")

    def check_output(self, result: Any) -> None:
        """Checks what a job is to finish with, as ``check_input`` does what it begins with."""
        if self.output_schema is not None:
            check_data(result, self.output_schema, "result", f"output_schema of blueprint '{self.name}'")

    def select(self, context: JobContext) -> Handler:
        """Returns the handler to run: the first whose condition holds, else the default of the state.

        Args:
            context: the job as its handler would see it.

        Raises:
            BlueprintError: there is no such state.
            HandlerError: no condition holds and the state has no default.
        """
        state = self.graph.state(context.current_state)
        for handler in self.handlers[state.name]:
            if handler.condition is None or _holds(handler, handler.condition, context):
                return handler
        tried = ", ".join(f"[{handler.condition.text}]" for handler in self.handlers[state.name] if handler.condition)
        raise HandlerError(
            f"no handler of state '{state.name}' wants job {context.job_id}: none of the conditions {tried} holds, and "
            f"there is no default; add one with @bp.handler_for('{state.name}')."
        )


def _holds(handler: Handler, condition: Condition, context: JobContext) -> bool:
    try:
        return condition.holds(context)
    except Exception as error:
        error.add_note(f"raised by the condition [{condition.text}] of handler '{handler.name}'")
        raise
