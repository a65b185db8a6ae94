"""Which generation of workers wrote a message, told by its shape.

The version header is no help: the oldest workers send none. Nothing is decided by the word found here; messages are
read member by member. It is for people, and where two generations write the same message the older one is named.

G0 knows tasks and nests its results; G1 wraps its machine in ``capabilities`` (and, at its end, calls tasks skills);
G2 describes skills by objects and writes nulls out; G3 splits the catalogue from what is available and leaves nulls
out; G4 leaves out defaults too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

G0, G1, G2, G3, G4 = "G0", "G1", "G2", "G3", "G4"
NEW = frozenset({G3, G4})
"""Those in which the list of skills is the whole catalogue, not what can be started now."""


def register_dialect(body: Mapping[str, Any]) -> str:
    """Returns the generation of a registration."""
    if "supported_tasks" in body:
        return G1 if "capabilities" in body else G0
    skills = body.get("supported_skills")
    if "installed_models" in body or _holds_text(skills):
        return G1
    resources = body.get("resources")
    if _writes_nulls(body) or (isinstance(resources, Mapping) and "max_concurrent_tasks" in resources):
        return G2
    first = skills[0] if isinstance(skills, list) and skills else {}
    return G3 if isinstance(first, Mapping) and "schema_dialect" in first else G4


def heartbeat_dialect(body: Mapping[str, Any]) -> str:
    """Returns the generation of a heartbeat; empty for an empty body."""
    if not body:
        return ""
    if "supported_tasks" in body:
        return G1 if "worker_id" in body else G0
    if "load" in body or _holds_text(body.get("supported_skills")):
        return G1
    if "hot_cache" in body or _writes_nulls(body):
        return G2
    return G3 if "usage" in body else G4


def result_dialect(body: Mapping[str, Any]) -> str:
    """Returns the generation of a result."""
    if is_nested_result(body):
        return G0
    if body.get("status") is None or "costs" in body:
        return G4
    if "security" in body or "metadata" in body or isinstance(body.get("timestamp"), float):
        return G2 if _writes_nulls(body) or isinstance(body.get("timestamp"), float) else G3
    return G3 if "timestamp" in body or "origin_worker_id" in body else G1


def is_nested_result(body: Mapping[str, Any]) -> bool:
    """Whether what the function returned stands under ``result``, and not beside the ids."""
    return "result" in body and not any(key in body for key in ("status", "data", "error"))


def _writes_nulls(body: Mapping[str, Any]) -> bool:
    return any(value is None for value in body.values())


def _holds_text(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(item, str) for item in value)
