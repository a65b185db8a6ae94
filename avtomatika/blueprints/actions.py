"""The actions: what a handler calls to ask for what comes next, once per call."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from avtomatika.blueprints.requests import (
    Action,
    Dispatch,
    HumanApproval,
    Parallel,
    Sleep,
    SubBlueprint,
    TaskSpec,
    Transition,
    name_of,
)
from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.errors import ActionError, suggest

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
    "concurrency_key",
    "concurrency_limit",
    "affinity_seconds",
    "params_schema",
    "result_schema",
)


class ActionFactory:
    """What a handler receives as ``actions``: each method records one request; the engine carries it out later.

    Exactly one action may be requested per call of a handler; several ``dispatch_task`` into one aggregator are one.

    Attributes:
        requested: the recorded action, or None.
    """

    def __init__(self) -> None:
        self.requested: Action | None = None
        self._sent: list[TaskSpec] = []

    def _request(self, action: Action) -> None:
        if self.requested is not None:
            raise ActionError(
                f"a handler may request one action, but {name_of(action)} came after {name_of(self.requested)}; "
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

    def sleep(self, seconds: float | datetime.timedelta, then: str) -> None:
        """Go on in the state ``then`` after some time; the timer outlives the engine.

        Args:
            seconds: how long, as a number of seconds or a timedelta; 0 goes on at once.
            then: name of the state.

        Raises:
            ActionError: a value is malformed, or this is a second action.
        """
        length = seconds.total_seconds() if isinstance(seconds, datetime.timedelta) else seconds
        self._request(Sleep(then, seconds=length))

    def sleep_until(self, moment: float | datetime.datetime, then: str) -> None:
        """Go on in the state ``then`` at a moment; one that has passed goes on at once.

        Args:
            moment: Unix seconds, or a datetime with a time zone.
            then: name of the state.

        Raises:
            ActionError: a value is malformed, or this is a second action.
        """
        if isinstance(moment, datetime.datetime):
            if moment.tzinfo is None:
                raise ActionError(
                    f"sleep_until got {moment!r} without a time zone, which is another moment on every machine; "
                    "write datetime.datetime(..., tzinfo=datetime.UTC)."
                )
            moment = moment.timestamp()
        self._request(Sleep(then, until=moment))

    def await_human_approval(
        self,
        message: str,
        transitions: Mapping[str, str],
        integration: str = "webhook",
        timeout_seconds: float | None = None,
    ) -> None:
        """Ask a person, and go on by the decision.

        Args:
            message: the question.
            transitions: each decision offered to the next state, such as ``{"approved": "ship", "rejected": "stop"}``;
                ``expired`` is where the job goes when nobody decides in time.
            integration: which outside system puts the question to people; it stands in the job and its history.
            timeout_seconds: how many seconds the decision may take; without one the job waits for ever.

        Raises:
            ActionError: a value is malformed, or this is a second action.
        """
        self._request(HumanApproval(message, transitions, integration, timeout_seconds))

    def run_blueprint(
        self,
        blueprint_name: str,
        initial_data: Mapping[str, Any] | None = None,
        transitions: Mapping[str, str] | None = None,
    ) -> None:
        """Run another blueprint as a child job, and go on by how it ends.

        Args:
            blueprint_name: a blueprint that is registered with the engine.
            initial_data: what the child starts with.
            transitions: ``success``, ``failure`` and ``cancelled`` to the next state. Without a way for its end, a
                child that did not finish ends this job as it ended itself.

        Raises:
            ActionError: a value is malformed, or this is a second action.
        """
        self._request(
            SubBlueprint(
                blueprint_name,
                {} if initial_data is None else initial_data,
                {} if transitions is None else transitions,
            )
        )

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
        concurrency_key: str | None = None,
        concurrency_limit: int = 1,
        affinity_seconds: float = 0.0,
        params_schema: Mapping[str, Any] | None = None,
        result_schema: Mapping[str, Any] | None = None,
    ) -> None:
        """Send a task to a worker; its result's status chooses the next state from ``transitions``.

        Several calls whose ``success`` leads into one aggregator are a fan-out, as ``dispatch_parallel`` makes it.

        Args: as the fields of TaskSpec.

        Raises:
            ActionError: a value is malformed, or this is a second action.
            ContractError: the params do not fit their schema.
        """
        spec = TaskSpec(
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
            concurrency_key,
            concurrency_limit,
            affinity_seconds,
            params_schema,
            result_schema,
        )
        if not self._sent:
            self._request(Dispatch(spec))
        else:
            self.requested = Parallel((*self._sent, spec), self._common_target(spec))
        self._sent.append(spec)

    def _common_target(self, spec: TaskSpec) -> str:
        """Returns the aggregator that this task and those sent before lead into."""
        first, into = self._sent[0], spec.transitions.get("success", "")
        if not into or into != first.transitions.get("success"):
            raise ActionError(
                f"a handler may call dispatch_task several times if all calls lead into one aggregator, but for "
                f"'success' '{first.task_type}' leads to '{first.transitions.get('success', '')}' and "
                f"'{spec.task_type}' to '{into}'; give both the same, or return after the first."
            )
        return into

    def dispatch_parallel(
        self,
        tasks: Iterable[Mapping[str, Any]],
        aggregate_into: str,
        policy: str | None = None,
        at_least: int | None = None,
    ) -> None:
        """Send several tasks at once; the handler of ``aggregate_into`` runs when they have ended.

        Args:
            tasks: dicts with ``task_type`` (or ``type``), ``params`` and the options of ``dispatch_task``. An empty
                list leads straight into the aggregator.
            aggregate_into: name of a state with an aggregator.
            policy: ``all`` (the default): all must succeed, and all are waited for; ``fail_fast``: the first one that
                fails for good ends the others; ``collect``: the aggregator sees successes and failures.
            at_least: how many must succeed instead; the aggregator runs as soon as they have, and the rest is
                cancelled.

        Raises:
            ActionError: a task is malformed, or this is a second action.
        """
        if at_least is not None and policy not in {None, "at_least"}:
            raise ActionError(f"at_least={at_least!r} is a policy of its own; leave policy='{policy}' out.")
        specs = tuple(_spec_from(task, index) for index, task in enumerate(tasks))
        chosen = (policy or "all") if at_least is None else "at_least"
        self._request(Parallel(specs, aggregate_into, chosen, 0 if at_least is None else at_least))


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
