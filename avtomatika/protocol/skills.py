"""Skills on the wire: names alone from older workers, objects from newer ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from avtomatika.protocol.messages import Skill
from avtomatika.protocol.reading import read_mapping, read_text

_KNOWN = frozenset({"name", "type", "description", "version", "input_schema", "output_schema", "events_schema"})


def parse_skills(value: object) -> tuple[Skill, ...] | None:
    """Reads a list of names or objects; what has no name is left out, a second one of the same name too.

    Returns:
        The skills, or None if ``value`` is no list.
    """
    if not isinstance(value, list | tuple):
        return None
    skills: dict[str, Skill] = {}
    for item in value:
        skill = parse_skill(item)
        if skill is not None:
            skills.setdefault(skill.name, skill)
    return tuple(skills.values())


def parse_skill(value: object) -> Skill | None:
    """Reads one name or object; None if there is no name in it."""
    body = read_mapping(value if isinstance(value, Mapping) else {"name": value})
    name = read_text(body.get("name"))
    if not name:
        return None
    return Skill(
        name=name,
        type=read_text(body.get("type")) or name,
        description=read_text(body.get("description")),
        version=read_text(body.get("version")),
        input_schema=_schema(body.get("input_schema")),
        output_schema=_schema(body.get("output_schema")),
        events_schema=_schema(body.get("events_schema")),
        extra={key: item for key, item in body.items() if key not in _KNOWN},
    )


def encode_skills(skills: Iterable[Skill]) -> list[dict[str, Any]]:
    """Writes skills as objects."""
    return [encode_skill(skill) for skill in skills]


def encode_skill(skill: Skill) -> dict[str, Any]:
    """Writes a skill as an object, without what is not set."""
    members = {
        "name": skill.name,
        "type": skill.type or skill.name,
        "description": skill.description,
        "version": skill.version,
        "input_schema": skill.input_schema,
        "output_schema": skill.output_schema,
        "events_schema": skill.events_schema,
    }
    return {**skill.extra, **{key: value for key, value in members.items() if value not in ("", None)}}


def _schema(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None
