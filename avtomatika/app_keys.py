"""The keys under which ``engine.app`` holds the parts of an engine; a promised import path."""

from __future__ import annotations

from avtomatika.engine import ENGINE_KEY
from avtomatika.server.keys import (
    APPROVALS_KEY,
    DISPATCHER_KEY,
    HISTORIAN_KEY,
    HISTORY_KEY,
    JOBS_KEY,
    METER_KEY,
    PASTS_KEY,
    REGISTRY_KEY,
    RUNNER_KEY,
    SETTINGS_KEY,
    STORAGE_KEY,
    WORKERS_KEY,
)

__all__ = [
    "APPROVALS_KEY",
    "DISPATCHER_KEY",
    "ENGINE_KEY",
    "HISTORIAN_KEY",
    "HISTORY_KEY",
    "JOBS_KEY",
    "METER_KEY",
    "PASTS_KEY",
    "REGISTRY_KEY",
    "RUNNER_KEY",
    "SETTINGS_KEY",
    "STORAGE_KEY",
    "WORKERS_KEY",
]
