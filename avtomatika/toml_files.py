"""Files of named sections in TOML: read whole, and every complaint names file, line, field and remedy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from avtomatika.errors import ConfigError, suggest

_HEADER = re.compile(r"^\s*(\[[^\[].*?\])\s*(#.*)?$")
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_MISSING = object()


class TomlFile:
    """A file of sections, each with a name and fields.

    Args:
        path: where it is.

    Raises:
        ConfigError: it cannot be read, is no TOML, or has a field outside any section.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8"
            raise ConfigError(f"{self.path} cannot be read: {reason}. Check the path and its rights.") from error
        try:
            values = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise self._no_toml(str(error)) from None
        self._lines = _Lines(self.text)
        for name, value in values.items():
            if not isinstance(value, dict):
                raise self.complaint(
                    f"'{name}' stands outside a section. Put it below a line such as [name].", self._lines.find(name)
                )
        self._values: Mapping[str, Mapping[str, Any]] = values

    def __iter__(self) -> Iterator[Section]:
        return (Section(self, name, values) for name, values in self._values.items())

    def line_of(self, section: str, field: str = "") -> int:
        """Returns the line of a field, else that of its section, counted from 1."""
        return (self._lines.find(section, field) if field else 0) or self._lines.find(section) or 1

    def complaint(self, sentence: str, line: int) -> ConfigError:
        """Returns the error that says what is wrong, and where."""
        return ConfigError(f"{self.path}, line {line or 1}: {sentence}")

    def _no_toml(self, message: str) -> ConfigError:
        found = _AT_LINE.search(message)
        line = int(found[1]) if found else len(self.text.splitlines())
        reason = _AT_LINE.sub("", message).strip()
        remedy = "Texts need quotes, and so do section names with other characters than letters, digits, - and _: "
        return self.complaint(f'this is no TOML: {reason}. {remedy}["worker-*"].', line)


class Section:
    """The fields of one section; each is taken out once, so that what is left is unknown.

    Args:
        file: where it stands.
        name: of the section.
        values: its fields.
    """

    def __init__(self, file: TomlFile, name: str, values: Mapping[str, Any]) -> None:
        self.file = file
        self.name = name
        self._left = dict(values)

    def __contains__(self, field: str) -> bool:
        return field in self._left

    def complaint(self, field: str, sentence: str) -> ConfigError:
        """Returns the error about a field; an empty field means the section itself."""
        where = f"'{field}' of [{self.name}]" if field else f"[{self.name}]"
        return self.file.complaint(f"{where} {sentence}", self.file.line_of(self.name, field))

    def take(self, field: str, kind: type | tuple[type, ...], expected: str, default: Any = _MISSING) -> Any:
        """Takes a field out.

        Args:
            field: its name.
            kind: what it must be.
            expected: that, in words, with an example.
            default: its value if it is missing; without one it is required.

        Raises:
            ConfigError: it is missing, or something else.
        """
        if field not in self._left:
            if default is _MISSING:
                guess = suggest(field, self._left)
                raise self.complaint("", f"has no '{field}'.{guess} Add {expected}.")
            return default
        value = self._left.pop(field)
        # A bool is an int for Python, but not for people.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.complaint(field, f"is a {_kind(value)}; expected {expected}.")
        return value

    def rest(self) -> dict[str, Any]:
        """Returns all fields that nobody has taken, and takes them."""
        left, self._left = self._left, {}
        return left

    def require_empty(self, known: Collection[str]) -> None:
        """Checks that no field is left.

        Raises:
            ConfigError: there is one; the known ones are listed.
        """
        for field in self._left:
            raise self.complaint(
                field, f"is unknown.{suggest(field, known)} Known: {', '.join(known)}. Correct or remove it."
            )


class _Lines:
    """Where the fields of a file stand; the TOML reader does not say."""

    def __init__(self, text: str) -> None:
        self._found: dict[tuple[str, ...], int] = {}
        header: tuple[str, ...] = ()
        for number, line in enumerate(text.splitlines(), 1):
            if found := _HEADER.match(line):
                header = _keys(found[1])
                self._note(header, number)
            elif "=" in line and not line.lstrip().startswith("#"):
                self._note((*header, *_keys(line.partition("=")[0])), number)

    def find(self, *path: str) -> int:
        """Returns the line; 0 if it was not found."""
        return self._found.get(path, 0)

    def _note(self, path: tuple[str, ...], number: int) -> None:
        for length in range(1, len(path) + 1):
            self._found.setdefault(path[:length], number)


def _keys(written: str) -> tuple[str, ...]:
    """Returns the parts of a dotted key or a header, as TOML reads them; nothing if it is none."""
    text = written if written.startswith("[") else f"{written} = 0"
    try:
        value: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while isinstance(value, dict) and value:
        name, value = next(iter(value.items()))
        path.append(name)
    return tuple(path)


def _kind(value: Any) -> str:
    """Returns what a value is, in TOML's words; never the value, which may be a secret."""
    names = {bool: "boolean", str: "text", int: "whole number", float: "number", list: "list", dict: "section"}
    return names.get(type(value), "date or time")
