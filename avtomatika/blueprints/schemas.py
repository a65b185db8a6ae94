"""Schemas: what data must look like, as JSON Schema; the first thing that does not fit is told with its path."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from avtomatika.errors import BlueprintError, ContractError

Schema = Mapping[str, Any]
# What stands in a message in place of the value: data of a job are nobody's business in a log.
_MASK = "the value"


def check_schema(schema: Any, owner: str) -> dict[str, Any] | None:
    """Returns a schema that can be used, or None where there is none.

    Args:
        schema: a JSON Schema as a dict (draft 2020-12 unless it says otherwise), or None.
        owner: whose it is, for the message.

    Raises:
        BlueprintError: it is no JSON Schema, or refers to one elsewhere.
    """
    if schema is None:
        return None
    if not isinstance(schema, Mapping):
        raise BlueprintError(f"{owner} must be a JSON Schema as a dict, such as {{'type': 'object'}}; got {schema!r}.")
    try:
        text = json.dumps(schema)
        _validator(text)
    except (TypeError, ValueError) as error:
        told = " ".join(str(error).split())
        raise BlueprintError(f"{owner} is no JSON Schema that can be used: {told[:300]}") from None
    plain: dict[str, Any] = json.loads(text)
    return plain


def check_data(value: Any, schema: Schema, name: str, owner: str) -> None:
    """Checks data.

    Args:
        value: what JSON can express.
        schema: as ``check_schema`` returned it.
        name: what the data are called, the first part of every path.
        owner: whose schema it is, for the message.

    Raises:
        ContractError: they do not fit; its ``path`` is that of the first member that does not.
    """
    validator = _validator(json.dumps(schema))
    try:
        faults = list(validator.iter_errors(value))
    except (TypeError, ValueError) as error:
        raise ContractError(name, f"it cannot be compared with {owner}: {error}") from None
    if faults:
        more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ContractError(_path(name, faults[0]), f"{faults[0].message}, says {owner}{more}")


def _path(name: str, fault: Any) -> str:
    """Returns where the offending member is, or would be."""
    steps = list(fault.instance_path)
    missing = getattr(fault.kind, "property", None)
    unexpected = getattr(fault.kind, "unexpected", None)
    if missing is not None:
        steps.append(missing)
    elif unexpected:
        steps.append(unexpected[0])
    return name + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


@functools.lru_cache(maxsize=512)
def _validator(text: str) -> Any:
    return jsonschema_rs.validator_for(json.loads(text), mask=_MASK, retriever=_refuse)


def _refuse(uri: str) -> Any:
    # An engine that fetched what a schema names could be sent anywhere.
    raise ValueError(f"'{uri}' is elsewhere, and is not fetched; put it under '$defs'")
