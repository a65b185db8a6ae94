"""Conditions of ``.when()``: a text, a function, or an ``F`` expression, all asked in the same way."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from magic_filter import MagicFilter
from magic_filter import operations as magic

from avtomatika.blueprints.expressions import Node, parse
from avtomatika.errors import BlueprintError


class Condition(Protocol):
    """Decides whether a handler is the one to run."""

    @property
    def text(self) -> str:
        """The condition in short, for the labels of a graph."""
        ...

    @property
    def identity(self) -> object:
        """Equal for two conditions that are certainly the same, so that a notebook cell can be run again."""
        ...

    def holds(self, context: Any) -> bool:
        """Returns whether the condition is true in this context."""
        ...


@dataclass(frozen=True, slots=True)
class TextCondition:
    """A condition written as text; its grammar is that of ``expressions``.

    Args:
        text: as written.

    Raises:
        ConditionError: the text cannot be parsed.
    """

    text: str
    _tree: Node = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tree", parse(self.text))

    @property
    def identity(self) -> object:
        """The text."""
        return self.text

    def holds(self, context: Any) -> bool:
        """Returns whether the expression is true; a missing field makes its comparison false."""
        return bool(self._tree.value(context))


@dataclass(frozen=True, slots=True)
class FunctionCondition:
    """A condition that is a function of the context.

    Args:
        function: takes the context, returns something true or false; what it raises is the handler's failure.

    Raises:
        BlueprintError: the function is a coroutine function or does not take exactly one argument.
    """

    function: Callable[[Any], Any]

    def __post_init__(self) -> None:
        if inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(type(self.function).__call__):
            raise BlueprintError(
                f"the condition '{self.text}' is an 'async def', but conditions are asked at once; write a plain 'def'."
            )
        try:
            inspect.signature(self.function).bind(None)
        except TypeError:
            raise BlueprintError(
                f"the condition '{self.text}' must take one argument, the context, such as "
                "lambda context: context.initial_data.get('n', 0) > 3."
            ) from None
        except ValueError:  # a function written in C tells nothing about its arguments
            return

    @property
    def text(self) -> str:
        """The function's name."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return "lambda" if name == "<lambda>" else str(name)

    @property
    def identity(self) -> object:
        """Where the function was written, since several may share a name."""
        code = getattr(self.function, "__code__", None)
        return (code.co_filename, code.co_firstlineno, code.co_qualname) if code else id(self.function)

    def holds(self, context: Any) -> bool:
        """Returns whether the function's answer is true."""
        return bool(self.function(context))


@dataclass(frozen=True, slots=True, eq=False)
class FilterCondition:
    """A condition that is an ``F`` expression, such as ``F.initial_data["type"] == "urgent"``.

    ``F`` stands for the context; keys of a mapping may be written as attributes. Join two with ``&`` and ``|``, turn
    one round with ``~``: Python does not let ``and``, ``or``, ``not`` be seen.

    Args:
        expression: what was made from ``F``.
    """

    expression: MagicFilter

    @property
    def text(self) -> str:
        """The expression in readable form, or ``F(...)``."""
        return _readable(self.expression)

    @property
    def identity(self) -> object:
        """The readable form, or the very object if it has none."""
        return id(self.expression) if _OPAQUE in self.text else self.text

    def holds(self, context: Any) -> bool:
        """Returns whether the expression is true; a missing field or sides that cannot be compared make it false."""
        try:
            return bool(self.expression.resolve(_View(context)))
        except TypeError:
            return False


def condition_of(condition: str | Callable[[Any], Any] | MagicFilter) -> Condition:
    """Returns the condition that was given to ``.when()``.

    Raises:
        ConditionError: a text cannot be parsed.
        BlueprintError: it is neither a text, nor a function of the context, nor an ``F`` expression.
    """
    if isinstance(condition, MagicFilter):  # before the callables: an F expression is one of them
        return FilterCondition(condition)
    if isinstance(condition, str):
        return TextCondition(condition.strip())
    if callable(condition):
        return FunctionCondition(condition)
    raise BlueprintError(
        "a condition is a text such as \"context.initial_data.type == 'urgent'\", a function of the context, or an "
        f"F expression; got {condition!r}. The comparison may have been made before .when() was called."
    )


class _View:
    """The context as ``F`` sees it: keys of mappings are attributes too."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return _opened(getattr(self._context, name))


class _OpenDict(dict[Any, Any]):
    """A dict whose keys can be read as attributes; a key wins over a method of the same name."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and dict.__contains__(self, name):
            return _opened(dict.__getitem__(self, name))
        return super().__getattribute__(name)

    def __getitem__(self, key: Any) -> Any:
        return _opened(super().__getitem__(key))


def _opened(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _OpenDict(value)
    return [_opened(item) for item in value] if isinstance(value, list) else value


_OPAQUE: Final = "F(...)"
_SYMBOLS: Final[Mapping[Any, str]] = {
    operator.eq: "==",
    operator.ne: "!=",
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    operator.floordiv: "//",
    operator.mod: "%",
    operator.is_: "is",
    operator.is_not: "is not",
    operator.and_: "&",
    operator.or_: "|",
}
# The library's own functions for these are not public; their names are what tells them apart.
_NAMED: Final[Mapping[str, str]] = {
    "and_op": "{0} & {1}",
    "or_op": "{0} | {1}",
    "in_op": "{0} in {1}",
    "not_in_op": "{0} not in {1}",
    "contains_op": "{1} in {0}",
    "not_contains_op": "{1} not in {0}",
    "len": "len({0})",
}
_SYMBOL_FORMATS: Final[Mapping[Any, str]] = {function: f"{{0}} {symbol} {{1}}" for function, symbol in _SYMBOLS.items()}


def _readable(value: Any) -> str:
    """Writes an F expression about as it was typed; ``F(...)`` if a part of it has no such form."""
    if not isinstance(value, MagicFilter):
        return repr(value)
    text = "F"
    for operation in value._operations:  # noqa: SLF001 - the library has no other way to look into an expression
        step = _step(text, operation)
        if step is None:
            return _OPAQUE
        text = step
    return text


def _step(text: str, operation: magic.BaseOperation) -> str | None:
    """Returns ``text`` with one more operation written behind or around it, or None if it cannot be written."""
    match operation:
        case magic.GetAttributeOperation():
            return f"{text}.{operation.name}"
        case magic.GetItemOperation():
            return f"{text}[{'...' if operation.key is ... else repr(operation.key)}]"
        case magic.ComparatorOperation():
            return _joined(operation.comparator, text, operation.right)
        case magic.CombinationOperation():
            return _joined(operation.combinator, text, operation.right)
        case magic.ImportantFunctionOperation() if operation.function is operator.not_:
            return f"~({text})"
        case magic.FunctionOperation() if not operation.kwargs and len(operation.args) <= 1:
            return _joined(operation.function, text, *operation.args)
    return None


def _joined(function: Callable[..., Any], text: str, *others: Any) -> str | None:
    """Fills the form of the function, if it is known, with both sides in parentheses where that is needed."""
    form = _SYMBOL_FORMATS.get(function) or _NAMED.get(getattr(function, "__name__", ""))
    if form is None or form.count("{") != 1 + len(others):
        return None
    if function in {operator.and_, operator.or_} or form in {_NAMED["and_op"], _NAMED["or_op"]}:
        return form.format(_grouped(text), *(_grouped(_readable(other)) for other in others))
    return form.format(text, *(_readable(other) for other in others))


def _grouped(text: str) -> str:
    return f"({text})" if " " in text and not text.startswith("(") else text
