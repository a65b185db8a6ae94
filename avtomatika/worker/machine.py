"""What a worker tells of the machine that it runs on."""

from __future__ import annotations

import json
import os
import platform
import socket
from collections.abc import Mapping
from typing import Any

from avtomatika.errors import ConfigError
from avtomatika.protocol.reading import read_costs
from avtomatika.worker import gpus


def resources(environment: Mapping[str, str]) -> dict[str, Any]:
    """Returns ``cpu_cores``, ``ram_gb`` and ``devices``.

    The variables CPU_CORES, RAM_GB, WORKER_DEVICES (a JSON list) and GPU_MODEL with GPU_VRAM_GB and GPU_ID win over
    what the system and NVIDIA's library say.

    Raises:
        ConfigError: one of them is no number or no list.
    """
    devices = _read_json("WORKER_DEVICES", environment, list)
    if environment.get("GPU_MODEL"):
        memory = _number("GPU_VRAM_GB", environment, 0.0)
        gpu = {"type": "gpu", "model": environment["GPU_MODEL"], "id": environment.get("GPU_ID") or "0"}
        devices.append({**gpu, "properties": {"memory_gb": memory}})
    if not environment.get("WORKER_DEVICES") and not devices:
        devices = gpus.devices()
    cores = _number("CPU_CORES", environment, os.cpu_count() or 1)
    return {"cpu_cores": cores, "ram_gb": _number("RAM_GB", environment, _ram_gb()), "devices": devices}


def software(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns name to version: Python, and what INSTALLED_SOFTWARE (a JSON object) adds."""
    told = _read_json("INSTALLED_SOFTWARE", environment, dict)
    return {"python": platform.python_version(), **{name: str(version) for name, version in told.items()}}


def artifacts(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns name to version of INSTALLED_ARTIFACTS, a JSON list of ``{"name", "version"}``.

    The first releases called it INSTALLED_MODELS.
    """
    lists = [_read_json(name, environment, list) for name in ("INSTALLED_MODELS", "INSTALLED_ARTIFACTS")]
    told = [item for items in lists for item in items if isinstance(item, dict)]
    return {str(item["name"]): str(item.get("version") or "unknown") for item in told if "name" in item}


def capabilities(environment: Mapping[str, str]) -> dict[str, Any]:
    """Returns the variables WORKER_EXTRA_*, by the rest of their names in lower case; values are JSON or text."""
    prefix = "WORKER_EXTRA_"
    return {name[len(prefix) :].lower(): _json_or_text(v) for name, v in environment.items() if name.startswith(prefix)}


def costs(environment: Mapping[str, str]) -> dict[str, float]:
    """Returns name of a skill to its cost, of COST_PER_SKILL, a JSON object."""
    return read_costs(_read_json("COST_PER_SKILL", environment, dict))


def hostname() -> str:
    """Returns the machine's name."""
    return socket.gethostname()


def _read_json(variable: str, environment: Mapping[str, str], kind: type[Any]) -> Any:
    """Returns the JSON of a variable, or an empty ``kind`` if it is not set.

    Raises:
        ConfigError: it is not JSON, or not of that kind.
    """
    text = environment.get(variable)
    if not text:
        return kind()
    value = _json_or_text(text)
    if isinstance(value, kind):
        return value
    word = "list" if kind is list else "object"
    raise ConfigError(f"the variable {variable} is {text[:80]!r}; a JSON {word} was expected.")


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _number(variable: str, environment: Mapping[str, str], default: float) -> float:
    text = environment.get(variable)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        raise ConfigError(f"the variable {variable} is {text!r}; a number was expected.") from None
    return int(number) if number.is_integer() else number


def _ram_gb() -> float:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not every system tells
        return 0.0
    return round(size / 2**30, 1)
