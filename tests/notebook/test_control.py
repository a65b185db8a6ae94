"""Handles and the command line, when a person decides about jobs: approve, rewind, fork."""

from __future__ import annotations

import json
import sys

import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.cli import main
from avtomatika.client import Client
from avtomatika.errors import ClientError
from avtomatika.notebook import JobHandle, Workbench


@pytest.fixture
def asking() -> StateMachineBlueprint:
    """A blueprint whose jobs ask a person."""
    bp = StateMachineBlueprint("asking", api_endpoint="/asking")

    @bp.handler_for("ask", is_start=True)
    async def ask(actions: ActionFactory) -> None:
        actions.await_human_approval("Ship it?", {"approved": "shipped", "rejected": "kept"})

    @bp.handler_for("shipped", is_end=True)
    @bp.handler_for("kept", is_end=True)
    async def over(approval: dict[str, str]) -> dict[str, str]:
        return {"decision": approval["decision"], "by": approval["by"]}

    return bp


def asked(workbench: Workbench, bp: StateMachineBlueprint) -> JobHandle:
    """Returns the handle of a job that waits for a person."""
    handle = workbench.submit(bp)
    client = Client(workbench.url, workbench.token)
    seen = client.job(handle.id)
    while seen["status"] != "waiting_for_human":
        seen = client.job(handle.id, wait=30, version=seen["version"])
    return handle


def run(workbench: Workbench, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Runs ``avtomatika jobs`` against the workbench."""
    command = ["avtomatika", "jobs", *arguments, "--url", workbench.url, "--token", workbench.token]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code


def test_job_is_decided_about_from_a_handle(workbench: Workbench, asking: StateMachineBlueprint) -> None:
    """The decision counts once."""
    job = asked(workbench, asking)

    with pytest.raises(ClientError, match="known: approved, rejected"):
        job.approve("aproved")
    job.approve("rejected", by="Ada")

    assert job.result(timeout=30) == {"decision": "rejected", "by": "Ada"}
    with pytest.raises(ClientError) as late:
        job.approve("approved")
    assert late.value.status == 409


async def test_live_view_decides(workbench: Workbench, asking: StateMachineBlueprint) -> None:
    """The button of a question does what the handle's method does."""
    job = asked(workbench, asking)

    answer = workbench._background.call(job._ask({"do": "approve", "decision": "approved"}), 30.0)

    assert answer == {"done": "approve"}
    assert job.result(timeout=30)["decision"] == "approved"


def test_finished_job_is_rewound_from_a_handle(workbench: Workbench, doubling: StateMachineBlueprint) -> None:
    """The handle follows it to its new end."""
    job = workbench.submit(doubling, {"number": 3})
    assert job.result(timeout=30) == {"double": 6}
    before = job.view["version"]

    assert job.rewind("check").result(timeout=30) == {"double": 6}

    assert job.view["version"] > before
    assert "job_rewound" in list(job.history()["event_type"])


def test_fork_from_a_handle_is_another_job(workbench: Workbench, doubling: StateMachineBlueprint) -> None:
    """With data of its own."""
    job = workbench.submit(doubling, {"number": 3})
    job.wait(timeout=30)

    sibling = job.fork("done", initial_data={"number": 8})

    assert sibling.result(timeout=30) == {"double": 16}
    assert (sibling.id != job.id, sibling.view["forked_from"]) == (True, job.id)


def test_command_line_decides_rewinds_and_forks(
    workbench: Workbench,
    asking: StateMachineBlueprint,
    doubling: StateMachineBlueprint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same from a shell; what is no JSON is a text."""
    job = asked(workbench, asking)
    run(workbench, monkeypatch, "approve", job.id, "rejected", "--by", "Ada", "--comment", "too late")
    assert job.result(timeout=30) == {"decision": "rejected", "by": "Ada"}

    double = workbench.submit(doubling, {"number": 3})
    double.wait(timeout=30)
    run(workbench, monkeypatch, "rewind", double.id, "done")
    capsys.readouterr()
    run(workbench, monkeypatch, "fork", double.id, "done", "--initial", "number=4", "--set", "note=by hand")

    sibling = workbench.job(capsys.readouterr().out.strip())
    assert sibling.result(timeout=30) == {"double": 8}
    assert json.loads(json.dumps(sibling.view["state_history"]))["note"] == "by hand"
