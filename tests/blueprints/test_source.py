"""What is read from the source of a handler."""

from __future__ import annotations

import functools
import linecache
from enum import Enum, StrEnum
from typing import Any

import pytest

from avtomatika.blueprints import ActionFactory, Edge, EdgeKind, JobContext
from avtomatika.blueprints.conditions import condition_of
from avtomatika.blueprints.handlers import Handler
from avtomatika.blueprints.source import Reading, find_node, read_handler

DONE = "done"
ROUTES = {"success": "ship", "failure": "refund"}
LATER: Any = 5


class States(StrEnum):
    """Names of states."""

    SHIP = "ship"


class Plain(Enum):
    """Names of states, as values."""

    SHIP = "ship"


class Constants:
    """Names of states, and a trap."""

    SHIP = "ship"

    @property
    def trap(self) -> str:
        """Must not run."""
        raise AssertionError


def read(function: Any, condition: str | None = None) -> Reading:
    """Reads a function as the handler of state ``s``."""
    handler = Handler.of(function, "s", condition_of(condition) if condition else None)
    return read_handler(handler, find_node(function))


def targets(function: Any) -> list[str]:
    """Returns the targets of a function that must be readable."""
    reading = read(function)
    assert reading.is_complete
    return [edge.target for edge in reading.edges]


def test_transition_is_read_in_every_spelling() -> None:
    """Position or keyword, transition_to or go_to, actions or context.actions."""

    async def handler(actions: ActionFactory, context: JobContext) -> None:
        if context.attempt == 1:
            actions.transition_to("a")
        elif context.attempt == 2:
            context.actions.go_to(state="b")
        else:
            context.actions.transition_to("a")

    reading = read(handler, "context.initial_data.n == 1")

    label = "context.initial_data.n == 1"
    assert reading.edges == (Edge("s", "a", condition=label), Edge("s", "b", condition=label))
    assert reading.requests == ("transition_to", "go_to", "transition_to")
    assert reading.is_complete


def test_task_gives_an_edge_for_each_status_word() -> None:
    """The words of transitions become labels; the type of the task is kept."""

    def handler(actions: ActionFactory, initial_data: Any) -> None:
        actions.dispatch_task(
            "charge", params=initial_data, transitions={"success": "ship", "failure": DONE, **ROUTES}, priority=1.0
        )

    assert read(handler).edges == (
        Edge("s", "ship", EdgeKind.TASK, "success", task_type="charge"),
        Edge("s", "done", EdgeKind.TASK, "failure", task_type="charge"),
        Edge("s", "refund", EdgeKind.TASK, "failure", task_type="charge"),
    )


def test_task_without_literal_type_has_no_type() -> None:
    """A type that is computed is left out; it leads nowhere, so the reading is still complete."""

    def handler(actions: ActionFactory, kind: str) -> None:
        actions.dispatch_task(kind, {}, {"success": "ship"})

    assert read(handler) == Reading((Edge("s", "ship", EdgeKind.TASK, "success"),), ("dispatch_task",))


def test_fan_out_leads_to_the_aggregator_and_to_the_states_of_failing_branches() -> None:
    """The tasks may be put together in a list first; a dict that is no task is not taken for one."""

    def handler(actions: ActionFactory, files: list[str]) -> None:
        tasks: list[dict[str, Any]] = [{"type": "scan", "transitions": {"failure": "bad"}} for _ in files]
        tasks.append({"task_type": "sum", "params": {"kind": 1}})
        actions.dispatch_parallel(tasks, aggregate_into="join")

    assert read(handler).edges == (
        Edge("s", "join", EdgeKind.AGGREGATE),
        Edge("s", "bad", EdgeKind.TASK, "failure", task_type="scan"),
    )


def test_params_that_look_like_a_parallel_task_are_not_read() -> None:
    """Dicts are searched for tasks only where tasks are dispatched in parallel."""

    def handler(actions: ActionFactory) -> None:
        actions.dispatch_task("x", {"type": "a", "transitions": {"success": "wrong"}}, {"success": "right"})

    assert targets(handler) == ["right"]


