"""The heartbeat: a worker's sign of life, and what it changes of what is known of the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from avtomatika.protocol.dialects import G0, NEW, heartbeat_dialect
from avtomatika.protocol.messages import Heartbeat, Skill, WorkerProfile
from avtomatika.protocol.reading import read_mapping, read_names, read_number, read_object, read_text, read_whole
from avtomatika.protocol.skills import encode_skills, parse_skills

IDLE, OFFLINE = "idle", "offline"
STATUSES = (IDLE, "busy", "full", OFFLINE)
"""``busy``: nothing can be started now; ``full``: the worker's own limit is reached."""


def parse_heartbeat(worker_id: str, body: Any) -> Heartbeat:
    """Reads a heartbeat of any generation.

    Args:
        worker_id: who sent it, as the server knows.
        body: the decoded JSON; None or an empty object only keeps the worker alive.

    Returns:
        The heartbeat. ``available`` and ``hot`` are None only if the message leaves them as they were.

    Raises:
        ProtocolError: it is neither empty nor an object.
    """
    body = read_object({} if body is None else body, "heartbeat")
    dialect = heartbeat_dialect(body)
    if not dialect:
        return Heartbeat(worker_id)
    skills = parse_skills(body.get("supported_skills"))
    if skills is None:
        skills = parse_skills(body.get("supported_tasks"))
    status = _status(body)
    return Heartbeat(
        worker_id=worker_id,
        status=status,
        current_tasks=read_names(body.get("current_tasks")),
        skills=skills,
        available=_available(body, dialect, status, skills),
        hot=frozenset(read_names(body.get("hot_skills")) or ()),
        load=_load(body, dialect),
        skills_hash=read_text(body.get("skills_hash")),
        dialect=dialect,
        usage=_usage(body.get("usage")),
    )


def apply_heartbeat(profile: WorkerProfile, heartbeat: Heartbeat, now: float) -> WorkerProfile:
    """Returns what is known of the worker after the heartbeat.

    A worker that has said goodbye stays offline until it registers or polls: what it sent just before may come after.

    Args:
        profile: what was known before.
        heartbeat: of the same worker.
        now: Unix seconds.
    """
    if not heartbeat.dialect:
        return replace(profile, seen_at=now)
    if profile.status == OFFLINE != heartbeat.status:
        return replace(profile, current_tasks=heartbeat.current_tasks, seen_at=now)
    both_new = profile.dialect in NEW and heartbeat.dialect in NEW
    return replace(
        profile,
        status=heartbeat.status,
        skills=_skills_after(profile, heartbeat),
        available=_available_after(profile, heartbeat),
        hot=profile.hot if heartbeat.hot is None else heartbeat.hot,
        current_tasks=heartbeat.current_tasks,
        load=profile.load if heartbeat.load is None else heartbeat.load,
        usage={**profile.usage, **heartbeat.usage},
        skills_hash=heartbeat.skills_hash or profile.skills_hash,
        # The heartbeats of the two newest generations look alike; the registration told them apart.
        dialect=profile.dialect if both_new else heartbeat.dialect,
        seen_at=now,
    )


def adopt(heartbeat: Heartbeat, now: float) -> WorkerProfile | None:
    """Makes a profile of a worker that nobody knows, for workers that never register twice.

    Returns:
        The profile, or None if the heartbeat lists no skills: then ask for a full sync.
    """
    if heartbeat.skills is None:
        return None
    return apply_heartbeat(WorkerProfile(heartbeat.worker_id, registered_at=now), heartbeat, now)


def encode_heartbeat(heartbeat: Heartbeat, now: float) -> dict[str, Any]:
    """Writes a heartbeat as today's workers do.

    Args:
        heartbeat: what to say.
        now: Unix seconds, for the message's time stamp.
    """
    body: dict[str, Any] = {
        "worker_id": heartbeat.worker_id,
        "status": heartbeat.status,
        "current_tasks": list(heartbeat.current_tasks or ()),
        "timestamp": int(now),
    }
    if heartbeat.skills is not None:
        body["supported_skills"] = encode_skills(heartbeat.skills)
    if heartbeat.available:
        body["available_skills"] = sorted(heartbeat.available)
    if heartbeat.hot:
        body["hot_skills"] = sorted(heartbeat.hot)
    if heartbeat.usage:
        body["usage"] = dict(heartbeat.usage)
    if heartbeat.skills_hash:
        body["skills_hash"] = heartbeat.skills_hash
    return body


def _status(body: Mapping[str, Any]) -> str:
    word = read_text(body.get("status")).lower()
    return word if word in STATUSES else IDLE


def _available(
    body: Mapping[str, Any], dialect: str, status: str, skills: tuple[Skill, ...] | None
) -> frozenset[str] | None:
    """What can be started now: a list of its own in new messages, the list of skills itself in old ones."""
    named = read_names(body.get("available_skills"))
    if named is not None:
        return frozenset(named)
    if status == OFFLINE:
        return frozenset()
    if dialect in NEW:
        # New workers leave an empty list out. One that is idle can start something, so it just did not say what.
        return None if status == IDLE else frozenset()
    return None if skills is None else frozenset(skill.name for skill in skills)


def _skills_after(profile: WorkerProfile, heartbeat: Heartbeat) -> tuple[Skill, ...]:
    if heartbeat.skills is None or heartbeat.status == OFFLINE:
        return profile.skills
    if heartbeat.dialect in NEW:
        return heartbeat.skills
    # An old list holds what can be started now: what is missing from it is busy, not unlearned.
    listed = {skill.name for skill in heartbeat.skills}
    return heartbeat.skills + tuple(skill for skill in profile.skills if skill.name not in listed)


def _available_after(profile: WorkerProfile, heartbeat: Heartbeat) -> frozenset[str] | None:
    if heartbeat.available is not None:
        return heartbeat.available
    if heartbeat.status == IDLE != profile.status:
        return None  # what was true while it was busy does not hold any more
    return profile.available


def _usage(told: object) -> dict[str, Any]:
    usage = read_mapping(told)
    numbers = {name: read_number(usage.get(name)) for name in ("cpu_load_percent", "ram_used_gb")}
    found: dict[str, Any] = {name: number for name, number in numbers.items() if number is not None}
    devices = usage.get("devices_usage")
    if isinstance(devices, list):
        found["devices_usage"] = [_device_usage(read_mapping(one)) for one in devices if isinstance(one, Mapping)]
    return found


def _device_usage(told: Mapping[str, Any]) -> dict[str, Any]:
    """The first of these workers write beside the load what later ones put into ``metrics``."""
    beside = {name: read_number(told.get(name)) for name in ("memory_used_gb", "temperature")}
    metrics = {name: number for name, number in beside.items() if number is not None}
    return {
        "unit_id": read_text(told.get("unit_id")) or str(read_whole(told.get("unit_id")) or 0),
        "load_percent": read_number(told.get("load_percent")),
        "metrics": metrics | read_mapping(told.get("metrics")),
    }


def _load(body: Mapping[str, Any], dialect: str) -> float | None:
    percent = read_number(read_mapping(body.get("usage")).get("cpu_load_percent"))
    if percent is not None:
        return min(max(percent / 100, 0.0), 1.0)
    load = read_number(body.get("load"))
    # The first workers send a whole number here, which is no share of anything.
    return load if load is not None and dialect != G0 and 0 <= load <= 1 else None
