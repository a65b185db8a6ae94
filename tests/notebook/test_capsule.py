"""The capsule: a job in one notebook, for whoever was not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.errors import AvtomatikaError
from avtomatika.notebook import JobHandle, Workbench
from avtomatika.notebook.capsule import write_capsule
from avtomatika.notebook.replay import recorded_answers, replay

from .events import STORY

HOSTILE = "</pre><script>alert(1)</script> | ` [x](javascript:1) \\ 'quote'"
CELLS = """
from avtomatika import StateMachineBlueprint

bp = StateMachineBlueprint("asking")

@bp.handler_for("ask", is_start=True)
async def ask(initial_data, actions):
    actions.dispatch_task("shout", initial_data, transitions={"success": "check"})

@bp.handler_for("check")
async def check(said, actions):
    actions.await_human_approval(f"Print {said}?", transitions={"approved": "printed", "rejected": "dropped"})

@bp.handler_for("printed", is_end=True)
async def printed(said):
    return {"printed": said}

@bp.handler_for("dropped", is_end=True)
async def dropped(): ...
"""


@pytest.fixture
def asking(tmp_path: Path) -> StateMachineBlueprint:
    """A blueprint whose jobs ask a worker and a person."""
    import runpy  # noqa: PLC0415 - the cells run as a notebook's do

    file = tmp_path / "cells.py"
    file.write_text(CELLS)
    return runpy.run_path(str(file), run_name="__main__")["bp"]  # type: ignore[no-any-return]


@pytest.fixture
def told(workbench: Workbench, asking: StateMachineBlueprint) -> JobHandle:
    """A job that ended after a failed attempt, an answer and a decision."""
    failures = [True]

    @workbench.task("shout")
    def shout(text: str) -> dict[str, Any]:
        if failures:
            failures.pop()
            raise RuntimeError("hoarse")
        return {"said": text.upper()}

    job = workbench.submit(asking, {"text": HOSTILE})
    for _ in range(2000):
        if job.status == "waiting_for_human":
            break
        with pytest.raises(TimeoutError):
            job.wait(0.01)
    return job.approve("approved").wait(30)


def test_capsule_shows_and_replays_the_job_without_its_engine(
    workbench: Workbench, told: JobHandle, tmp_path: Path
) -> None:
    """Frozen pages to look at, and cells that run the job again to the same end."""
    file = told.capsule(tmp_path / "incident.ipynb")
    workbench.stop()

    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    pages = [output["data"]["text/html"] for cell in notebook.cells for output in cell.get("outputs", ())]
    assert ["data:image/svg+xml" in page for page in pages] == [True, True]
    assert not [page for page in pages if "<script" in page]
    code = "\n".join(cell["source"] for cell in notebook.cells if cell["cell_type"] == "code")
    script = tmp_path / "incident.py"
    script.write_text(f"{code}\nprint(again.status, again.state, again.view['result'] == incident['job']['result'])")
    done = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "finished printed True"


def test_answers_of_a_replay_are_those_of_the_history() -> None:
    """Failures with their code, successes with what they changed in the data."""
    assert recorded_answers(STORY) == [
        {"task_type": "shout", "code": "TRANSIENT_ERROR", "message": "hoarse"},
        {"task_type": "shout", "status": "success", "data": {"said": "A"}},
    ]


def test_replay_with_other_answers_ends_otherwise(asking: StateMachineBlueprint) -> None:
    """What would have happened: another decision, no answer at all, nobody to decide."""
    answer = {"task_type": "shout", "status": "success", "data": {"said": "A"}}

    assert replay(asking, {"text": "a"}, [answer], ["rejected"]).state == "dropped"
    broken = replay(asking, {"text": "a"}, [{"task_type": "shout", "code": "PERMANENT_ERROR", "message": "gone"}])
    assert broken.status == "quarantined"
    with pytest.raises(AvtomatikaError, match="waits for a person in state 'check'"):
        replay(asking, {"text": "a"}, [answer])


def test_capsule_without_the_blueprint_says_why(workbench: Workbench, told: JobHandle, tmp_path: Path) -> None:
    """Over a connection the handlers are not known; everything else is there."""
    with Workbench.connect(workbench.url, workbench.token) as remote:
        file = remote.job(told.id).capsule(tmp_path / "incident.ipynb")

    text = json.dumps(nbformat.read(file, as_version=4))
    assert "the handlers of 'asking' are where its engine runs" in text
    assert "again = replay" not in text


def test_hostile_values_stay_text(tmp_path: Path) -> None:
    """In Markdown, in HTML and in code, whatever stands in a job."""
    job = {
        **dict.fromkeys(("id", "blueprint_name", "status", "current_state", "error_message"), HOSTILE),
        "created_at": 1.0,
        "updated_at": 2.0,
        "initial_data": {HOSTILE: HOSTILE},
        "state_history": HOSTILE,
    }

    notebook = nbformat.read(write_capsule(tmp_path / "x.ipynb", job, STORY, None, "bp = 1"), as_version=4)

    assert "<script>" not in notebook.cells[0]["source"]
    incident: dict[str, Any] = {}
    exec(notebook.cells[4]["source"], incident)
    assert incident["incident"]["job"] == job


def test_handler_that_needs_a_worker_is_still_replayed(workbench: Workbench, tmp_path: Path) -> None:
    """A blueprint that cannot be written down gives a capsule with the reason instead of a replay."""
    bp, outer = StateMachineBlueprint("closed"), "x"

    @bp.handler_for("a", is_start=True)
    async def a(actions: ActionFactory) -> None:
        actions.transition_to("end" if outer else "a")

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    file = workbench.submit(bp).wait(30).capsule(tmp_path / "x.ipynb")

    assert "function around it" in file.read_text()