def test_human_and_sub_blueprint_transitions_are_read() -> None:
    """The actions that wait for a person or another blueprint lead along their transitions."""

    def handler(actions: Any) -> None:
        actions.await_human_approval("Really?", {"approved": "ship"})
        actions.run_blueprint("other", {}, transitions={"success": "done"})

    assert read(handler).edges == (
        Edge("s", "ship", EdgeKind.APPROVAL, "approved"),
        Edge("s", "done", EdgeKind.SUB_BLUEPRINT, "success", task_type="other"),
    )


def test_sleep_leads_to_the_state_that_follows() -> None:
    """By position or by name, for a length of time or until a moment."""

    def handler(actions: ActionFactory, moment: float) -> None:
        actions.sleep(60, "check")
        actions.sleep_until(moment, then="remind")

    assert read(handler).edges == (Edge("s", "check", EdgeKind.SLEEP), Edge("s", "remind", EdgeKind.SLEEP))


def test_target_is_read_through_constants_and_variables() -> None:
    """Module constants, enums, classes, enclosing variables, local variables, conditional expressions and dicts."""
    enclosing = "e"

    def handler(actions: ActionFactory, flag: bool, kind: str) -> None:
        local = "a" if flag else "b"
        again: str = local
        table = {"x": "t1", "y": DONE}
        made = dict(success="m")  # noqa: C408 - one of the spellings to be read
        actions.go_to(again)
        actions.go_to("c" if flag else ("d" if kind else enclosing))
        actions.go_to(DONE)
        actions.go_to(States.SHIP)
        actions.go_to(Plain.SHIP.value)
        actions.go_to(Constants.SHIP)
        actions.go_to(ROUTES[kind])
        actions.go_to(table[kind])
        actions.dispatch_task("x", None, made if flag else ROUTES)

    assert targets(handler) == [
        "a", "b", "c", "d", "e", "done", "ship", "refund", "t1", "m", "ship", "refund",
    ]  # fmt: skip


def helper(*values: Any) -> str:
    """Does what the reader does not see."""
    return "x"


def _computed(actions: ActionFactory) -> None:
    actions.go_to("a" if helper() else helper())


def _argument(actions: ActionFactory, target: str = "a") -> None:
    actions.go_to(target)


def _reassigned_argument(actions: ActionFactory, target: str) -> None:
    if helper():
        target = "a"
    actions.go_to(target)


def _loop(actions: ActionFactory) -> None:
    for target in ("a", "b"):
        actions.go_to(target)


def _tuple(actions: ActionFactory) -> None:
    target, _ = "a", "b"
    actions.go_to(target)


def _changed(actions: ActionFactory) -> None:
    target = "a"
    target += "b"
    actions.go_to(target)


def _changed_dict(actions: ActionFactory) -> None:
    routes = {"success": "a"}
    routes["failure"] = helper()
    actions.dispatch_task("x", {}, routes)


def _updated_dict(actions: ActionFactory) -> None:
    routes = {"success": "a"}
    routes.update(failure=helper())
    actions.dispatch_task("x", {}, routes)


def _global(actions: ActionFactory) -> None:
    global LATER  # noqa: PLW0603 - one of the things that the reader must not trust
    LATER = "a"
    actions.go_to(LATER)


def _imported(actions: ActionFactory) -> None:
    from os.path import sep as DONE  # noqa: N812, PLC0415 - hides the constant of the module

    actions.go_to(DONE)


def _not_a_string(actions: ActionFactory) -> None:
    actions.go_to(LATER)


def _unknown_name(actions: ActionFactory) -> None:
    actions.go_to(nowhere)  # type: ignore[name-defined]  # noqa: F821


def _property(actions: ActionFactory) -> None:
    actions.go_to(CONSTANTS.trap)


def _circle(actions: ActionFactory) -> None:
    target = other = "a"
    target = other
    other = target
    actions.go_to(target)


def _passed_on(actions: ActionFactory) -> None:
    helper(actions)


def _context_passed_on(context: JobContext) -> None:
    helper(context)


def _context_actions_passed_on(context: JobContext) -> None:
    helper(context.actions)


def _not_called(actions: ActionFactory) -> None:
    go = actions.go_to
    go("a")


def _spread(actions: ActionFactory) -> None:
    options: Any = {"task_type": "x", "transitions": {"success": "a"}}
    actions.dispatch_task(**options)


def _starred(actions: ActionFactory) -> None:
    actions.dispatch_task(*["x", {}, {"success": "a"}])


