"""A handler as its decorator registered it: its options, and which earlier handler it takes the place of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from avtomatika.blueprints.export import ExportedHandler
from avtomatika.blueprints.handlers import Handler, plain_function
from avtomatika.blueprints.literals import FunctionNode
from avtomatika.blueprints.source import read_handler
from avtomatika.blueprints.validation import ReadHandler
from avtomatika.errors import BlueprintError, suggest

_OUTCOMES: Final = ("finished", "failed")


@dataclass(frozen=True, slots=True)
class Options:
    """What a decorator was given besides name and condition."""

    is_aggregator: bool
    is_start: bool
    is_end: bool
    outcome: str
    declared: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """A handler with the options of its decorator and the source it had at that moment."""

    handler: Handler
    options: Options
    node: FunctionNode | None

    def read(self) -> ReadHandler:
        """Reads the source; constants have the values that they have now."""
        options = self.options
        return ReadHandler(
            self.handler,
            read_handler(self.handler, self.node),
            options.is_aggregator,
            options.is_end,
            options.outcome,
            options.declared,
        )

    def exported(self) -> ExportedHandler:
        """Returns the handler as a module shows it."""
        options, handler = self.options, self.handler
        given = {
            "is_start": options.is_start,
            "is_end": options.is_end,
            "outcome": options.outcome,
            "transitions": list(options.declared) if options.declared is not None else None,
        }
        decorator = "aggregator_for" if options.is_aggregator else "handler_for"
        used = {name: value for name, value in given.items() if value or value == []}
        return ExportedHandler(handler.state, handler.function, handler.condition, decorator, used)


def options_of(
    is_aggregator: bool, is_start: bool, is_end: bool, outcome: str | None, transitions: Iterable[str] | None
) -> Options:
    """Checks what a decorator was given.

    Raises:
        BlueprintError: the outcome is no outcome, or the transitions are no list of states.
    """
    if outcome is not None and outcome not in _OUTCOMES:
        raise BlueprintError(f"outcome is 'finished' or 'failed'; got {outcome!r}.{suggest(str(outcome), _OUTCOMES)}")
    return Options(is_aggregator, bool(is_start), bool(is_end), outcome or "", _declared(transitions))


def _declared(transitions: Iterable[str] | None) -> tuple[str, ...] | None:
    if transitions is None:
        return None
    is_list = isinstance(transitions, Iterable) and not isinstance(transitions, str | Mapping)
    targets = tuple(transitions) if is_list else ()
    if not is_list or not all(isinstance(target, str) for target in targets):
        raise BlueprintError(
            f"transitions is a list of the states that a handler leads to, such as ['ship', 'refund']; "
            f"got {transitions!r}."
        )
    return targets


def supersedes(new: Registration, old: Registration) -> bool:
    """Whether ``new`` is the same handler as ``old``, defined again: a notebook cell was run once more.

    It is if both have the same condition, or if the function of that name was defined elsewhere before, as every change
    of a cell makes it. Two functions of one name and different conditions in one file are two handlers. In a notebook,
    a default replaces the former default whatever its name was.
    """
    if _are_rivals(new, old) and _is_in_notebook(new.handler.function):
        return True
    first, second = old.handler.condition, new.handler.condition
    if first is not None and second is not None and first.identity == second.identity:
        return True
    if old.handler.function is new.handler.function:
        return first is None and second is None
    before, after = plain_function(old.handler.function), plain_function(new.handler.function)
    if before is None or after is None or _label(before) != _label(after) or after.__name__ in {"_", "<lambda>"}:
        return False
    is_elsewhere = before.__code__.co_filename != after.__code__.co_filename
    return is_elsewhere or (first is None and second is None)


def _label(function: Callable[..., Any]) -> tuple[str, str]:
    return function.__module__, function.__qualname__


def check_default(new: Registration, others: Iterable[Registration]) -> None:
    """Checks that a state gets no second default.

    Raises:
        BlueprintError: one of the others is its default, and the new one would be another.
    """
    for old in others:
        if _are_rivals(new, old):
            raise BlueprintError(
                f"state '{new.handler.state}' already has the default handler '{old.handler.name}', and "
                f"'{new.handler.name}' would be a second one; give one of them a condition with .when(...), or "
                "another state."
            )


def _are_rivals(new: Registration, old: Registration) -> bool:
    """Whether both want to be the default of the state."""
    is_default = new.handler.condition is None and old.handler.condition is None
    return is_default and new.options.is_aggregator == old.options.is_aggregator


def _is_in_notebook(function: Callable[..., Any]) -> bool:
    """Whether the function was typed into a running IPython shell, where a new definition replaces the former."""
    ipython = sys.modules.get("IPython")
    return getattr(function, "__module__", "") == "__main__" and ipython is not None and bool(ipython.get_ipython())
