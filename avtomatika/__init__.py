"""avtomatika: durable asynchronous workflows as state machines, from a notebook cell to production."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from avtomatika.version import __version__

if TYPE_CHECKING:
    from avtomatika.blueprints import ActionFactory, Blueprint, F, JobContext, RetryPolicy, StateMachineBlueprint
    from avtomatika.config import Config
    from avtomatika.engine import OrchestratorEngine
    from avtomatika.errors import AvtomatikaError

__all__ = [
    "ActionFactory",
    "AvtomatikaError",
    "Blueprint",
    "Config",
    "F",
    "JobContext",
    "OrchestratorEngine",
    "RetryPolicy",
    "StateMachineBlueprint",
    "__version__",
]

_HOMES = {
    "ActionFactory": "blueprints",
    "AvtomatikaError": "errors",
    "Blueprint": "blueprints",
    "Config": "config",
    "F": "blueprints",
    "JobContext": "blueprints",
    "OrchestratorEngine": "engine",
    "RetryPolicy": "blueprints",
    "StateMachineBlueprint": "blueprints",
    # What IPython looks for when a notebook says %load_ext avtomatika.
    "load_ipython_extension": "notebook.magics",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: a worker process must not load the engine to import its SDK."""
    if name not in _HOMES:
        raise AttributeError(f"module 'avtomatika' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"avtomatika.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names, used or not."""
    return sorted({*globals(), *__all__})
