"""Skills in files of their own: functions that are marked as tasks, and the folder from which a worker takes them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, overload

from avtomatika.errors import AvtomatikaError, ConfigError

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__avtomatika_task__"
DEFAULT_FOLDER = "skills"


@dataclass(frozen=True, slots=True)
class Marked:
    """What the decorator ``task`` notes on a function.

    Args:
        name: the type of the tasks; None for the function's name.
        options: as of ``Worker.task``.
    """

    name: str | None
    options: dict[str, Any] = field(default_factory=dict)


@overload
def task(name: F, /) -> F: ...
@overload
def task(name: str | None = None, /, **options: Any) -> Callable[[F], F]: ...
def task(name: str | F | None = None, /, **options: Any) -> Any:
    """Marks a function as a task, for whichever worker loads its file; used as ``Worker.task`` is.

    Args:
        name: the type of the tasks; the function's name if left out.
        options: as of ``Worker.task``.
    """

    def mark(function: F) -> F:
        setattr(function, _MARK, Marked(name if isinstance(name, str) else None, options))
        return function

    return mark(name) if callable(name) else mark


def load_skills(folder: Path) -> Iterator[tuple[Callable[..., Any], Marked, Path]]:
    """Imports each ``*.py`` file of a folder, by name, and returns the functions that are marked in them.

    A file whose name begins with ``_`` is left to the others, which can import it: the folder is searched for modules,
    after the installed ones.

    Args:
        folder: where the files are; folders below it are not looked at.

    Raises:
        ConfigError: there is no such folder, or a file cannot be imported.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"there is no folder of skills '{folder}'. Name another one, or leave WORKER_SKILLS_DIR empty."
        )
    # Under their own names, so that functions with process=True are found by the processes as well.
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    for file in sorted(folder.glob("*.py")):
        if file.name.startswith("_"):
            continue
        for function in vars(_import(file)).values():
            marked = getattr(function, _MARK, None)
            # What a file has imported from another one belongs to that.
            if isinstance(marked, Marked) and getattr(function, "__module__", "") == file.stem:
                yield function, marked, file


def _import(file: Path) -> ModuleType:
    name = file.stem
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None or Path(found.origin).resolve() != file.resolve():
        raise ConfigError(f"{file} has the name of another module, '{name}'. Rename the file.")
    try:
        return importlib.import_module(name)
    except AvtomatikaError as error:
        raise ConfigError(f"{file}: {error}") from error
    except Exception as error:
        raise ConfigError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
