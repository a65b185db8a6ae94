"""The loader: finds the blueprints in the files of a folder, ``BLUEPRINTS_DIR``."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from avtomatika.blueprints.blueprint import StateMachineBlueprint
from avtomatika.errors import AvtomatikaError, BlueprintError, ConfigError


def load_folder(folder: Path) -> list[StateMachineBlueprint]:
    """Imports each ``*.py`` file of a folder, by name, and returns the blueprints that stand in them.

    A file whose name begins with ``_`` is left to the others, which can import it: the folder is searched for modules,
    after the installed ones.

    Args:
        folder: where the files are; folders below it are not looked at.

    Returns:
        The blueprints, in the order of the files and of the names in them; each once.

    Raises:
        ConfigError: there is no such folder, a file cannot be imported, no blueprint is found, or two files define
            blueprints of one name.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"BLUEPRINTS_DIR is '{folder}', which is no folder. Name the folder with the blueprints' files."
        )
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    found: dict[str, tuple[StateMachineBlueprint, Path]] = {}
    for file in sorted(folder.glob("*.py")):
        if file.name.startswith("_"):
            continue
        for blueprint in vars(_import(file)).values():
            if not isinstance(blueprint, StateMachineBlueprint):
                continue
            known, where = found.setdefault(blueprint.name, (blueprint, file))
            if known is not blueprint:
                raise ConfigError(
                    f"blueprint '{blueprint.name}' is defined twice in BLUEPRINTS_DIR: in {where.name} and in "
                    f"{file.name}. Rename one of them."
                )
    if not found:
        raise ConfigError(
            f"BLUEPRINTS_DIR is '{folder}', and no .py file there defines a blueprint. Put one there, or leave "
            "BLUEPRINTS_DIR empty."
        )
    return [blueprint for blueprint, _ in found.values()]


def _import(file: Path) -> ModuleType:
    # A name of its own: a file called `json.py` must not stand in for the module that everybody else means.
    name = f"_blueprints_{hashlib.sha256(str(file.parent.resolve()).encode()).hexdigest()[:8]}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file} cannot be imported; is it a Python file?")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BlueprintError as error:
        raise ConfigError(f"{file}: {error}") from error
    except AvtomatikaError:
        raise
    except Exception as error:
        raise ConfigError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    return module
