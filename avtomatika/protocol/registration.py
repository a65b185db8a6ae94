"""The registration: who a worker is and what it can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avtomatika.protocol.dialects import register_dialect
from avtomatika.protocol.messages import WorkerProfile
from avtomatika.protocol.reading import (
    read_costs,
    read_mapping,
    read_names,
    read_number,
    read_object,
    read_text,
    read_whole,
    require_text,
)
from avtomatika.protocol.skills import encode_skills, parse_skills


def parse_register(body: Any, now: float) -> WorkerProfile:
    """Reads a registration of any generation.

    Members that are missing, null or of an odd type are taken as not said. A device's memory stands in its
    ``properties`` as ``memory_gb``, wherever the worker wrote it. The fingerprint of the worker's object
    store, if it told one, is ``extra["s3_config_hash"]``.

    Args:
        body: the decoded JSON.
        now: Unix seconds.

    Raises:
        ProtocolError: it is no object, or has no ``worker_id``.
    """
    body = read_object(body, "registration")
    told = read_mapping(body.get("capabilities"))
    resources = _resources(read_mapping(body.get("resources")))
    skills = parse_skills(body.get("supported_skills"))
    if skills is None:
        skills = parse_skills(body.get("supported_tasks"))
    available = read_names(body.get("available_skills"))
    return WorkerProfile(
        worker_id=require_text(body, "worker_id", "registration"),
        type=read_text(body.get("worker_type")) or "generic",
        skills=skills or (),
        available=None if available is None else frozenset(available),
        hot=frozenset(read_names(body.get("hot_skills")) or ()),
        max_tasks=_positive(body.get("max_concurrent_tasks")) or _positive(resources.pop("max_concurrent_tasks", None)),
        costs=read_costs(body.get("cost_per_skill")) or read_costs(told.get("cost_per_skill")),
        resources=resources,
        software={name: read_text(v) or str(v) for name, v in read_mapping(body.get("installed_software")).items()},
        artifacts=_artifacts(body.get("installed_artifacts")) or _artifacts(body.get("installed_models")),
        hostname=read_text(body.get("hostname")) or read_text(told.get("hostname")),
        address=read_text(body.get("ip_address")) or read_text(told.get("ip_address")),
        skills_hash=read_text(body.get("skills_hash")),
        dialect=register_dialect(body),
        registered_at=now,
        seen_at=now,
        extra=_extra(told),
    )


def encode_register(profile: WorkerProfile, now: float) -> dict[str, Any]:
    """Writes a registration as today's workers do.

    Args:
        profile: the worker.
        now: Unix seconds, for the message's time stamp.
    """
    resources = {key: value for key, value in profile.resources.items() if key != "devices"}
    body: dict[str, Any] = {
        "worker_id": profile.worker_id,
        "worker_type": profile.type,
        "supported_skills": encode_skills(profile.skills),
        "resources": {
            "devices": list(profile.resources.get("devices", ())),
            # Our own addition: other workers of this generation do not tell their limit.
            "properties": resources | _set(max_concurrent_tasks=profile.max_tasks),
        },
        "installed_software": dict(profile.software),
        "installed_artifacts": [{"name": name, "version": version} for name, version in profile.artifacts.items()],
        "capabilities": {
            "hostname": profile.hostname,
            "ip_address": profile.address,
            "cost_per_skill": dict(profile.costs),
            "extra": {key: value for key, value in profile.extra.items() if key != "s3_config_hash"},
            **_set(s3_config_hash=profile.extra.get("s3_config_hash")),
        },
        "hot_skills": sorted(profile.hot),
        "skills_hash": profile.skills_hash,
        "timestamp": int(now),
    }
    if profile.available is not None:
        body["available_skills"] = sorted(profile.available)
    return body


def _resources(told: Mapping[str, Any]) -> dict[str, Any]:
    """Lays all that is known of the machine side by side."""
    plain = {key: value for key, value in told.items() if key not in ("properties", "devices", "gpu_info")}
    found = {**read_mapping(told.get("properties")), **plain}
    for key in ("cpu_cores", "ram_gb"):
        if key in found and read_number(found[key]) is None:
            del found[key]
    found["devices"] = [_device(item) for item in _items(told.get("devices")) if isinstance(item, Mapping)]
    gpu = read_mapping(told.get("gpu_info"))
    if gpu:
        found["devices"].append(_device({"type": "gpu", "model": gpu.get("model"), "memory_gb": gpu.get("vram_gb")}))
    return found


def _device(told: Mapping[str, Any]) -> dict[str, Any]:
    device = read_mapping(told)
    properties = read_mapping(device.pop("properties", None))
    memory = read_number(device.pop("memory_gb", None))
    properties = _set(memory_gb=memory) | properties
    return device | ({"properties": properties} if properties else {})


def _artifacts(told: object) -> dict[str, str]:
    items = [read_mapping(item if isinstance(item, Mapping) else {"name": item}) for item in _items(told)]
    versions = {read_text(item.get("name")): read_text(item.get("version")) or "unknown" for item in items}
    return {name: version for name, version in versions.items() if name}


def _extra(capabilities: Mapping[str, Any]) -> dict[str, Any]:
    return read_mapping(capabilities.get("extra")) | _set(
        s3_config_hash=read_text(capabilities.get("s3_config_hash")) or None
    )


def _positive(value: object) -> int | None:
    number = read_whole(value)
    return number if number is not None and number > 0 else None


def _set(**members: Any) -> dict[str, Any]:
    return {key: value for key, value in members.items() if value is not None}


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()
