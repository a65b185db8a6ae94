"""Messages of every generation, pinned: what stands in ``golden/`` is read as the records below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avtomatika.protocol.codec import loads
from avtomatika.protocol.files import FileFacts
from avtomatika.protocol.heartbeats import parse_heartbeat
from avtomatika.protocol.messages import Heartbeat, Result, Skill, WorkerEventMessage, WorkerProfile
from avtomatika.protocol.registration import parse_register
from avtomatika.protocol.results import parse_result
from avtomatika.protocol.worker_events import parse_event, progress_of

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_700_000_100.0


def golden(name: str) -> Any:
    """Reads a message."""
    return loads((GOLDEN / f"{name}.json").read_bytes())


def profile(worker_id: str, dialect: str, **fields: Any) -> WorkerProfile:
    """Makes the profile that a registration is to give."""
    fields = {"type": "generic-worker", **fields}
    return WorkerProfile(worker_id, dialect=dialect, registered_at=NOW, seen_at=NOW, **fields)


G2_USAGE = {
    "cpu_load_percent": 50.0,
    "ram_used_gb": 3.5,
    "devices_usage": [{"unit_id": "0", "load_percent": 10.0, "metrics": {}}],
}
G3_USAGE = {"cpu_load_percent": 12.5, "ram_used_gb": 1.0}
ECHO = Skill("echo", "echo")
RESIZE = Skill("resize", "resize")
REGISTRATIONS = {
    "g0_register": profile(
        "cpu-0",
        "G0",
        skills=(RESIZE, ECHO),
        max_tasks=10,
        costs={"resize": 0.5},
        resources={"cpu_cores": 4, "devices": [{"type": "gpu", "model": "T4", "properties": {"memory_gb": 16.0}}]},
        artifacts={"resnet": "50"},
        hostname="node-0",
        address="10.0.0.10",
    ),
    "g1_register": profile(
        "cpu-1",
        "G1",
        skills=(RESIZE,),
        max_tasks=10,
        costs={"resize": 1.0},
        resources={"cpu_cores": 4, "devices": []},
        software={"python": "3.11.9"},
        hostname="node-1",
        address="10.0.0.11",
    ),
    "g1s_register": profile(
        "cpu-1s",
        "G1",
        skills=(RESIZE,),
        max_tasks=5,
        resources={"cpu_cores": 8, "devices": []},
        software={"python": "3.11.9"},
        artifacts={"resnet": "50"},
        hostname="node-1s",
        address="10.0.0.12",
        extra={"websockets": False, "zone": "b", "s3_config_hash": "c590d05df9f0d141"},
    ),
    "g2_register": profile(
        "gpu-2",
        "G2",
        skills=(
            Skill(
                "resize",
                "image",
                version="1.2",
                input_schema={"type": "object", "properties": {"w": {"type": "integer"}}},
                extra={"output_statuses": ["success", "too_small"], "schema_dialect": "json-schema"},
            ),
        ),
        max_tasks=2,
        costs={"resize": 2.0},
        resources={
            "cpu_cores": 16,
            "ram_gb": 64.0,
            "devices": [{"type": "gpu", "model": "A100", "id": "0", "properties": {"memory_gb": 80.0}}],
        },
        software={"python": "3.12.1"},
        artifacts={"sdxl": "1.0"},
        hostname="node-2",
        address="10.0.0.13",
        skills_hash="5f0c",
        extra={"websockets": True},
    ),
    "g2_register_early": profile(
        "gpu-2e",
        "G2",
        skills=(Skill("resize", "image"),),
        max_tasks=2,
        resources={
            "cpu_cores": 16,
            "ram_gb": 0.0,
            "devices": [{"type": "gpu", "model": "A100", "properties": {"memory_gb": 80.0}}],
        },
        hostname="node-2",
        address="10.0.0.13",
        skills_hash="77aa",
    ),
    "g3_register": profile(
        "cpu-3",
        "G3",
        skills=(
            Skill("echo", "echo", extra={"schema_dialect": "json-schema"}),
            Skill("resize", "image", extra={"schema_dialect": "json-schema", "cost_class": "cheap"}),
        ),
        available=frozenset({"echo"}),
        hot=frozenset({"echo"}),
        resources={"cpu_cores": 4, "ram_gb": 0, "devices": []},
        software={"python": "3.12.1"},
        hostname="node-3",
        address="10.0.0.14",
        skills_hash="9ab1",
        extra={"websockets": False},
    ),
    "g4_register": profile(
        "cpu-4",
        "G4",
        type="generic",
        skills=(ECHO,),
        available=frozenset({"echo"}),
        costs={"echo": 0.1},
        resources={"cpu_cores": 4, "ram_gb": 8, "devices": []},
        artifacts={"sdxl": "unknown"},
        hostname="node-4",
        address="10.0.0.15",
        skills_hash="0c11",
        extra={"websockets": False},
    ),
}
NONE: frozenset[str] = frozenset()
HEARTBEATS = {
    "empty_heartbeat": Heartbeat("w"),
    "g0_heartbeat": Heartbeat("w", "busy", None, (), NONE, frozenset({"resize"}), dialect="G0"),
    "g1_heartbeat": Heartbeat("w", "idle", ("t-1-1",), (RESIZE,), frozenset({"resize"}), NONE, 0.25, dialect="G1"),
    "g1s_heartbeat": Heartbeat("w", "offline", ("t-1-1",), (), NONE, NONE, 0.0, dialect="G1"),
    "g2_heartbeat": Heartbeat("w", "idle", (), None, None, frozenset({"resize"}), 0.5, "5f0c", "G2", G2_USAGE),
    "g3_heartbeat": Heartbeat(
        "w", "idle", ("t-1-1",), None, frozenset({"echo", "resize"}), frozenset({"echo"}), 0.125, "9ab1", "G3", G3_USAGE
    ),
    "g4_heartbeat": Heartbeat("w", "full", ("t-1-1",), None, NONE, NONE, None, "0c11", "G4"),
}
RESULTS = {
    "g0_result": Result("j", "t-1", "cpu-0", "failure", error_message="disk full", dialect="G0"),
    "g0_result_bare": Result("j", "t-1", "cpu-0", data=[1, 2], dialect="G0"),
    "g1_result": Result("j", "t-1", "cpu-1", data={"n": 1}, dialect="G1"),
    "g2_result": Result("j", "t-1", "gpu-2", "failure", None, "TIMEOUT_ERROR", "too slow", {"limit": 5}, dialect="G2"),
    "g3_result": Result(
        "j",
        "t-1",
        "cpu-3",
        data={"file": "s3://b/j/out.png"},
        data_metadata={"file": FileFacts("s3://b/j/out.png", 3, "e")},
        dialect="G3",
    ),
    "g4_result": Result("j", "t-1", "cpu-4", data={"n": 1}, costs={"execution_time_seconds": 0.2}, dialect="G4"),
}
EVENTS = {
    "g0_progress": WorkerEventMessage("progress", {"progress": 0.5, "message": "half"}, job_id="j", task_id="t-1"),
    "g1_progress": WorkerEventMessage("progress", {"progress": 50, "message": "half"}, job_id="j", task_id="t-1"),
    "g2_event": WorkerEventMessage(
        "progress",
        {"progress": 0.5, "message": "half"},
        "7e6e9a2c-1111-4222-8333-444455556666",
        "gpu-2",
        "j",
        "t-1",
    ),
    "g4_event": WorkerEventMessage(
        "page_found", {"page": 3}, "7e6e9a2c-1111-4222-8333-444455556667", "cpu-4", "j", "t-1"
    ),
    "holon_event": WorkerEventMessage(
        "page_found", {"page": 3}, "e-1", "plant", "j", "t-1", origin="cpu-4", via=("line-2", "plant")
    ),
}


def test_golden_files_each_is_pinned() -> None:
    """No file lies in the folder without a test."""
    assert {path.stem for path in GOLDEN.iterdir()} == {*REGISTRATIONS, *HEARTBEATS, *RESULTS, *EVENTS}


@pytest.mark.parametrize("name", REGISTRATIONS)
def test_registration_of_each_generation_is_read(name: str) -> None:
    """A registration gives the same profile whatever generation wrote it."""
    assert parse_register(golden(name), NOW) == REGISTRATIONS[name]


@pytest.mark.parametrize("name", HEARTBEATS)
def test_heartbeat_of_each_generation_is_read(name: str) -> None:
    """A heartbeat says what the worker can start now, in the words of any generation."""
    assert parse_heartbeat("w", golden(name)) == HEARTBEATS[name]


@pytest.mark.parametrize("name", RESULTS)
def test_result_of_each_generation_is_read(name: str) -> None:
    """A result is nested, or has no status, or an error beside a success: it is read all the same."""
    assert parse_result(golden(name)) == RESULTS[name]


@pytest.mark.parametrize("name", EVENTS)
def test_event_of_each_generation_is_read(name: str) -> None:
    """Progress messages of old workers are events like the others."""
    assert parse_event(golden(name)) == EVENTS[name]


@pytest.mark.parametrize("name", ["g0_progress", "g1_progress", "g2_event"])
def test_progress_in_percent_or_as_a_share_is_the_same(name: str) -> None:
    """0.5 and 50 both mean half."""
    assert progress_of(parse_event(golden(name))) == (0.5, "half")


def test_progress_of_another_event_is_none() -> None:
    """Only progress events tell progress."""
    assert progress_of(parse_event(golden("g4_event"))) is None
