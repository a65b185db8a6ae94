"""Schedules of a running engine: read at the start, again when the file changes, and shown over HTTP."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from avtomatika import Config, OrchestratorEngine
from avtomatika.errors import ConfigError

from .conftest import OTHER, Api, StartApi, until

# The clock of these tests begins 20 s after a full minute.
MINUTE = 1_700_000_040


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a schedule of every minute."""
    path = tmp_path / "schedules.toml"
    path.write_text('[beat]\nblueprint = "quick"\ninterval_seconds = 60\ninitial_data = { n = 3 }\n')
    return path


def write(path: Path, text: str) -> None:
    """Changes a file, as an editor does."""
    path.write_text(text)


async def scheduled(api: Api) -> list[str]:
    """Returns the ids of the jobs, newest first."""
    return [job["id"] for job in (await api.get("/api/v1/jobs")).body]


async def test_schedule_of_the_file_makes_jobs_that_the_client_sees(start_api: StartApi, path: Path) -> None:
    """One at each instant, with the data of the file."""
    api = await start_api(SCHEDULES_CONFIG_PATH=str(path))

    await api.clock.advance(60)

    job_id = f"beat-{MINUTE}"
    job = await api.until(job_id, "finished")
    assert (job["source"], job["result"]) == ("schedule", {"double": 6})
    assert await scheduled(api) == [job_id]


async def test_list_shows_what_runs_when(start_api: StartApi, path: Path) -> None:
    """The next five instants, and the last job; another client's schedules do not show."""
    api = await start_api(SCHEDULES_CONFIG_PATH=str(path))
    await api.clock.advance(60)
    await api.until(f"beat-{MINUTE}", "finished")

    (shown,) = (await api.get("/api/v1/schedules")).body

    assert shown == {
        "name": "beat",
        "blueprint_name": "quick",
        "rule": "every 60 s",
        "timezone": "UTC",
        "enabled": True,
        "overlap": "allow",
        "catch_up": "last",
        "next_at": [MINUTE + 60 * n for n in range(1, 6)],
        "last_at": MINUTE,
        "last_job_id": f"beat-{MINUTE}",
    }
    assert (await api.get("/api/v1/schedules", token=OTHER)).body == []


async def test_changed_file_takes_effect_without_restart(start_api: StartApi, path: Path) -> None:
    """And a broken one changes nothing."""
    api = await start_api(SCHEDULES_CONFIG_PATH=str(path))
    write(path, '[other]\nblueprint = "quick"\ninterval_seconds = 30\n')
    await api.clock.advance(3)
    write(path, '[other]\nblueprint = "quik"\ninterval_seconds = 1\n')
    await api.clock.advance(60)

    await until(lambda: True)
    names = {re.sub(r"-\d+$", "", job_id) for job_id in await scheduled(api)}
    assert names == {"other"}
    assert [one["name"] for one in (await api.get("/api/v1/schedules")).body] == ["other"]


async def test_schedule_of_an_unknown_blueprint_stops_the_start(path: Path) -> None:
    """Never half a start."""
    engine = OrchestratorEngine(config=Config(API_HOST="127.0.0.1", API_PORT=0, SCHEDULES_CONFIG_PATH=str(path)))

    with pytest.raises(ConfigError, match=r"line 2: 'blueprint' of \[beat\] is 'quick', which is not registered"):
        await engine.start()
