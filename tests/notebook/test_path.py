"""A workbench on a file: jobs outlive the kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from avtomatika import StateMachineBlueprint
from avtomatika.notebook import Workbench

# A kernel that submits a job whose task nobody does yet, and is then killed.
KERNEL = """
import os, signal, sys
from avtomatika import StateMachineBlueprint
from avtomatika.notebook import Workbench

bp = StateMachineBlueprint("patient")

@bp.handler_for("ask", is_start=True)
async def ask(initial_data, actions):
    actions.dispatch_task("shout", initial_data, transitions={"success": "done"})

@bp.handler_for("done", is_end=True)
async def done(said):
    return {"said": said}

wb = Workbench(path=sys.argv[1])
job = wb.submit(bp, {"word": "hello"})
while job.status != "waiting_for_worker":
    pass
print(job.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_restarted_kernel_finds_its_jobs_and_goes_on(tmp_path: Path, patient: StateMachineBlueprint) -> None:
    """A job that a killed kernel left in the middle finishes in the next one, with its whole history."""
    path = tmp_path / "jobs.db"
    killed = subprocess.run(
        [sys.executable, "-c", KERNEL, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert killed.returncode == -9, killed.stderr
    job_id = killed.stdout.strip()

    with Workbench("again", path=path) as wb:
        wb.register(patient)

        @wb.task("shout")
        def shout(word: str) -> dict[str, str]:
            return {"said": word.upper()}

        job = wb.job(job_id)
        assert job.result(timeout=30) == {"said": "HELLO"}
        assert list(wb.jobs()["id"]) == [job_id]
        types = list(wb.history(job)["event_type"])

    assert types[0] == "job_created"
    assert types[-1] == "job_completed"
    assert len(types) == len(job.events)
