"""Where a worker's settings come from."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.errors import ConfigError
from avtomatika.worker import Worker, machine
from avtomatika.worker.settings import read_settings


def test_author_wins_over_environment_wins_over_default() -> None:
    """What is written in the program holds."""
    environment = {"WORKER_ID": "env", "MAX_CONCURRENT_TASKS": "3", "ORCHESTRATOR_URL": "http://e:1/"}

    settings = read_settings({"worker_id": "mine", "url": None}, environment, "random")

    assert (settings.worker_id, settings.concurrency, settings.url) == ("mine", 3, "http://e:1")
    assert settings.heartbeat_interval == 15.0


def test_individual_token_wins_over_the_shared_one() -> None:
    """A worker with a token of its own uses it, and never prints it."""
    settings = read_settings({}, {"WORKER_TOKEN": "shared", "WORKER_INDIVIDUAL_TOKEN": "own"}, "w")

    assert settings.token == "own"
    assert "own" not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"MAX_CONCURRENT_TASKS": "many"}, "the variable MAX_CONCURRENT_TASKS is 'many'; a number of at least 1"),
        ({"MAX_CONCURRENT_TASKS": "0"}, "at least 1"),
        ({"HEARTBEAT_INTERVAL": "nan"}, "HEARTBEAT_INTERVAL is 'nan'"),
        ({"ORCHESTRATOR_URL": "localhost:8080"}, "an address such as http://localhost:8080 was expected"),
        ({"WORKER_ID": "a b"}, "the variable WORKER_ID is 'a b'"),
    ],
)
def test_wrong_variable_is_named(environment: dict[str, str], message: str) -> None:
    """The error says which variable, its value, and what was expected."""
    with pytest.raises(ConfigError, match=message):
        read_settings({}, environment, "w")


def test_unknown_setting_is_refused() -> None:
    """A misspelt argument is not swallowed."""
    with pytest.raises(ConfigError, match="a worker has no setting 'pol_timeout'"):
        Worker("w", pol_timeout=3)


def test_machine_is_told_by_variables() -> None:
    """An operator can say what the system does not know."""
    environment = {"CPU_CORES": "4", "RAM_GB": "1.5", "GPU_MODEL": "T4", "GPU_VRAM_GB": "16"}

    assert machine.resources(environment) == {
        "cpu_cores": 4,
        "ram_gb": 1.5,
        "devices": [{"type": "gpu", "model": "T4", "id": "0", "properties": {"memory_gb": 16}}],
    }
    assert machine.capabilities({"WORKER_EXTRA_ZONE": "b", "WORKER_EXTRA_RACK": "3"}) == {"zone": "b", "rack": 3}
    assert machine.artifacts({"INSTALLED_ARTIFACTS": '[{"name": "sdxl"}, 3]'}) == {"sdxl": "unknown"}


@pytest.mark.parametrize("environment", [{"WORKER_DEVICES": "{}"}, {"CPU_CORES": "four"}])
def test_wrong_variable_about_the_machine_is_named(environment: dict[str, Any]) -> None:
    """A worker with a wrong description of itself does not start."""
    with pytest.raises(ConfigError, match=next(iter(environment))):
        machine.resources(environment)


def test_task_defined_twice_is_refused() -> None:
    """Two functions cannot do the same task."""
    worker = Worker("w")
    worker.task("echo")(lambda params: params)

    with pytest.raises(ConfigError, match="task 'echo' is defined twice"):
        worker.add_task(lambda params: params, "echo")


async def test_worker_without_tasks_does_not_start() -> None:
    """A worker that can do nothing is a mistake."""
    with pytest.raises(ConfigError, match=r"Define some with @worker\.task"):
        await Worker("w").start()
