"""Export: a blueprint as a Python module of its own, out of the cells in which it was written."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import linecache
import symtable
import textwrap
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from avtomatika.blueprints.conditions import Condition, TextCondition
from avtomatika.blueprints.handlers import plain_function
from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.blueprints.stores import DataStore, SharedStore
from avtomatika.errors import BlueprintError

_VARIABLE = "bp"


@dataclass(frozen=True, slots=True)
class ExportedHandler:
    """A handler to write.

    Args:
        state: that it belongs to.
        function: as registered.
        condition: or None.
        decorator: ``handler_for`` or ``aggregator_for``.
        options: of the decorator, besides the state, that differ from their defaults.
    """

    state: str
    function: Callable[..., Any]
    condition: Condition | None
    decorator: str
    options: Mapping[str, Any]


def module_text(
    arguments: Mapping[str, Any], stores: Mapping[str, Any], handlers: Iterable[ExportedHandler], blueprint: object
) -> str:
    """Returns the text of a module that defines the blueprint as ``bp``.

    What the handlers use of the notebook comes along: imports, functions, classes, and constants that can be written
    down.

    Args:
        arguments: of ``StateMachineBlueprint``, those that differ from their defaults.
        stores: the data stores by name.
        handlers: in order of definition.
        blueprint: the blueprint itself, to know it among the names that handlers use.

    Raises:
        BlueprintError: a handler has no source, a condition is no text, or something that a handler uses cannot be
            written down.
    """
    found = _Needs(blueprint)
    bodies = []
    for handler in handlers:
        decorator = f"@{_VARIABLE}.{handler.decorator}({', '.join([repr(handler.state), *_keywords(handler.options)])})"
        if handler.condition is not None:
            decorator += f".when({_condition_text(handler)!r})"
        bodies.append(f"{decorator}\n{found.definition(handler.function, 'handler of state ' + repr(handler.state))}")
    name = [repr(arguments["name"]), *_keywords({key: value for key, value in arguments.items() if key != "name"})]
    made = f"{_VARIABLE} = StateMachineBlueprint({', '.join(name)})"
    imports = sorted({"from avtomatika import StateMachineBlueprint", *found.imports})
    parts = [
        "\n".join(imports),
        "\n".join(found.constants),
        *found.definitions,
        "\n".join([made, *(_store_text(store, value) for store, value in stores.items())]),
        *bodies,
    ]
    return _tidy(f'"""The blueprint {arguments["name"]}."""', parts)


def _tidy(docstring: str, parts: Iterable[str]) -> str:
    return f"{docstring}\n\n" + "\n\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def _keywords(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={_value_text(value)}" for name, value in values.items()]


def _value_text(value: Any) -> str:
    if isinstance(value, RetryPolicy):  # it may be written as a dict, which needs no import
        given = {name: getattr(value, name) for name in value.__struct_fields__}
        return repr({name: part for name, part in given.items() if part is not None})
    return repr(value)


def _condition_text(handler: ExportedHandler) -> str:
    if not isinstance(handler.condition, TextCondition):
        raise BlueprintError(
            f"the condition of a handler of state '{handler.state}' is no text, and cannot be written into a module; "
            "give it as text: .when(\"context.initial_data.kind == 'urgent'\")."
        )
    return handler.condition.text


def _store_text(name: str, store: Any) -> str:
    if isinstance(store, DataStore):
        return f"{_VARIABLE}.add_data_store({name!r})"
    if isinstance(store, SharedStore) and store.name is None:
        return f"{_VARIABLE}.add_data_store({name!r}, shared=True)"
    return f"# {_VARIABLE}.add_data_store({name!r}, ...)  # a {type(store).__name__}: make it where the module is used"


class _Needs:
    """What the written functions use of the place where they were defined, gathered as they are written."""

    def __init__(self, blueprint: object) -> None:
        self._blueprint = blueprint
        self._known: set[str] = set()
        self.imports: set[str] = set()
        self.constants: list[str] = []
        self.definitions: list[str] = []

    def definition(self, thing: Any, what: str) -> str:
        """Returns the source of a function or class without its decorators, and gathers what it uses."""
        text, names = _class_source(thing) if isinstance(thing, type) else _function_source(thing)
        if not text:
            raise BlueprintError(
                f"the {what} has no source that could be written into a module: it is a lambda, uses variables of a "
                "function around it, or was not typed in; define it with def or class at the top of a cell."
            )
        variables = {name for name, value in names.items() if value is self._blueprint}
        for name in sorted(_free_names(text) - variables):
            if name in names:
                self._need(name, names[name], what)
            elif not hasattr(builtins, name):
                raise BlueprintError(f"the {what} uses '{name}', which is not defined.")
        return text

    def _need(self, name: str, value: Any, what: str) -> None:
        if name in self._known:
            return
        self._known.add(name)
        module = getattr(value, "__module__", None)
        if isinstance(value, types.ModuleType):
            self.imports.add(f"import {value.__name__}" + ("" if value.__name__ == name else f" as {name}"))
        elif isinstance(value, type | types.FunctionType) and module in {"__main__", "builtins", None}:
            definition = self.definition(value, f"{type(value).__name__} '{name}'")
            self.definitions.append(definition)
        elif module and _is_importable(module, getattr(value, "__name__", name), value):
            original = getattr(value, "__name__", name)
            self.imports.add(f"from {module} import {original}" + ("" if original == name else f" as {name}"))
        elif _is_literal(value):
            self.constants.append(f"{name} = {value!r}")
        else:
            raise BlueprintError(
                f"the {what} uses '{name}', a {type(value).__name__} that cannot be written into a module; pass it as "
                "initial_data, or keep it in a data store."
            )


def _function_source(thing: Any) -> tuple[str, Mapping[str, Any]]:
    """Returns the source of a function without its decorators, or an empty text, and the names around it."""
    plain = plain_function(thing)
    if plain is None or plain.__closure__:
        return "", {}
    try:
        source = textwrap.dedent(inspect.getsource(plain))
    except (OSError, TypeError):
        return "", {}
    return _piece(source, plain.__name__, (ast.FunctionDef, ast.AsyncFunctionDef)), plain.__globals__


def _class_source(thing: type) -> tuple[str, Mapping[str, Any]]:
    """The same of a class, by way of its methods: a notebook's module has no file in which to look for it."""
    for member in vars(thing).values():
        plain = plain_function(member) if callable(member) else None
        if plain is not None and plain.__qualname__.startswith(f"{thing.__qualname__}."):
            source = "".join(linecache.getlines(plain.__code__.co_filename))
            if text := _piece(source, thing.__name__, (ast.ClassDef,)):
                return text, plain.__globals__
    return "", {}


def _piece(source: str, name: str, kinds: tuple[type[ast.stmt], ...]) -> str:
    """Returns the lines of a definition at the top of a text; the last one of that name."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    found = [node for node in tree.body if isinstance(node, kinds) and getattr(node, "name", "") == name]
    if not found:
        return ""
    return "\n".join(source.splitlines()[found[-1].lineno - 1 : found[-1].end_lineno])


def _free_names(text: str) -> set[str]:
    """Returns the names that a definition takes from the module around it."""
    found: set[str] = set()
    tables = list(symtable.symtable(text, "<export>", "exec").get_children())
    own = {table.get_name() for table in tables}
    for table in tables:
        tables.extend(table.get_children())
        found |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
    # Default values and annotations belong to the module's own table.
    module = symtable.symtable(text, "<export>", "exec")
    found |= {symbol.get_name() for symbol in module.get_symbols() if symbol.is_referenced()}
    return found - own


def _is_importable(module: str, name: str, value: Any) -> bool:
    try:
        return getattr(importlib.import_module(module), name, None) is value
    except ImportError:
        return False


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, TypeError, MemoryError):
        return False
