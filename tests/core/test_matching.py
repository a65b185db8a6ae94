"""Matching: queues, qualification, strategies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.core.matching import choose, fair_share, is_qualified, queue_name
from avtomatika.protocol.messages import Skill, WorkerProfile

DEVICES = [
    {"type": "gpu", "model": "RTX 4090", "id": "cuda:0", "properties": {"memory_gb": 24, "cuda": "12.4"}},
    {"type": "gpu", "model": "T4", "id": "cuda:1", "memory_gb": 16},
    {"type": "tpu", "model": "v4"},
]
WORKER = WorkerProfile(
    "w1",
    skills=(Skill("render"), Skill("mix")),
    costs={"render": 0.5},
    resources={"cpu_cores": 8, "ram_gb": 32.0, "region": "eu", "has_ssd": True, "devices": DEVICES},
    software={"python": "3.12", "ffmpeg": "7.0"},
    artifacts={"sdxl": "1.0", "whisper": "3"},
)


def workers(*facts: dict[str, Any]) -> list[WorkerProfile]:
    """Returns workers w0, w1, ... that can render."""
    return [WorkerProfile(f"w{index}", skills=(Skill("render"),), **one) for index, one in enumerate(facts)]


# --- queues ---


@pytest.mark.parametrize("requirements", [None, {}])
def test_queue_of_a_plain_task_is_its_type(requirements: dict[str, Any] | None) -> None:
    """Tasks that any worker with the skill may do wait together."""
    assert queue_name("render", requirements, None) == "render"


def test_queue_of_equal_needs_is_the_same() -> None:
    """The order in which requirements are written does not matter."""
    name = queue_name("render", {"cpu_cores": 4, "ram_gb": 8}, 0.5)

    assert name == queue_name("render", {"ram_gb": 8, "cpu_cores": 4}, 0.5)
    assert name.startswith("render#")


def test_queue_of_other_needs_is_another() -> None:
    """Tasks of one queue need the same, so that looking at its first one is enough."""
    needs: list[tuple[str, dict[str, Any] | None, float | None]] = [
        ("render", None, None),
        ("mix", {"cpu_cores": 4}, None),
        ("render", {"cpu_cores": 4}, None),
        ("render", {"cpu_cores": 8}, None),
        ("render", {"cpu_cores": 4}, 0.5),
        ("render", None, 0.5),
        ("render", None, 0.0),
        ("render", {"installed_models": ["a"]}, None),
    ]

    assert len({queue_name(*one) for one in needs}) == len(needs)


# --- qualification ---


def test_worker_without_the_skill_does_not_qualify() -> None:
    """The type of the task must be a skill of the worker."""
    assert is_qualified(WORKER, "mix", None, None)
    assert not is_qualified(WORKER, "paint", None, None)


@pytest.mark.parametrize(
    ("task_type", "max_cost", "expected"),
    [("render", 0.5, True), ("render", 0.49, False), ("render", None, True), ("mix", 0.0, True)],
)
def test_cost_above_the_highest_does_not_qualify(task_type: str, max_cost: float | None, *, expected: bool) -> None:
    """A worker may cost as much as allowed; one that names no cost costs nothing."""
    assert is_qualified(WORKER, task_type, None, max_cost) is expected


MET: list[dict[str, Any]] = [
    {},
    {"cpu_cores": 8},
    {"cpu_cores": 4, "ram_gb": 32},
    {"region": "eu"},
    {"has_ssd": True},
    {"gpu_info": {}},
    {"gpu_info": {"model": "T4"}},
    {"gpu_info": {"vram_gb": 24}},
    {"gpu_info": {"model": "T4", "vram_gb": 16}},
    {"devices": []},
    {"devices": [{"type": "gpu"}]},
    {"devices": [{"type": "gpu", "properties": {"memory_gb": 16}}]},
    {"devices": [{"model": "RTX 4090", "properties": {"memory_gb": 24, "cuda": "12.4"}}]},
    {"devices": [{"type": "gpu"}, {"type": "tpu"}]},
    {"devices": [{"id": "cuda:1"}]},
    {"installed_models": ["sdxl"]},
    {"installed_models": [{"name": "sdxl", "version": "1.0"}, {"name": "whisper"}]},
    {"installed_artifacts": ["whisper"]},
    {"installed_software": {"python": "3.12"}},
    {"installed_software": {"python": "*", "ffmpeg": None}},
    {"installed_software": ["ffmpeg"]},
]
NOT_MET: list[dict[str, Any]] = [
    {"cpu_cores": 9},
    {"cpu_cores": 4, "ram_gb": 33},
    {"region": "us"},
    {"has_ssd": False},
    {"disk_gb": 1},
    {"colour": "red"},
    {"gpu_info": {"model": "A100"}},
    {"gpu_info": {"vram_gb": 25}},
    {"gpu_info": {"model": "T4", "vram_gb": 24}},
    {"devices": [{"type": "fpga"}]},
    {"devices": [{"type": "gpu"}, {"type": "fpga"}]},
    {"devices": [{"type": "tpu", "properties": {"memory_gb": 1}}]},
    {"devices": [{"model": "RTX 4090", "properties": {"cuda": "11.8"}}]},
    {"installed_models": ["sdxl", "llama"]},
    {"installed_models": [{"name": "sdxl", "version": "2.0"}]},
    {"installed_artifacts": ["llama"]},
    {"installed_software": {"python": "3.11"}},
    {"installed_software": ["blender"]},
]


@pytest.mark.parametrize("requirements", MET, ids=str)
def test_worker_that_has_everything_qualifies(requirements: dict[str, Any]) -> None:
    """Numbers are minima, everything else must be equal; both dialects of devices and models are understood."""
    assert is_qualified(WORKER, "render", requirements, None)


@pytest.mark.parametrize("requirements", NOT_MET, ids=str)
def test_worker_that_lacks_something_does_not_qualify(requirements: dict[str, Any]) -> None:
    """One thing that is missing is enough."""
    assert not is_qualified(WORKER, "render", requirements, None)


@pytest.mark.parametrize("requirements", [one for one in (*MET, *NOT_MET) if one not in ({}, {"devices": []})], ids=str)
def test_worker_that_told_nothing_of_itself_meets_no_requirement(requirements: dict[str, Any]) -> None:
    """What a worker does not tell, it does not have."""
    assert not is_qualified(WorkerProfile("w0", skills=(Skill("render"),)), "render", requirements, None)


# --- strategies ---


def test_default_strategy_prefers_the_hot_then_the_cheap() -> None:
    """Who has the skill loaded comes first, then who costs less, then who has waited longest."""
    cold, hot_dear, hot_cheap, hot_cheap_later = workers(
        {"costs": {"render": 0.1}},
        {"hot": frozenset({"render"}), "costs": {"render": 3.0}},
        {"hot": frozenset({"render"}), "costs": {"render": 2.0}},
        {"hot": frozenset({"render"}), "costs": {"render": 2.0}},
    )

    assert choose("default", "render", [cold, hot_dear, hot_cheap, hot_cheap_later], 0) == 2
    assert choose("default", "render", [cold, hot_dear], 0) == 1
    assert choose("default", "render", [cold], 0) == 0


@pytest.mark.parametrize("strategy", ["cheapest", "best_value"])
def test_cheapest_strategy_prefers_the_cheap(strategy: str) -> None:
    """Cost decides; who names none is free of charge. Without reputations the best value is the lowest cost."""
    dear, cheap, hot = workers(
        {"costs": {"render": 2.0}}, {"costs": {"render": 1.0}}, {"costs": {"render": 9.0}, "hot": frozenset({"render"})}
    )
    (free,) = workers({"costs": {"mix": 5.0}})

    assert choose(strategy, "render", [dear, cheap, hot], 0) == 1
    assert choose(strategy, "render", [dear, cheap, free], 0) == 2


def test_least_connections_strategy_prefers_the_idle() -> None:
    """Who runs the fewest tasks comes first; who does not tell is taken for idle."""
    busy, less_busy, silent = workers({"current_tasks": ("a", "b")}, {"current_tasks": ("c",)}, {"current_tasks": None})

    assert choose("least_connections", "render", [busy, less_busy], 0) == 1
    assert choose("least_connections", "render", [busy, less_busy, silent], 0) == 2


def test_round_robin_strategy_takes_turns_by_name() -> None:
    """The turn goes round by worker id, in whatever order they wait."""
    first, second, third = workers({}, {}, {})
    waiting = [third, first, second]

    chosen = [waiting[choose("round_robin", "render", waiting, turn)].worker_id for turn in range(5)]

    assert chosen == ["w0", "w1", "w2", "w0", "w1"]


@given(
    st.sampled_from(["default", "round_robin", "least_connections", "cheapest", "best_value"]),
    st.lists(st.floats(0, 10), min_size=1, max_size=6),
    st.integers(0, 100),
)
def test_every_strategy_chooses_one_of_them(strategy: str, costs: list[float], turn: int) -> None:
    """Somebody is always chosen, and the same one again for the same question."""
    waiting = workers(*({"costs": {"render": cost}} for cost in costs))

    index = choose(strategy, "render", waiting, turn)

    assert 0 <= index < len(waiting)
    assert index == choose(strategy, "render", waiting, turn)


@pytest.mark.parametrize("strategy", ["default", "least_connections", "cheapest", "best_value"])
def test_equals_are_served_in_the_order_in_which_they_wait(strategy: str) -> None:
    """Nobody is passed over for ever."""
    assert choose(strategy, "render", list(reversed(workers({}, {}, {}))), 7) == 0


def test_best_value_divides_the_cost_by_the_reputation() -> None:
    """What is cheap and seldom works is dear; where nothing costs, the better worker is taken."""
    scores = {"w0": 0.4, "w1": 1.0, "w2": 0.9}

    costly = workers({"costs": {"render": 1.0}}, {"costs": {"render": 2.0}}, {"costs": {"render": 2.0}})
    free = workers({}, {}, {})

    assert choose("best_value", "render", costly, 0, reputation=scores.__getitem__) == 1
    assert choose("cheapest", "render", costly, 0, reputation=scores.__getitem__) == 0
    assert choose("best_value", "render", free, 0, reputation=scores.__getitem__) == 1


def test_least_connections_counts_what_is_held_now() -> None:
    """What the storage knows counts, not what the last heartbeats told."""
    told = workers({"current_tasks": ()}, {"current_tasks": ("t1", "t2")})

    assert choose("least_connections", "render", told, 0) == 0
    assert choose("least_connections", "render", told, 0, held={"w0": 3, "w1": 1}) == 1


@pytest.mark.parametrize("strategy", ["default", "least_connections", "cheapest", "best_value"])
def test_worker_of_the_last_task_is_taken_among_equals(strategy: str) -> None:
    """Only among equals: a wish does not cost anything."""
    equal = workers({}, {}, {})

    assert choose(strategy, "render", equal, 0, preferred="w2") == 2


def test_gpu_of_unknown_memory_does_what_needs_no_certain_amount() -> None:
    """And no other device passes for a GPU."""
    gpu = WorkerProfile("w", skills=(Skill("render"),), resources={"devices": [{"type": "GPU", "model": "T4"}]})
    tpu = WorkerProfile("w", skills=(Skill("render"),), resources={"devices": [{"type": "tpu", "model": "T4"}]})

    assert is_qualified(gpu, "render", {"gpu_info": {"model": "T4"}}, None)
    assert not is_qualified(gpu, "render", {"gpu_info": {"vram_gb": 8}}, None)
    assert not is_qualified(tpu, "render", {"gpu_info": {"model": "T4"}}, None)


def test_queue_of_other_limits_is_another() -> None:
    """So all tasks of a queue share their limits."""
    names = {queue_name("render", None, None, limits) for limits in (None, {}, {"k": 1}, {"k": 2}, {"j": 1})}

    assert len(names) == 4
    assert "render" in names


@pytest.mark.parametrize(
    ("waiting", "others", "limit", "share"),
    [
        (0, 0, 8, 1),
        (5, 0, 8, 5),
        (50, 0, 8, 8),
        (10, 1, 8, 5),
        (3, 1, 8, 1),
        (3, 9, 8, 1),
        (100, 9, 8, 8),
        (9, 0, 1, 1),
    ],
)
def test_share_of_a_worker_is_its_part_of_what_waits(waiting: int, others: int, limit: int, share: int) -> None:
    """At least one, at most its limit, and no more than the others get."""
    assert fair_share(waiting, others, limit) == share
