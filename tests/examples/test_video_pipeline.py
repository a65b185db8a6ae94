"""The example video_pipeline: an engine, three workers, a client, a person, the clock, and a real film."""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from avtomatika.client import Client
from avtomatika.config import DEFAULT_CLIENT_TOKEN

from .programs import EXAMPLES, Example

LENGTHS = [20, 30, 12, 24]


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module that makes and reads films."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "video_pipeline"))
    import pictures  # noqa: PLC0415 - it lies beside the example

    yield pictures
    sys.modules.pop("pictures")


def test_scenes_of_a_film_are_found_and_cleaned(pictures: ModuleType) -> None:
    """Cuts are where they were made, a cleaned scene is calmer, and a file is read as it was written."""
    frames = [frame for scene, length in enumerate(LENGTHS) for frame in pictures.shoot(scene, length, 7)]

    scenes = pictures.find_scenes(frames)

    assert scenes == [(0, 20), (20, 50), (50, 62), (62, 86)]
    assert all(pictures.grain(pictures.clean(frames[a:b])) < pictures.grain(frames[a:b]) / 1.5 for a, b in scenes)
    assert pictures.unpack(pictures.pack(frames)) == frames
    with pytest.raises(ValueError, match="Y4M"):
        pictures.unpack(b"something else")


def reject(client: Client) -> dict[str, Any]:
    """Orders a film, dislikes it, and returns the job when it has ended."""
    job_id = client.submit("/videos", {"title": "The fog", "lengths": [4, 4], "grain_limit": 0.1})
    asked: list[dict[str, Any]] = []
    while not asked:
        job = client.job(job_id)
        client.job(job_id, wait=1, version=job["version"])
        asked = client.jobs(blueprint="review", status="waiting_for_human")
    client.approve(asked[0]["id"], "rejected")
    return client.wait(job_id, timeout=30)


@pytest.mark.acceptance
def test_film_is_made_by_three_workers_and_a_person(example: Callable[[str], Example], pictures: ModuleType) -> None:
    """The commands of the README, to the webhook, the metrics, the clock's job and the film on the client's disk."""
    studio = example("video_pipeline")
    studio.serve("avtomatika run")
    url = studio.addresses["http://127.0.0.1:8080"]
    for worker in ("camera", "cheap_lab", "fast_lab"):
        studio.start(f"workers:{worker}")

    printed = studio.run("order.py", stdin="approved\n")
    client = Client(url, DEFAULT_CLIENT_TOKEN)
    jobs = {job["blueprint_name"]: job for job in client.jobs()}
    metrics = urllib.request.urlopen(f"{url}/_public/metrics").read().decode()
    disliked = reject(client)
    frames = pictures.unpack((studio.folder / "film.y4m").read_bytes())
    report = json.loads((studio.folder / "report.json").read_text())

    assert re.findall(r"state: (\w+)", printed)[-1] in {"judge", "join", "shown"}
    assert re.search(r"'The moon' still has a grain of [\d.]+\. Show it\? \(approved or rejected\)", printed)
    assert "finished {'film': 'film.y4m', 'poster': 'poster.png', 'report': 'report.json', 'scenes': 4}" in printed
    assert "webhook: job_finished" in printed
    assert pictures.find_scenes(frames) == [tuple(scene) for scene in report["scenes"]]
    assert all(after < before for before, after in report["grain"])
    assert (studio.folder / "poster.png").read_bytes().startswith(b"\x89PNG")
    assert (jobs["review"]["status"], jobs["review"]["parent_job_id"]) == ("finished", jobs["video"]["id"])
    assert f"studio_pictures_total {float(sum(LENGTHS))}" in metrics
    assert "orchestrator_jobs_without_wakeup 0.0" in metrics
    digest = next(event.data["job_id"] for event in client.changes(blueprint="digest") if event.type == "job")
    assert client.wait(digest, timeout=30)["result"] == {"films": ["The moon"]}
    assert {"cheap-lab", "fast-lab"} & set(report["laboratories"])
    assert jobs["video"]["id"] in studio.run("jobs list")
    assert (disliked["status"], disliked["current_state"]) == ("failed", "dropped_rejected")
