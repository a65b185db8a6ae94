"""Loading: finds the object that ``module:name`` on a command line means."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from avtomatika.errors import AvtomatikaError, ConfigError, suggest

T = TypeVar("T")
log = logging.getLogger(__name__)


def load_object(target: str, kind: type[T], noun: str) -> T:
    """Imports an object.

    Args:
        target: ``module:name``, or ``module`` alone if it defines one such object only. The working directory is
            searched before the installed modules.
        kind: the class that it must be of.
        noun: what people call it, for messages.

    Raises:
        ConfigError: there is no such module, it cannot be imported, or it has no such object.
    """
    module_name, _, name = target.partition(":")
    module = _import(module_name, noun)
    objects = {key: value for key, value in vars(module).items() if isinstance(value, kind)}
    known = ", ".join(objects) or "none"
    if not name and len({id(value) for value in objects.values()}) == 1:
        return next(iter(objects.values()))
    if not name:
        raise ConfigError(f"module '{module_name}' has these {noun}s: {known}. Name one: {module_name}:NAME")
    if name in objects:
        return objects[name]
    found = getattr(module, name, None)
    what = "does not have it" if found is None else f"has a {type(found).__name__} under that name"
    raise ConfigError(
        f"{noun} '{name}' was expected in module '{module_name}', which {what}; its {noun}s: {known}."
        f"{suggest(name, objects)}"
    )


def _import(name: str, noun: str) -> ModuleType:
    if name.endswith(".py"):
        module = name.removesuffix(".py").replace("/", ".")
        raise ConfigError(f"'{name}' is a file; name the module: {module}:{noun}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"there is no module '{name}' here ({here}) or among the installed ones.") from error
        raise ConfigError(f"module '{name}' needs '{error.name}', which is not installed.") from error
    except AvtomatikaError:
        raise  # a sentence of ours says it better than a traceback
    except Exception as error:
        log.exception("module '%s' raised", name)
        raise ConfigError(f"module '{name}' cannot be imported: {type(error).__name__}: {error}") from error
