"""What a heartbeat changes of what is known of a worker."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.errors import ProtocolError
from avtomatika.protocol.heartbeats import adopt, apply_heartbeat, parse_heartbeat
from avtomatika.protocol.messages import Skill, WorkerProfile

KNOWN = WorkerProfile("w", skills=(Skill("a", "a"), Skill("b", "b")), dialect="G4", registered_at=1.0, seen_at=1.0)


def after(profile: WorkerProfile, **body: Any) -> WorkerProfile:
    """Returns what is known after a heartbeat of ``body``."""
    return apply_heartbeat(profile, parse_heartbeat("w", body), 9.0)


def test_empty_heartbeat_only_keeps_the_worker_alive() -> None:
    """A heartbeat without a body changes the time and nothing else."""
    busy = after(KNOWN, worker_id="w", status="busy", current_tasks=["t"])

    kept = apply_heartbeat(busy, parse_heartbeat("w", None), 12.0)

    assert (kept.seen_at, kept.status, kept.current_tasks) == (12.0, "busy", ("t",))


def test_new_heartbeat_with_skills_replaces_them() -> None:
    """The list of a new worker is its whole catalogue."""
    worker = after(KNOWN, worker_id="w", status="idle", available_skills=["c"], supported_skills=[{"name": "c"}])

    assert worker.skill_names == ("c",)


def test_old_heartbeat_with_fewer_skills_keeps_the_others() -> None:
    """The list of an old worker is what it can start now; the rest is busy, not gone."""
    worker = after(KNOWN, worker_id="w", status="busy", load=0.5, supported_tasks=["b"], current_tasks=[])

    assert set(worker.skill_names) == {"a", "b"}
    assert worker.available == {"b"}


@pytest.mark.parametrize("status", ["busy", "full", "offline"])
def test_new_heartbeat_without_available_skills_has_none(status: str) -> None:
    """A new worker leaves the list out when nothing can be started."""
    assert after(KNOWN, worker_id="w", status=status, current_tasks=["t"]).available == frozenset()


def test_idle_heartbeat_after_a_busy_one_makes_skills_available_again() -> None:
    """A worker that never names its available skills is not busy for ever."""
    busy = after(KNOWN, worker_id="w", status="busy", current_tasks=["t"])

    assert after(busy, worker_id="w", status="idle", current_tasks=[]).available is None


def test_offline_heartbeat_with_an_empty_list_keeps_the_skills() -> None:
    """A worker that leaves says that it takes nothing; what it can do stays known."""
    worker = after(KNOWN, worker_id="w", status="offline", supported_skills=[], current_tasks=["t"])

    assert (worker.status, worker.skills, worker.available) == ("offline", KNOWN.skills, frozenset())


def test_heartbeat_of_a_new_worker_keeps_the_dialect_of_its_registration() -> None:
    """Heartbeats of the two newest generations look alike; the registration is trusted."""
    assert after(KNOWN, worker_id="w", status="idle", usage={"cpu_load_percent": 3}).dialect == "G4"


def test_usage_is_told_piece_by_piece() -> None:
    """What a heartbeat leaves out is as it was; early workers write the figures of a device beside its load."""
    device = {"unit_id": "0", "load_percent": 40, "memory_used_gb": 3, "temperature": 61}
    first = after(KNOWN, worker_id="w", usage={"cpu_load_percent": 3, "devices_usage": [device, None]})

    second = after(first, worker_id="w", usage={"ram_used_gb": 2})

    assert (second.load, second.usage) == (
        0.03,
        {
            "cpu_load_percent": 3,
            "ram_used_gb": 2,
            "devices_usage": [
                {"unit_id": "0", "load_percent": 40, "metrics": {"memory_used_gb": 3, "temperature": 61}}
            ],
        },
    )


def test_unknown_worker_with_skills_is_adopted() -> None:
    """The oldest workers never register twice, so their heartbeats must do."""
    worker = adopt(parse_heartbeat("w", {"worker_id": "w", "supported_tasks": ["a"], "load": 0.0}), 9.0)

    assert worker is not None
    assert (worker.skill_names, worker.registered_at, worker.seen_at) == (("a",), 9.0, 9.0)


def test_unknown_worker_without_skills_is_not_adopted() -> None:
    """A heartbeat that lists nothing says too little: ask for a full sync."""
    assert adopt(parse_heartbeat("w", {"worker_id": "w", "status": "idle"}), 9.0) is None


def test_heartbeat_with_an_array_is_refused() -> None:
    """What is no object cannot be a heartbeat."""
    with pytest.raises(ProtocolError, match="the heartbeat is an array; a JSON object was expected"):
        parse_heartbeat("w", [1])
