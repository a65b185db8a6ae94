"""What annotations promise: values of JSON become annotated types and back, and each type says what it is as a schema.

Dataclasses, ``msgspec.Struct``, TypedDict, enums, dates and the like are known; so are models of pydantic, which need
not be installed, since a model brings along what reads it.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

import msgspec

from avtomatika.errors import ConfigError

_ROOT = "$"
# What any JSON value is good enough for.
_ANYTHING = (Any, object, inspect.Parameter.empty)
# Too vague to be worth a schema: it would only say that a result is an object, which an envelope is as well.
_VAGUE_VALUES = (Any, object)
_MISSING = re.compile(r"missing required field `([^`]+)`")


class UnfitError(ValueError):
    """A value does not fit its annotation.

    Args:
        path: where, such as ``params.size.width``.
        reason: what was expected.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class _FaultError(ValueError):
    """A fault inside a value that its own type has read, told by where it is in there."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def annotation_of(function: Callable[..., Any], name: str, owner: str) -> Any:
    """Returns the annotation of an argument, or of what is returned (``return``); ``Any`` where there is none.

    Args:
        function: whose it is.
        name: of the argument.
        owner: what the function is called, for the message.

    Raises:
        ConfigError: the annotation is a text that names something unknown.
    """
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    annotation = getattr(function, "__annotations__", {}).get(name, Any)
    if not isinstance(annotation, str):
        return annotation
    # Each by itself: one that only a type checker can see must not hide the others.
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    scope = {**getattr(function, "__globals__", {}), **_enclosed(function)}
    try:
        return typing.get_type_hints(holder, scope, include_extras=True)[name]
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        raise ConfigError(
            f"task '{owner}': the annotation {annotation!r} of '{name}' cannot be resolved: {error}. "
            "Define or import it at the top of the module."
        ) from None


def is_checked(annotation: Any) -> bool:
    """Whether values can be unfit for an annotation."""
    return not any(annotation is anything for anything in _ANYTHING)


def read(value: Any, annotation: Any, path: str) -> Any:
    """Makes the annotated type of a JSON value.

    Args:
        value: what came.
        annotation: a type.
        path: what the value is called.

    Raises:
        UnfitError: it does not fit; the error has the path of the first member that does not.
    """
    if not is_checked(annotation):
        return value
    try:
        return msgspec.convert(value, annotation, dec_hook=_decode, str_keys=True)
    except msgspec.ValidationError as error:
        text, _, place = str(error).rpartition(f" - at `{_ROOT}")
        place = place.rstrip("`") if text else ""
        reason = text or str(error)
        if isinstance(error.__cause__, _FaultError):
            place += error.__cause__.path
        elif missing := _MISSING.search(reason):
            place += f".{missing[1]}"
        raise UnfitError(path + place, reason) from None


def plain(value: Any) -> Any:
    """Makes JSON values of dataclasses, models, dates and the like; what has no such form stays as it is."""
    try:
        return msgspec.to_builtins(value, str_keys=True, enc_hook=_encode)
    except (TypeError, ValueError, NotImplementedError, RecursionError):
        return value


def schema_of_arguments(
    annotations: Mapping[str, Any], defaults: Mapping[str, Any], owner: str, *, closed: bool
) -> dict[str, Any]:
    """Returns the JSON Schema of params that are given by name.

    Args:
        annotations: of the arguments, by name.
        defaults: of those that may be left out.
        owner: what the function is called, for the message.
        closed: other params are refused.

    Raises:
        ConfigError: no JSON value can become what an argument is annotated with.
    """
    found, definitions = _schemas(annotations, owner)
    for name, default in defaults.items():
        written = plain(default)
        if _is_json(written):
            found[name] = {**found[name], "default": written}
    schema: dict[str, Any] = {"type": "object", "properties": found}
    required = [name for name in annotations if name not in defaults]
    if required:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    return schema | ({"$defs": definitions} if definitions else {})


def schema_of(annotation: Any, name: str, owner: str) -> dict[str, Any]:
    """Returns the JSON Schema of one type.

    Args:
        annotation: a type.
        name: what has it, for the message.
        owner: what the function is called, for the message.

    Raises:
        ConfigError: no JSON value can become that type.
    """
    found, definitions = _schemas({name: annotation}, owner)
    schema: dict[str, Any] = found[name]
    reference = schema.get("$ref", "")
    if len(schema) == 1 and reference.startswith("#/$defs/"):
        # Laid open, so that whoever reads the schema sees its members at once.
        own = reference.rpartition("/")[2]
        schema = dict(definitions[own])
        if f'"{reference}"' not in msgspec.json.encode([schema, definitions]).decode():
            del definitions[own]
    return schema | ({"$defs": definitions} if definitions else {})


def promised(annotation: Any, envelope: type[Any]) -> Any:
    """Returns what the annotation of a function's return value says of the data of its result; ``Any`` for nothing.

    Args:
        annotation: as written.
        envelope: a class that wraps data, and says nothing of them.
    """
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        left = [one for one in typing.get_args(annotation) if one is not envelope]
        return typing.Union[tuple(left)] if not any(map(_is_vague, left)) else Any  # noqa: UP007 - made at run time
    return Any if annotation is envelope or _is_vague(annotation) else annotation


def _is_vague(annotation: Any) -> bool:
    """Whether a return annotation says too little: nothing at all, or any dict, which may be a whole result."""
    if not is_checked(annotation) or annotation in {None, type(None)}:
        return True
    origin = typing.get_origin(annotation) or annotation
    if not (inspect.isclass(origin) and issubclass(origin, Mapping) and not typing.is_typeddict(origin)):
        return False
    return not (values := typing.get_args(annotation)[1:]) or values[0] in _VAGUE_VALUES


def _enclosed(function: Callable[..., Any]) -> dict[str, Any]:
    """Returns what a function inside another one sees of that one."""
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None) or ()
    names = code.co_freevars if code is not None else ()
    return {name: cell.cell_contents for name, cell in zip(names, cells, strict=False) if _is_filled(cell)}


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - asking is how to find out
    except ValueError:
        return False
    return True


def _schemas(annotations: Mapping[str, Any], owner: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the schemas of some types by name, and the definitions that they refer to."""
    for name, annotation in annotations.items():
        try:
            msgspec.json.schema_components((annotation,), schema_hook=_schema)
        except (TypeError, NotImplementedError, RuntimeError) as error:
            first = str(error).strip().splitlines()[-1]
            if first.startswith("Encoding objects"):
                raise ConfigError(
                    f"task '{owner}': '{name}' is annotated with {annotation!r}, in which a default has no JSON form: "
                    f"{first}. Make it with default_factory."
                ) from None
            raise ConfigError(
                f"task '{owner}': '{name}' is annotated with {annotation!r}, which no JSON value can become: {first}. "
                "Use a dataclass, a msgspec.Struct, a pydantic model, a built-in type, or Any."
            ) from None
    found, definitions = msgspec.json.schema_components(
        tuple(annotations.values()), schema_hook=_schema, ref_template="#/$defs/{name}"
    )
    whole = dict(definitions)
    schemas = [_lifted(schema, whole) for schema in found]
    for name in list(definitions):
        whole[name] = _lifted(whole[name], whole)
    return dict(zip(annotations, schemas, strict=True)), whole


