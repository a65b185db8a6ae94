"""Every public name says what it does, what its arguments mean, in which unit, and what it raises."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from avtomatika.engine import OrchestratorEngine
from avtomatika.payloads.task_files import BlockingTaskFiles, TaskFiles
from avtomatika.storage import Storage

MODULES = ("blueprints", "client", "errors", "notebook", "storage", "testing", "worker")
# Ids of what a method is about speak for themselves: find_job(job_id).
_SPEAKING = re.compile(r".*_ids?$")
_TIMES = re.compile(r".*(timeout|delay|interval|wait|ttl|lease|patience|seconds|pause)s?$")


@dataclass(frozen=True)
class Described:
    """A public class, function or method with what is said about it."""

    name: str
    thing: Any
    doc: str
    context: str

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """What it takes, but for what has no name of its own."""
        if isinstance(self.thing, property) or _takes_nothing_of_its_own(self.thing):
            return []
        found = inspect.signature(self.thing).parameters.values()
        return [one for one in found if one.name not in {"self", "cls"} and not one.name.startswith("_")]

    @property
    def explained(self) -> dict[str, str]:
        """Each name of its section ``Args`` with what is said of it."""
        section = re.search(r"^Args:\n((?: .*\n?|\n)*)", self.doc, re.MULTILINE)
        text = section[1] if section else ""
        entries = re.findall(r"^ {4}\*{0,2}([\w, *]+):(.*\n?(?:^ {5,}.*\n?)*)", text, re.MULTILINE)
        return {name.strip(" *"): text for names, text in entries for name in names.split(",")}

    @property
    def refers(self) -> bool:
        """Whether it leaves its arguments to another docstring: see ``AsyncClient.submit``; as ``cancel_jobs``."""
        return re.search(r"\b([Ss]ee|[Aa]s|[Ll]ike|for)\s+``[\w.]+``", self.doc) is not None


def _takes_nothing_of_its_own(thing: Any) -> bool:
    """Whether a class is not called by users, or takes what its base class does."""
    return inspect.isclass(thing) and (
        issubclass(thing, enum.Enum) or thing is Storage or "__init__" not in vars(thing)
    )


def _public() -> Iterator[Described]:
    injected = {"TaskFiles": TaskFiles, "BlockingTaskFiles": BlockingTaskFiles}
    found: dict[str, Any] = {"OrchestratorEngine": OrchestratorEngine, **injected}
    for module in MODULES:
        imported = importlib.import_module(f"avtomatika.{module}")
        found |= {f"{module}.{name}": getattr(imported, name) for name in imported.__all__}
    for name, thing in found.items():
        if inspect.isclass(thing):
            doc = inspect.cleandoc(thing.__doc__ or "")
            yield Described(name, thing, doc, doc)
            yield from _members(name, thing, doc)
        elif inspect.isfunction(thing):
            doc = inspect.getdoc(thing) or ""
            yield Described(name, thing, doc, doc)


def _members(name: str, owner: type, context: str) -> Iterator[Described]:
    is_backend = owner.__module__.startswith("avtomatika.storage") and owner is not Storage
    contract = dir(Storage) if is_backend else ()
    # The contract is written in parts, each a base of the whole.
    parts = owner.__mro__ if owner is Storage else (owner,)
    for member, thing in itertools.chain.from_iterable(vars(part).items() for part in parts):
        function = getattr(thing, "__func__", thing)
        if member.startswith("_") or member in contract:  # the contract is described once, in Storage
            continue
        if isinstance(thing, property) or inspect.isfunction(function):
            doc = inspect.cleandoc(function.__doc__ or "")
            yield Described(f"{name}.{member}", function, doc, f"{doc}\n{context}")


PUBLIC = list(_public())


def _without_docstring() -> Iterator[str]:
    yield from (one.name for one in PUBLIC if not one.doc)


def _with_unexplained_arguments() -> Iterator[str]:
    for one in PUBLIC:
        named = one.explained
        missing = [
            parameter.name
            for parameter in one.parameters
            if parameter.name not in named
            and not _SPEAKING.match(parameter.name)
            and (named or not re.search(rf"\b{parameter.name}\b", one.doc))
        ]
        if missing and not one.refers:
            yield f"{one.name}: {', '.join(missing)}"


def _with_times_without_unit() -> Iterator[str]:
    for one in PUBLIC:
        for name, text in one.explained.items():
            if _TIMES.match(name) and "second" not in text.lower():
                yield f"{one.name}: {name}"


def _with_untold_errors() -> Iterator[str]:
    for one in PUBLIC:
        function = one.thing.fget if isinstance(one.thing, property) else one.thing
        if inspect.isfunction(function):
            tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
            raised = {node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None}
            names = {_called(error) for error in raised} - {"StopIteration", "AssertionError"}
            untold = {name for name in names if name.endswith("Error") and name not in one.context}
            if untold:
                yield f"{one.name}: {', '.join(sorted(untold))}"


def _called(error: ast.expr) -> str:
    named = error.func if isinstance(error, ast.Call) else error
    return named.id if isinstance(named, ast.Name) else getattr(named, "attr", "")


@pytest.mark.parametrize(
    "faults",
    [_without_docstring, _with_unexplained_arguments, _with_times_without_unit, _with_untold_errors],
    ids=lambda faults: faults.__name__.strip("_"),
)
def test_public_names_are_described(faults: Callable[[], Iterator[str]]) -> None:
    """``help(name)`` and the reference answer what a user asks: what, with what, in which unit, and what goes wrong."""
    assert list(faults()) == []
