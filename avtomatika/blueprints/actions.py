"""The actions: what a handler can ask for, once per call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import force_setattr

from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.errors import ActionError, suggest

STRATEGIES = ("default", "round_robin", "least_connections", "cheapest", "best_value")
_TASK_OPTIONS = (
    "task_type",
    "type",
    "params",
    "transitions",
    "dispatch_strategy",
    "resource_requirements",
    "timeout_seconds",
    "max_cost",
    "priority",
    "dispatch_timeout",
    "result_timeout",
    "retry",
)
# The identifier rule of the worker protocol (section 4.3); a worker refuses any other name, so it is refused here.
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Transition(Struct, frozen=True):
    """Go on in another state at once."""

    state: str


class TaskSpec(Struct, frozen=True):
    """One task as a handler describes it.

    Args:
        task_type: name of the skill that a worker must have.
        params: what the worker's function receives.
        transitions: status word of the result to the next state.
        dispatch_strategy: how to choose among free qualified workers, one of ``STRATEGIES``.
        resource_requirements: what the worker must have; numbers are minima.
        timeout_seconds: from start to result; None for the engine's default.
        max_cost: the worker's cost for the skill must not exceed it; None for any.
        priority: higher first, then older first.
        dispatch_timeout: seconds that the task may wait for a worker; None for no limit.
        result_timeout: seconds from dispatch to the result, waiting included; None for no limit.
        retry: how failed attempts are repeated, as a policy or a dict of its parts; None for the blueprint's way.
    """

    task_type: str
    params: Mapping[str, Any] = field(default_factory=dict)
    transitions: Mapping[str, str] = field(default_factory=dict)
    dispatch_strategy: str = "default"
    resource_requirements: Mapping[str, Any] | None = None
    timeout_seconds: float | None = None
    max_cost: float | None = None
    priority: float = 0.0
    dispatch_timeout: float | None = None
    result_timeout: float | None = None
    retry: RetryPolicy | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.task_type, str) or not _IDENTIFIER.fullmatch(self.task_type):
            raise ActionError(
                "task_type must be 1 to 128 of the characters A-Z a-z 0-9 _ -, as workers know it; "
                f"got {self.task_type!r}."
            )
        if not isinstance(self.params, Mapping):
            raise ActionError(f"params of task '{self.task_type}' must be a dict; got {type(self.params).__name__}.")
        if not isinstance(self.transitions, Mapping) or not all(
            isinstance(word, str) and isinstance(state, str) for word, state in self.transitions.items()
        ):
            raise ActionError(
                f"transitions of task '{self.task_type}' must be a dict of status word to state name, "
                f"such as {{'success': 'next_state'}}; got {self.transitions!r}."
            )
        if self.dispatch_strategy not in STRATEGIES:
            raise ActionError(
                f"dispatch_strategy '{self.dispatch_strategy}' is unknown; known: {', '.join(STRATEGIES)}."
                f"{suggest(str(self.dispatch_strategy), STRATEGIES)}"
            )
        needs = self.resource_requirements
        if needs is not None and not (isinstance(needs, Mapping) and all(isinstance(name, str) for name in needs)):
            raise ActionError(
                f"resource_requirements of task '{self.task_type}' must be a dict such as {{'ram_gb': 8}}; "
                f"got {needs!r}."
            )
        for name in ("priority", "max_cost"):
            value = getattr(self, name)
            if value is not None and not _is_number(value):
                raise ActionError(f"{name} of task '{self.task_type}' must be a number; got {value!r}.")
        for name in ("timeout_seconds", "dispatch_timeout", "result_timeout"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0):
                raise ActionError(
                    f"{name} of task '{self.task_type}' must be a positive number of seconds; got {value!r}."
                )
        force_setattr(self, "retry", RetryPolicy.of(self.retry))


def _is_number(value: Any) -> bool:
    """Whether the value is a finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


class Dispatch(Struct, frozen=True):
    """Send one task to a worker and go on by the status of its result."""

    task: TaskSpec


