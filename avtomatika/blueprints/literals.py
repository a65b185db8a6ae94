"""What an expression in the source of a function can be, as far as the source tells.

Strings and dicts of strings are followed through local variables, constants of enclosing functions, modules and
classes, and ``a if test else b``. No code of the user is run for it.
"""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Iterable
from enum import Enum, EnumType
from typing import Any, TypeGuard

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Unreadable(Exception):  # noqa: N818 - it never leaves this module and means no error
    """An expression whose value the source does not tell."""


class Names:
    """What the names in a function stand for: its local variables, then what encloses it, then its module."""

    def __init__(self, function: types.FunctionType, node: FunctionNode) -> None:
        self._function = function
        self._own = {*function.__code__.co_varnames, *function.__code__.co_cellvars}
        self._values: dict[str, list[ast.expr]] = {}
        self._hidden: set[str] = set()
        assigned: set[int] = set()
        for part in ast.walk(node):
            self._note(part, assigned)

    def _note(self, part: ast.AST, assigned: set[int]) -> None:
        """Collects the values of local variables, and the variables that change in any other way."""
        match part:
            case ast.arg(arg=name):
                self._hidden.add(name)  # whoever calls it decides
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                self._hidden.update(names)
            case ast.Assign(targets=targets, value=value):
                self._note_targets(targets, value, assigned)
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
                self._note_targets([target], value, assigned)
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if id(part) not in assigned:
                self._hidden.add(name)
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                self._hidden.add(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name))):
                self._hidden.add(name)  # a dict may change by its methods

    def _note_targets(self, targets: Iterable[ast.expr], value: ast.expr, assigned: set[int]) -> None:
        for target in targets:
            if isinstance(target, ast.Name):
                self._values.setdefault(target.id, []).append(value)
                assigned.add(id(target))

    def values(self, name: str) -> list[ast.expr]:
        """Returns every value that a local variable is assigned; empty if the name is no local variable."""
        if name in self._hidden:
            raise Unreadable
        values = self._values.get(name, [])
        if not values and name in self._own:
            raise Unreadable
        return values

    def static(self, node: ast.expr) -> Any:
        """Returns the value of a constant of an enclosing function, the module, or a class or module named there."""
        match node:
            case ast.Name(id=name):
                return self._enclosing(name)
            case ast.Attribute(value=base, attr=attribute):
                return _attribute(self.static(base), attribute)
        raise Unreadable

    def _enclosing(self, name: str) -> Any:
        if name in self._values or name in self._hidden or name in self._own:
            raise Unreadable
        if name in self._function.__code__.co_freevars:
            cell = (self._function.__closure__ or ())[self._function.__code__.co_freevars.index(name)]
            try:
                return cell.cell_contents
            except ValueError:  # assigned later
                raise Unreadable from None
        try:
            return self._function.__globals__[name]
        except KeyError:
            raise Unreadable from None


def _attribute(owner: Any, name: str) -> Any:
    """Returns what a class, an enum or a module holds under a name, without running a property or ``__getattr__``."""
    try:
        match owner:
            case Enum() if name == "value":
                return owner.value
            case EnumType():
                return owner.__members__[name]
            case type() | types.ModuleType():
                return inspect.getattr_static(owner, name)
    except (AttributeError, KeyError):
        pass
    raise Unreadable


def is_string(node: ast.expr | None) -> TypeGuard[ast.Constant]:
    """Returns whether the expression is a string as written."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def alternatives(node: ast.expr) -> list[ast.expr]:
    """Splits ``a if test else b`` into its values."""
    if isinstance(node, ast.IfExp):
        return [*alternatives(node.body), *alternatives(node.orelse)]
    return [node]


def _plain(value: Any) -> str:
    """Returns a constant as a plain string; members of a string enum are strings too."""
    if not isinstance(value, str):
        raise Unreadable
    return str.__str__(value)


def strings_of(node: ast.expr, names: Names, seen: frozenset[str] = frozenset()) -> list[str]:
    """Returns every string that an expression can be.

    Raises:
        Unreadable: it can be something that the source does not tell.
    """
    match node:
        case ast.Constant(value=str() as text):
            return [text]
        case ast.IfExp():
            return [text for part in alternatives(node) for text in strings_of(part, names, seen)]
        case ast.Name(id=name) if name not in seen and (values := names.values(name)):
            return [text for value in values for text in strings_of(value, names, seen | {name})]
        case ast.Subscript(value=table):
            found = [value for _, value in entries_of(table, names, seen)]
            return [text for v in found for text in ([v] if isinstance(v, str) else strings_of(v, names, seen))]
        case ast.Name() | ast.Attribute():
            return [_plain(names.static(node))]
    raise Unreadable


def entries_of(
    node: ast.expr, names: Names, seen: frozenset[str] = frozenset()
) -> list[tuple[ast.expr | str, ast.expr | str]]:
    """Returns keys and values of every dict that an expression can be.

    Raises:
        Unreadable: it can be something that the source does not tell.
    """
    match node:
        case ast.Dict(keys=keys, values=values):
            entries: list[tuple[ast.expr | str, ast.expr | str]] = []
            for key, value in zip(keys, values, strict=True):
                entries.extend([(key, value)] if key is not None else entries_of(value, names, seen))
            return entries
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords) if all(k.arg for k in keywords):
            return [(str(keyword.arg), keyword.value) for keyword in keywords]
        case ast.IfExp():
            return [entry for part in alternatives(node) for entry in entries_of(part, names, seen)]
        case ast.Name(id=name) if name not in seen and (assigned := names.values(name)):
            return [entry for value in assigned for entry in entries_of(value, names, seen | {name})]
        case ast.Name() | ast.Attribute():
            table = names.static(node)
            if isinstance(table, dict | types.MappingProxyType):
                return [(_plain(key), _plain(value)) for key, value in table.items()]
    raise Unreadable
