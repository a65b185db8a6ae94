"""Requests: what a handler can ask for, as values; a malformed one is refused where it is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import force_setattr

from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.blueprints.schemas import check_data, check_schema
from avtomatika.errors import ActionError, suggest

STRATEGIES = ("default", "round_robin", "least_connections", "cheapest", "best_value")
POLICIES = ("all", "fail_fast", "collect", "at_least")
"""When a fan-out leads on: after all have ended well; at the first failure; after all have ended in any way; after so
many have ended well."""
EXPIRED = "expired"
"""The word of an approval that nobody gave or refused in time; it is never offered as a decision."""
OUTCOMES = ("success", "failure", "cancelled", "finished", "failed", "quarantined")
"""The words that may lead on from a child job."""
# The identifier rule of the worker protocol (section 4.3); a worker refuses any other name, so it is refused here.
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MAX_KEY = 256


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
        concurrency_key: tasks of this type that share it run one after the other, or ``concurrency_limit`` at a time.
        concurrency_limit: how many of them may run at once.
        affinity_seconds: how long the task is kept for the worker that did the job's last task, if that worker lives.
        params_schema: JSON Schema that ``params`` must fit.
        result_schema: JSON Schema that the data of a result ``success`` must fit.
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
    concurrency_key: str | None = None
    concurrency_limit: int = 1
    affinity_seconds: float = 0.0
    params_schema: Mapping[str, Any] | None = None
    result_schema: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.task_type, str) or not _IDENTIFIER.fullmatch(self.task_type):
            raise ActionError(
                "task_type must be 1 to 128 of the characters A-Z a-z 0-9 _ -, as workers know it; "
                f"got {self.task_type!r}."
            )
        if not isinstance(self.params, Mapping):
            raise ActionError(f"params of task '{self.task_type}' must be a dict; got {type(self.params).__name__}.")
        check_transitions(self.transitions, f"task '{self.task_type}'", "status word")
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
        self._check_sharing()
        self._check_schemas()
        force_setattr(self, "retry", RetryPolicy.of(self.retry))

    def _check_schemas(self) -> None:
        """Checks the params, and that the result can be checked."""
        owner = f"{{}} of task '{self.task_type}'"
        params = check_schema(self.params_schema, owner.format("params_schema"))
        check_schema(self.result_schema, owner.format("result_schema"))
        if params is not None:
            check_data(dict(self.params), params, "params", owner.format("params_schema"))

    def _check_sharing(self) -> None:
        """Checks what the task shares with others: a limit, and a worker."""
        key, limit = self.concurrency_key, self.concurrency_limit
        if key is not None and not (isinstance(key, str) and 0 < len(key) <= _MAX_KEY):
            raise ActionError(
                f"concurrency_key of task '{self.task_type}' must be a text of 1 to {_MAX_KEY} characters; got {key!r}."
            )
        if not (_is_number(limit) and isinstance(limit, int) and limit >= 1):
            raise ActionError(
                f"concurrency_limit of task '{self.task_type}' must be a whole number from 1; got {limit!r}."
            )
        if key is None and limit != 1:
            raise ActionError(
                f"concurrency_limit={limit} of task '{self.task_type}' says how many tasks of one concurrency_key may "
                "run; give a key as well. A limit for all tasks of a type is set with concurrency={...} of the "
                "blueprint, or with TASK_CONCURRENCY."
            )
        if not (_is_number(self.affinity_seconds) and self.affinity_seconds >= 0):
            raise ActionError(
                f"affinity_seconds of task '{self.task_type}' must be a number of seconds from 0; "
                f"got {self.affinity_seconds!r}."
            )


def _is_number(value: Any) -> bool:
    """Whether the value is a finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def check_transitions(transitions: Any, owner: str, word: str) -> None:
    """Refuses what is no dict of words to names of states.

    Args:
        transitions: what the handler gave.
        owner: whose they are, for the message.
        word: what leads along them, for the message.

    Raises:
        ActionError: it is something else.
    """
    if not isinstance(transitions, Mapping) or not all(
        isinstance(one, str) and isinstance(state, str) for one, state in transitions.items()
    ):
        raise ActionError(
            f"transitions of {owner} must be a dict of {word} to state name, such as {{'success': 'next_state'}}; "
            f"got {transitions!r}."
        )


class Dispatch(Struct, frozen=True):
    """Send one task to a worker and go on by the status of its result."""

    task: TaskSpec


class Parallel(Struct, frozen=True):
    """Send several tasks and go on in ``aggregate_into`` when the policy says so.

    Args:
        tasks: the branches.
        aggregate_into: name of a state with an aggregator.
        policy: one of ``POLICIES``.
        at_least: how many must succeed under the policy ``at_least``, else 0.
    """

    tasks: tuple[TaskSpec, ...]
    aggregate_into: str
    policy: str = "all"
    at_least: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.aggregate_into, str):
            raise ActionError(f"aggregate_into takes the name of a state; got {self.aggregate_into!r}.")
        if self.policy not in POLICIES:
            raise ActionError(
                f"policy '{self.policy}' is unknown; known: {', '.join(POLICIES)}.{suggest(str(self.policy), POLICIES)}"
            )
        if self.policy == "at_least" and not (
            _is_number(self.at_least) and self.at_least in range(1, len(self.tasks) + 1)
        ):
            raise ActionError(
                f"at_least is how many of the {len(self.tasks)} tasks must succeed, a whole number from 1 to "
                f"{len(self.tasks)}; got {self.at_least!r}."
            )