class Parallel(Struct, frozen=True):
    """Send several tasks and go on in ``aggregate_into`` when all have ended."""

    tasks: tuple[TaskSpec, ...]
    aggregate_into: str


Action = Transition | Dispatch | Parallel


class ActionFactory:
    """What a handler receives as ``actions``: each method records one request; the engine carries it out later.

    Exactly one action may be requested per call of a handler.

    Attributes:
        requested: the recorded action, or None.
    """

    def __init__(self) -> None:
        self.requested: Action | None = None

    def _request(self, action: Action) -> None:
        if self.requested is not None:
            raise ActionError(
                f"a handler may request one action, but {_name(action)} came after {_name(self.requested)}; "
                "return after the first."
            )
        self.requested = action

    def transition_to(self, state: str) -> None:
        """Go on in ``state`` at once.

        Raises:
            ActionError: not a name, or a second action.
        """
        if not isinstance(state, str):
            raise ActionError(f"transition_to takes the name of a state; got {state!r}.")
        self._request(Transition(state))

    go_to = transition_to

    def dispatch_task(
        self,
        task_type: str,
        params: Mapping[str, Any] | None = None,
        transitions: Mapping[str, str] | None = None,
        dispatch_strategy: str = "default",
        resource_requirements: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        max_cost: float | None = None,
        priority: float = 0.0,
        dispatch_timeout: float | None = None,
        result_timeout: float | None = None,
        retry: RetryPolicy | Mapping[str, Any] | None = None,
    ) -> None:
        """Send a task to a worker; its result's status chooses the next state from ``transitions``.

        Args: as the fields of TaskSpec.

        Raises:
            ActionError: a value is malformed, or this is a second action.
        """
        self._request(
            Dispatch(
                TaskSpec(
                    task_type,
                    {} if params is None else params,
                    {} if transitions is None else transitions,
                    dispatch_strategy,
                    resource_requirements,
                    timeout_seconds,
                    max_cost,
                    priority,
                    dispatch_timeout,
                    result_timeout,
                    RetryPolicy.of(retry),
                )
            )
        )

    def dispatch_parallel(self, tasks: Iterable[Mapping[str, Any]], aggregate_into: str) -> None:
        """Send several tasks at once; the handler of ``aggregate_into`` runs when all have ended.

        Args:
            tasks: dicts with ``task_type`` (or ``type``), ``params`` and the options of ``dispatch_task``. An empty
                list leads straight into the aggregator.
            aggregate_into: name of a state with an aggregator.

        Raises:
            ActionError: a task is malformed, or this is a second action.
        """
        if not isinstance(aggregate_into, str):
            raise ActionError(f"aggregate_into takes the name of a state; got {aggregate_into!r}.")
        specs = tuple(_spec_from(task, index) for index, task in enumerate(tasks))
        self._request(Parallel(specs, aggregate_into))


def _spec_from(task: Mapping[str, Any], index: int) -> TaskSpec:
    """Builds a TaskSpec from one dict of ``dispatch_parallel``."""
    if not isinstance(task, Mapping):
        raise ActionError(f"task {index} of dispatch_parallel must be a dict; got {type(task).__name__}.")
    options = dict(task)
    unknown = [name for name in options if name not in _TASK_OPTIONS]
    if unknown:
        raise ActionError(
            f"task {index} of dispatch_parallel has the unknown option '{unknown[0]}'; "
            f"known: {', '.join(_TASK_OPTIONS)}.{suggest(str(unknown[0]), _TASK_OPTIONS)}"
        )
    named = [options.pop(name) for name in ("task_type", "type") if name in options]
    if len(named) != 1:
        raise ActionError(f"task {index} of dispatch_parallel needs exactly one of 'task_type' and 'type'.")
    return TaskSpec(named[0], **options)


def _name(action: Action) -> str:
    match action:
        case Transition(state):
            return f"transition_to('{state}')"
        case Dispatch(task):
            return f"dispatch_task('{task.task_type}')"
        case Parallel(_, into):
            return f"dispatch_parallel(aggregate_into='{into}')"