def _lifted(schema: Any, definitions: dict[str, Any]) -> Any:
    """Returns a schema without the definitions inside it: models refer to theirs as if they stood at the top."""
    if isinstance(schema, list):
        return [_lifted(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$defs"), dict):
        schema = dict(schema)
        for name, inner in schema.pop("$defs").items():
            definitions.setdefault(name, _lifted(inner, definitions))
    return {key: _lifted(item, definitions) for key, item in schema.items()}


def _is_model(kind: Any) -> bool:
    """Whether a class is a model of pydantic."""
    return inspect.isclass(kind) and hasattr(kind, "model_validate") and hasattr(kind, "model_json_schema")


def _schema(kind: Any) -> dict[str, Any]:
    if _is_model(kind):
        schema: dict[str, Any] = kind.model_json_schema()
        return schema
    if kind is object:
        return {}
    if inspect.isclass(kind) and issubclass(kind, PurePath):
        return {"type": "string"}
    raise NotImplementedError


def _decode(kind: Any, value: Any) -> Any:
    if _is_model(kind):
        try:
            return kind.model_validate(value)
        except ValueError as error:
            faults = error.errors() if hasattr(error, "errors") else ()
            if not faults:
                raise
            steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in faults[0]["loc"]]
            raise _FaultError("".join(steps), faults[0]["msg"]) from None
    if kind is object:
        return value
    if inspect.isclass(kind) and issubclass(kind, PurePath):
        if isinstance(value, str):
            return kind(value)
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
    raise NotImplementedError


def _encode(value: Any) -> Any:
    if _is_model(type(value)):
        return value.model_dump(mode="json")
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    for kind in (str, float, int):  # classes that are derived from them, as those of numpy are
        if isinstance(value, kind):
            return kind(value)
    raise NotImplementedError


def _is_json(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError):
        return False
    return isinstance(value, dict | list | str | int | float | bool | None)
