"""avtomatika: durable asynchronous workflows as state machines, from a notebook cell to production."""

from avtomatika.blueprints import ActionFactory, F, JobContext, StateMachineBlueprint
from avtomatika.config import Config
from avtomatika.engine import OrchestratorEngine
from avtomatika.errors import AvtomatikaError
from avtomatika.version import __version__

Blueprint = StateMachineBlueprint

__all__ = [
    "ActionFactory",
    "AvtomatikaError",
    "Blueprint",
    "Config",
    "F",
    "JobContext",
    "OrchestratorEngine",
    "StateMachineBlueprint",
    "__version__",
]
