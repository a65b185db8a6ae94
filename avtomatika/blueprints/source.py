"""Reads from the source of a handler where it leads, without running it.

What is read: calls of ``actions.transition_to("x")`` and the other actions, whatever the argument is called that holds
the actions or the context. A target may be a string, ``"a" if test else "b"``, a local variable that is only ever
assigned such values, a constant of the module, of a class or of an enclosing function, or a value of a dict of these.
What cannot be read makes the reading incomplete; nothing is guessed.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from avtomatika.blueprints.actions import ActionFactory
from avtomatika.blueprints.graph import Edge, EdgeKind
from avtomatika.blueprints.handlers import Handler, plain_function
from avtomatika.blueprints.literals import (
    FunctionNode,
    Names,
    Unreadable,
    alternatives,
    entries_of,
    is_string,
    strings_of,
)

ACTION_NAMES: Final = tuple(name for name in dir(ActionFactory) if not name.startswith("_"))
"""The methods of ``actions``."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the source of one handler says.

    Args:
        edges: the ways out of its state, in order of appearance.
        requests: names of the actions that it calls, in order of appearance.
        unknown: names that it calls on ``actions`` although there is no such action.
        is_complete: it asks for nothing else than what is listed here.
    """

    edges: tuple[Edge, ...] = ()
    requests: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    is_complete: bool = True


def find_node(function: Callable[..., Any]) -> FunctionNode | None:
    """Returns the syntax tree of the function's definition, or None where there is no source.

    To be called when the function is defined: later the file may have changed, and with it what its lines say.
    """
    plain = plain_function(function)
    if plain is None:
        return None
    try:
        tree = _parse(textwrap.dedent(inspect.getsource(plain)))
    except (OSError, TypeError, SyntaxError):  # no file, no function, or a piece of a line
        return None
    if plain.__code__.co_name == "<lambda>":
        arguments = _argument_names(plain.__code__)
        lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda) and _names_of(node) == arguments]
        return lambdas[0] if len(lambdas) == 1 else None
    definitions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return next((node for node in definitions if node.name == plain.__code__.co_name), None)


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except IndentationError:  # a string over several lines begins at the margin, so that dedent could do nothing
        return ast.parse("if True:\n" + source)


def _argument_names(code: types.CodeType) -> list[str]:
    return list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


def _names_of(node: ast.Lambda) -> list[str]:
    return [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]


def read_handler(handler: Handler, node: FunctionNode | None) -> Reading:
    """Returns where the handler leads.

    Args:
        handler: the handler.
        node: what ``find_node`` returned for its function.
    """
    actions = {p.name for p in handler.parameters if p.source == "actions"}
    contexts = {p.name for p in handler.parameters if p.source == "context"}
    if not actions and not contexts:
        return Reading()  # it receives nothing by which it could ask for an action
    plain = plain_function(handler.function)
    if node is None or plain is None:
        return Reading(is_complete=False)
    reader = _Reader(handler, Names(plain, node), actions, contexts)
    reader.read(_body(node))
    return Reading(
        tuple(dict.fromkeys(reader.edges)), tuple(reader.requests), tuple(reader.unknown), reader.is_complete
    )


def _body(node: FunctionNode) -> list[ast.AST]:
    return [node.body] if isinstance(node, ast.Lambda) else list(node.body)


class _Reader(ast.NodeVisitor):
    """Walks through a function and collects the actions that it asks for."""

    def __init__(self, handler: Handler, names: Names, actions: set[str], contexts: set[str]) -> None:
        self.edges: list[Edge] = []
        self.requests: list[str] = []
        self.unknown: list[str] = []
        self.is_complete = True
        self._handler = handler
        self._names = names
        self._actions = actions
        self._contexts = contexts
        self._dicts: list[ast.Dict] = []

    def read(self, statements: Iterable[ast.AST]) -> None:
        """Reads the body of a function."""
        for statement in statements:
            self.visit(statement)
        if "dispatch_parallel" in self.requests:
            for node in self._dicts:
                self._parallel_task(node)

    # --- where the actions object goes ---

    def visit_Call(self, node: ast.Call) -> None:
        """Reads an action; any other call is looked through for actions that are passed on."""
        if isinstance(node.func, ast.Attribute) and self._is_actions(node.func.value):
            self._request(node.func.attr, node)
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                self.visit(argument)
        else:
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Follows ``actions`` and ``context`` under other names."""
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        if len(names) != len(node.targets) or not self._follow(names, node.value):
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Follows ``actions`` and ``context`` under other names."""
        names = [node.target.id] if isinstance(node.target, ast.Name) else []
        if node.value is not None and not (names and self._follow(names, node.value)):
            self.visit(node.value)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Notices an action that is not called at once, and actions that are passed on."""
        if self._is_actions(node) or (self._is_actions(node.value) and node.attr != "requested"):
            self.is_complete = False
        elif not self._is_actions(node.value) and not self._is_context(node.value):
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        """Notices that the actions, or the context with them, are passed on to where this reader does not look."""
        if self._is_actions(node) or self._is_context(node):
            self.is_complete = False

    def _follow(self, names: list[str], value: ast.expr) -> bool:
        if self._is_actions(value):
            self._actions.update(names)
        elif self._is_context(value):
            self._contexts.update(names)
        else:
            return False
        return True

    def _is_actions(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Attribute):
            return node.attr == "actions" and self._is_context(node.value)
        return isinstance(node, ast.Name) and node.id in self._actions

    def _is_context(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self._contexts

    # --- what is asked of it ---

    def _request(self, action: str, call: ast.Call) -> None:
        self.requests.append(action)
        if action not in ACTION_NAMES:
            self.unknown.append(action)
        match action:
            case "transition_to" | "go_to":
                self._transition(call)
            case "sleep" | "sleep_until":
                for target in self._strings(self._argument(call, 1, "then")):
                    self._edge(target, EdgeKind.SLEEP)
            case "dispatch_task":
                task_type = self._certain(self._argument(call, 0, "task_type"))
                self._transitions(self._argument(call, 2, "transitions"), EdgeKind.TASK, task_type)
            case "dispatch_parallel":
                self._fan_out(call)
            case "await_human_approval":
                self._transitions(self._argument(call, 1, "transitions"), EdgeKind.APPROVAL)
            case "run_blueprint":
                name = self._certain(self._argument(call, 0, "blueprint_name"))
                self._transitions(self._argument(call, 2, "transitions"), EdgeKind.SUB_BLUEPRINT, name)

    def _argument(self, call: ast.Call, index: int, name: str) -> ast.expr | None:
        """Returns the expression given for a parameter of an action, or None."""
        for keyword in call.keywords:
            if keyword.arg == name:
                return keyword.value
        positional = call.args[: index + 1]
        if any(isinstance(argument, ast.Starred) for argument in positional):
            self.is_complete = False
        elif len(positional) > index:
            return positional[index]
        elif any(keyword.arg is None for keyword in call.keywords):
            self.is_complete = False
        return None

    def _transition(self, call: ast.Call) -> None:
        for target in self._strings(self._argument(call, 0, "state")):
            self._edge(target, EdgeKind.TRANSITION)

    def _fan_out(self, call: ast.Call) -> None:
        for target in self._strings(self._argument(call, 1, "aggregate_into")):
            self._edge(target, EdgeKind.AGGREGATE)

    def visit_Dict(self, node: ast.Dict) -> None:
        """Keeps dicts for later: one may describe a parallel task, wherever the list of tasks is put together."""
        self._dicts.append(node)
        self.generic_visit(node)

    def _parallel_task(self, node: ast.Dict) -> None:
        keys = {key.value: value for key, value in zip(node.keys, node.values, strict=True) if is_string(key)}
        task_type = keys.get("task_type", keys.get("type"))
        if task_type is not None:
            self._transitions(keys.get("transitions"), EdgeKind.TASK, self._certain(task_type))

    def _transitions(self, node: ast.expr | None, kind: EdgeKind, name: str = "") -> None:
        for word, targets in self._pairs(node):
            for target in targets:
                self._edge(target, kind, word, name)

    def _edge(self, target: str, kind: EdgeKind, label: str = "", task_type: str = "") -> None:
        condition = self._handler.condition.text if self._handler.condition else ""
        self.edges.append(Edge(self._handler.state, target, kind, label, condition, task_type))

    # --- what an expression can be ---

    def _certain(self, node: ast.expr | None) -> str:
        """Returns the name of a task's type or of a blueprint if it is certain, else nothing; it leads nowhere."""
        try:
            names = strings_of(node, self._names) if node is not None else []
        except Unreadable:
            return ""
        return names[0] if len(names) == 1 else ""

    def _strings(self, node: ast.expr | None) -> list[str]:
        """Returns the strings that an expression can be; whatever else it can be makes the reading incomplete."""
        if node is None:
            return []
        strings: list[str] = []
        for part in alternatives(node):
            try:
                strings.extend(strings_of(part, self._names))
            except Unreadable:
                self.is_complete = False
        return strings

    def _pairs(self, node: ast.expr | None) -> list[tuple[str, list[str]]]:
        """Returns the keys of a dict, and for each the strings that its value can be."""
        if node is None or (isinstance(node, ast.Constant) and node.value is None):
            return []
        try:
            entries = entries_of(node, self._names)
        except Unreadable:
            self.is_complete = False
            return []
        return [
            (word, self._strings(value) if isinstance(value, ast.expr) else [value])
            for key, value in entries
            for word in ([key] if isinstance(key, str) else self._strings(key))
        ]