def _computed_word(actions: ActionFactory) -> None:
    actions.dispatch_task("x", {}, {helper(): "a"})


def _computed_routes(actions: ActionFactory) -> None:
    actions.dispatch_task("x", {}, {**LATER})


CONSTANTS = Constants()


@pytest.mark.parametrize(
    "function",
    [
        _computed,
        _argument,
        _reassigned_argument,
        _loop,
        _tuple,
        _changed,
        _changed_dict,
        _updated_dict,
        _global,
        _imported,
        _not_a_string,
        _unknown_name,
        _property,
        _circle,
        _passed_on,
        _context_passed_on,
        _context_actions_passed_on,
        _not_called,
        _spread,
        _starred,
        _computed_word,
        _computed_routes,
    ],
)
def test_what_cannot_be_read_makes_the_reading_incomplete(function: Any) -> None:
    """Nothing is guessed: a target that may be something else is not taken for known."""
    assert not read(function).is_complete


def test_readable_part_of_an_incomplete_handler_is_kept() -> None:
    """One alternative that is known stays an edge although the other is not."""
    reading = read(_computed)

    assert reading.edges == (Edge("s", "a"),)


def test_closure_that_is_assigned_later_is_incomplete() -> None:
    """An empty cell is no value."""

    def handler(actions: ActionFactory) -> None:
        actions.go_to(late)

    assert not read(handler).is_complete
    late = "a"
    assert targets(handler) == ["a"]


def test_actions_under_other_names_are_followed() -> None:
    """An annotated argument, an alias, and the actions of an alias of the context are the same actions."""

    def handler(a: ActionFactory, ctx: JobContext) -> None:
        act: Any = a
        act.go_to("a")
        job = ctx
        other = job.actions
        other.go_to("b")
        if other.requested is None:
            job.state_history["x"] = 1

    assert targets(handler) == ["a", "b"]


def test_unknown_action_is_noticed() -> None:
    """A typing error in the name of an action is found before a job runs."""

    def handler(actions: Any) -> None:
        actions.transition_too("a")

    assert read(handler).unknown == ("transition_too",)


def test_handler_without_actions_asks_for_nothing() -> None:
    """Who receives neither actions nor context leads nowhere, with or without source."""
    assert read(lambda initial_data: None) == Reading()
    assert read(eval("lambda size: None")) == Reading()


def test_lambda_partial_and_callable_object_are_read() -> None:
    """Everything that can be a handler can be read."""

    class Handler_:  # noqa: N801 - the name is taken
        def __call__(self, actions: ActionFactory) -> None:
            actions.go_to("c")

        async def method(self, actions: ActionFactory) -> None:
            actions.go_to("d")

    def two(size: int, actions: ActionFactory) -> None:
        actions.go_to("b")

    @functools.wraps(two)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        two(*args, **kwargs)

    assert targets(lambda actions: actions.go_to("a")) == ["a"]
    assert targets(functools.partial(two, 1)) == ["b"]
    assert targets(functools.partial(wrapper, size=1)) == ["b"]
    assert targets(Handler_()) == ["c"]
    assert targets(Handler_().method) == ["d"]


def test_two_lambdas_on_a_line_are_told_apart_by_their_arguments_or_not_at_all() -> None:
    """A lambda that could be another one is not read."""
    different = [lambda actions: actions.go_to("a"), lambda context: context.actions.go_to("b")]  # fmt: skip
    alike = [lambda actions: actions.go_to("a"), lambda actions: actions.go_to("b")]  # fmt: skip

    assert targets(different[1]) == ["b"]
    assert not read(alike[0]).is_complete


def test_function_without_source_is_incomplete() -> None:
    """Code that was made at run time cannot be read."""
    scope: dict[str, Any] = {}
    exec("def handler(actions): actions.go_to('a')", scope)

    assert not read(scope["handler"]).is_complete


def test_function_of_a_notebook_cell_is_read_through_linecache() -> None:
    """A cell has no file; its lines stand where IPython puts them, strings at the margin included."""
    source = 'if True:\n    def handler(actions):\n        """\nText.\n"""\n        actions.go_to(NEXT)\n'
    name = "<cell-1>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope: dict[str, Any] = {"NEXT": "a"}
    exec(compile(source, name, "exec"), scope)

    try:
        assert targets(scope["handler"]) == ["a"]
    finally:
        del linecache.cache[name]
