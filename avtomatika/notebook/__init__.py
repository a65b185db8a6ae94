"""The workbench: an engine in a notebook."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avtomatika.notebook.handles import JobHandle
    from avtomatika.notebook.remote import RemoteWorkbench
    from avtomatika.notebook.workbench import Workbench

__all__ = ["JobHandle", "RemoteWorkbench", "Workbench"]

_HOMES = {"JobHandle": "handles", "RemoteWorkbench": "remote", "Workbench": "workbench"}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: a program that wants a chart only needs no engine for it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'avtomatika.notebook' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"avtomatika.notebook.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names, used or not."""
    return sorted({*globals(), *__all__})
