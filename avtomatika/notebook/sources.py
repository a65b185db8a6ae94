"""Sources: the text of the handlers of a blueprint, for whoever looks at one of its states."""

from __future__ import annotations

import inspect
import textwrap

from avtomatika.blueprints import CompiledBlueprint
from avtomatika.blueprints.handlers import Handler, plain_function
from avtomatika.notebook.answers import Sources

_MAX_TEXT = 20_000


def sources_of(blueprint: CompiledBlueprint) -> Sources:
    """Returns the handlers of each state, in the order in which they are tried: name, condition, source."""
    return {
        state: [
            (handler.name, handler.condition.text if handler.condition is not None else "", source_of(handler))
            for handler in handlers
        ]
        for state, handlers in blueprint.handlers.items()
    }


def source_of(handler: Handler) -> str:
    """Returns the source of a handler with its decorators, or an empty text where there is none."""
    function = plain_function(handler.function)
    if function is None:
        return ""
    try:
        return textwrap.dedent(inspect.getsource(function))[:_MAX_TEXT]
    except (OSError, TypeError):  # typed into a console, or made by a program
        return ""
