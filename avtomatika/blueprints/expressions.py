"""The language of conditions: text to a frozen tree, and the tree to a value; nothing is ever evaluated as Python.

    expression  = conjunction {"or" conjunction}
    conjunction = negation {"and" negation}
    negation    = "not" negation | comparison
    comparison  = operand {("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in") operand}
    operand     = string | ["-" | "+"] number | "True" | "False" | "None" | field | list | "(" expression ")" | tuple
    field       = "context" "." root {"." name | "[" (string | ["-"] integer) "]"}
    root        = "initial_data" | "state_history" | "client"

Operators mean what they mean in Python, with one exception: a comparison is false if a field in it is missing or if its
two sides cannot be compared.
"""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, Protocol

from msgspec import Struct

from avtomatika.errors import ConditionError, suggest

ROOTS: Final = ("initial_data", "state_history", "client")
# A person writes three levels at most; the limit keeps a hostile text from exhausting Python's stack.
_MAX_DEPTH: Final = 50


class _Missing:
    """The value of a field that is not there; it is false."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class Node(Protocol):
    """A part of the tree."""

    def value(self, context: Any) -> Any:
        """Returns what this part stands for in the given context, ``MISSING`` if a field is not there."""
        ...


@dataclass(frozen=True, slots=True)
class Literal:
    """A value written in the text."""

    literal: Any

    def value(self, context: Any) -> Any:  # noqa: ARG002 - every node is asked in the same way
        """Returns the value as written."""
        return self.literal


@dataclass(frozen=True, slots=True)
class Field:
    """A value taken from the context.

    Args:
        root: one of ``ROOTS``.
        path: names and indices below it.
    """

    root: str
    path: tuple[str | int, ...] = ()

    def value(self, context: Any) -> Any:
        """Follows the path."""
        found = getattr(context, self.root, MISSING)
        for key in self.path:
            found = _member(found, key)
        return found


@dataclass(frozen=True, slots=True)
class Items:
    """A list or tuple written in the text."""

    elements: tuple[Node, ...]

    def value(self, context: Any) -> Any:
        """Returns the list of the elements' values; ``MISSING`` if one of them is."""
        values = [element.value(context) for element in self.elements]
        return MISSING if any(value is MISSING for value in values) else values


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    operand: Node

    def value(self, context: Any) -> bool:
        """Returns whether the operand is false."""
        return not self.operand.value(context)


@dataclass(frozen=True, slots=True)
class AllOf:
    """``and``: as in Python, the first false operand or the last one."""

    operands: tuple[Node, ...]

    def value(self, context: Any) -> Any:
        """Asks the operands in turn and stops at the first false one."""
        result: Any = True
        for operand in self.operands:
            result = operand.value(context)
            if not result:
                break
        return result


