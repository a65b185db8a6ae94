"""What ``bp.handler_for(...)`` returns: the decorator that registers a handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from magic_filter import MagicFilter

from avtomatika.blueprints.conditions import Condition, condition_of
from avtomatika.blueprints.handlers import Handler, name_of
from avtomatika.blueprints.registration import Options, Registration
from avtomatika.blueprints.source import find_node
from avtomatika.errors import BlueprintError

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
ConditionSource = str | Callable[[Any], Any] | MagicFilter


class HandlerDecorator:
    """What ``bp.handler_for(...)`` returns: it decorates a function, as the default or after ``.when(condition)``."""

    def __init__(
        self,
        register: Callable[[Registration], None],
        state: str | None,
        options: Options,
        condition: Condition | None = None,
    ) -> None:
        self._register = register
        self._state = state
        self._options = options
        self._condition = condition

    def when(self, condition: ConditionSource) -> HandlerDecorator:
        """Returns a decorator for a handler that runs only if the condition holds.

        The handlers of a state with conditions are tried in order of definition, before the default.

        Args:
            condition: a text such as ``"context.initial_data.type == 'urgent'"``, a function of the context, or an
                expression made from ``F``.

        Raises:
            ConditionError: the text cannot be parsed; the message points at the place.
            BlueprintError: it is none of these, or a second condition.
        """
        if self._condition is not None:
            raise BlueprintError(
                f"a handler has one condition, but '{self._condition.text}' is followed by another .when(); "
                "join them with 'and'."
            )
        return HandlerDecorator(self._register, self._state, self._options, condition_of(condition))

    def __call__(self, function: FunctionT) -> FunctionT:
        """Registers the function and returns it unchanged."""
        state = name_of(function) if self._state is None else self._state
        handler = Handler.of(function, _checked_state(state), self._condition)
        self._register(Registration(handler, self._options, find_node(function)))
        return function


def _checked_state(state: str) -> str:
    if not state.strip() or state != state.strip() or not state.isprintable():
        raise BlueprintError(f"the name of a state is printable text without spaces around it; got {state!r}.")
    if state == "<lambda>":
        raise BlueprintError("a lambda has no name that could be its state; write @bp.handler('state').")
    return state