class Sleep(Struct, frozen=True):
    """Go on in ``state`` later.

    Args:
        state: name of the state.
        seconds: how long to wait, or None.
        until: Unix seconds of the moment to wait for, or None; one of the two is given.
    """

    state: str
    seconds: float | None = None
    until: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.state, str):
            raise ActionError(f"a sleep takes the name of the state that follows; got {self.state!r}.")
        if self.seconds is not None and not (_is_number(self.seconds) and self.seconds >= 0):
            raise ActionError(f"sleep takes a number of seconds from 0, or a timedelta; got {self.seconds!r}.")
        if self.until is not None and not _is_number(self.until):
            raise ActionError(f"sleep_until takes Unix seconds, or a datetime with a time zone; got {self.until!r}.")


class HumanApproval(Struct, frozen=True):
    """Go on by what a person decides.

    Args:
        message: what the person is asked.
        transitions: each decision offered to the next state; ``EXPIRED`` is the way when nobody decides in time.
        integration: which outside system puts the question to people, as a word for it.
        timeout_seconds: how long the decision may take; None for no limit.
    """

    message: str
    transitions: Mapping[str, str]
    integration: str = "webhook"
    timeout_seconds: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.message, str) or not self.message.strip():
            raise ActionError(f"await_human_approval takes the question as its message; got {self.message!r}.")
        check_transitions(self.transitions, "await_human_approval", "decision")
        if not set(self.transitions) - {EXPIRED}:
            raise ActionError(
                "await_human_approval needs transitions for the decisions that it offers, such as "
                f"{{'approved': 'next_state', 'rejected': 'other_state'}}; got {dict(self.transitions)!r}."
            )
        if not isinstance(self.integration, str) or not _IDENTIFIER.fullmatch(self.integration):
            raise ActionError(f"integration is a word such as 'webhook'; got {self.integration!r}.")
        seconds = self.timeout_seconds
        if seconds is not None and not (_is_number(seconds) and seconds > 0):
            raise ActionError(
                f"timeout_seconds of await_human_approval must be a positive number of seconds; got {seconds!r}."
            )
        if seconds is None and EXPIRED in self.transitions:
            raise ActionError(
                f"'{EXPIRED}' is the transition of a decision that nobody takes in time, but there is no "
                "timeout_seconds; give one, or name the decision otherwise."
            )


class SubBlueprint(Struct, frozen=True):
    """Run another blueprint as a job of its own, and go on by how that ends.

    Args:
        blueprint: its name.
        initial_data: what the child job starts with.
        transitions: ``success``, ``failure`` and ``cancelled`` to the next state; the status ``finished``, ``failed``
            or ``quarantined`` goes before these words.
    """

    blueprint: str
    initial_data: Mapping[str, Any]
    transitions: Mapping[str, str]

    def __post_init__(self) -> None:
        if not isinstance(self.blueprint, str) or not _IDENTIFIER.fullmatch(self.blueprint):
            raise ActionError(f"run_blueprint takes the name of a blueprint; got {self.blueprint!r}.")
        if not isinstance(self.initial_data, Mapping):
            raise ActionError(f"initial_data of run_blueprint must be a dict; got {type(self.initial_data).__name__}.")
        check_transitions(self.transitions, f"run_blueprint('{self.blueprint}')", "outcome")
        for word in self.transitions:
            if word not in OUTCOMES:
                raise ActionError(
                    f"transitions of run_blueprint('{self.blueprint}') know no '{word}'; known: "
                    f"{', '.join(OUTCOMES)}.{suggest(word, OUTCOMES)}"
                )
        if not {"success", "finished"} & set(self.transitions):
            raise ActionError(
                f"transitions of run_blueprint('{self.blueprint}') need 'success', the way when the child has finished."
            )


Action = Transition | Dispatch | Parallel | Sleep | HumanApproval | SubBlueprint
"""Any request."""


def name_of(action: Action) -> str:
    """Returns the call that made the request, for messages."""
    match action:
        case Transition(state):
            return f"transition_to('{state}')"
        case Dispatch(task):
            return f"dispatch_task('{task.task_type}')"
        case Parallel(_, into):
            return f"dispatch_parallel(aggregate_into='{into}')"
        case Sleep(state):
            return f"a sleep before '{state}'"
        case SubBlueprint(blueprint):
            return f"run_blueprint('{blueprint}')"
        case HumanApproval(message):
            return f"await_human_approval('{message}')"