@dataclass(frozen=True, slots=True)
class AnyOf:
    """``or``: as in Python, the first true operand or the last one."""

    operands: tuple[Node, ...]

    def value(self, context: Any) -> Any:
        """Asks the operands in turn and stops at the first true one."""
        result: Any = False
        for operand in self.operands:
            result = operand.value(context)
            if result:
                break
        return result


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison, or several in a chain such as ``0 < x <= 5``.

    Args:
        first: the leftmost operand.
        rest: operator and right operand of each link.
    """

    first: Node
    rest: tuple[tuple[str, Node], ...]

    def value(self, context: Any) -> bool:
        """Returns whether every link holds."""
        left = self.first.value(context)
        for symbol, node in self.rest:
            right = node.value(context)
            if not _compare(symbol, left, right):
                return False
            left = right
        return True


_COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda left, right: left in right,
    "not in": lambda left, right: left not in right,
}


def _compare(symbol: str, left: Any, right: Any) -> bool:
    if left is MISSING or right is MISSING:
        return False
    try:
        return bool(_COMPARE[symbol](left, right))
    except TypeError:
        return False


def _member(value: Any, key: str | int) -> Any:
    """Takes one step down: a key of a mapping, an index of a sequence, or a field of a plain record.

    Of a record only its stored fields are seen, never a method, a property or a name with an underscore in front: a
    condition cannot make anything run.
    """
    if isinstance(value, Mapping):
        return value.get(key, MISSING)
    if isinstance(key, int):
        is_in_range = isinstance(value, list | tuple | str) and -len(value) <= key < len(value)
        return value[key] if is_in_range else MISSING
    if key.startswith("_"):
        return MISSING
    if isinstance(value, Struct):
        return getattr(value, key) if key in value.__struct_fields__ else MISSING
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        is_field = any(field.name == key for field in dataclasses.fields(value))
        return getattr(value, key, MISSING) if is_field else MISSING
    return vars(value).get(key, MISSING) if isinstance(value, SimpleNamespace) else MISSING


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


_TOKENS: Final = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<symbol>==(?!=)|!=|<=|>=|<|>|[-+.,()\[\]])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES: Final = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_CONSTANTS: Final = {"True": True, "False": False, "None": None}
# What people write out of habit from other languages, and what it is called here.
_HABITS: Final = {
    "&&": "write 'and'",
    "||": "write 'or'",
    "&": "write 'and'",
    "|": "write 'or'",
    "===": "write '=='",
    "=": "write '==' to compare",
    "!": "write 'not'",
    "<>": "write '!='",
    "true": "write 'True'",
    "false": "write 'False'",
    "null": "write 'None'",
    "AND": "write 'and'",
    "OR": "write 'or'",
    "NOT": "write 'not'",
}
_ARITHMETIC: Final = ("+", "-", "*", "/", "%", "~", "^", "@")


def parse(text: str) -> Node:
    """Returns the tree of a condition.

    Raises:
        ConditionError: the text does not follow the grammar above; the message points at the place.
    """
    return _Parser(text).parse()


def _error(text: str, position: int, reason: str) -> ConditionError:
    """Makes the error; line breaks and tabs are shown as spaces, so that the caret stands below its character."""
    return ConditionError(re.sub(r"\s", " ", text), position, reason)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKENS.match(text, position)
        if match is None:
            raise _error(text, position, _stray(text, position))
        if match.lastgroup != "space":
            tokens.append(_Token(str(match.lastgroup), match.group(), position))
        position = match.end()
    return [*tokens, _Token("end", "", len(text))]


def _stray(text: str, position: int) -> str:
    """Returns the reason for a character that begins no token."""
    if text[position] in "\"'":
        return f"this string has no closing {text[position]}"
    habit = next((word for word in ("===", "&&", "||", "&", "|", "=", "!") if text.startswith(word, position)), None)
    if habit is not None:
        return f"'{habit}' is not part of a condition; {_HABITS[habit]}"
    return _unexpected(text[position])


def _unexpected(word: str) -> str:
    if word in _HABITS:
        return f"'{word}' is not part of a condition; {_HABITS[word]}"
    if word in _ARITHMETIC:
        return f"'{word}' cannot be used: a condition does not calculate; give .when() a function instead"
    return f"unexpected '{word}'" if word else "the condition ends too early"


class _Parser:
    """Recursive descent, one method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._index = 0
        self._depth = 0

    def parse(self) -> Node:
        """Reads the whole text."""
        if self._next.kind == "end":
            raise self._error("the condition is empty; write one such as context.initial_data.type == 'urgent'")
        node = self._expression()
        if self._next.kind != "end":
            raise self._error(f"{_unexpected(self._next.text)}; expected 'and', 'or', a comparison or the end")
        return node

    @property
    def _next(self) -> _Token:
        return self._tokens[self._index]

    def _error(self, reason: str, token: _Token | None = None) -> ConditionError:
        return _error(self._text, (token or self._next).position, reason)

    def _take(self) -> _Token:
        token = self._next
        self._index += 1
        return token

    def _skip(self, word: str) -> bool:
        """Goes past ``word`` if it comes next; a string that reads the same is something else."""
        is_next = self._next.text == word and self._next.kind in {"name", "symbol"}
        self._index += is_next
        return is_next

    def _expression(self) -> Node:
        operands = [self._conjunction()]
        while self._skip("or"):
            operands.append(self._conjunction())
        return operands[0] if len(operands) == 1 else AnyOf(tuple(operands))

    def _conjunction(self) -> Node:
        operands = [self._negation()]
        while self._skip("and"):
            operands.append(self._negation())
        return operands[0] if len(operands) == 1 else AllOf(tuple(operands))

    def _negation(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"the condition is nested more than {_MAX_DEPTH} levels deep")
        node: Node = Not(self._negation()) if self._skip("not") else self._comparison()
        self._depth -= 1
        return node

    def _comparison(self) -> Node:
        first = self._operand()
        rest = []
        while symbol := self._comparator():
            rest.append((symbol, self._operand()))
        return Comparison(first, tuple(rest)) if rest else first

    def _comparator(self) -> str:
        if self._next.kind == "name" and self._next.text == "not":
            self._take()
            if not self._skip("in"):
                raise self._error("expected 'in' after 'not'")
            return "not in"
        is_comparator = self._next.kind in {"name", "symbol"} and self._next.text in _COMPARE
        return self._take().text if is_comparator else ""

    def _operand(self) -> Node:
        token = self._take()
        match token.kind, token.text:
            case "string", _:
                return Literal(self._string(token))
            case "number", _:
                return Literal(self._number(token))
            case "symbol", "-" | "+" if self._next.kind == "number":
                number = self._number(self._take())
                return Literal(-number if token.text == "-" else number)
            case "symbol", "(":
                return self._parenthesis(token)
            case "symbol", "[":
                return Items(self._elements("]", token))
            case "name", "True" | "False" | "None":
                return Literal(_CONSTANTS[token.text])
            case "name", "context":
                return self._field()
        raise self._error(self._no_operand(token), token)

    def _no_operand(self, token: _Token) -> str:
        """Returns the reason for a token that begins no operand."""
        if token.text in ROOTS:
            return f"write context.{token.text}"
        if token.kind == "name" and token.text not in {*_HABITS, "and", "or", "in", "not"}:
            hint = suggest(token.text, [*ROOTS, "context", *_CONSTANTS])
            return f"'{token.text}' is unknown; a field starts with 'context.', a text stands in quotes.{hint}"
        return f"{_unexpected(token.text)}; expected a value such as context.initial_data.type, 'text' or 5"

    def _parenthesis(self, opening: _Token) -> Node:
        if self._skip(")"):
            return Items(())
        first = self._expression()
        if self._skip(","):
            return Items((first, *self._elements(")", opening)))
        self._close(")", opening)
        return first

    def _elements(self, closing: str, opening: _Token) -> tuple[Node, ...]:
        elements: list[Node] = []
        while not self._skip(closing):
            elements.append(self._expression())
            if not self._skip(","):
                self._close(closing, opening)
                break
        return tuple(elements)

    def _close(self, closing: str, opening: _Token) -> None:
        if not self._skip(closing):
            found = f", found '{self._next.text}'" if self._next.text else ""
            raise self._error(
                f"expected '{closing}' for the '{opening.text}' at character {opening.position + 1}{found}"
            )

    def _field(self) -> Field:
        if not self._skip("."):
            raise self._error(f"expected '.' and one of {', '.join(ROOTS)} after 'context'")
        root = self._take()
        if root.text not in ROOTS:
            raise self._error(f"context.{root.text} is not for conditions; known: {self._known(root.text)}", root)
        path: list[str | int] = []
        while True:
            if self._skip("."):
                path.append(self._name())
            elif self._skip("["):
                path.append(self._subscript())
            else:
                break
        if self._next.text == "(":
            raise self._error("a condition cannot call anything; give .when() a function instead")
        return Field(root.text, tuple(path))

    @staticmethod
    def _known(word: str) -> str:
        return f"{', '.join(ROOTS)}.{suggest(word, ROOTS)}"

    def _name(self) -> str:
        token = self._take()
        if token.kind != "name":
            raise self._error("expected the name of a field after '.'", token)
        if token.text.startswith("_"):
            raise self._error(f"names with '_' in front are private; write [\"{token.text}\"] if it is a key", token)
        return token.text

    def _subscript(self) -> str | int:
        opening = self._tokens[self._index - 1]
        is_negative = self._skip("-")
        token = self._take()
        if token.kind == "string" and not is_negative:
            key: str | int = self._string(token)
        elif token.kind == "number" and isinstance(number := self._number(token), int):
            key = -number if is_negative else number
        else:
            raise self._error('expected a key in quotes or an index, such as ["name"] or [0]', token)
        self._close("]", opening)
        return key

    def _number(self, token: _Token) -> int | float:
        try:
            return int(token.text)
        except ValueError:
            pass
        try:
            return float(token.text)
        except ValueError:
            raise self._error(f"'{token.text}' is not a number", token) from None

    def _string(self, token: _Token) -> str:
        def character(match: re.Match[str]) -> str:
            if match.group(1) is not None:
                return chr(int(match.group(1), 16))
            if match.group(2) in _ESCAPES:
                return _ESCAPES[match.group(2)]
            position = token.position + 1 + match.start()
            raise _error(self._text, position, r"unknown escape in a string; known: \\ \' \" \n \r \t \uXXXX")

        return re.sub(r"\\(?:u([0-9a-fA-F]{4})|(.))", character, token.text[1:-1], flags=re.DOTALL)
